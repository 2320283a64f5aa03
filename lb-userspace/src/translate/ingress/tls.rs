//! Which host has which certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dialect::secure::authorities;
use super::{Draft, Hosts, host, path};
use crate::model::filters::{ClientCertificate, Filters};
use crate::model::problem::code;
use crate::model::{Certificate, ClientAsk, ObjectRef, Problem, Route, RouteKey, Tls};
use crate::source::Objects;
use crate::source::kinds::{Ingress, IngressTls, Pair, Secret};
use crate::translate::Settings;

/// Certificates as Ingresses ask for them, the oldest first: it has the host.
pub(super) struct Certificates<'a> {
    objects: &'a Objects,
    /// Whose they may be.
    policy: &'a Hosts,
    tls: Tls,
    /// The Ingress that each host's certificate is from.
    holders: BTreeMap<String, String>,
    /// What clients have to show, by host; `None`: any.
    clients: BTreeMap<Option<String>, Box<ClientCertificate>>,
    /// Hosts whose suites an Ingress has named.
    suites: BTreeSet<Option<String>>,
}

impl<'a> Certificates<'a> {
    pub(super) fn new(objects: &'a Objects, policy: &'a Hosts) -> Self {
        Certificates {
            objects,
            policy,
            tls: Tls::default(),
            holders: BTreeMap::new(),
            clients: BTreeMap::new(),
            suites: BTreeSet::new(),
        }
    }

    /// Takes what one Ingress says about the hosts of its routes.
    pub(super) fn add(&mut self, ingress: &Ingress, drafts: &[Draft], problems: &mut Vec<Problem>) {
        let owner = &super::reference(ingress);
        let served: BTreeSet<_> = drafts.iter().map(|draft| &draft.route.key.host).cloned().collect();
        if let Some(draft) = drafts.first() {
            self.ask_clients(&served, &draft.route.filters);
            self.pass_through(&served, &draft.route.filters);
            self.offer_suites(&served, &draft.route.filters);
        }
        for (index, tls) in ingress.spec.tls.iter().enumerate() {
            let field = format!("spec.tls[{index}]");
            let namespace = &ingress.metadata.namespace;
            let secret = tls.secret_name.as_deref().filter(|name| !name.is_empty());
            let certificate = secret.and_then(|name| self.certificate(namespace, name, &field, owner, problems));
            let mut hosts = hosts(&served, tls, certificate.as_deref());
            // Those of rules are admitted already.
            hosts.retain(|host| {
                served.contains(&Some(host.clone()))
                    || self.policy.admit(Some(host), ingress, &format!("{field}.hosts"), problems)
            });
            if let (Some(certificate), Some(name)) = (&certificate, secret) {
                let served = |host: &&String| !certificate.covers(host);
                let missed: Vec<_> = hosts.iter().filter(served).map(String::as_str).collect();
                if !missed.is_empty() || hosts.is_empty() {
                    problems.push(mismatch(certificate, &format!("{namespace}/{name}"), &missed, &field, owner));
                }
            }
            let secret = certificate.and(secret).map(|name| format!("{namespace}/{name}"));
            for host in hosts {
                self.give(host, secret.as_deref(), &field, owner, problems);
            }
        }
    }

    fn give(
        &mut self,
        host: String,
        secret: Option<&str>,
        field: &str,
        owner: &ObjectRef,
        problems: &mut Vec<Problem>,
    ) {
        let Some(holder) = self.holders.get(&host) else {
            self.holders.insert(host.clone(), owner.to_string());
            let entry = self.tls.hosts.entry(host).or_default();
            entry.listed = true;
            entry.certificate = secret.map(str::to_owned);
            return;
        };
        let given = self.tls.hosts.get(&host).and_then(|entry| entry.certificate.as_deref());
        if given != secret {
            let has = given.unwrap_or("the default one");
            let what = format!("{host} has another certificate, {has}, from the older {holder}");
            let problem = Problem::warning(code::TLS_CONFLICT, owner, what);
            problems.push(problem.at(format!("{field}.secretName"), secret.unwrap_or_default()));
        }
    }

