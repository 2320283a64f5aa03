//! `weir drops`: what was dropped and why, with samples.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::abi::protocol;
use lb_common::addr::{Addr6, Family, V4, V6};
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::Ethernet;
use lb_common::host::Bytes;
use lb_common::packet::Packet;
use lb_common::parse::{Kind, parse};
use serde::{Deserialize, Serialize};

use super::query::{Arguments, BadArgument};
use super::view::View;

/// What is asked: samples behind a number, those that are newest if it is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropsQuery {
    /// Only samples with a higher number.
    pub after: u64,
}

impl DropsQuery {
    /// From the arguments of a request.
    pub fn read(arguments: &Arguments) -> Result<Self, BadArgument> {
        let number = |text: &str| text.parse().map_err(|_| "the number of a sample".to_owned());
        Ok(Self { after: arguments.one("after", number)?.unwrap_or_default() })
    }
}

/// A row of `weir drops`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DropRow {
    /// Label of the reason.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A packet that was dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleRow {
    /// Counts the samples of this agent.
    pub number: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// The interface that it came in by; at tc egress, left by.
    pub interface: String,
    /// `xdp`, `tc-ingress` or `tc-egress`.
    pub hook: String,
    /// Label of the reason.
    pub reason: String,
    /// `TCP`, `UDP`, `ICMP`, a number; null if the headers do not tell.
    pub protocol: Option<String>,
    /// Address, with its port where there is one; null likewise.
    pub source: Option<String>,
    /// The same of the destination.
    pub destination: Option<String>,
    /// Bytes of the whole frame.
    pub length: u32,
}

/// What `weir drops` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DropListing {
    /// Counters of every reason that ever happened, the most packets first.
    pub drops: Vec<DropRow>,
    /// The last samples, the oldest first. A few of each reason are taken in a second.
    pub samples: Vec<SampleRow>,
    /// Samples are taken: an agent reads them.
    pub sampled: bool,
}

/// The counters of the view, beside samples.
pub fn drops(view: &View, samples: Vec<SampleRow>, sampled: bool) -> DropListing {
    let counts = view.counts.iter().flat_map(|counts| &counts.drops).filter(|(_, count)| count.packets > 0);
    let row = |(reason, count): (&DropReason, &lb_common::abi::DropCounters)| DropRow {
        reason: reason.label().to_owned(),
        packets: count.packets,
        bytes: count.bytes,
    };
    let mut drops: Vec<DropRow> = counts.map(row).collect();
    drops.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.reason.cmp(&b.reason)));
    DropListing { drops, samples, sampled }
}

/// What the headers of a frame say, as far as they can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// As in [`SampleRow::protocol`].
    pub protocol: Option<String>,
    /// As in [`SampleRow::source`].
    pub source: Option<String>,
    /// As in [`SampleRow::destination`].
    pub destination: Option<String>,
}

impl Headers {
    /// Reads the beginning of a frame; what is malformed, or cut off, is left out.
    pub fn of(frame: &[u8]) -> Self {
        let packet = Bytes(frame.to_vec());
        let Ok(ethernet) = Ethernet::parse(&packet) else { return Self::default() };
        match ethernet.ether_type {
            V4::ETHER_TYPE => ipv4(&packet, ethernet.network).unwrap_or_default(),
            V6::ETHER_TYPE => ipv6(&packet, ethernet.network).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    fn new(number: u8, source: IpAddr, destination: IpAddr, ports: Option<(u16, u16)>) -> Self {
        let at =
            |ip: IpAddr, port: Option<u16>| port.map_or(ip.to_string(), |port| SocketAddr::new(ip, port).to_string());
        let protocol = match number {
            protocol::TCP => "TCP".to_owned(),
            protocol::UDP => "UDP".to_owned(),
            1 | 58 => "ICMP".to_owned(),
            other => other.to_string(),
        };
        let (from, to) = ports.unzip();
        Self { protocol: Some(protocol), source: Some(at(source, from)), destination: Some(at(destination, to)) }
    }
}

/// The fixed part of the header (RFC 791, section 3.1). Lengths are not believed: the frame may be cut off.
fn ipv4(packet: &Bytes, at: usize) -> Option<Headers> {
    let bytes = packet.0.get(at..at + 20)?;
    let ip = |at: usize| IpAddr::V4(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]));
    let later = u16::from_be_bytes([bytes[6], bytes[7]]) & 0x1fff != 0;
    let header = usize::from(bytes[0] & 0xf) * 4;
    let has_ports = !later && header >= 20 && matches!(bytes[9], protocol::TCP | protocol::UDP);
    let ports = has_ports.then(|| ports(packet, at + header)).flatten();
    Some(Headers::new(bytes[9], ip(12), ip(16), ports))
}

