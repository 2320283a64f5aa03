use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::metrics::{Metrics, Scrape};
use crate::status::Name;
use crate::status::ask;
use crate::status::explain::explain_request;
use crate::telemetry::{self, LogFormat, LogLevel};

/// An agent that knows what it is told.
struct Fake {
    missing: Mutex<Vec<String>>,
    alive: bool,
    level: LevelHandle,
    metrics: Metrics,
    refreshed: AtomicUsize,
    lent: Mutex<Vec<u64>>,
}

impl Fake {
    fn new() -> Arc<Self> {
        let level = telemetry::detached(LogFormat::Text, LogLevel::Info);
        Arc::new(Self {
            missing: Mutex::default(),
            alive: true,
            level,
            metrics: Metrics::default(),
            refreshed: AtomicUsize::new(0),
            lent: Mutex::default(),
        })
    }
}

impl Agent for Fake {
    fn alive(&self) -> bool {
        self.alive
    }
    fn missing(&self) -> Vec<String> {
        self.missing.lock().unwrap().clone()
    }
    fn refresh(&self) {
        self.refreshed.fetch_add(1, Ordering::Relaxed);
    }
    fn view(&self) -> View {
        View { node: Some("node-1".into()), missing: self.missing(), ..View::default() }
    }
    fn flows(&self, query: &FlowQuery) -> Result<FlowListing, String> {
        if query.limit == 1 {
            return Err("map FLOWS4: no such file".into());
        }
        Ok(FlowListing { total: query.limit as u64, truncated: true, flows: vec![] })
    }
    fn drops(&self, query: &DropsQuery) -> Result<DropListing, String> {
        Ok(crate::status::drops::drops(&self.view(), vec![], query.after == 0))
    }
    fn capture(&self, query: &CaptureQuery) -> Result<CaptureListing, String> {
        Ok(CaptureListing { lost: query.rate.into(), capture: vec![] })
    }
    fn explain(&self, query: &ExplainQuery) -> Result<ExplainListing, String> {
        Ok(ExplainListing { explain: explain_request(query, &self.view()) })
    }
    fn lent(&self) -> Vec<u64> {
        self.lent.lock().unwrap().clone()
    }
    fn node(&self) -> Option<String> {
        Some("node-1".into())
    }
    fn top(&self) -> TopReading {
        TopReading { view: self.view(), front: None, traffic: Default::default(), asked: crate::clock::now() }
    }
    fn metrics(&self) -> String {
        self.metrics.render(&Scrape { view: self.view(), ..Scrape::default() })
    }
    fn log_level(&self) -> &LevelHandle {
        &self.level
    }
}

/// Serves the agent on a loopback port while `test` asks.
fn with_server(agent: Arc<Fake>, test: impl FnOnce(SocketAddr)) {
    with_server_of(Scope::All, agent, test);
}

fn with_server_of(scope: Scope, agent: Arc<Fake>, test: impl FnOnce(SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(bind("--admin", "127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(serve(listener, agent, scope));
    test(address);
    runtime.shutdown_background();
}

/// Sends a request as it is and reads the whole answer.
fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let answer = send(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ),
    );
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, "GET", path, "", "")
}

#[test]
fn readiness_lists_what_is_missing() {
    let agent = Fake::new();
    with_server(Arc::clone(&agent), |address| {
        *agent.missing.lock().unwrap() = vec!["source: not complete".into(), "front: no socket listens".into()];
        assert_eq!(get(address, "/readyz"), (503, "source: not complete\nfront: no socket listens\n".into()));
        assert_eq!(get(address, "/healthz"), (200, "ok\n".into()));
        agent.missing.lock().unwrap().clear();
        assert_eq!(get(address, "/readyz"), (200, "ready\n".into()));
    });
}

#[test]
fn the_address_of_the_metrics_answers_nothing_else() {
    with_server_of(Scope::Metrics, Fake::new(), |address| {
        let (status, text) = get(address, "/metrics");
        assert!(status == 200 && text.ends_with("# EOF\n"), "{status} {text}");
        for path in ["/api/v1/status", "/healthz", "/api/v1/log-level", "/"] {
            assert_eq!(get(address, path).0, 404, "{path}");
        }
        assert_eq!(request(address, "PUT", "/api/v1/log-level", "", "debug").0, 404);
    });
}

