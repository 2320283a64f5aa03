use super::*;
use crate::model::Severity;

fn link(index: u32, name: &str, kind: Option<&str>) -> Link {
    Link { index, name: name.into(), kind: kind.map(str::to_owned), ethernet: true, mtu: 1_500, ..Link::default() }
}

fn facts(kind: Option<&str>) -> Facts {
    Facts { link: link(2, "eth0", kind), ..Facts::default() }
}

/// Code and text of the reason why tc.
fn why(facts: &Facts, policy: XdpPolicy) -> (Option<&'static str>, String) {
    match decide(facts, policy) {
        Way::Tc(reason) => (reason.note.map(|note| note.code), reason.text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hardware_and_bonds_get_xdp() {
    for kind in [None, Some("bond"), Some("tun"), Some("netkit")] {
        for policy in [XdpPolicy::Auto, XdpPolicy::Native] {
            assert_eq!(decide(&facts(kind), policy), Way::Xdp, "{kind:?}");
        }
        assert_eq!(why(&facts(kind), XdpPolicy::Off), (None, "--xdp off".to_owned()));
    }
}

#[test]
fn a_veth_gets_xdp_only_if_it_is_asked_for() {
    let (code, text) = why(&facts(Some("veth")), XdpPolicy::Auto);
    assert_eq!(code, Some("xdp-not-used"));
    assert!(text.contains("unfinished checksums") && text.contains("--xdp native"), "{text}");
    assert_eq!(decide(&facts(Some("veth")), XdpPolicy::Native), Way::Xdp);
}

#[test]
fn devices_above_others_are_taken_by_tc_whatever_is_asked_for() {
    for kind in ["bridge", "vlan", "macvlan", "ipvlan", "team"] {
        let (code, text) = why(&facts(Some(kind)), XdpPolicy::Native);
        assert_eq!((code, text.contains(kind)), (Some("xdp-not-used"), true), "{text}");
    }
}

#[test]
fn tags_that_the_card_takes_off_matter_only_where_vlans_stand_on_it() {
    let strips = Facts { strips_tags: true, ..facts(None) };
    assert_eq!(decide(&strips, XdpPolicy::Auto), Way::Xdp);
    let carries = Facts { carries_vlans: true, ..facts(None) };
    assert_eq!(decide(&carries, XdpPolicy::Auto), Way::Xdp);
    let (code, text) = why(&Facts { strips_tags: true, ..carries }, XdpPolicy::Native);
    assert!(code == Some("xdp-not-used") && text.contains("`ethtool -K eth0 rxvlan off`"), "{text}");
}

#[test]
fn a_foreign_program_and_a_refusal_are_warnings_that_name_them() {
    let foreign = Facts { foreign: Some("cil_xdp_entry (id 77)".into()), ..facts(None) };
    assert_eq!(
        why(&foreign, XdpPolicy::Auto),
        (Some("xdp-foreign"), "held by XDP program cil_xdp_entry (id 77)".into())
    );
    let refused = Facts { refused: Some("Operation not supported".into()), ..facts(None) };
    assert_eq!(why(&refused, XdpPolicy::Auto).0, Some("xdp-not-native"));
    let Way::Tc(reason) = decide(&foreign, XdpPolicy::Native) else { panic!("XDP in spite of another program") };
    assert_eq!(reason.note.map(|note| note.severity), Some(Severity::Warning));
}

#[test]
fn a_driver_that_says_it_has_no_xdp_is_not_tried() {
    assert_eq!(why(&Facts { features: Some(0), ..facts(None) }, XdpPolicy::Auto).0, Some("xdp-not-native"));
    assert_eq!(decide(&Facts { features: Some(1), ..facts(None) }, XdpPolicy::Auto), Way::Xdp);
}

#[test]
fn what_has_no_ethernet_header_is_left_alone() {
    let mut tunnel = facts(Some("wireguard"));
    tunnel.link.ethernet = false;
    let Way::None(reason) = decide(&tunnel, XdpPolicy::Auto) else { panic!("attached to a tunnel") };
    assert_eq!(reason.note.map(|note| note.code), Some("interface-not-ethernet"));
}

#[test]
fn redirects_go_only_to_drivers_that_take_them() {
    let with = |features, mtu| {
        let mut facts = Facts { features, ..facts(None) };
        facts.link.mtu = mtu;
        may_redirect_to(&facts)
    };
    assert!(with(None, 1_500) && with(None, 9_000), "before 6.3 attaching natively has to be enough");
    assert!(!with(Some(BASIC), 1_500));
    assert!(with(Some(BASIC | REDIRECT_TARGET), 1_500));
    assert!(!with(Some(BASIC | REDIRECT_TARGET), 9_000), "frames of several buffers would vanish");
    assert!(with(Some(BASIC | REDIRECT_TARGET | REDIRECT_TARGET_BUFFERS), 9_000));
}

/// eth0 and eth1 in bond0, bond0 in br0 or alone; eth2 carries eth2.100; eth3 in a VRF.
fn machine(bond_in_bridge: bool) -> Vec<Link> {
    let port = |index, name, master, kind: &str| Link {
        master: Some(master),
        master_kind: Some(kind.to_owned()),
        ..link(index, name, None)
    };
    let bond = link(4, "bond0", Some("bond"));
    let bond = if bond_in_bridge { Link { master: Some(5), master_kind: Some("bridge".into()), ..bond } } else { bond };
    vec![
        port(2, "eth0", 4, "bond"),
        port(3, "eth1", 4, "bond"),
        bond,
        link(5, "br0", Some("bridge")),
        link(6, "eth2", None),
        Link { lower: Some(6), vlan: Some((100, 0x8100)), ..link(7, "eth2.100", Some("vlan")) },
        port(8, "eth3", 9, "vrf"),
        link(9, "vrf0", Some("vrf")),
    ]
}

#[test]
fn ports_stand_for_their_master() {
    let heads = |links: &[Link]| links.iter().map(|link| head(links, link).name.clone()).collect::<Vec<_>>();
    let alone = ["bond0", "bond0", "bond0", "br0", "eth2", "eth2.100", "eth3", "vrf0"];
    assert_eq!(heads(&machine(false)), alone);
    assert_eq!(heads(&machine(true))[..4], ["br0", "br0", "br0", "br0"]);
}

#[test]
fn a_vlan_is_a_device_of_its_own_on_its_parent() {
    let links = machine(false);
    let on = |index| carries_vlans(&links, index);
    assert!(on(6) && !on(7) && !on(2));
}
