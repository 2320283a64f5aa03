use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::route::Rewrite;
use crate::model::{
    BackendRef, BackendState, FrontListener, Frontend, FrontendKind, PathMatch, Policy, Protocol, Route, RouteKey,
    Service, ServiceKey, ServiceType, TrafficPolicy,
};
use crate::translate;
use fixture::*;

pub(crate) mod fixture;

fn fresh(desired: &DesiredState, node: &Node) -> Compiled {
    compile(desired, node, &Ids::default()).0
}

/// Compares with a file beside this one. `UPDATE_EXPECT=1` writes the file.
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/compile/tests").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{} differs; UPDATE_EXPECT=1 takes over what is new", path.display());
}

fn codes(compiled: &Compiled) -> Vec<&str> {
    compiled.problems.iter().map(|problem| problem.code.as_str()).collect()
}

/// A shop: NodePorts, external IPs, two families, a drain, the front's own Service.
fn shop() -> DesiredState {
    let web = [backend("10.244.0.5"), backend("10.244.1.5"), in_state("10.244.1.6", BackendState::Terminating)];
    let local = Backend { local: true, weight: 3, ..backend("10.244.0.7") };
    let dual = [local, backend("10.244.1.7"), backend("2001:db8:1::7")];
    desired([
        service(
            "web",
            &[cluster_ip("10.96.0.1"), external("198.51.100.1", 80), node_port(30_080)],
            Target::Backends(web.into()),
        ),
        service("dual", &[node_port(30_081)], Target::Backends(dual.into())),
        service("inside", &[cluster_ip("10.96.0.2")], Target::Backends(vec![backend("10.244.0.6")])),
        service("headless", &[], Target::Backends(vec![backend("10.244.0.9")])),
        service(
            "empty",
            &[external("198.51.100.2", 80)],
            Target::Backends(vec![in_state("10.244.0.8", BackendState::Unhealthy)]),
        ),
        service("ingress", &[external("198.51.100.3", 80), node_port(30_082)], Target::Front(FrontListener::Http)),
    ])
}

#[test]
fn a_shop_compiles_to_these_tables() {
    let compiled = fresh(&shop(), &Node { http_port: 80, ..node() });
    assert_eq!(codes(&compiled), [""; 0]);
    assert_golden("shop.txt", &compiled.tables.to_string());
}

#[test]
fn manifests_compile_to_these_tables_on_each_node() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/compile/tests/cluster");
    let objects = crate::source::dir::read(&manifests).unwrap();
    for (node_name, node_address) in [("node-a", "192.0.2.10"), ("node-b", "192.0.2.11")] {
        let settings = translate::Settings { node_name: node_name.into(), ..translate::Settings::default() };
        let (desired, problems) = translate::translate(&objects, &settings);
        assert_eq!(problems, []);
        let addresses = BTreeSet::from([address(node_address)]);
        let on_node = Node { node_addresses: addresses.clone(), front_addresses: addresses, http_port: 80, ..node() };
        let compiled = fresh(&desired, &on_node);
        assert_eq!(codes(&compiled), [""; 0]);
        assert_golden(&format!("cluster.{node_name}.txt"), &compiled.tables.to_string());
    }
}

#[test]
fn a_service_without_a_frontend_in_the_data_plane_has_no_id() {
    let compiled = fresh(&shop(), &node());
    assert!(!compiled.services.contains_key(&(key("headless"), IpFamily::V4, TrafficPolicy::Cluster)));
    assert!(compiled.backends.keys().all(|(_, backend)| backend.address != address("10.244.0.9")));
}