#[test]
fn a_loop_that_stands_still_is_not_healthy() {
    let mut agent = Fake::new();
    Arc::get_mut(&mut agent).unwrap().alive = false;
    with_server(agent, |address| assert_eq!(get(address, "/healthz").0, 503));
}

#[test]
fn every_listing_is_served_as_the_commands_read_it() {
    with_server(Fake::new(), |address| {
        for name in Name::ALL {
            let text = ask::ask(address, name).unwrap();
            let listing: crate::status::Listing = serde_json::from_str(&text).unwrap();
            assert!(crate::status::print(&listing, 100).ends_with('\n'));
        }
    });
}

#[test]
fn questions_carry_arguments() {
    with_server(Fake::new(), |address| {
        let (status, text) = get(address, "/api/v1/flows?limit=7&client=10.0.0.0/8");
        let listing: FlowListing = serde_json::from_str(&text).unwrap();
        assert_eq!((status, listing.total, listing.truncated), (200, 7, true));
        assert!(get(address, "/api/v1/drops").1.contains("\"sampled\": true"));
        assert_eq!(get(address, "/api/v1/drops?after=-1").0, 400);
        let wrong = "limit 'x': expected a number of rows from 1 to 200000\n";
        assert_eq!(get(address, "/api/v1/flows?limit=x"), (400, wrong.into()));
        let (status, text) = get(address, "/api/v1/explain?target=http%3A%2F%2Fshop.example%2Fa%3Fb%26c");
        let listing: ExplainListing = serde_json::from_str(&text).unwrap();
        assert_eq!((status, listing.explain.input.as_str()), (200, "http://shop.example:80/a?b&c"));
        assert_eq!((listing.explain.verdict.as_str(), listing.explain.reason.as_deref()), ("reject", Some("404")));
        assert_eq!(get(address, "/api/v1/explain?target=ftp://x").0, 400);
        assert_eq!(get(address, "/api/v1/flows?limit=1"), (503, "map FLOWS4: no such file\n".into()));
        let error = ask::get(address, "/api/v1/flows?limit=0").unwrap_err().to_string();
        assert!(error.contains("400 (limit '0': expected"), "{error}");
    });
}

#[test]
fn rates_are_told_after_the_time_that_was_asked_for() {
    with_server(Fake::new(), |address| {
        let text = ask::get(address, "/api/v1/top?seconds=1&sort=flows").unwrap();
        let listing: crate::status::top::TopListing = serde_json::from_str(&text).unwrap();
        assert_eq!((listing.top.node.as_deref(), listing.top.sort.as_str()), (Some("node-1"), "flows"));
        let wrong = "seconds '31': expected a number of seconds from 1 to 30\n";
        assert_eq!(get(address, "/api/v1/top?seconds=31"), (400, wrong.into()));
    });
}

#[test]
fn packets_are_for_this_machine_only() {
    with_server(Fake::new(), |address| {
        let path = "/api/v1/capture?id=1&drops=1&rate=7";
        assert!(ask::post(address, path).unwrap().contains("\"lost\": 7"));
        assert_eq!(get(address, path).0, 405);
        assert_eq!(request(address, "POST", path, "origin: http://evil.example\r\n", "").0, 403);
        assert_eq!(request(address, "POST", "/api/v1/capture?id=1", "", "").0, 400);
    });
}

#[test]
fn the_user_of_the_front_changes_nothing() {
    if weir_lab::left_to_root("asking as somebody else") {
        return;
    }
    with_server(Fake::new(), |address| {
        let asked = |user: u32, path: &str, body: &str| {
            let url = format!("http://{address}{path}");
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--data", body, &url]);
            let output = curl.uid(user).gid(user).output().expect("curl is installed");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        for (path, body) in [("/api/v1/capture?id=1&drops=1&rate=7", ""), ("/api/v1/log-level", "debug")] {
            assert_eq!((asked(65534, path, body), asked(0, path, body)), ("403".into(), "200".into()), "{path}");
        }
    });
}

#[test]
fn a_socket_that_the_front_was_handed_changes_nothing() {
    let agent = Fake::new();
    with_server(Arc::clone(&agent), |address| {
        for (lent, expected) in [(false, "HTTP/1.1 200 "), (true, "HTTP/1.1 403 ")] {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            agent.lent.lock().unwrap().extend(sockets::inode_of(&stream).filter(|_| lent));
            let asked = b"PUT /api/v1/log-level HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 5\r\n\r\ndebug";
            stream.write_all(asked).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(expected), "{lent}: {answer}");
        }
    });
}

