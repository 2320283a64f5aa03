//! Pod (v1): for slices derived from pods, and for host ports.
#![allow(missing_docs, reason = "fields of the Kubernetes API")]

use serde::Deserialize;

use super::Metadata;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pod {
    pub metadata: Metadata,
    pub spec: PodSpec,
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    pub node_name: Option<String>,
    pub host_network: bool,
    pub containers: Vec<Container>,
    /// Sidecars (restartable init containers) have ports too.
    pub init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    pub name: String,
    pub ports: Vec<ContainerPort>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    pub name: Option<String>,
    pub container_port: Option<i64>,
    pub host_port: Option<i64>,
    #[serde(rename = "hostIP")]
    pub host_ip: Option<String>,
    pub protocol: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    pub phase: Option<String>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    pub conditions: Vec<PodCondition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodIp {
    pub ip: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodCondition {
    #[serde(rename = "type")]
    pub condition_type: String,
    pub status: String,
}

impl Pod {
    /// Its addresses; `podIPs` repeats `podIP`.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let single = self.status.pod_ip.as_deref().filter(|_| self.status.pod_ips.is_empty());
        self.status.pod_ips.iter().map(|ip| ip.ip.as_str()).chain(single)
    }

    /// The condition `Ready`. A pod without conditions, as people write one by hand, counts as ready.
    pub fn is_ready(&self) -> bool {
        let ready = self.status.conditions.iter().find(|condition| condition.condition_type == "Ready");
        ready.is_none_or(|condition| condition.status == "True")
    }

    /// It has ended for good and never comes back.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// The number of the container port of that name and protocol.
    pub fn named_port(&self, name: &str, protocol: &str) -> Option<i64> {
        let containers = self.spec.containers.iter().chain(&self.spec.init_containers);
        let port = containers
            .flat_map(|container| &container.ports)
            .find(|port| port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol)?;
        port.container_port
    }
}
