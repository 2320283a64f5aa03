//! One pass: translate, compile, write, publish, report.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Control, SOURCES_WAIT};
use crate::agent::error::AgentError;
use crate::agent::readiness::Readiness;
use crate::agent::state::Picture;
use crate::agent::{problems, service_manager};
use crate::announce::bgp::{Me, Plan};
use crate::announce::wanted::Wanted;
use crate::clock;
use crate::cluster::{Wishes, own_statuses};
use crate::compile::Node;
use crate::dataplane::Note;
use crate::expiry;
use crate::l7::control::Listeners;
use crate::model::{Changed, DesiredState, ObjectRef, Problem, TrafficPolicy};
use crate::reconcile::{Followed, Outcome, Prune};
use crate::source::{Changes, Kind};
use crate::tables::Tables;
use crate::translate::{Settings, moved_node_ports};

/// The beginning of a pass.
#[derive(Clone, Copy)]
struct Begun {
    at: Instant,
    worked: Duration,
}

impl Begun {
    fn now() -> Self {
        Begun { at: clock::now(), worked: clock::worked() }
    }

    /// How long it takes until now.
    fn took(self) -> Duration {
        clock::since(self.at)
    }

    /// What it needed of a processor until now.
    fn work(self) -> Duration {
        clock::worked().saturating_sub(self.worked)
    }
}

/// How far the last pass could be brought to where this one should be.
enum Step {
    /// All of it: this is other now.
    Followed(Changed, Followed),
    /// What is desired; the maps are to be compared as a whole.
    Translated,
    /// Not at all: everything is to be translated.
    Lost,
}

impl Control {
    /// Brings maps and front into step with the objects. Fails only if the programs cannot be attached at first.
    pub(super) fn pass(&mut self) -> Result<(), AgentError> {
        if self.is_waiting() {
            // Half a picture would give NodePorts that the whole one moves.
            self.schedule.passed(clock::now(), Duration::ZERO, false);
            let problems = self.objects.problems().into_iter().chain(self.own_problems()).collect();
            self.sinks.publish(problems);
            self.told = None;
            self.report_readiness();
            return Ok(());
        }
        // Reading and writing maps blocks; the other tasks go on meanwhile.
        tokio::task::block_in_place(|| self.blocking_pass())
    }

    fn blocking_pass(&mut self) -> Result<(), AgentError> {
        let begun = Begun::now();
        let mut settings = self.config.manifests.settings(Some(&self.facts.name), &self.facts.node_ips);
        self.giving = self.giver.turn(&mut self.objects, &mut settings);
        let changes = self.objects.take_changes();
        if self.schedule.takes_resync(begun.at) {
            self.resync();
        }
        let mut node = self.facts.node(&self.config, &self.taken);
        node.denied = self.deny_list.networks();
        match self.follow(&changes, &settings, &node) {
            Step::Followed(changed, followed) => {
                self.conclude(&changed, &followed, &settings);
                // passwords of routers, and addresses that lead to the front
                if self.front_serves() != self.front_served || changes.iter().any(|(key, _)| key.kind == Kind::Secret) {
                    self.announce(&settings);
                }
                if changes.iter().any(|(key, _)| key.kind == Kind::Ingress) {
                    self.wish(&settings);
                }
                self.schedule.passed(clock::now(), begun.work(), false);
                self.state.metrics.reconciled(begun.took(), followed.writes, false);
                tracing::debug!(writes = followed.writes, hosts = followed.hosts, took = ?begun.took(), "followed");
            }
            Step::Translated => self.run_all(begun, self.state.picture().desired, &settings, &node)?,
            Step::Lost => {
                let desired = Arc::new(self.translation.renew(&self.objects, &settings));
                self.note_moved_ports(&desired);
                self.expiring = expiry::problems(&desired.tls, clock::wall());
                self.run_all(begun, desired, &settings, &node)?;
            }
        }
        self.report_readiness();
        Ok(())
    }

    /// Lets what the last pass came to follow a few changes.
    fn follow(&mut self, changes: &Changes, settings: &Settings, node: &Node) -> Step {
        let state = Arc::clone(&self.state);
        let prune = self.prune();
        state.amend(|picture| {
            let changed = self.translation.amend(&mut picture.desired, &self.objects, changes, settings);
            let Some(changed) = changed else { return Step::Lost };
            let followed = match prune {
                Prune::All => self.reconciler.follow(&mut picture.compiled, &picture.desired, &changed, node),
                Prune::Known | Prune::Nothing => None,
            };
            followed.map_or(Step::Translated, |followed| Step::Followed(changed, followed))
        })
    }

