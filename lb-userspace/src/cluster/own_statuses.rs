//! The statuses of our own kinds: conditions, and how full a pool is.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::lease::wall;
use crate::model::{Problem, Severity};
use crate::pools::PoolCounts;
use crate::source::kinds::{AddressPoolStatus, Condition, Metadata};
use crate::source::kube::Api;
use crate::source::{Body, Kind, Object, ObjectKey, Objects};
use crate::telemetry;

/// What was written is seen again by the watch well before this; if not, it is written once more.
const AGAIN: Duration = Duration::from_secs(30);
/// What the server refuses is said this often.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// A status that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnStatus {
    /// Of which object.
    pub key: ObjectKey,
    /// All conditions; those that change have no time yet.
    conditions: Vec<Condition>,
    /// Of a pool.
    counts: Option<PoolCounts>,
}

/// Every status of an object of our own kinds that should be another, by what is wrong with the objects and how full the pools
/// are. Pure.
pub fn own_statuses(
    objects: &Objects,
    problems: impl FnOnce() -> Vec<Problem>,
    pools: &BTreeMap<String, PoolCounts>,
) -> Vec<OwnStatus> {
    let keys = keys(objects);
    if keys.is_empty() {
        return Vec::new();
    }
    let problems = problems();
    let found = keys.iter().filter_map(|key| Some((key, objects.get(key)?)));
    let of_cluster = found.filter(|(_, object)| object.origin.is_none());
    of_cluster.filter_map(|(key, object)| of_object(key, object, &problems, pools)).collect()
}

/// Every object of our own kinds.
fn keys(objects: &Objects) -> Vec<ObjectKey> {
    let key = |kind, metadata: &Metadata| ObjectKey { kind, namespace: String::new(), name: metadata.name.clone() };
    let pools = objects.address_pools().map(|object| key(Kind::AddressPool, &object.metadata));
    let announcements = objects.announcements().map(|object| key(Kind::Announcement, &object.metadata));
    let policies = objects.host_policies().map(|object| key(Kind::HostPolicy, &object.metadata));
    pools.chain(announcements).chain(policies).collect()
}

fn of_object(
    key: &ObjectKey,
    object: &Object,
    problems: &[Problem],
    pools: &BTreeMap<String, PoolCounts>,
) -> Option<OwnStatus> {
    let (conditions, counted) = match &object.body {
        Body::AddressPool(pool) => (&pool.status.conditions, Some(&pool.status)),
        Body::Announcement(announcement) => (&announcement.status.conditions, None),
        Body::HostPolicy(policy) => (&policy.status.conditions, None),
        _ => return None,
    };
    let counts = counted.and_then(|_| pools.get(&key.name).copied());
    let mut wanted = vec![valid(key, problems)];
    wanted.extend(counts.map(exhausted));
    let conditions_wanted = merged(conditions, &wanted, object.metadata());
    let is_counted = counts.is_none_or(|counts| counted.is_some_and(|status| says(status, counts)));
    let differs = *conditions != conditions_wanted || !is_counted;
    differs.then(|| OwnStatus { key: key.clone(), conditions: conditions_wanted, counts })
}

fn says(status: &AddressPoolStatus, counts: PoolCounts) -> bool {
    (status.total, status.given, status.free) == (Some(counts.total), Some(counts.given), Some(counts.free))
}

/// Whether something that the object asks for cannot be done.
fn valid(key: &ObjectKey, problems: &[Problem]) -> Condition {
    let owner = key.reference();
    let told = |problem: &&Problem| problem.severity == Severity::Error && problem.object == owner;
    // That a pool is empty is no mistake in it.
    let mistakes =
        problems.iter().filter(told).filter(|problem| problem.code != crate::model::problem::code::POOL_EXHAUSTED);
    match mistakes.min() {
        Some(problem) => condition("Valid", false, &super::events::reason(&problem.code), &problem.message),
        // An API server of Kubernetes 1.20 takes an empty text for none, and refuses that.
        None => condition("Valid", true, "Accepted", "all that it asks for can be done"),
    }
}

fn exhausted(counts: PoolCounts) -> Condition {
    match counts.exhausted {
        true => condition("Exhausted", true, "PoolExhausted", "a Service waits for an address, and none is left"),
        false => condition("Exhausted", false, "AddressesLeft", "no Service waits for an address"),
    }
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str) -> Condition {
    Condition {
        condition_type: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        ..Condition::default()
    }
}

/// What stands there, with what should: a condition that goes on to hold keeps its time, those of others stay.
fn merged(there: &[Condition], wanted: &[Condition], metadata: &Metadata) -> Vec<Condition> {
    let mut conditions = there.to_vec();
    for new in wanted {
        let new = Condition { observed_generation: metadata.generation, ..new.clone() };
        match conditions.iter_mut().find(|old| old.condition_type == new.condition_type) {
            Some(old) => {
                let since = old.last_transition_time.take().filter(|_| old.status == new.status);
                *old = Condition { last_transition_time: since, ..new };
            }
            None => conditions.push(new),
        }
    }
    conditions
}

/// Writes them, each once.
pub(super) struct OwnStatusWriter {
    api: Api,
    written: BTreeMap<ObjectKey, (OwnStatus, Instant)>,
    said: Option<Instant>,
}

