//! Routes of which something was counted, and that are in no table any more. They are remembered for a while, so that what is
//! replaced goes on where it was; for ever they would fill the memory of an agent whose Ingresses come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::l7::table::RouteTable;
use crate::l7::traffic::{Traffic, TrafficKey, path_of};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(60);
/// How long a route is remembered.
const KEPT: Duration = Duration::from_secs(600);

/// Routes that are absent, since when.
#[derive(Debug, Default)]
pub(super) struct Absent {
    since: BTreeMap<Place, Instant>,
    looked: Option<Instant>,
}

/// Host, path and Ingress.
type Place = (String, String, String);

impl Absent {
    /// Forgets what was counted of routes that are gone for long; from time to time, else it does nothing.
    pub(super) fn forget(&mut self, table: &RouteTable, traffic: &mut Arc<Traffic>, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < EVERY) {
            return;
        }
        self.looked = Some(now);
        let present = present(table);
        // What had no rule has no host.
        let counted = traffic.iter().filter(|(key, _)| !key.host.is_empty());
        let absent: BTreeSet<_> = counted.map(|(key, _)| place(key)).filter(|place| !present.contains(place)).collect();
        self.since.retain(|place, _| absent.contains(place));
        for place in absent {
            self.since.entry(place).or_insert(now);
        }
        let gone: BTreeSet<_> = self
            .since
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= KEPT)
            .map(|(place, _)| place)
            .collect();
        if !gone.is_empty() {
            Arc::make_mut(traffic).forget(|key| gone.contains(&place(key)));
        }
    }
}

fn place(key: &TrafficKey) -> Place {
    (key.host.clone(), key.path.clone(), key.ingress.clone())
}

fn present(table: &RouteTable) -> BTreeSet<Place> {
    let default = table.default.iter().map(|entry| ("*", entry));
    let of_hosts =
        table.hosts.iter().flat_map(|(host, entries)| entries.iter().map(move |entry| (host.as_str(), entry)));
    let all = default.chain(of_hosts);
    all.map(|(host, entry)| (host.to_owned(), path_of(entry).to_owned(), entry.ingress.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::testing::entry;
    use crate::l7::traffic::TrafficCounts;
    use crate::model::PathMatch;

    #[test]
    fn routes_that_are_gone_are_forgotten_after_a_while() {
        let route = entry(PathMatch::Prefix("/x".to_owned()), None);
        let key = |host: &str| {
            let (path, ingress) = (path_of(&route).to_owned(), route.ingress.clone());
            TrafficKey { host: host.to_owned(), path, ingress, ..TrafficKey::default() }
        };
        let mut traffic = Traffic::default();
        let nobody = TrafficKey::default();
        for key in [key("stays.example"), key("goes.example"), key("returns.example"), nobody] {
            traffic.add(key, &TrafficCounts::default());
        }
        let mut traffic = Arc::new(traffic);
        let hosts = |hosts: &[&str]| RouteTable {
            hosts: hosts.iter().map(|host| ((*host).to_owned(), [route.clone()].into())).collect(),
            ..RouteTable::default()
        };
        let (without, with) = (hosts(&["stays.example"]), hosts(&["stays.example", "returns.example"]));
        let (mut absent, start) = (Absent::default(), Instant::now());
        absent.forget(&without, &mut traffic, start);
        absent.forget(&with, &mut traffic, start + KEPT - EVERY);
        assert_eq!(traffic.iter().count(), 4);
        absent.forget(&without, &mut traffic, start + KEPT);
        let left: Vec<_> = traffic.iter().map(|(key, _)| key.host.as_str()).collect();
        assert_eq!(left, ["", "returns.example", "stays.example"]);
        absent.forget(&without, &mut traffic, start + 2 * KEPT);
        assert_eq!(traffic.iter().count(), 2, "it was away for long as well");
    }
}
