//! Traffic policies: clients are led to backends on the node at which they arrive, and outer load balancers are told where
//! there are any.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use weir_lab::{CLIENT, CLIENT6, Cluster, Flow, Node, Process, Request, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{EXTERNAL, greeted_by, metric, scenario};
use crate::sockets::{CLUSTER_IP, in_pod};

const EXTERNAL6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, 0x64);
const CLUSTER_IP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 7);
const HEALTH: u16 = 32_100;

/// A dual-stack Service `web` with these policies, TCP at node port 30070 and UDP at 30053.
fn service(external: &str, internal: &str) -> String {
    let health = if external == "Local" { format!("  healthCheckNodePort: {HEALTH}\n") } else { String::new() };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  type: LoadBalancer\n  selector: {{app: web}}\n  \
         clusterIP: {CLUSTER_IP}\n  clusterIPs: [{CLUSTER_IP}, '{CLUSTER_IP6}']\n  ipFamilies: [IPv4, IPv6]\n  \
         externalTrafficPolicy: {external}\n  internalTrafficPolicy: {internal}\n{health}  ports:\n  \
         - {{name: tcp, port: 7070, nodePort: 30070, protocol: TCP}}\n  \
         - {{name: udp, port: 5353, nodePort: 30053, protocol: UDP}}\n\
         status: {{loadBalancer: {{ingress: [{{ip: {EXTERNAL}}}, {{ip: '{EXTERNAL6}'}}]}}}}\n"
    )
}

/// A pod on each node and the Service; agents run.
fn start(cluster: &mut Cluster, external: &str, internal: &str) -> Result<()> {
    cluster.add_pod(0, "near", "web")?;
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    cluster.write("web.yaml", &service(external, internal))?;
    cluster.start_agents()
}

/// The answer of a backend: its name, its node, and the client as it sees it.
fn expect_answer(answer: &str, pod: &str, client: IpAddr) -> Result<()> {
    let words: Vec<_> = answer.split(' ').collect();
    let seen = words.get(2).and_then(|peer| peer.parse::<SocketAddr>().ok()).map(|peer| peer.ip());
    ensure!(words.first() == Some(&pod) && seen == Some(client), "{answer} instead of {pod} with {client}");
    Ok(())
}

/// Status of a node's answer to an outer load balancer, how many endpoints it tells, and its weight.
fn health(cluster: &Cluster, node: &Node, six: bool) -> Result<(u16, u64, Option<String>)> {
    let at = if six { node.port6(HEALTH) } else { node.port(HEALTH) };
    let answer = Request::get("any", "/healthz").send(&cluster.client, at)?;
    let json = answer.json()?;
    ensure!(json["service"]["namespace"] == "default" && json["service"]["name"] == "web", "{json}");
    ensure!(json["serviceProxyHealthy"] == true, "{json}");
    let count = json["localEndpoints"].as_u64().with_context(|| json.to_string())?;
    Ok((answer.status, count, answer.header("x-load-balancing-endpoint-weight").map(str::to_owned)))
}

/// Connects over and over, and gives the pods that greeted.
fn greeted(process: &mut Process, to: SocketAddr, times: usize) -> Result<BTreeSet<String>> {
    let mut pods = BTreeSet::new();
    for _ in 0..times {
        process.connect("tcp", "c", to)?;
        let greeting = process.receive("c")?;
        pods.extend(greeting.split(' ').next().map(str::to_owned));
        process.close("c")?;
    }
    Ok(pods)
}

