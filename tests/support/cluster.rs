use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::agent::{self, AgentOptions};
use crate::branch::Branch;
use crate::control_group::ControlGroup;
use crate::lab_object::LabObject;
use crate::manifest;
use crate::netns::Netns;
use crate::node::Node;
use crate::pod::{Pod, Server, ServerOptions};

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 100);
/// The client's IPv6 address.
pub const CLIENT6: Ipv6Addr = on_wire6(0x100);
/// The pods' addresses of all nodes.
pub(crate) const CLUSTER_CIDR: &str = "10.244.0.0/16";
/// The same of IPv6.
pub(crate) const CLUSTER_CIDR6: &str = "fd00:244::/48";
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const ROUTER6: Ipv6Addr = on_wire6(1);

/// A client, nodes and a switch between them. Everything in it is removed when it is dropped.
///
/// ```text
///  client ── eth0 ─┐   switch (bridge)   ┌─ eth0 ── node 1 ── cni0 ─┬─ pod
///  192.168.77.100  └─── 192.168.77.1 ────┤  .11      10.244.1.1    └─ pod
///                                        └─ eth0 ── node 2 ── cni0 ─── pod
///                                           .12      10.244.2.1
/// ```
///
/// And of IPv6: the client is `fd00:77::100`, the switch `fd00:77::1`, node 1 `fd00:77::11` with pods in
/// `fd00:244:0:1::/64`. The link-local address of each `eth0` ends like its other ones.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The pods.
    pub pods: Vec<Pod>,
    /// The client; its default route leads to the first node.
    pub client: Netns,
    /// The switch: the end of each node's link has the node's name.
    pub wire: Netns,
    name: String,
    pod_offload: bool,
    gateways6: Gateways6,
    dir: TempDir,
    pub(crate) lab: LabObject,
}

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Start of every name; `sweep` goes by it.
    pub prefix: String,
    /// The programs.
    pub binaries: Binaries,
    /// How many nodes.
    pub nodes: u8,
    /// Whether pods leave checksums to a device that does not exist, as veth does by default.
    pub pod_offload: bool,
    /// How the nodes and the client name their next hops of IPv6.
    pub gateways6: Gateways6,
}

/// How next hops of IPv6 are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateways6 {
    /// By addresses that are routed.
    Routed,
    /// By link-local addresses, as routers announce themselves and as routing daemons do it.
    LinkLocal,
}

/// Finished programs that a cluster runs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The product.
    pub weir: PathBuf,
    /// The kernel programs for tests.
    pub lab_object: PathBuf,
}

