//! Tells routers, through a BIRD beside this agent: networks stand as routes in a table of the kernel's that BIRD reads, and its
//! configuration says to whom they go.
//!
//! What is gone is withdrawn first, then BIRD is configured, then new routes come: no router hears of a network under the marks of
//! another. All of it outlives the agent, and the next one goes on with what it finds.

mod bird;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::state::State;
use crate::announce::bgp::Plan;
use crate::announce::bird::{configuration, session_name};
use crate::announce::routers::{Routers, SessionState};
use crate::clock;
use crate::config::Bird;
use crate::dataplane::NetlinkError;
use crate::dataplane::told_routes::ToldRoutes;
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use bird::{BirdError, Speech};

/// How often BIRD is asked.
const TURN: Duration = Duration::from_secs(1);
/// How often it is looked whether the routes are still there.
const LOOK: Duration = Duration::from_secs(10);
/// Routers are given so long to send packets elsewhere before anything ends: they hear it at once, and write their tables within a
/// part of a second.
const LEAVING: Duration = Duration::from_secs(1);
/// A session that is not there for so long is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the main loop has of the task.
pub(super) struct Handle {
    wanted: watch::Sender<Option<Arc<Plan>>>,
    end: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Handle {
    /// What routers are to be told now.
    pub(super) fn want(&self, plan: Plan) {
        self.wanted.send_if_modified(|known| {
            let differs = known.as_deref() != Some(&plan);
            if differs {
                *known = Some(Arc::new(plan));
            }
            differs
        });
    }

    /// Withdraws everything. Without that the task ends with this, and the next agent goes on.
    pub(super) async fn leave(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

/// The task.
struct Speaker {
    state: Arc<State>,
    bird: Speech,
    table: u32,
    /// Nothing is known before all sources have told what there is.
    wanted: watch::Receiver<Option<Arc<Plan>>>,
    /// The routes that are in the table; `None`: it is to be looked.
    routes: Option<BTreeSet<IpNet>>,
    looked: Option<Instant>,
    /// Since when each session is not there.
    down: BTreeMap<IpAddr, Instant>,
}

/// Starts the task.
pub(super) fn start(state: &Arc<State>, bird: &Bird) -> Handle {
    let (wanted, follow) = watch::channel(None);
    let (end, ended) = oneshot::channel();
    let routes = ToldRoutes::new(bird.table);
    if let Err(error) = routes.remove_others() {
        tracing::warn!(%error, "routes that an agent with another --bird-table has left stay");
    }
    let speaker = Speaker {
        state: Arc::clone(state),
        bird: Speech::new(&bird.folder),
        table: bird.table,
        wanted: follow,
        routes: None,
        looked: None,
        down: BTreeMap::new(),
    };
    Handle { wanted, end, task: tokio::spawn(speaker.run(ended)) }
}

impl Speaker {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = &mut ended => return if told.is_ok() { self.leave().await },
                Ok(()) = self.wanted.changed() => {}
                _ = turns.tick() => {}
            }
            let plan = self.wanted.borrow_and_update().clone();
            if let Some(plan) = plan {
                // an end does not wait for a BIRD that does not answer
                tokio::select! {
                    told = &mut ended => return if told.is_ok() { self.leave().await },
                    () = self.turn(&plan) => {}
                }
            }
        }
    }

    async fn turn(&mut self, plan: &Plan) {
        let withdrawn = tokio::task::block_in_place(|| self.withdraw(plan));
        let written = tokio::task::block_in_place(|| self.bird.write(&configuration(plan, self.table)));
        let heard = match written {
            Ok(()) => self.bird.ask().await,
            Err(error) => Err(error),
        };
        let added = tokio::task::block_in_place(|| self.add(plan));
        let mut problems = plan.problems.clone();
        problems.extend(withdrawn.and(added).err().map(|error| routes_failed(&error)));
        self.publish(plan, heard, problems);
    }

