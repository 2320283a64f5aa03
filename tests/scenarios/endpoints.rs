//! What becomes of connections and datagrams when the conditions of endpoints change (KEP-1669).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Flow, Port, SOON, Service, ask_udp, eventually};

use crate::common::{greeted_by, scenario};

/// The conditions of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    ready: bool,
    serving: bool,
    terminating: bool,
}

pub(crate) const READY: Conditions = Conditions { ready: true, serving: true, terminating: false };
const NOT_READY: Conditions = Conditions { ready: false, serving: false, terminating: false };
const DRAINING: Conditions = Conditions { ready: false, serving: true, terminating: true };
const ENDING: Conditions = Conditions { ready: false, serving: false, terminating: true };

/// Slices of both families for the Service of [`drained`], with these of the cluster's pods.
pub(crate) fn slices(cluster: &Cluster, pods: &[(&str, Conditions)]) -> Result<String> {
    let mut text = String::new();
    for (family, is_six) in [("IPv4", false), ("IPv6", true)] {
        let name = family.to_lowercase();
        writeln!(text, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: {family}")?;
        writeln!(text, "metadata: {{name: web-{name}, labels: {{kubernetes.io/service-name: web}}}}")?;
        writeln!(text, "ports: [{{name: tcp-7070, port: 7070}}, {{name: udp-5353, port: 5353, protocol: UDP}}]")?;
        writeln!(text, "endpoints:{}", if pods.is_empty() { " []" } else { "" })?;
        for (name, conditions) in pods {
            let pod = cluster.pods.iter().find(|pod| pod.name == *name).context("no such pod")?;
            let address = if is_six { pod.ip6.to_string() } else { pod.ip.to_string() };
            let Conditions { ready, serving, terminating } = conditions;
            writeln!(text, "- addresses: ['{address}']\n  nodeName: {}", pod.node)?;
            writeln!(text, "  conditions: {{ready: {ready}, serving: {serving}, terminating: {terminating}}}")?;
        }
    }
    Ok(text)
}

/// A dual-stack Service `web`, TCP at node port 30070 and UDP at 30053, with a ready pod on each node; agents run.
fn drained(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(0, "near", "web")?;
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    let ports = [Port::tcp(7070, 7070).at(30070), Port::udp(5353, 5353).at(30053)];
    let families = ["IPv4", "IPv6"];
    let service = Service {
        name: "web",
        app: "web",
        ports: &ports,
        kind: Some("NodePort"),
        families: &families,
        ..Service::default()
    };
    cluster.write("web.yaml", &service.yaml())?;
    cluster.write("slices.yaml", &slices(cluster, &[("near", READY), ("far", READY)])?)?;
    cluster.start_agents()
}

/// Waits until new connections and datagrams of new sockets reach exactly these pods.
fn expect_new_ones_at(cluster: &Cluster, to: SocketAddr, pods: &[&str]) -> Result<()> {
    let udp = SocketAddr::new(to.ip(), 30053);
    let wanted: BTreeSet<String> = pods.iter().map(|pod| (*pod).to_owned()).collect();
    eventually("new flows to reach those that take them", SOON, || {
        let tcp: BTreeSet<String> = greeted_by(cluster, to, 24)?.into_keys().collect();
        let answers = (0..24).map(|_| ask_udp(&cluster.client, udp, None, "who")).collect::<Result<Vec<_>>>()?;
        let udp: BTreeSet<_> = answers.iter().filter_map(|a| a.split(' ').next()).map(str::to_owned).collect();
        ensure!(tcp == wanted && udp == wanted, "TCP {tcp:?}, UDP {udp:?} instead of {wanted:?}");
        Ok(())
    })
}

/// A connection to this pod.
fn flow_to(cluster: &Cluster, to: SocketAddr, pod: &str) -> Result<Flow> {
    eventually("a connection to a pod", SOON, || {
        let flow = Flow::start(&cluster.client, to)?;
        ensure!(flow.pod() == pod, "{} answered", flow.pod());
        Ok(flow)
    })
}

/// A source port whose datagrams go to this pod.
fn socket_to(cluster: &Cluster, to: SocketAddr, pod: &str) -> Result<u16> {
    for port in 20_000..20_064 {
        if ask_udp(&cluster.client, to, Some(port), "first")?.starts_with(pod) {
            return Ok(port);
        }
    }
    anyhow::bail!("no datagram reached {pod}")
}

#[test]
#[ignore = "needs root"]
fn connections_stay_with_backends_that_take_no_new_ones() -> Result<()> {
    scenario(|cluster| {
        drained(cluster)?;
        for to in [cluster.nodes[0].port(30070), cluster.nodes[0].port6(30070)] {
            let udp = SocketAddr::new(to.ip(), 30053);
            cluster.write("slices.yaml", &slices(cluster, &[("near", READY), ("far", READY)])?)?;
            expect_new_ones_at(cluster, to, &["far", "near"])?;
            let flow = flow_to(cluster, to, "near")?;
            let port = socket_to(cluster, udp, "near")?;

            cluster.write("slices.yaml", &slices(cluster, &[("near", DRAINING), ("far", READY)])?)?;
            expect_new_ones_at(cluster, to, &["far"])?;
            flow.goes_on(5)?;
            let answer = ask_udp(&cluster.client, udp, Some(port), "second")?;
            ensure!(answer.starts_with("near"), "it ends but serves, so its datagrams stay: {answer}");

            for conditions in [ENDING, NOT_READY] {
                cluster.write("slices.yaml", &slices(cluster, &[("near", conditions), ("far", READY)])?)?;
                eventually("datagrams to leave a pod that does not serve", SOON, || {
                    let answer = ask_udp(&cluster.client, udp, Some(port), "third")?;
                    ensure!(answer.starts_with("far"), "{answer}");
                    Ok(())
                })?;
                expect_new_ones_at(cluster, to, &["far"])?;
                flow.goes_on(5)?;
            }

            cluster.write("slices.yaml", &slices(cluster, &[("near", DRAINING), ("far", DRAINING)])?)?;
            expect_new_ones_at(cluster, to, &["far", "near"])?;
            cluster.write("slices.yaml", &slices(cluster, &[("near", NOT_READY), ("far", DRAINING)])?)?;
            expect_new_ones_at(cluster, to, &["far"])?;
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "{to}: the connection broke: {report:?}");
        }
        Ok(())
    })
}
