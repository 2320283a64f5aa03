//! Announcement (weir.io/v1alpha1): how the world learns where addresses are.

use serde::Deserialize;

use super::selector::LabelSelector;
use super::{Metadata, OwnStatus};
use crate::source::rules::{Place, Rule};

/// How the world learns where addresses of pools are: neighbours in the same network (`l2`), or routers (`bgp`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Announcement {
    /// The metadata.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: AnnouncementSpec,
    /// What is.
    pub status: OwnStatus,
}

/// What an Announcement asks for. Exactly one of `l2` and `bgp` is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct AnnouncementSpec {
    /// Names of the pools whose addresses are announced, beside those that a selector chooses. With neither: all.
    #[cfg_attr(test, schemars(length(max = 256), inner(length(max = 253))))]
    pub pools: Vec<String>,
    /// Pools that one of these chooses by their labels.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub pool_selectors: Vec<LabelSelector>,
    /// Only addresses of Services that one of these chooses. None: of all.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub service_selectors: Vec<LabelSelector>,
    /// Only nodes that one of these chooses. None: all.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub node_selectors: Vec<LabelSelector>,
    /// ARP and neighbour discovery, in the networks that the nodes are in.
    pub l2: Option<L2Announcement>,
    /// Routes told to routers.
    pub bgp: Option<BgpAnnouncement>,
}

/// Announced to neighbours in the same network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct L2Announcement {
    /// Names of interfaces; one that ends in `*` stands for all that begin so. None: all external interfaces of the node.
    #[cfg_attr(test, schemars(length(max = 64), inner(length(max = 16))))]
    pub interfaces: Vec<String>,
}

/// Announced to routers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct BgpAnnouncement {
    /// The number of our own autonomous system, for peers that name none.
    #[serde(rename = "localASN")]
    #[cfg_attr(test, schemars(range(min = 1, max = 4_294_967_295_i64)))]
    pub local_asn: Option<i64>,
    /// The number by which routers tell this node from others, written as an IPv4 address. Absent: the node's IPv4 address.
    #[serde(rename = "routerID")]
    #[cfg_attr(test, schemars(length(max = 15)))]
    pub router_id: Option<String>,
    /// The routers.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub peers: Vec<BgpPeer>,
    /// Put on every route: `64512:100` (RFC 1997), a name such as `no-export`, or `large:64512:1:2` (RFC 8092).
    #[cfg_attr(test, schemars(length(max = 32), inner(length(max = 64))))]
    pub communities: Vec<String>,
    /// For routers of the same autonomous system: of several ways the one with the largest number is taken.
    #[cfg_attr(test, schemars(range(min = 0, max = 4_294_967_295_i64)))]
    pub local_preference: Option<i64>,
    /// IPv4 addresses are told as networks of this length. 32 if absent: each alone.
    #[cfg_attr(test, schemars(range(min = 1, max = 32)))]
    pub aggregation_length: Option<i64>,
    /// IPv6 addresses are told as networks of this length. 128 if absent: each alone.
    #[cfg_attr(test, schemars(range(min = 1, max = 128)))]
    pub aggregation_length_v6: Option<i64>,
    /// Routers keep the routes for so long while the node's speaker restarts (RFC 4724). 120 if absent; 0: not at all.
    #[cfg_attr(test, schemars(range(min = 0, max = 4095)))]
    pub graceful_restart_seconds: Option<i64>,
}

