//! The process `weir front` under its supervisor: started, fed, killed, replaced, drained.

#![allow(clippy::disallowed_methods, reason = "tests wait with deadlines and measure")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lb_userspace::clock::{now, since};
use lb_userspace::l7::supervisor::{Front, FrontConfig, SupervisorError};
use lb_userspace::l7::table::{RouteEntry, RouteTable};
use lb_userspace::model::PathMatch;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit, test_kill_process};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");
const PATIENCE: Duration = Duration::from_secs(30);

async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !condition() {
        assert!(now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A process that the test caused to be started; ended with the test at the latest.
struct Process(Pid);

impl Process {
    fn of(front: &Front) -> Self {
        let pid = front.status().pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        Process(pid.expect("the front runs"))
    }

    fn kill(&self) {
        kill_process(self.0, Signal::KILL).expect("it runs");
    }

    fn runs(&self) -> bool {
        // A zombie runs no more.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero())).unwrap_or_default();
        test_kill_process(self.0).is_ok() && !stat.contains(") Z ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.runs() {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

/// Answers every connection with its name. Its thread ends with the test process.
fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn all_to(endpoint: SocketAddr) -> RouteTable {
    let entry = RouteEntry {
        filters: Arc::default(),
        path: PathMatch::Prefix("/".into()),
        ingress: "default/web".into(),
        service: "default/web".into(),
        service_port: "80".into(),
        upstream: Some("default/web:80".into()),
        rewrite: None,
        problem: None,
    };
    RouteTable {
        hosts: BTreeMap::from([("*".into(), Arc::from([entry]))]),
        upstreams: BTreeMap::from([("default/web:80".into(), Arc::from([endpoint]))]),
        ..RouteTable::default()
    }
}

fn config(run_dir: &Path) -> FrontConfig {
    FrontConfig { program: WEIR.into(), cores: 2, access_log: false, ..FrontConfig::new(run_dir) }
}

/// Ends whatever process is left when a test fails.
struct Cleanup {
    dir: tempfile::TempDir,
}

impl Cleanup {
    fn new() -> Self {
        Cleanup { dir: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let text = std::fs::read_to_string(self.path().join("front.pid")).unwrap_or_default();
        let pids = text.lines().filter_map(|line| Pid::from_raw(line.split(' ').next()?.parse().ok()?));
        drop(pids.map(Process).collect::<Vec<_>>());
    }
}

async fn start(run_dir: &Path, table: RouteTable) -> Front {
    let front = Front::start(config(run_dir)).await.expect("the front starts");
    front.publish(table);
    wait_for("the table to be in force", || front.status().is_current()).await;
    front
}

/// A line of proc(5), `status`.
fn status_of(process: &Process, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.as_raw_nonzero())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("a line").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn it_is_confined_and_holds_no_files() {
    let cleanup = Cleanup::new();
    let front = start(cleanup.path(), all_to(backend("one"))).await;
    assert_eq!(ask(front.status().port).await.expect("an answer"), "one");
    let process = Process::of(&front);
    assert_eq!(
        ["Seccomp", "NoNewPrivs", "CapEff"].map(|name| status_of(&process, name)),
        ["2", "1", "0000000000000000"]
    );
    if rustix::process::geteuid().is_root() {
        assert_eq!(status_of(&process, "Uid"), "65534 65534 65534 65534");
        let open = std::fs::read_dir(format!("/proc/{}/fd", process.0.as_raw_nonzero())).expect("it runs");
        let open = open.flatten().map(|entry| (entry.file_name(), std::fs::read_link(entry.path())));
        for (number, to) in open.filter(|(number, _)| number != "1" && number != "2") {
            let to = to.map(|to| to.display().to_string()).unwrap_or_default();
            // What whoever runs the tests has left open is not the agent's.
            let ours = std::fs::read_link(Path::new("/proc/self/fd").join(&number));
            if ours.is_ok_and(|ours| ours.display().to_string() == to) {
                continue;
            }
            let kinds = ["socket:", "pipe:", "anon_inode:[event"];
            assert!(kinds.iter().any(|kind| to.starts_with(kind)), "{number:?} is {to}");
        }
    }
    assert_eq!(front.status().unconfined, None);
    front.shutdown().await;
}

/// One request on a connection of its own, off the runtime's thread.
async fn ask(port: u16) -> std::io::Result<String> {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text.split("\r\n\r\n").nth(1).unwrap_or(&text).to_owned())
    })
    .await
    .expect("no panic")
}

#[tokio::test]
async fn tables_come_into_force_and_shutdown_leaves_nothing() {
    let dir = Cleanup::new();
    let front = start(dir.path(), all_to(backend("one"))).await;
    let process = Process::of(&front);
    let port = front.status().port;
    // Two workers, and one listener of each scheme and family that the machine has.
    let listeners = front.listeners();
    assert!(matches!(listeners.http.len(), 2 | 4), "{listeners:?}");
    assert_eq!(listeners.http.len(), listeners.https.len());
    assert_eq!(ask(port).await.expect("an answer"), "one");

    let table = all_to(backend("two"));
    assert_eq!(front.publish(table.clone()), 2);
    assert_eq!(front.publish(table), 2);
    wait_for("the change to be in force", || front.status().is_current()).await;
    for _ in 0..20 {
        assert_eq!(ask(port).await.expect("an answer"), "two");
    }
    assert_eq!((front.status().routes, front.status().version, front.status().restarts), (1, Some(2), 0));
    wait_for("the counters", || front.status().counters.total_requests() == 21).await;

    let pid_file = dir.path().join("front.pid");
    let text = std::fs::read_to_string(&pid_file).expect("the pid file");
    assert!(text.starts_with(&format!("{} ", process.0.as_raw_nonzero())), "{text}");
    front.shutdown().await;
    assert!(!process.runs());
    assert!(!pid_file.exists());
    assert!(ask(port).await.is_err());
}

#[tokio::test]
async fn a_killed_front_is_back_at_once_and_no_connection_is_refused() {
    let dir = Cleanup::new();
    let front = start(dir.path(), all_to(backend("one"))).await;
    let port = front.status().port;
    ask(port).await.expect("an answer");
    wait_for("the counters", || front.status().counters.total_requests() == 1).await;
    for round in 1..=2 {
        let process = Process::of(&front);
        let killed = now();
        process.kill();
        // The kernel keeps the connection until the next process accepts it.
        wait_for("the end", || !process.runs()).await;
        assert_eq!(ask(port).await.expect("an answer"), "one");
        println!("back after {:?}", since(killed));
        wait_for("the table to be in force again", || front.status().is_current()).await;
        let status = front.status();
        assert_eq!((status.restarts, status.version), (round, Some(1)));
        assert!(status.last_failure.is_some_and(|failure| failure.contains("signal: 9")));
        assert_ne!(front.status().pid, Some(process.0.as_raw_nonzero().get() as u32));
        // What the earlier process had reported still counts.
        wait_for("the counters", || front.status().counters.total_requests() == 1 + round).await;
    }
    front.shutdown().await;
}

/// A backend that answers when the test says so.
fn slow(release: std::sync::mpsc::Receiver<()>) -> (SocketAddr, std::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, (arrive, arrived)) = (listener.local_addr().expect("bound"), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let asked = stream.read(&mut [0; 4096]).expect("a request");
        arrive.send(()).expect("the test waits");
        if asked > 0 && release.recv().is_ok() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").expect("the front reads");
        }
    });
    (address, arrived)
}

