//! What annotations refer to: other objects, and where Problems go.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::basic::Found;
use super::value::Wrong;
use super::{NGINX, field};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem, Protocol, ServiceKey, Target};
use crate::source::Objects;
use crate::source::kinds::{ConfigMap, Ingress, Metadata, Secret};
use crate::translate::Services;
use crate::translate::configmap::Own;

/// Everything beside the annotations' own text.
pub(in crate::translate) struct Context<'a> {
    pub(super) objects: &'a Objects,
    pub(super) services: &'a Services,
    pub(super) ingress: &'a Ingress,
    pub(super) owner: &'a ObjectRef,
    /// What the Secrets with users hold that Ingresses name, of all Ingresses so far.
    pub(super) users: &'a mut BTreeMap<String, Arc<Found>>,
    /// Why the routes are closed, if they are.
    pub(super) closed: Option<String>,
    pub(super) problems: &'a mut Vec<Problem>,
    /// What the front's ConfigMap allows.
    pub(super) own: &'a Own,
}

impl<'a> Context<'a> {
    /// The ConfigMap that an annotation names, if it may: those of other namespaces are not the Ingress's
    /// to read, unless `allow-cross-namespace-resources` says so.
    pub(super) fn config_map(
        &mut self,
        annotation: &str,
        namespace: Option<String>,
        name: &str,
    ) -> Option<&'a ConfigMap> {
        let own = self.ingress.metadata.namespace.as_str();
        let namespace = namespace.unwrap_or_else(|| own.to_owned());
        if namespace != own && !self.own.cross_namespace {
            let wrong = Wrong::expected(format!("one of namespace {own}"));
            self.problem(
                annotation,
                &format!("{namespace}/{name}"),
                &wrong,
                "objects of other namespaces are not read",
            );
            return None;
        }
        let found = self.objects.config_map(&namespace, name);
        if found.is_none() {
            let what = format!("ConfigMap {namespace}/{name} does not exist");
            let problem = Problem::warning(code::CONFIGMAP_MISSING, self.owner, what);
            self.problems.push(problem.at(field(&format!("{NGINX}{annotation}")), name));
        }
        found.map(|found| &**found)
    }

    /// The Secret that an annotation names by `name` or `namespace/name`; without it the routes are closed, as it is to
    /// protect them.
    pub(super) fn secret(&mut self, annotation: &str, named: &str) -> Option<&'a Secret> {
        let own = self.ingress.metadata.namespace.as_str();
        let (namespace, name) = named.split_once('/').unwrap_or((own, named));
        if namespace != own && !self.own.cross_namespace {
            self.close(
                annotation,
                named,
                &format!("a Secret of namespace {own}"),
                "Secrets of other namespaces are not read",
            );
            return None;
        }
        let found = self.objects.secret(namespace, name).map(|found| &**found);
        if found.is_none() {
            let what = format!("Secret {namespace}/{name} does not exist; its routes answer 503");
            let problem = Problem::error(code::SECRET_MISSING, self.owner, what);
            self.problems.push(problem.at(field(&format!("{NGINX}{annotation}")), named));
            self.closed.get_or_insert_with(|| format!("Secret {namespace}/{name} does not exist"));
        }
        found
    }

    /// There is such a port, and backends behind it.
    pub(super) fn has_service(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|service| matches!(service.target, Target::Backends(_)))
    }

    /// The first TCP port of a Service of the Ingress's namespace.
    pub(super) fn first_port(&mut self, annotation: &str, name: &str) -> Option<ServiceKey> {
        let namespace = self.ingress.metadata.namespace.clone();
        let ports = self.objects.service(&namespace, name).map(|found| found.spec.ports.as_slice()).unwrap_or_default();
        let numbers = ports.iter().filter_map(|port| u16::try_from(port.port?).ok());
        let mut keys = numbers.map(|port| ServiceKey {
            namespace: namespace.clone(),
            name: name.to_owned(),
            port,
            protocol: Protocol::Tcp,
        });
        let found = keys.find(|key| self.has_service(key));
        if found.is_none() {
            let wrong = Wrong::expected("a Service of the namespace, with a TCP port");
            self.problem(annotation, name, &wrong, "there is no such Service; the Ingress goes on without it");
        }
        found
    }

    /// Something that is to protect the routes cannot do so: they answer 503.
    pub(super) fn close(&mut self, annotation: &str, value: &str, expected: &str, what: &str) {
        self.problem(annotation, value, &Wrong::expected(expected), &format!("{what}; its routes answer 503"));
        self.closed.get_or_insert_with(|| what.to_owned());
    }

    /// Users of a Secret who cannot log in.
    pub(super) fn note_unusable(&mut self, secret: &Metadata, users: &[(String, String)]) {
        let owner = ObjectRef::new("Secret", &secret.namespace, &secret.name);
        for (user, why) in users {
            let problem = Problem::warning(code::SECRET_INVALID, &owner, format!("this user cannot log in: {why}"));
            self.problems.push(problem.at("data", user).expected("a hash by bcrypt, apr1, {SHA} or sha-crypt"));
        }
    }

    /// Answers may have this header, in lower case.
    pub(super) fn allows(&self, header: &str) -> bool {
        self.own.answer_headers.as_ref().is_none_or(|allowed| allowed.iter().any(|name| name == header))
    }

    /// Something that an annotation leads to is wrong.
    pub(super) fn problem(&mut self, annotation: &str, value: &str, wrong: &Wrong, what: &str) {
        let problem = Problem::error(code::ANNOTATION_INVALID, self.owner, what);
        self.problems.push(problem.at(field(&format!("{NGINX}{annotation}")), value).expected(wrong.0.clone()));
    }
}