    /// Removes what is not wanted any more. Somebody else may have removed routes: from time to time it is looked.
    fn withdraw(&mut self, plan: &Plan) -> Result<(), NetlinkError> {
        let now = clock::now();
        let table = ToldRoutes::new(self.table);
        let known = self.routes.take().filter(|_| self.looked.is_some_and(|looked| now - looked < LOOK));
        let mut routes = match known {
            Some(routes) => routes,
            None => {
                self.looked = Some(now);
                table.read()?
            }
        };
        let gone: BTreeSet<_> = routes.difference(&plan.routes).copied().collect();
        table.remove(&gone)?;
        routes.retain(|network| !gone.contains(network));
        self.routes = Some(routes);
        Ok(())
    }

    fn add(&mut self, plan: &Plan) -> Result<(), NetlinkError> {
        let Some(routes) = self.routes.take() else { return Ok(()) };
        let new: BTreeSet<_> = plan.routes.difference(&routes).copied().collect();
        ToldRoutes::new(self.table).insert(&new)?;
        self.routes = Some(plan.routes.clone());
        Ok(())
    }

    fn publish(&mut self, plan: &Plan, heard: Result<bird::Heard, BirdError>, mut problems: Vec<Problem>) {
        let now = clock::now();
        let (bird, established) = match heard {
            Ok(heard) => {
                problems.extend(heard.refused.map(|why| refused(&why)));
                (true, heard.protocols)
            }
            Err(error) => {
                problems.push(error.problem());
                (false, Vec::new())
            }
        };
        self.down.retain(|peer, _| plan.peers.contains_key(peer));
        let mut sessions = Vec::new();
        for (peer, wanted) in &plan.peers {
            let name = session_name(*peer);
            let found = established.iter().find(|protocol| protocol.name == name);
            let is_up = found.is_some_and(|protocol| protocol.established);
            let info = found.map_or_else(|| "unknown to BIRD".to_owned(), |protocol| protocol.info.clone());
            match is_up {
                true => drop(self.down.remove(peer)),
                false => {
                    let since = *self.down.entry(*peer).or_insert(now);
                    // without BIRD there are no sessions at all, which is told already
                    problems.extend((bird && now - since >= PATIENCE).then(|| session_down(*peer)));
                }
            }
            sessions.push(SessionState { peer: *peer, asn: wanted.session.asn, established: is_up, info });
        }
        let networks = self.routes.as_ref().map_or(0, BTreeSet::len) as u64;
        self.state.set_routers(Some(Routers { bird, sessions, networks, problems }));
    }

    /// Withdraws everything, and gives routers the time to send packets elsewhere.
    async fn leave(self) {
        let table = ToldRoutes::new(self.table);
        let withdrawn = tokio::task::block_in_place(|| {
            let routes = table.read()?;
            table.remove(&routes).map(|()| routes.len())
        });
        match withdrawn {
            Ok(0) => {}
            Ok(routes) => {
                tracing::info!(routes, "routers are told that nothing leads here any more");
                sleep(LEAVING).await;
            }
            Err(error) => tracing::warn!(%error, "routers may still send packets here"),
        }
    }
}

fn routes_failed(error: &NetlinkError) -> Problem {
    let what = format!("networks that routers are told of cannot be written into the routing table: {error}");
    Problem::error(code::BGP_ROUTES_FAILED, &ObjectRef::default(), what)
}

fn refused(why: &str) -> Problem {
    let what = format!("BIRD does not take its configuration, and goes on with the one before: {why}");
    Problem::error(code::BIRD_REFUSED, &ObjectRef::default(), what).expected("BIRD 2.0.12 or newer")
}

/// What BIRD says of it changes with each attempt, and is in the status.
fn session_down(peer: IpAddr) -> Problem {
    let what = format!("there is no session with the router {peer}; `weir status` has what BIRD says of it");
    Problem::warning(code::BGP_SESSION_DOWN, &ObjectRef::default(), what).expected("a router that expects this node")
}
