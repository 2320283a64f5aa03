//! Any bytes through the parsers of both families: what they say must be what a receiver reads.

use lb_common::abi::FlowKey;
use lb_common::addr::{V4, V6};
use lb_common::ethernet::Ethernet;
use lb_common::host::Bytes;
use lb_common::parse::{Kind, Parsed, parse};

use crate::packets::Side;
use crate::wire::{self, Datagram};

pub(crate) fn run(data: &[u8]) {
    let packet = Bytes(data.to_vec());
    let seen = wire::network(data);
    let Ok(frame) = Ethernet::parse(&packet) else {
        assert!(seen.is_none(), "a receiver reads the Ethernet header");
        return;
    };
    assert_eq!(seen, Some((frame.ether_type, frame.network)), "the Ethernet header");
    of_family::<V4>(data, &packet, &frame);
    of_family::<V6>(data, &packet, &frame);
}

fn of_family<F: Side>(data: &[u8], packet: &Bytes, frame: &Ethernet) {
    let seen = data.get(frame.network..).and_then(Datagram::of).filter(|seen| F::is_of_family(seen.source));
    match parse::<F, Bytes>(packet, frame.network) {
        Ok(Kind::Flow(parsed)) => is_as_seen::<F>(&parsed, &seen.expect("a flow is a packet")),
        Ok(Kind::Icmp(ip)) => {
            let seen = seen.expect("ICMP is a packet");
            assert!(seen.whole && seen.fragment.is_none() && seen.protocol == F::ICMP.protocol);
            assert_eq!((F::ip(ip.source), F::ip(ip.destination)), (seen.source, seen.destination));
        }
        Ok(Kind::Fragment | Kind::Other(_) | Kind::Refused(..)) | Err(_) => {
            let plain = seen.is_some_and(|seen| seen.sum_is_right() && seen.ports().is_some() && is_bare::<F>(&seen));
            assert!(!plain, "a receiver takes this packet, and it was not recognised: {seen:?}");
        }
    }
}

/// Nothing stands between the IP header and the transport header.
fn is_bare<F: Side>(seen: &Datagram<'_>) -> bool {
    seen.fragment.is_none() && (F::CHECKSUM.is_some() || seen.transport == 40)
}

fn is_as_seen<F: Side>(parsed: &Parsed<F::Addr>, seen: &Datagram<'_>) {
    assert!(seen.whole, "a flow is all there: {seen:?}");
    let FlowKey { source, destination, source_port, destination_port, protocol } = parsed.key;
    assert_eq!((F::ip(source), F::ip(destination)), (seen.source, seen.destination));
    assert_eq!(protocol, u32::from(seen.protocol));
    assert_eq!(parsed.ip.ttl, seen.ttl);
    assert_eq!(parsed.ip.fragment, seen.fragment.is_some());
    assert_eq!(parsed.ip.later, seen.fragment.is_some_and(|(offset, _)| offset != 0));
    assert_eq!(parsed.payload, parsed.network + seen.transport);
    if !parsed.ip.later {
        let ports = (source_port.host(), destination_port.host());
        assert_eq!(Some(ports), seen.ports());
    }
}
