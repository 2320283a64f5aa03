//! Socket-level balancing: processes and pods of a node reach services without a packet that names one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use weir_lab::{Cluster, ControlGroup, Family, Node, Process, SOON, eventually};

use crate::common::{EXTERNAL, metric, scenario};
use crate::ipv6::{BALANCER, BALANCER6, EXTERNAL6};

/// The cluster IP of [`inside`].
pub(crate) const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 7, 7);
/// The same of IPv6.
pub(crate) const CLUSTER_IP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 7);
/// The lab's program.
const PROCESS: &str = env!("CARGO_BIN_EXE_weir-lab-process");

/// A Service with a cluster IP, an external IP and node ports: TCP 7070 at 30070, UDP 5353 at 30053.
pub(crate) fn service(app: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: inside}}\nspec:\n  type: NodePort\n  selector: {{app: {app}}}\n  \
         clusterIP: {CLUSTER_IP}\n  externalIPs: [{EXTERNAL}]\n  ports:\n  \
         - {{name: tcp, port: 7070, nodePort: 30070, protocol: TCP}}\n  \
         - {{name: udp, port: 5353, nodePort: 30053, protocol: UDP}}\n"
    )
}

/// The same with addresses of both families.
pub(crate) fn dual_service(app: &str) -> String {
    let addresses = format!("ipFamilies: [IPv4, IPv6]\n  clusterIPs: [{CLUSTER_IP}, \"{CLUSTER_IP6}\"]");
    let external = format!("externalIPs: [{EXTERNAL}, \"{EXTERNAL6}\"]");
    service(app)
        .replace(&format!("clusterIP: {CLUSTER_IP}"), &addresses)
        .replace(&format!("externalIPs: [{EXTERNAL}]"), &external)
}

/// A pod on each node and the Service; agents run.
pub(crate) fn inside(cluster: &mut Cluster) -> Result<()> {
    inside_with(cluster, &service("web"))
}

/// The same with [`dual_service`].
fn dual_inside(cluster: &mut Cluster) -> Result<()> {
    inside_with(cluster, &dual_service("web"))
}

fn inside_with(cluster: &mut Cluster, manifest: &str) -> Result<()> {
    cluster.add_pod(0, "near", "web")?;
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    cluster.write("inside.yaml", manifest)?;
    cluster.start_agents()
}

/// The control group of a node.
fn group(node: &Node) -> Result<&ControlGroup> {
    node.group.as_ref().context("socket-level balancing needs a cgroup v2 hierarchy on this machine")
}

/// A process of the first node itself.
pub(crate) fn on_host(cluster: &Cluster) -> Result<Process> {
    let node = &cluster.nodes[0];
    Process::start(Path::new(PROCESS), &node.netns, Some(group(node)?))
}

/// A process in a pod of the first node.
pub(crate) fn in_pod(cluster: &Cluster, pod: &str) -> Result<Process> {
    let pod = cluster.pods.iter().find(|found| found.name == pod).context("no such pod")?;
    Process::start(Path::new(PROCESS), &pod.netns, Some(group(&cluster.nodes[0])?))
}

/// Connects over and over, and gives the pods that greeted.
pub(crate) fn greeted(process: &mut Process, to: SocketAddr, times: usize) -> Result<BTreeSet<String>> {
    let mut pods = BTreeSet::new();
    for _ in 0..times {
        process.connect("tcp", "c", to)?;
        let peer = process.peer("c")?;
        ensure!(peer == to, "getpeername says {peer} instead of {to}");
        let greeting = process.receive("c")?;
        pods.extend(greeting.split(' ').next().map(str::to_owned));
        process.close("c")?;
    }
    Ok(pods)
}

/// Asks over and over by new sockets, connected and not, and gives the pods that answered.
pub(crate) fn answered(process: &mut Process, to: SocketAddr, times: usize) -> Result<BTreeSet<String>> {
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let mut pods = BTreeSet::new();
    for _ in 0..times {
        process.bind("u", any)?;
        let (from, first) = process.exchange("u", to, "one")?;
        let (_, second) = process.exchange("u", to, "two")?;
        ensure!(from == to, "the answer comes from {from} instead of {to}");
        let pod = |answer: &str| answer.split(' ').next().map(str::to_owned);
        ensure!(pod(&first) == pod(&second), "one socket, two pods: {first}, {second}");
        process.connect("udp", "c", to)?;
        ensure!(process.peer("c")? == to, "{}", process.peer("c")?);
        process.send("c", "three")?;
        let third = process.receive("c")?;
        pods.extend([pod(&first), pod(&third)].into_iter().flatten());
    }
    Ok(pods)
}

fn both() -> BTreeSet<String> {
    ["near", "far"].map(str::to_owned).into()
}

