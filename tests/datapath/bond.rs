//! XDP on a bond runs on its ports: packets come in by a port, and routing knows the bond.

use crate::fixture::{Bench, hex};
use crate::packet::{SYN, UPLINK, tcp};
use crate::packet6::{Carries, packet6};
use crate::world::{CLIENT, NEXT_NODE, NODE, REMOTE_POD, SNAT_FIRST, SNAT_LAST, VIP};
use crate::world6::{self, Bench6};

/// What XDP returns for a packet that goes out of the port that it came in by.
const XDP_TX: u32 = 3;

/// The source port of a frame with headers of this length.
fn source_port(frame: &[u8], headers: usize) -> u16 {
    u16::from_be_bytes([frame[14 + headers], frame[15 + headers]])
}

#[test]
fn what_came_in_by_a_port_is_routed_as_by_the_bond_and_goes_back_out() {
    let mut bench = Bench::new();
    let Some(kernel) = &mut bench.kernel else { return };
    kernel.make_port();
    let packet = tcp((CLIENT, 40_000), (VIP, 80), SYN);
    let (returned, out) = kernel.xdp_at_second(&packet.bytes());
    assert_eq!(returned, XDP_TX, "{}", hex(&out));
    let port = source_port(&out, 20);
    assert!((SNAT_FIRST..=SNAT_LAST).contains(&port));
    let expected = packet.from(NODE, port).to(REMOTE_POD, 8080).ttl(63).macs(NEXT_NODE, UPLINK);
    assert_eq!(hex(&out), hex(&expected.bytes()));
}

#[test]
fn the_same_for_ipv6() {
    let mut bench = Bench6::new();
    let Some(kernel) = &mut bench.kernel else { return };
    kernel.make_port();
    let packet = packet6(Carries::Tcp(SYN), (world6::CLIENT, 40_000), (world6::VIP, 81));
    let (returned, out) = kernel.xdp_at_second(&packet.bytes());
    assert_eq!(returned, XDP_TX, "{}", hex(&out));
    let expected = packet.from(world6::NODE, source_port(&out, 40)).to(world6::REMOTE_POD, 8080).hops(63);
    assert_eq!(hex(&out), hex(&expected.macs(NEXT_NODE, UPLINK).bytes()));
}
