//! A route, endpoints and a certificate change, and each change is waited for.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Request, SOON, eventually};

use crate::traffic::site::{Endpoint, LINES, slice};
use crate::traffic::sockets;
use crate::traffic::{Site, Target, secured};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: turning}\n\
                       spec: {ports: [{port: 80, targetPort: 8080}]}\n";

pub(super) struct Changes<'a> {
    cluster: &'a Cluster,
    site: &'a Site,
    target: &'a Target,
    made: u32,
    /// Until requests met it.
    longest: Duration,
}

impl<'a> Changes<'a> {
    pub(super) fn new(cluster: &'a Cluster, site: &'a Site, target: &'a Target) -> Result<Self> {
        cluster.write("turning-service.yaml", SERVICE)?;
        Ok(Changes { cluster, site, target, made: 0, longest: Duration::ZERO })
    }

    /// Makes one of each kind, and waits until clients meet all of them.
    pub(super) fn make(&mut self) -> Result<()> {
        self.made += 1;
        let number = self.made;
        let turn = number as usize % 2;
        let [near, far] = self.site.pods;
        let both: [Endpoint; 2] = [(near, true), (far, true)];
        let served = [&both[..], &both[..1], &both[1..]][number as usize % 3];
        // At layer 4 connections go on with an endpoint that is about to end.
        let lines = [(near, true), (far, turn == 0)];
        // A new name each time: what is kept of one that nobody has any more would add up.
        let host = format!("turning-{number}.test");
        let certificate = format!("certificate-{number}");
        let begun = Instant::now();
        self.cluster.write("turning.yaml", &route(&host))?;
        self.cluster
            .write("turning-endpoints.yaml", &slice("turning", &[("", 8080)], &[(self.site.pods[turn], true)]))?;
        self.cluster.write("site-endpoints.yaml", &slice("site", &[("", 8080)], served))?;
        self.cluster.write("socket-endpoints.yaml", &slice("socket", &[("", sockets::PORT)], served))?;
        self.cluster.write("lines-endpoints.yaml", &slice("lines", &LINES, &lines))?;
        self.cluster.write("certificate.yaml", &self.site.authority.secret(&certificate)?)?;
        let pod = ["near", "far"][turn];
        eventually("a change to be met", SOON, || self.is_met(&host, pod, &certificate))?;
        self.longest = self.longest.max(begun.elapsed());
        Ok(())
    }

    fn is_met(&self, host: &str, pod: &str, certificate: &str) -> Result<()> {
        let answer = Request::get(host, "/").send(&self.cluster.client, self.target.http)?;
        ensure!(answer.status == 200, "{host}: {} {}", answer.status, answer.text());
        ensure!(answer.field("pod")? == pod, "{host} does not lead to {pod}: {}", answer.text());
        let shown = self.cluster.client.run(|| {
            let mut stream = secured(self.target)?;
            Request::get(crate::traffic::HOST, "/").send_on(&mut stream)?;
            let shown = stream.get_ref().conn.peer_certificates().and_then(<[_]>::first);
            Ok(shown.context("the front shows no certificate")?.to_vec())
        })?;
        let (name, end) = (certificate.as_bytes(), certificate.len());
        // Longer ones begin the same, but the name's length is before it.
        let is_it = shown.windows(end + 1).any(|part| part[1..] == *name && usize::from(part[0]) == end);
        ensure!(is_it, "the front does not show {certificate}");
        Ok(())
    }
}

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes of each kind, the longest met after {:?}", self.made, self.longest)
    }
}

fn route(host: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: turning}}\nspec:\n  rules:\n  - host: {host}\n    \
         http:\n      paths:\n      - {{path: /, pathType: Prefix, backend: {{service: {{name: turning, port: {{number: 80}}}}}}}}\n"
    )
}
