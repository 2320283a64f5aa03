//! Services that are not for everybody, clients that keep their backend, and sources from which nothing is taken.

use lb_common::abi::{AffinityKey, LoadEntry, Stat, frontend_flag, map, service_flag, setting};
use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::policy::client_hash;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, SYN, icmp, tcp, udp};
use crate::world::{self, CLIENT, Devices, FRONT, LOCAL_POD, NODE, REMOTE_POD, VIP, VIP2, address};

/// The service with a local pod at VIP, and with either pod at VIP2; every frontend has these flags beside its own.
fn world(flags: u32, policy: u32) -> impl Fn(Devices) -> lb_common::host::Maps<lb_common::addr::V4> {
    move |devices| {
        let mut maps = world::host(devices);
        maps.frontends.values_mut().for_each(|entry| entry.flags |= flags);
        let ring = maps.add_ring(&[1, 3, 1, 3, 1, 3, 1]);
        maps.services.insert(1, ring);
        maps.services.values_mut().for_each(|service| service.flags = policy);
        maps
    }
}

#[test]
fn nothing_is_taken_from_who_is_denied() {
    let mut bench = Bench::with(|devices| {
        let mut maps = world::host(devices);
        maps.denied = vec![(address("192.0.2.0"), 30), (address("198.51.100.9"), 32)];
        maps.settings[setting::DENY as usize] = 1;
        maps
    });
    for source in ["192.0.2.3", "198.51.100.9"] {
        for hook in [Hook::Ingress, Hook::Companion] {
            let packets = [
                tcp((source, 40_000), (VIP, 7070), SYN).bytes(),
                tcp((source, 40_000), (NODE, 22), ACK).bytes(),
                udp((source, 40_000), ("203.0.113.1", 9)).bytes(),
                tcp((source, 40_000), (VIP, 7070), SYN).fragment(0x2000).bytes(),
                tcp((source, 40_000), (VIP, 7070), SYN).tag(0x8100, 5).bytes(),
                icmp(source, VIP, (8, 0), &[0; 12]).bytes(),
            ];
            for packet in packets {
                let before = bench.host.drops.borrow()[DropReason::Denied as usize].packets;
                assert_eq!(bench.run(hook, &packet), (Verdict::Drop(DropReason::Denied), packet.clone()), "{hook:?}");
                assert_eq!(bench.host.drops.borrow()[DropReason::Denied as usize].packets, before + 1);
            }
        }
    }
    let next = tcp(("192.0.2.4", 40_000), (VIP, 7070), SYN);
    bench.ingress(&next, Verdict::Deliver, &next.clone().to(LOCAL_POD, 8080));
    bench.assert_equal_state();
}

#[test]
fn only_clients_in_the_ranges_begin_flows() {
    let mut bench = Bench::with(|devices| {
        let mut maps = world(0, 0)(devices);
        maps.frontends.values_mut().filter(|entry| [1, 9, 11].contains(&entry.service)).for_each(|entry| {
            entry.flags |= frontend_flag::RANGES;
        });
        maps.services.insert(1, maps.services[&6]);
        let ring = maps.add_ring(&[1; 7]);
        maps.services.insert(1, ring);
        for service in [1, 9, 11] {
            maps.ranges.push((service, address("192.0.2.0"), 25));
        }
        maps.ranges.push((2, address("0.0.0.0"), 0));
        maps
    });
    let inside = tcp((CLIENT, 40_000), (VIP, 7070), SYN);
    bench.ingress(&inside, Verdict::Deliver, &inside.clone().to(LOCAL_POD, 8080));
    for port in [7070, 90] {
        bench.dropped(&tcp(("192.0.2.128", 40_000), (VIP, port), SYN).bytes(), DropReason::SourceRange);
        bench.dropped(&tcp(("203.0.113.7", 40_000), (VIP, port), ACK).bytes(), DropReason::SourceRange);
    }
    let tunnelled = tcp((CLIENT, 40_000), (VIP, 90), SYN).bytes();
    assert_eq!(bench.run(Hook::Ingress, &tunnelled).0, Verdict::Transmit(bench.devices.first));
    let front = tcp((CLIENT, 40_000), (FRONT, 80), SYN);
    bench.ingress(&front, Verdict::Front, &front);
    bench.dropped(&tcp(("203.0.113.7", 40_000), (FRONT, 80), SYN).bytes(), DropReason::SourceRange);
    // frontends without the flag are for everybody
    let open = udp(("203.0.113.7", 40_000), (VIP, 53));
    bench.ingress(&open, Verdict::Deliver, &open.clone().to("10.244.1.11", 53));
    bench.assert_equal_state();
}