#[test]
fn a_host_port_is_at_an_address_of_the_node_or_nowhere() {
    let at = |ip: &str| {
        let key = ServiceKey::of_pod("default", "web", Some(address(ip)), 8080, Protocol::Tcp);
        let frontend = Frontend { kind: FrontendKind::HostPort, address: Some(address(ip)), port: 8080 };
        let pod = service("web", &[frontend], Target::Backends(vec![backend("10.244.0.1")]));
        fresh(&desired([Service { key, service_type: ServiceType::HostPort, ..pod }]), &node())
    };
    for (ip, problems, frontends) in [
        ("192.0.2.10", &[][..], 1),
        ("127.0.0.1", &[], 1),
        ("192.0.2.11", &["address-invalid"], 0),
        ("169.254.169.254", &["address-invalid"], 0),
    ] {
        let compiled = at(ip);
        assert_eq!((codes(&compiled).as_slice(), compiled.tables.frontends.len()), (problems, frontends), "{ip}");
    }
}

#[test]
fn terminating_backends_serve_when_no_other_does() {
    let both = [in_state("10.244.0.1", BackendState::Terminating), in_state("10.244.0.2", BackendState::Unhealthy)];
    let state = desired([service("web", &[node_port(30_080)], Target::Backends(both.into()))]);
    let compiled = fresh(&state, &node());
    let ring = compiled.tables.services.values().next().unwrap();
    assert_eq!(ring.len(), 101);
    assert!(ring.iter().all(|id| compiled.tables.backends[&(IpFamily::V4, id)].address == address("10.244.0.1")));
}

/// Backends in the ring and beside it, of a service with one backend in each state.
fn kept(protocol: Protocol) -> [Vec<String>; 2] {
    let states = [BackendState::Active, BackendState::Terminating, BackendState::Unhealthy];
    let backends = states.iter().zip(1..).map(|(state, host)| in_state(&format!("10.244.0.{host}"), *state)).collect();
    let mut service = service("web", &[node_port(30_080)], Target::Backends(backends));
    service.key.protocol = protocol;
    let tables = fresh(&desired([service]), &node()).tables;
    let ring = tables.services.values().next().unwrap();
    let named = |in_ring: bool| {
        let found = tables.backends.iter().filter(|((_, id), _)| ring.backends().contains(id) == in_ring);
        found.map(|(_, key)| key.address.to_string()).collect::<Vec<_>>()
    };
    [named(true), named(false)]
}

#[test]
fn connections_stay_with_backends_that_take_no_new_ones_and_datagrams_only_with_those_that_serve() {
    let ring = vec!["10.244.0.1".to_owned()];
    assert_eq!(kept(Protocol::Tcp), [ring.clone(), vec!["10.244.0.2".into(), "10.244.0.3".into()]]);
    assert_eq!(kept(Protocol::Udp), [ring, vec!["10.244.0.2".into()]]);
}

/// Who the ring behind a frontend of `web` holds, with one backend on this node and one on another, in these states.
fn led(policy: Policy, key: crate::tables::FrontendKey, near: BackendState, far: BackendState) -> Vec<String> {
    let frontends = [cluster_ip("10.96.0.1"), external("198.51.100.1", 80), node_port(30_080)];
    let backends = vec![Backend { local: true, ..in_state("10.244.0.1", near) }, in_state("10.244.1.1", far)];
    let web = Service { policy, ..service("web", &frontends, Target::Backends(backends)) };
    let tables = fresh(&desired([web]), &node()).tables;
    let frontend = tables
        .frontends
        .get(&key)
        .unwrap_or_else(|| &tables.frontends[&crate::tables::FrontendKey { inside: false, ..key }]);
    let ring = &tables.services[&frontend.service];
    let addresses = ring.backends().iter().map(|id| tables.backends[&(IpFamily::V4, *id)].address);
    addresses.collect::<BTreeSet<_>>().iter().map(ToString::to_string).collect()
}

#[test]
fn syn_cookies_are_for_frontends_of_the_front() {
    let policy = Policy { syn_cookies: true, ..Policy::default() };
    let cookies = |target: Target| {
        let asked = Service { policy, ..service("web", &[external("198.51.100.1", 80)], target) };
        fresh(&desired([asked]), &node()).tables.frontends.values().any(|frontend| frontend.cookies)
    };
    assert!(cookies(Target::Front(FrontListener::Http)));
    assert!(!cookies(Target::Backends(vec![in_state("10.244.0.1", BackendState::Active)])));
}

