//! Next hops in the kernel's programs: remembered while the epoch stays, and asked for again in the next one.

use std::time::{Duration, Instant};

use lb_common::abi::{program, setting};
use lb_common::drop_reason::DropReason;
use lb_common::hop::LIFE;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::fixture::{Bench, Outcome};
use crate::kernel::{Kernel, run};
use crate::packet::{ACK, SYN, tcp};
use crate::packet6::{Carries, packet6};
use crate::world::{self, NEXT_NODE};
use crate::world6::{self, Bench6};

/// Another hardware address of the next node, as `ip` takes it and as frames have it.
const OTHER: (&str, [u8; 6]) = ("02:00:00:00:00:99", [2, 0, 0, 0, 0, 0x99]);
const USUAL: &str = "02:00:00:00:00:12";
/// How often it is tried to get it all done before what was remembered ends by itself.
const TRIES: u64 = 200;

/// To which hardware address XDP sends a packet of a flow with source NAT.
fn sent_to(kernel: &mut Kernel, packet: &[u8]) -> [u8; 6] {
    let (outcome, frame) = kernel.xdp(packet);
    assert_eq!(outcome, Outcome::Transmit(kernel.devices.first));
    *frame.first_chunk().unwrap()
}

fn address(neighbour: &str, hardware: &str) {
    run(&format!("ip neigh replace {neighbour} lladdr {hardware} dev up0 nud permanent"));
}

fn holds_for_an_epoch(kernel: &mut Kernel, packet: &[u8], neighbour: &str) {
    // each CPU remembers for itself
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu());
    sched_setaffinity(None, &cpus).unwrap();
    sent_to(kernel, packet); // the first packet of the flow asks in another way
    for attempt in 1..=TRIES {
        kernel.set(setting::HOP_EPOCH, 2 * attempt);
        let start = Instant::now();
        assert_eq!(sent_to(kernel, packet), NEXT_NODE);
        address(neighbour, OTHER.0);
        let then = sent_to(kernel, packet);
        let in_time = start.elapsed() < Duration::from_nanos(LIFE) / 2;
        kernel.set(setting::HOP_EPOCH, 2 * attempt + 1);
        assert_eq!(sent_to(kernel, packet), OTHER.1, "the next epoch");
        address(neighbour, USUAL);
        if in_time {
            assert_eq!(then, NEXT_NODE, "the routing table was asked for a next hop that was remembered");
            return;
        }
    }
    panic!("{TRIES} times it took too long to change a neighbour");
}

#[test]
fn a_next_hop_holds_until_the_epoch_moves_on() {
    if let Some(kernel) = &mut Bench::new().kernel {
        let packet = tcp((world::CLIENT, 40_000), (world::VIP, 80), SYN);
        holds_for_an_epoch(kernel, &packet.bytes(), "10.10.0.12");
    }
    if let Some(kernel) = &mut Bench6::new().kernel {
        let packet = packet6(Carries::Tcp(SYN), (world6::CLIENT, 40_000), (world6::VIP, 81));
        holds_for_an_epoch(kernel, &packet.bytes(), "fe80::12");
    }
}

/// What the routing table may say in place of a next hop.
const REFUSALS: [&str; 3] = ["blackhole", "unreachable", "prohibit"];

/// Packets of a flow that is known and of one that would begin, under XDP and on tc, are dropped for this reason.
fn all_dropped(kernel: &mut Kernel, packets: &[Vec<u8>; 2], reason: DropReason, why: &str) {
    for packet in packets {
        for at_xdp in [true, false] {
            let before = kernel.drops().get(&reason).copied().unwrap_or(0);
            let outcome = if at_xdp { kernel.xdp(packet).0 } else { kernel.tc(program::TC_INGRESS, packet).0 };
            assert_eq!(outcome, Outcome::Drop, "{why}, XDP {at_xdp}");
            assert_eq!(kernel.drops().get(&reason), Some(&(before + 1)), "{why}, XDP {at_xdp}");
        }
    }
}

fn what_routing_forbids(kernel: &mut Kernel, packets: &[Vec<u8>; 2], family: (&str, &str), prefix: &str) {
    let (option, name) = family;
    assert_eq!(kernel.xdp(&packets[0]).0, Outcome::Transmit(kernel.devices.first), "a flow begins");
    let forward = |word: &str| std::fs::write(format!("/proc/sys/net/{name}/conf/up0/forwarding"), word).unwrap();
    forward("0");
    kernel.set(setting::HOP_EPOCH, 7);
    all_dropped(kernel, packets, DropReason::ForwardingOff, "forwarding is off");
    forward("1");
    run(&format!("ip {option} route del {prefix}"));
    for (epoch, kind) in (8..).zip(REFUSALS) {
        run(&format!("ip {option} route add {kind} {prefix}"));
        kernel.set(setting::HOP_EPOCH, epoch);
        all_dropped(kernel, packets, DropReason::NoRoute, kind);
        run(&format!("ip {option} route del {kind} {prefix}"));
    }
}

#[test]
fn what_routing_forbids_is_dropped_by_its_reason() {
    if let Some(kernel) = &mut Bench::new().kernel {
        let packet = |client, flags| tcp((world::CLIENT, client), (world::VIP, 80), flags).bytes();
        let (packets, prefix) = ([packet(40_000, ACK), packet(40_001, SYN)], "10.244.2.0/24");
        what_routing_forbids(kernel, &packets, ("-4", "ipv4"), prefix);
        a_next_hop_of_the_other_family(kernel, &packets[0], prefix);
    }
    if let Some(kernel) = &mut Bench6::new().kernel {
        let packet = |client, flags| packet6(Carries::Tcp(flags), (world6::CLIENT, client), (world6::VIP, 81)).bytes();
        let packets = [packet(40_000, ACK), packet(40_001, SYN)];
        what_routing_forbids(kernel, &packets, ("-6", "ipv6"), "fd00:244:2::/64");
    }
}

/// RFC 9229: IPv4 by a router that is known by an address of IPv6.
fn a_next_hop_of_the_other_family(kernel: &mut Kernel, packet: &[u8], prefix: &str) {
    run("ip -6 neigh add fe80::77 lladdr 02:00:00:00:00:99 dev up0 nud permanent");
    run(&format!("ip route add {prefix} via inet6 fe80::77 dev up0"));
    kernel.set(setting::HOP_EPOCH, 20);
    assert_eq!(sent_to(kernel, packet), OTHER.1);
}
