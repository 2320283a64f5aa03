//! One pass: translate, compile, write, publish, report.

use std::sync::Arc;

use super::{Control, SOURCES_WAIT};
use crate::agent::error::AgentError;
use crate::agent::readiness::Readiness;
use crate::agent::state::Picture;
use crate::agent::{problems, service_manager};
use crate::clock;
use crate::dataplane::Note;
use crate::expiry;
use crate::l7::control::Listeners;
use crate::model::{DesiredState, ObjectRef, Problem};
use crate::reconcile::{Outcome, Prune};
use crate::translate::{moved_node_ports, translate};

impl Control {
    /// Brings maps and front into step with the objects. Fails only if the programs cannot be attached at first.
    pub(super) fn pass(&mut self) -> Result<(), AgentError> {
        if self.is_waiting() {
            // Half a picture would give NodePorts that the whole one moves.
            self.schedule.passed(clock::now(), false);
            let problems = self.objects.problems().into_iter().chain(self.own_problems()).collect();
            self.sinks.publish(problems);
            self.report_readiness();
            return Ok(());
        }
        // Reading and writing maps blocks; the other tasks go on meanwhile.
        tokio::task::block_in_place(|| self.blocking_pass())
    }

    fn blocking_pass(&mut self) -> Result<(), AgentError> {
        let begun = clock::now();
        let settings = self.config.manifests.settings(Some(&self.facts.name), &self.facts.node_ips);
        let (desired, mut problems) = translate(&self.objects, &settings);
        self.note_moved_ports(&desired);
        if self.schedule.takes_resync(begun) {
            self.resync();
        }
        let mut node = self.facts.node(&self.config, &self.taken);
        node.denied = self.deny_list.networks();
        let outcome = self.reconciler.run_once(&desired, &node, self.prune());
        self.forget_affinities(&outcome);
        self.expiring = expiry::problems(&desired.tls, clock::wall());
        self.desired = Arc::new(desired);
        self.schedule.passed(clock::now(), outcome.needs_retry);
        self.state.metrics.reconciled(clock::since(begun), outcome.writes, outcome.needs_retry);
        self.open_once(&outcome)?;
        self.front.publish(outcome.compiled.routes.clone());
        self.follow_health_checks();
        problems.extend(self.own_problems());
        problems.extend(problems::services_kept(outcome.kept, &self.objects.unread().collect::<Vec<_>>()));
        problems.extend(outcome.problems);
        self.sinks.publish(problems);
        if let Some(cluster) = self.cluster.as_ref().filter(|_| self.objects.complete()) {
            cluster.wish(self.statuses.wishes(&self.objects, &settings));
        }
        self.state.publish(Picture::new(Arc::clone(&self.desired), outcome.compiled));
        self.report_readiness();
        tracing::debug!(writes = outcome.writes, took = ?clock::since(begun), "pass");
        Ok(())
    }

    /// Looks whether the maps are as they were written; what is not, this pass repairs.
    fn resync(&mut self) {
        match self.reconciler.reload() {
            Ok(entries) => self.maps_changed = (entries > 0).then(|| problems::maps_changed(entries)),
            Err(error) => tracing::warn!(%error, "the maps could not be read again; it is tried again later"),
        }
    }

    /// Clients do not keep a backend that has left the ring of their service.
    fn forget_affinities(&self, outcome: &Outcome) {
        let tables = &outcome.compiled.tables;
        if outcome.writes == 0 || !self.reconciler.actual().policies.values().any(|policy| policy.affinity > 0) {
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
        let moved = moved_node_ports(&self.desired, desired);
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
        }
        self.follow_ways();
        self.state.update_readiness(|readiness| {
            readiness.attached = true;
            readiness.maps_written |= outcome.written;
        });
        Ok(())
    }

    /// Backends may have come that are behind other devices.
    fn follow_ways(&mut self) {
        if let Err(error) = self.state.dataplane().follow_ways() {
            self.follow_failed = Some(problems::follow_failed(&error));
        }
    }

    /// What is not the fault of an object.
    fn own_problems(&self) -> Vec<Problem> {
        let mut problems = self.config.not_yet.clone();
        problems.extend(self.moved.iter().cloned());
        problems.extend(self.expiring.iter().cloned());
        problems.extend(self.follow_failed.iter().cloned());
        problems.extend(self.unheard.iter().cloned());
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
        let front = self.state.front();
        let front = front.pid.is_some() && front.version.is_some();
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
            tracing::info!(services = self.desired.services.len(), routes = self.desired.routes.len(), "ready");
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
