//! Manifests, translated and compiled as the agent does it, served by the real `weir front`; curl as the client.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lb_userspace::clock::now;
use lb_userspace::compile::route_table;
use lb_userspace::l7::counters::FrontCounters;
use lb_userspace::l7::supervisor::{Front, FrontConfig};
use lb_userspace::l7::table::RouteTable;
use lb_userspace::l7::traffic::Traffic;
use lb_userspace::model::Problem;
use lb_userspace::source::{Objects, SourceEvent, dir};
use lb_userspace::status::View;
use lb_userspace::translate::{Settings, translate};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use crate::pod::Pod;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A front with its backends.
pub(crate) struct Site {
    front: Option<Front>,
    runtime: Runtime,
    manifests: tempfile::TempDir,
    _run: tempfile::TempDir,
    endpoints: Vec<(SocketAddr, SocketAddr)>,
    /// What was applied, as the agent remembers it.
    objects: Objects,
    settings: Settings,
    /// What was wrong with the manifests.
    pub(crate) problems: Vec<Problem>,
}

/// What the client received.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

impl Site {
    /// Serves an Ingress for host `a.example`, path `/`, Service `web`, with these annotations (without their prefix).
    pub(crate) fn annotated(annotations: &[(&str, &str)], web: &Pod) -> Self {
        Self::start(&ingress("web", "a.example", "/", annotations), &[("web", web)])
    }

    /// Serves manifests; each pod is an endpoint of a Service of its name, port 80.
    pub(crate) fn start(manifests: &str, pods: &[(&str, &Pod)]) -> Self {
        Self::on_cores(1, manifests, pods)
    }

    /// The same with so many workers.
    pub(crate) fn on_cores(cores: usize, manifests: &str, pods: &[(&str, &Pod)]) -> Self {
        Self::with(cores, Settings::default(), manifests, pods)
    }

    /// The same with the front's ConfigMap, `default/settings`, of which these are the keys.
    pub(crate) fn configured(data: &[(&str, &str)], manifests: &str, pods: &[(&str, &Pod)]) -> Self {
        let named = Some(("default".to_owned(), "settings".to_owned()));
        Self::with(1, Settings { configmap: named, ..Settings::default() }, &(config_map(data) + manifests), pods)
    }

    /// The same, and what the front writes to its standard output.
    pub(crate) fn logging(data: &[(&str, &str)], manifests: &str, pods: &[(&str, &Pod)]) -> (Self, Output) {
        let named = Some(("default".to_owned(), "settings".to_owned()));
        let settings = Settings { configmap: named, ..Settings::default() };
        let output = Output::new();
        let program = output.program.clone();
        let change = |config: FrontConfig| FrontConfig { program, access_log: true, ..config };
        let site = Self::full(1, settings, &(config_map(data) + manifests), pods, &[], change);
        (site, output)
    }

    /// One that speaks HTTP/3 at the port of TLS, and what it writes to its standard output.
    #[cfg(feature = "http3")]
    pub(crate) fn over_quic(cores: usize, manifests: &str, pods: &[(&str, &Pod)]) -> (Self, Output) {
        let output = Output::new();
        let program = output.program.clone();
        let change = |config: FrontConfig| FrontConfig { program, access_log: true, quic: Some(0), ..config };
        (Self::full(cores, Settings::default(), manifests, pods, &[], change), output)
    }

    /// The same with the front's ConfigMap.
    #[cfg(feature = "http3")]
    pub(crate) fn configured_over_quic(data: &[(&str, &str)], manifests: &str, pods: &[(&str, &Pod)]) -> Self {
        let named = Some(("default".to_owned(), "settings".to_owned()));
        let settings = Settings { configmap: named, ..Settings::default() };
        let change = |config: FrontConfig| FrontConfig { quic: Some(0), ..config };
        Self::full(1, settings, &(config_map(data) + manifests), pods, &[], change)
    }

    /// One that tells a collector of so many of a million requests.
    #[cfg(feature = "otlp")]
    pub(crate) fn traced(manifests: &str, pods: &[(&str, &Pod)], collector: &Pod, per_million: u32) -> Self {
        let collector = lb_userspace::l7::control::Collector { address: collector.address.to_string(), per_million };
        let change = |config: FrontConfig| FrontConfig { collector: Some(collector), ..config };
        Self::full(1, Settings::default(), manifests, pods, &[], change)
    }

    /// The same with the flags of an agent.
    pub(crate) fn with(cores: usize, settings: Settings, manifests: &str, pods: &[(&str, &Pod)]) -> Self {
        Self::full(cores, settings, manifests, pods, &[], |config| config)
    }

