//! Service (v1).
#![allow(missing_docs, reason = "fields of the Kubernetes API")]

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{IntOrString, Metadata};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Service {
    pub metadata: Metadata,
    pub spec: ServiceSpec,
    pub status: ServiceStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    #[serde(rename = "type")]
    pub service_type: Option<String>,
    pub ports: Vec<ServicePort>,
    pub selector: BTreeMap<String, String>,
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: Option<String>,
    pub load_balancer_source_ranges: Vec<String>,
    pub allocate_load_balancer_node_ports: Option<bool>,
    pub external_traffic_policy: Option<String>,
    pub internal_traffic_policy: Option<String>,
    pub health_check_node_port: Option<i64>,
    pub session_affinity: Option<String>,
    pub session_affinity_config: SessionAffinityConfig,
    pub load_balancer_class: Option<String>,
    pub traffic_distribution: Option<String>,
    pub ip_families: Vec<String>,
    pub external_name: Option<String>,
    pub ip_family_policy: Option<String>,
    pub publish_not_ready_addresses: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionAffinityConfig {
    #[serde(rename = "clientIP")]
    pub client_ip: ClientIpConfig,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientIpConfig {
    pub timeout_seconds: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    pub name: Option<String>,
    pub port: Option<i64>,
    pub protocol: Option<String>,
    pub target_port: Option<IntOrString>,
    pub node_port: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    pub load_balancer: LoadBalancerStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LoadBalancerStatus {
    pub ingress: Vec<LoadBalancerIngress>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LoadBalancerIngress {
    pub ip: Option<String>,
    pub hostname: Option<String>,
    /// `Proxy`: packets to the address go through an outer balancer, so nodes do not answer for it.
    pub ip_mode: Option<String>,
}

impl ServicePort {
    /// The port on the pods, if it is another than the port itself: 0 and "" count as absent, as they do for the API.
    pub fn target(&self) -> Option<&IntOrString> {
        let absent = |target: &IntOrString| match target {
            IntOrString::Int(number) => *number == 0,
            IntOrString::Name(name) => name.is_empty(),
        };
        self.target_port.as_ref().filter(|target| !absent(target))
    }
}

impl Service {
    /// Neither balanced at layer 4 nor given endpoints: a DNS alias.
    pub fn is_external_name(&self) -> bool {
        self.spec.service_type.as_deref() == Some("ExternalName")
    }

    /// Its addresses inside of the cluster; `clusterIPs` repeats `clusterIP`.
    pub fn cluster_addresses(&self) -> impl Iterator<Item = &str> {
        let single = self.spec.cluster_ip.iter().filter(|_| self.spec.cluster_ips.is_empty());
        let written = self.spec.cluster_ips.iter().chain(single).map(String::as_str);
        written.filter(|ip| !ip.is_empty() && *ip != "None")
    }

    /// Its addresses outside of the cluster: external ones, and those of load balancers, given or asked for.
    pub fn outer_addresses(&self) -> impl Iterator<Item = &str> {
        let given = self.status.load_balancer.ingress.iter().filter_map(|ingress| ingress.ip.as_ref());
        let written = self.spec.external_ips.iter().chain(given).chain(&self.spec.load_balancer_ip);
        written.map(String::as_str)
    }

    /// `clusterIP: None`: clients find the pods by DNS.
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None") || self.spec.cluster_ips.iter().any(|ip| ip == "None")
    }
}
