//! Which clients a Service is for, which of them keep their backend, and whose packets are dropped whatever they are for.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use weir_lab::{CLIENT, CLIENT6, Cluster, Flow, SOON, ask_tcp, eventually, ping};

use crate::common::{EXTERNAL, metric, scenario};
use crate::sockets::{CLUSTER_IP, in_pod};

const EXTERNAL6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, 0x64);

/// A dual-stack Service `web` of type LoadBalancer, TCP at node port 30070, with these lines in its metadata and its spec.
fn service(metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web{metadata}}}\nspec:\n  type: LoadBalancer\n  \
         selector: {{app: web}}\n  clusterIP: {CLUSTER_IP}\n  ipFamilies: [IPv4, IPv6]\n{spec}  ports:\n  \
         - {{name: tcp, port: 7070, nodePort: 30070, protocol: TCP}}\n\
         status: {{loadBalancer: {{ingress: [{{ip: {EXTERNAL}}}, {{ip: '{EXTERNAL6}'}}]}}}}\n"
    )
}

fn vips() -> [SocketAddr; 2] {
    [(IpAddr::from(EXTERNAL), 7070).into(), (IpAddr::from(EXTERNAL6), 7070).into()]
}

/// The pods that answer so many connections of the client.
fn seen(cluster: &Cluster, to: SocketAddr, times: usize) -> Result<BTreeSet<String>> {
    let pod = |answer: String| answer.split(' ').next().unwrap_or_default().to_owned();
    (0..times).map(|_| ask_tcp(&cluster.client, to, None).map(pod)).collect()
}

/// The node itself, which is no frontend, answers the client's ping.
fn node_answers(cluster: &Cluster, patience: Duration) -> Result<()> {
    ping(&cluster.client, cluster.nodes[0].ip, b"node", patience)
}

fn drops(cluster: &Cluster, reason: &str) -> Result<f64> {
    metric(&cluster.nodes[0], &format!("weir_drops_total{{reason=\"{reason}\"}}"))
}

fn counted(cluster: &Cluster, reason: &str, more_than: f64) -> Result<()> {
    eventually("the drops to be counted", SOON, || {
        let now = drops(cluster, reason)?;
        ensure!(now > more_than, "{reason}: {now}");
        Ok(())
    })
}

/// By chance, so that nothing but the memory of the client leads it to the same backend.
#[test]
#[ignore = "needs root"]
fn a_client_keeps_its_backend_over_changes_and_restarts() -> Result<()> {
    scenario(|cluster| {
        for (node, name) in [(0, "one"), (0, "two"), (1, "three"), (1, "four")] {
            cluster.add_pod(node, name, "web")?;
        }
        cluster.write_pods()?;
        cluster.write(
            "web.yaml",
            &service(", annotations: {weir.io/algorithm: random}", "  sessionAffinity: ClientIP\n"),
        )?;
        cluster.start_agents()?;
        let kept = vips().map(|vip| seen(cluster, vip, 16));
        let [kept, kept6] = [kept[0].as_ref().ok().cloned(), kept[1].as_ref().ok().cloned()];
        let (Some(kept), Some(kept6)) = (kept, kept6) else { anyhow::bail!("somebody does not answer") };
        ensure!(kept.len() == 1 && kept6.len() == 1, "{kept:?} {kept6:?}");
        // node ports are of the same Service
        ensure!(seen(cluster, cluster.nodes[0].port(30070), 8)? == kept, "another one at the node port");
        // pods that come and go are others
        cluster.add_pod(0, "five", "web")?;
        cluster.write_pods()?;
        eventually("the new pod to be there", SOON, || {
            ensure!(cluster.nodes[0].rows("backends")?.iter().any(|row| row["pod"] == "default/five"), "not yet");
            Ok(())
        })?;
        ensure!(seen(cluster, vips()[0], 16)? == kept, "moved by a new pod");
        let other = cluster.pods.iter().position(|pod| !kept.contains(&pod.name) && !kept6.contains(&pod.name));
        drop(cluster.pods.remove(other.unwrap_or_default()));
        cluster.write_pods()?;
        cluster.nodes[0].end_agent(Signal::KILL)?;
        cluster.nodes[0].start_agent()?;
        ensure!(seen(cluster, vips()[0], 16)? == kept, "moved by a restart");
        ensure!(seen(cluster, vips()[1], 16)? == kept6, "moved by a restart");
        // its own that goes is left
        let own = cluster.pods.iter().position(|pod| kept.contains(&pod.name)).unwrap_or_default();
        drop(cluster.pods.remove(own));
        cluster.write_pods()?;
        eventually("another backend to answer", SOON, || {
            let now = seen(cluster, vips()[0], 4)?;
            ensure!(now.len() == 1 && now != kept, "{now:?}");
            Ok(())
        })
    })
}