/// Clusters of one process differ in their names.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// Makes the namespaces and the links; no agent runs yet.
    pub fn new(options: &ClusterOptions) -> Result<Self> {
        let name = format!("{}-{}-{}", options.prefix, process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir()?;
        fs::create_dir(dir.path().join("manifests"))?;
        let mut lab = LabObject::load(&options.binaries.lab_object)?;
        let wire = switch(&name)?;
        let client = client(&name, &wire, options.gateways6)?;
        let mut nodes = Vec::new();
        for number in 1..=options.nodes {
            let agent = agent_options(&name, number, dir.path(), &options.binaries);
            let node = node(&name, number, &wire, options.gateways6, agent)?;
            lab.attach_pass(&wire, &node.name)?;
            nodes.push(node);
        }
        route_pods(&nodes, options.gateways6)?;
        let (pod_offload, gateways6) = (options.pod_offload, options.gateways6);
        Ok(Self { nodes, pods: Vec::new(), client, wire, name, pod_offload, gateways6, dir, lab })
    }

    /// Adds a pod in the namespace `default` with one label, `app`, and starts its servers.
    pub fn add_pod(&mut self, node: usize, name: &str, app: &str) -> Result<&mut Pod> {
        self.add_pod_in("default", node, name, &[("app", app)], &ServerOptions::default())
    }

    /// Adds a pod and starts its servers. Nothing is written to the manifests; see [`Cluster::write_pods`].
    pub fn add_pod_in(
        &mut self,
        namespace: &str,
        node: usize,
        name: &str,
        labels: &[(&str, &str)],
        servers: &ServerOptions,
    ) -> Result<&mut Pod> {
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        let address = |number: u8| Ipv4Addr::new(10, 244, host.number, 10 + number);
        let free = (0..200).find(|number| self.pods.iter().all(|pod| pod.ip != address(*number)));
        let number = free.with_context(|| format!("node {node} is full"))?;
        let (ip, ip6) = (address(number), host.pod_address6(10 + number));
        let netns = pod_network(host, number, (ip, ip6), self.pod_offload)?;
        let server = Server::start(&netns, name, &host.name, servers)?;
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (name, namespace, node) = (name.to_owned(), namespace.to_owned(), host.name.clone());
        self.pods.push(Pod { name, namespace, labels, node, ip, ip6, netns, server: Some(server) });
        self.pods.last_mut().context("just pushed")
    }

    /// A client behind a router whose link to it carries packets of `mtu` bytes; VIPs are routed to the first node.
    pub fn branch(&self, mtu: u16) -> Result<Branch> {
        Branch::new(self, mtu)
    }

    /// Start of the names of its namespaces.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// For files that end with the cluster.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The folder that the agents read.
    pub fn manifests(&self) -> PathBuf {
        self.dir.path().join("manifests")
    }

    /// Writes a manifest, in one step: no agent reads half of it.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let part = self.dir.path().join("part");
        fs::write(&part, text)?;
        fs::rename(&part, self.manifests().join(name)).with_context(|| name.to_owned())
    }

    /// Removes a manifest.
    pub fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.manifests().join(name)).with_context(|| name.to_owned())
    }

    /// Writes the nodes and the pods as they are now, from which the agents derive endpoints.
    pub fn write_pods(&self) -> Result<()> {
        self.write("cluster.yaml", &manifest::pods_and_nodes(&self.nodes, &self.pods))
    }

    /// Routes the client's packets to several nodes, each flow to one of them by addresses and ports, as routers do that know
    /// several equal ways. All flows are spread anew by each call.
    pub fn spread(&self, nodes: &[usize]) -> Result<()> {
        for family in ["ipv4", "ipv6"] {
            self.client.set_sysctl(&format!("net/{family}/fib_multipath_hash_policy"), "1")?;
        }
        let nodes = nodes.iter().filter_map(|node| self.nodes.get(*node));
        let hops: Vec<_> =
            nodes.map(|node| (format!("nexthop via {}", node.ip), format!("nexthop via {}", node.ip6))).collect();
        let (four, six): (Vec<_>, Vec<_>) = hops.into_iter().unzip();
        self.client.ip(&format!("route replace default {}", four.join(" ")))?;
        // `replace` would leave the others in place: each next hop is a route of its own
        self.client.ip("-6 route flush default")?;
        self.client.ip(&format!("-6 route add default {}", six.join(" "))).map(drop)
    }

    /// Gives a node its addresses and routes again, after its `eth0` was down and is up: the kernel has dropped them.
    pub fn reconnect(&self, node: usize) -> Result<()> {
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        address(&host.netns, (host.ip, host.ip6))?;
        default_routes(&host.netns, self.gateways6)?;
        route_pods_from(host, &self.nodes, self.gateways6)
    }

    /// Starts an agent on every node, side by side.
    pub fn start_agents(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::spawn_agent)?;
        self.wait_ready()
    }

    /// Waits until the agents of all nodes are ready.
    pub fn wait_ready(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            let Some(agent) = node.agent.as_mut() else { continue };
            agent.wait_ready(&node.netns).with_context(|| format!("on node {}", node.name))?;
        }
        Ok(())
    }

    /// The end of every agent's log, for the report of a failure.
    pub fn logs(&self) -> String {
        self.nodes.iter().map(|node| agent::tail(&node.options.log)).collect::<Vec<_>>().join("\n")
    }
}

fn agent_options(cluster: &str, number: u8, dir: &Path, binaries: &Binaries) -> AgentOptions {
    let node = node_name(number);
    AgentOptions {
        weir: binaries.weir.clone(),
        source: dir.join("manifests"),
        kubeconfig: None,
        pin_path: PathBuf::from("/sys/fs/bpf").join(format!("weir-{cluster}-{node}")),
        log: dir.join(format!("{node}.log")),
        xdp: "native".to_owned(),
        interfaces: vec!["eth0".to_owned()],
        cgroup: None,
        within: Vec::new(),
        arguments: Vec::new(),
        node,
    }
}

fn node_name(number: u8) -> String {
    format!("node-{number}")
}

fn switch(cluster: &str) -> Result<Netns> {
    let wire = Netns::create(format!("{cluster}-wire"))?;
    wire.ip("link add switch type bridge")?;
    wire.ip(&format!("addr add {ROUTER}/24 dev switch"))?;
    wire.ip(&format!("addr add {ROUTER6}/64 dev switch"))?;
    wire.ip(&format!("addr add {}/64 dev switch", link_local(ROUTER6)))?;
    wire.ip("link set switch up")?;
    forward(&wire)?;
    Ok(wire)
}

/// The namespace is a router, for both families.
pub(crate) fn forward(netns: &Netns) -> Result<()> {
    netns.set_sysctl("net/ipv4/ip_forward", "1")?;
    netns.set_sysctl("net/ipv6/conf/all/forwarding", "1")
}

fn client(cluster: &str, wire: &Netns, gateways6: Gateways6) -> Result<Netns> {
    let client = Netns::create(format!("{cluster}-client"))?;
    plug(wire, "client", &client, (CLIENT, CLIENT6))?;
    client.ip(&format!("route add default via {}", node_ip(1)))?;
    client.ip(&format!("route add default {}", via6(node_ip6(1), gateways6)))?;
    Ok(client)
}

