//! The maps: what is written is read, what is full says so, what is idle goes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, TcpListener};

use aya::maps::PerCpuValues;
use lb_common::abi::{BackendEntry4, Counters, DeviceEntry, FlowEntry, FlowKey, ReplyEntry, device_flag, map, setting};
use lb_common::addr::{Addr6, V4, V6};
use lb_common::be::{Be16, Be32};
use lb_common::conntrack::{FlowState, TCP_CLOSED, TCP_ESTABLISHED};
use lb_common::transport::tcp_flag;

use super::stage::{run, sh, start};
use crate::dataplane::apply::apply;
use crate::dataplane::family::MapFamily;
use crate::dataplane::mapped::Access;
use crate::dataplane::spec::{self, Shape};
use crate::dataplane::store::StoreError;
use crate::dataplane::{Config, Dataplane, MapSizes, inspect};
use crate::diff::diff;
use crate::model::{Algorithm, FrontListener, Protocol};
use crate::tables::{
    BackendId, BackendKey, Frontend, FrontendKey, IpFamily, Ring, ServiceId, ServicePolicy, Settings, Tables,
};

#[test]
fn every_map_of_the_object_is_as_specified() {
    run("specs", |stage| {
        let dataplane = stage.start().unwrap();
        let specs = spec::specs(&stage.config.sizes);
        let expected: BTreeSet<_> = specs.iter().map(|spec| spec.name).collect();
        let found: BTreeSet<_> =
            dataplane.object.maps().map(|(name, _)| name).filter(|name| !name.starts_with('.')).collect();
        assert_eq!(found, expected);
        for spec in specs {
            assert_eq!(
                Shape::of(&dataplane.maps.data(spec.name).unwrap().info().unwrap()),
                spec.shape,
                "{}",
                spec.name
            );
        }
    });
}

#[test]
fn what_is_written_is_loaded_again() {
    run("roundtrip", |stage| {
        let dataplane = stage.start().unwrap();
        let tables = tables();
        write(&dataplane, &tables);
        assert_eq!(dataplane.store().unwrap().load().unwrap(), tables);
        drop(dataplane);
        let inspection = inspect(&stage.config.pin_path).unwrap();
        assert_eq!(inspection.tables, tables);
        assert_eq!(inspection.counters.services.len(), tables.services.len());

        let again = stage.start().unwrap();
        let mut store = again.store().unwrap();
        assert_eq!(store.load().unwrap(), tables, "after a restart");
        for key in tables.frontends.keys() {
            store.delete_frontend(key).unwrap();
            store.delete_frontend(key).unwrap();
        }
        for &(family, id) in tables.backends.keys() {
            store.delete_backend(family, id).unwrap();
        }
        for &id in tables.services.keys() {
            store.delete_service(id).unwrap();
            store.delete_service(id).unwrap();
        }
        for &(family, id) in tables.backend_nodes.keys() {
            store.delete_backend_node(family, id).unwrap();
            store.delete_backend_node(family, id).unwrap();
        }
        for &address in tables.nodes.keys() {
            store.delete_node(address).unwrap();
            store.delete_node(address).unwrap();
        }
        for &(id, network) in &tables.ranges {
            store.delete_range(id, network).unwrap();
            store.delete_range(id, network).unwrap();
        }
        for &network in tables.denied.iter() {
            store.delete_denied(network).unwrap();
            store.delete_denied(network).unwrap();
        }
        for &address in &tables.node_addresses {
            store.delete_node_address(address).unwrap();
            store.delete_node_address(address).unwrap();
        }
        for &address in &tables.vips {
            store.delete_vip(address).unwrap();
            store.delete_vip(address).unwrap();
        }
        store.grace_period().unwrap();
        assert_eq!(store.load().unwrap(), Tables { settings: tables.settings, ..Tables::default() });
    });
}

