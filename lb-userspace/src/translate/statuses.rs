//! What `status.loadBalancer` of Services and Ingresses should say, where it says something else: pure, but for the memory
//! of what was ours before, so that an object that no longer is gets its status taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Settings;
use super::front::selects_front;
use super::frontends::is_of_our_class;
use super::ingress::Classes;
use super::service::is_of_other_proxy;
use crate::pools;
use crate::source::kinds::{LoadBalancerIngress, Node, Service};
use crate::source::{Kind, ObjectKey, Objects};

/// A status that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusWish {
    /// A Service or an Ingress.
    pub key: ObjectKey,
    /// What `status.loadBalancer.ingress` should hold.
    pub ingress: Vec<Address>,
}

/// An address as `status.loadBalancer.ingress` has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// `ip`.
    Ip(String),
    /// `hostname`.
    Hostname(String),
}

/// What was ours in the last pass.
#[derive(Debug, Default)]
pub struct Statuses {
    ingresses: BTreeSet<ObjectKey>,
    /// Services, and the addresses that each asked for, where there was no pool.
    asked: BTreeMap<ObjectKey, Vec<Address>>,
}

/// Services, and the addresses that pools gave them, the preferred family first.
type Given = BTreeMap<ObjectKey, Vec<IpAddr>>;

/// A node is not to take traffic from outside.
pub const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

impl Statuses {
    /// Every status that should be another, where pools have given these addresses. Called with every pass.
    pub fn wishes(&mut self, objects: &Objects, settings: &Settings, given: &Given) -> Vec<StatusWish> {
        let mut wishes = match settings.pools.is_empty() {
            true => self.of_services(objects, settings),
            false => given.iter().filter_map(|(key, given)| of_given(objects, key, given)).collect(),
        };
        wishes.extend(self.of_ingresses(objects, settings));
        wishes
    }

    /// Without pools, a Service of type LoadBalancer is told the addresses that it asked for; one that somebody else gave stays.
    fn of_services(&mut self, objects: &Objects, settings: &Settings) -> Vec<StatusWish> {
        let before = std::mem::take(&mut self.asked);
        let mut wishes = Vec::new();
        for service in objects.services().filter(|service| is_ours(service, settings)) {
            let metadata = &service.metadata;
            let key = key(Kind::Service, &metadata.namespace, &metadata.name);
            let (_, asked) = pools::asked_addresses(service).unwrap_or_default();
            let asked = asked.into_iter().filter(|ip| ip.parse::<IpAddr>().is_ok());
            let wanted: BTreeSet<_> = asked.map(|ip| Address::Ip(ip.to_owned())).collect();
            let wanted: Vec<_> = wanted.into_iter().collect();
            let has = addresses(&service.status.load_balancer.ingress);
            let was_ours = before.get(&key).is_some_and(|asked| has == *asked);
            if has != wanted && (has.is_empty() || was_ours) {
                wishes.push(StatusWish { key: key.clone(), ingress: wanted.clone() });
            }
            // Until the status has followed, what it holds is that of before.
            let standing = before.get(&key).filter(|_| was_ours).cloned().unwrap_or(wanted);
            if !standing.is_empty() {
                self.asked.insert(key, standing);
            }
        }
        wishes
    }

    fn of_ingresses(&mut self, objects: &Objects, settings: &Settings) -> Vec<StatusWish> {
        let classes = Classes::new(objects, settings);
        let front = front(objects, settings);
        let before = std::mem::take(&mut self.ingresses);
        let mut wishes = Vec::new();
        for ingress in objects.ingresses() {
            let key = key(Kind::Ingress, &ingress.metadata.namespace, &ingress.metadata.name);
            let is_ours = classes.serve(ingress, &mut Vec::new());
            let has = addresses(&ingress.status.load_balancer.ingress);
            if is_ours && !front.is_empty() && has != front {
                wishes.push(StatusWish { key: key.clone(), ingress: front.clone() });
            }
            let stands = !is_ours && before.contains(&key) && !has.is_empty();
            if stands {
                wishes.push(StatusWish { key: key.clone(), ingress: Vec::new() });
            }
            if is_ours || stands {
                self.ingresses.insert(key);
            }
        }
        wishes
    }
}

