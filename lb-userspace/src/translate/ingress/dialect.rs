//! The dialect of ingress-nginx: one table of all its annotations, which parses them, applies them, and is their
//! documentation ([docs/annotations.md]).
//!
//! Every value is parsed into a type before anything is done with it. A value that is wrong is a Problem and the Ingress
//! goes on without it, except where that would open what was meant to be closed: then its routes answer 503.
//!
//! [docs/annotations.md]: ../../../../../docs/annotations.md

use std::collections::BTreeMap;
use std::sync::Arc;

use super::annotations::{NGINX, WEIR};
use super::backend::Lookup;
use crate::model::filters::{Filters, Logs, Proxying};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::kinds::Ingress;
use crate::translate::configmap::Read;

mod access;
mod affinity;
mod backend;
mod balance;
pub(super) mod basic;
mod buffering;
mod canary;
mod context;
mod cors;
mod errors;
mod external;
mod fallback;
mod headers;
mod health;
mod limits;
mod logs;
mod mirror;
mod paths;
mod proxying;
mod redirects;
mod refused;
mod retries;
pub(in crate::translate) mod secure;
pub(in crate::translate) mod similar;
pub(in crate::translate) mod suites;
pub(in crate::translate) mod value;

use context::Context;
pub(in crate::translate) use headers::header;
use value::Wrong;

/// One annotation: what it is called, what it takes, what it does here.
#[cfg_attr(not(test), expect(dead_code, reason = "what is for people only, a test writes into the documentation"))]
pub(in crate::translate) struct Annotation {
    /// Behind the prefix.
    pub(in crate::translate) name: &'static str,
    /// What values look like, for people.
    pub(in crate::translate) kind: &'static str,
    /// What holds without it.
    pub(in crate::translate) default: &'static str,
    /// What it does, in a sentence.
    pub(in crate::translate) meaning: &'static str,
    /// Where that differs from ingress-nginx; empty: nowhere.
    pub(in crate::translate) difference: &'static str,
    /// How it is honoured.
    pub(in crate::translate) support: Support,
}

/// One whose wrong values cost only itself.
const fn annotation(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
    apply: fn(&mut Asked, &str) -> Result<(), Wrong>,
) -> Annotation {
    Annotation { name, kind, default, meaning, difference, support: Support::Applied(apply) }
}

/// One whose wrong values close the routes.
const fn guard(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
    apply: fn(&mut Asked, &str) -> Result<(), Wrong>,
) -> Annotation {
    Annotation { name, kind, default, meaning, difference, support: Support::Guards(apply) }
}

/// How an annotation is honoured.
pub(in crate::translate) enum Support {
    /// Parsed, and put among what the Ingress asks for.
    Applied(fn(&mut Asked, &str) -> Result<(), Wrong>),
    /// The same, and without it something would be open that is meant to be closed.
    Guards(fn(&mut Asked, &str) -> Result<(), Wrong>),
    /// Read by a module of its own.
    Elsewhere,
    /// Not honoured on purpose.
    Refused {
        /// Why.
        reason: &'static str,
        /// The nearest that is safe.
        instead: &'static str,
    },
}

/// What the annotations of one Ingress ask for, parsed one by one; [`Asked::into_filters`] makes sense of them together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::translate) struct Asked {
    redirects: redirects::Redirects,
    sources: access::Sources,
    basic: basic::Basic,
    external: external::External,
    pages: errors::Pages,
    origins: cors::Origins,
    changes: headers::Changes,
    limits: limits::Limits,
    proxying: Proxying,
    balancing: balance::Balancing,
    health: health::Health,
    retries: retries::Retries,
    canaries: canary::Canaries,
    secure: secure::Redirect,
    clients: secure::Clients,
    speaking: backend::Speaking,
    mirroring: mirror::Mirroring,
    logs: Logs,
    service_upstream: bool,
    asset_fallback: bool,
}

impl Asked {
    fn into_filters(self, context: &mut Context<'_>) -> Filters {
        let basic = self.basic.auth(context);
        let breaker = self.balancing.breaker();
        let balance = self.balancing.balance(context);
        let backend = self.speaking.backend(context);
        let canary = self.canaries.canary(balance.as_deref());
        let client = self.clients.certificate(context);
        let external = self.external.auth(context);
        let errors = self.pages.pages(context);
        Filters {
            redirect: self.redirects.redirect(),
            app_root: self.redirects.app_root(),
            secure: self.secure.secure(),
            client,
            access: self.sources.access(),
            basic,
            external,
            errors,
            cors: self.origins.cors(),
            headers: self.changes.headers(context),
            limits: self.limits.limits(),
            proxying: self.proxying,
            logs: self.logs,
            asset_fallback: self.asset_fallback,
            service_upstream: self.service_upstream,
            closed: context.closed.take(),
            balance,
            breaker,
            health: self.health.check(),
            retry: self.retries.retry(),
            canary,
            backend,
            mirror: self.mirroring.mirror(),
        }
    }
}