#[test]
#[ignore = "needs root"]
fn clients_from_outside_reach_only_local_backends_which_see_them() -> Result<()> {
    scenario(|cluster| {
        start(cluster, "Local", "Cluster")?;
        for (node, pod) in cluster.nodes.iter().zip(["near", "far"]) {
            for (tcp, udp, client) in [
                (node.port(30070), node.port(30053), IpAddr::from(CLIENT)),
                (node.port6(30070), node.port6(30053), CLIENT6.into()),
            ] {
                for _ in 0..12 {
                    expect_answer(&ask_tcp(&cluster.client, tcp, None)?, pod, client)?;
                    expect_answer(&ask_udp(&cluster.client, udp, None, "who")?, pod, client)?;
                }
            }
            for six in [false, true] {
                ensure!(
                    health(cluster, node, six)? == (200, 1, Some("1".to_owned())),
                    "{:?}",
                    health(cluster, node, six)?
                );
            }
        }
        for (vip, client) in [(IpAddr::from(EXTERNAL), IpAddr::from(CLIENT)), (EXTERNAL6.into(), CLIENT6.into())] {
            for _ in 0..12 {
                expect_answer(&ask_tcp(&cluster.client, (vip, 7070).into(), None)?, "near", client)?;
            }
        }
        // The policy is for clients from outside: those on the node reach every backend.
        let mut process = in_pod(cluster, "near")?;
        for at in [(EXTERNAL, 7070), (CLUSTER_IP, 7070), (cluster.nodes[0].ip, 30070)] {
            let seen = greeted(&mut process, at.into(), 24)?;
            ensure!(seen.len() == 2, "{at:?}: {seen:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_node_without_local_backends_says_so_and_takes_nobody() -> Result<()> {
    scenario(|cluster| {
        start(cluster, "Local", "Cluster")?;
        let near = cluster.pods.iter().position(|pod| pod.name == "near").map(|at| cluster.pods.remove(at));
        cluster.write_pods()?;
        for six in [false, true] {
            eventually("the node to say that it has no backend", SOON, || {
                let told = health(cluster, &cluster.nodes[0], six)?;
                ensure!(told == (503, 0, Some("0".to_owned())), "{told:?}");
                Ok(())
            })?;
            ensure!(health(cluster, &cluster.nodes[1], six)?.0 == 200);
        }
        for (to, client) in
            [(cluster.nodes[1].port(30070), IpAddr::from(CLIENT)), (cluster.nodes[1].port6(30070), CLIENT6.into())]
        {
            expect_answer(&ask_tcp(&cluster.client, to, None)?, "far", client)?;
        }
        for to in [cluster.nodes[0].port(30070), cluster.nodes[0].port6(30070)] {
            if let Ok(greeting) = ask_tcp(&cluster.client, to, None) {
                bail!("{to}: answered by {greeting}");
            }
        }
        eventually("the drops to be counted", SOON, || {
            let drops = metric(&cluster.nodes[0], "weir_drops_total{reason=\"no_local_backend\"}")?;
            ensure!(drops >= 2.0, "{drops}");
            Ok(())
        })?;
        cluster.pods.extend(near);
        cluster.write_pods()?;
        eventually("the node to take clients again", SOON, || {
            expect_answer(&ask_tcp(&cluster.client, cluster.nodes[0].port(30070), None)?, "near", CLIENT.into())?;
            ensure!(health(cluster, &cluster.nodes[0], false)?.0 == 200);
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn clients_inside_reach_only_local_backends_at_the_cluster_ip() -> Result<()> {
    scenario(|cluster| {
        start(cluster, "Cluster", "Local")?;
        let mut process = in_pod(cluster, "near")?;
        for at in [IpAddr::from(CLUSTER_IP), CLUSTER_IP6.into()] {
            let seen = greeted(&mut process, (at, 7070).into(), 24)?;
            ensure!(seen == ["near".to_owned()].into(), "{at}: {seen:?}");
        }
        let seen = greeted(&mut process, (EXTERNAL, 7070).into(), 24)?;
        ensure!(seen.len() == 2, "the external address follows the other policy: {seen:?}");
        // Without a local backend the call fails at once.
        let other = cluster.add_pod(0, "other", "other").map(|pod| pod.name.clone())?;
        let mut process = in_pod(cluster, &other)?;
        let near = cluster.pods.iter().position(|pod| pod.name == "near").map(|at| cluster.pods.remove(at));
        cluster.write_pods()?;
        for at in [IpAddr::from(CLUSTER_IP), CLUSTER_IP6.into()] {
            eventually("connections to be refused", SOON, || match process.connect("tcp", "c", (at, 7070).into()) {
                Ok(_) => bail!("connected"),
                Err(_) => Ok(()),
            })?;
        }
        drop(near);
        Ok(())
    })
}

/// The pods that answer at a place over and over.
fn only(cluster: &Cluster, to: SocketAddr, pod: &str) -> Result<()> {
    let pods = greeted_by(cluster, to, 16)?;
    ensure!(pods.len() == 1 && pods.contains_key(pod), "{to}: {pods:?} instead of {pod} alone");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn clients_are_led_to_the_backends_that_are_preferred_and_connections_stay() -> Result<()> {
    scenario(|cluster| {
        start(cluster, "Cluster", "Cluster")?;
        let [first, second] = [0, 1].map(|at| (cluster.nodes[at].port(30070), cluster.nodes[at].port6(30070)));
        // of the first node's clients one is with the pod on the other
        let flow = eventually("a connection to the pod on the other node", SOON, || {
            let flow = Flow::start(&cluster.client, first.0)?;
            ensure!(flow.pod() == "far", "{}", flow.pod());
            Ok(flow)
        })?;
        let preferring =
            service("Cluster", "Cluster").replace("spec:\n", "spec:\n  trafficDistribution: PreferSameNode\n");
        cluster.write("web.yaml", &preferring)?;
        for (to, pod) in [(first.0, "near"), (first.1, "near"), (second.0, "far"), (second.1, "far")] {
            eventually("the node's own pod to be preferred", SOON, || only(cluster, to, pod))?;
        }
        let mut process = in_pod(cluster, "near")?;
        for at in [IpAddr::from(CLUSTER_IP), CLUSTER_IP6.into()] {
            let seen = greeted(&mut process, (at, 7070).into(), 16)?;
            ensure!(seen == ["near".to_owned()].into(), "{at}: {seen:?}");
        }
        flow.goes_on(10)?;
        ensure!(flow.stop()?.error.is_none(), "the connection to the other pod ended");
        // without a pod of its own a node leads to the others
        let near = cluster.pods.iter().position(|pod| pod.name == "near").map(|at| cluster.pods.remove(at));
        cluster.write_pods()?;
        for to in [first.0, first.1] {
            eventually("the other node's pod to answer", SOON, || only(cluster, to, "far"))?;
        }
        drop(near);
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn cluster_ips_answer_outside_only_where_that_is_asked_for() -> Result<()> {
    scenario(|cluster| {
        cluster.nodes[1].agent_options().arguments.push("--external-cluster-ips".to_owned());
        start(cluster, "Cluster", "Cluster")?;
        let places = [IpAddr::from(CLUSTER_IP), CLUSTER_IP6.into()];
        let by = |node: &Node| -> Result<()> {
            cluster.client.ip(&format!("route replace {CLUSTER_IP} via {}", node.ip))?;
            cluster.client.ip(&format!("-6 route replace {CLUSTER_IP6} via {}", node.ip6)).map(drop)
        };
        by(&cluster.nodes[1])?;
        for at in places {
            ask_tcp(&cluster.client, (at, 7070).into(), None).with_context(|| at.to_string())?;
        }
        by(&cluster.nodes[0])?;
        for at in places {
            if let Ok(greeting) = ask_tcp(&cluster.client, (at, 7070).into(), None) {
                bail!("{at}: answered by {greeting}");
            }
        }
        Ok(())
    })
}
