//! `weir capture`: files that tcpdump reads, with what became of each packet.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use weir_lab::{CLIENT, CLIENT6, Cluster, SOON, Segment, Segment6, ask_tcp, eventually, send_raw, send_raw6};

use crate::common::scenario;
use crate::ipv6::dual;

/// Where hostile packets come from; no honest client uses it.
const SOURCE_PORT: u16 = 668;

/// Starts a capture on the first node.
fn start(cluster: &Cluster, arguments: &[&str], file: &Path) -> Result<Child> {
    let node = &cluster.nodes[0];
    let mut command = node.netns.command(node.binary());
    command.arg("capture").args(arguments).arg("-w").arg(file).stdin(Stdio::null());
    command.spawn().context("cannot start the capture")
}

/// What tcpdump reads from a file.
fn read(file: &Path) -> Result<String> {
    let output = Command::new("tcpdump").args(["-nn", "-r"]).arg(file).output().context("cannot start tcpdump")?;
    ensure!(output.status.success(), "tcpdump: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The capture ends by itself and with success, while `traffic` goes on.
fn ends(child: &mut Child, traffic: impl Fn() -> Result<()>) -> Result<()> {
    let status = eventually("the capture to end", SOON, || {
        traffic()?;
        child.try_wait()?.context("it goes on")
    });
    if status.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = status?;
    ensure!(status.success(), "the capture ended with {status}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn captures_are_files_that_tcpdump_reads() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        let dir = tempfile::tempdir()?;
        let (drops, service) = (dir.path().join("drops.pcapng"), dir.path().join("service.pcapng"));
        let to = cluster.nodes[0].port(30070);
        let hostile = Segment::tcp(SocketAddr::from((CLIENT, SOURCE_PORT)), to, 0, 5)?;
        let mut capture = start(cluster, &["--drops", "--count", "2"], &drops)?;
        ends(&mut capture, || send_raw(&cluster.client, &hostile))?;
        let text = read(&drops)?;
        let (from, at) = (format!("{CLIENT}.{SOURCE_PORT} > "), format!("{}.30070", to.ip()));
        ensure!(text.lines().count() == 2 && text.lines().all(|l| l.contains(&from) && l.contains(&at)), "{text}");
        let raw = std::fs::read(&drops)?;
        let comment = b"drop: bad_tcp_flags, by xdp";
        ensure!(raw.windows(comment.len()).any(|part| part == comment), "no comment in the file");
        let frontend = to.to_string();
        let mut capture = start(cluster, &["--frontend", &frontend, "--count", "12", "--rate", "1000"], &service)?;
        ends(&mut capture, || ask_tcp(&cluster.client, to, None).map(drop))?;
        let text = read(&service)?;
        let to_pod = |line: &str| line.contains("10.244.") && line.contains(".7070: Flags");
        ensure!(text.lines().count() == 12 && text.lines().all(to_pod), "{text}");
        let raw = String::from_utf8_lossy(&std::fs::read(&service)?).into_owned();
        ensure!(raw.contains("forward: default/web:7070 to 10.244."), "no service in the comments");
        captures_of_ipv6(cluster, dir.path())?;
        killed(cluster, dir.path())
    })
}

/// The same of IPv6: dropped packets, and those to a frontend.
fn captures_of_ipv6(cluster: &Cluster, dir: &Path) -> Result<()> {
    let (drops, service) = (dir.join("drops6.pcapng"), dir.join("service6.pcapng"));
    let to = cluster.nodes[0].port6(30070);
    let hostile = Segment6::tcp(SocketAddr::from((CLIENT6, SOURCE_PORT)), to, 0)?;
    let mut capture = start(cluster, &["--drops", "--count", "2"], &drops)?;
    ends(&mut capture, || send_raw6(&cluster.client, &hostile))?;
    let text = read(&drops)?;
    let (from, at) = (format!("IP6 {CLIENT6}.{SOURCE_PORT} > "), format!("{}.30070", to.ip()));
    ensure!(text.lines().count() == 2 && text.lines().all(|l| l.contains(&from) && l.contains(&at)), "{text}");
    let frontend = to.to_string();
    let mut capture = start(cluster, &["--frontend", &frontend, "--count", "12", "--rate", "1000"], &service)?;
    ends(&mut capture, || ask_tcp(&cluster.client, to, None).map(drop))?;
    let text = read(&service)?;
    let to_pod = |line: &str| line.contains("> fd00:244:") && line.contains(".7070: Flags");
    ensure!(text.lines().count() == 12 && text.lines().all(to_pod), "{text}");
    let raw = String::from_utf8_lossy(&std::fs::read(&service)?).into_owned();
    ensure!(raw.contains("forward: default/web:7070 to [fd00:244:"), "no service in the comments");
    Ok(())
}

/// Whoever is killed leaves nothing behind: another may capture some seconds later, and until then is told who is there.
fn killed(cluster: &Cluster, dir: &Path) -> Result<()> {
    let file = dir.join("killed.pcapng");
    let mut capture = start(cluster, &["--drops"], &file)?;
    let begun = eventually("the file", SOON, || file.metadata().context("there is none"));
    capture.kill()?;
    capture.wait()?;
    begun?;
    let again = dir.join("again.pcapng").to_string_lossy().into_owned();
    let second = ["capture", "--drops", "--time", "1", "-w", &again];
    eventually("another capture", 2 * SOON, || cluster.nodes[0].weir(&second).map(drop))?;
    let nobody = cluster.nodes[0].weir(&["capture", "--service", "default/nobody", "-w", &again]);
    let message = nobody.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(message.contains("there is no service default/nobody"), "{message}");
    Ok(())
}
