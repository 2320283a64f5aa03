//! The validated picture of what should be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::settings::FrontSettings;
use super::{NodeAddresses, Route, RouteKey, Service, ServiceKey, StreamPort, Tls, Users};

/// What should be, as `translate` made it from the objects. A pure function of the objects and the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// Balanced ports. No two share a frontend that reaches the data plane.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Layer 7 routes; conflicts are resolved (the oldest Ingress wins).
    pub routes: BTreeMap<RouteKey, Route>,
    /// Users for the routes that ask for a password, by Secret; see [`super::filters::BasicAuth::users`].
    pub users: BTreeMap<String, Arc<Users>>,
    /// Certificates, and which host has which.
    pub tls: Tls,
    /// Ports that layer 4 leads to Services beside their own; sorted, each port and protocol once.
    pub streams: Vec<StreamPort>,
    /// Settings of the front as a whole.
    pub front: FrontSettings,
    /// Names that Services stand for, by namespace and name of the Service.
    pub externals: BTreeMap<(String, String), String>,
    /// Nodes by name, as far as they have addresses.
    pub nodes: BTreeMap<String, NodeAddresses>,
}

/// One line per service, frontend, backend and route: for `--dry-run`, for golden files, for people.
impl fmt::Display for DesiredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.services.values().try_for_each(|service| write!(f, "{service}"))?;
        self.routes.values().try_for_each(|route| writeln!(f, "{route}"))?;
        self.nodes.iter().try_for_each(|(name, node)| writeln!(f, "node {name} {node}"))?;
        write!(f, "{}", self.tls)?;
        self.streams.iter().try_for_each(|stream| writeln!(f, "{stream}"))?;
        self.front.changed().iter().try_for_each(|setting| writeln!(f, "setting {setting}"))
    }
}