/// All annotations of the dialect, and our own for Ingresses.
pub(in crate::translate) fn all() -> impl Iterator<Item = (&'static str, &'static Annotation)> {
    let nginx = [
        redirects::ANNOTATIONS,
        access::ANNOTATIONS,
        basic::ANNOTATIONS,
        external::ANNOTATIONS,
        errors::ANNOTATIONS,
        cors::ANNOTATIONS,
        headers::ANNOTATIONS,
        limits::ANNOTATIONS,
        proxying::ANNOTATIONS,
        balance::ANNOTATIONS,
        affinity::ANNOTATIONS,
        retries::ANNOTATIONS,
        canary::ANNOTATIONS,
        secure::ANNOTATIONS,
        suites::ANNOTATIONS,
        backend::ANNOTATIONS,
        mirror::ANNOTATIONS,
        buffering::ANNOTATIONS,
        logs::ANNOTATIONS,
        refused::ANNOTATIONS,
        paths::ANNOTATIONS,
    ];
    let nginx = nginx.into_iter().flatten().map(|annotation| (NGINX, annotation));
    let own = [backend::OWN, balance::OWN, fallback::OWN, health::OWN, paths::OWN, proxying::OWN];
    let own = own.into_iter().flatten().map(|annotation| (WEIR, annotation));
    nginx.chain(own)
}

/// The entry of an annotation of ingress-nginx.
pub(in crate::translate) fn find(name: &str) -> Option<&'static Annotation> {
    all().find(|(prefix, annotation)| *prefix == NGINX && annotation.name == name).map(|(_, annotation)| annotation)
}

/// Reads the annotations of an Ingress, which begins with what the ConfigMap of the front says for all.
pub(super) fn read(
    ingress: &Ingress,
    owner: &ObjectRef,
    lookup: &Lookup<'_>,
    usual: &Read,
    users: &mut BTreeMap<String, Arc<basic::Found>>,
    problems: &mut Vec<Problem>,
) -> Arc<Filters> {
    let mut asked = usual.asked.clone();
    if external::is_of_its_own(ingress) {
        asked.external = external::External::default();
    }
    let mut closed = usual.closed.clone();
    for (key, value) in &ingress.metadata.annotations {
        let Some(prefix) = [NGINX, WEIR].into_iter().find(|prefix| key.starts_with(prefix)) else { continue };
        let Some((_, annotation)) = all().find(|(with, known)| *with == prefix && key[prefix.len()..] == *known.name)
        else {
            problems.push(unknown(key, prefix, owner));
            continue;
        };
        match annotation.support {
            Support::Applied(apply) => {
                if let Err(wrong) = apply(&mut asked, value) {
                    problems.push(invalid(key, value, &wrong, owner, "the Ingress goes on without it"));
                }
            }
            Support::Guards(apply) => {
                if let Err(wrong) = apply(&mut asked, value) {
                    problems.push(invalid(
                        key,
                        value,
                        &wrong,
                        owner,
                        "its routes answer 503, as it is to protect them",
                    ));
                    closed.get_or_insert_with(|| format!("{key} has a value that cannot be used"));
                }
            }
            Support::Refused { reason, instead } => problems.push(refusal(key, reason, instead, owner)),
            Support::Elsewhere => {}
        }
    }
    let own = &usual.own;
    let mut context =
        Context { objects: lookup.objects, services: lookup.services, ingress, owner, users, closed, problems, own };
    let mut filters = asked.into_filters(&mut context);
    if let Some(limits) = &mut filters.limits {
        own.complete(limits);
    }
    Arc::new(filters)
}

fn unknown(key: &str, prefix: &str, owner: &ObjectRef) -> Problem {
    let problem = Problem::warning(code::ANNOTATION_UNKNOWN, owner, "there is no such annotation").at_field(field(key));
    let names = all().filter(|(with, _)| *with == prefix).map(|(_, annotation)| annotation.name);
    match similar::nearest(&key[prefix.len()..], names) {
        Some(name) => problem.expected(format!("perhaps {prefix}{name}")),
        None => problem,
    }
}

fn invalid(key: &str, value: &str, wrong: &Wrong, owner: &ObjectRef, consequence: &'static str) -> Problem {
    let consequence = wrong.consequence(consequence);
    let problem =
        Problem::error(code::ANNOTATION_INVALID, owner, format!("an annotation has a wrong value; {consequence}"));
    problem.at(field(key), value).expected(wrong.0.clone())
}

fn refusal(key: &str, reason: &str, instead: &str, owner: &ObjectRef) -> Problem {
    let what = format!("this annotation is not honoured: {reason}");
    Problem::warning(code::ANNOTATION_REFUSED, owner, what).at_field(field(key)).expected(instead)
}

fn field(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}

#[cfg(test)]
mod tests;