#[tokio::test]
async fn while_one_that_was_told_to_end_drains_another_one_serves() {
    let dir = Cleanup::new();
    let (release, held) = std::sync::mpsc::channel();
    let (address, arrived) = slow(held);
    let front = start(dir.path(), all_to(address)).await;
    let port = front.status().port;
    let asking = tokio::spawn(ask(port));
    tokio::task::spawn_blocking(move || arrived.recv_timeout(PATIENCE)).await.expect("no panic").expect("a request");
    let process = Process::of(&front);
    kill_process(process.0, Signal::TERM).expect("it runs");
    wait_for("another process", || {
        front.status().pid.is_some_and(|pid| pid != process.0.as_raw_nonzero().get() as u32)
    })
    .await;
    front.publish(all_to(backend("one")));
    wait_for("the table to be in force", || front.status().is_current()).await;
    assert!(process.runs(), "its request is still in flight");
    release.send(()).expect("the backend waits");
    assert_eq!(asking.await.expect("no panic").expect("an answer"), "slow");
    wait_for("its end", || !process.runs()).await;
    assert_eq!(ask(port).await.expect("an answer"), "one");
    let status = front.status();
    assert_eq!(status.restarts, 1);
    assert!(status.last_failure.is_some_and(|failure| failure.contains("told to end")));
    front.shutdown().await;
}

