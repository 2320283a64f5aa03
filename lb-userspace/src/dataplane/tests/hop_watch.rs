use std::time::Duration;

use lb_common::abi::{map, setting};
use tokio::time::{sleep, timeout};

use super::stage::{run, sh};
use crate::dataplane::Dataplane;

/// Each of these may change a next hop.
const CHANGES: &[&str] = &[
    "ip route add 198.51.100.0/24 via 192.0.2.9",
    "ip route del 198.51.100.0/24",
    "ip -6 route add 2001:db8:1::/48 dev uplink",
    "ip rule add from 192.0.2.7 lookup 77",
    "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev uplink nud permanent",
    "ip neigh change 192.0.2.9 lladdr 02:00:00:00:00:99 dev uplink nud permanent",
    "ip neigh del 192.0.2.9 dev uplink",
    "ip nexthop add id 7 via 192.0.2.9 dev uplink",
    "ip addr add 192.0.2.3/24 dev uplink",
    "ip link set uplink mtu 1400",
    "ip link set uplink down",
    "echo 0 > /proc/sys/net/ipv4/conf/uplink/forwarding",
];

#[test]
fn whatever_changes_next_hops_begins_an_epoch() {
    run("hop-watch", |stage| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dataplane = Dataplane::start(&stage.config).await.unwrap();
            let settings = dataplane.maps.array::<u64>(map::SETTINGS).unwrap();
            let epoch = || settings.get(&setting::HOP_EPOCH, 0).unwrap();
            tokio::spawn(dataplane.follow_next_hops().unwrap().run());
            for change in CHANGES {
                let settled = timeout(Duration::from_secs(30), quiet(&epoch)).await;
                assert!(settled.is_ok(), "epochs never end before: {change}");
                let before = epoch();
                sh(change);
                let another = async {
                    while epoch() == before {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                assert!(timeout(Duration::from_secs(30), another).await.is_ok(), "no epoch after: {change}");
            }
        });
    });
}

/// Waits until an epoch has lasted for a while: interfaces that came up go on to tell of themselves.
async fn quiet(epoch: &impl Fn() -> u64) {
    let mut turns = 0;
    while turns < 20 {
        let before = epoch();
        sleep(Duration::from_millis(5)).await;
        turns = if epoch() == before { turns + 1 } else { 0 };
    }
}
