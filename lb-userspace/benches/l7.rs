//! CPU time per request of the front beside nginx and HAProxy: each on the same core, the client and the backend on another,
//! one after the other in every round. Called by `cargo xtask bench l7`.

#[path = "l7/case.rs"]
mod case;
#[path = "l7/front.rs"]
mod front;
#[path = "l7/idle.rs"]
mod idle;
#[path = "l7/load.rs"]
mod load;
#[path = "l7/peers.rs"]
mod peers;
#[path = "l7/process.rs"]
mod process;
#[path = "l7/report.rs"]
mod report;
#[path = "l7/site.rs"]
mod site;

use anyhow::{Context, Result};

use case::{Case, Measure};
use process::Process;
use report::Report;
use site::Site;

/// Rounds in which every case runs once for each proxy; the median counts.
const ROUNDS: usize = 5;
/// Descriptors for the idle connections.
const DESCRIPTORS: u64 = 20_000;

/// A proxy that serves the site.
trait Proxy {
    /// How the report calls it.
    fn name(&self) -> &'static str;
    /// Port of loopback for plain HTTP.
    fn port(&self) -> u16;
    /// The same for HTTPS.
    fn tls_port(&self) -> u16;
    /// Its process.
    fn process(&self) -> &Process;
    /// Empties its access log.
    fn forget_log(&self) -> Result<()>;
}

fn main() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let rounds = number("WEIR_BENCH_ROUNDS").unwrap_or(ROUNDS);
    let only = std::env::var("WEIR_BENCH_CASE").unwrap_or_default();
    allow_descriptors()?;
    let site = Site::new()?;
    let backend = peers::backend(&site)?;
    let proxies: [Box<dyn Proxy>; 3] =
        [Box::new(peers::nginx(&site)?), Box::new(peers::haproxy(&site)?), Box::new(front::weir(&site)?)];
    let cases: Vec<Case> = case::all().into_iter().filter(|case| case.name.contains(&only)).collect();
    let mut report = Report::new(proxies.iter().map(|proxy| proxy.name()).collect());
    for round in 0..rounds {
        for case in &cases {
            eprint!("\rround {} of {rounds}: {:40}", round + 1, case.name);
            for proxy in &proxies {
                let value =
                    measure(case, proxy.as_ref()).with_context(|| format!("{}: {}", proxy.name(), case.name))?;
                report.add(case, proxy.name(), value);
                proxy.forget_log()?;
            }
        }
    }
    eprintln!();
    println!("{report}");
    drop(backend);
    Ok(())
}

fn measure(case: &Case, proxy: &dyn Proxy) -> Result<f64> {
    let port = if case.tls { proxy.tls_port() } else { proxy.port() };
    match case.measure {
        Measure::CpuPerRequest { requests } => {
            load::run(case, port, requests / 16 + 1)?;
            let before = proxy.process().cpu()?;
            load::run(case, port, requests)?;
            Ok((proxy.process().cpu()? - before).as_secs_f64() * 1e6 / f64::from(requests))
        }
        Measure::Latency99 { rate } => load::latency99(case, port, rate),
        Measure::MemoryPerConnection { connections } => idle::cost(case.tls, port, connections, proxy.process()),
    }
}

fn allow_descriptors() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map_or(Some(DESCRIPTORS), |maximum| Some(maximum.min(DESCRIPTORS)));
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}
