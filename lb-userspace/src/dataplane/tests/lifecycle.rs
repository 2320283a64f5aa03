//! Start, attach, reload, unload.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use aya::maps::HashMap;
use aya::programs::{TcAttachType, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{ABI_VERSION, FlowEntry4, FlowKey4, program};
use lb_common::be::Be16;

use super::stage::{UPLINK, run, sh, start};
use crate::dataplane::cgroup::Cgroup;
use crate::dataplane::driver::Drivers;
use crate::dataplane::netlink::Netlink;
use crate::dataplane::object::OBJECT;
use crate::dataplane::record::Record;
use crate::dataplane::{
    CgroupChoice, Config, DataplaneError, InterfaceMode, LockError, MapSizes, XdpPolicy, addresses, loader, sys, tc,
    unload,
};

#[test]
fn attaches_natively_reloads_in_place_and_takes_everything_back() {
    run("lifecycle", |stage| {
        sh("echo 20000-20001 > /proc/sys/net/ipv4/ip_local_reserved_ports");
        let mut first = stage.start().unwrap();
        assert!(xdp_program().is_none(), "attached before the maps were written");
        first.attach().unwrap();
        let interface = first.interfaces().remove(0);
        assert_eq!(
            (interface.name.as_str(), interface.mode, interface.tc),
            (UPLINK, InterfaceMode::Native, Some("tcx"))
        );
        assert!(interface.programs.iter().all(|program| program.instructions.is_some_and(|count| count > 0)));
        assert!(first.start_report().to_string().contains("uplink XDP native and tcx"), "{}", first.start_report());
        let link = sys::open_pin(&first.pins.link(program::XDP, UPLINK)).unwrap().unwrap();
        let before = xdp_program().unwrap();

        let held = start(&stage.config).err().unwrap();
        assert!(matches!(held, DataplaneError::Lock(LockError::Held { .. })), "{held}");
        assert!(matches!(unload(&stage.config.pin_path, false, |_| Ok(Vec::new())), Err(DataplaneError::Lock(_))));
        drop(first);
        assert_eq!(xdp_program(), Some(before), "packets go on without an agent");

        let mut second = stage.start().unwrap();
        second.attach().unwrap();
        let after = xdp_program().unwrap();
        assert_ne!(after, before);
        assert_eq!(sys::link_target(link.as_fd()).unwrap().program, after, "the link that was there was not updated");
        assert_eq!(second.interfaces()[0].mode, InterfaceMode::Native);
        drop((second, link));

        for family in ["-4", "-6"] {
            assert!(sh(&format!("ip {family} rule")).contains("fwmark 0x2000/0x2000 iif uplink lookup 30565"));
            assert!(sh(&format!("ip {family} route show table 30565")).contains("local default dev lo"));
        }
        assert_eq!(reserved_ports(), "15000-29999");
        let report = unload(&stage.config.pin_path, false, |_| Ok(Vec::new())).unwrap();
        assert!(report.removed.contains(&"link weir_xdp_uplink".to_owned()), "{report:?}");
        let map = format!("map v{}/SERVICES", lb_common::abi::ABI_VERSION);
        assert!(report.removed.contains(&map), "{report:?}");
        assert_eq!(xdp_program(), None);
        assert!(!stage.config.pin_path.exists());
        for family in ["-4", "-6"] {
            assert!(!sh(&format!("ip {family} rule")).contains("0x2000"), "IP {family}");
            assert_eq!(sh(&format!("ip {family} route show table all")).matches("30565").count(), 0, "IP {family}");
        }
        assert_eq!(reserved_ports(), "20000-20001");
        assert!(
            unload(&stage.config.pin_path, false, |_| Ok(Vec::new())).unwrap().removed.is_empty(),
            "nothing is left to remove"
        );
    });
}

#[test]
fn unload_leaves_what_others_pinned_below_the_pin_path() {
    run("shared-path", |stage| {
        drop(stage.start().unwrap());
        let (ours, other) = (stage.config.pin_path.join("map"), stage.config.pin_path.join("other"));
        std::fs::create_dir(&other).unwrap();
        unload(&stage.config.pin_path, false, |_| Ok(Vec::new())).unwrap();
        assert!(!ours.exists());
        std::fs::remove_dir(&other).expect("what others have there was removed");
        std::fs::remove_dir(&stage.config.pin_path).unwrap();
    });
}

#[test]
fn refuses_the_xdp_program_of_another_weir_and_names_it() {
    run("foreign", |stage| {
        let mut foreign = foreign_xdp();
        let program: &mut Xdp = foreign.program_mut(program::XDP).unwrap().try_into().unwrap();
        program.load().unwrap();
        let id = program.info().unwrap().id();
        program.attach(UPLINK, XdpMode::Driver).unwrap();
        let error = stage.start().err().unwrap().to_string();
        assert!(error.contains(&format!("uplink already holds XDP program weir_xdp (id {id})")), "{error}");
        drop(foreign);
        stage.start().unwrap().attach().unwrap();
    });
}

#[test]
fn one_that_comes_between_start_and_attach_is_refused_too() {
    run("foreign-late", |stage| {
        let mut dataplane = stage.start().unwrap();
        let mut foreign = foreign_xdp();
        let program: &mut Xdp = foreign.program_mut(program::XDP).unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach(UPLINK, XdpMode::Skb).unwrap();
        assert!(matches!(dataplane.attach(), Err(DataplaneError::ForeignXdp { .. })));
    });
}

#[test]
fn names_interfaces_that_do_not_exist() {
    run("interfaces", |stage| {
        let config = Config { interfaces: vec!["eth7".into()], ..stage.config.clone() };
        let error = start(&config).err().unwrap().to_string();
        assert!(error.starts_with("--interface eth7: no such interface; there are: lo, "), "{error}");
        sh("ip route del default");
        assert!(stage.start().is_ok(), "the default route of IPv6 names an interface as well");
        sh("ip -6 route del default");
        assert!(matches!(stage.start(), Err(DataplaneError::NoInterface)));
    });
}

#[test]
fn maps_that_differ_are_made_anew_and_it_is_said() {
    run("recreate", |stage| {
        drop(stage.start().unwrap());
        let again = stage.start().unwrap();
        assert!(again.start_report().notes.iter().all(|note| note.code != "map-recreated"), "equal maps are kept");
        drop(again);
        std::fs::create_dir_all(stage.config.pin_path.join("map/v0")).unwrap();
        let pin = stage.config.pin_path.join(format!("map/v{ABI_VERSION}/FLOWS4"));
        let former = pin.with_file_name("FLOWS4-former"); // of an agent that died
        std::fs::rename(&pin, &former).unwrap();
        begin_at(&former, 1);
        let other = aya::maps::MapData::from_pin(pin.with_file_name("DEVICES")).unwrap();
        other.pin(&pin).unwrap();
        let mut anew = stage.start().unwrap();
        assert!(!former.exists() && flows_at(&pin).is_empty(), "what its flows refer to is lost");
        anew.attach().unwrap();
        let notes: Vec<_> = anew.start_report().notes.iter().map(|note| note.message.as_str()).collect();
        assert!(notes.iter().any(|note| note.starts_with("map FLOWS4 is made anew: found Hash with 1024 entries")));
        assert!(notes.iter().any(|note| note.contains("maps of another version (v0) were removed")), "{notes:?}");
        assert!(!notes.iter().any(|note| note.contains("SERVICES")), "{notes:?}");
    });
}

/// A flow, by its client's port.
fn flow(port: u16) -> (FlowKey4, FlowEntry4) {
    let key = FlowKey4 { source_port: Be16::new(port), protocol: 6, ..FlowKey4::default() };
    (key, FlowEntry4 { backend: u32::from(port), ..FlowEntry4::default() })
}

/// Which flows a pinned map holds.
fn flows_at(pin: &Path) -> BTreeMap<FlowKey4, FlowEntry4> {
    let map = aya::maps::Map::from_map_data(aya::maps::MapData::from_pin(pin).unwrap()).unwrap();
    let map: HashMap<_, FlowKey4, FlowEntry4> = map.try_into().unwrap();
    map.iter().map(Result::unwrap).collect()
}

fn begin_at(pin: &Path, port: u16) {
    let map = aya::maps::Map::from_map_data(aya::maps::MapData::from_pin(pin).unwrap()).unwrap();
    let mut map: HashMap<_, FlowKey4, FlowEntry4> = map.try_into().unwrap();
    let (key, entry) = flow(port);
    map.insert(key, entry, 0).unwrap();
}

#[test]
fn maps_of_another_size_keep_what_they_hold_and_get_what_comes_meanwhile() {
    run("resize", |stage| {
        let (pin, former) = {
            let maps = stage.config.pin_path.join(format!("map/v{ABI_VERSION}"));
            (maps.join("FLOWS4"), maps.join("FLOWS4-former"))
        };
        let with = |sizes| start(&Config { sizes, ..stage.config.clone() }).unwrap();
        let sizes = stage.config.sizes;
        stage.start().unwrap().attach().unwrap();
        begin_at(&pin, 1);
        let larger = MapSizes { flows: 2_048, services: 100, backends: 100, ..sizes };
        // an agent that ends before it comes to attach, and one that is asked for another size again
        drop(with(MapSizes { flows: 4_096, ..sizes }));
        begin_at(&former, 2); // by the programs that are still attached
        drop(with(sizes));
        assert!(pin.with_file_name("FLOWS4-former-2").exists());
        let mut grown = with(larger);
        begin_at(&former, 3);
        grown.attach().unwrap();
        assert_eq!(flows_at(&pin), [flow(1), flow(2), flow(3)].into());
        assert!(!former.exists() && !pin.with_file_name("FLOWS4-former-2").exists(), "what is not used any more goes");
        assert_eq!(grown.start_report().notes.iter().filter(|note| note.message.starts_with("map RINGS ")).count(), 0);
        let notes: Vec<_> = grown.start_report().notes.iter().collect();
        assert!(notes.iter().all(|note| note.code != "map-recreated"), "{notes:?}");
        assert!(notes.iter().any(|note| note.code == "map-resized" && note.message.contains("SERVICES")), "{notes:?}");
        let flows = grown.maps().unwrap().into_iter().find(|map| map.name == "FLOWS4").unwrap();
        assert_eq!((flows.entries, flows.capacity), (Some(3), 2_048));
        drop(grown);
        let mut small = with(MapSizes { flows: 2, ..larger });
        small.attach().unwrap();
        let notes = &small.start_report().notes;
        assert!(notes.iter().any(|note| note.code == "map-recreated" && note.message.contains("FLOWS4")), "{notes:?}");
    });
}

#[test]
fn an_interface_made_anew_is_attached_to_again() {
    run("refresh", |stage| {
        let mut dataplane = stage.start().unwrap();
        dataplane.attach().unwrap();
        sh("ip link del uplink");
        dataplane.refresh().unwrap();
        let gone = dataplane.interfaces().remove(0);
        assert_eq!((gone.mode, gone.reason.as_deref()), (InterfaceMode::None, Some("the interface is gone")));
        sh("ip link add uplink type veth peer name peer && ip link set uplink up");
        sh("ip address add 192.0.2.7/24 dev uplink && ip route add default via 192.0.2.254");
        dataplane.refresh().unwrap();
        assert!(xdp_program().is_some());
        assert_eq!(dataplane.interfaces()[0].mode, InterfaceMode::Native);
        assert_eq!(addresses::of_uplinks(&[]).unwrap()[0].to_string(), "192.0.2.7");
    });
}

#[test]
fn what_has_no_native_mode_is_taken_by_tc_with_the_reason() {
    run("no-native", |stage| {
        let config = Config { interfaces: vec!["lo".into()], ..stage.config.clone() };
        let mut dataplane = start(&config).unwrap();
        dataplane.attach().unwrap();
        let status = dataplane.interfaces().remove(0);
        assert_eq!((status.mode, status.tc), (InterfaceMode::Tc, Some("tcx")));
        assert!(status.reason.as_ref().is_some_and(|reason| reason.starts_with("native: ")), "{status:?}");
        assert_eq!(dataplane.remarks().map(|note| note.code).collect::<Vec<_>>(), ["xdp-not-native"]);
        let names: Vec<_> = status.programs.iter().map(|program| program.name).collect();
        assert_eq!(names, [program::TC_INGRESS, program::TC_EGRESS]);
    });
}

#[test]
fn the_policy_decides_on_a_veth_and_a_change_of_it_is_carried_out() {
    run("policy", |stage| {
        for (xdp, mode) in [
            (XdpPolicy::Native, InterfaceMode::Native),
            (XdpPolicy::Auto, InterfaceMode::Tc),
            (XdpPolicy::Native, InterfaceMode::Native),
            (XdpPolicy::Off, InterfaceMode::Tc),
        ] {
            let mut dataplane = start(&Config { xdp, ..stage.config.clone() }).unwrap();
            dataplane.attach().unwrap();
            let status = dataplane.interfaces().remove(0);
            assert_eq!((status.mode, status.kind.as_deref()), (mode, Some("veth")), "{xdp:?}");
            assert_eq!(xdp_program().is_some(), mode == InterfaceMode::Native, "{xdp:?}");
            assert_eq!(status.reason.is_some(), mode == InterfaceMode::Tc, "{xdp:?}");
        }
    });
}

#[test]
fn a_driver_that_refused_is_asked_again_when_the_mtu_has_changed() {
    run("refused", |stage| {
        let mut dataplane = stage.start().unwrap();
        let index = dataplane.places().unwrap()[0].facts.link.index;
        dataplane.refusals = [(index, (1_500, "out of rings".to_owned()))].into();
        dataplane.attach().unwrap();
        let status = dataplane.interfaces().remove(0);
        assert_eq!((status.mode, status.reason.as_deref()), (InterfaceMode::Tc, Some("native: out of rings")));
        dataplane.refresh().unwrap();
        assert_eq!(dataplane.interfaces()[0].mode, InterfaceMode::Tc, "nothing has changed");
        sh("ip link set uplink mtu 1400");
        dataplane.refresh().unwrap();
        assert_eq!(dataplane.interfaces()[0].mode, InterfaceMode::Native);
        assert!(dataplane.refusals.is_empty() && dataplane.remarks().next().is_none());
    });
}

#[test]
fn a_bridge_is_taken_by_tc_and_its_port_stands_for_it() {
    run("bridge", |stage| {
        sh("ip link add br0 type bridge && ip link set peer master br0 && ip link set br0 up");
        sh("ip address add 198.51.100.1/24 dev br0 && ip route add default via 198.51.100.254 metric 9");
        // One by its default route, one as the port that was named.
        for interfaces in [vec![], vec![UPLINK.to_owned(), "peer".to_owned()]] {
            let config = Config { interfaces: interfaces.clone(), ..stage.config.clone() };
            let mut dataplane = start(&config).unwrap();
            dataplane.attach().unwrap();
            let found: BTreeMap<_, _> =
                dataplane.interfaces().into_iter().map(|found| (found.name, found.mode)).collect();
            assert_eq!(found, [("uplink".into(), InterfaceMode::Native), ("br0".into(), InterfaceMode::Tc)].into());
            let codes: Vec<_> = dataplane.remarks().map(|note| note.code).collect();
            assert_eq!(codes.contains(&"interface-replaced"), !interfaces.is_empty(), "{codes:?}");
            assert!(codes.contains(&"xdp-not-used"), "{codes:?}");
            assert!(addresses::of_uplinks(&interfaces).unwrap().contains(&"198.51.100.1".parse().unwrap()));
        }
    });
}

#[test]
fn drivers_are_asked_what_xdp_can_do() {
    run("features", |_| {
        let index = |name: &str| {
            let links = Netlink::connect().unwrap().links().unwrap();
            links.into_iter().find(|link| link.name == name).unwrap().index
        };
        let drivers = Drivers::connect();
        if let Some(features) = drivers.xdp_features(index(UPLINK)) {
            assert_eq!(features & 1, 1, "veth has XDP");
            assert_eq!(features & 4, 0, "nothing at the other end takes what is redirected");
            assert_eq!(drivers.xdp_features(index("lo")), Some(0));
        }
        assert_eq!(drivers.xdp_features(9_999), None);
        sh(&format!("ethtool -K {UPLINK} rxvlan off"));
        assert!(!drivers.strips_tags(UPLINK));
        sh(&format!("ethtool -K {UPLINK} rxvlan on"));
        assert!(drivers.strips_tags(UPLINK));
        assert!(!drivers.strips_tags("no-such-device") && !drivers.strips_tags("a-name-that-is-far-too-long"));
    });
}

#[test]
fn an_interface_that_is_no_longer_named_is_let_go() {
    run("fewer", |stage| {
        let config = Config { interfaces: vec![UPLINK.into(), "peer".into()], ..stage.config.clone() };
        let mut both = start(&config).unwrap();
        both.attach().unwrap();
        assert_eq!(sh("ip rule").matches("0x2000 ").count(), 2);
        drop(both);
        let config = Config { interfaces: vec!["peer".into()], ..stage.config.clone() };
        let mut one = start(&config).unwrap();
        one.attach().unwrap();
        assert_eq!(xdp_program(), None);
        assert_eq!(sh("ip rule").matches("0x2000 ").count(), 1);
        assert!(one.start_report().notes.iter().any(|note| note.code == "link-removed"));
    });
}

#[test]
fn changes_of_addresses_are_told() {
    run("watch", |stage| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dataplane = crate::dataplane::Dataplane::start(&stage.config).await.unwrap();
            let mut watch = dataplane.watch().unwrap();
            sh("ip address add 192.0.2.9/24 dev uplink");
            let told = async {
                // Waits that are cancelled again and again lose nothing.
                while tokio::time::timeout(Duration::from_millis(5), watch.changed()).await.is_err() {}
            };
            tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
            let addresses = addresses::of_node().unwrap();
            assert!(addresses.contains(&"192.0.2.9".parse().unwrap()), "{addresses:?}");
            assert!(!addresses.contains(&"127.0.0.1".parse().unwrap()));
        });
    });
}

