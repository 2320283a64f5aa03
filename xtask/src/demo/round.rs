//! One round of requests through every kind of frontend.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weir_lab::{CLIENT, CLIENT6, Cluster, Node, Request, ask_tcp, ask_udp};

use super::interrupt::Interrupt;
use super::outcome::{Line, Outcome};

const EXTERNAL: Ipv4Addr = Ipv4Addr::new(10, 100, 100, 100);
const EXTERNAL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x100);
const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 100, 200, 1);
const FRONT: Ipv4Addr = Ipv4Addr::new(10, 1, 33, 159);

/// Enough to see how connections spread over two pods.
const TRIES: usize = 16;
/// Where one of them has not answered by then, it gets as many as this: no accident keeps it out of 64.
const MOST_TRIES: usize = 64;

pub(super) fn run(cluster: &Cluster, interrupt: &Interrupt) -> Result<Outcome> {
    let round = Round { cluster, interrupt };
    let mut outcome = Outcome::default();
    let mut add = |line: Result<Line>| -> Result<()> {
        let line = line?;
        println!("{line}");
        outcome.0.push(line);
        Ok(())
    };
    for node in &cluster.nodes {
        add(round.http("NodePort", node, node.port(30080), "web-"))?;
        add(round.http("NodePort", node, node.port(allocated_port(node)?), "web-"))?;
        add(round.datagrams("NodePort, UDP", node, node.port(30053)))?;
        add(round.lines("NodePort IPv6", node, node.port6(30070)))?;
    }
    // The client's routes lead to the first node; any other would do.
    let entry = &cluster.nodes[0];
    add(round.lines("externalIP", entry, (EXTERNAL, 7070).into()))?;
    add(round.lines("externalIP IPv6", entry, (EXTERNAL6, 7070).into()))?;
    add(round.datagrams("externalIP, UDP", entry, (EXTERNAL, 5353).into()))?;
    add(round.http("LoadBalancer", entry, (BALANCER, 80).into(), "api-"))?;
    for (host, path, pods, seen) in [
        ("web.example.com", "/", "web-", "/"),
        ("web.example.com", "/api/users", "api-", "/api/users"),
        ("blue.apps.example.com", "/", "api-", "/"),
        ("rewrite.example.com", "/service/api/users", "api-", "/users"),
        ("unknown.example.com", "/", "fallback", "/"),
    ] {
        add(round.ingress(entry, (FRONT, 80).into(), host, path, pods, seen))?;
    }
    for node in &cluster.nodes {
        add(round.ingress(node, node.port(31188), "web.example.com", "/", "web-", "/"))?;
        add(round.ingress(node, node.port(80), "web.example.com", "/", "web-", "/"))?;
    }
    Ok(outcome)
}

struct Round<'a> {
    cluster: &'a Cluster,
    interrupt: &'a Interrupt,
}

/// Who answered, and what the pod saw of the client.
struct Answer {
    pod: String,
    node: String,
    peer: String,
}

