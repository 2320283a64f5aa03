use std::vec::Vec;

use proptest::prelude::*;

use crate::abi::{BackendEntry, FrontendEntry, FrontendKey, backend_flag, protocol, setting};
use crate::addr::V4;
use crate::be::{Be16, Be32};
use crate::csum::fold;
use crate::ethernet::Addresses;
use crate::host::{Bytes, Maps};
use crate::lookup::Route;
use crate::pipeline;
use crate::verdict::Verdict;

const VIP: Be32 = Be32::new(0x0a64_6464);
const NODE: Be32 = Be32::new(0x0a0a_000b);
const ROUTER: Be32 = Be32::new(0xc000_0201);
/// Port, protocol, on this node.
const FRONTENDS: [(u16, u8, bool); 4] =
    [(80, protocol::TCP, true), (81, protocol::TCP, false), (53, protocol::UDP, true), (54, protocol::UDP, false)];

fn world() -> Maps<V4> {
    let mut maps = Maps::<V4>::default();
    for (id, (port, ip_protocol, local)) in (1..).zip(FRONTENDS) {
        let key = FrontendKey { address: VIP, port: Be16::new(port), protocol: u16::from(ip_protocol), fill: [] };
        maps.frontends.insert(key, FrontendEntry { service: id, flags: 0 });
        let flags = if local { backend_flag::LOCAL } else { 0 };
        let (address, ip_protocol) = (Be32::new(0x0af4_0100 + id), u32::from(ip_protocol));
        let port = Be16::new(8080);
        maps.backends.insert(
            id,
            BackendEntry { address, port, flags, generation: 1, protocol: ip_protocol, ..Default::default() },
        );
        let ring = maps.add_ring(&[id; 3]);
        maps.services.insert(id, ring);
    }
    maps.vips.push(VIP);
    maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports((15_000, 29_999), (15_000, 29_999));
    maps.routing =
        std::boxed::Box::new(|_| Route::Direct { device: 7, addresses: Addresses::new([1; 3], [2; 3]), mtu: 1_500 });
    maps.uplink_addresses.insert(7, NODE);
    maps
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum()
}

fn put_checksum(bytes: &mut [u8], at: usize, pseudo: u64) {
    bytes[at..at + 2].fill(0);
    let value = !fold(sum(bytes) + pseudo);
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// An IPv4 header with options of `options` words, and what follows it.
fn ip(ip_protocol: u8, from: Be32, to: Be32, options: usize, behind: &[u8]) -> Vec<u8> {
    let length = 20 + 4 * options;
    let mut bytes = std::vec![0x40 | (length / 4) as u8, 0];
    bytes.extend(((length + behind.len()) as u16).to_be_bytes());
    bytes.extend([0, 7, 0x40, 0, 64, ip_protocol, 0, 0]);
    bytes.extend(from.bytes());
    bytes.extend(to.bytes());
    bytes.resize(length, 1);
    put_checksum(&mut bytes, 10, 0);
    bytes.extend(behind);
    bytes
}

/// A TCP or UDP packet with right checksums.
fn packet(ip_protocol: u8, from: (Be32, u16), to: (Be32, u16), options: usize, payload: &[u8]) -> Vec<u8> {
    let mut transport = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let at = if ip_protocol == protocol::TCP {
        transport.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 1, 0, 0, 0, 0]);
        16
    } else {
        transport.extend((8 + payload.len() as u16).to_be_bytes());
        transport.extend([0, 0]);
        6
    };
    transport.extend(payload);
    let pseudo = sum(&from.0.bytes()) + sum(&to.0.bytes()) + u64::from(ip_protocol) + transport.len() as u64;
    put_checksum(&mut transport, at, pseudo);
    ip(ip_protocol, from.0, to.0, options, &transport)
}

/// An ICMP message in a frame.
fn icmp(kind: u8, code: u8, from: Be32, to: Be32, options: usize, behind: &[u8]) -> Bytes {
    let mut message = std::vec![kind, code, 0, 0, 0, 0, 0x05, 0x78];
    message.extend(behind);
    put_checksum(&mut message, 2, 0);
    framed(&ip(1, from, to, options, &message))
}

fn framed(packet: &[u8]) -> Bytes {
    Bytes([&[0; 12], &[8, 0][..], packet].concat())
}

fn addresses(ip: &[u8]) -> (Be32, Be32) {
    let at = |from: usize| Be32::from_bytes([ip[from], ip[from + 1], ip[from + 2], ip[from + 3]]);
    (at(12), at(16))
}

/// Source and destination of a packet.
fn ends(ip: &[u8]) -> ((Be32, u16), (Be32, u16)) {
    let at = usize::from(ip[0] & 0xf) * 4;
    let port = |from: usize| u16::from_be_bytes([ip[from], ip[from + 1]]);
    let (source, destination) = addresses(ip);
    ((source, port(at)), (destination, port(at + 2)))
}

/// The ICMP message of a frame whose checksums are verified from nothing, as a receiver does.
fn verified(frame: &Bytes) -> &[u8] {
    let packet = &frame.0[14..];
    let header = usize::from(packet[0] & 0xf) * 4;
    assert_eq!(fold(sum(&packet[..header])), 0xffff, "IPv4 header checksum");
    assert_eq!(fold(sum(&packet[header..])), 0xffff, "ICMP checksum");
    &packet[header..]
}

fn client() -> impl Strategy<Value = (Be32, u16)> {
    (0x0b00_0000u32..0x7e00_0000, 1u16..).prop_map(|(address, port)| (Be32::new(address), port))
}