fn of_given(objects: &Objects, key: &ObjectKey, given: &[IpAddr]) -> Option<StatusWish> {
    let service = objects.service(&key.namespace, &key.name)?;
    let wanted: Vec<_> = given.iter().map(|ip| Address::Ip(ip.to_string())).collect();
    let has: BTreeSet<_> = addresses(&service.status.load_balancer.ingress).into_iter().collect();
    let differs = has != wanted.iter().cloned().collect();
    differs.then(|| StatusWish { key: key.clone(), ingress: wanted })
}

/// Where clients reach the front: at the addresses of the Services that select it, else at those of the nodes.
fn front(objects: &Objects, settings: &Settings) -> Vec<Address> {
    let published: BTreeSet<_> = objects
        .services()
        .filter(|service| selects_front(service, settings))
        .flat_map(|service| {
            let given = addresses(&service.status.load_balancer.ingress);
            let external = service.spec.external_ips.iter().chain(service.spec.load_balancer_ip.iter());
            given.into_iter().chain(external.map(|ip| Address::Ip(ip.clone()))).collect::<Vec<_>>()
        })
        .collect();
    if !published.is_empty() {
        return published.into_iter().collect();
    }
    let nodes = objects.nodes().filter(|node| !node.metadata.labels.contains_key(EXCLUDED));
    let of_nodes: BTreeSet<_> = nodes.flat_map(|node| of_node(node)).collect();
    of_nodes.into_iter().collect()
}

/// Its external addresses, or, without one, its internal ones.
fn of_node(node: &Node) -> Vec<Address> {
    let of_type = |wanted: &'static str| {
        let addresses = node.status.addresses.iter().filter(move |address| address.address_type == wanted);
        addresses.map(|address| Address::Ip(address.address.clone())).collect::<Vec<_>>()
    };
    let external = of_type("ExternalIP");
    if external.is_empty() { of_type("InternalIP") } else { external }
}

/// What has another class gets its address from another controller, and what has another proxy is none of our business.
fn is_ours(service: &Service, settings: &Settings) -> bool {
    let balanced = service.spec.service_type.as_deref() == Some("LoadBalancer");
    balanced && is_of_our_class(service, settings) && !is_of_other_proxy(service)
}