#[test]
fn programs_of_before_keep_their_tables_where_one_map_gets_another_size_and_an_endpoint_was_replaced() {
    run("resize-tables", |stage| {
        let (first, before) = (stage.start().unwrap(), tables());
        write(&first, &before);
        let mut used = first.store().unwrap(); // what the attached programs use
        drop(first);
        let sizes = MapSizes { services: 100, ..stage.config.sizes };
        let second = start(&Config { sizes, ..stage.config.clone() }).unwrap();
        let mut store = second.store().unwrap();
        let mut actual = store.load().unwrap();
        assert_eq!(actual, before, "all was moved");
        let mut after = before.clone();
        after.backends.remove(&(IpFamily::V4, BackendId(1)));
        after.backends.insert((IpFamily::V4, BackendId(1)), backend("10.244.1.77", 8_080, true));
        after.services.insert(ServiceId(1), ring(23, 3));
        after.frontends.pop_first();
        after.ranges.pop_first();
        apply(&mut *store, &mut actual, &diff(&before, &after)).unwrap();
        assert_eq!(store.load().unwrap(), after);
        let kept = used.load().unwrap();
        assert_eq!(
            (kept.frontends, kept.services, kept.backends, kept.backend_nodes, kept.ranges),
            (before.frontends, before.services, before.backends, before.backend_nodes, before.ranges)
        );
        // what comes after an agent that died in the midst of it
        std::fs::remove_file(second.pins.map_in(map::RINGS, "former")).unwrap();
        std::fs::hard_link(second.pins.map(map::RINGS), second.pins.map_in(map::RINGS, "next")).unwrap();
        drop((store, second));
        let third = start(&Config { sizes, ..stage.config.clone() }).unwrap();
        assert_eq!(third.store().unwrap().load().unwrap(), after);
        assert!(third.pins.map_in(map::RINGS, "former").exists(), "all were moved once more");
        let notes = &third.start_report().notes;
        assert!(notes.iter().all(|note| note.code != "map-recreated"), "{notes:?}");
    });
}

#[test]
fn plans_lead_the_kernel_from_tables_to_tables() {
    run("plans", |stage| {
        let dataplane = stage.start().unwrap();
        let mut store = dataplane.store().unwrap();
        let mut actual = store.load().unwrap();
        let full = tables();
        let mut fewer = full.clone();
        fewer.frontends.pop_first();
        fewer.services.insert(ServiceId(1), ring(23, 3));
        fewer.frontends.retain(|_, frontend| frontend.service != ServiceId(2));
        fewer.services.remove(&ServiceId(2));
        fewer.policies.remove(&ServiceId(2));
        fewer.ranges.pop_first();
        fewer.denied = std::sync::Arc::new([net("198.51.100.0/25")].into());
        for desired in [&full, &fewer, &full, &fewer] {
            let plan = diff(&actual, desired);
            assert!(!plan.is_empty());
            apply(&mut *store, &mut actual, &plan).unwrap();
            assert_eq!(&store.load().unwrap(), desired);
            assert!(diff(&store.load().unwrap(), desired).is_empty());
        }
    });
}

#[test]
fn a_generation_survives_and_grows_only_with_a_new_backend() {
    run("generation", |stage| {
        let dataplane = stage.start().unwrap();
        let mut store = dataplane.store().unwrap();
        let backends = dataplane.maps.mapped::<BackendEntry4>(map::BACKENDS4, Access::Read).unwrap();
        let generation = || backends.read(5).unwrap().generation;
        let upsert = |store: &mut Box<dyn crate::dataplane::store::MapStore>, port| {
            store.upsert_backend(IpFamily::V4, BackendId(5), &backend("10.244.1.5", port, false)).unwrap();
        };
        upsert(&mut store, 80);
        upsert(&mut store, 80);
        assert_eq!(generation(), 1);
        store.delete_backend(IpFamily::V4, BackendId(5)).unwrap();
        assert_eq!((generation(), backends.read(5).unwrap().protocol), (1, 0));
        upsert(&mut store, 81);
        assert_eq!(generation(), 2);
    });
}

#[test]
fn ring_lines_are_used_again_after_a_grace_period_and_run_out_with_the_flag_named() {
    run("rings", |stage| {
        let dataplane = stage.start().unwrap();
        let mut store = dataplane.store().unwrap();
        // 16 lines of 16 slots: rings of ten lines can be swapped only because lines come back.
        for round in 0..5 {
            store.write_ring(ServiceId(1), &ring(160, round)).unwrap();
            store.write_ring(ServiceId(1), &ring(90, round)).unwrap();
            assert_eq!(store.load().unwrap().services[&ServiceId(1)], ring(90, round));
        }
        let full = store.write_ring(ServiceId(2), &ring(170, 0)).unwrap_err();
        assert!(matches!(full, StoreError::Full { map: map::RINGS, capacity: 16, flag: "--max-ring-lines" }), "{full}");
        assert!(!store.load().unwrap().services.contains_key(&ServiceId(2)), "nothing half-written");
        let lines = dataplane.maps().unwrap().into_iter().find(|status| status.name == map::RINGS).unwrap();
        assert_eq!((lines.entries, lines.capacity), (Some(6), 16));
        store.write_ring(ServiceId(1), &ring(0, 0)).unwrap();
        assert_eq!(store.load().unwrap().services[&ServiceId(1)], ring(0, 0));
    });
}

