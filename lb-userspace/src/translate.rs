//! Objects to what should be: pure, one function per Service and per Ingress. Only what concerns several objects at once
//! (node ports, frontends and routes that two objects want) is settled globally, in an order that does not depend on
//! that of the input.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::{DesiredState, Forwarding, Problem, ServiceKey, problem};
use crate::pools::Pools;
use crate::source::Objects;
use crate::source::kinds::Metadata;

mod address;
mod amend;
mod backends;
mod choice;
pub mod configmap;
mod conflicts;
mod external;
mod families;
mod forwarding;
mod front;
mod frontends;
mod health_checks;
mod host_ports;
mod ingress;
mod locate;
mod node_ports;
mod own_kinds;
mod policy;
mod port;
mod sctp;
mod service;
mod source_ranges;
mod statuses;
mod tally;
mod topology;
mod translation;
mod weights;

pub(crate) use frontends::is_of_our_class;
pub use locate::locate;
pub use node_ports::moved_node_ports;
pub(crate) use service::is_of_other_proxy;
pub use statuses::{Address, EXCLUDED, StatusWish, Statuses};
pub use translation::Translation;

use ingress::backend::Lookup;
use ingress::{Layer7, Told};
use translation::Usual;

/// Our `loadBalancerClass`, unless a flag says another.
pub const LOAD_BALANCER_CLASS: &str = "weir.io/load-balancer";

/// The settings that the translation depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of this node.
    pub node_name: String,
    /// Addresses of this node.
    pub node_ips: Vec<IpAddr>,
    /// Where this node's pods live; empty: as its Node object says.
    pub pod_cidrs: Vec<IpNet>,
    /// Labels that a Service selects to mean the node's own front.
    pub front_labels: Vec<(String, String)>,
    /// HTTP port of the front; 0: none.
    pub http_port: u16,
    /// HTTPS port of the front; 0: none.
    pub https_port: u16,
    /// HTTP/3 is spoken at the same port.
    pub http3: bool,
    /// Namespace and name of the Service for requests that no Ingress wants.
    pub default_backend_service: Option<(String, String)>,
    /// Namespace and name of the Secret with the certificate for hosts that have none.
    pub default_ssl_certificate: Option<(String, String)>,
    /// Namespace and name of the ConfigMap with the settings of the front.
    pub configmap: Option<(String, String)>,
    /// Namespace and name of the ConfigMap that maps TCP ports of the front to Services.
    pub tcp_services_configmap: Option<(String, String)>,
    /// The same for UDP.
    pub udp_services_configmap: Option<(String, String)>,
    /// The class of Ingresses that are served; `None`: `weir`, and those without a class.
    pub ingress_class: Option<String>,
    /// With a class given: Ingresses without one are served too.
    pub watch_ingress_without_class: bool,
    /// How packets reach other nodes, where a Service says nothing.
    pub forwarding: Forwarding,
    /// The `loadBalancerClass` of Services whose address is ours to give, as are those without one.
    pub load_balancer_class: String,
    /// Services may use external IPs only out of pools that are for them.
    pub external_ips_from_pools: bool,
    /// The pools among the objects ([`crate::pools::Giver`]). Where there are some, a Service has the addresses in its status
    /// and no others.
    pub pools: Arc<Pools>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            node_name: String::new(),
            node_ips: Vec::new(),
            pod_cidrs: Vec::new(),
            front_labels: vec![("app.kubernetes.io/name".to_owned(), "weir".to_owned())],
            http_port: 80,
            https_port: 443,
            http3: false,
            default_backend_service: None,
            default_ssl_certificate: None,
            configmap: None,
            tcp_services_configmap: None,
            udp_services_configmap: None,
            ingress_class: None,
            watch_ingress_without_class: false,
            forwarding: Forwarding::default(),
            load_balancer_class: LOAD_BALANCER_CLASS.to_owned(),
            external_ips_from_pools: false,
            pools: Arc::default(),
        }
    }
}

/// Translates everything. The same objects and settings give the same result, in whatever order the objects came.
pub fn translate(objects: &Objects, settings: &Settings) -> (DesiredState, Vec<Problem>) {
    let mut problems = Vec::new();
    let locality = backends::Locality::new(objects, settings, &mut problems);
    let usual = Usual::read(objects, settings);
    let (desired, _) = translate_all(objects, settings, &locality, &usual, &mut problems);
    finish(objects, &mut problems);
    (desired, problems)
}

/// Everything, but for what the Problems still lack; and who gave rise to those of layer 7.
fn translate_all(
    objects: &Objects,
    settings: &Settings,
    locality: &backends::Locality,
    usual: &Usual,
    problems: &mut Vec<Problem>,
) -> (DesiredState, Told) {
    let mut drafts = translate_services(objects, settings, locality, problems);
    node_ports::assign(&mut drafts, settings, problems);
    conflicts::between_frontends(&mut drafts, problems);
    let mut services: Services = drafts.into_iter().map(|draft| (draft.service.key.clone(), draft.service)).collect();
    let nodes = forwarding::nodes(objects, settings, problems);
    services.values().for_each(|service| forwarding::check(service, &nodes, problems));
    problems.extend(usual.problems.iter().cloned());
    let lookup = Lookup { objects, services: &services };
    let Layer7 { routes, users, tls, told } =
        ingress::translate_all(objects.ingresses(), &lookup, settings, &usual.read);
    problems.extend(told.0.values().flatten().cloned());
    let streams = configmap::streams(objects, settings, &services, problems);
    // no Ingress names them
    let host_ports = host_ports::services(objects, locality, problems);
    services.extend(host_ports.into_iter().map(|service| (service.key.clone(), service)));
    own_kinds::check(objects, problems);
    let externals = external::names(objects);
    let front = usual.read.front.clone();
    (DesiredState { services, routes, users, tls, streams, front, externals, nodes }, told)
}

/// Adds the Problems of the input, and where each lies.
fn finish(objects: &Objects, problems: &mut Vec<Problem>) {
    locate(objects, problems);
    problems.extend(objects.problems());
    problem::sort(problems);
}

fn translate_services(
    objects: &Objects,
    settings: &Settings,
    locality: &backends::Locality,
    problems: &mut Vec<Problem>,
) -> Vec<service::Draft> {
    let translated = objects.services().flat_map(|object| {
        let slices: Vec<_> = objects.slices_of(&object.metadata.namespace, &object.metadata.name).collect();
        let mut own = Vec::new();
        let drafts = service::translate(object, &slices, locality, settings, &mut own);
        problems.extend(own);
        drafts
    });
    translated.collect()
}

/// Who is older, where two objects want the same: by creation, then by name. Objects without a time stamp, as people
/// write them, come last.
pub(crate) type Seniority = (bool, Option<String>, String, String);

pub(crate) fn seniority(metadata: &Metadata) -> Seniority {
    let created = metadata.creation_timestamp.clone();
    (created.is_none(), created, metadata.namespace.clone(), metadata.name.clone())
}

/// The balanced ports, as routes look them up.
type Services = BTreeMap<ServiceKey, crate::model::Service>;

#[cfg(test)]
pub(crate) mod tests;