#[test]
fn with_the_policy_local_clients_reach_only_backends_of_their_node() {
    use BackendState::{Active, Terminating, Unhealthy};
    use TrafficPolicy::{Cluster, Local};
    let key = |at: &str, port, inside| crate::tables::FrontendKey {
        address: address(at),
        port,
        protocol: Protocol::Tcp,
        inside,
    };
    let outside = [key("0.0.0.0", 30_080, false), key("198.51.100.1", 80, false)];
    let inside = [key("0.0.0.0", 30_080, true), key("198.51.100.1", 80, true)];
    let cluster_ip = key("10.96.0.1", 80, false);
    let both = ["10.244.0.1", "10.244.1.1"];
    let external = Policy { external: Local, ..Policy::default() };
    let internal = Policy { internal: Local, ..Policy::default() };
    for (outside, inside) in outside.into_iter().zip(inside) {
        assert_eq!(led(Policy::default(), outside, Active, Active), both);
        assert_eq!(led(external, outside, Active, Active), ["10.244.0.1"]);
        assert_eq!(led(external, outside, Terminating, Active), ["10.244.0.1"], "it serves, and no local one is ready");
        assert_eq!(led(external, outside, Unhealthy, Active), [""; 0]);
        assert_eq!(led(external, inside, Unhealthy, Active), ["10.244.1.1"], "clients on the node are led anywhere");
        assert_eq!(led(internal, outside, Active, Active), both);
    }
    assert_eq!(led(external, cluster_ip, Active, Active), both);
    assert_eq!(led(internal, cluster_ip, Active, Active), ["10.244.0.1"]);
    assert_eq!(led(Policy { external: Cluster, ..internal }, cluster_ip, Unhealthy, Active), [""; 0]);
}

#[test]
fn every_node_makes_the_same_ring() {
    let on = |local_address: &str| {
        let pods = ["10.244.0.1", "10.244.0.2", "10.244.1.1"];
        let pods = pods.map(|pod| Backend { local: pod == local_address, ..backend(pod) });
        let state = desired([service("web", &[node_port(30_080)], Target::Backends(pods.into()))]);
        let tables = fresh(&state, &node()).tables;
        let address_of = |id: BackendId| tables.backends[&(IpFamily::V4, id)].address;
        tables.services.values().next().unwrap().iter().map(address_of).collect::<Vec<_>>()
    };
    assert_eq!(on("10.244.0.1"), on("10.244.1.1"));
}

#[test]
fn the_front_answers_on_the_nodes_addresses_unless_a_service_does() {
    let node = Node { http_port: 80, ..node() };
    let key = |address| crate::tables::FrontendKey { address, port: 80, protocol: Protocol::Tcp, inside: false };
    let own = fresh(&desired([]), &node);
    assert_eq!(own.tables.frontends[&key(address("192.0.2.10"))].front, Some(FrontListener::Http));
    assert_eq!(own.services.keys().map(|(key, ..)| key.to_string()).collect::<Vec<_>>(), ["/weir-front:80/TCP"]);

    for theirs in [external("192.0.2.10", 80), node_port(80)] {
        let pods = Target::Backends(vec![backend("10.244.0.1")]);
        let taken = fresh(&desired([service("web", std::slice::from_ref(&theirs), pods)]), &node);
        assert_eq!(codes(&taken), ["front-address-taken"], "{theirs:?}");
        assert!(taken.tables.frontends.values().all(|frontend| frontend.front.is_none()));

        let same = fresh(&desired([service("ingress", &[theirs], Target::Front(FrontListener::Http))]), &node);
        assert_eq!(codes(&same), [""; 0]);
    }
}

