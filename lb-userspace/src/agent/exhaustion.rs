//! Services for whose flows no port was free for source NAT: said as long as it happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::problem::code;
use crate::model::{Problem, ServiceKey};

/// So long after the last flow that got no port it is still said: a client that is refused comes again within that time.
const SAID_FOR: Duration = Duration::from_secs(30);

/// What was counted the last time, and what is to be said.
#[derive(Debug, Default)]
pub(super) struct Exhaustion {
    counted: Option<BTreeMap<ServiceKey, u64>>,
    seen: BTreeMap<ServiceKey, Instant>,
}

impl Exhaustion {
    /// Takes in how many flows of each service have got no port so far, as of now. The first time that is of before this agent.
    pub(super) fn look(&mut self, counted: BTreeMap<ServiceKey, u64>, now: Instant) {
        if let Some(before) = &self.counted {
            let grown = counted.iter().filter(|(key, count)| **count > before.get(*key).copied().unwrap_or(0));
            self.seen.extend(grown.map(|(key, _)| (key.clone(), now)));
        }
        self.counted = Some(counted);
        self.pass(now);
    }

    /// Nothing was counted until now.
    pub(super) fn pass(&mut self, now: Instant) {
        self.seen.retain(|_, last| now.saturating_duration_since(*last) < SAID_FOR);
    }

    /// One Problem for each service.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let problem = |key: &ServiceKey| {
            let what = format!(
                "clients of port {}/{} are dropped: no port is free for source NAT towards its backends on other nodes",
                key.port, key.protocol
            );
            Problem::warning(code::SNAT_EXHAUSTED, &key.object(), what)
                .expected("a wider --snat-ports, more backends, backends on this node, or weir.io/forwarding: dsr")
        };
        self.seen.keys().map(problem).collect()
    }
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
            exhaustion.look([(key.clone(), count)].into(), start + Duration::from_secs(seconds));
            exhaustion.problems().len()
        };
        assert_eq!(said_after(2, 0), 0, "of before");
        assert_eq!(said_after(3, 5), 1);
        assert_eq!(said_after(3, 34), 1, "for half a minute");
        assert_eq!(said_after(3, 35), 0);
        assert_eq!(said_after(4, 70), 1, "again");
    }
}