    /// The same with the front's ConfigMap and servers for names outside of the cluster.
    pub(crate) fn configured_with_names(data: &[(&str, &str)], manifests: &str, name_servers: &[SocketAddr]) -> Self {
        let named = Some(("default".to_owned(), "settings".to_owned()));
        let settings = Settings { configmap: named, ..Settings::default() };
        Self::full(1, settings, &(config_map(data) + manifests), &[], name_servers, |config| config)
    }

    /// The same with servers for names outside of the cluster.
    pub(crate) fn with_names(
        cores: usize,
        manifests: &str,
        pods: &[(&str, &Pod)],
        name_servers: &[SocketAddr],
    ) -> Self {
        Self::full(cores, Settings::default(), manifests, pods, name_servers, |config| config)
    }

    fn full(
        cores: usize,
        settings: Settings,
        manifests: &str,
        pods: &[(&str, &Pod)],
        name_servers: &[SocketAddr],
        change: impl FnOnce(FrontConfig) -> FrontConfig,
    ) -> Self {
        let (manifests_dir, run) = (directory(), directory());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let program = env!("CARGO_BIN_EXE_weir").into();
        let config = FrontConfig {
            program,
            cores,
            access_log: false,
            name_servers: name_servers.to_vec(),
            local_names: true,
            in_detail: true,
            ..FrontConfig::new(run.path())
        };
        let front = runtime.block_on(Front::start(change(config))).expect("the front starts");
        let mut endpoints = Vec::new();
        let mut services = String::new();
        for (number, (name, pod)) in (1u8..).zip(pods) {
            endpoints.push((SocketAddr::from(([192, 0, 2, number], 8080)), pod.address));
            services.push_str(&endpoint(name, number));
        }
        let names: std::collections::BTreeSet<_> = pods.iter().map(|(name, _)| *name).collect();
        services.extend(names.into_iter().map(service));
        std::fs::write(manifests_dir.path().join("services.yaml"), services).expect("written");
        let mut site = Site {
            front: Some(front),
            runtime,
            manifests: manifests_dir,
            _run: run,
            endpoints,
            objects: Objects::new(1),
            settings,
            problems: Vec::new(),
        };
        site.apply(manifests);
        site
    }

    /// Puts other manifests in the place of the first, and waits until they are in force.
    pub(crate) fn apply(&mut self, manifests: &str) {
        std::fs::write(self.manifests.path().join("site.yaml"), manifests).expect("written");
        take(&mut self.objects, self.manifests.path());
        let (table, problems) = table(&self.objects, &self.settings, &self.endpoints);
        self.problems = problems;
        let front = self.front.as_ref().expect("it runs");
        front.publish(table);
        let deadline = now() + PATIENCE;
        while !front.status().is_current() {
            assert!(now() < deadline, "waited in vain for the table to be in force");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.front.as_ref().expect("it runs").status().pid.expect("it runs")
    }

    /// Where the front speaks plain HTTP.
    pub(crate) fn port(&self) -> u16 {
        self.front.as_ref().expect("it runs").status().port
    }

    /// Where the front speaks TLS.
    pub(crate) fn tls_port(&self) -> u16 {
        self.front.as_ref().expect("it runs").status().tls_port
    }

    /// Asks with curl; further arguments are curl's.
    pub(crate) fn get(&self, host: &str, path: &str, arguments: &[&str]) -> Reply {
        let port = self.port();
        let (url, host) = (format!("http://127.0.0.1:{port}{path}"), format!("Host: {host}"));
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--include",
                "--http1.1",
                "--path-as-is",
                "--globoff",
                "--max-time",
                "60",
            ])
            .args(["--header", &host])
            .args(arguments)
            .arg(url)
            .output()
            .expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {text}", String::from_utf8_lossy(&output.stderr));
        parse(&text)
    }

    /// Waits for a condition.
    pub(crate) fn eventually(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = now() + PATIENCE;
        while !condition() {
            assert!(now() < deadline, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Names that lead nowhere, as the front told the agent.
    pub(crate) fn unresolved(&self) -> Vec<String> {
        self.front.as_ref().expect("it runs").status().unresolved.into_keys().collect()
    }

    /// What the front counts, as it told last.
    pub(crate) fn counters(&self) -> FrontCounters {
        self.front.as_ref().expect("it runs").status().counters
    }

    /// What the agent knows.
    pub(crate) fn view(&self) -> View {
        let (routes, problems) = table(&self.objects, &self.settings, &self.endpoints);
        let unhealthy = self.front.as_ref().expect("it runs").status().unhealthy;
        View { routes: Arc::new(routes), problems: Arc::new(problems), unhealthy, ..View::default() }
    }

    /// What it counts of routes, as it told last.
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        self.front.as_ref().expect("it runs").status().traffic
    }

    /// Where the front listens.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.front.as_ref().expect("it runs").status().port).into()
    }

    /// Codes of the problems, sorted.
    pub(crate) fn codes(&self) -> Vec<&str> {
        self.problems.iter().map(|problem| problem.code.as_str()).collect()
    }
}