/// An address of the switch's network.
const fn on_wire6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, host)
}

/// The link-local address of the interface that has this one.
pub(crate) const fn link_local(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.segments();
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, a, b, c)
}

/// The next hop of a route by `eth0`.
fn via6(hop: Ipv6Addr, gateways6: Gateways6) -> String {
    match gateways6 {
        Gateways6::Routed => format!("via {hop}"),
        Gateways6::LinkLocal => format!("via {} dev eth0", link_local(hop)),
    }
}

fn node_ip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, 10 + number)
}

/// Ends with the digits of the IPv4 address.
fn node_ip6(number: u8) -> Ipv6Addr {
    on_wire6(0x10 + u16::from(number))
}

fn node(cluster: &str, number: u8, wire: &Netns, gateways6: Gateways6, options: AgentOptions) -> Result<Node> {
    let (name, ip, ip6) = (node_name(number), node_ip(number), node_ip6(number));
    let netns = Netns::create(format!("{cluster}-{name}"))?;
    plug(wire, &name, &netns, (ip, ip6))?;
    default_routes(&netns, gateways6)?;
    let group = ControlGroup::create(netns.name())?;
    let options = AgentOptions { cgroup: group.as_ref().map(|group| group.path().to_owned()), ..options };
    let node = Node { name, ip, ip6, agent: None, netns, group, options, number };
    node.netns.ip("link add cni0 type bridge")?;
    node.netns.ip(&format!("addr add 10.244.{number}.1/24 dev cni0"))?;
    node.netns.ip(&format!("addr add {}/64 dev cni0", node.pod_address6(1)))?;
    node.netns.ip("link set cni0 up")?;
    // As on every node of Kubernetes.
    forward(&node.netns)?;
    Ok(node)
}

fn default_routes(netns: &Netns, gateways6: Gateways6) -> Result<()> {
    netns.ip(&format!("route replace default via {ROUTER}"))?;
    netns.ip(&format!("route replace default {}", via6(ROUTER6, gateways6))).map(drop)
}

/// Links a namespace's `eth0` to the switch. What it sends has complete checksums, as on a real wire: XDP cannot see
/// that a checksum is still to be filled in.
pub(crate) fn plug(wire: &Netns, port: &str, netns: &Netns, (ip, ip6): (Ipv4Addr, Ipv6Addr)) -> Result<()> {
    wire.ip(&format!("link add {port} type veth peer name eth0 netns {}", netns.name()))?;
    wire.ip(&format!("link set {port} master switch up"))?;
    netns.shell("ethtool -K eth0 tx off tso off gso off")?;
    address(netns, (ip, ip6))?;
    netns.ip("link set eth0 up").map(drop)
}

fn address(netns: &Netns, (ip, ip6): (Ipv4Addr, Ipv6Addr)) -> Result<()> {
    netns.ip(&format!("addr replace {ip}/24 dev eth0"))?;
    netns.ip(&format!("addr replace {ip6}/64 dev eth0"))?;
    netns.ip(&format!("addr replace {}/64 dev eth0", link_local(ip6))).map(drop)
}

fn route_pods(nodes: &[Node], gateways6: Gateways6) -> Result<()> {
    nodes.iter().try_for_each(|from| route_pods_from(from, nodes, gateways6))
}

fn route_pods_from(from: &Node, nodes: &[Node], gateways6: Gateways6) -> Result<()> {
    for to in nodes.iter().filter(|to| to.number != from.number) {
        from.netns.ip(&format!("route replace {} via {}", to.pod_cidr(), to.ip))?;
        from.netns.ip(&format!("route replace {} {}", to.pod_cidr6(), via6(to.ip6, gateways6)))?;
    }
    Ok(())
}

fn pod_network(host: &Node, number: u8, (ip, ip6): (Ipv4Addr, Ipv6Addr), offload: bool) -> Result<Netns> {
    let netns = Netns::create(format!("{}-pod{number}", host.netns.name()))?;
    let link = format!("pod{number}");
    host.netns.ip(&format!("link add {link} type veth peer name eth0 netns {}", netns.name()))?;
    host.netns.ip(&format!("link set {link} master cni0 up"))?;
    if !offload {
        netns.shell("ethtool -K eth0 tx off tso off gso off")?;
    }
    netns.ip(&format!("addr add {ip}/24 dev eth0"))?;
    netns.ip(&format!("addr add {ip6}/64 dev eth0"))?;
    netns.ip("link set eth0 up")?;
    netns.ip(&format!("route add default via 10.244.{}.1", host.number))?;
    netns.ip(&format!("route add default via {}", host.pod_address6(1)))?;
    Ok(netns)
}
