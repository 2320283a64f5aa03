//! Addresses out of pools, against a real API server.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{Cluster, ControlPlane, SOON, ask_tcp, eventually};

use super::{has_problem, web, with_kubernetes};

const POOL: &str = "
apiVersion: weir.io/v1alpha1
kind: AddressPool
metadata: {name: public}
spec: {addresses: [10.100.100.1-10.100.100.2]}
";

/// A Service of type LoadBalancer with the pods of `web` behind it.
fn balanced(name: &str, port: u16, annotations: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec: {{type: LoadBalancer, selector: {{app: web}}, ports: [{{port: {port}, targetPort: 7070}}]}}\n"
    )
}

fn object(plane: &ControlPlane, kind: &str, name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&plane.kubectl(&["get", kind, name, "-o", "json"])?)?)
}

/// The address of a Service, once it has one.
fn address(plane: &ControlPlane, name: &str) -> Result<IpAddr> {
    eventually(&format!("{name} to have an address"), SOON, || shown(plane, name)?.context("none yet"))
}

fn shown(plane: &ControlPlane, name: &str) -> Result<Option<IpAddr>> {
    let service = object(plane, "service", name)?;
    Ok(service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::parse).transpose()?)
}

/// Waits until a client outside is answered.
fn answers(cluster: &Cluster, address: IpAddr, port: u16) -> Result<()> {
    eventually(&format!("{address}:{port} to answer"), SOON, || {
        ask_tcp(&cluster.client, (address, port).into(), None).map(drop)
    })
}

/// Waits until a condition of the pool has a status.
fn condition(plane: &ControlPlane, kind: &str, status: &str) -> Result<()> {
    eventually(&format!("{kind} to be {status}"), SOON, || {
        let pool = object(plane, "addresspool", "public")?;
        let conditions = pool["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind).context("no such condition")?;
        let since = found["lastTransitionTime"].as_str().unwrap_or_default();
        ensure!(found["status"] == status && since.contains('T'), "{found}");
        Ok(())
    })
}

/// Waits for an Event about an object.
fn event(plane: &ControlPlane, object: &str, reason: &str) -> Result<()> {
    eventually(&format!("the Event {reason} of {object}"), SOON, || {
        let events: Value = serde_json::from_str(&plane.kubectl(&["get", "events", "-o", "json"])?)?;
        let mut about = events["items"].as_array().into_iter().flatten();
        let is_it = |event: &&Value| event["reason"] == reason && event["involvedObject"]["name"] == object;
        about.find(is_it).map(drop).with_context(|| events.to_string())
    })
}

#[test]
#[ignore = "needs root"]
fn services_get_addresses_share_them_wait_for_them_and_give_them_back() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        plane.apply(POOL)?;
        cluster.start_agents()?;
        let key = "weir.io/allow-shared-ip: k";
        plane.apply(&(balanced("one", 81, key) + &balanced("two", 82, "")))?;
        let (one, two) = (address(plane, "one")?, address(plane, "two")?);
        let pool: BTreeSet<IpAddr> = ["10.100.100.1".parse()?, "10.100.100.2".parse()?].into();
        ensure!(BTreeSet::from([one, two]) == pool, "{one} {two}");
        answers(cluster, one, 81)?;
        answers(cluster, two, 82)?;
        condition(plane, "Valid", "True")?;
        condition(plane, "Exhausted", "False")?;

        // Nothing is left, but for who may share.
        plane.apply(&(balanced("three", 83, "") + &balanced("four", 84, key)))?;
        ensure!(address(plane, "four")? == one, "another address than the one with its key");
        answers(cluster, one, 84)?;
        condition(plane, "Exhausted", "True")?;
        event(plane, "three", "PoolExhausted")?;
        event(plane, "public", "PoolExhausted")?;
        let table = plane.kubectl(&["get", "pool"])?;
        ensure!(table.contains("10.100.100.1-10.100.100.2") && table.contains("EXHAUSTED"), "{table}");

        // Agents that begin anew, and one more Service.
        for node in &mut cluster.nodes {
            node.end_agent(Signal::KILL)?;
            node.start_agent()?;
        }
        ensure!(shown(plane, "three")?.is_none(), "three got an address that somebody has");
        for (name, address, port) in [("one", one, 81), ("two", two, 82), ("four", one, 84)] {
            ensure!(shown(plane, name)? == Some(address), "{name} has another address after the restart");
            answers(cluster, address, port)?;
        }

        // Who waits gets what is freed.
        plane.kubectl(&["delete", "service", "two"])?;
        ensure!(address(plane, "three")? == two);
        answers(cluster, two, 83)?;
        condition(plane, "Exhausted", "False")?;
        eventually("the Problem to be gone", SOON, || {
            ensure!(!has_problem(cluster, 0, "pool-exhausted")?);
            Ok(())
        })?;

        // What is no load balancer any more has no address, and a Service that is gone leaves its own to others.
        plane.kubectl(&["delete", "service", "one", "four"])?;
        plane.apply(&balanced("five", 85, &format!("metallb.universe.tf/loadBalancerIPs: {one}")))?;
        ensure!(address(plane, "five")? == one);
        answers(cluster, one, 85)?;
        plane.apply(&balanced("six", 86, &format!("weir.io/load-balancer-ips: {one}")))?;
        eventually("six to be refused", SOON, || {
            ensure!(has_problem(cluster, 0, "address-taken")? && shown(plane, "six")?.is_none());
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn external_ips_are_bound_to_pools_where_a_flag_says_so() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        plane.apply(&POOL.replace("spec: {", "spec: {namespaceSelectors: [{matchLabels: {team: a}}], "))?;
        let addresses: [IpAddr; 2] = ["10.100.100.1".parse()?, "10.200.0.1".parse()?];
        plane.apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: own}}\n\
             spec: {{selector: {{app: web}}, ports: [{{port: 7070}}], externalIPs: [{}, {}]}}\n",
            addresses[0], addresses[1]
        ))?;
        for node in &mut cluster.nodes {
            node.agent_options().arguments.push("--external-ips-from-pools".to_owned());
        }
        cluster.start_agents()?;
        let frontends = |cluster: &Cluster| -> Result<BTreeSet<String>> {
            let rows = cluster.nodes[0].rows("services")?;
            let row = rows.into_iter().find(|row| row["name"] == "own").context("the Service")?;
            let external = row["frontends"].as_array().into_iter().flatten().filter(|row| row["kind"] == "ExternalIP");
            Ok(external.filter_map(|row| row["address"].as_str().map(str::to_owned)).collect())
        };
        let denied = |cluster: &Cluster| -> Result<usize> {
            let problems = crate::common::problems(&cluster.nodes[0])?;
            Ok(problems
                .iter()
                .filter(|problem| problem["code"] == "external-ip-denied" && problem["name"] == "own")
                .count())
        };
        eventually("both to be refused", SOON, || {
            let (found, denied) = (frontends(cluster)?, denied(cluster)?);
            ensure!(found.is_empty() && denied == 2, "{found:?}, {denied} refused");
            Ok(())
        })?;
        plane.kubectl(&["label", "namespace", "default", "team=a"])?;
        answers(cluster, addresses[0], 7070)?;
        eventually("the one in no pool to be refused", SOON, || {
            let (found, denied) = (frontends(cluster)?, denied(cluster)?);
            ensure!(found == [addresses[0].to_string()].into() && denied == 1, "{found:?}, {denied} refused");
            Ok(())
        })
    })
}
