//! Problems that the agent itself finds.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::announce::{Contest, Listing};
use crate::dataplane::kube_proxy::KubeProxy;
use crate::l7::supervisor::FrontStatus;
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::Objects;

/// A source has not delivered a complete picture in time.
pub(super) fn source_incomplete(source: &str, waited: Duration) -> Problem {
    let what =
        format!("not read completely after {} s; nothing is removed from the maps until it is", waited.as_secs());
    Problem::warning(code::SOURCE_INCOMPLETE, &ObjectRef::default(), what).at("--source", source)
}

/// Files that hold up the deletion of what an earlier run left are named, so many of them.
const NAMED: usize = 4;

/// What an earlier run left is kept, because files that may ask for it were never read well.
pub(super) fn services_kept(kept: usize, unread: &[&Path]) -> Option<Problem> {
    let first = unread.first().filter(|_| kept > 0)?;
    let named: Vec<_> = unread.iter().take(NAMED).map(|file| file.display().to_string()).collect();
    let more = match unread.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!(
        "{kept} services that were in the maps at start, and that no manifest asks for, are kept: mend or remove {}{more}, \
         which could not be read well since",
        named.join(", ")
    );
    Some(Problem::warning(code::SERVICES_KEPT, &ObjectRef::default(), what).in_file(first, None))
}

/// Somebody else wrote to the maps.
pub(super) fn maps_changed(entries: usize) -> Problem {
    let what = format!("{entries} entries of the maps were not as they had been written; they are put right");
    Problem::warning(code::MAPS_CHANGED, &ObjectRef::default(), what)
}

/// What keeps the front from serving as it should.
pub(super) fn front(status: &FrontStatus) -> Vec<Problem> {
    let object = ObjectRef::default();
    let transparent = status.not_transparent.iter().map(|why| {
        let what = format!("the front cannot answer for VIPs that are on no interface: {why}");
        Problem::error(code::FRONT_NOT_TRANSPARENT, &object, what)
    });
    let failed = status.last_failure.iter().map(|why| {
        let what = format!("the front was started {} times again, the last time because {why}", status.restarts);
        Problem::warning(code::FRONT_RESTARTED, &object, what)
    });
    let unresolved = status.unresolved.iter().map(|(name, why)| {
        let what = format!("an ExternalName Service or an auth-url leads to {name}: {why}; requests get 503");
        Problem::warning(code::NAME_UNRESOLVED, &object, what).expected("a name with an address")
    });
    let unconfined = status.unconfined.iter().map(|why| {
        let what = format!("the front runs without its filter of system calls: {why}");
        Problem::warning(code::FRONT_UNCONFINED, &object, what).expected("a kernel with CONFIG_SECCOMP_FILTER")
    });
    transparent.chain(failed).chain(unresolved).chain(unconfined).collect()
}

/// kube-proxy runs beside weir, or has left rules.
pub(super) fn kube_proxy(found: &KubeProxy) -> Option<Problem> {
    let object = ObjectRef::default();
    let rules: Vec<_> = found.rules.iter().map(ToString::to_string).collect();
    if found.running {
        let what = "kube-proxy runs on this node: what weir balances it does not see, and needs it not";
        return Some(Problem::info(code::KUBE_PROXY_RUNS, &object, what));
    }
    let what = format!(
        "kube-proxy is gone, and its rules are still there ({}): packets of Services that have changed since go astray \
         where weir does not take them first; `weir unload --kube-proxy` removes the rules",
        rules.join(", ")
    );
    (!rules.is_empty()).then(|| Problem::warning(code::KUBE_PROXY_RULES_LEFT, &object, what))
}

/// Programs could not be attached to an interface that appeared.
pub(super) fn follow_failed(error: &dyn std::error::Error) -> Problem {
    let what = format!("cannot follow the change of interfaces or addresses: {error}");
    Problem::error(code::INTERFACES_NOT_FOLLOWED, &ObjectRef::default(), what)
}

/// Another station has an address that is announced here.
pub(super) fn contested(listing: &Listing) -> Vec<Problem> {
    let problem = |(address, contest): (&IpAddr, &Contest)| {
        let [a, b, c, d, e, f] = contest.rival;
        let end = match contest.left {
            true => "this node leaves it to that station, as its hardware address is lower",
            false => "this node keeps it, as its own hardware address is lower",
        };
        let what =
            format!("the station {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} says that it has {address}: {end}");
        let problem = Problem::warning(code::ADDRESS_CONTESTED, &ObjectRef::default(), what);
        problem.at_field("status.loadBalancer.ingress").expected("one station of the network with this address")
    };
    listing.contested.iter().map(problem).collect()
}

/// Announcements that nobody tells routers of.
pub(super) fn bgp_off(objects: &Objects) -> impl Iterator<Item = Problem> {
    let of_routers = objects.announcements().filter(|announcement| announcement.spec.bgp.is_some());
    of_routers.map(|announcement| {
        let owner = ObjectRef::new("Announcement", "", &announcement.metadata.name);
        let problem =
            Problem::error(code::BGP_OFF, &owner, "routers are not told: this agent was started without --bird");
        problem.at_field("spec.bgp").expected("a BIRD beside the agent, and --bird with the folder that they share")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::kube_proxy::{Family, Rules};

    #[test]
    fn rules_are_leftovers_only_without_their_kube_proxy() {
        let rules = vec![Rules::Iptables(Family::V4), Rules::Nftables(Family::V6)];
        assert_eq!(kube_proxy(&KubeProxy::default()), None);
        let running = kube_proxy(&KubeProxy { running: true, rules: rules.clone() }).expect("a Problem");
        assert_eq!(running.code, code::KUBE_PROXY_RUNS);
        let left = kube_proxy(&KubeProxy { running: false, rules }).expect("a Problem");
        assert_eq!(left.code, code::KUBE_PROXY_RULES_LEFT);
        assert!(left.message.contains("(iptables, nftables table ip6 kube-proxy)"), "{}", left.message);
    }

    #[test]
    fn what_is_kept_names_the_files_that_hold_it_up() {
        let names: Vec<_> = (0..6).map(|number| format!("/m/{number}.yaml")).collect();
        let files: Vec<_> = names.iter().map(Path::new).collect();
        let problem = services_kept(2, &files).expect("a Problem");
        assert!(
            problem.message.contains("2 services") && problem.message.contains("mend or remove /m/0.yaml, /m/1.yaml")
        );
        assert!(problem.message.contains("/m/3.yaml and 2 more") && !problem.message.contains("/m/4.yaml"));
        assert_eq!(problem.file.as_deref(), Some(files[0]));
        assert!(!services_kept(1, &files[..4]).expect("a Problem").message.contains("more"));
        assert_eq!((services_kept(0, &files), services_kept(1, &[])), (None, None));
    }
}
