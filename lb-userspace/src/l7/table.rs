//! The route table of the front: what the agent compiles and the process `weir front` serves from.
//!
//! Plain data that travels over the control socket. None of these types mentions the data plane.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use crate::model::filters::Filters;
use crate::model::route::Rewrite;
use crate::model::settings::FrontSettings;
use crate::model::{PathMatch, StreamProxy, Tls, Users};

/// All of layer 7 that the front needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Routes of each host, in the order in which they are tried. Keys: a lower-case host, `*.suffix` (exactly one label
    /// more), or `*` for every host that has no entry of its own.
    pub hosts: BTreeMap<String, Arc<[RouteEntry]>>,
    /// Endpoints of each upstream that a route names; the key is `namespace/service:port`.
    pub upstreams: BTreeMap<String, Arc<[SocketAddr]>>,
    /// Shares of the endpoints of an upstream, in their order, where they are not all the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, Arc<[u16]>>,
    /// Names that upstreams stand for, instead of endpoints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external: BTreeMap<String, External>,
    /// Where requests go that no route wants; without one the front answers 404 itself.
    pub default: Option<RouteEntry>,
    /// Ports at which connections are not HTTP.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<u16, Stream>,
    /// Users that routes ask passwords of; the key is [`crate::model::filters::BasicAuth::users`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, Arc<Users>>,
    /// Certificates, and which host has which.
    #[serde(default)]
    pub tls: Tls,
    /// Settings of the front as a whole.
    #[serde(default, skip_serializing_if = "are_usual")]
    pub settings: Arc<FrontSettings>,
}

/// No ConfigMap says otherwise.
fn are_usual(settings: &Arc<FrontSettings>) -> bool {
    **settings == FrontSettings::default()
}

/// A name outside of the cluster, and the port there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// The name.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A port whose connections go to an upstream as they are, but for the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// Key in [`RouteTable::upstreams`].
    pub upstream: String,
    /// Where that is spoken.
    pub proxy: StreamProxy,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteEntry {
    /// Which paths it matches.
    pub path: PathMatch,
    /// `namespace/name` of the Ingress.
    pub ingress: String,
    /// `namespace/name` of the Service as the Ingress names it.
    pub service: String,
    /// The port as the Ingress names it.
    pub service_port: String,
    /// Key in [`RouteTable::upstreams`]; `None` if Service or port do not exist: the answer is 503.
    pub upstream: Option<String>,
    /// How the path changes.
    pub rewrite: Option<Rewrite>,
    /// What else the Ingress asks for.
    #[serde(default = "nothing", skip_serializing_if = "asks_for_nothing")]
    pub filters: Arc<Filters>,
    /// What is wrong with the route, in a few words.
    pub problem: Option<String>,
}

/// What most entries have is one instance.
fn nothing() -> Arc<Filters> {
    static NOTHING: LazyLock<Arc<Filters>> = LazyLock::new(Arc::default);
    Arc::clone(&NOTHING)
}

/// Most Ingresses: nothing need travel.
fn asks_for_nothing(filters: &Arc<Filters>) -> bool {
    **filters == Filters::default()
}