#[test]
fn a_page_whose_name_leads_here_reads_nothing() {
    with_server(Fake::new(), |address| {
        for path in ["/metrics", "/api/v1/status", "/api/v1/log-level", "/api/v1/top?seconds=1"] {
            let under = |host: &str| {
                send(address, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"))
            };
            let refused = under(&format!("evil.example:{}", address.port()));
            assert!(refused.starts_with("HTTP/1.1 421 ") && !refused.contains("node-1"), "{refused}");
            assert!(under("localhost").starts_with("HTTP/1.1 200 "), "{path}");
        }
        let both = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
        assert!(send(address, both).starts_with("HTTP/1.1 4"));
    });
}

#[test]
fn metrics_are_openmetrics() {
    with_server(Fake::new(), |address| {
        let answer = send(address, "GET /metrics HTTP/1.1\r\nhost: node-1\r\nconnection: close\r\n\r\n");
        assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
        assert!(answer.contains("\nweir_ready 1\n") && answer.ends_with("# EOF\n"), "{answer}");
    });
}

#[test]
fn who_wants_no_cached_reading_gets_none() {
    let agent = Fake::new();
    with_server(Arc::clone(&agent), |address| {
        get(address, "/api/v1/services");
        request(address, "GET", "/metrics", "cache-control: max-age=0\r\n", "");
        assert_eq!(agent.refreshed.load(Ordering::Relaxed), 0);
        request(address, "GET", "/metrics", "cache-control: no-cache\r\n", "");
        assert_eq!(agent.refreshed.load(Ordering::Relaxed), 1);
        ask::ask(address, Name::Services).unwrap();
        assert_eq!(agent.refreshed.load(Ordering::Relaxed), 2, "the commands show what is now");
    });
}

#[test]
fn the_log_level_is_read_and_changed() {
    with_server(Fake::new(), |address| {
        let level = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["logLevel"].clone();
        assert_eq!(level(&get(address, "/api/v1/log-level").1), "info");
        for method in ["PUT", "POST"] {
            assert_eq!(request(address, method, "/api/v1/log-level", "", "debug\n").0, 200);
            assert_eq!(level(&get(address, "/api/v1/log-level").1), "debug");
        }
        let (status, text) = request(address, "PUT", "/api/v1/log-level", "", "loud");
        assert_eq!((status, text.as_str()), (400, "expected error, warn, info, debug or trace\n"));
        assert_eq!(request(address, "PUT", "/api/v1/log-level", "origin: http://evil.example\r\n", "trace").0, 403);
        assert_eq!(request(address, "PUT", "/api/v1/log-level", "", &"x".repeat(65)).0, 413);
        assert_eq!(level(&get(address, "/api/v1/log-level").1), "debug");
    });
}

#[test]
fn what_is_not_there_says_what_is() {
    with_server(Fake::new(), |address| {
        let (status, text) = get(address, "/api/v1/script");
        assert_eq!(status, 404);
        assert!(text.contains("/api/v1/status") && !text.contains("script"), "{text}");
        assert_eq!(request(address, "DELETE", "/api/v1/status", "", "").0, 405);
        assert_eq!(request(address, "POST", "/readyz", "", "").0, 405);
    });
}

#[test]
fn an_endless_head_is_refused() {
    with_server(Fake::new(), |address| {
        let answer = send(address, &format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(LARGEST_HEAD)));
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    });
}

#[test]
fn an_address_in_use_names_its_holder() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(bind("--admin", address)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("--admin {address}: cannot listen")), "{error}");
    assert!(error.contains(&format!("; process {} (", std::process::id())), "{error}");
}