#[tokio::test]
async fn the_process_has_no_privileges_and_nothing_it_does_not_need() {
    let dir = Cleanup::new();
    let front = start(dir.path(), RouteTable::default()).await;
    let pid = front.status().pid.expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = |name: &str| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {status}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("NoNewPrivs:"), ["1"]);
    if rustix::process::geteuid().is_root() {
        assert_eq!(line("Uid:"), ["65534"; 4]);
        assert_eq!(line("Gid:"), ["65534"; 4]);
        assert!(line("Groups:").is_empty());
        for set in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
            assert_eq!(line(set), ["0000000000000000"], "{set}");
        }
        // Whom to ask for names, which the agent was not told here.
        let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("readable for root");
        assert_eq!(environment, b"WEIR_NAME_SERVERS=\0", "{}", String::from_utf8_lossy(&environment));
    }
    assert_eq!(std::fs::read(format!("/proc/{pid}/cmdline")).expect("readable"), b"weir\0front\0");
    front.shutdown().await;
}

#[tokio::test]
async fn the_process_has_as_many_descriptors_as_it_may_have() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let fewer = maximum.map_or(1024, |maximum| maximum - 1);
    setrlimit(Resource::Nofile, Rlimit { current: Some(fewer), maximum }).expect("allowed");
    let dir = Cleanup::new();
    let front = start(dir.path(), RouteTable::default()).await;
    let pid = front.status().pid.expect("it runs");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line of them");
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
    front.shutdown().await;
}

#[tokio::test]
async fn an_orphan_serves_on_until_the_next_agents_front_is_ready() {
    let dir = Cleanup::new();
    let first = start(dir.path(), all_to(backend("one"))).await;
    let (orphan, old_port) = (Process::of(&first), first.status().port);
    // What the death of an agent is to its front: the control socket and the agent's copies of the listeners close.
    drop(first);
    for _ in 0..10 {
        assert_eq!(ask(old_port).await.expect("the orphan serves"), "one");
    }
    let second = Front::start(config(dir.path())).await.expect("the front starts");
    wait_for("the second process", || second.status().counters == Default::default() && second.status().pid.is_some())
        .await;
    assert!(orphan.runs());
    assert_eq!(ask(old_port).await.expect("the orphan serves until the new front has a table"), "one");
    second.publish(all_to(backend("two")));
    wait_for("the table to be in force", || second.status().is_current()).await;
    assert_eq!(ask(old_port).await.expect("the orphan accepts while its successor takes over"), "one");
    assert_eq!(ask(second.status().port).await.expect("an answer"), "two");
    wait_for("the orphan to end", || !orphan.runs()).await;
    second.shutdown().await;
}

#[tokio::test]
async fn a_program_that_is_missing_or_fails_is_reported() {
    let dir = Cleanup::new();
    let missing = FrontConfig { program: dir.path().join("weir"), ..config(dir.path()) };
    let error = Front::start(missing).await.expect_err("there is no such program");
    assert!(matches!(error, SupervisorError::Spawn { .. }) && error.to_string().contains("weir"), "{error}");

    let fails = FrontConfig { program: "/bin/false".into(), ..config(dir.path()) };
    if let Ok(front) = Front::start(fails).await {
        wait_for("some restarts", || front.status().restarts >= 3).await;
        let status = front.status();
        assert!(status.last_failure.is_some() && status.version.is_none(), "{status:?}");
        front.shutdown().await;
    }
}

#[tokio::test]
async fn however_many_agents_die_on_the_way_one_front_is_left() {
    let dir = Cleanup::new();
    let first = start(dir.path(), all_to(backend("one"))).await;
    let orphan = Process::of(&first);
    drop(first);
    // Dies before its front has a table: that front has nothing to serve and ends by itself.
    let second = Front::start(config(dir.path())).await.expect("the front starts");
    wait_for("the second process", || second.status().pid.is_some()).await;
    let useless = Process::of(&second);
    drop(second);
    wait_for("the front without routes to end", || !useless.runs()).await;
    assert!(orphan.runs());
    let third = start(dir.path(), all_to(backend("three"))).await;
    wait_for("the orphan to end", || !orphan.runs()).await;
    assert_eq!(ask(third.status().port).await.expect("an answer"), "three");
    third.shutdown().await;
    assert!(!dir.path().join("front.pid").exists());
}

#[test]
fn typed_by_hand_it_says_who_starts_it() {
    let output = Command::new(WEIR).arg("front").stdin(Stdio::null()).output().expect("it runs");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("started by `weir agent`"), "{text}");
}
