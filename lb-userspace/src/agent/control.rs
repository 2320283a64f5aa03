//! The main loop: events become Objects, a pause makes a burst of them one pass, and a pass brings maps and front into
//! step with what is desired.

mod pass;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::deny_list::DenyList;
use super::error::AgentError;
use super::exhaustion::Exhaustion;
use super::facts::Facts;
use super::health_checks::{self, HealthChecks};
use super::node::Taken;
use super::schedule::Schedule;
use super::sources::Event;
use super::state::State;
use super::{Announcers, Reason, Stop, node, problems, service_manager};
use crate::admin;
use crate::clock;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::dataplane::{AddressWatch, Note, kube_proxy};
use crate::expiry;
use crate::l7::supervisor::Front;
use crate::model::Problem;
use crate::pools;
use crate::reconcile::Reconciler;
use crate::sink::Sinks;
use crate::source::Objects;
use crate::translate::{Statuses, Translation};

/// How long the maps wait for sources that are not complete; afterwards only additions are written.
const SOURCES_WAIT: Duration = Duration::from_secs(30);
/// Flows that are over make room for new ones this often.
const GARBAGE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the loop shows that it turns.
const BEAT: Duration = Duration::from_secs(1);
/// How often it looks who else listens on the front's port: nobody tells, and the kernel's list is long on a busy node.
const OTHERS_INTERVAL: Duration = Duration::from_secs(5);

/// How often it looks for kube-proxy: all processes are looked at, and nothing waits for the answer.
const KUBE_PROXY_INTERVAL: Duration = Duration::from_secs(15);

/// The main loop with everything it owns.
pub(super) struct Control {
    config: Config,
    facts: Facts,
    started: Instant,
    objects: Objects,
    translation: Translation,
    reconciler: Reconciler,
    schedule: Schedule,
    sinks: Sinks,
    state: Arc<State>,
    front: Front,
    /// Writes into the cluster, if there is one.
    cluster: Option<Cluster>,
    statuses: Statuses,
    announcers: Announcers,
    /// Addresses that others have as well.
    contested: Vec<Problem>,
    /// What is wrong with routers.
    unspoken: Vec<Problem>,
    /// The front answered when addresses were last announced.
    front_served: bool,
    /// Gives addresses of pools.
    giver: pools::Giver,
    giving: Arc<pools::Giving>,
    /// Where other sockets of the host keep the front from answering.
    taken: Taken,
    front_problems: Vec<Problem>,
    /// Certificates that end soon or have ended.
    expiring: Vec<Problem>,
    /// Networks from which everything is dropped.
    deny_list: DenyList,
    /// What has run out in the data plane.
    exhaustion: Exhaustion,
    /// NodePorts that moved.
    moved: Vec<Problem>,
    /// Why interfaces or addresses could not be followed the last time.
    follow_failed: Option<Problem>,
    /// What there was to say of interfaces and ways when it was last asked.
    remarks: Vec<Note>,
    /// What the last look at the maps found.
    maps_changed: Option<Problem>,
    health_checks: HealthChecks,
    /// Health checks that cannot be answered.
    unheard: Vec<Problem>,
    /// What was told last that is not the fault of an object; `None`: the objects were not looked at yet.
    told: Option<Vec<Problem>>,
    attached: bool,
    ready: bool,
}

impl Control {
    pub(super) fn new(
        config: Config,
        facts: Facts,
        sinks: Sinks,
        state: Arc<State>,
        front: Front,
        cluster: Option<Cluster>,
        announcers: Announcers,
    ) -> Result<Self, AgentError> {
        let reconciler = Reconciler::new(state.dataplane().store()?)?;
        let giver = pools::Giver::new(pools::Memory::read(state.dataplane().run_dir()));
        let mut schedule = Schedule::default();
        schedule.changed(clock::now());
        let objects = Objects::new(config.sources.len());
        let turning = Arc::clone(&state);
        let healthy = Arc::new(move || admin::Agent::alive(&*turning));
        let deny_list = DenyList::new(config.deny_list.clone());
        let health_checks = HealthChecks::new(healthy, &config.nodeport_addresses);
        Ok(Self {
            config,
            facts,
            started: clock::now(),
            objects,
            translation: Translation::default(),
            reconciler,
            schedule,
            sinks,
            state,
            front,
            cluster,
            statuses: Statuses::default(),
            announcers,
            contested: Vec::new(),
            unspoken: Vec::new(),
            front_served: false,
            giver,
            giving: Arc::default(),
            taken: Taken::default(),
            front_problems: Vec::new(),
            expiring: Vec::new(),
            deny_list,
            exhaustion: Exhaustion::default(),
            moved: Vec::new(),
            follow_failed: None,
            remarks: Vec::new(),
            maps_changed: None,
            health_checks,
            unheard: Vec::new(),
            told: None,
            attached: false,
            ready: false,
        })
    }

