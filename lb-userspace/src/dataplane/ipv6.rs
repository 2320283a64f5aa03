//! IPv6 of the host: whether it is there, and what forwarding it takes.
//!
//! A host that forwards IPv6 is a router, and routers do not listen to router advertisements unless they are told to
//! (`accept_ra` of 2, ip-sysctl.rst): switching forwarding on alone takes its default route away from a host that has it
//! from one (net/ipv6/addrconf.c, `addrconf_fixup_forwarding` and `rt6_purge_dflt_routers`).

use std::collections::BTreeSet;

use super::netlink::Link;
use super::record::Record;
use super::report::Note;
use super::sysctl::{SysctlError, Sysctls};

/// Code of [`Ipv6::note`].
pub(crate) const NOTE: &str = "ipv6-off";

const FORWARDING: &str = "net/ipv6/conf/all/forwarding";
/// Listens to router advertisements while not forwarding.
const AS_HOST: u64 = 1;
/// Listens to them in any case.
const ALWAYS: &str = "2";

/// What there is of IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ipv6 {
    /// The kernel has none.
    Missing,
    /// It is switched off on these interfaces; that may be all of them.
    Off(Vec<String>),
    /// It is there.
    On,
}

impl Ipv6 {
    /// Looks at the loopback interface, by which the front is reached, and at the uplinks.
    pub(crate) fn find(sysctls: &Sysctls, uplinks: &[String]) -> Self {
        if sysctls.number(FORWARDING).is_none() {
            return Self::Missing;
        }
        let is_off = |name: &&str| sysctls.number(&format!("net/ipv6/conf/{name}/disable_ipv6")) != Some(0);
        let names = ["lo"].into_iter().chain(uplinks.iter().map(String::as_str));
        let off: Vec<String> = names.filter(is_off).map(str::to_owned).collect();
        if off.is_empty() { Self::On } else { Self::Off(off) }
    }

    pub(crate) fn is_on(&self, interface: &str) -> bool {
        match self {
            Self::Missing => false,
            Self::Off(names) => names.iter().all(|name| name != interface),
            Self::On => true,
        }
    }

    /// What clients of IPv6 lose.
    pub(crate) fn note(&self) -> Option<Note> {
        let message = match self {
            Self::On => return None,
            Self::Missing => "this kernel has no IPv6: its clients are not served, those of IPv4 are".to_owned(),
            Self::Off(names) => format!(
                "IPv6 is switched off on {} (net.ipv6.conf.*.disable_ipv6): its clients are not served there, those of IPv4 \
                 are",
                names.join(", ")
            ),
        };
        Some(Note::info(NOTE, message))
    }
}

/// Lets the host forward IPv6, and go on listening to router advertisements where it does now. `advertised` are the
/// interfaces with a route from one. Returns what changed; the record remembers what was before.
pub(crate) fn forward(
    sysctls: &Sysctls,
    ipv6: &Ipv6,
    uplinks: &[String],
    links: &[Link],
    advertised: &BTreeSet<u32>,
    record: &mut Record,
) -> Result<Vec<String>, SysctlError> {
    if !uplinks.iter().any(|uplink| ipv6.is_on(uplink)) {
        return Ok(Vec::new());
    }
    let others = links.iter().filter(|link| advertised.contains(&link.index)).map(|link| &link.name);
    let candidates: BTreeSet<&String> = uplinks.iter().chain(others).collect();
    let listening: Vec<&String> = candidates.into_iter().filter(|name| listens(sysctls, name, record)).collect();
    let mut changed = Vec::new();
    for name in listening {
        changed.extend(set(sysctls, &format!("net/ipv6/conf/{name}/accept_ra"), ALWAYS, record)?);
    }
    changed.extend(set(sysctls, FORWARDING, "1", record)?);
    // An interface may be an exception from all.
    for uplink in uplinks.iter().filter(|uplink| ipv6.is_on(uplink)) {
        changed.extend(set(sysctls, &format!("net/ipv6/conf/{uplink}/forwarding"), "1", record)?);
    }
    Ok(changed)
}

/// The interface listens to router advertisements, or would if we had not switched forwarding on: so one does that was
/// plugged in later.
fn listens(sysctls: &Sysctls, interface: &str, record: &Record) -> bool {
    let value = |name: &str| sysctls.number(&format!("net/ipv6/conf/{interface}/{name}"));
    let is_host = value("forwarding") == Some(0) || record.sysctls.contains_key(FORWARDING);
    is_host && value("accept_ra") == Some(AS_HOST)
}