#[test]
fn where_ids_run_out_a_problem_names_the_flag() {
    let pods = Target::Backends(vec![backend("10.244.0.1"), backend("10.244.0.2"), backend("10.244.0.3")]);
    let state = desired(["a", "b"].map(|name| service(name, &[node_port(30_000 + name.len() as u16)], pods.clone())));
    let mut state = state;
    state.services.get_mut(&key("b")).unwrap().frontends = vec![node_port(30_009)];
    let compiled = fresh(&state, &Node { limits: Limits { services: 2, backends: 3 }, ..node() });
    assert_eq!(codes(&compiled), ["backends-exhausted", "services-exhausted"]);
    assert_eq!(
        compiled.problems[0].message,
        "Service shop/a: port 80/TCP goes without 1 of its backends: all 2 backend ids are in use; \
         expected --max-backends above 3"
    );
    assert_eq!(
        compiled.problems[1].message,
        "Service shop/b: port 80/TCP is not balanced: all 1 service ids are in use; expected --max-services above 2"
    );
    assert_eq!(
        (compiled.tables.services.len(), compiled.tables.frontends.len(), compiled.tables.backends.len()),
        (1, 1, 2)
    );
}

#[test]
fn a_freed_id_rests_for_one_compilation() {
    let with = |pod: &str| desired([service("web", &[node_port(30_080)], Target::Backends(vec![backend(pod)]))]);
    let id = |compiled: &Compiled| compiled.backends.values().next().copied().unwrap();
    let (first, ids) = compile(&with("10.244.0.1"), &node(), &Ids::default());
    let (second, ids) = compile(&with("10.244.0.2"), &node(), &ids);
    let (third, _) = compile(&with("10.244.0.3"), &node(), &ids);
    assert_eq!([id(&first), id(&second), id(&third)], [BackendId(1), BackendId(2), BackendId(1)]);
}

#[test]
fn a_service_that_becomes_the_front_has_another_id() {
    let as_target = |target| desired([service("web", &[node_port(30_080)], target)]);
    let pods = as_target(Target::Backends(vec![backend("10.244.0.1")]));
    let front = as_target(Target::Front(FrontListener::Http));
    let (before, ids) = compile(&pods, &node(), &Ids::default());
    for ids in [ids, Ids::restore(&before.tables)] {
        let (after, _) = compile(&front, &node(), &ids);
        assert_ne!(before.services, after.services);
    }
}

#[test]
fn split_frontends_take_no_id_from_the_maps() {
    let [one, two] = [node_port(30_001), node_port(30_002)];
    let pods = || Target::Backends(vec![backend("10.244.0.1")]);
    let (before, _) = compile(&desired([service("b", &[one.clone(), two.clone()], pods())]), &node(), &Ids::default());
    for other in [pods(), Target::Front(FrontListener::Http)] {
        let split = desired([
            service("a", std::slice::from_ref(&one), other),
            service("b", std::slice::from_ref(&two), pods()),
        ]);
        let (after, _) = compile(&split, &node(), &Ids::restore(&before.tables));
        assert_eq!(after.services.values().copied().collect::<Vec<_>>(), [ServiceId(2), ServiceId(3)]);
    }
}

/// Maps that nobody of ours wrote: a backend twice. Neither id goes to another while the maps hold it.
#[test]
fn ids_that_the_maps_hold_go_to_nobody_else() {
    let pods = |pod: &str| desired([service("web", &[node_port(30_080)], Target::Backends(vec![backend(pod)]))]);
    let (before, _) = compile(&pods("10.244.0.1"), &node(), &Ids::default());
    let mut tables = Tables::clone(&before.tables);
    let twice = tables.backends[&(IpFamily::V4, BackendId(1))];
    tables.backends.insert((IpFamily::V4, BackendId(2)), twice);
    let (after, _) = compile(&pods("10.244.0.2"), &node(), &Ids::restore(&tables));
    assert_eq!(after.backends.values().copied().collect::<Vec<_>>(), [BackendId(3)]);
}

#[test]
fn one_change_leaves_all_other_rings_alone() {
    let shard = |number: u16, pods: u8| {
        let pods = (0..pods).map(|pod| backend(&format!("10.{}.{}.{pod}", number / 250, number % 250))).collect();
        let frontend = external(&format!("198.18.{}.{}", number / 250, number % 250), 80);
        service(&format!("s{number}"), &[frontend], Target::Backends(pods))
    };
    let mut state = desired((0..300).map(|number| shard(number, 10)));
    let (before, ids) = compile(&state, &node(), &Ids::default());
    let changed = shard(7, 9);
    state.services.insert(changed.key.clone(), changed);
    let (after, _) = compile(&state, &node(), &ids);
    let other = before.tables.services.iter().filter(|(id, ring)| !ring.is(&after.tables.services[id]));
    assert_eq!(other.count(), 1);
    assert_eq!(before.services, after.services);
}

