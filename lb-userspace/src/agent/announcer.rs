//! Announces addresses to the neighbours of this node: decides with each change of what is wanted or who lives which are its own,
//! lets the packet path answer for them, and says so to everybody when one has come.

mod contests;
mod groups;
mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::state::State;
use crate::announce::hello::{self, Hello, Peers, Stage};
use crate::announce::owners::owners;
use crate::announce::wanted::Wanted;
use crate::clock;
use crate::dataplane::DataplaneError;
use crate::dataplane::announced::{FrameSocket, Segment};
use own::Own;

/// How often it is looked whether somebody fell silent, and what is due is sent.
const TURN: Duration = Duration::from_millis(100);
/// How often interfaces are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// When this node leaves its addresses, the others have so long to take them before it falls silent.
const LEAVING: Duration = Duration::from_millis(150);
/// Addresses that nobody else can take are answered for so long after an agent has ended: the next one may come, and until then
/// the front may finish its requests.
const LINGER: Duration = Duration::from_secs(60);

/// What the main loop has of the task.
pub(super) struct Handle {
    wanted: watch::Sender<Option<Arc<Wanted>>>,
    end: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Handle {
    /// What is to be announced now.
    pub(super) fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|known| {
            let differs = known.as_deref() != Some(&wanted);
            if differs {
                *known = Some(Arc::new(wanted));
            }
            differs
        });
    }

    /// Leaves the addresses to the others. Without that the task ends with this, and an agent that comes at once goes on.
    pub(super) async fn leave(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

/// The task.
struct Announcer {
    state: Arc<State>,
    node: Arc<str>,
    /// Nothing is known before all sources have told what there is.
    wanted: watch::Receiver<Option<Arc<Wanted>>>,
    socket: FrameSocket,
    peers: Peers,
    segments: Vec<Segment>,
    own: Own,
    /// Since when it listens to the others; `None` while there is nothing to announce.
    listening: Option<Instant>,
    /// It has listened for long enough.
    settled: bool,
    /// What an earlier agent of this node has announced until a moment ago.
    resumed: BTreeSet<IpAddr>,
    /// What it was decided by: who lives, this node included.
    decided: BTreeSet<Arc<str>>,
    /// What neighbours are told could not be written.
    unwritten: bool,
    /// When something was last done here.
    turned: Option<Instant>,
    said: Option<Instant>,
    looked: Option<Instant>,
}

/// Starts the task; `None` where this process may not have packet sockets.
pub(super) fn start(state: &Arc<State>, node: &str) -> Result<Option<Handle>, DataplaneError> {
    let socket = match FrameSocket::open(hello::ETHER_TYPE) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, "addresses cannot be announced to neighbours: that needs CAP_NET_RAW");
            return Ok(None);
        }
    };
    let (announced, segments) = (state.dataplane().announced()?, Vec::new());
    let (wanted, follow) = watch::channel(None);
    let (end, ended) = oneshot::channel();
    let announcer = Announcer {
        state: Arc::clone(state),
        node: node.into(),
        wanted: follow,
        socket,
        peers: Peers::default(),
        segments,
        settled: false,
        resumed: announced.addresses(),
        own: Own::new(announced),
        listening: None,
        decided: BTreeSet::new(),
        unwritten: false,
        turned: None,
        said: None,
        looked: None,
    };
    Ok(Some(Handle { wanted, end, task: tokio::spawn(announcer.run(ended)) }))
}

