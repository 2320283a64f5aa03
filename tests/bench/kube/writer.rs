//! Writes to the API server: many objects at first, then changes at a steady rate.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use lb_userspace::source::kube::Api as Connection;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::objects;

/// Requests in flight.
const AT_ONCE: usize = 24;
/// Changes are sent in portions of so long.
const TICK: Duration = Duration::from_millis(10);

/// Who writes; made anew on each thread that does.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) kubeconfig: PathBuf,
}

/// What came of changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed {
    /// That the server took.
    pub(crate) made: usize,
    /// From the first to the answer of the last.
    pub(crate) took: Duration,
}

impl Writer {
    /// Creates objects and says how long it took.
    pub(crate) fn create(&self, resource: &ApiResource, objects: impl Iterator<Item = Value>) -> Result<Duration> {
        run(async {
            let api = self.api(resource).await?;
            let begun = Instant::now();
            let requests = objects.map(|object| {
                let api = api.clone();
                async move { api.create(&PostParams::default(), &objects::object(object)?).await.context("create") }
            });
            stream::iter(requests).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
            Ok(begun.elapsed())
        })
    }

    /// Changes one endpoint of one slice after the other, `rate` in a second, for so long. What the server does not keep up
    /// with is not made up for.
    pub(crate) fn change(&self, slices: usize, rate: usize, time: Duration) -> Result<Changed> {
        run(async {
            let api = self.api(&objects::resource("discovery.k8s.io", "v1beta1", "EndpointSlice")).await?;
            let begun = Instant::now();
            let portion = rate * usize::try_from(TICK.as_millis())? / 1000;
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let next = Cell::new(0);
            let portions = stream::unfold(ticks, |mut ticks| async {
                ticks.tick().await;
                (begun.elapsed() < time).then(|| (stream::iter(0..portion), ticks))
            });
            let changes = portions.flatten().map(|_| {
                let number = next.replace(next.get() + 1);
                change(api.clone(), number % slices, number / slices)
            });
            changes.buffer_unordered(AT_ONCE).try_for_each(|()| async { Ok(()) }).await?;
            Ok(Changed { made: next.get(), took: begun.elapsed() })
        })
    }

    async fn api(&self, resource: &ApiResource) -> Result<Api<DynamicObject>> {
        let client = Connection::new(Some(&self.kubeconfig)).await?.client();
        Ok(Api::namespaced_with(client, "default", resource))
    }
}

/// One endpoint of a slice becomes unready, the one before ready again.
async fn change(api: Api<DynamicObject>, number: usize, round: usize) -> Result<()> {
    let slice = objects::slice(number, round % objects::ENDPOINTS + 1);
    let name = slice["metadata"]["name"].as_str().context("a name")?;
    let patch = json!({"endpoints": slice["endpoints"]});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.context("patch")?;
    Ok(())
}

fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