#[test]
fn clsact_takes_the_place_of_tcx_and_replaces_itself() {
    run("clsact", |stage| {
        for round in 0..2 {
            let mut dataplane = stage.start().unwrap();
            let egress = loader::classifier(&mut dataplane.object, program::TC_EGRESS).unwrap();
            tc::attach_clsact(egress, UPLINK, TcAttachType::Egress).unwrap();
            let id = egress.info().unwrap().id();
            drop(dataplane);
            let filters = sh("tc filter show dev uplink egress");
            assert_eq!(filters.matches("direct-action").count(), 1, "round {round}: {filters}");
            assert!(filters.contains(&format!(" id {id} ")), "round {round}, program {id}: {filters}");
        }
        let report = unload(&stage.config.pin_path, false, |_| Ok(Vec::new())).unwrap();
        assert!(report.removed.contains(&"filter weir_tc_egress of uplink".to_owned()), "{report:?}");
        assert_eq!(sh("tc filter show dev uplink egress"), "");
    });
}

#[test]
fn a_device_that_is_no_tunnel_any_more_loses_its_filter() {
    run("former-tunnel", |stage| {
        let mut first = stage.start().unwrap();
        let tunnel = loader::classifier(&mut first.object, program::TUNNEL).unwrap();
        tc::attach_clsact(tunnel, "peer", TcAttachType::Ingress).unwrap();
        let mut record = Record::read(first.run_dir()).unwrap();
        record.tunnels = ["peer".to_owned()].into();
        record.write(first.run_dir()).unwrap();
        drop(first);
        let filters = || sh("tc filter show dev peer ingress");
        assert!(filters().contains("direct-action"), "{}", filters());
        stage.start().unwrap().attach().unwrap();
        assert_eq!(filters(), "");
    });
}

