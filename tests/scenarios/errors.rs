//! ICMP errors that arrive at another node than the flow that they are about, and errors about tunnels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use weir_lab::{Branch, Cluster, Node, Port, Request, SOON, Service, eventually};

use crate::common::{EXTERNAL, metric, scenario};
use crate::ipv6::EXTERNAL6;

/// VIPs of a Service whose only pod is on the second node, of each family.
const VIPS: [IpAddr; 2] = [IpAddr::V4(EXTERNAL), IpAddr::V6(EXTERNAL6)];
/// VIPs of the front, of each family.
const FRONT: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 1, 33, 159)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x300, 0, 0, 0, 0, 1))];
/// More than a window.
const BULK: usize = 1_000_000;

fn event(cluster: &Cluster, node: usize, name: &str) -> Result<f64> {
    metric(&cluster.nodes[node], &format!("weir_packet_events_total{{event=\"{name}\"}}"))
}

/// A Service of both families with its only pod on the second node; agents run.
fn far(cluster: &mut Cluster, annotations: &str) -> Result<()> {
    cluster.add_pod(1, "far", "far")?;
    cluster.write_pods()?;
    let [four, six] = VIPS.map(|vip| vip.to_string());
    let (ports, families) = ([Port::tcp(80, 8080)], ["IPv4", "IPv6"]);
    let service = Service {
        name: "far",
        app: "far",
        ports: &ports,
        external_ips: &[&four, &six],
        families: &families,
        kind: None,
    };
    let yaml = service.yaml().replace("namespace: default}", &format!("namespace: default{annotations}}}"));
    ensure!(yaml.contains(annotations), "{yaml}");
    cluster.write("far.yaml", &yaml)?;
    cluster.start_agents()
}

/// The same Service behind the front, at VIPs of the front.
fn behind_the_front(cluster: &Cluster) -> Result<()> {
    let [four, six] = FRONT.map(|vip| vip.to_string());
    let (ports, families) = ([Port::tcp(80, 80)], ["IPv4", "IPv6"]);
    let front = Service {
        name: "front",
        app: "front",
        ports: &ports,
        external_ips: &[&four, &six],
        families: &families,
        kind: None,
    };
    cluster.write("front.yaml", &front.yaml().replace("{app: front}", "{app.kubernetes.io/name: weir}"))?;
    cluster.write(
        "ingress.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: far}\nspec:\n  \
         defaultBackend: {service: {name: far, port: {number: 80}}}\n",
    )
}

/// Errors that the router itself sends to a VIP go to this node, as if it spread packets over nodes by another hash.
fn send_errors_to(branch: &Branch, node: &Node) -> Result<()> {
    branch.router.ip("rule add ipproto icmp iif lo lookup 77")?;
    branch.router.ip("-6 rule add ipproto ipv6-icmp iif lo lookup 77")?;
    for vip in VIPS.into_iter().chain(FRONT) {
        let (family, via) = if vip.is_ipv4() { ("-4", IpAddr::from(node.ip)) } else { ("-6", node.ip6.into()) };
        branch.router.ip(&format!("{family} route add {vip} via {via} table 77"))?;
    }
    Ok(())
}

fn download(branch: &Branch, vip: IpAddr) -> Result<()> {
    let large = Request::get("x", &format!("/bytes/{BULK}")).send(&branch.client, (vip, 80).into())?;
    ensure!(large.body.len() == BULK, "{vip}: {} bytes", large.body.len());
    Ok(())
}

/// The first node gave the lease, and the pod knows nothing but that; or the first node's front has the connection. The errors come
/// to the second one.
#[test]
#[ignore = "needs root"]
fn an_error_finds_the_node_that_gave_the_lease_or_whose_front_it_is_for() -> Result<()> {
    scenario(|cluster| {
        behind_the_front(cluster)?;
        far(cluster, "")?;
        let branch = cluster.branch(1_280)?;
        send_errors_to(&branch, &cluster.nodes[1])?;
        for vip in VIPS {
            let before = (event(cluster, 1, "icmp_errors_shared")?, event(cluster, 0, "icmp_errors")?);
            download(&branch, vip).with_context(|| format!("{vip}: the pod does not learn how much fits"))?;
            eventually("the first node to translate an error that the second one shared", SOON, || {
                let after = (event(cluster, 1, "icmp_errors_shared")?, event(cluster, 0, "icmp_errors")?);
                ensure!(after.0 > before.0 && after.1 > before.1, "{vip}: {after:?} after {before:?}");
                Ok(())
            })?;
        }
        for vip in FRONT {
            let before = event(cluster, 1, "icmp_errors_shared")?;
            eventually("the front to answer", SOON, || {
                Request::get("x", "/").send(&branch.client, (vip, 80).into()).map(drop)
            })?;
            download(&branch, vip).with_context(|| format!("{vip}: the front does not learn how much fits"))?;
            eventually("the second node to share an error", SOON, || {
                let after = event(cluster, 1, "icmp_errors_shared")?;
                ensure!(after > before, "{vip}: {after} as before");
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// Replies leave from the second node, and errors about them come to the first one, which keeps nothing of the flow.
#[test]
#[ignore = "needs root"]
fn an_error_about_a_flow_of_dsr_finds_the_backends_node() -> Result<()> {
    scenario(|cluster| {
        far(cluster, ", annotations: {weir.io/forwarding: dsr}")?;
        for node in &cluster.nodes {
            node.add_invalid_rule()?;
            node.add_masquerade_rule()?;
        }
        let branch = cluster.branch(1_280)?;
        // no agent is needed for it
        cluster.nodes[0].end_agent(rustix::process::Signal::KILL)?;
        for vip in VIPS {
            let before = event(cluster, 1, "icmp_errors")?;
            download(&branch, vip).with_context(|| format!("{vip}: the pod does not learn how much fits"))?;
            eventually("the second node to translate an error", SOON, || {
                let after = event(cluster, 1, "icmp_errors")?;
                ensure!(after > before, "{vip}: {after} errors as before");
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// Between the nodes is a router with a narrower link: what it says of the tunnel is told to the client.
#[test]
#[ignore = "needs root"]
fn a_client_learns_how_much_goes_through_a_tunnel() -> Result<()> {
    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);
    const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 2);
    scenario(|cluster| {
        far(cluster, ", annotations: {weir.io/forwarding: dsr}")?;
        let branch = cluster.branch(1_500)?;
        let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
        for (family, node, prefix, router) in [
            ("", second.ip.to_string(), 32, ROUTER.to_string()),
            ("-6", second.ip6.to_string(), 128, ROUTER6.to_string()),
        ] {
            branch.router.ip(&format!("{family} route add {node}/{prefix} dev eth0 mtu lock 1400"))?;
            first.netns.ip(&format!("{family} route add {node}/{prefix} via {router}"))?;
        }
        for (vip, fits) in VIPS.into_iter().zip(["mtu 1380", "mtu 1360"]) {
            let request = Request::post("x", "/", vec![b'u'; 300_000]);
            let response = request.send(&cluster.client, (vip, 80).into()).with_context(|| vip.to_string())?;
            ensure!(response.json()?["bodyBytes"] == 300_000, "{vip}: {}", response.text());
            let told = cluster.client.ip(&format!("route get {vip}"))?;
            ensure!(told.contains(fits), "{vip}: {told}");
        }
        eventually("both errors to be counted", SOON, || {
            let told = event(cluster, 0, "icmp_errors_of_tunnels")?;
            ensure!(told >= 2.0, "{told} errors");
            Ok(())
        })
    })
}
