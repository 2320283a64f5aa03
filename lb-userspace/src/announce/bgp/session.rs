//! A session with a router, as an Announcement asks for it: read into numbers and addresses, with what is wrong told. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use super::community::Community;
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::kinds::{BgpAnnouncement, BgpPeer};

/// What is usual where nothing is said.
const PORT: u16 = 179;
const HOLD_TIME: u16 = 90;
const GRACEFUL_RESTART: u16 = 120;
const BFD_INTERVAL: u32 = 300;
const BFD_MULTIPLIER: u8 = 3;

/// Any number of an autonomous system (RFC 6793; 0 is none, RFC 7607).
const ASNS: RangeInclusive<i64> = 1..=u32::MAX as i64;

/// A session with a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The router.
    pub peer: IpAddr,
    /// Where it listens.
    pub port: u16,
    /// Its autonomous system.
    pub asn: u32,
    /// Ours.
    pub local_asn: u32,
    /// By what the router tells nodes apart, where it is not the node's address.
    pub router_id: Option<Ipv4Addr>,
    /// Where the session comes from, where it is not the address that the route to the router says.
    pub source: Option<IpAddr>,
    /// A session without a word for so many seconds is over.
    pub hold_time: u16,
    /// Something is said every so many seconds; a third of the hold time if absent.
    pub keepalive: Option<u16>,
    /// Seconds between attempts.
    pub connect: Option<u16>,
    /// The router is not in the same network.
    pub multihop: bool,
    /// Failures are found within a part of a second.
    pub bfd: Option<BfdTimes>,
    /// For so many seconds the router keeps the routes while the speaker restarts; 0: not at all.
    pub graceful_restart: u16,
}

/// How failures are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdTimes {
    /// Milliseconds between packets that are taken.
    pub receive: u32,
    /// Milliseconds between packets that are sent.
    pub transmit: u32,
    /// So many may be missing.
    pub multiplier: u8,
    /// The router begins.
    pub passive: bool,
}

/// The key of a session; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Longest key (`TCP_MD5SIG_MAXKEYLEN`, include/uapi/linux/tcp.h).
    pub const MAX: usize = 80;

    /// What stands between quotes in BIRD's configuration, which knows no escapes: nothing that would end there.
    pub fn new(text: &str) -> Option<Self> {
        let is_fit = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"';
        let is_key = !text.is_empty() && text.len() <= Self::MAX && text.bytes().all(is_fit);
        is_key.then(|| Self(text.to_owned()))
    }

    /// To be written where only BIRD reads it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What an Announcement says of all its sessions and routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// Put on every route.
    pub communities: Vec<Community>,
    /// For routers of our own autonomous system.
    pub local_preference: Option<u32>,
    /// Lengths of networks, of IPv4 and of IPv6.
    pub lengths: (u8, u8),
}

