//! Random packets: whatever comes, host and kernel do the same, and nothing malformed gets out.

use std::collections::BTreeMap;

use lb_common::abi::{FlowKey4, ReplyEntry4, Stat};
use lb_common::host::Bytes;
use lb_common::lookup::Table;
use lb_common::packet::Packet;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, Builder, FIN, RST, SYN, SYN_ACK, icmp, tcp, udp};
use crate::world::{CLIENT, FAR_POD, FRONT, LOCAL_POD, NODE, REMOTE_POD, SNAT_FIRST, VIP, VIP2};

/// How many packets of each run.
const PACKETS: u32 = 100_000;

/// A small generator (Marsaglia's xorshift64*): the same packets in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const SOURCES: &[&str] =
    &[CLIENT, CLIENT, CLIENT, LOCAL_POD, REMOTE_POD, FAR_POD, "10.244.2.21", "10.244.1.11", "0.0.0.0"];
const TARGETS: &[&str] = &[VIP, VIP, VIP2, NODE, NODE, FRONT, CLIENT, "198.51.100.1"];
const PORTS: &[u16] =
    &[80, 81, 82, 83, 84, 53, 5353, 7070, 8080, 443, 30_088, 31_188, SNAT_FIRST, SNAT_FIRST + 1, 40_000];

/// `replies`: tuples for which the bench waits for a reply; a third of the packets is one.
pub(crate) fn packet(random: &mut Random, ingress: Hook, replies: &[(FlowKey4, ReplyEntry4)]) -> (Hook, Vec<u8>) {
    let mut source = (random.of(SOURCES).to_owned(), random.of(PORTS));
    let mut destination = (random.of(TARGETS).to_owned(), random.of(PORTS));
    let mut is_udp = random.below(4) == 0;
    if random.below(3) == 0 && !replies.is_empty() {
        let (key, _) = random.of(replies);
        source = (dotted(key.source.bytes()), key.source_port.host());
        destination = (dotted(key.destination.bytes()), key.destination_port.host());
        is_udp = key.protocol == 17;
    }
    let (source, destination) = ((source.0.as_str(), source.1), (destination.0.as_str(), destination.1));
    let flags = random.of(&[SYN, SYN, ACK, ACK, ACK, SYN_ACK, FIN, RST, 0, 0xff]);
    let mut builder: Builder = if is_udp { udp(source, destination) } else { tcp(source, destination, flags) };
    builder = builder.payload(&vec![random.next() as u8; random.below(64)]).ttl(random.of(&[64, 64, 64, 2, 1, 0]));
    if random.below(8) == 0 {
        builder = if random.below(3) == 0 { echo(random) } else { error(random, &builder, replies) };
    }
    match random.below(16) {
        0 => builder = builder.tag(0x8100, 5),
        1 => builder = builder.tag(0x88a8, 5).tag(0x8100, 6),
        2 => builder = builder.options(&vec![1; 4 * random.below(11)]),
        3 => builder = builder.no_checksum(),
        4 => builder = builder.fragment(random.next() as u16),
        _ => {}
    }
    let hook = if random.below(3) == 0 { Hook::Egress } else { ingress };
    let mut bytes = builder.bytes();
    match random.below(16) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        2 => {
            for _ in 0..4 {
                let at = 12 + random.below(bytes.len() - 12);
                bytes[at] ^= 1 << random.below(8);
            }
        }
        _ => {}
    }
    // the kernel's test run takes no IP frame that is cut within the IP header (-EINVAL since 6.15)
    if hook != Hook::Ingress {
        bytes.resize(bytes.len().max(14 + 40), 0);
    }
    bytes.resize(bytes.len().max(15), 0);
    (hook, bytes)
}

fn echo(random: &mut Random) -> Builder {
    icmp(random.of(SOURCES), random.of(TARGETS), (random.of(&[8, 8, 8, 0, 13]), 0), &vec![7; random.below(64)])
}

