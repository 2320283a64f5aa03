//! weir's front, given its routes as the agent gives them.

use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lb_userspace::clock::now;
use lb_userspace::compile::route_table;
use lb_userspace::l7::supervisor::{Front, FrontConfig};
use lb_userspace::l7::table::RouteTable;
use lb_userspace::source::{Objects, SourceEvent, dir};
use lb_userspace::translate::{Settings, translate};
use tokio::runtime::Runtime;

use super::Proxy;
use super::process::Process;
use super::site::{HOST, Site, hosts};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Weir {
    front: Option<Front>,
    runtime: Runtime,
    process: Process,
    port: u16,
    tls_port: u16,
    log: PathBuf,
}

/// Starts the program with one worker and an access log in a file.
pub(crate) fn weir(site: &Site) -> Result<Weir> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let log = site.file("weir.log", "")?;
    // The front has the rights of nobody.
    fs::set_permissions(&log, Permissions::from_mode(0o666))?;
    let script = format!("#!/bin/sh\nexec {} \"$@\" >>{}\n", env!("CARGO_BIN_EXE_weir"), log.display());
    let program = site.file("weir", &script)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let config = FrontConfig { program, cores: 1, in_detail: true, ..FrontConfig::new(site.path("run")) };
    let front = runtime.block_on(Front::start(config))?;
    front.publish(table(site)?);
    let until = now() + PATIENCE;
    while !front.status().is_current() {
        ensure!(now() < until, "the front does not take its routes");
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = front.status();
    let process = Process::of_pid(status.pid.context("the front does not run")?)?;
    Ok(Weir { front: Some(front), runtime, process, port: status.port, tls_port: status.tls_port, log })
}

impl Proxy for Weir {
    fn name(&self) -> &'static str {
        "weir"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn tls_port(&self) -> u16 {
        self.tls_port
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn forget_log(&self) -> Result<()> {
        Ok(File::options().write(true).open(&self.log)?.set_len(0)?)
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        if let Some(front) = self.front.take() {
            self.runtime.block_on(front.shutdown());
        }
    }
}

/// One Ingress for each host.
fn table(site: &Site) -> Result<RouteTable> {
    let manifests = site.file("manifests/site.yaml", &manifests(site))?;
    let picture = dir::read(manifests.parent().context("a directory")?)?;
    let mut objects = Objects::new(1);
    objects.handle(0, SourceEvent::Init);
    for (_, object) in picture.iter() {
        objects.handle(0, SourceEvent::InitApply(object.clone()));
    }
    objects.handle(0, SourceEvent::InitDone);
    let (desired, problems) = translate(&objects, &Settings::default());
    ensure!(problems.is_empty(), "the manifests are wrong: {}", problems[0].message);
    let mut table = route_table(&desired);
    // Endpoints on loopback are refused in manifests.
    for upstream in table.upstreams.values_mut() {
        *upstream = Arc::from([SocketAddr::from(([127, 0, 0, 1], site.backend))]);
    }
    Ok(table)
}

fn manifests(site: &Site) -> String {
    let (certificate, key) = (STANDARD.encode(&site.certificate), STANDARD.encode(&site.key));
    let mut text = format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: certificate}}
type: kubernetes.io/tls
data: {{tls.crt: {certificate}, tls.key: {key}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}
ports: [{{port: 80}}]
endpoints: [{{addresses: [192.0.2.1]}}]
"
    );
    for host in hosts() {
        let tls = if host == HOST {
            format!("\n  tls: [{{hosts: [{host}], secretName: certificate}}]")
        } else {
            String::new()
        };
        // The client asks this host without TLS as well.
        text.push_str(&format!(
            "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {}
  annotations: {{nginx.ingress.kubernetes.io/ssl-redirect: \"false\"}}
spec:{tls}
  rules: [{{host: {host}, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]
",
            host.replace('.', "-")
        ));
    }
    text
}
