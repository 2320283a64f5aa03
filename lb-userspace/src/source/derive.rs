//! Endpoint slices for a directory, where no control plane makes them: from Endpoints, else from the Pods that a
//! Service selects. So everything behind the sources sees only slices.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::kinds::{
    Endpoint, EndpointAddress, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, EndpointSubset,
    Endpoints, HintFor, IntOrString, Metadata, ObjectReference, Pod, SERVICE_NAME_LABEL, Service, ServicePort, ZONE,
};
use super::{Body, Kind, Object, ObjectKey};

/// Makes slices for every Service that has none.
pub fn slices(objects: &BTreeMap<ObjectKey, Object>) -> Vec<Object> {
    let sliced = sliced_services(objects);
    let pods = PodIndex::new(objects);
    let services = objects.values().filter_map(|object| match &object.body {
        Body::Service(service) if !service.is_external_name() => Some(service),
        _ => None,
    });
    let zones = zones(objects);
    services
        .filter(|service| !sliced.contains(&(&service.metadata.namespace, &service.metadata.name)))
        .flat_map(|service| match endpoints_of(objects, service) {
            Some(endpoints) => from_endpoints(service, endpoints, &zones),
            None => from_pods(service, &pods, &zones),
        })
        .map(|slice| Object { body: Body::EndpointSlice(Arc::new(slice)), origin: None })
        .collect()
}

fn sliced_services(objects: &BTreeMap<ObjectKey, Object>) -> BTreeSet<(&String, &String)> {
    let slices = objects.values().filter_map(|object| match &object.body {
        Body::EndpointSlice(slice) => Some(&slice.metadata),
        _ => None,
    });
    slices.filter_map(|slice| Some((&slice.namespace, slice.labels.get(SERVICE_NAME_LABEL)?))).collect()
}

/// The zone of each node that is in one.
type Zones<'a> = HashMap<&'a str, &'a str>;

fn zones(objects: &BTreeMap<ObjectKey, Object>) -> Zones<'_> {
    let mut zones = Zones::new();
    for object in objects.values() {
        if let Body::Node(node) = &object.body
            && let Some(zone) = node.metadata.labels.get(ZONE)
        {
            zones.insert(&node.metadata.name, zone);
        }
    }
    zones
}

/// The hints that a control plane gives to an endpoint of a Service with `trafficDistribution`: its own node and zone.
fn hints(service: &Service, node: Option<&str>, zones: &Zones<'_>) -> EndpointHints {
    let distribution = service.spec.traffic_distribution.as_deref();
    let (by_node, by_zone) = match distribution {
        Some("PreferSameNode") => (true, true),
        Some("PreferSameZone" | "PreferClose") => (false, true),
        _ => (false, false),
    };
    let for_it = |name: Option<&str>| name.map(|name| HintFor { name: name.to_owned() }).into_iter().collect();
    EndpointHints {
        for_nodes: for_it(node.filter(|_| by_node)),
        for_zones: for_it(node.filter(|_| by_zone).and_then(|node| zones.get(node).copied())),
    }
}

fn endpoints_of<'a>(objects: &'a BTreeMap<ObjectKey, Object>, service: &Service) -> Option<&'a Endpoints> {
    let Metadata { namespace, name, .. } = service.metadata.clone();
    match &objects.get(&ObjectKey { kind: Kind::Endpoints, namespace, name })?.body {
        Body::Endpoints(endpoints) => Some(endpoints),
        _ => None,
    }
}

/// What makes two endpoints share a slice: address type and ports.
type Group = (&'static str, Vec<EndpointPort>);

fn from_endpoints(service: &Service, endpoints: &Endpoints, zones: &Zones<'_>) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for subset in &endpoints.subsets {
        let EndpointSubset { addresses, not_ready_addresses, ports } = subset;
        let ready = addresses.iter().map(|address| (address, true));
        let not_ready = not_ready_addresses.iter().map(|address| (address, false));
        for (address, is_ready) in ready.chain(not_ready) {
            let group = (address_type(&address.ip), ports.clone());
            groups.entry(group).or_default().push(Endpoint {
                hints: hints(service, address.node_name.as_deref(), zones),
                ..endpoint(address, is_ready)
            });
        }
    }
    named_slices(service, groups)
}

fn endpoint(address: &EndpointAddress, is_ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: EndpointConditions { ready: Some(is_ready), serving: Some(is_ready), terminating: None },
        target_ref: address.target_ref.clone(),
        node_name: address.node_name.clone(),
        ..Endpoint::default()
    }
}

