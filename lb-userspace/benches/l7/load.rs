//! h2load as the client.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::case::Case;
use super::process::REST;
use super::site::HOST;

/// Connections at the same time.
const CLIENTS: u32 = 64;
/// Connections of HTTP/2 and requests in flight on each.
const CLIENTS2: u32 = 16;
const STREAMS2: u32 = 4;
/// How long requests are sent at a fixed rate.
const SECONDS: u32 = 4;

/// Sends so many requests; an error unless each is answered with 200.
pub(crate) fn run(case: &Case, port: u16, requests: u32) -> Result<()> {
    send(case, port, requests, &[])
}

/// µs that 99 of 100 requests took, at so many a second.
pub(crate) fn latency99(case: &Case, port: u16, rate: u32) -> Result<f64> {
    let log = tempfile::NamedTempFile::new()?;
    let (file, each) = (format!("--log-file={}", log.path().display()), format!("--rps={}", rate / CLIENTS));
    send(case, port, rate * SECONDS, &[&file, &each])?;
    let text = std::fs::read_to_string(log.path())?;
    let mut took: Vec<f64> = text.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    took.sort_by(f64::total_cmp);
    took.get(took.len() * 99 / 100).copied().context("h2load wrote no log")
}

fn send(case: &Case, port: u16, requests: u32, more: &[&str]) -> Result<()> {
    let scheme = if case.tls { "https" } else { "http" };
    let (clients, streams) = if case.http2 { (CLIENTS2, STREAMS2) } else { (CLIENTS, 1) };
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", REST, "h2load", "--threads=1"])
        .arg(format!("--requests={requests}"))
        .arg(format!("--clients={}", clients.min(requests)))
        .arg(format!("--max-concurrent-streams={streams}"))
        .arg(format!("--connect-to=127.0.0.1:{port}"))
        .args(more);
    if !case.http2 {
        command.arg("--h1");
    }
    if case.close {
        command.arg("--header=connection: close");
    }
    let output = command.arg(format!("{scheme}://{HOST}{}", case.path)).output().context("cannot start h2load")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = format!("status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx");
    ensure!(text.contains(&expected), "not every request was answered with 200: {text}");
    Ok(())
}
