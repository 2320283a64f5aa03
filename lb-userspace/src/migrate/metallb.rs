//! MetalLB's kinds to ours. An IPAddressPool is an AddressPool; an L2Advertisement is an Announcement, and so is a
//! BGPAdvertisement with the BGPPeers, BFDProfiles and Communities that it uses, which stand in documents of their own there.
//! What has no equal here is told.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::source::yaml::{self, Node, Value};

mod peer;

pub(super) use peer::{BfdProfile, Peer};

/// The group of its kinds.
pub(super) const GROUP: &str = "metallb.io/";
/// The version of ours.
pub(super) const OURS: &str = "weir.io/v1alpha1";

/// Fields that are not known here.
type Others = BTreeMap<String, Json>;

/// What an advertisement needs to know of other documents.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Routers by name.
    peers: BTreeMap<String, Peer>,
    profiles: BTreeMap<String, BfdProfile>,
    /// Values of communities by name.
    communities: BTreeMap<String, String>,
    /// Names of L2Advertisements: one of BGP with the same name needs another.
    layer2: BTreeSet<String>,
    /// Whether there is an advertisement for all routers, and those that others name.
    advertised: (bool, BTreeSet<String>),
}

/// What became of a document.
pub(super) enum Outcome {
    /// Another document, and what is to be said.
    Rewritten(Node, Vec<String>),
    /// It is part of others now.
    Absorbed(Vec<String>),
    /// It is not ours to rewrite.
    Untouched,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PoolSpec {
    addresses: Json,
    auto_assign: Option<bool>,
    #[serde(rename = "avoidBuggyIPs")]
    avoid_buggy_ips: Option<bool>,
    service_allocation: Allocation,
    #[serde(flatten)]
    others: Others,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Allocation {
    priority: Option<i64>,
    namespaces: Json,
    namespace_selectors: Json,
    service_selectors: Json,
    #[serde(flatten)]
    others: Others,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Advertisement {
    ip_address_pools: Json,
    ip_address_pool_selectors: Json,
    node_selectors: Json,
    service_selectors: Json,
    // of L2Advertisement
    interfaces: Json,
    // of BGPAdvertisement
    aggregation_length: Json,
    aggregation_length_v6: Json,
    local_pref: Json,
    communities: Vec<String>,
    peers: Vec<String>,
    #[serde(flatten)]
    others: Others,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Communities {
    communities: Vec<Community>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Community {
    name: String,
    value: String,
}

impl Known {
    /// Looks at a document, or at those of a list.
    pub(super) fn learn(&mut self, node: &Node) {
        if let Some(Node { value: Value::Sequence(items), .. }) = node.get("items") {
            items.iter().for_each(|item| self.learn(item));
        }
        if !text(node, "apiVersion").starts_with(GROUP) {
            return;
        }
        let name = name(node);
        match text(node, "kind") {
            "BGPPeer" => drop(self.peers.insert(name, Peer::new(node))),
            "BFDProfile" => drop(self.profiles.insert(name, spec(node))),
            "Community" => {
                let Communities { communities } = spec(node);
                self.communities.extend(communities.into_iter().map(|one| (one.name, one.value)));
            }
            "L2Advertisement" => drop(self.layer2.insert(name)),
            "BGPAdvertisement" => {
                let advertisement: Advertisement = spec(node);
                self.advertised.0 |= advertisement.peers.is_empty();
                self.advertised.1.extend(advertisement.peers);
            }
            _ => {}
        }
    }

    /// Makes ours of one of its documents.
    pub(super) fn rewrite(&self, node: &Node) -> Outcome {
        let mut notes = Vec::new();
        let (kind, name, spec) = match text(node, "kind") {
            "IPAddressPool" => ("AddressPool", name(node), pool(spec(node), &mut notes)),
            "L2Advertisement" => ("Announcement", name(node), layer2(spec(node), &mut notes)),
            "BGPAdvertisement" => {
                let own = name(node);
                let name = if self.layer2.contains(&own) { format!("{own}-bgp") } else { own };
                ("Announcement", name, self.bgp(spec(node), &mut notes))
            }
            "BGPPeer" => {
                let name = name(node);
                if !self.advertised.0 && !self.advertised.1.contains(&name) {
                    notes.push("no BGPAdvertisement tells it anything: it is left out".to_owned());
                }
                return Outcome::Absorbed(notes);
            }
            "BFDProfile" | "Community" => return Outcome::Absorbed(notes),
            _ => return Outcome::Untouched,
        };
        let document = json!({"apiVersion": OURS, "kind": kind, "metadata": metadata(node, &name), "spec": spec});
        Outcome::Rewritten(in_order(&document), notes)
    }

    fn bgp(&self, spec: Advertisement, notes: &mut Vec<String>) -> Json {
        let named: Vec<_> = match spec.peers.is_empty() {
            true => self.peers.iter().collect(),
            false => spec.peers.iter().filter_map(|name| self.peers.get_key_value(name)).collect(),
        };
        for name in spec.peers.iter().filter(|name| !self.peers.contains_key(*name)) {
            notes.push(format!("there is no BGPPeer {name}"));
        }
        if named.is_empty() {
            notes.push("there is no BGPPeer for it: an Announcement needs one".to_owned());
        }
        let value = |text: &String| self.communities.get(text).unwrap_or(text).clone();
        let peers: Vec<_> = named.iter().map(|(name, peer)| peer.ours(name, &self.profiles, notes)).collect();
        let ids: BTreeSet<_> = named.iter().filter_map(|(_, peer)| peer.router_id()).collect();
        if ids.len() > 1 {
            notes.push("routerID: an Announcement has one; the BGPPeers have several".to_owned());
        }
        let graceful = named.iter().any(|(_, peer)| peer.restarts_gracefully());
        let mut bgp = Map::new();
        put(&mut bgp, "routerID", ids.first().map(|id| json!(id)));
        put(&mut bgp, "peers", Some(json!(peers)));
        put(&mut bgp, "communities", Some(json!(spec.communities.iter().map(value).collect::<Vec<_>>())));
        put(&mut bgp, "localPreference", Some(spec.local_pref.clone()));
        put(&mut bgp, "aggregationLength", Some(spec.aggregation_length.clone()));
        put(&mut bgp, "aggregationLengthV6", Some(spec.aggregation_length_v6.clone()));
        put(&mut bgp, "gracefulRestartSeconds", Some(json!(if graceful { 120 } else { 0 })));
        announcement(spec, "bgp", Json::Object(bgp), notes)
    }
}

fn pool(spec: PoolSpec, notes: &mut Vec<String>) -> Json {
    left_out("", &spec.others, notes);
    left_out("serviceAllocation.", &spec.service_allocation.others, notes);
    let allocation = spec.service_allocation;
    let mut ours = Map::new();
    put(&mut ours, "addresses", Some(spec.addresses));
    put(&mut ours, "autoAssign", spec.auto_assign.map(Json::Bool));
    put(&mut ours, "avoidBuggyIPs", spec.avoid_buggy_ips.map(Json::Bool));
    // 0 is the weakest there, and absent here.
    put(&mut ours, "priority", allocation.priority.filter(|priority| *priority > 0).map(|priority| json!(priority)));
    put(&mut ours, "namespaces", Some(allocation.namespaces));
    put(&mut ours, "namespaceSelectors", Some(allocation.namespace_selectors));
    put(&mut ours, "serviceSelectors", Some(allocation.service_selectors));
    Json::Object(ours)
}

fn layer2(spec: Advertisement, notes: &mut Vec<String>) -> Json {
    let mut layer2 = Map::new();
    put(&mut layer2, "interfaces", Some(spec.interfaces.clone()));
    announcement(spec, "l2", Json::Object(layer2), notes)
}

fn announcement(spec: Advertisement, way: &str, how: Json, notes: &mut Vec<String>) -> Json {
    left_out("", &spec.others, notes);
    let mut ours = Map::new();
    put(&mut ours, "pools", Some(spec.ip_address_pools));
    put(&mut ours, "poolSelectors", Some(spec.ip_address_pool_selectors));
    put(&mut ours, "serviceSelectors", Some(spec.service_selectors));
    put(&mut ours, "nodeSelectors", Some(spec.node_selectors));
    ours.insert(way.to_owned(), how);
    Json::Object(ours)
}

/// Adds a field, unless it says nothing.
fn put(fields: &mut Map<String, Json>, name: &str, value: Option<Json>) {
    let says_nothing = |value: &Json| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if let Some(value) = value.filter(|value| !says_nothing(value)) {
        fields.insert(name.to_owned(), value);
    }
}

fn left_out(before: &str, others: &Others, notes: &mut Vec<String>) {
    notes.extend(others.keys().map(|field| format!("{before}{field} has no equal here and is left out")));
}

/// Labels stay, since selectors choose by them; there is no namespace.
fn metadata(node: &Node, name: &str) -> Json {
    let mut metadata = json!({"name": name});
    for field in ["labels", "annotations"] {
        let kept = node.get("metadata").and_then(|old| old.get(field)).and_then(|old| old.read::<Json>().ok());
        if let Some(kept) = kept {
            metadata[field] = kept;
        }
    }
    metadata
}

/// As a document, its parts in the order that people write.
fn in_order(document: &Json) -> Node {
    let parsed = yaml::parse(&document.to_string()).ok().and_then(|mut parsed| parsed.pop());
    let mut node = parsed.unwrap_or(Node { line: 0, value: Value::Null });
    if let Value::Mapping(entries) = &mut node.value {
        let rank = |key: &str| ["apiVersion", "kind", "metadata", "spec"].iter().position(|name| *name == key);
        entries.sort_by_key(|(key, _)| rank(key));
    }
    node
}

/// Its `spec`; fields of wrong types are as if they were absent, which the API server would have refused.
fn spec<T: Default + for<'a> Deserialize<'a>>(node: &Node) -> T {
    node.get("spec").and_then(|spec| spec.read().ok()).unwrap_or_default()
}

fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(super::text_of).unwrap_or_default()
}

fn name(node: &Node) -> String {
    node.get("metadata").map(|metadata| text(metadata, "name")).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