impl OwnStatusWriter {
    pub(super) fn new(api: Api) -> Self {
        Self { api, written: BTreeMap::new(), said: None }
    }

    /// Writes what is not as it should be. What fails is tried again with the next turn.
    pub(super) async fn write(&mut self, wishes: &[OwnStatus], now: Instant) {
        self.written.retain(|_, (_, at)| now - *at < AGAIN);
        for wish in wishes {
            if self.written.get(&wish.key).is_some_and(|(written, _)| written == wish) {
                continue;
            }
            match self.patch(wish).await {
                Ok(()) => {
                    self.written.insert(wish.key.clone(), (wish.clone(), now));
                }
                // Deleted meanwhile.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => self.say(&wish.key, &error, now),
            }
        }
    }

    async fn patch(&self, wish: &OwnStatus) -> kube::Result<()> {
        let Some(resource) = self.api.discover(wish.key.kind).await? else { return Ok(()) };
        let objects = kube::Api::<DynamicObject>::all_with(self.api.client(), &resource);
        let body = json!({"status": wish.body(&wall().to_string())});
        objects.patch_status(&wish.key.name, &PatchParams::default(), &Patch::Merge(&body)).await.map(drop)
    }

    fn say(&mut self, key: &ObjectKey, error: &kube::Error, now: Instant) {
        if self.said.is_none_or(|said| now - said >= SAY_AGAIN) {
            self.said = Some(now);
            let (object, error) = (key.reference(), telemetry::chain(error));
            tracing::warn!(%object, error, "a status could not be written; it is tried again");
        }
    }
}

impl OwnStatus {
    fn body(&self, now: &str) -> Value {
        let row = |condition: &Condition| {
            let mut row = json!({
                "type": condition.condition_type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": condition.last_transition_time.as_deref().unwrap_or(now),
            });
            if let Some(generation) = condition.observed_generation {
                row["observedGeneration"] = generation.into();
            }
            row
        };
        let mut body = json!({"conditions": self.conditions.iter().map(row).collect::<Vec<_>>()});
        if let Some(counts) = self.counts {
            body["total"] = counts.total.into();
            body["given"] = counts.given.into();
            body["free"] = counts.free.into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::source::{SourceEvent, parse};

    fn pool(status: &str) -> Objects {
        let text = format!(
            "apiVersion: weir.io/v1alpha1\nkind: AddressPool\nmetadata: {{name: p, generation: 3}}\n\
             spec: {{addresses: [192.0.2.1]}}\nstatus: {status}\n"
        );
        let parsed = parse::parse(&Arc::from(Path::new("x.yaml")), text.as_bytes());
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        let mut objects = Objects::new(1);
        for object in parsed.objects {
            objects.handle(0, SourceEvent::Apply(Object { origin: None, ..object }));
        }
        objects
    }

    fn body(status: &str, problems: &[Problem], exhausted: bool) -> Option<Value> {
        let counts = PoolCounts { total: 1, given: 1, free: 0, exhausted };
        let wishes = own_statuses(&pool(status), || problems.to_vec(), &[("p".to_owned(), counts)].into());
        assert!(wishes.len() < 2);
        wishes.first().map(|wish| wish.body("NOW"))
    }

    #[test]
    fn a_new_object_is_told_what_holds_of_it_and_then_it_is_quiet() {
        let told = body("{}", &[], false).expect("a wish");
        assert_eq!((&told["total"], &told["given"], &told["free"]), (&json!(1), &json!(1), &json!(0)));
        let rows = told["conditions"].as_array().expect("conditions");
        let short: Vec<_> = rows.iter().map(|row| (&row["type"], &row["status"], &row["lastTransitionTime"])).collect();
        let (valid, exhausted, now) = (json!("Valid"), json!("Exhausted"), json!("NOW"));
        assert_eq!(short, [(&valid, &json!("True"), &now), (&exhausted, &json!("False"), &now)]);
        assert_eq!(rows[0]["observedGeneration"], 3);
        assert_eq!(body(&told.to_string(), &[], false), None);
    }

    #[test]
    fn what_changes_gets_a_time_and_the_rest_stays() {
        let mut before = body("{}", &[], false).expect("a wish");
        before["conditions"].as_array_mut().expect("conditions").push(json!({"type": "Other", "status": "True"}));
        let text = before.to_string().replace("NOW", "THEN");
        let owner = crate::model::ObjectRef::new("AddressPool", "", "p");
        let mistake = Problem::error("address-invalid", &owner, "x");
        let after = body(&text, &[mistake], true).expect("a wish");
        let times: Vec<_> =
            after["conditions"].as_array().into_iter().flatten().map(|row| row["lastTransitionTime"].clone()).collect();
        assert_eq!(times, [json!("NOW"), json!("NOW"), json!("NOW")], "{after}");
        assert_eq!(after["conditions"][0]["reason"], "AddressInvalid");
        assert_eq!(after["conditions"][2]["type"], "Other");
        let full = body(&text, &[], true).expect("a wish");
        assert_eq!(full["conditions"][0]["lastTransitionTime"], "THEN", "{full}");
    }
}