    /// Turns until it is asked to stop, or until the programs cannot be attached at all.
    pub(super) async fn run(&mut self, mut events: Receiver<Event>, stop: &mut Stop) -> Result<Reason, AgentError> {
        let mut addresses = Some(self.state.dataplane().watch()?);
        // What changed before the watch began was told to nobody.
        self.follow_interfaces();
        let mut garbage = ticks(GARBAGE_INTERVAL);
        let mut beat = ticks(BEAT);
        let mut others = ticks(OTHERS_INTERVAL);
        let mut kube_proxy = ticks(KUBE_PROXY_INTERVAL);
        let mut front = self.front.watch_status();
        let mut watchdog = ticks(service_manager::watchdog_interval().unwrap_or(BEAT));
        loop {
            let due = self.next_pass();
            tokio::select! {
                reason = stop.asked() => return Ok(reason),
                Some((source, event)) = events.recv() => self.take(source, event),
                () = changed(&mut addresses) => self.follow_interfaces(),
                Ok(()) = front.changed() => self.follow_front(),
                () = sleep_until(due.unwrap_or(self.started).into()), if due.is_some() => self.pass()?,
                _ = garbage.tick() => {
                    self.look_at_remarks();
                    self.collect_garbage();
                }
                _ = watchdog.tick() => service_manager::watchdog(),
                _ = others.tick() => {
                    self.look_for_others();
                    self.follow_health_checks();
                    self.look_at_certificates();
                    self.look_for_exhaustion();
                }
                _ = kube_proxy.tick() => self.look_for_kube_proxy(),
                _ = beat.tick() => {
                    self.state.beat();
                    self.follow_deny_list();
                    self.follow_contests();
                    if addresses.is_none() {
                        addresses = self.state.dataplane().watch().ok();
                    }
                }
            }
        }
    }

    /// What is left when the loop has ended.
    pub(super) fn into_parts(self) -> (Front, Option<Cluster>, Announcers) {
        (self.front, self.cluster, self.announcers)
    }

    fn take(&mut self, source: usize, event: crate::source::SourceEvent) {
        self.objects.handle(source, event);
        self.schedule.changed(clock::now());
    }

    /// Interfaces or addresses changed: programs go to interfaces that are new, and frontends to addresses.
    fn follow_interfaces(&mut self) {
        let followed = tokio::task::block_in_place(|| {
            self.state.dataplane().refresh()?;
            self.state.dataplane().follow_ways()?;
            Facts::find(&self.config)
        });
        match followed {
            Ok(facts) => {
                self.facts = facts;
                self.follow_failed = None;
            }
            Err(error) => self.follow_failed = Some(problems::follow_failed(&error)),
        }
        self.look_for_others();
        self.schedule.changed(clock::now());
    }

    /// The front tells something at least once a second; a pass is due only if its Problems changed.
    fn follow_front(&mut self) {
        self.report_readiness();
        self.follow_health_checks();
        let found = problems::front(&self.state.front());
        if found != self.front_problems || self.front_serves() != self.front_served {
            self.front_problems = found;
            self.schedule.changed(clock::now());
        }
    }

    fn front_serves(&self) -> bool {
        let front = self.state.front();
        front.pid.is_some() && front.version.is_some()
    }

    /// Whether other networks are denied now.
    fn follow_deny_list(&mut self) {
        if tokio::task::block_in_place(|| self.deny_list.follow()) {
            self.schedule.changed(clock::now());
        }
    }

