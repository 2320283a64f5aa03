//! Slow clients, as slowhttptest plays them: heads that do not end, bodies that do not, and answers that nobody reads. The front
//! ends all of them in its time, and serves others meanwhile.

use std::io::{ErrorKind, Read};
use std::process::{Child, Command, Stdio};

use lb_userspace::l7::hits::Hit;

use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

/// Connections of each attack, made in a second.
const CONNECTIONS: u64 = 20;
/// The tool gives up after so many seconds. It ends when no connection is left, which is long before that.
const AT_MOST: &str = "90";
/// The same where its connections do not end for it: who reads slowly goes on with what the kernel has taken of the answer before the
/// front closed the connection.
const NO_LONGER: &str = "40";
/// More than sockets take: up to 4 MiB of what is sent (tcp_wmem in tcp(7)), and of a client that reads slowly far less.
const LONG: usize = 8 << 20;

/// `None`: there is no such program.
fn attack(site: &Site, arguments: &[&str]) -> Option<Child> {
    let (url, count) = (format!("http://{}/", site.address()), CONNECTIONS.to_string());
    let mut tool = Command::new("slowhttptest");
    // It probes by a connection of its own whether others are served.
    let most = if reads_slowly(arguments) { NO_LONGER } else { AT_MOST };
    tool.args(["-c", &count, "-r", &count, "-l", most, "-i", "1", "-p", "30", "-u", &url]).args(arguments);
    match tool.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => Some(child),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("slowhttptest does not start: {error}"),
    }
}

fn reads_slowly(arguments: &[&str]) -> bool {
    arguments.contains(&"-X")
}

#[test]
fn slow_clients_are_ended_and_others_served() {
    let pod = Pod::answering(|asked| {
        let long = asked.line.starts_with("GET / ");
        answer("200 OK", &[], &"x".repeat(if long { LONG } else { 2 }))
    });
    let data = [("client-header-timeout", "3"), ("client-body-timeout", "3"), ("client-min-rate", "1000")];
    // The tool asks for an address.
    let main = ingress("web", "", "/", &[]);
    let site = Site::configured(&data, &main, &[("web", &pod)]);
    for (arguments, limits) in [
        (&["-H"][..], &[Hit::HeadTime][..]),
        (&["-B", "-s", "8192", "-x", "10"], &[Hit::BodyTime, Hit::BodyRate]),
        (&["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "1"], &[Hit::ReadTime, Hit::ReadRate]),
    ] {
        let before = site.counters().limited;
        let Some(mut tool) = attack(&site, arguments) else {
            weir_lab::lacks("slowhttptest");
            return;
        };
        let ended = || -> u64 { limits.iter().map(|limit| site.counters().limited[*limit as usize]).sum() };
        let mut served = 0;
        site.eventually("the attackers to be ended", || {
            assert_eq!(site.get("a.example", "/other", &[]).status, 200, "{arguments:?}");
            served += 1;
            ended() >= CONNECTIONS
        });
        assert!(served > 0 && site.counters().upstream_failures == 0, "{arguments:?}");
        // It ends by itself once all of its connections have ended, and tells whether it was served all the while.
        let mut told = String::new();
        tool.stdout.take().expect("piped").read_to_string(&mut told).expect("text");
        let _ = tool.wait();
        let last = told.rfind("service available:").map(|at| &told[at..]).expect("what it saw");
        assert!(last.lines().next().is_some_and(|line| line.contains("YES")), "{arguments:?}: {last}");
        assert!(reads_slowly(arguments) || told.contains("No open connections left"), "{arguments:?}: {last}");
        let others =
            |limit: &Hit| !limits.contains(limit) && site.counters().limited[*limit as usize] > before[*limit as usize];
        assert_eq!(Hit::ALL.iter().find(|limit| others(limit)), None, "{arguments:?}");
    }
}
