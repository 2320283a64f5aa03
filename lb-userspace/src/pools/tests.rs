//! Giving, from manifests to addresses.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::source::{Object, Objects, SourceEvent, parse};
use crate::translate::Settings;

mod properties;

/// Services and pools that change, and the one who gives.
struct World {
    objects: Objects,
    giver: Giver,
    giving: Arc<Giving>,
    looked: u32,
}

fn parsed(yaml: &str) -> Vec<Object> {
    let parsed = parse::parse(&Arc::from(Path::new("x.yaml")), yaml.as_bytes());
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    parsed.objects
}

/// A Service with a port; `extra` goes into its spec and `metadata` into its metadata.
fn service(name: &str, metadata: &str, extra: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{namespace: {namespace}, name: {name}, {metadata}}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80}}], {extra}}}\n"
    )
}

fn pool(name: &str, spec: &str) -> String {
    format!("---\napiVersion: weir.io/v1alpha1\nkind: AddressPool\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn annotated(name: &str, value: &str) -> String {
    format!("annotations: {{{name}: \"{value}\"}}")
}

impl World {
    fn new(yaml: &str) -> Self {
        let mut objects = Objects::new(1);
        objects.handle(0, SourceEvent::Init);
        objects.handle(0, SourceEvent::InitDone);
        let mut world = World { objects, giver: Giver::default(), giving: Arc::default(), looked: 0 };
        world.apply(yaml);
        world
    }

    fn apply(&mut self, yaml: &str) {
        parsed(yaml).into_iter().for_each(|object| self.objects.handle(0, SourceEvent::Apply(object)));
        self.turn();
    }

    fn delete(&mut self, yaml: &str) {
        parsed(yaml).into_iter().for_each(|object| self.objects.handle(0, SourceEvent::Delete(object.key())));
        self.turn();
    }

    /// Something changed that means nothing.
    fn look_again(&mut self) {
        self.looked += 1;
        let label = format!("metadata: {{name: unrelated, labels: {{looked: \"{}\"}}}}", self.looked);
        self.apply(&format!("apiVersion: v1\nkind: Namespace\n{label}\n"));
    }

    fn turn(&mut self) {
        self.giving = self.giver.turn(&mut self.objects, &mut Settings::default());
        self.objects.take_changes();
    }

    fn of(&self, name: &str) -> String {
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        let service = self.objects.service(namespace, name).expect("a Service");
        let rows = service.status.load_balancer.ingress.iter().filter_map(|row| row.ip.clone());
        rows.collect::<Vec<_>>().join(" ")
    }

    /// Object and code of each Problem.
    fn problems(&self) -> Vec<String> {
        self.giving.problems.iter().map(|problem| format!("{} {}", problem.object, problem.code)).collect()
    }
}

const ONE: &str = "addresses: [192.0.2.1]";
const FEW: &str = "addresses: [192.0.2.0/29]";

#[test]
fn a_service_gets_an_address_and_keeps_it() {
    let mut world = World::new(&(pool("p", FEW) + &service("web", "", "")));
    let first = world.of("web");
    assert!(first.starts_with("192.0.2."), "{first}");
    for name in ["a", "b", "c", "zebra"] {
        world.apply(&service(name, "", ""));
    }
    assert_eq!(world.of("web"), first);
    // Made anew, it has what it had.
    world.delete(&service("web", "", ""));
    world.apply(&service("web", "", ""));
    assert_eq!(world.of("web"), first);
    assert_eq!(world.giving.pools["p"], PoolCounts { total: 8, given: 5, free: 3, exhausted: false });
    assert!(world.problems().is_empty(), "{:?}", world.problems());
}

#[test]
fn an_exhausted_pool_heals_when_an_address_is_freed() {
    let mut world = World::new(&(pool("p", ONE) + &service("a", "", "")));
    world.apply(&service("b", "", ""));
    assert_eq!((world.of("a").as_str(), world.of("b").as_str()), ("192.0.2.1", ""));
    assert_eq!(world.problems(), ["AddressPool p pool-exhausted", "Service default/b pool-exhausted"]);
    assert!(world.giving.pools["p"].exhausted);
    world.delete(&service("a", "", ""));
    assert_eq!(world.of("b"), "192.0.2.1");
    assert!(world.problems().is_empty() && !world.giving.pools["p"].exhausted);
}

#[test]
fn what_is_asked_for_is_given_or_refused() {
    let pools = pool("p", "addresses: [192.0.2.1-192.0.2.4], avoid: [192.0.2.4]")
        + &pool("closed", "addresses: [192.0.2.8/30], namespaces: [other]");
    for name in ["weir.io/load-balancer-ips", "metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"] {
        let world = World::new(&(pools.clone() + &service("a", &annotated(name, "192.0.2.3"), "")));
        assert_eq!((world.of("a").as_str(), world.problems()), ("192.0.2.3", vec![]), "{name}");
    }
    let mut world = World::new(&(pools + &service("a", "", "loadBalancerIP: 192.0.2.2")));
    assert_eq!(world.of("a"), "192.0.2.2");
    for (asked, code) in [
        ("192.0.2.2", "address-taken"),
        ("192.0.2.4", "address-not-in-pool"),
        ("192.0.2.9", "address-not-in-pool"),
        ("198.51.100.1", "address-not-in-pool"),
    ] {
        world.apply(&service("b", "", &format!("loadBalancerIP: {asked}")));
        assert_eq!(
            (world.of("b").as_str(), world.problems()),
            ("", vec![format!("Service default/b {code}")]),
            "{asked}"
        );
    }
    // It goes on with what it has, until it gets what it asks for.
    world.apply(&service("b", "", ""));
    let before = world.of("b");
    world.apply(&service("b", "", "loadBalancerIP: 192.0.2.2"));
    assert_eq!((world.of("b"), world.problems()), (before, vec!["Service default/b address-taken".to_owned()]));
    world.delete(&service("a", "", ""));
    assert_eq!((world.of("b").as_str(), world.problems()), ("192.0.2.2", vec![]));
}

#[test]
fn pools_are_for_those_whom_their_selectors_choose() {
    let namespaces = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n";
    let pools = pool("named", "addresses: [192.0.2.1], namespaces: [blog]")
        + &pool("labelled", "addresses: [192.0.2.2], namespaceSelectors: [{matchLabels: {team: a}}]")
        + &pool(
            "byname",
            "addresses: [192.0.2.3], namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: plain}}]",
        )
        + &pool("services", "addresses: [192.0.2.4], serviceSelectors: [{matchLabels: {tier: front}}]")
        + &pool("asked", "addresses: [192.0.2.5], autoAssign: false");
    let mut world = World::new(&(pools + namespaces));
    world.apply(&(service("blog/a", "", "") + &service("shop/a", "", "") + &service("plain/a", "", "")));
    world.apply(&service("default/front", "labels: {tier: front}", ""));
    let given: Vec<_> = ["blog/a", "shop/a", "plain/a", "default/front"].map(|name| world.of(name)).into();
    assert_eq!(given, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
    world.apply(&service("nobody", "", ""));
    assert_eq!(
        (world.of("nobody").as_str(), world.problems()),
        ("", vec!["Service default/nobody pool-unsuitable".to_owned()])
    );
    world.apply(&service("nobody", &annotated("weir.io/load-balancer-pool", "asked"), ""));
    assert_eq!((world.of("nobody").as_str(), world.problems()), ("192.0.2.5", vec![]));
    world.apply(&service("lost", &annotated("metallb.universe.tf/address-pool", "none"), ""));
    assert_eq!(world.problems(), ["Service default/lost pool-missing"]);
}

#[test]
fn the_pool_with_the_smallest_number_comes_first_and_one_for_somebody_before_one_for_all() {
    let mut world = World::new(
        &(pool("a", "addresses: [192.0.2.1]")
            + &pool("b", "addresses: [192.0.2.2], namespaces: [default]")
            + &pool("c", "addresses: [192.0.2.3], priority: 7")),
    );
    for (name, address) in [("x", "192.0.2.3"), ("y", "192.0.2.2"), ("z", "192.0.2.1")] {
        world.apply(&service(name, "", ""));
        assert_eq!(world.of(name), address);
    }
}

#[test]
fn addresses_are_shared_by_a_key_where_ports_differ() {
    let key = |name| annotated(name, "k");
    let port = |number| format!("ports: [{{port: {number}}}]");
    let shared = |name: &str, annotation, number: u16, more: &str| {
        let text = service(name, &key(annotation), more);
        text.replace("ports: [{port: 80}]", &port(number))
    };
    let mut world = World::new(&(pool("p", FEW) + &shared("a", "weir.io/allow-shared-ip", 80, "")));
    world.apply(&shared("b", "metallb.universe.tf/allow-shared-ip", 443, ""));
    world.apply(&shared("c", "metallb.io/allow-shared-ip", 443, ""));
    world.apply(&service("d", "", ""));
    let local = "externalTrafficPolicy: Local, selector: {app: e}";
    world.apply(&shared("e", "weir.io/allow-shared-ip", 81, local));
    world.apply(&shared("f", "weir.io/allow-shared-ip", 82, local));
    assert_eq!(world.of("a"), world.of("b"));
    assert_eq!(world.of("e"), world.of("f"));
    let different: std::collections::BTreeSet<_> = ["a", "c", "d", "e"].map(|name| world.of(name)).into();
    assert_eq!(different.len(), 4, "{different:?}");
    assert_eq!(world.giving.pools["p"].given, 4);
    // The ports meet: the younger one moves.
    world.apply(&shared("b", "weir.io/allow-shared-ip", 80, ""));
    assert!(!world.of("b").is_empty() && world.of("a") != world.of("b"));
}

#[test]
fn families() {
    let both = pool("p", "addresses: [192.0.2.0/29, '2001:db8::/125']");
    let mut world = World::new(&both);
    let is_v6 = |text: &str| text.contains("2001:db8::") && !text.contains(' ');
    world.apply(&service("plain", "", ""));
    world.apply(&service("six", "", "ipFamilies: [IPv6]"));
    world.apply(&service("cluster", "", "clusterIP: 'fd00::1'"));
    world.apply(&service("dual", "", "ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack"));
    assert!(world.of("plain").starts_with("192.0.2."), "{}", world.of("plain"));
    assert!(is_v6(&world.of("six")) && is_v6(&world.of("cluster")));
    let dual = world.of("dual");
    assert!(dual.starts_with("2001:db8::") && dual.contains(" 192.0.2."), "{dual}");

    let mut world = World::new(&pool("p", "addresses: ['2001:db8::1-2001:db8::9']"));
    world.apply(&service("plain", "", ""));
    world.apply(&service("prefer", "", "ipFamilyPolicy: PreferDualStack"));
    assert!(is_v6(&world.of("plain")) && is_v6(&world.of("prefer")));
    assert!(world.problems().is_empty(), "{:?}", world.problems());
    world.apply(&service("need", "", "ipFamilyPolicy: RequireDualStack"));
    assert!(is_v6(&world.of("need")));
    assert_eq!(world.problems(), ["Service default/need pool-unsuitable"]);
}

#[test]
fn addresses_that_confuse_devices_are_given_only_to_whom_asks() {
    let addresses = "addresses: [192.0.2.254-192.0.3.1], avoidBuggyIPs: true";
    let mut world = World::new(&(pool("p", addresses) + &service("a", "", "") + &service("b", "", "")));
    let mut given = [world.of("a"), world.of("b")];
    given.sort();
    assert_eq!(given, ["192.0.2.254", "192.0.3.1"]);
    assert_eq!(world.giving.pools["p"], PoolCounts { total: 4, given: 2, free: 0, exhausted: false });
    world.apply(&service("c", "", ""));
    assert_eq!(world.of("c"), "");
    world.apply(&service("c", "", "loadBalancerIP: 192.0.2.255"));
    assert_eq!(world.of("c"), "192.0.2.255");
}

#[test]
fn an_address_that_two_pools_have_belongs_to_the_older_one() {
    let world =
        World::new(&(pool("b", "addresses: [192.0.2.1-192.0.2.3]") + &pool("a", "addresses: [192.0.2.3-192.0.2.4]")));
    assert_eq!(world.problems(), ["AddressPool b pool-overlap"]);
    assert_eq!((world.giving.pools["a"].total, world.giving.pools["b"].total), (2, 2));
}

#[test]
fn a_service_keeps_its_address_when_pools_change() {
    let mut world = World::new(&(pool("p", ONE) + &service("web", "", "")));
    world.apply(&pool("p", "addresses: [198.51.100.1]"));
    assert_eq!(
        (world.of("web").as_str(), world.problems()),
        ("192.0.2.1", vec!["Service default/web address-not-in-pool".to_owned()])
    );
    world.apply(&pool("p", "addresses: [192.0.2.1], namespaces: [other]"));
    assert_eq!(
        (world.of("web").as_str(), world.problems()),
        ("192.0.2.1", vec!["Service default/web address-not-in-pool".to_owned()])
    );
    // It asks for the pool, or is made anew: then it moves.
    world.apply(&pool("p", "addresses: [198.51.100.1]"));
    world.apply(&service("web", &annotated("weir.io/load-balancer-pool", "p"), ""));
    assert_eq!((world.of("web").as_str(), world.problems()), ("198.51.100.1", vec![]));
}

#[test]
fn what_others_gave_is_left_alone_and_not_given_again() {
    let foreign = |class: &str, row: &str| {
        service("cloud", "", class) + &format!("status: {{loadBalancer: {{ingress: [{{{row}}}]}}}}\n")
    };
    let mut world = World::new(&(pool("p", ONE) + &foreign("loadBalancerClass: other/class", "ip: 192.0.2.1")));
    world.apply(&service("web", "", ""));
    assert_eq!((world.of("cloud").as_str(), world.of("web").as_str()), ("192.0.2.1", ""));
    world.apply(&foreign("", "hostname: lb.example"));
    assert_eq!((world.of("cloud").as_str(), world.of("web").as_str()), ("", "192.0.2.1"));
    // External IPs count as taken.
    world.delete(&service("web", "", ""));
    world.apply(&service("own", "", "externalIPs: [192.0.2.1]").replace("LoadBalancer", "ClusterIP"));
    world.apply(&service("web", "", ""));
    assert_eq!(world.of("web"), "");
    // But not for the Service that names them itself.
    world.delete(&service("own", "", ""));
    world.apply(&service("web", "", "externalIPs: [192.0.2.1], loadBalancerIP: 192.0.2.1"));
    assert_eq!((world.of("web").as_str(), world.problems()), ("192.0.2.1", vec![]));
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_gives_its_address_back() {
    let mut world = World::new(&(pool("p", ONE) + &service("a", "", "") + &service("b", "", "")));
    let told = service("a", "", "").replace("LoadBalancer", "ClusterIP");
    world.apply(&(told + "status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n"));
    assert_eq!((world.of("a").as_str(), world.of("b").as_str()), ("", "192.0.2.1"));
}

#[test]
fn the_memory_outlives_the_agent_and_a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::new(&pool("p", FEW));
    world.giver = Giver::new(Memory::read(folder.path()));
    world.apply(&service("a", &annotated("weir.io/load-balancer-ips", "192.0.2.5"), ""));

    // The annotation is gone and the place of the name is another; still the same.
    let mut next = World::new(&pool("p", FEW));
    next.giver = Giver::new(Memory::read(folder.path()));
    next.objects.handle(0, SourceEvent::Unread([Path::new("broken.yaml").to_owned()].into()));
    next.apply(&service("b", "", "loadBalancerIP: 192.0.2.5"));
    assert_eq!(next.of("b"), "", "the Service that had it may be in the broken file");
    next.objects.handle(0, SourceEvent::Unread(BTreeMap::<_, ()>::new().into_keys().collect()));
    next.apply(&service("a", "", ""));
    assert_eq!(next.of("a"), "192.0.2.5");
    next.delete(&service("a", "", ""));
    assert_eq!(next.of("b"), "192.0.2.5");
}

#[test]
fn without_pools_nothing_is_given() {
    let world = World::new(&service("web", "", "loadBalancerIP: 192.0.2.1"));
    assert!(world.giving.services.is_empty() && world.of("web").is_empty());
}

#[test]
fn a_large_pool_that_is_full_is_found_full_at_once() {
    let mut yaml = pool("p", "addresses: [10.0.0.0/20]");
    for number in 0..4096 {
        yaml += &service(&format!("s{number}"), "", "");
    }
    let mut world = World::new(&yaml);
    assert!(world.problems().is_empty());
    assert_eq!(world.giving.pools["p"].given, 4096);
    world.apply(&service("more", "", ""));
    assert_eq!(world.of("more"), "");
}