/// XDP leaves the choice to the companion; flows that are there go on in XDP.
#[test]
fn a_client_keeps_its_backend_for_all_its_flows() {
    let mut bench = Bench::with(world(frontend_flag::CHOOSES, 10_800));
    for host in [7, 8, 9, 10] {
        let client = format!("192.0.2.{host}");
        let mut backends = std::collections::BTreeSet::new();
        for port in 40_000..40_020 {
            let packet = tcp((&client, port), (VIP, 7070), SYN).bytes();
            assert_eq!(bench.run(Hook::Ingress, &packet).0, Verdict::HandOver(lb_common::abi::Task::Forward));
            let _ = bench.run(Hook::Companion, &packet);
        }
        backends.extend(
            bench
                .flows(Table::HalfOpen)
                .iter()
                .filter(|(key, _)| key.source == address(&client))
                .map(|(_, e)| e.backend),
        );
        assert_eq!(backends.len(), 1, "{client}");
        let slot = lb_common::hash::scale(client_hash(address(&client)), 7) as usize;
        assert_eq!(backends.into_iter().next(), Some([1, 3, 1, 3, 1, 3, 1][slot]), "as every node would lead it");
    }
    if let Some(kernel) = &bench.kernel {
        let kept = kernel.entries::<AffinityKey, lb_common::abi::AffinityEntry>(map::AFFINITY);
        let host = bench.host.affinities.borrow();
        assert_eq!(kept.len(), 4);
        assert!(kept.iter().all(|(key, entry)| host[key].backend == entry.backend), "{kept:?}");
    }
    bench.assert_equal_state();
}

#[test]
fn a_source_hash_leads_all_flows_of_a_client_alike() {
    let mut bench = Bench::with(world(frontend_flag::CHOOSES, service_flag::SOURCE_HASH));
    for port in 40_000..40_030 {
        let _ = bench.run(Hook::Companion, &tcp((CLIENT, port), (VIP, 7070), SYN).bytes());
    }
    let backends: std::collections::BTreeSet<u32> = bench.flows(Table::HalfOpen).values().map(|e| e.backend).collect();
    assert_eq!(backends.len(), 1);
    bench.assert_equal_state();
}

/// Under DSR no node remembers a flow, so the ring by the client's hash is what keeps it with its backend.
#[test]
fn under_dsr_a_client_is_led_by_its_own_hash() {
    let mut bench = Bench::with(world(frontend_flag::CHOOSES, 10_800));
    let mut seen = Vec::new();
    for host in 1..30 {
        let client = format!("198.51.100.{host}");
        let way = |bench: &mut Bench, port| bench.run(Hook::Ingress, &tcp((&client, port), (VIP, 93), SYN).bytes()).0;
        let first = way(&mut bench, 40_000);
        assert!((40_001..40_010).all(|port| way(&mut bench, port) == first), "{client}");
        seen.push(first);
    }
    assert!(seen.contains(&Verdict::Deliver) && seen.contains(&Verdict::Transmit(bench.devices.first)), "{seen:?}");
    assert!(bench.host.affinities.borrow().is_empty());
}

/// What only chance says differs between the kernel and the host; both must spread flows over the backends.
#[test]
fn chance_and_loads_spread_the_flows_of_one_client() {
    for policy in [service_flag::RANDOM, service_flag::LEAST_CONNECTIONS] {
        let mut bench = Bench::with(world(frontend_flag::CHOOSES, policy));
        let Some(kernel) = &mut bench.kernel else { return };
        let mut counts = std::collections::BTreeMap::<u32, u32>::new();
        for port in 40_000..40_400 {
            kernel.tc(lb_common::abi::program::TC_INGRESS, &tcp((CLIENT, port), (VIP2, 7070), SYN).bytes());
        }
        for entry in kernel.flows(map::HALF_FLOWS4).values() {
            *counts.entry(entry.backend).or_default() += 1;
        }
        let (local, remote) = (counts[&1], counts[&3]);
        assert_eq!(local + remote, 400, "{counts:?}");
        if policy == service_flag::RANDOM {
            assert!((180..280).contains(&local), "four slots of seven: {counts:?}");
        } else {
            assert!(local.abs_diff(remote) <= 20, "two choices even it out: {counts:?}");
            let loads = [1, 3].map(|id| kernel.backend::<LoadEntry>(map::LOADS, id).load >> 20);
            assert_eq!(loads, [u64::from(local), u64::from(remote)]);
        }
    }
}

/// A node port on another node's pod: the flow begins on the companion and goes on in XDP.
#[test]
fn a_flow_that_the_companion_began_goes_on_in_xdp() {
    let mut bench = Bench::with(|devices| {
        let mut maps = world(frontend_flag::CHOOSES, 10_800)(devices);
        let ring = maps.add_ring(&[3; 7]);
        maps.services.insert(1, lb_common::abi::ServiceEntry { flags: 10_800, ..ring });
        maps
    });
    let syn = tcp((CLIENT, 40_000), (NODE, 30_088), SYN).bytes();
    assert_eq!(bench.run(Hook::Ingress, &syn).0, Verdict::HandOver(lb_common::abi::Task::Forward));
    assert!(matches!(bench.run(Hook::Companion, &syn).0, Verdict::Transmit(_)));
    let ack = tcp((CLIENT, 40_000), (NODE, 30_088), ACK).bytes();
    let (verdict, bytes) = bench.run(Hook::Ingress, &ack);
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    assert_eq!(bytes[30..34], REMOTE_POD.parse::<std::net::Ipv4Addr>().unwrap().octets());
    assert_eq!(bench.host.stats.borrow()[Stat::HandedOver as usize], 1);
    bench.assert_equal_state();
}
