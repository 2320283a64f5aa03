//! What manifests mean: checked, but without what only the running node knows (its name and addresses).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::flag::{self, Flags};
use crate::cli::ManifestArgs;
use crate::model::Forwarding;
use crate::translate;

/// A namespace and a name.
type ObjectName = (String, String);

/// Settings for `translate` that come from flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifests {
    /// Name of this node; `None`: the host name.
    pub node_name: Option<String>,
    /// Addresses of the pods of this node.
    pub pod_cidrs: Vec<IpNet>,
    /// Labels of the front.
    pub front_labels: Vec<(String, String)>,
    /// Port of the front for HTTP; 0: off.
    pub http_port: u16,
    /// Port of the front for HTTPS; 0: off.
    pub https_port: u16,
    /// HTTP/3 is spoken at that port.
    pub http3: bool,
    /// Gets the requests that no Ingress wants.
    pub default_backend_service: Option<ObjectName>,
    /// Holds the certificate for hosts that have none.
    pub default_ssl_certificate: Option<ObjectName>,
    /// Settings of the front.
    pub configmap: Option<ObjectName>,
    /// Exposes TCP services.
    pub tcp_services_configmap: Option<ObjectName>,
    /// Exposes UDP services.
    pub udp_services_configmap: Option<ObjectName>,
    /// Only Ingresses of this class.
    pub ingress_class: Option<String>,
    /// Ingresses without a class too.
    pub watch_ingress_without_class: bool,
    /// How packets reach other nodes, where a Service says nothing.
    pub forwarding: Forwarding,
    /// The class of Services whose address is ours to give.
    pub load_balancer_class: String,
    /// Services may use external IPs only out of pools that are for them.
    pub external_ips_from_pools: bool,
}

impl Manifests {
    pub(super) fn read(flags: &mut Flags, args: &ManifestArgs) -> Self {
        let manifests = Self {
            node_name: optional(flags, "--node-name", args.node_name.as_deref(), name),
            pod_cidrs: flags.each("--pod-cidr", &args.pod_cidr, flag::network),
            front_labels: flags.each("--front-label", &args.front_label, flag::label),
            http_port: flags.one("--http-port", &args.http_port, flag::port_or_off).unwrap_or_default(),
            https_port: flags.one("--https-port", &args.https_port, flag::port_or_off).unwrap_or_default(),
            http3: args.http3,
            default_backend_service: object(
                flags,
                "--default-backend-service",
                args.default_backend_service.as_deref(),
            ),
            default_ssl_certificate: object(
                flags,
                "--default-ssl-certificate",
                args.default_ssl_certificate.as_deref(),
            ),
            configmap: object(flags, "--configmap", args.configmap.as_deref()),
            tcp_services_configmap: object(flags, "--tcp-services-configmap", args.tcp_services_configmap.as_deref()),
            udp_services_configmap: object(flags, "--udp-services-configmap", args.udp_services_configmap.as_deref()),
            ingress_class: optional(flags, "--ingress-class", args.ingress_class.as_deref(), name),
            watch_ingress_without_class: args.watch_ingress_without_class,
            forwarding: flags.one("--forwarding", &args.forwarding, flag::parsed).unwrap_or_default(),
            load_balancer_class: flags
                .one("--load-balancer-class", &args.load_balancer_class, class)
                .unwrap_or_default(),
            external_ips_from_pools: args.external_ips_from_pools,
        };
        if manifests.http_port != 0 && manifests.http_port == manifests.https_port {
            flags.mistake("--https-port", &args.https_port, "another port than --http-port");
        }
        if args.http3 && !cfg!(feature = "http3") {
            flags.mistake("--http3", "", "a weir that was built with the feature http3");
        }
        if args.http3 && manifests.https_port == 0 {
            flags.mistake("--http3", "", "a port for HTTPS");
        }
        manifests
    }
}

impl Manifests {
    /// Settings for `translate` on a node of this name and with these addresses; `None` for a check without a node.
    pub fn settings(&self, node_name: Option<&str>, node_ips: &[IpAddr]) -> translate::Settings {
        translate::Settings {
            node_name: self.node_name.as_deref().or(node_name).unwrap_or_default().to_owned(),
            node_ips: node_ips.to_vec(),
            pod_cidrs: self.pod_cidrs.clone(),
            front_labels: self.front_labels.clone(),
            http_port: self.http_port,
            https_port: self.https_port,
            http3: self.http3,
            default_backend_service: self.default_backend_service.clone(),
            default_ssl_certificate: self.default_ssl_certificate.clone(),
            configmap: self.configmap.clone(),
            tcp_services_configmap: self.tcp_services_configmap.clone(),
            udp_services_configmap: self.udp_services_configmap.clone(),
            ingress_class: self.ingress_class.clone(),
            watch_ingress_without_class: self.watch_ingress_without_class,
            forwarding: self.forwarding,
            load_balancer_class: self.load_balancer_class.clone(),
            external_ips_from_pools: self.external_ips_from_pools,
            pools: Arc::default(),
        }
    }
}

fn optional<T>(
    flags: &mut Flags,
    flag: &'static str,
    text: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    text.and_then(|text| flags.one(flag, text, read))
}

fn object(flags: &mut Flags, flag: &'static str, text: Option<&str>) -> Option<ObjectName> {
    optional(flags, flag, text, flag::object_name)
}

/// A name with or without a domain before it, as `spec.loadBalancerClass` has it.
fn class(text: &str) -> Result<String, String> {
    let good = |part: &str| flag::is_name(&part.to_ascii_lowercase());
    let (domain, name) = text.split_once('/').unwrap_or(("x", text));
    if good(domain) && good(name) {
        Ok(text.to_owned())
    } else {
        Err("a class, such as weir.io/load-balancer".to_owned())
    }
}

fn name(text: &str) -> Result<String, String> {
    if flag::is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a name of lower-case letters, digits, '-' and '.', as Kubernetes takes it".to_owned())
    }
}
