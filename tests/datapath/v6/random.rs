//! Random packets of IPv6 through host and kernel, byte for byte, until the end of their flows.

use std::collections::BTreeMap;

use lb_common::abi::{FlowKey6, ReplyEntry6};
use lb_common::addr::Addr6;

use super::*;
use crate::packet::{FIN, RST};
use crate::random::Random;
use crate::world6::FRONT;

/// How many packets of each run.
const PACKETS: u32 = 100_000;

const SOURCES: &[&str] = &[CLIENT, CLIENT, CLIENT, LOCAL_POD, REMOTE_POD, FAR_POD, "fd00:244:2::21", "2001:db8::8"];
const TARGETS: &[&str] = &[VIP, VIP, VIP, NODE, FRONT, CLIENT, "2001:db8:9::1"];
const PORTS: &[u16] = &[80, 81, 82, 83, 53, 5353, 8080, 30_088, 15_000, 15_001, 40_000];

type Replies = [(FlowKey6, ReplyEntry6)];

fn text(address: Addr6) -> String {
    std::net::Ipv6Addr::from(address.bytes()).to_string()
}

/// A third of the packets are replies for which the bench waits.
pub(crate) fn packet(random: &mut Random, ingress: Hook, replies: &Replies) -> (Hook, Vec<u8>) {
    let flags = random.of(&[SYN, SYN, ACK, ACK, ACK, SYN_ACK, FIN, RST, 0, 0xff]);
    let carries = random.of(&[Carries::Tcp(flags), Carries::Tcp(flags), Carries::Udp, Carries::UdpUnchecked]);
    let (from, to) = ((random.of(SOURCES), random.of(PORTS)), (random.of(TARGETS), random.of(PORTS)));
    let mut builder = packet6(carries, from, to).payload(&vec![7; random.below(64)]);
    if random.below(3) == 0 && !replies.is_empty() {
        let (key, _) = random.of(replies);
        builder = builder.from(&text(key.source), key.source_port.host());
        builder = builder.to(&text(key.destination), key.destination_port.host());
        builder.carries = if key.protocol == 17 { Carries::Udp } else { Carries::Tcp(flags) };
    }
    builder = builder.hops(random.of(&[64, 64, 64, 2, 1, 0]));
    match random.below(16) {
        0 => builder = icmp(random, &builder, replies),
        1 => builder.carries = Carries::Icmp(random.of(&[128, 128, 129, 135, 143]), 0),
        _ => {}
    }
    let builder = with_headers(random, builder);
    let mut bytes = match random.below(12) {
        0 => builder.fragments(24, random.below(4) as u32).remove(0),
        1 => {
            let mut parts = builder.fragments(24, random.below(4) as u32);
            parts.swap_remove(random.below(parts.len()))
        }
        _ => builder.bytes(),
    };
    damage(random, &mut bytes);
    let hook = if random.below(3) == 0 { Hook::Egress } else { ingress };
    // the kernel's test run takes no IP frame that is cut within the IP header
    bytes.resize(bytes.len().max(14 + 40), 0);
    (hook, bytes)
}

fn with_headers(random: &mut Random, mut builder: Builder6) -> Builder6 {
    if random.below(4) != 0 {
        return builder;
    }
    for _ in 0..random.below(8) {
        builder = match random.below(8) {
            0 => builder.options(0, 1),
            1 => builder.header(43, &[0, random.of(&[0, 2, 2, 4]), random.of(&[0, 0, 0, 1]), 0, 0, 0, 0]),
            2 => builder.header(44, &[0, 0, random.of(&[0, 0, 1, 8]), 0, 0, 0, 5]),
            3 => builder.header(51, &[4; 23]),
            _ => builder.options(60, 1 + random.below(20) as u8),
        };
    }
    builder
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(16) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        2 => {
            for _ in 0..4 {
                let at = 12 + random.below(bytes.len() - 12);
                bytes[at] ^= 1 << random.below(8);
            }
        }
        _ => {}
    }
}

/// An error about `packet`, or about a packet of a known flow in either direction.
fn icmp(random: &mut Random, packet: &Builder6, replies: &Replies) -> Builder6 {
    let mut about = packet.clone();
    if random.below(8) != 0 && !replies.is_empty() {
        let (key, entry) = random.of(replies);
        let (source, destination) = if random.below(2) == 0 {
            ((key.destination, key.destination_port), (key.source, key.source_port))
        } else {
            ((entry.frontend_address, entry.frontend_port), (entry.client_address, entry.client_port))
        };
        about.carries = if key.protocol == 17 { Carries::Udp } else { Carries::Tcp(ACK) };
        about = about.from(&text(source.0), source.1.host()).to(&text(destination.0), destination.1.host());
    }
    let about = with_headers(random, about);
    let carries = Carries::Icmp(random.of(&[1, 2, 2, 3, 4, 5]), 0);
    let source = about.source.0.to_string();
    packet6(carries, (random.of(SOURCES), 0), (&source, 0)).payload(&about.quoted(40 + random.below(200)))
}

#[test]
fn host_and_kernel_agree() {
    let outcomes = run(Hook::Ingress);
    for kind in ["Pass", "Deliver", "Transmit", "Answer", "Drop"] {
        expect_many(&outcomes, &format!("Ingress {kind}"));
    }
    for kind in ["Pass", "Deliver"] {
        expect_many(&outcomes, &format!("Egress {kind}"));
    }
}

#[test]
fn host_and_companion_agree() {
    let outcomes = run(Hook::Companion);
    for kind in ["Pass", "Deliver", "Transmit", "Answer", "Drop"] {
        expect_many(&outcomes, &format!("Companion {kind}"));
    }
}

/// Runs the packets with `ingress` as the way in; how often each outcome came.
fn run(ingress: Hook) -> BTreeMap<String, u32> {
    let mut bench = Bench6::new();
    let mut random = Random(0x5eed_0006);
    let mut replies = Vec::new();
    let mut outcomes = BTreeMap::new();
    for round in 0..PACKETS {
        let (hook, bytes) = packet(&mut random, ingress, &replies);
        let (verdict, _) = bench.run(hook, &bytes);
        let kind = format!("{hook:?} {verdict:?}").split('(').next().unwrap_or_default().to_owned();
        *outcomes.entry(kind).or_default() += 1;
        if round % 500 == 0 {
            let tables = [Table::HalfOpen, Table::Proven];
            replies = tables.iter().flat_map(|&table| bench.replies(table)).collect();
        }
    }
    bench.assert_equal_state();
    let drops = bench.host.drops.borrow();
    for reason in [DropReason::RoutingHeader, DropReason::ExtensionHeaders, DropReason::UdpZeroChecksum] {
        assert!(drops[reason as usize].packets > 50, "{reason:?} hardly ever came");
    }
    let stats = bench.host.stats.borrow();
    for stat in [Stat::IcmpErrors, Stat::EchoReplies, Stat::FragmentsFollowed] {
        assert!(stats[stat as usize] > 50, "{stat:?} hardly ever came");
    }
    outcomes
}

/// A generator that never reaches a case would prove nothing.
fn expect_many(outcomes: &BTreeMap<String, u32>, kind: &str) {
    assert!(outcomes.get(kind).copied().unwrap_or(0) > 50, "{kind} hardly ever came: {outcomes:?}");
}