/// An error about `packet`, or about a packet of a known flow in either direction.
fn error(random: &mut Random, packet: &Builder, replies: &[(FlowKey4, ReplyEntry4)]) -> Builder {
    let mut about = packet.clone();
    if random.below(8) != 0 && !replies.is_empty() {
        let (key, entry) = random.of(replies);
        let (source, destination) = if random.below(2) == 0 {
            ((key.destination, key.destination_port), (key.source, key.source_port))
        } else {
            ((entry.frontend_address, entry.frontend_port), (entry.client_address, entry.client_port))
        };
        about = if key.protocol == 17 { udp((CLIENT, 0), (VIP, 0)) } else { tcp((CLIENT, 0), (VIP, 0), ACK) };
        about = about.from(&dotted(source.0.bytes()), source.1.host());
        about = about.to(&dotted(destination.0.bytes()), destination.1.host());
    }
    if random.below(4) == 0 {
        about = about.options(&vec![1; 4 * random.below(11)]);
    }
    let to = if random.below(16) == 0 { VIP2.to_owned() } else { about.source.0.to_string() };
    let kind = (random.of(&[3, 3, 11, 12, 5]), random.below(16) as u8);
    icmp(random.of(SOURCES), &to, kind, &about.quoted(20 + random.below(80))).ttl(64)
}

fn dotted(bytes: [u8; 4]) -> String {
    std::net::Ipv4Addr::from(bytes).to_string()
}

/// What leaves must be whole: lengths fit, the header checksum is right.
fn assert_well_formed(bytes: &[u8]) {
    let packet = Bytes(bytes.to_vec());
    let frame = lb_common::ethernet::Ethernet::parse(&packet).unwrap();
    let ip = <lb_common::addr::V4 as lb_common::ip::Ip>::parse(&packet, frame.network).unwrap();
    assert!(<lb_common::addr::V4 as lb_common::ip::Ip>::checksum_is_right(&packet, frame.network, ip.header_length));
    assert!(ip.total_length <= packet.len() - frame.network);
}

#[test]
fn host_and_kernel_agree_on_random_packets() {
    let outcomes = run(Hook::Ingress);
    let through_xdp =
        ["Pass", "Deliver", "Front", "HandOver", "Transmit", "Answer", "Drop"].map(|kind| format!("Ingress {kind}"));
    expect_many(&outcomes, &through_xdp);
    expect_many(&outcomes, &["Egress Deliver".to_owned(), "Egress Pass".to_owned()]);
}

#[test]
fn host_and_companion_agree_on_random_packets() {
    let outcomes = run(Hook::Companion);
    expect_many(
        &outcomes,
        &["Pass", "Deliver", "Front", "Transmit", "Answer", "Drop"].map(|kind| format!("Companion {kind}")),
    );
}

/// Runs the packets with `ingress` as the way in; how often each outcome came.
fn run(ingress: Hook) -> BTreeMap<String, u32> {
    let mut bench = Bench::new();
    let mut random = Random(0x5eed);
    let mut replies = Vec::new();
    let mut outcomes = BTreeMap::new();
    for round in 0..PACKETS {
        let (hook, bytes) = packet(&mut random, ingress, &replies);
        let (verdict, out) = bench.run(hook, &bytes);
        // a reply that is turned round at egress is not judged: the stack does, where it comes in again
        let leaves = matches!(verdict, Verdict::Transmit(_)) || (verdict == Verdict::Answer && hook != Hook::Egress);
        if leaves {
            assert_well_formed(&out);
        }
        let kind = format!("{hook:?} {verdict:?}").split('(').next().unwrap_or_default().to_owned();
        *outcomes.entry(kind).or_default() += 1;
        if round % 500 == 0 {
            let tables = [Table::HalfOpen, Table::Proven];
            replies = tables.iter().flat_map(|&table| bench.replies(table)).collect();
        }
    }
    bench.assert_equal_state();
    let stats = bench.host.stats.borrow();
    for stat in [Stat::IcmpErrors, Stat::EchoReplies] {
        assert!(stats[stat as usize] > 100, "{stat:?}: {}", stats[stat as usize]);
    }
    outcomes
}

/// A generator that never reaches a case would prove nothing.
fn expect_many(outcomes: &BTreeMap<String, u32>, kinds: &[String]) {
    for kind in kinds {
        assert!(outcomes.get(kind).copied().unwrap_or(0) > 50, "{kind} hardly ever came: {outcomes:?}");
    }
}
