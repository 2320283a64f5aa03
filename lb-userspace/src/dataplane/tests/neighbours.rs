use super::stage::{UPLINK, run, sh};
use crate::model::Protocol;
use crate::tables::{BackendId, BackendKey, IpFamily};

#[test]
fn next_hops_are_kept_resolved() {
    run("neighbours", |stage| {
        let mut dataplane = stage.start().unwrap();
        assert_eq!(dataplane.keep_next_hops().unwrap(), 0, "nothing is attached yet");
        dataplane.attach().unwrap();
        let key = |address: &str, local| BackendKey {
            address: address.parse().unwrap(),
            port: 80,
            protocol: Protocol::Tcp,
            local,
        };
        let mut store = dataplane.store().unwrap();
        store.upsert_backend(IpFamily::V4, BackendId(1), &key("192.0.2.50", false)).unwrap();
        store.upsert_backend(IpFamily::V4, BackendId(2), &key("192.0.2.51", true)).unwrap();
        store.upsert_backend(IpFamily::V6, BackendId(3), &key("2001:db8::50", false)).unwrap();
        sh(&format!("ip neigh add 2001:db8::50 lladdr 02:00:00:00:06:50 dev {UPLINK} nud stale"));
        for host in [50, 51, 52] {
            sh(&format!("ip neigh add 192.0.2.{host} lladdr 02:00:00:00:00:{host} dev {UPLINK} nud stale"));
        }
        assert_eq!(dataplane.keep_next_hops().unwrap(), 4, "the gateways and the backends on other nodes");
        let table = sh("ip neigh show");
        let line = |address: &str| table.lines().find(|line| line.starts_with(address)).unwrap_or_default().to_owned();
        assert!(line("192.0.2.254 ").contains("managed"), "{table}");
        assert!(line("fe80::254 ").contains("managed"), "{table}");
        for (address, mac) in [("192.0.2.50 ", "00:50"), ("2001:db8::50 ", "06:50")] {
            let backend = line(address);
            assert!(backend.contains("managed") && backend.contains(&format!("lladdr 02:00:00:00:{mac}")), "{table}");
        }
        for other in ["192.0.2.51 ", "192.0.2.52 "] {
            assert!(!line(other).contains("managed"), "{table}");
        }
        assert_eq!(dataplane.keep_next_hops().unwrap(), 0, "all are kept by now");
    });
}