#[test]
fn full_maps_name_the_flag() {
    run("full", |stage| {
        let dataplane = stage.start().unwrap();
        let mut store = dataplane.store().unwrap();
        let frontend = Frontend { service: ServiceId(1), front: None, ..Default::default() };
        let full = (0..=64).find_map(|port| store.upsert_frontend(&key("192.0.2.10", port), &frontend).err());
        assert!(matches!(full, Some(StoreError::Full { capacity: 64, flag: "--max-frontends", .. })), "{full:?}");
        let full = store.write_ring(ServiceId(64), &ring(1, 0)).unwrap_err();
        assert!(matches!(full, StoreError::Full { flag: "--max-services", .. }), "{full}");
        let backend = backend("10.0.0.1", 1, false);
        let full = store.upsert_backend(IpFamily::V4, BackendId(64), &backend).unwrap_err();
        assert!(matches!(full, StoreError::Full { flag: "--max-backends", .. }), "{full}");
    });
}

#[test]
fn the_source_of_nat_for_ipv6_goes_as_it_came() {
    run("snat6", |stage| {
        let mut store = stage.start().unwrap().store().unwrap();
        for address in [Some("2001:db8::1".parse().unwrap()), Some("fd00::".parse().unwrap()), None] {
            let settings = Settings { snat_address6: address, ..tables().settings };
            store.write_settings(&settings).unwrap();
            assert_eq!(store.load().unwrap().settings, settings);
        }
    });
}

/// An id means one backend, so its counters begin anew, and flows to the other one find theirs gone.
#[test]
fn an_id_that_changes_its_family_counts_from_zero() {
    run("family", |stage| {
        let dataplane = stage.start().unwrap();
        let mut store = dataplane.store().unwrap();
        store.upsert_backend(IpFamily::V4, BackendId(1), &backend("10.244.1.5", 80, true)).unwrap();
        let mut stats = dataplane.maps.per_cpu::<Counters>(map::BACKEND_STATS).unwrap();
        let counted = vec![Counters { packets: 7, ..Counters::default() }; aya::util::nr_cpus().unwrap()];
        stats.set(1, PerCpuValues::try_from(counted).unwrap(), 0).unwrap();
        store.delete_backend(IpFamily::V4, BackendId(1)).unwrap();
        store.upsert_backend(IpFamily::V6, BackendId(1), &backend("fd00:1::5", 80, true)).unwrap();
        let counters = dataplane.counters().unwrap();
        assert_eq!(
            counters.backends.into_iter().collect::<Vec<_>>(),
            [((IpFamily::V6, BackendId(1)), Counters::default())]
        );
        assert_eq!(counters.generations, [((IpFamily::V6, BackendId(1)), 1)].into());
    });
}

#[test]
fn counters_of_a_reused_id_start_at_zero() {
    run("counters", |stage| {
        let dataplane = stage.start().unwrap();
        write(&dataplane, &tables());
        let mut stats = dataplane.maps.per_cpu::<Counters>(map::SERVICE_STATS).unwrap();
        let cpus = aya::util::nr_cpus().unwrap();
        let counted = vec![Counters { packets: 3, bytes: 300, new_flows: 1, snat_exhausted: 0 }; cpus];
        stats.set(2, PerCpuValues::try_from(counted).unwrap(), 0).unwrap();
        let total = dataplane.counters().unwrap().services[&ServiceId(2)];
        assert_eq!((total.packets, total.bytes, total.new_flows), (3 * cpus as u64, 300 * cpus as u64, cpus as u64));
        let mut store = dataplane.store().unwrap();
        store.delete_service(ServiceId(2)).unwrap();
        store.write_ring(ServiceId(2), &ring(1, 0)).unwrap();
        assert_eq!(dataplane.counters().unwrap().services[&ServiceId(2)], Counters::default());
    });
}

