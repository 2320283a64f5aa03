//! A Service whose only ready endpoint changes back and forth between two pods: how long until connections follow.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use weir_lab::{Cluster, ControlPlane, ask_tcp, eventually};

use crate::PATIENCE;

const PORT: u16 = 30_070;
const SLICES: &str = "/apis/discovery.k8s.io/v1beta1/namespaces/default/endpointslices";

/// The Service with its two pods.
pub(crate) struct Probe {
    pods: [IpAddr; 2],
    /// Which of the pods is ready.
    ready: Cell<usize>,
}

impl Probe {
    /// Adds it to the cluster.
    pub(crate) fn new(cluster: &mut Cluster, plane: &ControlPlane) -> Result<Self> {
        let mut pods = Vec::new();
        for name in ["pod-0", "pod-1"] {
            pods.push(IpAddr::V4(cluster.add_pod(0, name, "probe")?.ip));
        }
        let port = json!({"port": 7070, "nodePort": PORT});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "probe"},
            "spec": {"type": "NodePort", "ports": [port]}});
        plane.apply(&service.to_string())?;
        let probe = Self { pods: [pods[0], pods[1]], ready: Cell::new(0) };
        let slice = json!({"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice",
            "metadata": {"name": "probe-1", "labels": {"kubernetes.io/service-name": "probe"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": 7070, "protocol": "TCP"}],
            "endpoints": probe.endpoints()});
        plane.request("POST", SLICES, Some(("application/json", &slice)))?;
        Ok(probe)
    }

    /// Makes the other pod the ready one; the time from the server's answer until a connection meets it.
    pub(crate) fn delay(&self, cluster: &Cluster, plane: &ControlPlane) -> Result<Duration> {
        self.ready.set(1 - self.ready.get());
        let patch = json!({"endpoints": self.endpoints()});
        plane.request("PATCH", &format!("{SLICES}/probe-1"), Some(("application/merge-patch+json", &patch)))?;
        let begun = Instant::now();
        let to = SocketAddr::from((cluster.nodes[0].ip, PORT));
        eventually("connections to follow", PATIENCE, || {
            let greeting = ask_tcp(&cluster.client, to, None)?;
            ensure!(greeting.starts_with(&format!("pod-{} ", self.ready.get())), "{greeting}");
            Ok(())
        })?;
        Ok(begun.elapsed())
    }

    fn endpoints(&self) -> serde_json::Value {
        let endpoint =
            |(index, address)| json!({"addresses": [address], "conditions": {"ready": index == self.ready.get()}});
        self.pods.iter().enumerate().map(endpoint).collect()
    }
}
