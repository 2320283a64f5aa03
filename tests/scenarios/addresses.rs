//! Addresses without a cluster: out of pools in files, and external IPs by the ten thousand.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use weir_lab::{Cluster, SOON, ask_tcp, eventually};

use crate::common::{problems, scenario};

const POOL: &str = "
apiVersion: weir.io/v1alpha1
kind: AddressPool
metadata: {name: public}
spec: {addresses: [10.100.100.0/29], avoidBuggyIPs: true}
";

fn balanced(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{selector: {{app: web}}, ports: [{{port: 7070}}], {spec}}}\n"
    )
}

/// The frontends of a kind, of all Services or one.
fn frontends(cluster: &Cluster, node: usize, service: Option<&str>, kind: &str) -> Result<BTreeSet<IpAddr>> {
    let rows = cluster.nodes[node].rows("services")?;
    let rows = rows.iter().filter(|row| service.is_none_or(|service| row["name"] == service));
    let all = rows.filter_map(|row| row["frontends"].as_array()).flatten();
    let of_kind = all.filter(|row| row["kind"] == kind);
    of_kind.map(|row| Ok(row["address"].as_str().context("an address")?.parse()?)).collect()
}

/// The address that both agents gave a Service.
fn given(cluster: &Cluster, service: &str) -> Result<IpAddr> {
    let all = (0..cluster.nodes.len()).map(|node| frontends(cluster, node, Some(service), "LoadBalancer"));
    let all = all.collect::<Result<BTreeSet<_>>>()?;
    let (first, same) = (all.first().and_then(|one| one.first()).copied(), all.len() == 1);
    first.filter(|_| same).with_context(|| format!("{service} has {all:?}"))
}

#[test]
#[ignore = "needs root"]
fn services_of_files_get_addresses_and_keep_them() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        cluster.add_pod(1, "far", "web")?;
        cluster.write_pods()?;
        cluster.write("pool.yaml", POOL)?;
        cluster.write("web.yaml", &balanced("web", "type: LoadBalancer"))?;
        cluster.start_agents()?;
        let address = eventually("an address", SOON, || given(cluster, "web"))?;
        eventually("it to answer", SOON, || ask_tcp(&cluster.client, (address, 7070).into(), None).map(drop))?;

        // The place that its name says is in use by what asks for it when the agents begin anew, but it remembers.
        let asked = balanced("asked", &format!("type: LoadBalancer, loadBalancerIP: {address}"));
        for node in &mut cluster.nodes {
            node.end_agent(Signal::KILL)?;
        }
        cluster.write("asked.yaml", &asked)?;
        for node in &mut cluster.nodes {
            node.start_agent()?;
        }
        eventually("the other to be refused", SOON, || {
            let problems = problems(&cluster.nodes[0])?;
            ensure!(problems.iter().any(|problem| problem["code"] == "address-taken"), "{problems:?}");
            let has = given(cluster, "web")?;
            ensure!(has == address, "{has}, and {address} before");
            Ok(())
        })?;
        cluster.write("web.yaml", "")?;
        eventually("the other to get it", SOON, || {
            let has = given(cluster, "asked")?;
            ensure!(has == address, "{has}");
            ask_tcp(&cluster.client, (address, 7070).into(), None).map(drop)
        })
    })
}

/// Services, and external IPs of each.
const EXTERNAL: (u16, u16) = (200, 100);

fn external(service: u16, number: u16) -> Ipv4Addr {
    let index = u32::from(service) * u32::from(EXTERNAL.1) + u32::from(number);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 0)) + index)
}

#[test]
#[ignore = "needs root"]
fn twenty_thousand_external_ips_need_no_address_on_an_interface() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        cluster.add_pod(1, "far", "web")?;
        cluster.write_pods()?;
        let mut text = String::new();
        for service in 0..EXTERNAL.0 {
            let ips: Vec<_> = (0..EXTERNAL.1).map(|number| external(service, number).to_string()).collect();
            write!(text, "{}", balanced(&format!("s{service}"), &format!("externalIPs: [{}]", ips.join(", "))))?;
        }
        cluster.write("external.yaml", &text)?;
        cluster.start_agents()?;
        eventually("all to be there", SOON * 3, || {
            let found = frontends(cluster, 0, None, "ExternalIP")?.len();
            ensure!(found == usize::from(EXTERNAL.0) * usize::from(EXTERNAL.1), "{found}");
            Ok(())
        })?;
        for (service, number) in
            (0..EXTERNAL.0).step_by(13).map(|service| (service, service % EXTERNAL.1)).chain([(199, 99)])
        {
            let address = external(service, number);
            ask_tcp(&cluster.client, (address, 7070).into(), None).with_context(|| address.to_string())?;
        }
        let on_interfaces = cluster.nodes[0].netns.shell("ip -o address")?;
        ensure!(!on_interfaces.contains("10.200."), "{on_interfaces}");
        Ok(())
    })
}
