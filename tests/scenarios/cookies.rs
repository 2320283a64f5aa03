//! SYN cookies of the front.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Port, Request, SOON, Segment, Service, Session, eventually, send_raw_all};

use crate::common::{metric, problems, scenario, web};

/// The VIP of the front.
const VIP: Ipv4Addr = Ipv4Addr::new(10, 1, 33, 160);
/// First of the forged sources.
const FORGED: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
/// Forged segments at a time: more than the queues of two listeners hold.
const FLOOD: u32 = 20_000;

/// An Ingress for the pods of [`web`], and a Service of the front that has cookies; the node tracks connections.
fn front(cluster: &mut Cluster) -> Result<()> {
    web(cluster)?;
    let vip = VIP.to_string();
    let service = Service { name: "front", ports: &[Port::tcp(80, 80)], external_ips: &[&vip], ..Service::default() };
    let yaml = service.yaml().replace("{app: }", "{app.kubernetes.io/name: weir}");
    let annotated = yaml.replace("{name: front", "{annotations: {weir.io/syn-cookies: \"true\"}, name: front");
    ensure!(annotated != yaml, "no annotation in {yaml}");
    cluster.write("front.yaml", &annotated)?;
    cluster.write(
        "ingress.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec:\n  \
         defaultBackend: {service: {name: web, port: {number: 80}}}\n",
    )?;
    cluster.nodes[0].add_invalid_rule()?; // has the kernel track connections
    cluster.start_agents()
}

fn event(cluster: &Cluster, event: &str) -> Result<f64> {
    metric(&cluster.nodes[0], &format!("weir_packet_events_total{{event=\"{event}\"}}"))
}

/// Segments to the VIP with these flags, each from a client of its own.
fn forge(cluster: &Cluster, flags: u8, round: u32) -> Result<()> {
    let first = FORGED.to_bits() + round * FLOOD;
    let segment = |n| Segment::tcp((Ipv4Addr::from_bits(first + n), 40_000).into(), (VIP, 80).into(), flags, 5).ok();
    send_raw_all(&cluster.client, (0..FLOOD).filter_map(segment))
}

/// A client that comes anew gets its answer.
fn ask(cluster: &Cluster) -> Result<()> {
    let answer = Request::get("any.test", "/").send(&cluster.client, (VIP, 80).into())?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn real_clients_get_through_a_flood_to_the_front_and_connection_tracking_does_not_fill() -> Result<()> {
    scenario(|cluster| {
        front(cluster)?;
        ask(cluster)?;
        let to = SocketAddr::from((VIP, 80));
        let request = Request::get("any.test", "/kept");
        let mut kept = cluster.client.run(|| {
            let mut session = Session::keeping(to);
            session.send(&request).map(|_| session)
        })?;
        ensure!(event(cluster, "syn_cookies_sent")? == 0.0, "a cookie in peace");
        let (mut rounds, asked) = (0, AtomicUsize::new(0));
        eventually("clients that begin with a cookie", SOON * 3, || {
            thread::scope(|scope| {
                let flood = scope.spawn(|| forge(cluster, 0x02, rounds));
                while !flood.is_finished() || asked.load(Ordering::Relaxed) % 20 != 0 {
                    ask(cluster).context("during the flood")?;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                flood.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
            })?;
            rounds += 1;
            let [sent, accepted] = ["syn_cookies_sent", "syn_cookies_accepted"].map(|name| event(cluster, name));
            let (sent, accepted) = (sent?, accepted?);
            ensure!(sent >= 1_000.0 && accepted >= 1.0, "{sent} sent, {accepted} accepted after {rounds} rounds");
            Ok(())
        })?;
        // one that no cookie is meant for gets nowhere, and who was there is still there
        forge(cluster, 0x10, rounds)?;
        let answer = cluster.client.run(|| kept.send(&request))?;
        ensure!(answer.status == 200, "{}", answer.status);
        eventually("the flood to be counted", SOON, || {
            let sent = event(cluster, "syn_cookies_sent")?;
            let entries = metric(&cluster.nodes[0], "weir_conntrack_entries")?;
            let refused = metric(&cluster.nodes[0], "weir_drops_total{reason=\"bad_syn_cookie\"}")?;
            let come = f64::from(rounds * FLOOD);
            ensure!(refused >= f64::from(FLOOD), "{refused} segments without a cookie were dropped");
            // what was not answered with a cookie went to the listeners, and all clients that are real
            let most = come - sent + 2.0 * asked.load(Ordering::Relaxed) as f64 + 1_000.0;
            ensure!(entries <= most, "{entries} tracked connections, {most} expected");
            eprintln!(
                "{come} forged, {sent} answered, {entries} tracked, {} clients served",
                asked.load(Ordering::Relaxed)
            );
            Ok(())
        })?;
        let said = problems(&cluster.nodes[0])?;
        ensure!(said.iter().all(|problem| problem["name"] != "front"), "{said:?}");
        Ok(())
    })
}
