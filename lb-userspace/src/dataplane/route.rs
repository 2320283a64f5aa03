//! The policy rule and the route that make packets for the front local: VIPs are on no interface, so the tc companion
//! marks what is for the front, and marked packets find a table in which everything is local.

use std::io;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Netlink, NetlinkError};
use super::record::Policy;
use crate::tables::IpFamily;

/// Before the main table (32766) and before what CNIs put in front of it; after `local` (0), which knows no VIP.
const PRIORITY: u32 = 90;
/// Index of `lo` in every network namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
const LOOPBACK: u32 = 1;

/// Adds the route of one family, and one rule per uplink; removes rules of ours for other interfaces. What is there already
/// is success.
pub(crate) fn add(netlink: &Netlink, policy: Policy, family: IpFamily, uplinks: &[String]) -> Result<(), NetlinkError> {
    remove_rules(netlink, policy, family, uplinks)?;
    let create = NLM_F_CREATE | NLM_F_EXCL;
    let route = RouteNetlinkMessage::NewRoute(local_route(policy, family));
    accept(netlink.order("add the route for packets to the front", route, create), libc::EEXIST)?;
    for uplink in uplinks {
        let rule = RouteNetlinkMessage::NewRule(rule(policy, family, Some(uplink)));
        accept(netlink.order("add the policy rule for packets to the front", rule, create), libc::EEXIST)?;
    }
    Ok(())
}

/// Removes the route of one family, and the rules whatever their uplink. Returns what was removed.
pub(crate) fn remove(netlink: &Netlink, policy: Policy, family: IpFamily) -> Result<Vec<String>, NetlinkError> {
    let mut removed = remove_rules(netlink, policy, family, &[])?;
    let route = RouteNetlinkMessage::DelRoute(local_route(policy, family));
    if accept(netlink.order("remove the route for packets to the front", route, 0), libc::ESRCH)? {
        removed.push(format!("route of table {}{}", policy.table, suffix(family)));
    }
    Ok(removed)
}

fn remove_rules(
    netlink: &Netlink,
    policy: Policy,
    family: IpFamily,
    keep: &[String],
) -> Result<Vec<String>, NetlinkError> {
    let mut removed = Vec::new();
    let mut question = RuleMessage::default();
    question.header.family = number(family);
    for found in netlink.dump("list policy rules", RouteNetlinkMessage::GetRule(question))? {
        let RouteNetlinkMessage::NewRule(found) = found else { continue };
        let uplink = input(&found).unwrap_or("any").to_owned();
        if is_ours(&found, policy, family) && !keep.contains(&uplink) {
            accept(netlink.order("remove a policy rule", RouteNetlinkMessage::DelRule(found), 0), libc::ENOENT)?;
            removed.push(format!("rule {PRIORITY} from interface {uplink}{}", suffix(family)));
        }
    }
    Ok(removed)
}

/// `ip rule add pref PRIORITY fwmark M/M iif UPLINK lookup T`. Without `iif`, a host with `src_valid_mark=1` (wg-quick
/// sets it) and reverse path filtering would take every client for a martian.
fn rule(policy: Policy, family: IpFamily, uplink: Option<&str>) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = number(family);
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::FwMark(policy.fwmark),
        RuleAttribute::FwMask(policy.fwmark),
        RuleAttribute::Table(policy.table),
    ];
    message.attributes.extend(uplink.map(|uplink| RuleAttribute::Iifname(uplink.to_owned())));
    message
}

/// `ip route add local default dev lo table T`.
fn local_route(policy: Policy, family: IpFamily) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = number(family);
    message.header.kind = RouteType::Local;
    message.header.scope = RouteScope::Host;
    message.header.protocol = RouteProtocol::Static;
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message.attributes = vec![RouteAttribute::Table(policy.table), RouteAttribute::Oif(LOOPBACK)];
    message
}

/// The family in socket calls.
const fn number(family: IpFamily) -> AddressFamily {
    match family {
        IpFamily::V4 => AddressFamily::Inet,
        IpFamily::V6 => AddressFamily::Inet6,
    }
}

const fn suffix(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "",
        IpFamily::V6 => " for IPv6",
    }
}

/// A kernel without rules of a family answers with those of all.
fn is_ours(found: &RuleMessage, policy: Policy, family: IpFamily) -> bool {
    found.header.family == number(family)
        && rule(policy, family, None).attributes.iter().all(|attribute| found.attributes.contains(attribute))
}

fn input(rule: &RuleMessage) -> Option<&str> {
    rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Iifname(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Turns an error that means "it is so already" into `false`.
fn accept(result: Result<(), NetlinkError>, code: i32) -> Result<bool, NetlinkError> {
    match result {
        Ok(()) => Ok(true),
        Err(NetlinkError { source, .. }) if source.raw_os_error() == Some(code) => Ok(false),
        Err(NetlinkError { source, operation }) if source.raw_os_error() == Some(libc::ENETDOWN) => {
            Err(NetlinkError { operation, source: io::Error::other("interface lo is down; expected it to be up") })
        }
        Err(error) => Err(error),
    }
}
