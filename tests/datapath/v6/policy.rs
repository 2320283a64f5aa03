//! Policies of IPv6.

use lb_common::abi::{ServiceEntry, Task, frontend_flag, setting};

use super::*;
use crate::world6::{self, address};

#[test]
fn nothing_is_taken_from_who_is_denied() {
    let mut bench = Bench6::with(|devices| {
        let mut maps = world6::host(devices);
        maps.denied = vec![(address(CLIENT), 126)];
        maps.settings[setting::DENY as usize] = 2;
        maps
    });
    for hook in [Hook::Ingress, Hook::Companion] {
        for at in [VIP, NODE] {
            let packet = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (at, 80)).bytes();
            assert_eq!(bench.run(hook, &packet), (Verdict::Drop(DropReason::Denied), packet.clone()), "{hook:?}");
        }
    }
    let other = packet6(Carries::Tcp(SYN), ("2001:db8:ffff::1", 40_000), (VIP, 80));
    bench.becomes(Hook::Ingress, &other, Verdict::Deliver, &other.clone().to(LOCAL_POD, 8080));
    bench.assert_equal_state();
}

#[test]
fn only_clients_in_the_ranges_begin_flows() {
    let mut bench = Bench6::with(|devices| {
        let mut maps = world6::host(devices);
        maps.frontends.values_mut().for_each(|entry| entry.flags |= frontend_flag::RANGES);
        for service in 1..20 {
            maps.ranges.push((service, address(CLIENT), 64));
        }
        maps
    });
    let inside = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 80));
    bench.becomes(Hook::Ingress, &inside, Verdict::Deliver, &inside.clone().to(LOCAL_POD, 8080));
    bench.dropped(&packet6(Carries::Tcp(SYN), ("2001:db8:ffff::1", 1), (VIP, 80)).bytes(), DropReason::SourceRange);
    let remote = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 81)).bytes();
    assert!(matches!(bench.run(Hook::Ingress, &remote).0, Verdict::Transmit(_)), "to another node it begins as well");
    assert!(matches!(bench.run(Hook::Ingress, &remote).0, Verdict::Transmit(_)), "and is known then");
    bench.assert_equal_state();
}

#[test]
fn a_client_keeps_its_backend_for_all_its_flows() {
    let mut bench = Bench6::with(|devices| {
        let mut maps = world6::host(devices);
        let service = maps.frontends[&world6::key(VIP, 80, 6)].service;
        let ring = maps.add_ring(&[1, 3, 1, 3, 1, 3, 1]);
        maps.services.insert(service, ServiceEntry { flags: 10_800, ..ring });
        maps.frontends.values_mut().for_each(|entry| entry.flags |= frontend_flag::CHOOSES);
        maps
    });
    for port in 40_000..40_020 {
        let packet = packet6(Carries::Tcp(SYN), (CLIENT, port), (VIP, 80)).bytes();
        assert_eq!(bench.run(Hook::Ingress, &packet).0, Verdict::HandOver(Task::Forward));
        let _ = bench.run(Hook::Companion, &packet);
    }
    let backends: std::collections::BTreeSet<u32> =
        bench.replies(Table::HalfOpen).values().map(|e| e.backend).collect();
    assert_eq!(backends.len(), 1);
    bench.assert_equal_state();
}