impl Common {
    /// What cannot be used is left out and told.
    pub fn read(bgp: &BgpAnnouncement, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Self {
        let mut reader = Reader { owner, problems };
        let mut communities = Vec::new();
        for (index, text) in bgp.communities.iter().enumerate() {
            match text.parse() {
                Ok(community) => communities.push(community),
                Err(expected) => {
                    let problem = Problem::error(code::FIELD_INVALID, owner, "this is not a community");
                    let field = format!("spec.bgp.communities[{index}]");
                    reader.problems.push(problem.at(field, text).expected(expected));
                }
            }
        }
        communities.sort_unstable();
        communities.dedup();
        let local_preference = reader.number("spec.bgp.localPreference", bgp.local_preference, 0..=u32::MAX.into());
        let v4 = reader.number("spec.bgp.aggregationLength", bgp.aggregation_length, 1..=32);
        let v6 = reader.number("spec.bgp.aggregationLengthV6", bgp.aggregation_length_v6, 1..=128);
        Self { communities, local_preference, lengths: (v4.unwrap_or(32), v6.unwrap_or(128)) }
    }
}

impl Session {
    /// With the router of this place; `None` if what it needs is missing, or wrong, which is told.
    pub fn read(bgp: &BgpAnnouncement, index: usize, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Option<Self> {
        let (peer, before) = (bgp.peers.get(index)?, problems.len());
        let mut reader = Reader { owner, problems };
        let at = |field: &str| format!("spec.bgp.peers[{index}].{field}");
        let router_id = bgp.router_id.as_deref().and_then(router_id);
        let address = reader.address(&at("address"), &peer.address);
        let source = peer.source_address.as_ref().and_then(|text| reader.address(&at("sourceAddress"), text));
        reader.same_family(&at("sourceAddress"), address, source);
        let asn = reader.number(&at("asn"), peer.asn, ASNS);
        let own = reader.number(&at("localASN"), peer.local_asn, ASNS);
        let common = reader.number("spec.bgp.localASN", bgp.local_asn, ASNS);
        let hold_time = reader.number(&at("holdTimeSeconds"), peer.hold_time_seconds, 3..=65_535).unwrap_or(HOLD_TIME);
        let session = Self {
            peer: address?,
            port: reader.number(&at("port"), peer.port, 1..=65_535).unwrap_or(PORT),
            asn: asn?,
            local_asn: own.or(common)?,
            router_id,
            source,
            hold_time,
            // BIRD takes nothing longer
            keepalive: reader.number(&at("keepaliveTimeSeconds"), peer.keepalive_time_seconds, 1..=hold_time.into()),
            connect: reader.number(&at("connectTimeSeconds"), peer.connect_time_seconds, 1..=65_535),
            multihop: peer.multihop.unwrap_or_default(),
            bfd: reader.bfd(&at("bfd"), peer),
            graceful_restart: reader
                .number("spec.bgp.gracefulRestartSeconds", bgp.graceful_restart_seconds, 0..=4_095)
                .unwrap_or(GRACEFUL_RESTART),
        };
        (problems.len() == before).then_some(session)
    }

    /// The router is of our own autonomous system.
    pub fn is_internal(&self) -> bool {
        self.asn == self.local_asn
    }
}

/// What stands for a router; 0 is nobody's (RFC 6286).
pub fn router_id(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok().filter(|id: &Ipv4Addr| !id.is_unspecified())
}

/// Reads values and keeps what is wrong.
struct Reader<'a> {
    owner: &'a ObjectRef,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn number<T: TryFrom<i64>>(&mut self, field: &str, value: Option<i64>, range: RangeInclusive<i64>) -> Option<T> {
        let value = value?;
        let read = T::try_from(value).ok().filter(|_| range.contains(&value));
        if read.is_none() {
            let problem = Problem::error(code::FIELD_INVALID, self.owner, "this is out of range").at(field, value);
            self.problems.push(problem.expected(format!("{} to {}", range.start(), range.end())));
        }
        read
    }

    /// Of a single station, that can be named without an interface.
    fn address(&mut self, field: &str, text: &str) -> Option<IpAddr> {
        let is_usable = |address: &IpAddr| match address {
            IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
            IpAddr::V6(ip) => {
                let names_one = !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local();
                names_one && ip.to_ipv4_mapped().is_none()
            }
        };
        let address = text.parse().ok().filter(is_usable);
        if address.is_none() && !text.is_empty() {
            let what = "this is not an IP address that a session can have";
            let problem = Problem::error(code::ADDRESS_INVALID, self.owner, what).at(field, text);
            self.problems.push(problem.expected("an IPv4 or IPv6 address, not a link-local one"));
        }
        address
    }

    fn same_family(&mut self, field: &str, peer: Option<IpAddr>, source: Option<IpAddr>) {
        let (Some(peer), Some(source)) = (peer, source) else { return };
        if peer.is_ipv4() != source.is_ipv4() {
            let what = "this is not of the router's family";
            let problem = Problem::error(code::ADDRESS_OF_OTHER_FAMILY, self.owner, what).at(field, source);
            self.problems.push(problem.expected("an address of the same family"));
        }
    }

    fn bfd(&mut self, field: &str, peer: &BgpPeer) -> Option<BfdTimes> {
        let bfd = peer.bfd.as_ref()?;
        let mut interval = |name: &str, value| self.number(&format!("{field}.{name}"), value, 10..=60_000);
        let receive = interval("receiveIntervalMilliseconds", bfd.receive_interval_milliseconds);
        let transmit = interval("transmitIntervalMilliseconds", bfd.transmit_interval_milliseconds);
        let multiplier = self.number(&format!("{field}.detectMultiplier"), bfd.detect_multiplier, 2..=255);
        Some(BfdTimes {
            receive: receive.unwrap_or(BFD_INTERVAL),
            transmit: transmit.unwrap_or(BFD_INTERVAL),
            multiplier: multiplier.unwrap_or(BFD_MULTIPLIER),
            passive: bfd.passive.unwrap_or_default(),
        })
    }
}
