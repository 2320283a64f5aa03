//! SCTP, spoken by a client and servers of the lab: real packets, with checksums verified at both ends.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use weir_lab::sctp::{Association, KernelServer, SctpServer, ask_kernel, has_kernel};
use weir_lab::{CLIENT, Cluster, Family, Port, SOON, Service, eventually};

use crate::common::{EXTERNAL, metric, problems, scenario, vip};

/// Port, target port and node port in one, as SCTP needs it.
const PORT: u16 = 30868;

/// A Service `core` with the pods that are there, and their servers.
fn core(cluster: &mut Cluster) -> Result<Vec<SctpServer>> {
    write_core(cluster)?;
    cluster.pods.iter().map(|pod| SctpServer::start(&pod.netns, &pod.name, PORT)).collect()
}

fn write_core(cluster: &Cluster) -> Result<()> {
    cluster.write_pods()?;
    let port = Port { protocol: "SCTP", ..Port::tcp(PORT, PORT) };
    let [four, six] = Family::BOTH.map(|family| vip(family).to_string());
    let service = Service {
        name: "core",
        app: "core",
        ports: &[port.at(PORT)],
        external_ips: &[&four, &six],
        kind: Some("NodePort"),
        families: &["IPv4", "IPv6"],
    };
    cluster.write("core.yaml", &service.yaml())
}

#[test]
#[ignore = "needs root"]
fn sctp_associations_with_pods_on_both_nodes() -> Result<()> {
    if kernel_answers() {
        return Ok(());
    }
    scenario(|cluster| {
        cluster.add_pod(0, "near", "core")?;
        cluster.add_pod(1, "far", "core")?;
        let _servers = core(cluster)?;
        cluster.start_agents()?;
        for family in Family::BOTH {
            let addresses = [vip(family), family.node(&cluster.nodes[0]), family.node(&cluster.nodes[1])];
            for (round, address) in addresses.into_iter().enumerate() {
                let mut pods = BTreeSet::new();
                for n in 0..12 {
                    let source = 40_000 + 100 * round as u16 + n;
                    pods.insert(talk(cluster, source, (address, PORT).into())?);
                }
                ensure!(pods.len() == 2, "{address}: only {pods:?}");
            }
        }
        Ok(())
    })
}

/// One association from beginning to end; gives the pod at the other end.
fn talk(cluster: &Cluster, source: u16, to: SocketAddr) -> Result<String> {
    let mut association = Association::begin(&cluster.client, source, to)?;
    let answers = [association.ask("one")?, association.ask("two, and longer")?];
    ensure!(answers[0].ends_with(" one") && answers[1].ends_with(" two, and longer"), "{answers:?}");
    ensure!(answers[0].contains(&format!(":{source} ")), "the pod sees another port than {source}: {answers:?}");
    association.end()?;
    Ok(answers[0].split(' ').next().unwrap_or_default().to_owned())
}

#[test]
#[ignore = "needs root"]
fn two_sctp_clients_with_one_port_at_a_remote_pod() -> Result<()> {
    const TAKEN: &str = "weir_drops_total{reason=\"sctp_port_taken\"}";
    if kernel_answers() {
        return Ok(());
    }
    scenario(|cluster| {
        cluster.add_pod(1, "far", "core")?;
        let _servers = core(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(PORT);
        cluster.client.ip("addr add 192.168.77.101/24 dev eth0")?;
        let mut first = Association::begin(&cluster.client, 40_000, to)?;
        let second = Association::begin_at(&cluster.client, Ipv4Addr::new(192, 168, 77, 101).into(), 40_000, to);
        ensure!(second.is_err(), "both got through, so one has the other's replies");
        ensure!(first.ask("still there")?.ends_with(" still there"), "the first one is disturbed");
        eventually("the drops to be counted", SOON, || {
            ensure!(metric(&cluster.nodes[0], TAKEN)? >= 1.0, "not counted");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn a_mapped_sctp_port_is_a_problem() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "core")?;
        cluster.write_pods()?;
        let port = Port { protocol: "SCTP", ..Port::tcp(PORT, 3868) };
        let service = Service { name: "core", app: "core", ports: &[port], ..Service::default() };
        cluster.write("core.yaml", &service.yaml())?;
        cluster.start_agents()?;
        eventually("the Problem", SOON, || {
            let found = problems(&cluster.nodes[0])?;
            let named = |problem: &serde_json::Value| {
                problem["code"] == "sctp-port-mapped" && problem["field"] == "spec.ports[0].targetPort"
            };
            ensure!(found.iter().any(named), "{found:?}");
            Ok(())
        })
    })
}

/// Where the kernel has the module.
const MODULE: &str = "/sys/module/sctp";

/// Once the kernel speaks SCTP, it answers packets that are meant for the lab's raw sockets; says so.
fn kernel_answers() -> bool {
    let answers = Path::new(MODULE).exists();
    if answers {
        println!("\nskipped: the kernel speaks SCTP here, and answers in place of the lab");
    }
    answers
}

/// Last of these by its name, and it takes the module out again if it was not there before.
#[test]
#[ignore = "needs root"]
fn with_the_kernels_own_sockets_at_both_ends() -> Result<()> {
    let before = Path::new(MODULE).exists();
    let result = with_sockets_of_the_kernel();
    if !before && Path::new(MODULE).exists() {
        // namespaces end a moment after their last process
        let removed = eventually("the module to go", SOON, || {
            let output = Command::new("modprobe").args(["-r", "sctp"]).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        });
        removed.unwrap_or_else(|error| println!("sctp stays: {error:#}"));
    }
    result
}

fn with_sockets_of_the_kernel() -> Result<()> {
    scenario(|cluster| {
        if !has_kernel(&cluster.client) {
            println!("\nskipped: needs SCTP in the kernel");
            return Ok(());
        }
        cluster.add_pod(0, "near", "core")?;
        cluster.add_pod(1, "far", "core")?;
        write_core(cluster)?;
        let servers = cluster.pods.iter().map(|pod| KernelServer::start(&pod.netns, &pod.name, PORT));
        let _servers = servers.collect::<Result<Vec<_>>>()?;
        cluster.start_agents()?;
        let mut pods = BTreeSet::new();
        for source in 41_000..41_012 {
            let (at, to) = (SocketAddrV4::new(CLIENT, source), SocketAddrV4::new(EXTERNAL, PORT));
            let answer = ask_kernel(&cluster.client, at, to, "hello")?;
            let words: Vec<_> = answer.split(' ').collect();
            ensure!(words.len() == 3 && words[2] == "hello" && words[1].ends_with(&format!(":{source}")), "{answer}");
            pods.insert(words[0].to_owned());
        }
        ensure!(pods.len() == 2, "only {pods:?}");
        Ok(())
    })
}
