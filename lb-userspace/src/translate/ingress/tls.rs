//! Which host has which certificate.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::host;
use crate::model::problem::code;
use crate::model::{Certificate, ObjectRef, Problem, Tls, TlsHost};
use crate::source::Objects;
use crate::source::kinds::{Ingress, IngressTls, Pair, Secret};

/// Certificates as Ingresses ask for them, the oldest first: it has the host.
pub(super) struct Certificates<'a> {
    objects: &'a Objects,
    tls: Tls,
    /// The Ingress that each host's certificate is from.
    holders: BTreeMap<String, String>,
    /// Secrets that were looked at, and are not to be complained about again.
    seen: BTreeMap<String, Option<Arc<Certificate>>>,
}

impl<'a> Certificates<'a> {
    pub(super) fn new(objects: &'a Objects) -> Self {
        Certificates { objects, tls: Tls::default(), holders: BTreeMap::new(), seen: BTreeMap::new() }
    }

    /// Takes what one Ingress says.
    pub(super) fn add(&mut self, ingress: &Ingress, owner: &ObjectRef, problems: &mut Vec<Problem>) {
        for (index, tls) in ingress.spec.tls.iter().enumerate() {
            let field = format!("spec.tls[{index}]");
            let namespace = &ingress.metadata.namespace;
            let secret = tls.secret_name.as_deref().filter(|name| !name.is_empty());
            let certificate = secret.and_then(|name| self.certificate(namespace, name, &field, owner, problems));
            let hosts = hosts(ingress, tls, certificate.as_deref());
            if let (Some(certificate), Some(name)) = (&certificate, secret) {
                let served = |host: &&String| !certificate.covers(host);
                let missed: Vec<_> = hosts.iter().filter(served).map(String::as_str).collect();
                if !missed.is_empty() || hosts.is_empty() {
                    problems.push(mismatch(certificate, &format!("{namespace}/{name}"), &missed, &field, owner));
                }
            }
            let entry = TlsHost { certificate: certificate.and(secret).map(|name| format!("{namespace}/{name}")) };
            for host in hosts {
                self.give(host, &entry, &field, owner, problems);
            }
        }
    }

    fn give(&mut self, host: String, entry: &TlsHost, field: &str, owner: &ObjectRef, problems: &mut Vec<Problem>) {
        match self.tls.hosts.entry(host) {
            Entry::Vacant(place) => {
                self.holders.insert(place.key().clone(), owner.to_string());
                place.insert(entry.clone());
            }
            Entry::Occupied(place) if place.get() == entry => {}
            Entry::Occupied(place) => {
                let (host, holder) = (place.key(), self.holders.get(place.key()).map_or("", String::as_str));
                let has = place.get().certificate.as_deref().unwrap_or("the default one");
                let what = format!("{host} has another certificate, {has}, from the older {holder}");
                let asked = entry.certificate.as_deref().unwrap_or_default();
                problems
                    .push(Problem::warning(code::TLS_CONFLICT, owner, what).at(format!("{field}.secretName"), asked));
            }
        }
    }

    /// The certificate of a Secret; what is wrong with it is said of the Secret, and once.
    fn certificate(
        &mut self,
        namespace: &str,
        name: &str,
        field: &str,
        owner: &ObjectRef,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Certificate>> {
        let key = format!("{namespace}/{name}");
        let field = format!("{field}.secretName");
        let Some(secret) = self.objects.secret(namespace, name) else {
            let what = format!("Secret {key} does not exist; its hosts have the default certificate");
            problems.push(Problem::warning(code::SECRET_MISSING, owner, what).at(field, name));
            return None;
        };
        if let Some(seen) = self.seen.get(&key) {
            return seen.clone();
        }
        let certificate = usable(secret, &ObjectRef::new("Secret", namespace, name), problems);
        self.seen.insert(key.clone(), certificate.clone());
        if let Some(certificate) = &certificate {
            self.tls.certificates.insert(key, Arc::clone(certificate));
        }
        certificate
    }

    /// All of it, with the certificate for everything else.
    pub(super) fn finish(mut self, default: Option<&(String, String)>, problems: &mut Vec<Problem>) -> Tls {
        if let Some((namespace, name)) = default {
            let owner = ObjectRef::new("Secret", namespace, name);
            if self.objects.secret(namespace, name).is_none() {
                let what = "--default-ssl-certificate names it, but it does not exist; the front makes a certificate";
                problems.push(Problem::warning(code::SECRET_MISSING, &owner, what));
            } else if self.certificate(namespace, name, "", &owner, problems).is_some() {
                self.tls.default = Some(format!("{namespace}/{name}"));
            }
        }
        self.tls
    }
}

/// The certificate that a Secret has, or had.
fn usable(secret: &Secret, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Option<Arc<Certificate>> {
    match &secret.pair {
        Some(Pair::Good(certificate)) => Some(Arc::clone(certificate)),
        Some(Pair::Bad { fault, before }) => {
            let what = match before {
                Some(_) => format!("{fault}; the certificate that was there before goes on"),
                None => format!("{fault}; its hosts have the default certificate"),
            };
            let problem = Problem::error(code::CERTIFICATE_INVALID, owner, what);
            problems.push(problem.at_field(format!("data[{}]", fault.key)).expected(fault.expected));
            before.clone()
        }
        None => {
            let what = "there is no certificate in it; its hosts have the default one";
            let problem = Problem::error(code::CERTIFICATE_INVALID, owner, what);
            problems.push(problem.at_field("data").expected("tls.crt and tls.key"));
            None
        }
    }
}

/// The hosts that an entry is for: those that the Ingress has rules for, of those that the entry names; without any
/// named, those that the certificate is for. An Ingress without rules serves every host that it names.
fn hosts(ingress: &Ingress, tls: &IngressTls, certificate: Option<&Certificate>) -> Vec<String> {
    let valid = |text: &String| host::validate(text).ok().flatten();
    let named: Vec<String> = tls.hosts.iter().filter_map(valid).collect();
    let rules = ingress.spec.rules.iter().filter_map(|rule| valid(rule.host.as_ref()?));
    match (named.is_empty(), ingress.spec.rules.iter().any(|rule| rule.host.is_some())) {
        (false, true) => rules.filter(|host| named.iter().any(|name| covers(name, host))).collect(),
        (false, false) => named,
        (true, _) => rules.filter(|host| certificate.is_none_or(|one| one.covers(host))).collect(),
    }
}

fn covers(name: &str, host: &str) -> bool {
    name == host
        || name.strip_prefix("*.").is_some_and(|below| host.split_once('.').is_some_and(|(_, rest)| rest == below))
}

fn mismatch(certificate: &Certificate, secret: &str, missed: &[&str], field: &str, owner: &ObjectRef) -> Problem {
    let names = if certificate.names.is_empty() { "no host".to_owned() } else { certificate.names.join(", ") };
    let missed = if missed.is_empty() { "any host of the Ingress".to_owned() } else { missed.join(", ") };
    let what = format!("the certificate of Secret {secret} is for {names}, not for {missed}: clients refuse it");
    let problem = Problem::warning(code::CERTIFICATE_NAME_MISMATCH, owner, what);
    problem.at(format!("{field}.secretName"), secret).expected(format!("a certificate for {missed}"))
}
