//! Connections that a pod closes while a request is on its way to it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use weir_lab::{Cluster, Request, SOON, Session, eventually};

use crate::common::scenario;

const SITE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80, targetPort: 6060}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
ports: [{port: 6060}]
endpoints: [{addresses: [ADDRESS], conditions: {ready: true}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - host: keep.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

const PORT: u16 = 6060;
/// A connection that nobody uses for a second gets no such request any more, and a busy machine may be slower than that.
const ATTEMPTS: usize = 20;

/// A server whose connections close when the test says so. They are known by the port of their other end.
struct Server {
    /// Each connection, and who closes it.
    opened: Receiver<(u16, Sender<()>)>,
    /// Each request that was read.
    read: Receiver<u16>,
    closers: HashMap<u16, Sender<()>>,
}

impl Server {
    fn start(cluster: &Cluster) -> Result<Self> {
        let pod = cluster.pods.first().context("there is a pod")?;
        let listener = pod.netns.run(|| Ok(TcpListener::bind((pod.ip, PORT))?))?;
        let ((tell_opened, opened), (tell_read, read)) = (channel(), channel());
        thread::spawn(move || {
            while let Ok((stream, from)) = listener.accept() {
                let (close, told) = channel();
                if tell_opened.send((from.port(), close)).is_err() {
                    return;
                }
                let tell_read = tell_read.clone();
                // A connection that breaks is the front's news, not ours.
                thread::spawn(move || serve(stream, from.port(), &tell_read, &told));
            }
        });
        Ok(Self { opened, read, closers: HashMap::new() })
    }

    /// The connection on which the last request was read, if that was its first.
    fn last(&mut self) -> Result<(u16, bool)> {
        let port = self.read.recv_timeout(SOON).context("the server reads each request")?;
        let before = self.closers.contains_key(&port);
        self.closers.extend(self.opened.try_iter());
        Ok((port, before))
    }

    fn close(&self, port: u16) -> Result<()> {
        Ok(self.closers.get(&port).context("a known connection")?.send(())?)
    }
}

/// Answers one request after the other, until it is told to close.
fn serve(mut stream: TcpStream, port: u16, read: &Sender<u16>, close: &Receiver<()>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(5)))?;
    let (mut asked, mut bytes) = (Vec::new(), [0; 4096]);
    while close.try_recv().is_err() {
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => asked.extend_from_slice(&bytes[..count]),
            Err(_) => continue,
        }
        if asked.ends_with(b"body") {
            asked.clear();
            read.send(port)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }
    Ok(())
}

/// Nothing of this connection arrives at the pod any more, while what the pod sends leaves.
struct Deaf<'a> {
    cluster: &'a Cluster,
    port: u16,
}

impl<'a> Deaf<'a> {
    fn begin(cluster: &'a Cluster, port: u16) -> Result<Self> {
        let deaf = Self { cluster, port };
        deaf.rule("-A")?;
        Ok(deaf)
    }

    fn rule(&self, what: &str) -> Result<String> {
        let rule = format!("iptables {what} INPUT -p tcp --dport {PORT} --sport {} -j DROP", self.port);
        self.cluster.pods.first().context("there is a pod")?.netns.shell(&rule)
    }

    /// A packet has not arrived.
    fn has_missed(&self) -> Result<bool> {
        let pod = self.cluster.pods.first().context("there is a pod")?;
        let listed = pod.netns.shell("iptables -nvxL INPUT")?;
        let rule = listed.lines().find(|line| line.contains(&format!("spt:{} ", self.port)));
        let count = rule.and_then(|line| line.split_whitespace().next()).context("the rule is listed")?;
        Ok(count != "0")
    }
}

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        // With the cluster it is gone anyway.
        let _ = self.rule("-D");
    }
}

/// The connection of a POST that was not its first. The front sends POSTs on no other before it has seen the pod leave one
/// open for a while.
fn used_again(cluster: &Cluster, server: &mut Server, session: &mut Session, post: &Request) -> Result<u16> {
    let mut used = 0;
    eventually("a connection to be used again", SOON, || {
        cluster.client.run(|| session.send(post))?;
        let (port, before) = server.last()?;
        used = port;
        ensure!(before, "port {port} is new");
        Ok(())
    })?;
    Ok(used)
}

/// A POST on a connection of the pod that closes before anything of it arrives; false: the front took another connection.
fn posted_into_the_end(cluster: &Cluster, server: &mut Server, session: &mut Session, post: &Request) -> Result<bool> {
    let port = used_again(cluster, server, session, post)?;
    let deaf = Deaf::begin(cluster, port)?;
    let (answer, missed) = thread::scope(|scope| {
        let posting = scope.spawn(|| cluster.client.run(|| session.send(post)));
        let mut missed = false;
        eventually("the request to be on its way", SOON, || {
            missed = deaf.has_missed()?;
            ensure!(missed || posting.is_finished(), "nothing of it is");
            Ok(())
        })?;
        server.close(port)?;
        let answer = posting.join().unwrap_or_else(|_| bail!("the client panicked"))?;
        anyhow::Ok((answer, missed))
    })?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let (again, _) = server.last()?;
    ensure!(again != port, "the connection that is deaf was heard");
    Ok(missed)
}

#[test]
#[ignore = "needs root"]
fn a_request_that_a_closing_pod_has_not_seen_is_sent_again() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "web", "web")?;
        let mut server = Server::start(cluster)?;
        let address = cluster.pods.first().context("there is a pod")?.ip.to_string();
        cluster.write("site.yaml", &SITE.replace("ADDRESS", &address))?;
        cluster.start_agents()?;
        let post = Request::post("keep.test", "/", b"body".to_vec());
        let mut session = Session::keeping(cluster.nodes[0].port(80));
        eventually("the route to be in force", SOON, || {
            let answer = cluster.client.run(|| session.send(&post))?;
            ensure!(answer.status == 200, "{}", answer.status);
            server.last().map(drop)
        })?;
        for _ in 0..ATTEMPTS {
            if posted_into_the_end(cluster, &mut server, &mut session, &post)? {
                return Ok(());
            }
        }
        bail!("the front used no connection again")
    })
}