fn set(sysctls: &Sysctls, name: &str, value: &str, record: &mut Record) -> Result<Option<String>, SysctlError> {
    let before = sysctls.number(name);
    let changed = sysctls.set(name, value)?;
    if let (Some(before), Some(_)) = (before, &changed) {
        record.sysctls.entry(name.to_owned()).or_insert(before);
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::sysctl::tests::sysctls;

    fn conf(interface: &str, accept_ra: &str, forwarding: &str) -> Vec<(String, String)> {
        let values = [("accept_ra", accept_ra), ("forwarding", forwarding), ("disable_ipv6", "0")];
        values.map(|(name, value)| (format!("net/ipv6/conf/{interface}/{name}"), value.to_owned())).into()
    }

    fn host(interfaces: &[(&str, &str, &str)]) -> (tempfile::TempDir, Sysctls) {
        let values: Vec<_> = interfaces.iter().flat_map(|(name, ra, forwarding)| conf(name, ra, forwarding)).collect();
        let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        sysctls(&values)
    }

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), ..Link::default() }
    }

    #[test]
    fn forwarding_leaves_those_listening_that_listened() {
        let all = [
            ("all", "1", "0"),
            ("lo", "1", "0"),
            ("eth0", "1", "0"),
            ("eth1", "0", "0"),
            ("mgmt", "1", "0"),
            ("pod", "1", "0"),
        ];
        let (_dir, sysctls) = host(&all);
        let links = [link(2, "eth0"), link(3, "eth1"), link(4, "mgmt"), link(5, "pod")];
        let uplinks = ["eth0".to_owned(), "eth1".to_owned()];
        let mut record = Record::default();
        let changed = forward(&sysctls, &Ipv6::On, &uplinks, &links, &[4].into(), &mut record).unwrap();
        let expected = [
            "net.ipv6.conf.eth0.accept_ra = 2 (was 1)",
            "net.ipv6.conf.mgmt.accept_ra = 2 (was 1)",
            "net.ipv6.conf.all.forwarding = 1 (was 0)",
            "net.ipv6.conf.eth0.forwarding = 1 (was 0)",
            "net.ipv6.conf.eth1.forwarding = 1 (was 0)",
        ];
        assert_eq!(changed, expected);
        assert_eq!(record.sysctls.get("net/ipv6/conf/eth0/accept_ra"), Some(&1));
        assert!(forward(&sysctls, &Ipv6::On, &uplinks, &links, &[4].into(), &mut record).unwrap().is_empty());
    }

    #[test]
    fn a_router_stays_deaf_unless_we_made_it_one() {
        let (_dir, sysctls) = host(&[("all", "1", "1"), ("lo", "1", "1"), ("eth0", "1", "1")]);
        let forward_for =
            |record: &mut Record| forward(&sysctls, &Ipv6::On, &["eth0".into()], &[], &BTreeSet::new(), record);
        assert!(forward_for(&mut Record::default()).unwrap().is_empty());
        let mut ours = Record { sysctls: [(FORWARDING.to_owned(), 0)].into(), ..Record::default() };
        assert_eq!(forward_for(&mut ours).unwrap(), ["net.ipv6.conf.eth0.accept_ra = 2 (was 1)"]);
    }

    #[test]
    fn where_ipv6_is_off_nothing_changes_and_a_note_says_so() {
        let (_dir, without) = sysctls(&[]);
        let eth0 = ["eth0".to_owned()];
        assert_eq!(Ipv6::find(&without, &eth0), Ipv6::Missing);
        let (_dir, off) = host(&[("all", "1", "0"), ("lo", "1", "0"), ("eth0", "1", "0"), ("eth1", "1", "0")]);
        assert_eq!(Ipv6::find(&off, &eth0), Ipv6::On);
        off.set("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
        let found = Ipv6::find(&off, &eth0);
        assert!(found.note().unwrap().message.contains("switched off on eth0"), "{found:?}");
        let mut record = Record::default();
        assert!(forward(&off, &found, &eth0, &[], &BTreeSet::new(), &mut record).unwrap().is_empty());
        let both = ["eth0".to_owned(), "eth1".to_owned()];
        let changed = forward(&off, &Ipv6::find(&off, &both), &both, &[], &BTreeSet::new(), &mut record).unwrap();
        assert!(changed.iter().all(|line| !line.contains("eth0.forwarding")) && !changed.is_empty(), "{changed:?}");
    }
}
