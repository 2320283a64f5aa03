//! The agent and the machine it runs on: other listeners, addresses that come, sources that are late, the service manager.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use weir_lab::{Node, Request, SOON, ask_tcp, eventually};

use crate::common::{expect_status, problems, scenario, web};

const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10254);

fn has_problem(node: &Node, code: &str) -> Result<Option<String>> {
    let found = problems(node)?.into_iter().find(|problem| problem["code"] == code);
    Ok(found.and_then(|problem| problem["message"].as_str().map(str::to_owned)))
}

#[test]
#[ignore = "needs root"]
fn a_port_of_somebody_else_is_left_to_him_and_taken_when_he_goes() -> Result<()> {
    scenario(|cluster| {
        let node = &mut cluster.nodes[0];
        let other = node.netns.run(|| Ok(TcpListener::bind("0.0.0.0:80")?))?;
        node.start_agent()?;
        let message = has_problem(node, "front-port-taken")?.context("no Problem")?;
        ensure!(message.contains(&format!("process {}", std::process::id())), "the holder is not named: {message}");
        ensure!(message.contains(&node.ip.to_string()), "the address is not named: {message}");
        let (node, client) = (&cluster.nodes[0], &cluster.client);
        let to = node.port(80);
        client.run(|| Ok(std::net::TcpStream::connect_timeout(&to, Duration::from_secs(5))?))?;
        other.set_nonblocking(true)?;
        other.accept().context("the connection did not reach the other listener")?;
        drop(other);
        eventually("the front to take the port", SOON, || {
            ensure!(has_problem(node, "front-port-taken")?.is_none(), "the Problem stays");
            expect_status(cluster, to, "nobody.example", "/", 404)
        })?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn node_ports_answer_on_an_address_that_comes_later() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let node = &cluster.nodes[0];
        let [a, b, c, _] = node.ip.octets();
        let later = Ipv4Addr::new(a, b, c, 200);
        node.netns.ip(&format!("address add {later}/24 dev eth0"))?;
        eventually("the new address to answer", SOON, || {
            ask_tcp(&cluster.client, SocketAddr::from((later, 30070)), None)
        })?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_source_that_comes_late_is_waited_for_and_named() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        let there = cluster.manifests();
        let away = there.with_extension("away");
        std::fs::rename(&there, &away)?;
        let node = &mut cluster.nodes[0];
        node.spawn_agent()?;
        let node = &cluster.nodes[0];
        eventually("the agent to say what is missing", SOON, || {
            let missing = node.api("status")?["status"]["missing"].to_string();
            ensure!(missing.contains("not read completely") && missing.contains("not attached"), "{missing}");
            let problem = has_problem(node, "file-unreadable")?.context("no Problem")?;
            ensure!(problem.contains(&*there.to_string_lossy()), "{problem}");
            Ok(())
        })?;
        std::fs::rename(&away, &there)?;
        eventually("the agent to be ready", SOON, || {
            ensure!(node.admin("/readyz")?.contains("ready"), "not ready");
            ask_tcp(&cluster.client, node.port(30070), None)
        })?;
        ensure!(has_problem(node, "file-unreadable")?.is_none(), "the Problem stays");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_map_that_is_too_small_is_a_problem_and_the_rest_is_served() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        let node = &mut cluster.nodes[0];
        node.agent_options().arguments.extend(["--max-frontends", "2"].map(str::to_owned));
        node.start_agent()?;
        let message = has_problem(node, "map-full")?.context("no Problem")?;
        ensure!(message.contains("--max-frontends"), "the flag is not named: {message}");
        // The first two in order have room: 30053 and 30070.
        let to = cluster.nodes[0].port(30070);
        ask_tcp(&cluster.client, to, None).map(drop)
    })
}

#[test]
#[ignore = "needs root"]
fn the_level_of_the_log_changes_live() -> Result<()> {
    scenario(|cluster| {
        cluster.nodes[0].start_agent()?;
        let node = &cluster.nodes[0];
        let log = || node.agent.as_ref().context("an agent")?.log();
        ensure!(!log()?.contains("DEBUG"), "debug lines at the start");
        let set = Request::post("localhost", "/api/v1/log-level", b"debug".to_vec()).send(&node.netns, ADMIN)?;
        ensure!(set.status == 200 && set.text().contains("debug"), "{} {}", set.status, set.text());
        let (netns, namespace) = (&node.netns, "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n");
        cluster.write("namespace.yaml", namespace)?;
        netns.ip("address add 198.51.100.1/32 dev eth0")?;
        eventually("a debug line", SOON, || {
            ensure!(log()?.contains("DEBUG"), "none in {}", log()?);
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn the_service_manager_is_told_of_the_start_and_of_the_end() -> Result<()> {
    scenario(|cluster| {
        let node = &mut cluster.nodes[0];
        let options = node.agent_options().clone();
        let path = options.log.with_extension("notify");
        let manager = UnixDatagram::bind(&path)?;
        manager.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut agent = node
            .netns
            .command("env")
            .arg(format!("NOTIFY_SOCKET={}", path.display()))
            .arg("WATCHDOG_USEC=200000")
            .arg(&options.weir)
            .args(["agent", "--interface", "eth0", "--no-socket-level", "--node-name", &options.node, "--pin-path"])
            .arg(&options.pin_path)
            .args(["--source", &format!("dir:{}", options.source.display())])
            .stderr(std::fs::File::create(&options.log)?)
            .spawn()?;
        let told = |line: &str| -> Result<()> {
            let mut buffer = [0; 4096];
            loop {
                let length = manager.recv(&mut buffer).with_context(|| format!("waited for {line}"))?;
                if String::from_utf8_lossy(&buffer[..length]).lines().any(|told| told == line) {
                    return Ok(());
                }
            }
        };
        let result = told("READY=1").and_then(|()| told("WATCHDOG=1"));
        // nsenter and env have become the agent, so the child is the agent.
        kill_process(Pid::from_child(&agent), Signal::TERM)?;
        let result = result.and_then(|()| told("STOPPING=1"));
        let status = agent.wait()?;
        result?;
        ensure!(status.success(), "ended with {status}");
        Ok(())
    })
}