/// Sends a packet to the frontend and gives the packet that its backend sees.
fn begin(maps: &Maps<V4>, from: (Be32, u16), which: usize) -> Vec<u8> {
    let (port, ip_protocol, local) = FRONTENDS[which];
    let mut frame = framed(&packet(ip_protocol, from, (VIP, port), 0, b"hello"));
    let verdict = pipeline::ingress(&mut frame, maps);
    assert_eq!(verdict, if local { Verdict::Deliver } else { Verdict::Transmit(7) });
    frame.0.split_off(14)
}

/// A quote as long as the sender of the error makes it, and the same of the packet that it should be about.
fn quotes(theirs: &[u8], ours: &[u8], length: usize) -> (Vec<u8>, Vec<u8>) {
    let transport = usize::from(theirs[0] & 0xf) * 4;
    let mut length = length.clamp(transport + 8, theirs.len());
    if length == transport + 17 {
        length -= 1; // half a checksum stays as it is
    }
    (theirs[..length].to_vec(), ours[..length].to_vec())
}

proptest! {
    /// Towards the backend: an error about the reply that the client got becomes one about the reply that it sent.
    #[test]
    fn errors_about_replies_reach_the_backend(
        from in client(), which in 0usize..4, kind in prop::sample::select(std::vec![3u8, 11, 12]), code in 0u8..16,
        length in 0usize..200, options in 0usize..11, quoted_options in 0usize..11,
        payload in prop::collection::vec(any::<u8>(), 0..150),
    ) {
        let maps = world();
        let (port, ip_protocol, local) = FRONTENDS[which];
        let (seen, backend) = ends(&begin(&maps, from, which));
        let sent = packet(ip_protocol, backend, seen, quoted_options, &payload);
        let got = packet(ip_protocol, (VIP, port), from, quoted_options, &payload);
        let (quote, expected) = quotes(&got, &sent, length);
        let mut error = icmp(kind, code, ROUTER, VIP, options, &quote);
        let verdict = pipeline::ingress(&mut error, &maps);
        prop_assert_eq!(verdict, if local { Verdict::Deliver } else { Verdict::Transmit(7) });
        let message = verified(&error);
        prop_assert_eq!(&message[8..], &expected[..], "the quote is the backend's own packet");
        prop_assert_eq!((message[0], message[1], &message[4..8]), (kind, code, &[0, 0, 0x05, 0x78][..]));
        prop_assert_eq!(addresses(&error.0[14..]), (if local { ROUTER } else { NODE }, backend.0));
    }

    /// Towards the client: an error about what the backend got becomes one about what the client sent.
    #[test]
    fn errors_about_requests_reach_the_client(
        from in client(), which in 0usize..4, kind in prop::sample::select(std::vec![3u8, 11, 12]), code in 0u8..16,
        length in 0usize..200, options in 0usize..11,
    ) {
        let maps = world();
        let (port, ip_protocol, local) = FRONTENDS[which];
        let got = begin(&maps, from, which);
        let (seen, backend) = ends(&got);
        let sent = packet(ip_protocol, from, (VIP, port), 0, b"hello");
        let (quote, mut expected) = quotes(&got, &sent, length);
        if !local {
            // our own hop is in it
            expected[8] -= 1;
            put_checksum(&mut expected[..20], 10, 0);
        }
        let mut error = icmp(kind, code, backend.0, seen.0, options, &quote);
        let verdict = if local { pipeline::egress(&mut error, &maps) } else { pipeline::ingress(&mut error, &maps) };
        prop_assert_eq!(verdict, if local { Verdict::Deliver } else { Verdict::Transmit(7) });
        let message = verified(&error);
        prop_assert_eq!(&message[8..], &expected[..], "the quote is the client's own packet");
        prop_assert_eq!(addresses(&error.0[14..]), (VIP, from.0));
    }

    #[test]
    fn echo_to_a_vip_is_answered(from in client(), options in 0usize..11, data in prop::collection::vec(any::<u8>(), 0..200)) {
        let maps = world();
        let mut request = icmp(8, 0, from.0, VIP, options, &data);
        let length = request.0.len();
        prop_assert_eq!(pipeline::ingress(&mut request, &maps), Verdict::Answer);
        prop_assert_eq!(request.0.len(), length, "never more than was asked with");
        let message = verified(&request);
        prop_assert_eq!((message[0], &message[4..8], &message[8..]), (0, &[0, 0, 0x05, 0x78][..], &data[..]));
        prop_assert_eq!(addresses(&request.0[14..]), (VIP, from.0));
    }
}

#[test]
fn an_error_leaves_no_trace_in_the_flow() {
    let maps = world();
    let from = (Be32::new(0x0b00_0001), 4_000);
    let (seen, backend) = ends(&begin(&maps, from, 1));
    let state = |maps: &Maps<V4>| std::format!("{:?} {:?}", maps.flows, maps.replies);
    let before = state(&maps);
    maps.now.set(maps.now.get() + 1);
    let about_reply = packet(protocol::TCP, (VIP, 81), from, 0, b"");
    assert_eq!(pipeline::ingress(&mut icmp(3, 4, ROUTER, VIP, 0, &about_reply), &maps), Verdict::Transmit(7));
    let about_request = packet(protocol::TCP, seen, backend, 0, b"");
    assert_eq!(pipeline::ingress(&mut icmp(3, 4, ROUTER, NODE, 0, &about_request), &maps), Verdict::Transmit(7));
    assert_eq!(state(&maps), before);
}
