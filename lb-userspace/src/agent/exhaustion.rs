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
    ports: BTreeMap<ServiceKey, Rising>,
    flows: Rising,
    limited: Rising,
    /// Packets dropped for want of a port; while these stay the same, no Service has to be asked.
    dropped: Option<u64>,
}

/// A counter of which it matters when it last rose.
#[derive(Debug, Default)]
struct Rising {
    counted: Option<u64>,
    seen: Option<Instant>,
}

impl Rising {
    /// Takes in what was counted by now. The first time that is of before this agent.
    fn look(&mut self, counted: u64, now: Instant) {
        if self.counted.is_some_and(|before| counted > before) {
            self.seen = Some(now);
        }
        self.counted = Some(counted);
        self.pass(now);
    }

    /// Nothing was counted until now.
    fn pass(&mut self, now: Instant) {
        self.seen.take_if(|last| now.saturating_duration_since(*last) >= SAID_FOR);
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
        if self.dropped != Some(dropped)
            && let Some(counted) = counted()
        {
            self.ports.retain(|key, _| counted.contains_key(key));
            for (key, count) in counted {
                // a Service that has come since counts from nothing
                let before = self.dropped.map(|_| 0);
                self.ports.entry(key).or_insert(Rising { counted: before, seen: None }).look(count, now);
            }
            self.dropped = Some(dropped);
        }
        self.ports.values_mut().for_each(|rising| rising.pass(now));
    }

    /// So many times by now there was no room for a proven flow.
    pub(super) fn look_at_flows(&mut self, refused: u64, now: Instant) {
        self.flows.look(refused, now);
    }

    /// So many first segments were dropped by now because of the limit on unproven connections.
    pub(super) fn look_at_limit(&mut self, dropped: u64, now: Instant) {
        self.limited.look(dropped, now);
    }

    /// One Problem for each Service without ports, and one of the node where it is full.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let full = self.flows.seen.map(|_| {
            let what = "the tables of proven flows are full: new connections work on as half-open ones, which a flood can push out";
            Problem::warning(code::FLOW_TABLE_FULL, &ObjectRef::default(), what)
                .expected("a larger --max-flows, or --flow-memory")
        });
        let limited = self.limited.seen.map(|_| {
            let what = "more new TCP connections come to pods of this node than clients go on with, as in a flood of forged segments: \
                        those that are not sent again are dropped";
            Problem::warning(code::SYN_LIMITED, &ObjectRef::default(), what)
                .expected("fewer, or a larger --syn-limit where the kernel's connection tracking has room")
        });
        let ports = self.ports.iter().filter(|(_, rising)| rising.seen.is_some());
        ports.map(|(key, _)| without_port(key)).chain(full).chain(limited).collect()
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