/// What a front writes to its standard output: it is started by a script that leads it into a file.
pub(crate) struct Output {
    file: PathBuf,
    program: PathBuf,
    _directory: tempfile::TempDir,
}

impl Output {
    fn new() -> Self {
        let directory = directory();
        let (file, program) = (directory.path().join("output"), directory.path().join("front"));
        std::fs::write(&file, "").expect("written");
        let script = format!("#!/bin/sh\nexec {} \"$@\" >>{}\n", env!("CARGO_BIN_EXE_weir"), file.display());
        std::fs::write(&program, script).expect("written");
        // The front has the rights of nobody.
        for (path, mode) in [(directory.path(), 0o755), (&file, 0o666), (&program, 0o755)] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("allowed");
        }
        Output { file, program, _directory: directory }
    }

    /// The lines, when there are so many.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let deadline = now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&self.file).expect("text");
            if text.matches('\n').count() >= count {
                return text.lines().map(str::to_owned).collect();
            }
            assert!(now() < deadline, "waited in vain for {count} lines: {text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Site {
    /// Without the time that draining takes: there is nobody to be polite to.
    fn drop(&mut self) {
        let Some(front) = self.front.take() else { return };
        let pid = front.status().pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let ended = self.runtime.spawn(front.shutdown());
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.runtime.block_on(ended);
    }
}

/// An Ingress with one rule; annotations without the prefix of ingress-nginx.
pub(crate) fn ingress(name: &str, host: &str, path: &str, annotations: &[(&str, &str)]) -> String {
    let annotations: String = annotations
        .iter()
        .map(|(key, value)| {
            let key = if key.contains('/') { (*key).to_owned() } else { format!("nginx.ingress.kubernetes.io/{key}") };
            format!("    {key}: {value:?}\n")
        })
        .collect();
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations:\n    example.com/none: \"\"\n{annotations}\
spec:\n  rules:\n  - host: {host:?}\n    http:\n      paths:\n      - path: {path:?}\n        pathType: Prefix\n        backend: {{service: {{name: {name}, port: {{number: 80}}}}}}\n"
    )
}

/// The same with a Secret for its host.
pub(crate) fn ingress_over_tls(name: &str, host: &str, secret: &str, annotations: &[(&str, &str)]) -> String {
    let tls = format!("  tls: [{{hosts: [{host:?}], secretName: {secret}}}]\n");
    ingress(name, host, "/", annotations) + &tls
}

/// The front's ConfigMap.
pub(crate) fn config_map(data: &[(&str, &str)]) -> String {
    let data: String = data.iter().map(|(key, value)| format!("  {key}: {value:?}\n")).collect();
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata:\n{data}")
}

fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80, targetPort: 8080}}]}}\n"
    )
}

fn endpoint(name: &str, number: u8) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: {name}-{number}, labels: {{kubernetes.io/service-name: {name}}}}}\n\
ports: [{{port: 8080}}]\nendpoints: [{{addresses: [192.0.2.{number}]}}]\n"
    )
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// A new picture, as a source tells it.
fn take(objects: &mut Objects, manifests: &Path) {
    let picture = dir::read(manifests).expect("readable");
    objects.handle(0, SourceEvent::Init);
    for (_, object) in picture.iter() {
        objects.handle(0, SourceEvent::InitApply(object.clone()));
    }
    objects.handle(0, SourceEvent::InitDone);
    objects.handle(0, SourceEvent::Problems(picture.problems()));
}

/// As the agent does it, but with the addresses at which the pods of the test really listen.
fn table(objects: &Objects, settings: &Settings, endpoints: &[(SocketAddr, SocketAddr)]) -> (RouteTable, Vec<Problem>) {
    let (desired, problems) = translate(objects, settings);
    let mut table = route_table(&desired);
    let real = |written: &SocketAddr| {
        endpoints.iter().find_map(|(at, real)| (at == written).then_some(*real)).unwrap_or(*written)
    };
    for upstream in table.upstreams.values_mut() {
        *upstream = Arc::from(upstream.iter().map(real).collect::<Vec<_>>());
    }
    (table, problems)
}

/// The last response in what curl printed: those before it are 100 Continue and the like.
pub(crate) fn parse(text: &str) -> Reply {
    let mut rest = text;
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
        if (100..200).contains(&status) && status != 101 {
            rest = body;
            continue;
        }
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        return Reply { status, headers, body: body.to_owned() };
    }
}
