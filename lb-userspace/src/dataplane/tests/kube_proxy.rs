//! What kube-proxy leaves behind, in a network namespace of its own.

use super::stage::{self, sh};
use crate::dataplane::kube_proxy::{Family, Rules, find, nftables, remove};

/// Chains as kube-proxy makes them, and one of somebody else.
fn chains(program: &str) {
    sh(&format!("{program} -t nat -N KUBE-SERVICES && {program} -t nat -N KUBE-SVC-ABC && {program} -t nat -N MINE"));
    sh(&format!("{program} -t nat -A PREROUTING -m comment --comment 'service portals' -j KUBE-SERVICES"));
    sh(&format!("{program} -t nat -A KUBE-SERVICES -j KUBE-SVC-ABC && {program} -t nat -A PREROUTING -j MINE"));
}

#[test]
fn leftovers_of_kube_proxy_are_found_and_removed_and_nothing_else() {
    stage::run("kube-proxy-left", |_| {
        assert_eq!(find().rules, []);
        chains("iptables-nft");
        chains("ip6tables-legacy");
        nftables::create_table(Family::V6).expect("a table");
        let kinds = [Rules::Iptables(Family::V4), Rules::IptablesLegacy(Family::V6), Rules::Nftables(Family::V6)];
        assert_eq!(find().rules, kinds);
        let removed = remove().expect("removed");
        let said = ["removed 2 chains of iptables", "removed 2 chains of ip6tables-legacy"];
        assert_eq!(removed, [said[0], said[1], "removed nftables table ip6 kube-proxy"]);
        assert_eq!(find().rules, []);
        for program in ["iptables-nft-save", "ip6tables-legacy-save"] {
            let left = sh(program);
            assert!(left.contains("-A PREROUTING -j MINE") && !left.contains("KUBE-"), "{program}: {left}");
        }
        assert!(remove().expect("nothing").is_empty());
    });
}

/// The device stands for the mode `ipvs`; a kernel without IPVS has no virtual services to remove.
#[test]
fn the_device_of_ipvs_is_found_and_removed_with_its_addresses() {
    stage::run("kube-proxy-ipvs", |_| {
        sh("ip link add kube-ipvs0 type bridge && ip link add mine type bridge");
        sh("ip addr add 10.96.0.1/32 dev kube-ipvs0 && ip addr add 10.96.0.1/24 dev mine");
        assert_eq!(find().rules, [Rules::Ipvs]);
        assert_eq!(remove().expect("removed"), ["removed 0 virtual services and the device of ipvs"]);
        assert_eq!(find().rules, []);
        assert!(sh("ip -o link").contains("mine"), "what is of others stays");
    });
}
