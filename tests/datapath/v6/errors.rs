//! ICMPv6 errors across nodes, as [`crate::errors`] has them for IPv4.

use std::net::Ipv6Addr;

use lb_common::abi::Task;
use lb_common::csum::{Delta, fold};

use super::*;
use crate::fixture::hex;
use crate::world6::NODE_3;

/// Packet too big; the builder says 1,300 bytes.
const TOO_BIG: Carries = Carries::Icmp(2, 0);
const HOP: &str = "2001:db8:1::1";

/// The frame with an outer header; `label` is the flow label.
pub(super) fn tunnel(inner: &Builder6, from: &str, to: &str, label: u32, hops: u8) -> Vec<u8> {
    tunnel_of(&inner.bytes(), (from, to), label, hops)
}

pub(super) fn tunnel_of(frame: &[u8], (from, to): (&str, &str), label: u32, hops: u8) -> Vec<u8> {
    let mut outer = (0x6000_0000 | label).to_be_bytes().to_vec();
    outer.extend(((frame.len() - 14) as u16).to_be_bytes());
    outer.extend([41, hops]);
    outer.extend([from, to].iter().flat_map(|at| at.parse::<Ipv6Addr>().unwrap().octets()));
    [&frame[..14], &outer, &frame[14..]].concat()
}

fn about(port: u16, client: u16) -> Builder6 {
    let quote = packet6(Carries::Tcp(ACK), (VIP, port), (CLIENT, client)).quoted(60);
    packet6(TOO_BIG, (HOP, 0), (VIP, 0)).payload(&quote)
}

fn expect(bench: &mut Bench6, frame: &[u8], verdict: Verdict, expected: &[u8]) {
    let (got, bytes) = bench.run(Hook::Ingress, frame);
    assert_eq!((got, hex(&bytes)), (Verdict::HandOver(Task::Forward), hex(frame)));
    let (got, bytes) = bench.run(Hook::Companion, frame);
    assert_eq!(got, verdict, "{}", hex(frame));
    if !matches!(verdict, Verdict::Drop(_)) {
        assert_eq!(hex(&bytes), hex(expected));
    }
}

#[test]
fn an_error_that_another_node_shares_finds_the_flow_and_goes_no_further() {
    let mut bench = Bench6::new();
    let port = begin(&mut bench);
    let error = packet6(TOO_BIG, (HOP, 0), (VIP, 0));
    let quote = |from, to| packet6(Carries::Tcp(ACK), from, to).quoted(60);
    let about_81 = error.clone().payload(&quote((VIP, 81), (CLIENT, 40_000)));
    let sent = packet6(TOO_BIG, (NODE, 0), (REMOTE_POD, 0)).payload(&quote((REMOTE_POD, 8080), (NODE, port))).hops(63);
    let first = bench.devices.first;
    expect(&mut bench, &tunnel(&about_81, NODE_3, NODE, 1, 64), Verdict::Transmit(first), &sent.bytes());
    for error in [about(80, 1), about(81, 1), about(90, 1)] {
        let frame = tunnel(&error, NODE_3, NODE, 1, 64);
        expect(&mut bench, &frame, Verdict::Drop(DropReason::ErrorUnknown), &[]);
    }
    assert_eq!(bench.host.stats.borrow()[Stat::ErrorsShared as usize], 0);
    bench.assert_equal_state();
}

#[test]
fn an_error_about_a_flow_of_dsr_goes_to_the_backends_node() {
    let mut bench = Bench6::new();
    let first = bench.devices.first;
    let error = about(90, 1).bytes();
    let (verdict, bytes) = bench.run(Hook::Companion, &error);
    assert_eq!(verdict, Verdict::Transmit(first));
    let label = u32::from_be_bytes([0, bytes[15] & 0xf, bytes[16], bytes[17]]);
    assert_eq!(label & 1, 1, "not to be sent on");
    assert_eq!(hex(&bytes), hex(&tunnel(&about(90, 1).hops(63), NODE, NODE_3, label, 64)));
    assert!(bench.host.tracked.borrow().is_empty());
    bench.assert_equal_state();
}

/// An error about a tunnel of ours, of 1,400 bytes.
fn about_tunnel(inner: &Builder6, length: usize) -> Vec<u8> {
    let mut quote = tunnel(inner, NODE, NODE_3, 2, 63).split_off(14);
    quote.truncate(length);
    let mut frame = packet6(TOO_BIG, (HOP, 0), (NODE, 0)).payload(&quote).bytes();
    let (old, new) = (u16::from_ne_bytes([frame[60], frame[61]]), 1_400_u16.to_be());
    let sum = u16::from_ne_bytes([frame[56], frame[57]]);
    frame[56..58].copy_from_slice(&Delta::NONE.half(old, new).apply(sum).to_ne_bytes());
    frame[60..62].copy_from_slice(&new.to_ne_bytes());
    frame
}

#[test]
fn a_sender_is_told_what_fits_into_the_tunnel() {
    let mut bench = Bench6::new();
    let first = bench.devices.first;
    let inner = packet6(Carries::Tcp(ACK), (CLIENT, 7), (VIP, 90)).payload(&[5; 1_380]);
    for (length, quoted) in [(1_232, 128), (40 + 48, 48), (40 + 51, 48)] {
        let (verdict, bytes) = bench.run(Hook::Companion, &about_tunnel(&inner, length));
        assert_eq!(verdict, Verdict::Transmit(first));
        assert_eq!(
            bytes[22..54],
            packet6(TOO_BIG, (VIP, 0), (CLIENT, 0)).bytes()[22..54],
            "from the VIP to the client"
        );
        assert_eq!((&bytes[54..56], &bytes[58..62]), (&[2, 0][..], &1_360_u32.to_be_bytes()[..]));
        assert_eq!(hex(&bytes[62..]), hex(&inner.quoted(quoted)));
        let mut covered = bytes[22..].to_vec();
        covered.extend(((bytes.len() - 54) as u32).to_be_bytes());
        covered.extend([0, 0, 0, 58]);
        let sum = covered.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!(fold(sum), 0xffff, "checksum");
    }
    // what is left would be less than IPv6 needs
    let narrow = packet6(TOO_BIG, (HOP, 0), (NODE, 0)).payload(&tunnel(&inner, NODE, NODE_3, 2, 63)[14..314]);
    bench.becomes(Hook::Companion, &narrow, Verdict::Pass, &narrow);
    assert_eq!(bench.host.stats.borrow()[Stat::TunnelErrors as usize], 3);
    bench.assert_equal_state();
}