#[test]
fn devices_carry_address_mac_and_the_right_to_transmit() {
    run("devices", |stage| {
        let mut dataplane = stage.start().unwrap();
        let links = crate::dataplane::netlink::Netlink::connect().unwrap().links().unwrap();
        let uplink = links.into_iter().find(|link| link.name == super::stage::UPLINK).unwrap();
        let devices = dataplane.maps.hash::<u32, DeviceEntry>(map::DEVICES).unwrap();
        let entry = devices.get(&uplink.index, 0).unwrap();
        assert_eq!(
            (entry.address4, entry.flags),
            (Be32::from_bytes([192, 0, 2, 1]), device_flag::UPLINK | device_flag::OUTSIDE)
        );
        let address6: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(
            entry.address6,
            Addr6::from_bytes(address6.octets()),
            "neither the deprecated nor the link-local one"
        );
        assert_ne!(entry.mac, [0; 3]);
        // A veth takes what is redirected to it only if its other end polls for it (veth.c, `veth_set_xdp_features`).
        sh("ethtool -K peer gro on");
        dataplane.attach().unwrap();
        let both = device_flag::UPLINK | device_flag::XDP_TRANSMIT | device_flag::OUTSIDE;
        assert_eq!(devices.get(&uplink.index, 0).unwrap().flags, both);
        drop(dataplane);
        let _restarted = stage.start().unwrap();
        assert_eq!(devices.get(&uplink.index, 0).unwrap().flags, both, "the programs of before go on as before");
    });
}

#[test]
fn idle_flows_go_with_their_replies_and_live_ones_stay() {
    idle_flows_of_a_family_go::<V4>("garbage");
    idle_flows_of_a_family_go::<V6>("garbage6");
}

fn idle_flows_of_a_family_go<F: MapFamily>(name: &str) {
    run(name, |stage| {
        let mut dataplane = stage.start().unwrap();
        let mut store = dataplane.store().unwrap();
        store.upsert_backend(F::FAMILY, BackendId(1), &backend(&ip::<F>(5).to_string(), 8_080, false)).unwrap();
        let now = 10 * TCP_ESTABLISHED;
        let old = now - TCP_ESTABLISHED - 1;
        let gone = now - TCP_CLOSED - 1;
        add_flow::<F>(&dataplane, 1, FlowState::PROVEN, old, Some(old));
        add_flow::<F>(&dataplane, 2, FlowState::PROVEN, old, Some(now));
        add_flow::<F>(&dataplane, 3, FlowState::PROVEN, now, None);
        add_flow::<F>(&dataplane, 4, FlowState::PROVEN.after_client(tcp_flag::RST), gone, Some(gone));
        add_reply::<F>(&dataplane, 5, old);
        add_flow::<F>(&dataplane, 6, FlowState::PROVEN, old, None);
        // The tuple of flow 7's replies is flow 2's by now: not to be removed with flow 7.
        insert_flow::<F>(&dataplane, 7, 2, FlowState::PROVEN, old);
        // Flow 8 has moved to another tuple: its old reply entry is nobody's.
        insert_flow::<F>(&dataplane, 8, 9, FlowState::PROVEN, now);
        add_reply::<F>(&dataplane, 8, old);
        let mut totals = (0, 0);
        loop {
            let report = dataplane.collector.collect(now).unwrap();
            totals = (totals.0 + report.expired, totals.1 + report.orphans);
            if report.complete {
                break;
            }
        }
        assert_eq!(totals, (4, 2));
        let flows = dataplane.maps.hash::<FlowKey<F::Addr>, FlowEntry<F::Addr>>(F::MAPS.flows).unwrap();
        let replies = dataplane.maps.hash::<FlowKey<F::Addr>, ReplyEntry<F::Addr>>(F::MAPS.replies).unwrap();
        let mut left: Vec<u16> = flows.keys().map(|key| key.unwrap().source_port.host()).collect();
        left.sort_unstable();
        assert_eq!(left, [2, 3, 8]);
        let left: Vec<u16> = replies.keys().map(|key| key.unwrap().destination_port.host()).collect();
        assert_eq!(left, [2]);
    });
}

#[test]
fn garbage_of_many_flows_is_collected_in_batches() {
    run("garbage-many", |stage| {
        let mut dataplane = stage.start().unwrap();
        for client in 1..=1_000 {
            add_flow::<V4>(&dataplane, client, FlowState::PROVEN, 0, None);
            add_flow::<V6>(&dataplane, client, FlowState::PROVEN, 0, None);
        }
        let report = dataplane.collector.collect(10 * TCP_ESTABLISHED).unwrap();
        assert_eq!((report.examined, report.expired), (2_000, 2_000));
    });
}