fn key(kind: Kind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// In one order, so that the order in the object does not count.
fn addresses(written: &[LoadBalancerIngress]) -> Vec<Address> {
    let ips = written.iter().filter_map(|ingress| ingress.ip.clone().map(Address::Ip));
    let names = written.iter().filter_map(|ingress| ingress.hostname.clone().map(Address::Hostname));
    ips.chain(names).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::source::{SourceEvent, parse};

    fn objects(yaml: &str) -> Objects {
        let parsed = parse::parse(&Arc::from(Path::new("x.yaml")), yaml.as_bytes());
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        let mut objects = Objects::new(1);
        parsed.objects.into_iter().for_each(|object| objects.handle(0, SourceEvent::Apply(object)));
        objects
    }

    fn wishes(statuses: &mut Statuses, yaml: &str) -> Vec<String> {
        let text = |address: &Address| match address {
            Address::Ip(text) | Address::Hostname(text) => text.clone(),
        };
        let line = |wish: StatusWish| {
            format!("{} {}", wish.key.reference(), wish.ingress.iter().map(text).collect::<Vec<_>>().join(","))
        };
        statuses.wishes(&objects(yaml), &Settings::default(), &Given::new()).into_iter().map(line).collect()
    }

    fn ingress(class: &str, status: &str) -> String {
        format!(
            "kind: Ingress\napiVersion: networking.k8s.io/v1\nmetadata: {{name: i}}\n\
             spec: {{ingressClassName: {class}, defaultBackend: {{service: {{name: w, port: {{number: 1}}}}}}}}\n\
             status: {{loadBalancer: {{ingress: [{status}]}}}}\n---\n"
        )
    }

    fn service(asked: &str, status: &str) -> String {
        format!(
            "kind: Service\napiVersion: v1\nmetadata: {{name: s}}\nspec: {{type: LoadBalancer, {asked} ports: [{{port: 1}}]}}\n\
             status: {{loadBalancer: {{ingress: [{status}]}}}}\n---\n"
        )
    }

    const NODES: &str = "kind: Node\napiVersion: v1\nmetadata: {name: a}\n\
        status: {addresses: [{type: InternalIP, address: 10.0.0.1}, {type: ExternalIP, address: 192.0.2.1}]}\n---\n\
        kind: Node\napiVersion: v1\nmetadata: {name: b}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.2}]}\n---\n\
        kind: Node\napiVersion: v1\n\
        metadata: {name: c, labels: {node.kubernetes.io/exclude-from-external-load-balancers: \"\"}}\n\
        status: {addresses: [{type: InternalIP, address: 10.0.0.3}]}\n---\n";
    const FRONT: &str = "kind: Service\napiVersion: v1\nmetadata: {name: front}\n\
        spec: {selector: {app.kubernetes.io/name: weir}, externalIPs: [198.51.100.7], ports: [{port: 80}]}\n---\n";

    #[test]
    fn ingresses_show_the_nodes_and_rather_the_published_service() {
        let mut statuses = Statuses::default();
        let nodes = format!("{NODES}{}", ingress("weir", ""));
        assert_eq!(wishes(&mut statuses, &nodes), ["Ingress default/i 10.0.0.2,192.0.2.1"]);
        let right = format!("{NODES}{}", ingress("weir", "{ip: 192.0.2.1}, {ip: 10.0.0.2}"));
        assert!(wishes(&mut statuses, &right).is_empty());
        let published = format!("{FRONT}{right}");
        assert_eq!(wishes(&mut statuses, &published), ["Ingress default/i 198.51.100.7"]);
    }

    #[test]
    fn a_status_goes_with_the_class_but_never_that_of_another_controller() {
        let mut statuses = Statuses::default();
        let ours = format!("{NODES}{}", ingress("weir", "{ip: 192.0.2.1}, {ip: 10.0.0.2}"));
        assert!(wishes(&mut statuses, &ours).is_empty());
        let theirs = format!("{NODES}{}", ingress("nginx", "{ip: 192.0.2.1}, {ip: 10.0.0.2}"));
        assert!(wishes(&mut Statuses::default(), &theirs).is_empty(), "it was never ours");
        for _ in 0..2 {
            assert_eq!(wishes(&mut statuses, &theirs), ["Ingress default/i "], "until it is gone");
        }
        let gone = format!("{NODES}{}", ingress("nginx", ""));
        assert!(wishes(&mut statuses, &gone).is_empty());
        assert!(wishes(&mut statuses, &theirs).is_empty(), "what comes later is of somebody else");
    }

    #[test]
    fn a_service_shows_the_address_that_it_asked_for_and_follows_its_change() {
        let mut statuses = Statuses::default();
        assert_eq!(wishes(&mut statuses, &service("loadBalancerIP: 192.0.2.5,", "")), ["Service default/s 192.0.2.5"]);
        assert!(wishes(&mut statuses, &service("loadBalancerIP: 192.0.2.5,", "{ip: 192.0.2.5}")).is_empty());
        let moved = service("loadBalancerIP: 192.0.2.6,", "{ip: 192.0.2.5}");
        for _ in 0..2 {
            assert_eq!(wishes(&mut statuses, &moved), ["Service default/s 192.0.2.6"], "until it is written");
        }
        assert!(wishes(&mut statuses, &service("loadBalancerIP: 192.0.2.6,", "{ip: 192.0.2.6}")).is_empty());
        assert_eq!(wishes(&mut statuses, &service("", "{ip: 192.0.2.6}")), ["Service default/s "]);
    }

    #[test]
    fn services_of_another_class_or_proxy_are_told_nothing() {
        let told = |more: &str, label: &str| {
            let text = service(&format!("loadBalancerIP: 192.0.2.5, {more}"), "");
            wishes(&mut Statuses::default(), &text.replace("{name: s}", &format!("{{name: s, labels: {{{label}}}}}")))
                .len()
        };
        assert_eq!(told("loadBalancerClass: weir.io/load-balancer,", ""), 1);
        assert_eq!(told("loadBalancerClass: example.com/other,", ""), 0);
        assert_eq!(told("", "service.kubernetes.io/service-proxy-name: other"), 0);
    }

    #[test]
    fn an_address_that_somebody_else_gave_stays() {
        let mut statuses = Statuses::default();
        assert!(wishes(&mut statuses, &service("", "{ip: 203.0.113.9}")).is_empty());
        assert!(wishes(&mut statuses, &service("loadBalancerIP: 192.0.2.5,", "{ip: 203.0.113.9}")).is_empty());
        assert!(wishes(&mut statuses, &service("", "")).is_empty());
    }
}
