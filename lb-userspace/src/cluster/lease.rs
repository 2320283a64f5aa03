//! Who writes: the agent that holds the Lease `weir` in the namespace of weir. It is kept by renewing it; who has not renewed
//! it for its whole duration, as measured here and not by anybody's clock of the day, has lost it to the first that asks.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use tokio::time::Instant;

use crate::clock;
use crate::source::kube::Api;

/// Its name.
const NAME: &str = "weir";
/// An agent that is gone is replaced after so long.
const DURATION: Duration = Duration::from_secs(15);

/// The Lease as this agent sees it.
pub(super) struct Lease {
    leases: kube::Api<Object>,
    me: String,
    /// What was last seen in it, and since when it has been the same.
    seen: Option<(LeaseSpec, Instant)>,
    held_until: Option<Instant>,
}

impl Lease {
    pub(super) fn new(api: &Api, node: &str) -> Self {
        let leases = kube::Api::namespaced(api.client(), api.namespace());
        Self { leases, me: node.to_owned(), seen: None, held_until: None }
    }

    /// Whether this agent writes. An agent that can no longer renew stops before another begins.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// Renews the Lease, or takes it if nobody has it.
    pub(super) async fn turn(&mut self, now: Instant) {
        let was = self.is_held(now);
        match self.attempt(now).await {
            Ok(true) => self.held_until = Some(now + DURATION * 2 / 3),
            Ok(false) => self.held_until = None,
            Err(error) => tracing::debug!(%error, "the Lease could not be renewed"),
        }
        match (was, self.is_held(now)) {
            (false, true) => tracing::info!("this agent writes statuses and Events for the cluster"),
            (true, false) => tracing::info!("another agent writes statuses and Events for the cluster"),
            _ => {}
        }
    }

    async fn attempt(&mut self, now: Instant) -> kube::Result<bool> {
        let Some(found) = self.leases.get_opt(NAME).await? else {
            let new = Object { metadata: named(None), spec: Some(self.spec(None)) };
            return won(self.leases.create(&PostParams::default(), &new).await);
        };
        let spec = found.spec.unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != spec) {
            self.seen = Some((spec.clone(), now));
        }
        let unchanged = self.seen.as_ref().map_or(Duration::ZERO, |(_, since)| now - *since);
        if !may_take(&spec, &self.me, unchanged) {
            return Ok(false);
        }
        // The version makes this fail if somebody was faster.
        let next = Object { metadata: named(found.metadata.resource_version), spec: Some(self.spec(Some(&spec))) };
        won(self.leases.replace(NAME, &PostParams::default(), &next).await)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(wall());
        let is_mine = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.me));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: before.filter(|_| is_mine).and_then(|spec| spec.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if is_mine || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// Leaves it to nobody.
    pub(super) async fn give_back(&mut self) {
        if !self.is_held(Instant::now()) {
            return;
        }
        let Ok(Some(found)) = self.leases.get_opt(NAME).await else { return };
        let mut spec = found.spec.unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.me) {
            return;
        }
        spec.holder_identity = None;
        let next = Object { metadata: named(found.metadata.resource_version), spec: Some(spec) };
        if let Err(error) = self.leases.replace(NAME, &PostParams::default(), &next).await {
            tracing::debug!(%error, "the Lease could not be given back");
        }
        self.held_until = None;
    }
}

fn named(version: Option<String>) -> ObjectMeta {
    ObjectMeta { name: Some(NAME.to_owned()), resource_version: version, ..ObjectMeta::default() }
}

/// Mine, nobody's, or not renewed for its whole duration.
fn may_take(spec: &LeaseSpec, me: &str, unchanged: Duration) -> bool {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    match spec.holder_identity.as_deref() {
        None | Some("") => true,
        Some(holder) => holder == me || unchanged >= seconds.map_or(DURATION, Duration::from_secs),
    }
}

/// Somebody else was faster.
fn won(written: kube::Result<Object>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// For people: no decision looks at it.
pub(super) fn wall() -> Timestamp {
    let since = clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_microsecond(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: Option<&str>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_mine_or_not_renewed_for_long_enough() {
        let second = Duration::from_secs;
        assert!(may_take(&held_by(None), "a", second(0)) && may_take(&held_by(Some("")), "a", second(0)));
        assert!(may_take(&held_by(Some("a")), "a", second(0)));
        assert!(!may_take(&held_by(Some("b")), "a", second(14)));
        assert!(may_take(&held_by(Some("b")), "a", second(15)));
    }
}