#[test]
fn listeners_are_counted_after_they_are_there() {
    run("listeners", |stage| {
        let mut dataplane = stage.start().unwrap();
        let counts = |dataplane: &Dataplane| {
            dataplane.maps.array::<u64>(map::SETTINGS).unwrap().get(&setting::LISTENER_COUNTS, 0).unwrap()
        };
        let bind = |at: &str| TcpListener::bind(at).unwrap();
        let mut listeners: Vec<_> = (0..3).map(|_| bind("127.0.0.1:0")).collect();
        dataplane.set_listeners(&listeners, &listeners[..1]).unwrap();
        assert_eq!(counts(&dataplane), 0x1_0003);
        dataplane.set_listeners(&listeners[..2], &[]).unwrap();
        assert_eq!(counts(&dataplane), 2);
        listeners.extend([bind("[::1]:0"), bind("[::1]:0")]);
        dataplane.set_listeners(&listeners, &[]).unwrap();
        assert_eq!(counts(&dataplane), 0x2_0000_0003);
    });
}

fn add_flow<F: MapFamily>(dataplane: &Dataplane, client: u16, state: FlowState, last_seen: u32, reply: Option<u32>) {
    insert_flow::<F>(dataplane, client, client, state, last_seen);
    if let Some(last_seen) = reply {
        add_reply::<F>(dataplane, client, last_seen);
    }
}

fn insert_flow<F: MapFamily>(dataplane: &Dataplane, client: u16, seen_as: u16, state: FlowState, last_seen: u32) {
    let mut flows = dataplane.maps.hash::<FlowKey<F::Addr>, FlowEntry<F::Addr>>(F::MAPS.flows).unwrap();
    let entry = FlowEntry {
        snat_address: address::<F>(1),
        snat_port: Be16::new(seen_as),
        state: state.number(),
        backend: 1,
        generation: 1,
        last_seen,
        ..FlowEntry::default()
    };
    flows.insert(flow_key::<F>(client), entry, 0).unwrap();
}

fn add_reply<F: MapFamily>(dataplane: &Dataplane, client: u16, last_seen: u32) {
    let mut replies = dataplane.maps.hash::<FlowKey<F::Addr>, ReplyEntry<F::Addr>>(F::MAPS.replies).unwrap();
    let flow = flow_key::<F>(client);
    let key = FlowKey {
        source: address::<F>(5),
        destination: address::<F>(1),
        source_port: Be16::new(8_080),
        destination_port: Be16::new(client),
        protocol: 6,
    };
    let entry = ReplyEntry {
        frontend_address: flow.destination,
        frontend_port: flow.destination_port,
        client_address: flow.source,
        client_port: flow.source_port,
        last_seen,
        ..ReplyEntry::default()
    };
    replies.insert(key, entry, 0).unwrap();
}

fn flow_key<F: MapFamily>(client: u16) -> FlowKey<F::Addr> {
    FlowKey {
        source: address::<F>(2),
        destination: address::<F>(3),
        source_port: Be16::new(client),
        destination_port: Be16::new(80),
        protocol: 6,
    }
}

fn ip<F: MapFamily>(host: u8) -> IpAddr {
    match F::FAMILY {
        IpFamily::V4 => IpAddr::from([10, 244, 1, host]),
        IpFamily::V6 => IpAddr::from([0xfd00, 1, 0, 0, 0, 0, 0, u16::from(host)]),
    }
}

fn address<F: MapFamily>(host: u8) -> F::Addr {
    F::address(ip::<F>(host)).unwrap()
}

fn key(address: &str, port: u16) -> FrontendKey {
    FrontendKey { address: address.parse().unwrap(), port, protocol: Protocol::Tcp, inside: false }
}

fn backend(address: &str, port: u16, local: bool) -> BackendKey {
    BackendKey { address: address.parse().unwrap(), port, protocol: Protocol::Tcp, local }
}