    /// Compiles and writes everything, and tells it.
    fn run_all(
        &mut self,
        begun: Begun,
        desired: Arc<DesiredState>,
        settings: &Settings,
        node: &Node,
    ) -> Result<(), AgentError> {
        let outcome = self.reconciler.run_once(&desired, node, self.prune());
        self.forget_affinities(outcome.writes, &outcome.compiled.tables);
        self.schedule.passed(clock::now(), begun.work(), outcome.needs_retry);
        self.state.metrics.reconciled(begun.took(), outcome.writes, outcome.needs_retry);
        self.open_once(&outcome)?;
        self.front.publish(Arc::clone(&outcome.compiled.routes));
        let mut problems = outcome.problems;
        problems.extend(problems::services_kept(outcome.kept, &self.objects.unread().collect::<Vec<_>>()));
        self.state.publish(Picture { desired, compiled: outcome.compiled });
        self.follow_health_checks();
        self.announce(settings);
        self.report(problems);
        self.wish(settings);
        tracing::debug!(writes = outcome.writes, took = ?begun.took(), "pass");
        Ok(())
    }

    /// What is left to do when a few changes were followed.
    fn conclude(&mut self, changed: &Changed, followed: &Followed, settings: &Settings) {
        let Picture { desired, compiled } = self.state.picture();
        if !changed.secrets.is_empty() {
            self.expiring = expiry::problems(&desired.tls, clock::wall());
        }
        let policies = || changed.targets.keys().filter_map(|key| Some(desired.services.get(key)?.policy));
        if policies().any(|policy| policy.affinity.is_some()) {
            self.forget_affinities(followed.writes, &compiled.tables);
        }
        self.follow_ways_to(&followed.remote);
        if followed.routes {
            self.front.publish(compiled.routes);
        }
        if policies().any(|policy| policy.external == TrafficPolicy::Local) {
            self.announce(settings);
        }
        if policies().any(|policy| policy.health_check.is_some()) {
            self.follow_health_checks();
        }
        self.report(compiled.problems);
    }

    /// Says which addresses are to be announced. Not before all is known: else others would be left to nobody.
    fn announce(&mut self, settings: &Settings) {
        self.front_served = self.front_serves();
        if !self.objects.complete() {
            return;
        }
        let desired = self.state.picture().desired;
        if let Some(neighbours) = &self.announcers.neighbours {
            neighbours.want(Wanted::new(&self.objects, &desired, &settings.pools, &self.facts.name));
        }
        if let Some(routers) = &self.announcers.routers {
            let addresses = &self.facts.node_ips;
            let me = Me { name: &self.facts.name, addresses, front_serves: self.front_served };
            routers.want(Plan::new(&self.objects, &desired, &settings.pools, me));
        }
    }

    /// Tells all Problems, if there are others than before. `found` are those of the maps.
    fn report(&mut self, found: Vec<Problem>) {
        let mut others = self.own_problems();
        others.extend(self.objects.problems());
        others.extend(self.giving.problems.iter().cloned());
        others.extend(found);
        if !self.translation.take_news() && self.told.as_ref() == Some(&others) {
            return;
        }
        let of_objects = self.translation.problems(&self.objects);
        self.sinks.publish(of_objects.into_iter().chain(others.iter().cloned()).collect());
        self.told = Some(others);
    }

    /// Tells the cluster which statuses should be others.
    fn wish(&mut self, settings: &Settings) {
        if let Some(cluster) = self.cluster.as_ref().filter(|_| self.objects.complete()) {
            let problems = || {
                let mut problems = self.translation.problems(&self.objects);
                problems.extend(self.giving.problems.iter().cloned());
                problems
            };
            let own = own_statuses(&self.objects, problems, &self.giving.pools);
            cluster
                .wish(Wishes { statuses: self.statuses.wishes(&self.objects, settings, &self.giving.services), own });
        }
    }

    /// Looks whether the maps are as they were written; what is not, this pass repairs.
    fn resync(&mut self) {
        match self.reconciler.reload() {
            Ok(entries) => self.maps_changed = (entries > 0).then(|| problems::maps_changed(entries)),
            Err(error) => tracing::warn!(%error, "the maps could not be read again; it is tried again later"),
        }
    }

    /// Clients do not keep a backend that has left the ring of their service.
    fn forget_affinities(&self, writes: usize, tables: &Tables) {
        if writes == 0 || !self.reconciler.actual().policies.values().any(|policy| policy.affinity > 0) {
            return;
        }
        match self.state.dataplane().forget_affinities(tables) {
            Ok(forgotten) => tracing::debug!(forgotten, "clients that kept a backend"),
            Err(error) => tracing::warn!(%error, "cannot forget which clients kept a backend that is gone"),
        }
    }

