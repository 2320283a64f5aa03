//! What an agent writes into its cluster: `status.loadBalancer` of Services and Ingresses, statuses of our own kinds, and
//! Events for Problems. One agent writes for all, the one that holds the Lease.

mod events;
mod lease;
mod own_statuses;
mod statuses;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

pub use events::EventSink;
pub use own_statuses::{OwnStatus, own_statuses};

use crate::source::kube::Api;
use crate::translate::StatusWish;
use events::Events;
use lease::Lease;
use own_statuses::OwnStatusWriter;
use statuses::StatusWriter;

/// How often the Lease is looked at, and what is left to write is tried again.
const TURN: Duration = Duration::from_secs(4);

/// Every status that should be another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Of Services and Ingresses.
    pub statuses: Vec<StatusWish>,
    /// Of our own kinds.
    pub own: Vec<OwnStatus>,
}

/// What the main loop tells the writer.
#[derive(Debug)]
pub struct Cluster {
    wishes: watch::Sender<Arc<Wishes>>,
    end: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Cluster {
    /// Starts the writer of a node. Its Problems come by the sink.
    pub fn start(api: Api, node: &str) -> (Self, EventSink) {
        let (wishes, wished) = watch::channel(Arc::default());
        let (end, ended) = oneshot::channel();
        let (sink, changes) = EventSink::new();
        let writer = Writer {
            lease: Lease::new(&api, node),
            statuses: StatusWriter::new(api.clone()),
            own: OwnStatusWriter::new(api.clone()),
            events: Events::new(api, node),
            wished,
            changes,
        };
        (Self { wishes, end: Some(end), task: tokio::spawn(writer.run(ended)) }, sink)
    }

    /// Every status that should be another.
    pub fn wish(&self, wishes: Wishes) {
        self.wishes.send_if_modified(|known| {
            let differ = **known != wishes;
            if differ {
                *known = Arc::new(wishes);
            }
            differ
        });
    }

    /// Gives the Lease back, so that the next agent need not wait for its end.
    pub async fn end(mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        let _ = self.task.await;
    }
}

struct Writer {
    lease: Lease,
    statuses: StatusWriter,
    own: OwnStatusWriter,
    events: Events,
    wished: watch::Receiver<Arc<Wishes>>,
    changes: mpsc::UnboundedReceiver<events::News>,
}

impl Writer {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut ended => break,
                _ = turns.tick() => self.lease.turn(Instant::now()).await,
                Ok(()) = self.wished.changed() => {}
                Some(news) = self.changes.recv() => self.events.take(news),
            }
            if self.lease.is_held(Instant::now()) {
                let wishes = Arc::clone(&self.wished.borrow_and_update());
                self.statuses.write(&wishes.statuses, Instant::now()).await;
                self.own.write(&wishes.own, Instant::now()).await;
                self.events.write(Instant::now()).await;
            }
        }
        self.lease.give_back().await;
    }
}