fn route(host: Option<&str>, path: PathMatch, service: &str, resolved: Option<ServiceKey>) -> Route {
    Route {
        filters: Arc::default(),
        key: RouteKey { host: host.map(Into::into), path },
        ingress: "shop/main".into(),
        backend: BackendRef { namespace: "shop".into(), service: service.into(), port: "http".into(), resolved },
        rewrite: None,
        problem: None,
    }
}

fn with_routes(mut desired: DesiredState, routes: impl IntoIterator<Item = Route>) -> DesiredState {
    desired.routes = routes.into_iter().map(|route| (route.key.clone(), route)).collect();
    desired
}

#[test]
fn routes_stand_in_the_order_in_which_they_are_tried() {
    let exact = |path: &str| PathMatch::Exact(path.into());
    let prefix = |path: &str| PathMatch::Prefix(path.into());
    let regex = |path: &str| PathMatch::Regex(path.into());
    let specific = |path: &str| PathMatch::ImplementationSpecific(path.into());
    let expected = [
        exact("/shop/cart"),
        exact("/"),
        regex("/[a-z]+/(.*)"),
        regex("/a(.*)"),
        regex("/b(.*)"),
        prefix("/shop/cart/items"),
        prefix("/shop/care"),
        prefix("/shop/cart"),
        specific("/shop/cart"),
        prefix("/shop"),
        specific("/"),
        PathMatch::Default,
    ];
    let routes = expected.iter().rev().map(|path| route(Some("example.org"), path.clone(), "web", Some(key("web"))));
    let table = fresh(&with_routes(shop(), routes), &node()).routes;
    let order: Vec<_> = table.hosts["example.org"].iter().map(|entry| entry.path.clone()).collect();
    assert_eq!(order, expected);
}

#[test]
fn upstreams_are_the_backends_that_serve() {
    let root = || PathMatch::Prefix("/".into());
    let rewritten = Route {
        rewrite: Some(Rewrite::Prefix("/".into())),
        ..route(Some("*.example.org"), root(), "dual", Some(key("dual")))
    };
    let missing = Route { problem: Some("no such Service".into()), ..route(None, root(), "gone", None) };
    let routes = [
        route(Some("example.org"), root(), "web", Some(key("web"))),
        route(Some("empty.example.org"), root(), "empty", Some(key("empty"))),
        route(None, PathMatch::Default, "web", Some(key("web"))),
        rewritten,
        missing,
    ];
    let table = fresh(&with_routes(shop(), routes), &node()).routes;
    assert_golden("routes.json", &(serde_json::to_string_pretty(&table).unwrap() + "\n"));
}

/// One pod has both addresses, another only one, and a third backend is no pod's.
#[test]
fn a_pod_with_two_addresses_is_one_endpoint_of_the_front() {
    let of = |pod: &str, text: &str| Backend { pod: Some(pod.into()), ..backend(text) };
    let pods = [of("shop/a", "10.244.0.1"), of("shop/a", "fd00::1"), of("shop/b", "10.244.0.2"), backend("fd00::9")];
    for (families, expected) in [
        ([IpFamily::V4, IpFamily::V6], ["10.244.0.1:8080", "10.244.0.2:8080", "[fd00::9]:8080"]),
        ([IpFamily::V6, IpFamily::V4], ["10.244.0.2:8080", "[fd00::1]:8080", "[fd00::9]:8080"]),
    ] {
        let dual = Service { families: families.into(), ..service("web", &[], Target::Backends(pods.to_vec())) };
        let routes = [route(None, PathMatch::Prefix("/".into()), "web", Some(key("web")))];
        let table = fresh(&with_routes(desired([dual]), routes), &node()).routes;
        let endpoints: Vec<_> = table.upstreams.values().flat_map(|all| all.iter()).map(ToString::to_string).collect();
        assert_eq!(endpoints, expected);
    }
}