impl Announcer {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let news = tokio::select! {
                told = &mut ended => return if told.is_ok() { self.leave().await },
                Ok(()) = self.wanted.changed() => true,
                received = self.socket.receive() => match self.hear(received) {
                    true => true,
                    false => continue,
                },
                _ = turns.tick(), if self.listening.is_some() => false,
            };
            tokio::task::block_in_place(|| self.turn(news));
        }
    }

    /// True if it is news. Pods and others behind this node have no say.
    fn hear(&mut self, received: io::Result<(u32, Vec<u8>)>) -> bool {
        let now = clock::now();
        let is_neighbour = |device| self.segments.iter().any(|segment| segment.doors.contains(&device));
        let frame = received.ok().filter(|(device, _)| is_neighbour(*device)).map(|(_, frame)| frame);
        let Some(hello) = frame.and_then(|frame| Hello::read(&frame)) else { return false };
        let wanted = self.wanted.borrow().clone();
        if *hello.node == *self.node || !wanted.is_some_and(|wanted| wanted.nodes.contains(hello.node.as_str())) {
            return false;
        }
        let before = self.peers.alive(now);
        self.peers.hear(&hello, now);
        self.peers.alive(now) != before
    }

    fn turn(&mut self, news: bool) {
        let (now, wanted) = (clock::now(), self.wanted.borrow_and_update().clone());
        let Some(wanted) = wanted else { return };
        if wanted.addresses.is_empty() {
            self.idle(now);
            return;
        }
        self.stalled(now);
        let begins = self.listening.is_none();
        let since = self.listen(now);
        let looked = self.look(now);
        if clock::now() - now >= hello::SILENCE {
            return; // that took so long that others have its addresses, which the next turn finds
        }
        let settles = !self.settled && (now - since >= hello::SILENCE || !wanted.concerns_others(&self.node));
        if settles {
            self.settled = true;
            self.said = None;
        }
        let mut alive = self.peers.alive(now);
        alive.insert(Arc::clone(&self.node));
        let changed = news || looked || begins || settles || self.unwritten || alive != self.decided;
        match self.settled {
            true if changed => self.decide(&wanted, alive, now),
            false if changed => self.resume(&wanted, now),
            _ => {}
        }
        self.say(&wanted, now);
        if self.own.contend(now, &self.segments, &self.socket) {
            self.write(&wanted);
        }
        self.own.tell(&wanted, &self.segments, &self.socket, now);
        self.hold(&wanted);
        self.publish(&wanted);
    }

    /// It may have done nothing for a while: the process was stopped, or the machine.
    fn stalled(&mut self, now: Instant) {
        let time = self.turned.replace(now).map_or(Duration::ZERO, |turned| now - turned);
        if time >= hello::SILENCE {
            self.begin(now); // nobody heard this node meanwhile: others have its addresses
        } else if time >= hello::EVERY * 2 {
            // others may have taken them a moment ago, and let go as soon as they hear it; what they said still waits to be read
            self.own.begin_again(now);
            self.peers.wait(time);
        }
    }

    /// Knows nothing, and announces nothing before it has listened.
    fn begin(&mut self, now: Instant) {
        self.resumed.clear();
        self.own.set(BTreeSet::new(), now);
        self.own.set_owners(BTreeMap::new());
        self.decided.clear();
        self.listening = None;
    }

    /// Nothing is to be announced: nobody is listened to until something is.
    fn idle(&mut self, now: Instant) {
        self.resumed.clear();
        self.own.set(BTreeSet::new(), now);
        let is_written = self.write(&Wanted::default());
        self.publish(&Wanted::default());
        (self.listening, self.turned) = ((!is_written).then_some(now), None);
        self.settled = false;
    }

    /// Since when it listens. Where it begins to, only what neighbours are still told goes on.
    fn listen(&mut self, now: Instant) -> Instant {
        if self.listening.is_none() {
            if !self.own.holds().unwrap_or(false) {
                self.begin(now);
            }
            self.settled = false;
            self.said = None;
        }
        *self.listening.get_or_insert(now)
    }

    /// Looks at the interfaces; true if they are others.
    fn look(&mut self, now: Instant) -> bool {
        if self.looked.is_some_and(|looked| now - looked < LOOK) {
            return false;
        }
        self.looked = Some(now);
        let found = self.state.dataplane().segments();
        match found {
            Ok(found) => std::mem::replace(&mut self.segments, found) != self.segments,
            Err(error) => {
                tracing::warn!(%error, "interfaces cannot be seen; addresses are announced where they were");
                false
            }
        }
    }

    /// Goes on with what an earlier agent of this node has announced. It takes nothing before it has listened.
    fn resume(&mut self, wanted: &Wanted, now: Instant) {
        let may = |address: &IpAddr| wanted.addresses.get(address).is_some_and(|may| may.nodes.contains(&self.node));
        let mine: BTreeSet<_> = self.resumed.iter().copied().filter(may).collect();
        self.own.set(mine, now);
        self.write(wanted);
    }

    fn decide(&mut self, wanted: &Wanted, alive: BTreeSet<Arc<str>>, now: Instant) {
        let owners = owners(wanted, &alive);
        let mine = owners.iter().filter(|(_, owner)| **owner == self.node).map(|(address, _)| *address).collect();
        if alive != self.decided {
            let names: Vec<_> = alive.iter().map(ToString::to_string).collect();
            tracing::info!(nodes = names.join(","), own = owners.len(), "nodes that announce addresses");
        }
        if !alive.is_subset(&self.decided) {
            self.own.tell_all_again(now); // whom it could not be heard by may have taken them meanwhile, and clients believe him
        }
        self.decided = alive;
        self.resumed.clear();
        self.own.set_owners(owners);
        self.own.set(mine, now);
        self.write(wanted);
    }

    /// False if it could not be done.
    fn write(&mut self, wanted: &Wanted) -> bool {
        let written = self.own.write(wanted, &self.segments);
        if let Err(error) = &written {
            tracing::warn!(%error, "what neighbours are told could not be written; it is tried again");
            self.looked = None;
        }
        self.unwritten = written.is_err();
        written.is_ok()
    }

    /// That this node lives.
    fn say(&mut self, wanted: &Wanted, now: Instant) {
        if !wanted.concerns_others(&self.node) || self.said.is_some_and(|said| now - said < hello::EVERY) {
            return;
        }
        self.said = Some(now);
        self.send_hello(wanted, if self.settled { Stage::Announces } else { Stage::Begins });
    }

    /// By all interfaces by which it may announce.
    fn send_hello(&self, wanted: &Wanted, stage: Stage) {
        let hello = Hello { node: self.node.to_string(), stage };
        for segment in self.segments.iter().filter(|segment| wanted.includes(&segment.name)) {
            if let Err(error) = self.socket.send(segment.index, &hello.frame(segment.mac)) {
                tracing::debug!(%error, interface = segment.name, "other nodes were not told that this one lives");
            }
        }
    }

    /// Once this agent is gone nobody would know that others have taken the addresses; where there are no others, they stay.
    fn hold(&mut self, wanted: &Wanted) {
        let time = wanted.concerns_others(&self.node).then_some(hello::SILENCE);
        if let Err(error) = self.own.hold(time) {
            tracing::warn!(%error, "neighbours may no longer be told of addresses");
        }
    }

    fn publish(&self, wanted: &Wanted) {
        self.state.set_announcing(self.own.listing(wanted));
    }

    /// Says that it leaves, and answers until the others have had time to take what they can.
    async fn leave(mut self) {
        let wanted = self.wanted.borrow().clone().unwrap_or_default();
        if self.own.is_empty() || !wanted.concerns_others(&self.node) {
            return;
        }
        self.send_hello(&wanted, Stage::Leaves);
        sleep(LEAVING).await;
        self.send_hello(&wanted, Stage::Leaves);
        let alive = self.peers.alive(clock::now());
        let lives = |node: &Arc<str>| alive.contains(node);
        let is_taken = |address: &IpAddr| wanted.addresses.get(address).is_some_and(|may| may.nodes.iter().any(lives));
        let kept: BTreeSet<_> = self.own.addresses().filter(|address| !is_taken(address)).collect();
        tracing::info!(kept = kept.len(), "addresses are left to other nodes");
        self.own.set(kept, clock::now());
        self.write(&wanted);
        // who has not listened for long enough does not know who lives
        let time = if self.settled { LINGER } else { hello::SILENCE };
        if let Err(error) = self.own.hold(Some(time)) {
            tracing::warn!(%error, "neighbours may no longer be told of addresses");
        }
    }
}