fn ring(slots: u32, salt: u32) -> Ring {
    (0..slots).map(|slot| BackendId(1 + (slot + salt) % 7)).collect::<Vec<_>>().into()
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

/// One of everything.
fn tables() -> Tables {
    let frontend = |service, front| Frontend { service: ServiceId(service), front, ..Default::default() };
    let udp = FrontendKey { protocol: Protocol::Udp, ..key("192.0.2.10", 53) };
    Tables {
        frontends: [
            (key("192.0.2.10", 80), frontend(1, None)),
            (key("0.0.0.0", 30_080), Frontend { inside: true, ranges: true, elsewhere: true, ..frontend(1, None) }),
            (udp, Frontend { chooses: true, ..frontend(2, None) }),
            (FrontendKey { inside: true, ..key("0.0.0.0", 30_080) }, frontend(2, None)),
            (key("192.0.2.11", 80), frontend(3, Some(FrontListener::Http))),
            (key("192.0.2.11", 443), Frontend { cookies: true, ..frontend(3, Some(FrontListener::Https)) }),
            (key("2001:db8::10", 80), frontend(4, None)),
            (key("::", 30_080), frontend(4, None)),
            (key("2001:db8::11", 80), frontend(5, Some(FrontListener::Http))),
        ]
        .into(),
        services: [
            (ServiceId(1), ring(101, 0)),
            (ServiceId(2), ring(16, 1)),
            (ServiceId(3), ring(0, 0)),
            (ServiceId(4), ring(16, 3)),
            (ServiceId(5), ring(0, 0)),
        ]
        .into(),
        backends: [
            ((IpFamily::V4, BackendId(1)), backend("10.244.1.5", 8_080, true)),
            ((IpFamily::V4, BackendId(7)), backend("10.244.2.6", 53, false)),
            ((IpFamily::V6, BackendId(2)), backend("fd00:1::5", 8_080, true)),
            ((IpFamily::V6, BackendId(3)), backend("fd00:2::6", 53, false)),
        ]
        .into(),
        backend_nodes: [((IpFamily::V4, BackendId(7)), IpAddr::from([10, 0, 0, 2]))].into(),
        nodes: [(IpAddr::from([10, 0, 0, 1]), true), (IpAddr::from([10, 0, 0, 2]), false)].into(),
        node_addresses: ["192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap()).into(),
        vips: ["192.0.2.10", "192.0.2.11", "2001:db8::10", "2001:db8::11"].map(|vip| vip.parse().unwrap()).into(),
        settings: Settings {
            snat_ports: (15_000, 29_999),
            node_ports: Some((30_000, 32_767)),
            snat_address4: Some([192, 0, 2, 99].into()),
            snat_address6: Some("2001:db8::99".parse().unwrap()),
            front_mark: 0x2000,
            node_address4: Some([10, 0, 0, 1].into()),
            node_address6: Some("2001:db8::1".parse().unwrap()),
            tunnel_mtu: 1500,
            syn_limit: 262,
            denies4: true,
            denies6: true,
        },
        policies: [(ServiceId(2), ServicePolicy { affinity: 60, algorithm: Algorithm::Random })].into(),
        ranges: [(ServiceId(1), net("192.0.2.0/25")), (ServiceId(4), net("2001:db8::/32"))].into(),
        denied: std::sync::Arc::new(["198.51.100.0/24", "2001:db8:bad::/48"].map(net).into()),
    }
}

fn write(dataplane: &Dataplane, tables: &Tables) {
    let mut store = dataplane.store().unwrap();
    for (&(family, id), key) in &tables.backends {
        store.upsert_backend(family, id, key).unwrap();
    }
    for (&id, ring) in &tables.services {
        store.write_ring(id, ring).unwrap();
    }
    for (&id, policy) in &tables.policies {
        store.write_policy(id, policy).unwrap();
    }
    for &(id, network) in &tables.ranges {
        store.upsert_range(id, network).unwrap();
    }
    for &network in tables.denied.iter() {
        store.upsert_denied(network).unwrap();
    }
    for (key, frontend) in &tables.frontends {
        store.upsert_frontend(key, frontend).unwrap();
    }
    for (&(family, id), &node) in &tables.backend_nodes {
        store.upsert_backend_node(family, id, node).unwrap();
    }
    for (&address, &own) in &tables.nodes {
        store.upsert_node(address, own).unwrap();
    }
    for &address in &tables.node_addresses {
        store.upsert_node_address(address).unwrap();
    }
    for &address in &tables.vips {
        store.upsert_vip(address).unwrap();
    }
    store.write_settings(&tables.settings).unwrap();
}

/// The agent holds it in a task: it must be possible to send it.
const fn assert_send<T: Send>() {}
const _: () = assert_send::<Dataplane>();