#[test]
#[ignore = "needs root"]
fn processes_and_pods_reach_every_address_of_a_service_and_see_its_name() -> Result<()> {
    scenario(|cluster| {
        inside(cluster)?;
        let node = &cluster.nodes[0];
        let status = &node.api("status")?["status"]["socketLevel"];
        ensure!(status["attached"] == true && status["wholeNode"] == false, "{status}");
        let own = [node.ip, Ipv4Addr::new(10, 244, 1, 1)];
        for (name, mut process) in [("host", on_host(cluster)?), ("pod", in_pod(cluster, "near")?)] {
            let mut places = vec![(CLUSTER_IP, 7070, 5353), (EXTERNAL, 7070, 5353)];
            places.extend(own.map(|address| (address, 30070, 30053)));
            if name == "host" {
                places.push((Ipv4Addr::LOCALHOST, 30070, 30053));
                places.push((Ipv4Addr::new(127, 3, 2, 1), 30070, 30053));
            }
            for (address, tcp, udp) in places {
                let seen = greeted(&mut process, (address, tcp).into(), 24)?;
                ensure!(seen == both(), "{name} to {address}: {seen:?}");
                let seen = answered(&mut process, (address, udp).into(), 12)?;
                ensure!(seen == both(), "{name} to {address}/udp: {seen:?}");
            }
        }
        eventually("the connections to be counted", SOON, || {
            let rows = node.rows("services")?;
            let flows =
                |port: u64| rows.iter().find(|row| row["port"] == port).map(|row| row["counters"]["newFlows"].as_u64());
            ensure!(flows(7070) == Some(Some(24 * 10)), "{rows:?}");
            // a choice of the unconnected and one of the connected socket
            ensure!(flows(5353) == Some(Some(2 * 12 * 10)), "{rows:?}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn a_pods_own_loopback_and_what_is_no_service_stay_as_they_are() -> Result<()> {
    scenario(|cluster| {
        inside(cluster)?;
        let mut pod = in_pod(cluster, "near")?;
        let refused = |result: Result<()>| match result {
            Ok(()) => bail!("connected"),
            Err(error) => ensure_refused(&error),
        };
        refused(pod.connect("tcp", "c", "127.0.0.1:30070".parse()?)).context("a pod's loopback")?;
        let mut host = on_host(cluster)?;
        // bound to loopback, a socket could not reach a pod: nobody listens, so it is refused, and not told EINVAL
        let bound = host.connect_from("c", "127.0.0.1:0".parse()?, "127.0.0.1:30070".parse()?);
        refused(bound).context("bound to loopback")?;
        host.connect("tcp", "direct", (cluster.pods[1].ip, 7070).into())?;
        ensure!(host.peer("direct")? == (cluster.pods[1].ip, 7070).into(), "{}", host.peer("direct")?);
        ensure!(host.receive("direct")?.starts_with("far "), "another pod");
        Ok(())
    })
}

/// ECONNREFUSED; before 6.1 weir can only say EPERM.
fn ensure_refused(error: &anyhow::Error) -> Result<()> {
    let text = format!("{error:#}");
    ensure!(text.contains("os error 111") || text.contains("os error 1)"), "not refused: {text}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn without_backends_calls_fail_at_once() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        cluster.write_pods()?;
        cluster.write("inside.yaml", &service("nobody"))?;
        cluster.start_agents()?;
        let mut pod = in_pod(cluster, "near")?;
        for (address, port) in [(CLUSTER_IP, 7070), (cluster.nodes[0].ip, 30070)] {
            match pod.connect("tcp", "c", (address, port).into()) {
                Ok(()) => bail!("{address} answers"),
                Err(error) => ensure_refused(&error).with_context(|| address.to_string())?,
            }
        }
        pod.bind("u", "0.0.0.0:0".parse()?)?;
        match pod.send_to("u", (CLUSTER_IP, 5353).into(), "anybody?") {
            Ok(()) => bail!("a datagram to nobody was taken"),
            Err(error) => ensure_refused(&error),
        }
    })
}

#[test]
#[ignore = "needs root"]
fn an_address_of_ipv4_in_ipv6_form_is_balanced_too() -> Result<()> {
    scenario(|cluster| {
        inside(cluster)?;
        let mapped = |port| SocketAddr::from((CLUSTER_IP.to_ipv6_mapped(), port));
        let mut pod = in_pod(cluster, "near")?;
        ensure!(greeted(&mut pod, mapped(7070), 24)? == both(), "not both pods");
        ensure!(answered(&mut pod, mapped(5353), 12)? == both(), "not both pods over UDP");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn sockets_are_balanced_without_an_agent_until_unload() -> Result<()> {
    scenario(|cluster| {
        inside(cluster)?;
        let mut pod = in_pod(cluster, "near")?;
        pod.connect("tcp", "long", (CLUSTER_IP, 7070).into())?;
        pod.receive("long")?;
        cluster.nodes[0].end_agent(Signal::KILL)?;
        ensure!(greeted(&mut pod, (CLUSTER_IP, 7070).into(), 24)? == both(), "not both pods without an agent");
        cluster.nodes[0].start_agent()?;
        ensure!(greeted(&mut pod, (CLUSTER_IP, 7070).into(), 24)? == both(), "not both pods under the second agent");
        ensure!(pod.peer("long")? == (CLUSTER_IP, 7070).into(), "the name is forgotten");
        cluster.nodes[0].end_agent(Signal::TERM)?;
        let pins = cluster.nodes[0].agent_options().pin_path.display().to_string();
        cluster.nodes[0].weir(&["unload", "--pin-path", &pins])?;
        // nobody replaces the address any more: the packet leaves, and no one answers
        ensure!(pod.connect("tcp", "c", (CLUSTER_IP, 7070).into()).is_err(), "still balanced after unload");
        pod.send("long", "still there?")?;
        ensure!(pod.receive("long")? == "still there?", "the connection broke");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn sockets_are_moved_or_told_when_their_backend_goes() -> Result<()> {
    moved_or_told(Family::V4)
}

#[test]
#[ignore = "needs root"]
fn sockets_of_ipv6_are_moved_or_told_when_their_backend_goes() -> Result<()> {
    moved_or_told(Family::V6)
}

fn moved_or_told(family: Family) -> Result<()> {
    scenario(|cluster| {
        dual_inside(cluster)?;
        let status = &cluster.nodes[0].api("status")?["status"]["socketLevel"];
        ensure!(status["closesSockets"] == true, "{status}");
        let mut pod = in_pod(cluster, "near")?;
        let cluster_ip: IpAddr = family.of(CLUSTER_IP.into(), CLUSTER_IP6.into());
        let (tcp, udp) = ((cluster_ip, 7070).into(), (cluster_ip, 5353).into());
        // Each is led by chance: enough of each kind that none is left without one at `far`.
        let names = |kind: &str| (0..32).map(|number| format!("{kind}{number}")).collect::<Vec<_>>();
        let mut leads = BTreeMap::new();
        for name in names("tcp") {
            pod.connect("tcp", &name, tcp)?;
            leads.insert(name.clone(), pod.receive(&name)?);
        }
        for name in names("con") {
            pod.connect("udp", &name, udp)?;
            pod.send(&name, "hello")?;
            leads.insert(name.clone(), pod.receive(&name)?);
        }
        for name in names("free") {
            pod.bind(&name, family.of("0.0.0.0:0", "[::]:0").parse()?)?;
            leads.insert(name.clone(), pod.exchange(&name, udp, "hello")?.1);
        }
        let to_far = leads.iter().filter(|(_, answer)| answer.starts_with("far ")).map(|(name, _)| name.clone());
        let to_far: BTreeSet<String> = to_far.collect();
        for kind in ["tcp", "con", "free"] {
            ensure!(to_far.iter().any(|name| name.starts_with(kind)), "no {kind} socket went to far: {leads:?}");
        }
        // Out of the manifests; the pod itself goes on answering, so nothing but weir can tell.
        let gone = cluster.pods.iter().position(|pod| pod.name == "far").map(|at| cluster.pods.remove(at));
        cluster.write_pods()?;
        for name in leads.keys() {
            let told = !name.starts_with("free") && to_far.contains(name);
            eventually("each socket to be told, or to go on", SOON, || {
                let answer = if name.starts_with("free") {
                    pod.exchange(name, udp, "again").map(|(_, text)| text)
                } else {
                    pod.send(name, "again").and_then(|()| pod.receive(name))
                };
                match answer {
                    Ok(text) => ensure!(!told && !text.starts_with("far "), "{name} still talks to far: {text}"),
                    Err(error) => ensure!(told, "{name} was closed: {error:#}"),
                }
                Ok(())
            })?;
        }
        drop(gone);
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn ipv6_and_addresses_of_load_balancers_are_balanced_at_sockets_too() -> Result<()> {
    scenario(|cluster| {
        let status = format!("status: {{loadBalancer: {{ingress: [{{ip: {BALANCER}}}, {{ip: \"{BALANCER6}\"}}]}}}}\n");
        inside_with(cluster, &(dual_service("web").replace("type: NodePort", "type: LoadBalancer") + &status))?;
        let node = &cluster.nodes[0];
        for (name, mut process) in [("host", on_host(cluster)?), ("pod", in_pod(cluster, "near")?)] {
            let vips: [IpAddr; 4] = [CLUSTER_IP6.into(), EXTERNAL6.into(), BALANCER6.into(), BALANCER.into()];
            let own = [Some(node.ip6), (name == "host").then_some(Ipv6Addr::LOCALHOST)].into_iter().flatten();
            let own = own.map(|address| (IpAddr::from(address), 30070, 30053));
            for (address, tcp, udp) in vips.map(|vip| (vip, 7070, 5353)).into_iter().chain(own) {
                let seen = greeted(&mut process, (address, tcp).into(), 24)?;
                ensure!(seen == both(), "{name} to {address}: {seen:?}");
                let seen = answered(&mut process, (address, udp).into(), 12)?;
                ensure!(seen == both(), "{name} to {address}/udp: {seen:?}");
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn cluster_ips_answer_nobody_outside() -> Result<()> {
    scenario(|cluster| {
        inside(cluster)?;
        let to = SocketAddr::from((CLUSTER_IP, 7070));
        ensure!(weir_lab::ask_tcp(&cluster.client, to, None).is_err(), "the cluster IP answers a client outside");
        ensure!(metric(&cluster.nodes[0], "weir_drops_total{reason=\"no_backend\"}")? == 0.0, "taken and dropped");
        Ok(())
    })
}
