//! BGPPeer and BFDProfile.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{Others, left_out, put, spec};
use crate::source::yaml::Node;

/// A router.
#[derive(Debug, Default)]
pub(in crate::migrate) struct Peer {
    namespace: String,
    spec: PeerSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PeerSpec {
    #[serde(rename = "myASN")]
    my_asn: Json,
    #[serde(rename = "peerASN")]
    peer_asn: Json,
    peer_address: Json,
    peer_port: Json,
    source_address: Json,
    hold_time: Option<String>,
    keepalive_time: Option<String>,
    connect_time: Option<String>,
    #[serde(rename = "routerID")]
    router_id: Option<String>,
    node_selectors: Json,
    password: Option<String>,
    password_secret: SecretName,
    bfd_profile: Option<String>,
    enable_graceful_restart: bool,
    ebgp_multi_hop: Option<bool>,
    #[serde(flatten)]
    others: Others,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SecretName {
    name: Option<String>,
    namespace: Option<String>,
}

/// How fast failures are found.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::migrate) struct BfdProfile {
    receive_interval: Json,
    transmit_interval: Json,
    detect_multiplier: Json,
    passive_mode: Json,
    #[serde(flatten)]
    others: Others,
}

impl Peer {
    /// From its document.
    pub(super) fn new(node: &Node) -> Self {
        let namespace = node.get("metadata").map(|metadata| super::text(metadata, "namespace")).unwrap_or_default();
        Peer { namespace: namespace.to_owned(), spec: spec(node) }
    }

    pub(super) fn router_id(&self) -> Option<&str> {
        self.spec.router_id.as_deref().filter(|id| !id.is_empty())
    }

    pub(super) fn restarts_gracefully(&self) -> bool {
        self.spec.enable_graceful_restart
    }

    /// As an Announcement has it.
    pub(super) fn ours(&self, name: &str, profiles: &BTreeMap<String, BfdProfile>, notes: &mut Vec<String>) -> Json {
        let peer = &self.spec;
        left_out(&format!("BGPPeer {name}: "), &peer.others, notes);
        if peer.password.as_ref().is_some_and(|password| !password.is_empty()) {
            notes.push(format!("BGPPeer {name}: password: put it into a Secret and name that in passwordSecret"));
        }
        let mut ours = Map::new();
        put(&mut ours, "address", Some(peer.peer_address.clone()));
        put(&mut ours, "asn", Some(peer.peer_asn.clone()));
        put(&mut ours, "port", Some(peer.peer_port.clone()).filter(|port| *port != json!(0)));
        put(&mut ours, "localASN", Some(peer.my_asn.clone()));
        put(&mut ours, "sourceAddress", Some(peer.source_address.clone()).filter(|address| *address != json!("")));
        put(&mut ours, "passwordSecret", self.secret());
        for (field, theirs, time) in [
            ("holdTimeSeconds", "holdTime", &peer.hold_time),
            ("keepaliveTimeSeconds", "keepaliveTime", &peer.keepalive_time),
            ("connectTimeSeconds", "connectTime", &peer.connect_time),
        ] {
            let Some(time) = time else { continue };
            let seconds = seconds(time);
            if seconds.is_none() {
                notes.push(format!("BGPPeer {name}: {theirs}: {time} is no whole number of seconds and is left out"));
            }
            put(&mut ours, field, seconds.map(|seconds| json!(seconds)));
        }
        put(&mut ours, "multihop", peer.ebgp_multi_hop.map(Json::Bool));
        if let Some(profile) = peer.bfd_profile.as_ref().filter(|profile| !profile.is_empty()) {
            match profiles.get(profile) {
                Some(found) => put(&mut ours, "bfd", Some(found.ours(profile, notes))),
                None => notes.push(format!("BGPPeer {name}: there is no BFDProfile {profile}")),
            }
        }
        put(&mut ours, "nodeSelectors", Some(peer.node_selectors.clone()));
        Json::Object(ours)
    }

    /// Without a namespace, a Secret is in that of the BGPPeer.
    fn secret(&self) -> Option<Json> {
        let SecretName { name, namespace } = &self.spec.password_secret;
        let name = name.as_ref().filter(|name| !name.is_empty())?;
        let namespace = namespace.as_ref().filter(|namespace| !namespace.is_empty()).unwrap_or(&self.namespace);
        Some(json!({"namespace": namespace, "name": name}))
    }
}

impl BfdProfile {
    fn ours(&self, name: &str, notes: &mut Vec<String>) -> Json {
        left_out(&format!("BFDProfile {name}: "), &self.others, notes);
        let mut ours = Map::new();
        put(&mut ours, "receiveIntervalMilliseconds", Some(self.receive_interval.clone()));
        put(&mut ours, "transmitIntervalMilliseconds", Some(self.transmit_interval.clone()));
        put(&mut ours, "detectMultiplier", Some(self.detect_multiplier.clone()));
        put(&mut ours, "passive", Some(self.passive_mode.clone()));
        Json::Object(ours)
    }
}

/// A duration as Go writes it, such as `1m30s`, if it is a whole number of seconds.
fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let behind = &rest[digits..];
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let each = match &behind[..letters] {
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(each)?)?;
        rest = &behind[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn durations() {
        let table = [("90s", Some(90)), ("1m30s", Some(90)), ("1h", Some(3600)), ("0s", Some(0)), ("500ms", None)];
        for (text, expected) in table.into_iter().chain([("", None), ("s", None), ("1.5s", None), ("90", None)]) {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