    /// Its hosts ask clients for a certificate, unless an older Ingress has said for what.
    fn ask_clients(&mut self, served: &BTreeSet<Option<String>>, filters: &Filters) {
        let Some(client) = &filters.client else { return };
        let Some((namespace, name)) = client.authorities.split_once('/') else { return };
        let Some(Ok(authorities)) = self.objects.secret(namespace, name).map(|secret| authorities(secret)) else {
            return;
        };
        self.tls.authorities.entry(client.authorities.clone()).or_insert_with(|| Arc::new(authorities));
        for host in served {
            if !self.clients.contains_key(host) {
                let ask = ClientAsk { authorities: client.authorities.clone(), depth: client.depth };
                self.tls.hosts.entry(host.clone().unwrap_or_else(|| "*".to_owned())).or_default().client = Some(ask);
                self.clients.insert(host.clone(), client.clone());
            }
        }
    }

    /// Its hosts offer these suites, unless an older Ingress has said which.
    fn offer_suites(&mut self, served: &BTreeSet<Option<String>>, filters: &Filters) {
        let Some(secure) = &filters.secure else { return };
        if secure.ciphers.is_empty() && secure.server_order.is_none() {
            return;
        }
        for host in served {
            if self.suites.insert(host.clone()) {
                let entry = self.tls.hosts.entry(host.clone().unwrap_or_else(|| "*".to_owned())).or_default();
                entry.ciphers.clone_from(&secure.ciphers);
                entry.server_order = secure.server_order;
            }
        }
    }

    /// Connections for its hosts go on as they are, to a backend that is not known yet.
    fn pass_through(&mut self, served: &BTreeSet<Option<String>>, filters: &Filters) {
        if filters.secure.as_ref().is_some_and(|secure| secure.passthrough) {
            for host in served.iter().flatten() {
                let entry = self.tls.hosts.entry(host.clone()).or_default();
                entry.listed = true;
                entry.passthrough.get_or_insert_default();
            }
        }
    }

    /// What a client has to show for a host holds for all of its routes, of whichever Ingress; and passed through are
    /// connections to the backend of the shortest path.
    pub(super) fn settle(&mut self, routes: &mut BTreeMap<RouteKey, Route>) {
        for (key, route) in routes.iter_mut() {
            if let Some(client) = self.clients.get(&key.host)
                && route.filters.client.as_ref() != Some(client)
            {
                Arc::make_mut(&mut route.filters).client = Some(client.clone());
            }
        }
        for (host, entry) in self.tls.hosts.iter_mut().filter(|(_, entry)| entry.passthrough.is_some()) {
            let of_host = routes.iter().filter(|(key, _)| key.host.as_deref() == Some(host.as_str()));
            let shortest = of_host.min_by_key(|(key, _)| path::text(&key.path).len());
            let backend = shortest.and_then(|(_, route)| route.backend.resolved.as_ref());
            let upstream = backend.map(|key| format!("{}/{}:{}", key.namespace, key.name, key.port));
            entry.passthrough = Some(upstream.unwrap_or_default());
        }
    }

    /// The certificate of a Secret; what is wrong with it is said of the Secret.
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
        let certificate = usable(secret, &ObjectRef::new("Secret", namespace, name), problems);
        if let Some(certificate) = &certificate {
            self.tls.certificates.insert(key, Arc::clone(certificate));
        }
        certificate
    }

    /// All of it, with the certificate for everything else.
    pub(super) fn finish(mut self, settings: &Settings, problems: &mut Vec<Problem>) -> Tls {
        self.tls.off = settings.https_port == 0;
        if let Some((namespace, name)) = &settings.default_ssl_certificate {
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

/// The hosts that an entry is for: those that the Ingress has routes for, of those that the entry names; without any
/// named, those that the certificate is for. An Ingress for any host serves every host that it names.
fn hosts(served: &BTreeSet<Option<String>>, tls: &IngressTls, certificate: Option<&Certificate>) -> Vec<String> {
    let named: Vec<String> = tls.hosts.iter().filter_map(|text| host::validate(text).ok().flatten()).collect();
    let of_routes = served.iter().flatten();
    if named.is_empty() {
        return of_routes.filter(|host| certificate.is_none_or(|one| one.covers(host))).cloned().collect();
    }
    if served.contains(&None) {
        return named;
    }
    of_routes.filter(|host| named.iter().any(|name| covers(name, host))).cloned().collect()
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