proptest! {
    #[test]
    fn the_order_of_input_does_not_matter(state in any_desired(), node in any_node(), turn in any::<prop::sample::Index>()) {
        let mut turned = state.clone();
        for service in turned.services.values_mut() {
            service.frontends.reverse();
            if let Target::Backends(backends) = &mut service.target && !backends.is_empty() {
                let by = turn.index(backends.len());
                backends.rotate_left(by);
            }
        }
        prop_assert_eq!(fresh(&state, &node), fresh(&turned, &node));
    }

    #[test]
    fn who_stays_keeps_the_id(first in any_desired(), second in any_desired(), node in any_node()) {
        let (before, ids) = compile(&first, &node, &Ids::default());
        let (after, _) = compile(&second, &node, &ids);
        let front = |state: &DesiredState, key| match state.services.get(key).map(|service| &service.target) {
            Some(Target::Backends(_)) => None,
            Some(Target::Front(listener)) => Some(*listener),
            None => Some(FrontListener::Http),
        };
        for (owner, id) in before.services.iter() {
            if front(&first, &owner.0) == front(&second, &owner.0) {
                prop_assert_eq!(after.services.get(owner).unwrap_or(id), id);
            }
        }
        for (owner, id) in before.backends.iter() {
            prop_assert_eq!(after.backends.get(owner).unwrap_or(id), id);
        }
        let backends: BTreeSet<_> = after.backends.values().collect();
        prop_assert_eq!(backends.len(), after.backends.len(), "two backends share an id, and so their counters");
        let used_before: BTreeSet<_> = before.services.values().collect();
        let fresh = after.services.iter().filter(|(owner, id)| before.services.get(*owner) != Some(id));
        prop_assert!(fresh.into_iter().all(|(_, id)| !used_before.contains(id)), "an id changed hands");
    }

    #[test]
    fn restored_ids_are_the_same(state in any_desired(), node in any_node()) {
        let (before, _) = compile(&state, &node, &Ids::default());
        let (after, _) = compile(&state, &node, &Ids::restore(&before.tables));
        prop_assert_eq!(before, after);
    }
}

#[test]
fn ports_of_the_node_lead_to_services_where_nobody_else_is() {
    let web =
        service("web", &[node_port(30_080)], Target::Backends(vec![in_state("10.244.0.1", BackendState::Active)]));
    let stream =
        |port| crate::model::StreamPort { port, protocol: Protocol::Tcp, service: fixture::key("web"), proxy: None };
    let state = DesiredState { streams: vec![stream(9000), stream(30_080)], ..desired([web]) };
    let compiled = fresh(&state, &node());
    let at = |port| crate::tables::FrontendKey {
        address: address("192.0.2.10"),
        port,
        protocol: Protocol::Tcp,
        inside: false,
    };
    let by_stream = compiled.tables.frontends[&at(9000)];
    let by_node_port = compiled.tables.frontends.iter().find(|(key, _)| key.port == 30_080).expect("the node port").1;
    assert_eq!((by_stream.service, by_stream.front), (by_node_port.service, None));
    assert!(!compiled.tables.frontends.contains_key(&at(30_080)));
    let proxy = Some(crate::model::StreamProxy { decode: true, encode: false });
    let through_front = crate::model::StreamPort { proxy, ..stream(9000) };
    let with_front = fresh(&DesiredState { streams: vec![through_front], ..state.clone() }, &node());
    let by_front = with_front.tables.frontends[&at(9000)];
    assert_eq!(by_front.front, Some(crate::model::FrontListener::Http));
    let by_node_port = with_front.tables.frontends.iter().find(|(key, _)| key.port == 30_080).expect("the node port").1;
    assert_ne!(by_front.service, by_node_port.service);
    assert!(compiled.problems.iter().any(|problem| problem.message.contains("port 30080/TCP does not lead to")));
}
