//! What has run out: ports for source NAT of a Service, room for proven flows. Said as long as it happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem, ServiceKey};

/// So long after the last time it is still said: a client that is refused comes again within that time.
const SAID_FOR: Duration = Duration::from_secs(30);

/// What was counted the last time, and what is to be said.
#[derive(Debug, Default)]
pub(super) struct Exhaustion {
    ports: Rising<ServiceKey>,
    flows: Rising<()>,
    limited: Rising<()>,
    /// Packets dropped for want of a port; while these stay the same, no Service has to be asked.
    dropped: Option<u64>,
}

/// Counters of which it matters when they last rose.
#[derive(Debug)]
struct Rising<K> {
    counted: Option<BTreeMap<K, u64>>,
    seen: BTreeMap<K, Instant>,
}

impl<K> Default for Rising<K> {
    fn default() -> Self {
        Self { counted: None, seen: BTreeMap::new() }
    }
}

impl<K: Clone + Ord> Rising<K> {
    /// Takes in what was counted by now. The first time that is of before this agent.
    fn look(&mut self, counted: BTreeMap<K, u64>, now: Instant) {
        if let Some(before) = &self.counted {
            let risen = counted.iter().filter(|(key, count)| **count > before.get(*key).copied().unwrap_or(0));
            self.seen.extend(risen.map(|(key, _)| (key.clone(), now)));
        }
        self.counted = Some(counted);
        self.pass(now);
    }

    /// Nothing was counted until now.
    fn pass(&mut self, now: Instant) {
        self.seen.retain(|_, last| now.saturating_duration_since(*last) < SAID_FOR);
    }
}

impl Exhaustion {
    /// So many packets have been dropped by now because no port was free. If that is more than before, `counted` says of which
    /// Services.
    pub(super) fn look_at_ports(
        &mut self,
        dropped: u64,
        counted: impl FnOnce() -> Option<BTreeMap<ServiceKey, u64>>,
        now: Instant,
    ) {
        match (self.dropped != Some(dropped)).then(counted).flatten() {
            Some(counted) => {
                self.dropped = Some(dropped);
                self.ports.look(counted, now);
            }
            None => self.ports.pass(now),
        }
    }

    /// So many times by now there was no room for a proven flow.
    pub(super) fn look_at_flows(&mut self, refused: u64, now: Instant) {
        self.flows.look([((), refused)].into(), now);
    }

    /// So many first segments were dropped by now because of the limit on unproven connections.
    pub(super) fn look_at_limit(&mut self, dropped: u64, now: Instant) {
        self.limited.look([((), dropped)].into(), now);
    }

    /// One Problem for each Service without ports, and one of the node where it is full.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let full = self.flows.seen.keys().map(|()| {
            let what = "the tables of proven flows are full: new connections work on as half-open ones, which a flood can push out";
            Problem::warning(code::FLOW_TABLE_FULL, &ObjectRef::default(), what)
                .expected("a larger --max-flows, or --flow-memory")
        });
        let limited = self.limited.seen.keys().map(|()| {
            let what = "more new TCP connections come to pods of this node than clients go on with, as in a flood of forged segments: \
                        those that are not sent again are dropped";
            Problem::warning(code::SYN_LIMITED, &ObjectRef::default(), what)
                .expected("fewer, or a larger --syn-limit where the kernel's connection tracking has room")
        });
        self.ports.seen.keys().map(without_port).chain(full).chain(limited).collect()
    }
}

fn without_port(key: &ServiceKey) -> Problem {
    let what = format!(
        "clients of port {}/{} are dropped: no port is free for source NAT towards its backends on other nodes",
        key.port, key.protocol
    );
    Problem::warning(code::SNAT_EXHAUSTED, &key.object(), what)
        .expected("a wider --snat-ports, more backends, backends on this node, or weir.io/forwarding: dsr")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::model::Protocol;

    #[test]
    fn it_is_said_while_it_happens() {
        let key = ServiceKey { namespace: "a".into(), name: "web".into(), port: 80, protocol: Protocol::Tcp };
        let (start, mut exhaustion) = (clock::now(), Exhaustion::default());
        let mut said_after = |count: u64, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            exhaustion.look_at_ports(count, || Some([(key.clone(), count)].into()), now);
            exhaustion.look_at_flows(count, now);
            exhaustion.look_at_limit(count, now);
            exhaustion.problems().iter().map(|problem| problem.code.clone()).collect::<Vec<_>>()
        };
        let all = [code::SNAT_EXHAUSTED, code::FLOW_TABLE_FULL, code::SYN_LIMITED];
        assert_eq!(said_after(2, 0), [""; 0], "of before");
        assert_eq!(said_after(3, 5), all);
        assert_eq!(said_after(3, 34), all, "for half a minute");
        assert_eq!(said_after(3, 35), [""; 0]);
        assert_eq!(said_after(4, 70), all, "again");
    }
}