    /// Whether another station has an address that is announced here, and whether something is wrong with routers.
    fn follow_contests(&mut self) {
        let found = problems::contested(&self.state.announcing());
        let unspoken = self.state.routers().map(|routers| routers.problems).unwrap_or_default();
        if (&found, &unspoken) != (&self.contested, &self.unspoken) {
            (self.contested, self.unspoken) = (found, unspoken);
            self.schedule.changed(clock::now());
        }
    }

    /// Whether somebody came to listen, or left, where the front would answer.
    fn look_for_others(&mut self) {
        let taken = || node::taken(&self.config.manifests, &self.facts.nodeport_addresses);
        let taken = tokio::task::block_in_place(taken);
        if taken != self.taken {
            self.taken = taken;
            self.schedule.changed(clock::now());
        }
    }

    fn look_for_kube_proxy(&mut self) {
        let found = tokio::task::block_in_place(kube_proxy::find);
        if self.state.set_kube_proxy(found) {
            self.schedule.changed(clock::now());
        }
    }

    /// What outer load balancers are told; a pass is due only if that cannot be done.
    fn follow_health_checks(&mut self) {
        let wanted = health_checks::wanted(&self.state.picture().desired, self.front_serves());
        let unheard = self.health_checks.follow(wanted);
        if unheard != self.unheard {
            self.unheard = unheard;
            self.schedule.changed(clock::now());
        }
    }

    /// Whether time has made something of a certificate that is to be said.
    fn look_at_certificates(&mut self) {
        let found = expiry::problems(&self.state.picture().desired.tls, clock::wall());
        if found != self.expiring {
            self.expiring = found;
            self.schedule.changed(clock::now());
        }
    }

    /// Whether ports for source NAT have run out, or room for flows.
    fn look_for_exhaustion(&mut self) {
        let (before, now) = (self.exhaustion.problems(), clock::now());
        tokio::task::block_in_place(|| self.state.look_for_exhaustion(&mut self.exhaustion, now));
        if before != self.exhaustion.problems() {
            self.schedule.changed(now);
        }
    }

    /// Whether there is something else to say of interfaces and ways: they are looked at beside the loop.
    fn look_at_remarks(&mut self) {
        let found: Vec<_> = self.state.dataplane().remarks().collect();
        if found != self.remarks {
            self.remarks = found;
            self.schedule.changed(clock::now());
        }
    }

    fn collect_garbage(&self) {
        let state = Arc::clone(&self.state);
        tokio::task::spawn_blocking(move || {
            let mut dataplane = state.dataplane();
            match dataplane.collect_garbage() {
                Ok(report) => tracing::trace!(?report, "flows collected"),
                Err(error) => tracing::warn!(%error, "cannot collect flows that are over"),
            }
            if let Err(error) = dataplane.follow_ways() {
                tracing::warn!(%error, "cannot follow the routes to backends");
            }
            state.close_orphans(&dataplane);
            state.count_loads(&dataplane);
            match dataplane.keep_next_hops() {
                Ok(hops) => tracing::trace!(hops, "next hops kept resolved"),
                Err(error) => tracing::warn!(%error, "cannot keep next hops resolved"),
            }
        });
    }

    /// When something has changed, and at the latest when the sources were waited for long enough.
    fn next_pass(&self) -> Option<Instant> {
        let patience = (!self.attached).then(|| self.started + SOURCES_WAIT);
        self.schedule.due().into_iter().chain(patience).min()
    }

    /// The sources have not told everything and still have time to.
    fn is_waiting(&self) -> bool {
        !self.objects.complete() && clock::since(self.started) < SOURCES_WAIT
    }
}

/// Waits for a change of interfaces or addresses. A watch that fails is dropped, which counts as a change: something may
/// have been missed.
async fn changed(addresses: &mut Option<AddressWatch>) {
    let Some(watch) = addresses else { return std::future::pending().await };
    if let Err(error) = watch.changed().await {
        tracing::warn!(%error, "interfaces and addresses are not watched for a moment");
        *addresses = None;
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