    /// What the sources allow to be deleted.
    fn prune(&self) -> Prune {
        match self.objects.unread().next() {
            _ if !self.objects.complete() => Prune::Nothing,
            Some(_) => Prune::Known,
            None => Prune::All,
        }
    }

    /// A warning about a port that moved stays until its Service is gone or its port moves again.
    fn note_moved_ports(&mut self, desired: &DesiredState) {
        let moved = moved_node_ports(&self.state.picture().desired, desired);
        let exists = |object: &ObjectRef| {
            desired
                .services
                .keys()
                .any(|key| object.name.as_ref() == Some(&key.name) && object.namespace.as_ref() == Some(&key.namespace))
        };
        self.moved.retain(|old| exists(&old.object) && moved.iter().all(|new| new.object != old.object));
        self.moved.extend(moved);
    }

    /// Lets packets in once there is something in the maps, even if not all could be written: what is good goes on. The
    /// front gets the listeners just before its first table, with which an earlier front begins to drain.
    fn open_once(&mut self, outcome: &Outcome) -> Result<(), AgentError> {
        if !self.attached {
            let mut dataplane = self.state.dataplane();
            let Listeners { http, https, .. } = self.front.listeners();
            dataplane.set_listeners(http, https)?;
            dataplane.attach()?;
            self.attached = true;
            let (version, node) = (env!("CARGO_PKG_VERSION"), &self.facts.name);
            tracing::info!("weir {version} on {node}: {}", dataplane.start_report());
            if let Err(error) = dataplane.follow_ways() {
                self.follow_failed = Some(problems::follow_failed(&error));
            }
        }
        self.follow_ways_to(&outcome.remote);
        self.state.update_readiness(|readiness| {
            readiness.attached = true;
            readiness.maps_written |= outcome.written;
        });
        Ok(())
    }

    /// Backends have come that may be behind other devices. Those that were there are looked at from time to time.
    fn follow_ways_to(&mut self, backends: &[IpAddr]) {
        if let Err(error) = self.state.dataplane().follow_ways_to(backends) {
            self.follow_failed = Some(problems::follow_failed(&error));
        }
    }

    /// What is not the fault of an object.
    fn own_problems(&self) -> Vec<Problem> {
        let mut problems = self.config.not_yet.clone();
        problems.extend(self.moved.iter().cloned());
        problems.extend(self.contested.iter().cloned());
        problems.extend(self.unspoken.iter().cloned());
        problems.extend(problems::bgp_off(&self.objects).filter(|_| self.config.bird.is_none()));
        problems.extend(self.expiring.iter().cloned());
        problems.extend(self.follow_failed.iter().cloned());
        problems.extend(self.unheard.iter().cloned());
        problems.extend(self.exhaustion.problems());
        problems.extend(self.deny_list.problems().iter().cloned());
        problems.extend(self.maps_changed.iter().cloned());
        problems.extend(self.state.kube_proxy().as_ref().and_then(problems::kube_proxy));
        problems.extend(self.taken.problems.iter().cloned());
        problems.extend(self.front_problems.iter().cloned());
        let dataplane = self.state.dataplane();
        problems.extend(
            dataplane.start_report().notes.iter().cloned().chain(dataplane.remarks()).map(|note| problem(&note)),
        );
        drop(dataplane);
        let waited = clock::since(self.started);
        if waited >= SOURCES_WAIT {
            problems.extend(self.incomplete().map(|source| problems::source_incomplete(&source, waited)));
        }
        problems
    }

    fn incomplete(&self) -> impl Iterator<Item = String> {
        let sources = self.config.sources.iter().enumerate();
        let incomplete = sources.filter(|(index, _)| !self.objects.source_complete(*index));
        incomplete.map(|(_, source)| source.to_string())
    }

    /// Tells the service manager the first time that nothing is missing.
    pub(super) fn report_readiness(&mut self) {
        let front = self.front_serves();
        let missing = self.state.update_readiness(|readiness: &mut Readiness| {
            readiness.front = front;
            for (index, (_, complete)) in readiness.sources.iter_mut().enumerate() {
                *complete = self.objects.source_complete(index);
            }
        });
        let ready = missing.is_empty();
        if ready == self.ready {
            return;
        }
        self.ready = ready;
        if ready {
            let desired = self.state.picture().desired;
            tracing::info!(services = desired.services.len(), routes = desired.routes.len(), "ready");
            service_manager::ready("ready");
        } else {
            tracing::warn!("not ready: {}", missing.join(", "));
            service_manager::status(&format!("not ready: {}", missing.join(", ")));
        }
    }
}

fn problem(note: &Note) -> Problem {
    let object = ObjectRef::default();
    Problem { severity: note.severity, ..Problem::info(note.code, &object, &note.message) }
}
