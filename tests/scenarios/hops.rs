//! Next hops that change under traffic: another way, another hardware address, a device that goes.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use weir_lab::{Cluster, Family, Flow, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{scenario, web};
use crate::ipv6::dual_services;

/// Flows of both families through the first node to the pod on the second one.
fn flows_to_the_far_pod(cluster: &mut Cluster) -> Result<Vec<Flow>> {
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    dual_services(cluster)?;
    cluster.start_agents()?;
    let to = Family::BOTH.map(|family| cluster.nodes[0].port_of(family, 30070));
    to.iter().cycle().take(8).map(|to| Flow::start(&cluster.client, *to)).collect()
}

/// The flows go on, and a new connection and a datagram come through.
fn everything_goes_on(cluster: &Cluster, flows: &[Flow]) -> Result<()> {
    flows.iter().try_for_each(|flow| flow.goes_on(20))?;
    for family in Family::BOTH {
        let port = |port| cluster.nodes[0].port_of(family, port);
        ask_tcp(&cluster.client, port(30070), None)?;
        eventually("datagrams to come through", SOON, || {
            ask_udp(&cluster.client, port(30053), None, "hello").map(drop)
        })?;
    }
    Ok(())
}

fn none_broke(flows: Vec<Flow>) -> Result<()> {
    for flow in flows {
        let report = flow.stop()?;
        ensure!(report.error.is_none(), "a flow broke: {report:?}");
    }
    Ok(())
}