impl Round<'_> {
    fn http(&self, kind: &'static str, entry: &Node, to: SocketAddr, pods: &str) -> Result<Line> {
        let request = format!("GET http://{to}/ by {}", entry.name);
        self.layer4(kind, request, entry, pods, || {
            let response = Request::get(&to.to_string(), "/").send(&self.cluster.client, to)?;
            ensure!(response.status == 200, "status {}", response.status);
            Ok(Answer { pod: response.field("pod")?, node: response.field("node")?, peer: response.field("peer")? })
        })
    }

    fn lines(&self, kind: &'static str, entry: &Node, to: SocketAddr) -> Result<Line> {
        let request = format!("tcp://{to} by {}", entry.name);
        self.layer4(kind, request, entry, "web-", || words(&ask_tcp(&self.cluster.client, to, None)?))
    }

    fn datagrams(&self, kind: &'static str, entry: &Node, to: SocketAddr) -> Result<Line> {
        let request = format!("udp://{to} by {}", entry.name);
        self.layer4(kind, request, entry, "web-", || words(&ask_udp(&self.cluster.client, to, None, "hello")?))
    }

    /// Both pods have to answer: the one on the entry node seeing the client's address, the other one the node's.
    fn layer4(
        &self,
        kind: &'static str,
        request: String,
        entry: &Node,
        pods: &str,
        ask: impl Fn() -> Result<Answer>,
    ) -> Result<Line> {
        let mut line = Line { kind, request, answers: BTreeMap::new(), wrong: Vec::new() };
        for attempt in 0..MOST_TRIES {
            if attempt >= TRIES && (line.answers.len() == 2 || !line.wrong.is_empty()) {
                break;
            }
            self.interrupt.check()?;
            match ask().and_then(|answer| path(entry, pods, &answer)) {
                Ok(path) => *line.answers.entry(path).or_default() += 1,
                Err(error) => line.wrong.push(format!("{error:#}")),
            }
        }
        if line.answers.len() < 2 {
            line.wrong.push("only one of two pods answered".to_owned());
        }
        Ok(line)
    }

    fn ingress(&self, entry: &Node, to: SocketAddr, host: &str, path: &str, pods: &str, seen: &str) -> Result<Line> {
        let request = format!("GET http://{host}{path} at {to}, front of {}", entry.name);
        let mut line = Line { kind: "Ingress", request, answers: BTreeMap::new(), wrong: Vec::new() };
        for _ in 0..4 {
            self.interrupt.check()?;
            let answer = Request::get(host, path).send(&self.cluster.client, to);
            match answer.and_then(|response| routed(&response, pods, seen)) {
                Ok(text) => *line.answers.entry(text).or_default() += 1,
                Err(error) => line.wrong.push(format!("{error:#}")),
            }
        }
        Ok(line)
    }
}

fn words(greeting: &str) -> Result<Answer> {
    let mut words = greeting.split(' ').map(str::to_owned);
    let mut next = || words.next().with_context(|| format!("a greeting of three words, not {greeting:?}"));
    Ok(Answer { pod: next()?, node: next()?, peer: next()? })
}

fn path(entry: &Node, pods: &str, answer: &Answer) -> Result<String> {
    let Answer { pod, node, peer } = answer;
    ensure!(pod.starts_with(pods), "{pod} answered, which is not of this Service");
    let peer: SocketAddr = peer.parse().with_context(|| peer.clone())?;
    let (client, itself): (IpAddr, IpAddr) = match peer.ip() {
        IpAddr::V4(_) => (CLIENT.into(), entry.ip.into()),
        IpAddr::V6(_) => (CLIENT6.into(), entry.ip6.into()),
    };
    let (path, source) = if *node == entry.name { ("local pod", client) } else { ("other node", itself) };
    ensure!(peer.ip() == source, "{pod} on {node} saw {peer}, not {source}");
    Ok(format!("{pod} on {node}: {path}, which sees {source}"))
}

fn routed(response: &weir_lab::Response, pods: &str, seen: &str) -> Result<String> {
    let (pod, node, path) = (response.field("pod")?, response.field("node")?, response.field("path")?);
    ensure!(pod.starts_with(pods), "{pod} answered, not {pods}*");
    ensure!(path == seen, "{pod} saw the path {path}, not {seen}");
    let client = response.seen_header("x-forwarded-for")?.unwrap_or_default();
    ensure!(client == CLIENT.to_string(), "X-Forwarded-For is {client:?}, not {CLIENT}");
    Ok(format!("{} from {pod} on {node}, which sees {path} for {client}", response.status))
}

/// The node port that the Service without a fixed one got.
fn allocated_port(node: &Node) -> Result<u16> {
    let rows = node.rows("services")?;
    let row = rows.iter().find(|row| row["name"] == "web-allocated").context("web-allocated is not listed")?;
    let frontends = row["frontends"].as_array().context("no frontends")?;
    let port = frontends.iter().find(|f| f["kind"] == "NodePort").and_then(|f| f["port"].as_u64());
    Ok(u16::try_from(port.context("web-allocated has no node port")?)?)
}