#[test]
fn sockets_are_let_go_where_no_control_group_can_be_had() {
    run("no-cgroup", |stage| {
        let Ok(Some(root)) = Cgroup::choose(&CgroupChoice::Root) else {
            println!("skipped: no unified hierarchy is mounted here");
            return;
        };
        // A part without processes: nobody's sockets are touched.
        let part = Part(root.path.join(format!("wplane-{}", std::process::id())));
        std::fs::create_dir(&part.0).unwrap();
        let here = CgroupChoice::Directory(part.0.clone());
        let mut first = start(&Config { cgroup: here, ..stage.config.clone() }).unwrap();
        first.attach().unwrap();
        assert!(first.socket_level().attached, "{:?}", first.socket_level());
        let pins = first.pins.clone();
        drop(first);
        let nowhere = CgroupChoice::Directory("/nonexistent".into());
        let mut second = start(&Config { cgroup: nowhere, ..stage.config.clone() }).unwrap();
        second.attach().unwrap();
        assert!(!second.socket_level().attached, "{:?}", second.socket_level());
        for name in program::SOCKET {
            assert!(!pins.single_link(name).exists(), "{name} is still attached");
        }
    });
}

/// A control group, gone when it is dropped.
struct Part(std::path::PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The same object without pins: a program that is not ours.
fn foreign_xdp() -> Ebpf {
    EbpfLoader::new().load(OBJECT).unwrap()
}

/// Id of the XDP program on the uplink.
fn xdp_program() -> Option<u32> {
    let links = Netlink::connect().unwrap().links().unwrap();
    links.into_iter().find(|link| link.name == UPLINK)?.xdp.map(|xdp| xdp.program)
}

fn reserved_ports() -> String {
    sh("cat /proc/sys/net/ipv4/ip_local_reserved_ports").trim().to_owned()
}
