//! The front as processes and pods of the node see it: its VIPs, its NodePort, and port 80 of the node.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Port, Process, Request, Service};

use crate::common::{scenario, web};
use crate::sockets::{in_pod, on_host};

/// The VIP of the front.
const VIP: Ipv4Addr = Ipv4Addr::new(10, 1, 33, 159);
/// Its NodePort.
const NODE_PORT: u16 = 31180;

/// An Ingress for the pods of [`web`], and a Service of the front.
fn ingress(cluster: &mut Cluster) -> Result<()> {
    web(cluster)?;
    let vip = VIP.to_string();
    let front = Service {
        name: "front",
        ports: &[Port::tcp(80, 80).at(NODE_PORT)],
        external_ips: &[&vip],
        kind: Some("NodePort"),
        ..Service::default()
    };
    cluster.write("front.yaml", &front.yaml().replace("{app: }", "{app.kubernetes.io/name: weir}"))?;
    cluster.write(
        "ingress.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec:\n  \
         defaultBackend: {service: {name: web, port: {number: 80}}}\n",
    )?;
    cluster.start_agents()
}

/// The beginning of a request by a process, whose lines end in LF alone: the front's guard refuses that, and nobody else
/// would say so. Gives the status line.
fn asked(process: &mut Process, to: SocketAddr) -> Result<String> {
    process.connect("tcp", "c", to)?;
    let peer = process.peer("c")?;
    ensure!(peer == to, "getpeername says {peer} instead of {to}");
    process.send("c", "GET /inside HTTP/1.1")?;
    let status = process.receive("c")?;
    process.close("c")?;
    Ok(status)
}

#[test]
#[ignore = "needs root"]
fn the_front_serves_processes_and_pods_of_its_own_node() -> Result<()> {
    scenario(|cluster| {
        ingress(cluster)?;
        let own = cluster.nodes[0].ip;
        for (name, mut process) in [("the host", on_host(cluster)?), ("a pod", in_pod(cluster, "near")?)] {
            for to in [(VIP, 80), (own, NODE_PORT), (own, 80)].map(SocketAddr::from) {
                let status = asked(&mut process, to).with_context(|| format!("{name} to {to}"))?;
                ensure!(status.starts_with("HTTP/1.1 400"), "{name} to {to}: {status}");
            }
        }
        // no hook sees these threads; what they send to the node arrives there like anything else
        let pod = cluster.pods.iter().find(|pod| pod.name == "near").context("no such pod")?;
        let mut pods = BTreeSet::new();
        for netns in [&cluster.nodes[0].netns, &pod.netns] {
            for _ in 0..8 {
                let answer = Request::get("shop.test", "/inside").send(netns, (own, 80).into())?;
                ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
                pods.insert(answer.field("pod")?);
            }
        }
        ensure!(pods.len() == 2, "only {pods:?}");
        Ok(())
    })
}
