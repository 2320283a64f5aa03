//! The configuration of BIRD 2: numbers, addresses and networks, and nothing that a user wrote but passwords. Pure.
//!
//! BIRD reads the networks of this node from the kernel's routing table, and is told here which of them each router is to hear
//! of, and what to put on them. So an address comes and goes by one route, while BIRD is configured anew only when Announcements
//! or the addresses that they are about change.

pub mod control;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use super::bgp::session::{BfdTimes, Session};
use super::bgp::{Peer, Plan, Told};

/// The protocol of our routes in the kernel's table: nobody else's number (include/uapi/linux/rtnetlink.h, iproute2's
/// etc/rt_protos).
pub const ROUTE_PROTOCOL: u8 = 119;

/// Seconds that BIRD, which has just started, waits for routers before it goes on without what they knew.
const RECOVERY: u32 = 30;

/// The name of a session.
pub fn session_name(peer: IpAddr) -> String {
    let family = if peer.is_ipv4() { 4 } else { 6 };
    format!("weir{family}_{}", peer.to_string().replace(['.', ':'], "_"))
}

/// What BIRD is to do. The same plan gives the same text.
pub fn configuration(plan: &Plan, table: u32) -> String {
    let mut out = String::new();
    write(&mut out, plan, table).map(|()| out).unwrap_or_default()
}

/// Writing to a String cannot fail.
fn write(out: &mut String, plan: &Plan, table: u32) -> std::fmt::Result {
    writeln!(out, "# Written by weir, which writes it anew: changes are lost.")?;
    writeln!(out, "log stderr {{ info, remote, warning, error, auth, fatal, bug }};")?;
    writeln!(out, "router id {};", plan.router_id)?;
    writeln!(out, "graceful restart wait {RECOVERY};\n")?;
    writeln!(out, "protocol device {{}}")?;
    for family in [4, 6] {
        writeln!(out, "\nipv{family} table weir{family};")?;
        writeln!(out, "protocol kernel weir_kernel{family} {{")?;
        writeln!(out, "  kernel table {table};\n  learn;\n  scan time 10;")?;
        let import = format!("import where krt_source = {ROUTE_PROTOCOL}");
        writeln!(out, "  ipv{family} {{ table weir{family}; {import}; export none; }};\n}}")?;
    }
    if plan.peers.values().any(|peer| peer.session.bfd.is_some()) {
        writeln!(out, "\nprotocol bfd weir_bfd {{}}")?;
    }
    let numbers: BTreeMap<&str, usize> =
        plan.told.keys().zip(1..).map(|(name, number)| (name.as_str(), number)).collect();
    for (told, number) in plan.told.values().zip(1..) {
        networks(out, told, number, true)?;
        networks(out, told, number, false)?;
    }
    for peer in plan.peers.values() {
        let told = peer.told.iter().filter_map(|name| Some((*numbers.get(name.as_str())?, plan.told.get(name)?)));
        filter(out, &peer.session, told)?;
        session(out, peer)?;
    }
    Ok(())
}

/// The networks of an Announcement of one family, if there are some: BIRD knows no empty sets of a type.
fn networks(out: &mut String, told: &Told, number: usize, v4: bool) -> std::fmt::Result {
    let found: Vec<&IpNet> = of_family(&told.networks, v4).collect();
    let Some((last, others)) = found.split_last() else { return Ok(()) };
    writeln!(out, "\ndefine told{number}_{} = [", if v4 { 4 } else { 6 })?;
    others.iter().try_for_each(|network| writeln!(out, "  {network},"))?;
    writeln!(out, "  {last}\n];")
}

fn of_family(networks: &BTreeSet<IpNet>, v4: bool) -> impl Iterator<Item = &IpNet> {
    networks.iter().filter(move |network| network.addr().is_ipv4() == v4)
}

/// What a router hears of, and what is put on it. Of several Announcements of one network each adds its communities, and the
/// largest local preference counts.
fn filter<'a>(out: &mut String, session: &Session, told: impl Iterator<Item = (usize, &'a Told)>) -> std::fmt::Result {
    use super::bgp::community::Community;
    let v4 = session.peer.is_ipv4();
    let mut told: Vec<_> = told.filter(|(_, told)| of_family(&told.networks, v4).next().is_some()).collect();
    told.sort_by_key(|(number, told)| (told.common.local_preference, *number));
    writeln!(out, "\nfilter to_{} {{\n  bool told = false;", session_name(session.peer))?;
    for (number, told) in told {
        writeln!(out, "  if net ~ told{number}_{} then {{", if v4 { 4 } else { 6 })?;
        for community in &told.common.communities {
            let list = match community {
                Community::Standard(..) => "bgp_community",
                Community::Large(..) => "bgp_large_community",
            };
            writeln!(out, "    {list}.add({community});")?;
        }
        if let Some(preference) = told.common.local_preference.filter(|_| session.is_internal()) {
            writeln!(out, "    bgp_local_pref = {preference};")?;
        }
        writeln!(out, "    told = true;\n  }}")?;
    }
    writeln!(out, "  if told then accept;\n  reject;\n}}")
}

fn session(out: &mut String, peer: &Peer) -> std::fmt::Result {
    let (session, name) = (&peer.session, session_name(peer.session.peer));
    let family = if session.peer.is_ipv4() { 4 } else { 6 };
    writeln!(out, "\nprotocol bgp {name} {{")?;
    if let Some(id) = session.router_id {
        writeln!(out, "  router id {id};")?;
    }
    let source = session.source.map(|source| format!("{source} ")).unwrap_or_default();
    writeln!(out, "  local {source}as {};", session.local_asn)?;
    writeln!(out, "  neighbor {} port {} as {};", session.peer, session.port, session.asn)?;
    writeln!(out, "  {};", if session.multihop { "multihop" } else { "direct" })?;
    if let Some(password) = &peer.password {
        writeln!(out, "  password \"{}\";", password.reveal())?;
    }
    writeln!(out, "  hold time {};", session.hold_time)?;
    if let Some(seconds) = session.keepalive {
        writeln!(out, "  keepalive time {seconds};")?;
    }
    // BIRD's own 120 seconds are long where a router comes back after a moment
    writeln!(out, "  connect retry time {};", session.connect.unwrap_or(5))?;
    writeln!(out, "  connect delay time 1;\n  error wait time 1, 60;")?;
    match session.graceful_restart {
        0 => writeln!(out, "  graceful restart off;")?,
        seconds => writeln!(out, "  graceful restart on;\n  graceful restart time {seconds};")?,
    }
    writeln!(out, "  long lived graceful restart off;")?;
    if let Some(BfdTimes { receive, transmit, multiplier, passive }) = session.bfd {
        let passive = if passive { " passive yes;" } else { "" };
        let times = format!("min rx interval {receive} ms; min tx interval {transmit} ms; multiplier {multiplier};");
        writeln!(out, "  bfd {{ {times}{passive} }};")?;
    }
    let channel = format!("table weir{family}; import none; export filter to_{name}; next hop self;");
    writeln!(out, "  ipv{family} {{ {channel} }};\n}}")
}

#[cfg(test)]
mod tests;