/// Sockets are led where they connect, so there the client is the pod.
#[test]
#[ignore = "needs root"]
fn a_pod_keeps_its_backend_too() -> Result<()> {
    scenario(|cluster| {
        for (node, name) in [(0, "one"), (0, "two"), (1, "three")] {
            cluster.add_pod(node, name, "web")?;
        }
        cluster.write_pods()?;
        cluster.write(
            "web.yaml",
            &service(", annotations: {weir.io/algorithm: random}", "  sessionAffinity: ClientIP\n"),
        )?;
        cluster.start_agents()?;
        let mut process = in_pod(cluster, "one")?;
        let mut pods = BTreeSet::new();
        for _ in 0..24 {
            process.connect("tcp", "c", (CLUSTER_IP, 7070).into())?;
            pods.extend(process.receive("c")?.split(' ').next().map(str::to_owned));
            process.close("c")?;
        }
        ensure!(pods.len() == 1, "{pods:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn load_balancer_addresses_are_for_the_named_networks() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        cluster.add_pod(1, "far", "web")?;
        cluster.write_pods()?;
        let ranges = |text: &str| service("", &format!("  loadBalancerSourceRanges: [{text}]\n"));
        cluster.write("web.yaml", &ranges("10.9.0.0/16, '2001:db8::/32'"))?;
        cluster.start_agents()?;
        for vip in vips() {
            let before = drops(cluster, "source_range")?;
            ensure!(ask_tcp(&cluster.client, vip, None).is_err(), "{vip} lets everybody in");
            counted(cluster, "source_range", before)?;
        }
        // node ports are no addresses of load balancers
        ensure!(seen(cluster, cluster.nodes[0].port(30070), 16)?.len() == 2);
        cluster.write("web.yaml", &ranges(&format!("10.9.0.0/16, {CLIENT}/32, '{CLIENT6}/64'")))?;
        for vip in vips() {
            eventually("the client to be let in", SOON, || {
                ensure!(seen(cluster, vip, 16)?.len() == 2);
                Ok(())
            })?;
        }
        // what is no network lets nobody in
        cluster.write("web.yaml", &ranges("everybody"))?;
        for vip in vips() {
            eventually("nobody to be let in", SOON, || {
                ensure!(ask_tcp(&cluster.client, vip, None).is_err(), "{vip} lets everybody in");
                Ok(())
            })?;
        }
        eventually("the Problem", SOON, || {
            let status = cluster.nodes[0].api("status")?;
            let problems = status["status"]["problems"].as_array().cloned().unwrap_or_default();
            ensure!(problems.iter().any(|problem| problem["code"] == "source-range-invalid"), "{problems:?}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn nothing_is_taken_from_who_is_denied() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        cluster.write_pods()?;
        cluster.write("web.yaml", &service("", ""))?;
        let list = cluster.manifests().join("deny.list");
        std::fs::write(&list, "# nobody of ours\n203.0.113.0/24\n2001:db8::/32\n")?;
        let flag = list.display().to_string();
        cluster.nodes[0].agent_options().arguments.extend(["--deny-list".to_owned(), flag]);
        cluster.start_agents()?;
        ensure!(seen(cluster, vips()[0], 2)?.len() == 1 && seen(cluster, vips()[1], 2)?.len() == 1);
        node_answers(cluster, SOON)?;
        let flow = Flow::start(&cluster.client, vips()[0])?;
        flow.goes_on(5)?;
        // the whole list at once, as by a tool that renames a new file over it
        let next = list.with_extension("new");
        std::fs::write(&next, format!("{CLIENT}\nnonsense\n{CLIENT6}\n"))?;
        std::fs::rename(&next, &list)?;
        for vip in vips() {
            eventually("the client to be kept out", SOON, || {
                ensure!(ask_tcp(&cluster.client, vip, None).is_err(), "{vip} answers");
                Ok(())
            })?;
        }
        counted(cluster, "denied", 0.0)?;
        // what the node itself answers is kept out, too
        ensure!(node_answers(cluster, Duration::from_millis(300)).is_err(), "the node answers a ping");
        eventually("the Problem", SOON, || {
            let status = cluster.nodes[0].api("status")?;
            let problems = status["status"]["problems"].as_array().cloned().unwrap_or_default();
            ensure!(problems.iter().any(|problem| problem["code"] == "denied-invalid"), "{problems:?}");
            Ok(())
        })?;
        let explained = cluster.nodes[0].weir(&[
            "explain",
            &format!("tcp://{EXTERNAL}:7070"),
            "--from",
            &CLIENT.to_string(),
            "--json",
        ])?;
        ensure!(explained.contains("\"denied\""), "{explained}");
        // and back: the connection from before goes on
        std::fs::write(&list, "")?;
        for vip in vips() {
            eventually("the client to be let in", SOON, || ask_tcp(&cluster.client, vip, None).map(drop))?;
        }
        node_answers(cluster, SOON)?;
        flow.goes_on(5)?;
        let report = flow.stop()?;
        ensure!(report.error.is_none(), "{report:?}");
        Ok(())
    })
}