/// Moves the way to the second node's pods to the router, and closes the one before.
fn move_the_way(cluster: &Cluster) -> Result<()> {
    let (near, far) = (&cluster.nodes[0], &cluster.nodes[1]);
    // a router would also tell the node of the shorter way, which the node must not take
    cluster.wire.set_sysctl("net/ipv4/conf/all/send_redirects", "0")?;
    cluster.wire.set_sysctl("net/ipv4/conf/switch/send_redirects", "0")?;
    let direct = near.netns.mac("eth0")?;
    for family in Family::BOTH {
        let pods = family.of(far.pod_cidr(), far.pod_cidr6());
        cluster.wire.ip(&format!("route replace {pods} via {}", family.node(far)))?;
        near.netns.ip(&format!("route replace {pods} via {}", family.of("192.168.77.1", "fd00:77::1")))?;
        let rule = format!("-t raw -A PREROUTING -m mac --mac-source {direct} -d {pods} -j DROP");
        far.netns.shell(&format!("{}tables {rule}", family.ip()))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_route_moves_under_traffic() -> Result<()> {
    for agent in [true, false] {
        scenario(|cluster| {
            let flows = flows_to_the_far_pod(cluster)?;
            if !agent {
                cluster.nodes[0].end_agent(Signal::KILL)?;
            }
            move_the_way(cluster)?;
            everything_goes_on(cluster, &flows).with_context(|| format!("with an agent: {agent}"))?;
            // to the same router, of which a neighbour entry of the other family knows the hardware address (RFC 9229)
            let (near, pods) = (&cluster.nodes[0], cluster.nodes[1].pod_cidr());
            near.netns.ip(&format!("route replace {pods} via inet6 fd00:77::1 dev eth0"))?;
            near.flush_neighbours()?;
            everything_goes_on(cluster, &flows).with_context(|| format!("via inet6, with an agent: {agent}"))?;
            none_broke(flows)
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_neighbour_changes_its_hardware_address_under_traffic() -> Result<()> {
    for agent in [true, false] {
        scenario(|cluster| {
            let flows = flows_to_the_far_pod(cluster)?;
            if !agent {
                cluster.nodes[0].end_agent(Signal::KILL)?;
            }
            let far = &cluster.nodes[1].netns;
            // says so by a gratuitous ARP, and by an unsolicited neighbour advertisement
            far.set_sysctl("net/ipv4/conf/eth0/arp_notify", "1")?;
            far.set_sysctl("net/ipv6/conf/eth0/ndisc_notify", "1")?;
            far.ip("link set eth0 address 02:00:00:00:77:99")?;
            everything_goes_on(cluster, &flows).with_context(|| format!("with an agent: {agent}"))?;
            none_broke(flows)?;
            if agent { it_changes_again_and_nobody_says_so(cluster) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// A next hop that falls silent under another hardware address than before: it neither announces the new one nor sends
/// anything by which the node would learn it, and datagrams that get no answer confirm nothing. That the kernel goes on probing
/// is what finds it.
fn it_changes_again_and_nobody_says_so(cluster: &mut Cluster) -> Result<()> {
    // whose neighbour entries are resolved at once, which its neighbours would hear
    cluster.nodes[1].end_agent(Signal::TERM)?;
    let (near, far) = (&cluster.nodes[0].netns, &cluster.nodes[1].netns);
    for family in ["ipv4", "ipv6"] {
        // 15 to 45 seconds by default, then 5 until the first probe, and 3 probes in 3 seconds
        for (sysctl, value) in
            [("base_reachable_time_ms", "1000"), ("delay_first_probe_time", "1"), ("retrans_time_ms", "100")]
        {
            near.set_sysctl(&format!("net/{family}/neigh/eth0/{sysctl}"), value)?;
        }
    }
    far.set_sysctl("net/ipv4/conf/eth0/arp_notify", "0")?;
    far.set_sysctl("net/ipv6/conf/eth0/ndisc_notify", "0")?;
    far.ip("link set eth0 address 02:00:00:00:77:aa")?;
    for family in Family::BOTH {
        eventually("datagrams to come through again", SOON, || {
            ask_udp(&cluster.client, cluster.nodes[0].port_of(family, 30053), None, "hello").map(drop)
        })?;
    }
    Ok(())
}

/// A second link between the first node and the switch, over which the way to the second node's pods leads.
fn second_uplink(cluster: &mut Cluster) -> Result<()> {
    let pods = cluster.nodes[1].pod_cidr();
    let node = &cluster.nodes[0].netns;
    cluster.wire.ip(&format!("link add second type veth peer name eth1 netns {}", node.name()))?;
    cluster.wire.ip("addr add 192.168.79.1/24 dev second")?;
    cluster.wire.ip("link set second up")?;
    cluster.wire.shell("ethtool -K second gro on")?; // or what XDP sends into it is lost
    cluster.wire.ip(&format!("route replace {pods} via {}", cluster.nodes[1].ip))?;
    node.shell("ethtool -K eth1 tx off tso off gso off")?;
    node.ip("addr add 192.168.79.11/24 dev eth1")?;
    node.ip("link set eth1 up")?;
    node.ip(&format!("route replace {pods} via 192.168.79.1"))?;
    node.ip(&format!("route add {pods} via {} metric 100", cluster.nodes[1].ip))?;
    cluster.nodes[1].netns.ip("route add 192.168.79.0/24 via 192.168.77.1")?;
    let arguments = ["--interface", "eth0", "--interface", "eth1"].map(str::to_owned);
    cluster.nodes[0].agent_options().arguments.extend(arguments);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_device_that_goes_takes_its_next_hops_with_it() -> Result<()> {
    scenario(|cluster| {
        second_uplink(cluster)?;
        let flows = flows_to_the_far_pod(cluster)?;
        let far = cluster.pods[0].ip;
        flows.iter().try_for_each(|flow| flow.goes_on(20))?;
        let peer = |greeting: &str| greeting.split(' ').nth(2).unwrap_or_default().to_owned();
        let to = cluster.nodes[0].port(30070);
        let before = ask_tcp(&cluster.client, to, None)?;
        ensure!(peer(&before).contains("192.168.79.11"), "{far} sees {before}, which did not take the second uplink");
        cluster.nodes[0].netns.ip("link del eth1")?;
        // Until the agent has heard of it the programs may still choose the device.
        eventually("connections to take the first uplink", SOON, || {
            let after = ask_tcp(&cluster.client, to, None)?;
            ensure!(peer(&after).contains(&cluster.nodes[0].ip.to_string()), "{after}");
            Ok(())
        })?;
        for attempt in 0..8 {
            let after = ask_tcp(&cluster.client, to, None).with_context(|| format!("attempt {attempt}"))?;
            ensure!(peer(&after).contains(&cluster.nodes[0].ip.to_string()), "{after}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn what_was_remembered_of_a_neighbour_does_not_outlive_it() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        for attempt in 0..8 {
            // one datagram fills what is remembered, the next finds the neighbour gone; no second try
            for text in ["fills", "finds"] {
                for node in &cluster.nodes {
                    ask_udp(&cluster.client, node.port(30053), None, text)
                        .with_context(|| format!("attempt {attempt} at {}", node.name))?;
                    node.flush_neighbours()?;
                }
            }
        }
        Ok(())
    })
}
