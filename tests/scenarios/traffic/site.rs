//! What the clients ask for: routes of the front over HTTP and HTTPS, WebSockets, and a Service at layer 4, with a pod on each
//! of two nodes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use weir_lab::{Cluster, Request, SOON, eventually};

use super::certificates::Authority;
use super::sockets::{self, Echo, Open};

/// The host of all routes that clients count on.
pub(crate) const HOST: &str = "site.test";

/// Where clients go, and what they trust.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    /// For HTTP/1.1.
    pub(crate) tls: Arc<ClientConfig>,
    /// For HTTP/2.
    pub(crate) tls2: Arc<ClientConfig>,
}

/// An endpoint of a slice, and whether it takes what is new.
pub(crate) type Endpoint = (Ipv4Addr, bool);

pub(crate) struct Site {
    pub(crate) authority: Authority,
    /// Of the pods `near` and `far`.
    pub(crate) pods: [Ipv4Addr; 2],
    /// The servers of WebSockets.
    _echoes: [Echo; 2],
}

impl Site {
    /// Adds the pods and writes the manifests; agents are still to be started.
    pub(crate) fn new(cluster: &mut Cluster) -> Result<Self> {
        let near = cluster.add_pod(0, "near", "near")?;
        let (near, first) = (near.ip, Echo::start(&near.netns)?);
        let far = cluster.add_pod(1, "far", "far")?;
        let (far, second) = (far.ip, Echo::start(&far.netns)?);
        let site = Site { authority: Authority::new()?, pods: [near, far], _echoes: [first, second] };
        cluster.write("certificate.yaml", &site.authority.secret("first")?)?;
        cluster.write("ingress.yaml", INGRESS)?;
        let both = site.pods.map(|pod| (pod, true));
        cluster.write("services.yaml", SERVICES)?;
        cluster.write("site-endpoints.yaml", &slice("site", &[("", 8080)], &both))?;
        cluster.write("socket-endpoints.yaml", &slice("socket", &[("", sockets::PORT)], &both))?;
        cluster.write("lines-endpoints.yaml", &slice("lines", &LINES, &both))?;
        Ok(site)
    }

    /// The addresses of the first node.
    pub(crate) fn target(&self, cluster: &Cluster) -> Result<Target> {
        let at = |port| cluster.nodes[0].port(port);
        let [tls, tls2] = [b"http/1.1".as_slice(), b"h2"].map(|protocol| self.authority.clients(protocol));
        Ok(Target { http: at(80), https: at(443), tcp: at(30070), udp: at(30053), tls: tls?, tls2: tls2? })
    }
}

/// Waits until the front serves what the manifests say.
pub(crate) fn served(cluster: &Cluster, target: &Target) -> Result<()> {
    eventually("the site to be served", SOON, || {
        let answer = Request::get(HOST, "/").send(&cluster.client, target.http)?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        cluster.client.run(|| {
            Open::new(target)?.close()?;
            let mut stream = super::secure::secured(target)?;
            Request::get(HOST, "/").send_on(&mut stream).context("over TLS").map(drop)
        })
    })
}

/// Ports of the Service at layer 4 and its pods.
pub(crate) const LINES: [(&str, u16); 2] = [("lines", 7070), ("datagrams", 5353)];

/// The endpoints of a Service. One that does not take what is new is about to end, and goes on with what it has.
pub(crate) fn slice(service: &str, ports: &[(&str, u16)], endpoints: &[Endpoint]) -> String {
    let ports: Vec<_> = ports
        .iter()
        .map(|(name, port)| {
            let protocol = if *name == "datagrams" { "UDP" } else { "TCP" };
            format!("{{name: \"{name}\", port: {port}, protocol: {protocol}}}")
        })
        .collect();
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(pod, takes)| {
            format!("{{addresses: [{pod}], conditions: {{ready: {takes}, serving: true, terminating: {}}}}}", !takes)
        })
        .collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata:\n  name: {service}-1\n  \
         labels: {{kubernetes.io/service-name: {service}}}\nports: [{}]\nendpoints: [{}]\n",
        ports.join(", "),
        endpoints.join(", ")
    )
}

/// Neither host redirects to HTTPS: both ways are asked.
const INGRESS: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: site
  annotations: {nginx.ingress.kubernetes.io/ssl-redirect: \"false\"}
spec:
  tls: [{hosts: [site.test], secretName: site}]
  rules:
  - host: site.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}
      - {path: /socket, pathType: Prefix, backend: {service: {name: socket, port: {number: 80}}}}
";

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata: {name: site}
spec: {ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: socket}
spec: {ports: [{port: 80, targetPort: 8081}]}
---
apiVersion: v1
kind: Service
metadata: {name: lines}
spec:
  type: NodePort
  ports:
  - {name: lines, port: 7070, nodePort: 30070}
  - {name: datagrams, protocol: UDP, port: 5353, nodePort: 30053}
";
