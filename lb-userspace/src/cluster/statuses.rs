//! Writes `status.loadBalancer`.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::source::kube::Api;
use crate::source::{Kind, ObjectKey};
use crate::telemetry;
use crate::translate::{Address, StatusWish};

/// What was written is seen again by the watch well before this; if not, it is written once more.
const AGAIN: Duration = Duration::from_secs(30);
/// What the server refuses is said this often.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// Writes statuses, each once.
pub(super) struct StatusWriter {
    api: Api,
    /// The version of each kind that the server has.
    versions: BTreeMap<Kind, ApiResource>,
    written: BTreeMap<ObjectKey, (Vec<Address>, Instant)>,
    said: Option<Instant>,
}

impl StatusWriter {
    pub(super) fn new(api: Api) -> Self {
        Self { api, versions: BTreeMap::new(), written: BTreeMap::new(), said: None }
    }

    /// Writes what is not as it should be. What fails is tried again with the next turn.
    pub(super) async fn write(&mut self, wishes: &[StatusWish], now: Instant) {
        self.written.retain(|_, (_, at)| now - *at < AGAIN);
        for wish in wishes {
            if self.written.get(&wish.key).is_some_and(|(addresses, _)| *addresses == wish.ingress) {
                continue;
            }
            match self.patch(wish).await {
                Ok(()) => {
                    tracing::info!(object = %wish.key.reference(), addresses = ?wish.ingress, "status written");
                    self.written.insert(wish.key.clone(), (wish.ingress.clone(), now));
                }
                // Deleted meanwhile.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return self.say(&wish.key, &error, now),
            }
        }
    }

    async fn patch(&mut self, wish: &StatusWish) -> kube::Result<()> {
        let Some(resource) = self.resource(wish.key.kind).await? else { return Ok(()) };
        let objects = kube::Api::<DynamicObject>::namespaced_with(self.api.client(), &wish.key.namespace, &resource);
        let status = json!({"status": {"loadBalancer": {"ingress": wish.ingress.iter().map(row).collect::<Vec<_>>()}}});
        objects.patch_status(&wish.key.name, &PatchParams::default(), &Patch::Merge(&status)).await.map(drop)
    }

    async fn resource(&mut self, kind: Kind) -> kube::Result<Option<ApiResource>> {
        if let Some(resource) = self.versions.get(&kind) {
            return Ok(Some(resource.clone()));
        }
        let found = self.api.discover(kind).await?;
        if let Some(resource) = &found {
            self.versions.insert(kind, resource.clone());
        }
        Ok(found)
    }

    fn say(&mut self, key: &ObjectKey, error: &kube::Error, now: Instant) {
        // Another version may be served now.
        self.versions.clear();
        if self.said.is_none_or(|said| now - said >= SAY_AGAIN) {
            self.said = Some(now);
            let (object, error) = (key.reference(), telemetry::chain(error));
            tracing::warn!(%object, error, "a status could not be written; it is tried again");
        }
    }
}

fn row(address: &Address) -> Value {
    match address {
        Address::Ip(ip) => json!({"ip": ip}),
        Address::Hostname(name) => json!({"hostname": name}),
    }
}