/// A router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct BgpPeer {
    /// Its address.
    #[cfg_attr(test, schemars(length(max = 45)))]
    pub address: String,
    /// The number of its autonomous system.
    #[cfg_attr(test, schemars(range(min = 1, max = 4_294_967_295_i64)))]
    pub asn: Option<i64>,
    /// Where it listens. 179 if absent.
    #[cfg_attr(test, schemars(range(min = 1, max = 65_535)))]
    pub port: Option<i64>,
    /// The number of our own autonomous system for this router; absent: that of the Announcement.
    #[serde(rename = "localASN")]
    #[cfg_attr(test, schemars(range(min = 1, max = 4_294_967_295_i64)))]
    pub local_asn: Option<i64>,
    /// The address of the node that the session comes from.
    #[cfg_attr(test, schemars(length(max = 45)))]
    pub source_address: Option<String>,
    /// The session is signed with the value of this Secret (TCP MD5, RFC 2385).
    pub password_secret: Option<SecretReference>,
    /// A session without a word for so long is over (RFC 4271, 4.2). 90 if absent.
    #[cfg_attr(test, schemars(range(min = 3, max = 65_535)))]
    pub hold_time_seconds: Option<i64>,
    /// How often something is said. A third of the hold time if absent.
    #[cfg_attr(test, schemars(range(min = 1, max = 21_845)))]
    pub keepalive_time_seconds: Option<i64>,
    /// How long after a failed attempt the next one is made.
    #[cfg_attr(test, schemars(range(min = 1, max = 65_535)))]
    pub connect_time_seconds: Option<i64>,
    /// The router is not in the same network.
    pub multihop: Option<bool>,
    /// Failures are found within a part of a second (RFC 5880).
    pub bfd: Option<Bfd>,
    /// Only nodes that one of these chooses speak with it. None: all of the Announcement.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub node_selectors: Vec<LabelSelector>,
}

/// Bidirectional forwarding detection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct Bfd {
    /// How often packets are taken at most. 300 if absent.
    #[cfg_attr(test, schemars(range(min = 10, max = 60_000)))]
    pub receive_interval_milliseconds: Option<i64>,
    /// How often packets are sent at most. 300 if absent.
    #[cfg_attr(test, schemars(range(min = 10, max = 60_000)))]
    pub transmit_interval_milliseconds: Option<i64>,
    /// After so many missing packets the router is gone. 3 if absent.
    #[cfg_attr(test, schemars(range(min = 2, max = 255)))]
    pub detect_multiplier: Option<i64>,
    /// The node does not begin, but waits for the router to.
    pub passive: Option<bool>,
}

/// A value of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct SecretReference {
    /// Namespace of the Secret.
    #[cfg_attr(test, schemars(length(max = 63)))]
    pub namespace: String,
    /// Name of the Secret.
    #[cfg_attr(test, schemars(length(max = 253)))]
    pub name: String,
    /// Which of its values: one whose name contains `password`. `password` if absent.
    #[cfg_attr(test, schemars(length(max = 253)))]
    pub key: Option<String>,
}

impl SecretReference {
    /// What the name of the value contains: others are not kept of Secrets.
    pub const PASSWORD: &str = "password";

    /// Which of its values.
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(Self::PASSWORD)
    }
}

impl AnnouncementSpec {
    /// What must hold of an Announcement beyond the types of its fields.
    pub const RULES: &[Rule<Self>] = &[
        Rule {
            field: "spec",
            cel: "has(self.l2) != has(self.bgp)",
            says: "an Announcement has either l2 or bgp",
            broken: |spec| (spec.l2.is_some() == spec.bgp.is_some()).then(Place::whole),
        },
        Rule {
            field: "spec.bgp.peers",
            cel: "!has(self.bgp) || (has(self.bgp.peers) && size(self.bgp.peers) > 0)",
            says: "routes are told to at least one router",
            broken: |spec| spec.bgp.as_ref().is_some_and(|bgp| bgp.peers.is_empty()).then(Place::whole),
        },
        Rule {
            field: "spec.bgp.peers",
            cel: "!has(self.bgp) || !has(self.bgp.peers) || self.bgp.peers.all(peer, has(peer.address) && size(peer.address) > 0 && has(peer.asn))",
            says: "a router has an address and the number of an autonomous system (asn)",
            broken: |spec| any_peer(spec, |_, peer| peer.address.is_empty() || peer.asn.is_none()),
        },
        Rule {
            field: "spec.bgp.localASN",
            cel: "!has(self.bgp) || has(self.bgp.localASN) || !has(self.bgp.peers) || self.bgp.peers.all(peer, has(peer.localASN))",
            says: "the number of our own autonomous system stands here, or with every router",
            broken: |spec| any_peer(spec, |bgp, peer| bgp.local_asn.is_none() && peer.local_asn.is_none()),
        },
    ];
}

fn any_peer(spec: &AnnouncementSpec, is_wrong: impl Fn(&BgpAnnouncement, &BgpPeer) -> bool) -> Option<Place> {
    let bgp = spec.bgp.as_ref()?;
    bgp.peers.iter().any(|peer| is_wrong(bgp, peer)).then(Place::whole)
}
