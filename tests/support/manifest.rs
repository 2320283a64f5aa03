use std::fmt::Write as _;

use crate::node::Node;
use crate::pod::Pod;

/// A Service in `default` that selects pods by the label `app`.
#[derive(Debug, Clone, Default)]
pub struct Service<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// The label that selects.
    pub app: &'a str,
    /// Its ports.
    pub ports: &'a [Port],
    /// `spec.externalIPs`.
    pub external_ips: &'a [&'a str],
    /// `spec.type`; none is ClusterIP.
    pub kind: Option<&'a str>,
    /// `spec.ipFamilies`; none are what the addresses say.
    pub families: &'a [&'a str],
}

/// A port of a Service.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// `port`.
    pub port: u16,
    /// `targetPort`.
    pub target: u16,
    /// `nodePort`, if fixed.
    pub node_port: Option<u16>,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
}

impl Port {
    /// A TCP port.
    pub const fn tcp(port: u16, target: u16) -> Self {
        Self { port, target, node_port: None, protocol: "TCP" }
    }

    /// A UDP port.
    pub const fn udp(port: u16, target: u16) -> Self {
        Self { protocol: "UDP", ..Self::tcp(port, target) }
    }

    /// The same with a fixed node port.
    #[must_use]
    pub const fn at(self, node_port: u16) -> Self {
        Self { node_port: Some(node_port), ..self }
    }
}

impl Service<'_> {
    /// The manifest.
    pub fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: default}}\nspec:\n  type: {}\n",
            self.name,
            self.kind.unwrap_or("ClusterIP")
        );
        if !self.families.is_empty() {
            let _ = writeln!(text, "  ipFamilies: {:?}", self.families);
        }
        let _ = write!(text, "  selector: {{app: {}}}\n  externalIPs: {:?}\n  ports:\n", self.app, self.external_ips);
        for port in self.ports {
            let Port { port, target, node_port, protocol } = port;
            let name = format!("{}-{port}", protocol.to_ascii_lowercase());
            let _ = write!(text, "  - {{name: {name}, port: {port}, targetPort: {target}, protocol: {protocol}");
            let _ = node_port.map(|node_port| write!(text, ", nodePort: {node_port}"));
            text.push_str("}\n");
        }
        text
    }
}

/// Node and Pod objects of a cluster.
pub fn pods_and_nodes(nodes: &[Node], pods: &[Pod]) -> String {
    let mut documents: Vec<String> = nodes.iter().map(node).collect();
    documents.extend(pods.iter().map(pod));
    documents.join("---\n")
}

fn node(node: &Node) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\nspec: {{podCIDR: {cidr}, podCIDRs: [{cidr}, \"{}\"]}}\n\
         status: {{addresses: [{{type: InternalIP, address: {}}}, {{type: InternalIP, address: \"{}\"}}]}}\n",
        node.name,
        node.pod_cidr6(),
        node.ip,
        node.ip6,
        cidr = node.pod_cidr()
    )
}

fn pod(pod: &Pod) -> String {
    let labels: Vec<String> = pod.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, namespace: {}, labels: {{{}}}}}\nspec: {{nodeName: {}}}\n\
         status:\n  phase: Running\n  podIP: {ip}\n  podIPs: [{{ip: {ip}}}, {{ip: \"{}\"}}]\n  conditions: [{{type: Ready, status: \"True\"}}]\n",
        pod.name,
        pod.namespace,
        labels.join(", "),
        pod.node,
        pod.ip6,
        ip = pod.ip
    )
}