/// The fixed part of the header (RFC 8200, section 3); behind extension headers if the whole packet is there.
fn ipv6(packet: &Bytes, at: usize) -> Option<Headers> {
    if let Ok(Kind::Flow(parsed)) = parse::<V6, _>(packet, at) {
        let ip = |address: Addr6| IpAddr::V6(Ipv6Addr::from(address.bytes()));
        let ports = (parsed.key.source_port.host(), parsed.key.destination_port.host());
        let number = parsed.key.protocol as u8;
        return Some(Headers::new(number, ip(parsed.key.source), ip(parsed.key.destination), Some(ports)));
    }
    let bytes = packet.0.get(at..at + 40)?;
    let ip = |at: usize| {
        let octets: [u8; 16] = bytes[at..at + 16].try_into().unwrap_or_default();
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let has_ports = matches!(bytes[6], protocol::TCP | protocol::UDP);
    Some(Headers::new(bytes[6], ip(8), ip(24), has_ports.then(|| ports(packet, at + 40)).flatten()))
}

fn ports(packet: &Bytes, at: usize) -> Option<(u16, u16)> {
    let [from, to] = packet.halves::<2>(at)?;
    Some((u16::from_be(from), u16::from_be(to)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lb_common::abi::DropCounters;

    use super::*;
    use crate::dataplane::CounterSnapshot;

    fn frame(ether_type: [u8; 2], rest: &[u8]) -> Vec<u8> {
        [&[0; 12], &ether_type[..], rest].concat()
    }

    #[test]
    fn counters_that_moved_are_listed_the_largest_first() {
        let count = |packets| DropCounters { packets, bytes: packets * 60 };
        let drops_of =
            [(DropReason::NoBackend, count(2)), (DropReason::BadSource, count(9)), (DropReason::TooBig, count(0))];
        let counts = CounterSnapshot { drops: drops_of.into(), ..CounterSnapshot::default() };
        let listing = drops(&View { counts: Some(Arc::new(counts)), ..View::default() }, vec![], false);
        let expected = serde_json::json!({
            "drops": [
                {"reason": "bad_source", "packets": 9, "bytes": 540},
                {"reason": "no_backend", "packets": 2, "bytes": 120},
            ],
            "samples": [], "sampled": false,
        });
        assert_eq!(serde_json::to_value(listing).unwrap(), expected);
    }

    #[test]
    fn headers_are_read_as_far_as_they_go() {
        let mut ip =
            vec![0x45, 0, 0xff, 0xff, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 0x1f, 0x90, 0, 80];
        let text = |headers: Headers| (headers.protocol, headers.source, headers.destination);
        let some = |text: &str| Some(text.to_owned());
        let whole = (some("TCP"), some("192.0.2.1:8080"), some("198.51.100.7:80"));
        assert_eq!(text(Headers::of(&frame([8, 0], &ip))), whole);
        let cut = (some("TCP"), some("192.0.2.1"), some("198.51.100.7"));
        assert_eq!(text(Headers::of(&frame([8, 0], &ip[..22]))), cut);
        assert_eq!(Headers::of(&frame([8, 0], &ip[..19])), Headers::default());
        assert_eq!(Headers::of(&frame([8, 6], &ip)), Headers::default());
        assert_eq!(Headers::of(&[1, 2, 3]), Headers::default());
        ip[9] = 1;
        assert_eq!(Headers::of(&frame([8, 0], &ip)).protocol, some("ICMP"));
        let mut v6 = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        v6.extend([0; 15].iter().chain(&[1]).chain(&[0; 15]).chain(&[2]).chain(&[0, 53, 0, 99]));
        let expected = (some("UDP"), some("[::1]:53"), some("[::2]:99"));
        assert_eq!(text(Headers::of(&frame([0x86, 0xdd], &v6))), expected);
    }
}
