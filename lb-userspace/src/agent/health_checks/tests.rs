use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::compile::tests::fixture::{backend, in_state, service};
use crate::model::{Backend, FrontListener, Policy, TrafficPolicy};

const PORT: u16 = 32_000;

fn checked(name: &str, target: Target) -> Service {
    let policy = Policy { external: TrafficPolicy::Local, health_check: Some(PORT), ..Policy::default() };
    Service { policy, ..service(name, &[], target) }
}

fn local(text: &str, state: BackendState) -> Backend {
    Backend { local: true, ..in_state(text, state) }
}

fn state(services: impl IntoIterator<Item = Service>) -> DesiredState {
    crate::compile::tests::fixture::desired(services)
}

#[test]
fn local_addresses_that_are_ready_count_once() {
    let backends = vec![
        local("10.244.0.1", BackendState::Active),
        local("10.244.0.2", BackendState::Terminating),
        local("10.244.0.3", BackendState::Unhealthy),
        backend("10.244.1.1"),
        local("fd00:244::1", BackendState::Active),
    ];
    let mut other_port = checked("web", Target::Backends(backends.clone()));
    other_port.key.port = 443;
    let found = wanted(&state([checked("web", Target::Backends(backends)), other_port]), false);
    assert_eq!(found, [(PORT, Check { namespace: "shop".into(), name: "web".into(), local: 1 })].into());
    assert!(wanted(&state([service("web", &[], Target::Backends(vec![]))]), false).is_empty());
}

#[test]
fn the_front_is_one_local_endpoint_while_it_listens() {
    let front = state([checked("front", Target::Front(FrontListener::Http))]);
    let count = |listens| wanted(&front, listens)[&PORT].local;
    assert_eq!((count(true), count(false)), (1, 0));
}

fn ask(port: u16, address: IpAddr) -> Option<String> {
    let mut stream = TcpStream::connect(SocketAddr::new(address, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /any HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn answers_follow_the_endpoints_and_the_node() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let well = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&well);
    let mut checks = HealthChecks::new(Arc::new(move || flag.load(Ordering::Relaxed)), &[]);
    let port = free_port();
    let check = |local| BTreeMap::from([(port, Check { namespace: "shop".into(), name: "web".into(), local })]);
    assert_eq!(checks.follow(check(2)), []);
    for address in ["127.0.0.1", "::1"] {
        let answer = ask(port, address.parse().unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("x-load-balancing-endpoint-weight: 2\r\n"), "{answer}");
        assert!(
            answer.contains(r#""localEndpoints":2"#) && answer.contains(r#""serviceProxyHealthy":true"#),
            "{answer}"
        );
        assert!(answer.contains(r#""service":{"name":"web","namespace":"shop"}"#), "{answer}");
    }
    well.store(false, Ordering::Relaxed);
    assert!(ask(port, [127, 0, 0, 1].into()).unwrap().starts_with("HTTP/1.1 503 "));
    well.store(true, Ordering::Relaxed);
    assert_eq!(checks.follow(check(0)), []);
    assert!(ask(port, [127, 0, 0, 1].into()).unwrap().starts_with("HTTP/1.1 503 "));

    checks.only = ["192.0.2.0/24".parse().unwrap()].into();
    let other = free_port();
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let in_use = taken.local_addr().unwrap().port();
    let wanted = [other, in_use].map(|port| (port, check(1).into_values().next().unwrap()));
    let problems = checks.follow(wanted.into());
    assert_eq!(problems.iter().map(|problem| problem.code.as_str()).collect::<Vec<_>>(), ["health-check-unheard"]);
    assert_eq!(ask(other, [127, 0, 0, 1].into()).filter(|answer| !answer.is_empty()), None, "not on this address");
}