fn from_pods(service: &Service, pods: &PodIndex<'_>, zones: &Zones<'_>) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for pod in pods.selected_by(service).filter(|pod| !pod.has_ended()) {
        let ports: Vec<_> = service.spec.ports.iter().filter_map(|port| pod_port(port, pod)).collect();
        if ports.is_empty() {
            continue;
        }
        for address in pod.addresses().filter(|address| is_wanted(service, pod, address)) {
            let hints = hints(service, pod.spec.node_name.as_deref(), zones);
            let endpoint = Endpoint { hints, ..pod_endpoint(service, pod, address) };
            groups.entry((address_type(address), ports.clone())).or_default().push(endpoint);
        }
    }
    named_slices(service, groups)
}

/// As a control plane gives a Service one stack unless it asks for two: the first address of a pod is of the cluster's
/// first family, another counts where the Service names its family, by policy, by name or by an address.
fn is_wanted(service: &Service, pod: &Pod, address: &str) -> bool {
    let family = address_type(address);
    let is_first = pod.addresses().next().is_some_and(|first| address_type(first) == family);
    let mut written = service.cluster_addresses().chain(service.outer_addresses());
    is_first
        || service.spec.ip_families.iter().any(|name| name == family)
        || matches!(service.spec.ip_family_policy.as_deref(), Some("PreferDualStack" | "RequireDualStack"))
        || written.any(|vip| vip.parse::<IpAddr>().is_ok() && address_type(vip) == family)
}

/// The port of a Service on one pod; pods may give the same port name different numbers.
fn pod_port(port: &ServicePort, pod: &Pod) -> Option<EndpointPort> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match port.target() {
        None => port.port?,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::Name(name)) => pod.named_port(name, protocol)?,
    };
    Some(EndpointPort { name: port.name.clone(), port: Some(number), protocol: Some(protocol.to_owned()) })
}

fn pod_endpoint(service: &Service, pod: &Pod, address: &str) -> Endpoint {
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = pod.is_ready();
    let ready = service.spec.publish_not_ready_addresses || (serving && !terminating);
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: EndpointConditions { ready: Some(ready), serving: Some(serving), terminating: Some(terminating) },
        target_ref: Some(ObjectReference {
            kind: "Pod".to_owned(),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
        }),
        node_name: pod.spec.node_name.clone(),
        ..Endpoint::default()
    }
}

fn address_type(address: &str) -> &'static str {
    match address.parse() {
        Ok(IpAddr::V6(_)) => "IPv6",
        _ => "IPv4",
    }
}

fn named_slices(service: &Service, groups: BTreeMap<Group, Vec<Endpoint>>) -> Vec<EndpointSlice> {
    let Metadata { namespace, name, .. } = &service.metadata;
    let slice = |(index, ((address_type, ports), endpoints)): (usize, (Group, Vec<Endpoint>))| EndpointSlice {
        metadata: Metadata {
            name: format!("{name}.derived-{index}"),
            namespace: namespace.clone(),
            labels: BTreeMap::from([(SERVICE_NAME_LABEL.to_owned(), name.clone())]),
            ..Metadata::default()
        },
        address_type: address_type.to_owned(),
        endpoints,
        ports,
        derived: true,
    };
    groups.into_iter().enumerate().map(slice).collect()
}

/// Pods by each of their labels, so that a Service does not look at every pod.
struct PodIndex<'a>(HashMap<(&'a str, &'a str, &'a str), Vec<&'a Pod>>);

impl<'a> PodIndex<'a> {
    fn new(objects: &'a BTreeMap<ObjectKey, Object>) -> Self {
        let mut index: HashMap<_, Vec<&Pod>> = HashMap::new();
        for object in objects.values() {
            let Body::Pod(pod) = &object.body else { continue };
            for (label, value) in &pod.metadata.labels {
                index.entry((&*pod.metadata.namespace, &**label, &**value)).or_default().push(pod);
            }
        }
        PodIndex(index)
    }

    fn labelled<'s>(&'s self, namespace: &'s str, label: &'s str, value: &'s str) -> &'s [&'a Pod] {
        self.0.get(&(namespace, label, value)).map_or(&[][..], Vec::as_slice)
    }

    fn selected_by<'s>(&'s self, service: &'s Service) -> impl Iterator<Item = &'a Pod> + 's {
        let selector = &service.spec.selector;
        let labelled = selector.iter().map(|(label, value)| self.labelled(&service.metadata.namespace, label, value));
        let rarest = labelled.min_by_key(|pods| pods.len()).unwrap_or_default();
        let selected =
            move |pod: &&'a Pod| selector.iter().all(|(label, value)| pod.metadata.labels.get(label) == Some(value));
        rarest.iter().copied().filter(selected)
    }
}
