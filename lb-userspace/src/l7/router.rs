//! From host and path to a rule: pure matching over one immutable table.
//!
//! An exact host beats a wildcard, which stands for exactly one label, and that beats `*`. A host that has an entry of
//! its own is never served by the rules of `*`: if none of its paths match, its default backend answers, else the
//! table's, else the front itself (404).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::path::{CanonicalPath, PathError};
use super::rules::{HostRules, Rule};
use super::settings::Settings;
use super::table::{External, RouteEntry, RouteTable, Stream};
use super::tls;
use crate::model::{Authorities, ServiceKey, Users};

/// A route table prepared for matching.
#[derive(Debug, Default)]
pub struct Router {
    /// Version of the table, as the agent numbers it; 0 before the first.
    pub version: u64,
    /// All upstreams; [`Rule::upstream`] is an index.
    pub upstreams: Vec<Upstream>,
    /// Users that rules ask passwords of.
    pub users: BTreeMap<String, Arc<Users>>,
    /// What handshakes of TLS are made with; `None`: there is no TLS.
    pub tls: Option<tls::Server>,
    /// Settings of the front.
    pub settings: Settings,
    /// Ports at which connections are not HTTP.
    pub streams: BTreeMap<u16, Stream>,
    /// There is HTTPS.
    pub https: bool,
    /// Who has signed certificates of clients.
    pub authorities: BTreeMap<String, Arc<Authorities>>,
    /// Positions of the upstreams by their names.
    names: HashMap<Arc<str>, usize>,
    exact: HashMap<Box<str>, HostRules>,
    /// By what follows the first label, without its dot.
    wildcard: HashMap<Box<str>, HostRules>,
    any: Option<HostRules>,
    /// Host and entry of each rule, by its number.
    numbered: Vec<(Arc<str>, Arc<RouteEntry>)>,
    default: Option<Rule>,
}

/// The endpoints behind a Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// `namespace/service:port`.
    pub name: Arc<str>,
    /// Where it is served.
    pub endpoints: Arc<[SocketAddr]>,
    /// Shares of the endpoints; `None`: all the same.
    pub weights: Option<Arc<[u16]>>,
    /// The name that it stands for, instead of endpoints.
    pub external: Option<External>,
}

impl Upstream {
    /// There is nobody behind it.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.external.is_none()
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// A rule matches; the path is the one to forward.
    Forward {
        /// The rule.
        rule: &'a Rule,
        /// The path after canonical form and rewrite.
        path: String,
    },
    /// No rule matches and there is no default.
    NotFound,
    /// A backend may take the path for one that another rule serves, or that lies outside the target of a rewrite.
    Ambiguous,
}

impl Router {
    /// Prepares a table.
    pub fn new(version: u64, table: &RouteTable) -> Self {
        let upstreams: Vec<Upstream> = table
            .upstreams
            .iter()
            .map(|(name, endpoints)| Upstream {
                name: name.as_str().into(),
                endpoints: endpoints.clone(),
                external: table.external.get(name).cloned(),
                weights: table.weights.get(name).filter(|weights| weights.len() == endpoints.len()).cloned(),
            })
            .collect();
        let indexes: HashMap<&str, usize> =
            table.upstreams.keys().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let settings = Settings::new(&table.settings);
        let users = table.users.clone();
        let names = upstreams.iter().enumerate().map(|(i, one)| (Arc::clone(&one.name), i)).collect();
        let mut router = Router { version, upstreams, users, settings, names, ..Router::default() };
        router.https = !table.tls.off;
        router.streams = table.streams.clone();
        router.authorities = table.tls.authorities.clone();
        router.default = table.default.as_ref().map(|entry| Rule::new(entry, &indexes));
        if let Some(rule) = &mut router.default {
            rule.number = Some(router.numbered.len());
            router.numbered.push(("*".into(), Arc::clone(&rule.entry)));
        }
        for (host, entries) in &table.hosts {
            let listed = table.tls.of_host(host).is_some_and(|host| host.listed);
            let mut rules = HostRules::new(entries, &indexes, listed);
            rules.number(host, &mut router.numbered);
            match host.strip_prefix("*.") {
                _ if host == "*" => router.any = Some(rules),
                Some(suffix) => drop(router.wildcard.insert(suffix.into(), rules)),
                None => drop(router.exact.insert(host.as_str().into(), rules)),
            }
        }
        router
    }

    /// Host and entry of a rule, by its number.
    pub fn rule(&self, number: usize) -> Option<&(Arc<str>, Arc<RouteEntry>)> {
        self.numbered.get(number)
    }

    /// Decides about a request. The host is in the form of [`super::host::normalise`], the path as sent, without the query.
    pub fn route(&self, host: &str, raw_path: &str) -> Result<Decision<'_>, PathError> {
        let path = CanonicalPath::new(raw_path)?;
        let found = match self.rules_of(host) {
            Some(rules) => match rules.find(&path) {
                Ok(rule) => rule.or(self.default.as_ref()),
                Err(_) => return Ok(Decision::Ambiguous),
            },
            None => self.default.as_ref(),
        };
        let Some(rule) = found else { return Ok(Decision::NotFound) };
        Ok(match rule.forwarded(path) {
            Ok(path) => Decision::Forward { rule, path },
            Err(_) => Decision::Ambiguous,
        })
    }

    /// The position of an upstream of which only the Service is known.
    pub fn upstream_of(&self, service: &ServiceKey) -> Option<usize> {
        self.names.get(upstream_name(service).as_str()).copied()
    }

    /// Where requests go that no rule wants.
    pub fn default_upstream(&self) -> Option<usize> {
        self.default.as_ref()?.upstream
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        let hosts = self.exact.values().chain(self.wildcard.values()).chain(self.any.as_ref());
        hosts.map(HostRules::count).sum::<usize>() + usize::from(self.default.is_some())
    }

    /// There is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rules that are looked at for a host, which is in the form of [`super::host::normalise`].
    pub fn rules_of(&self, host: &str) -> Option<&HostRules> {
        let wildcard = || {
            host.split_once('.')
                .filter(|(label, _)| !label.is_empty())
                .and_then(|(_, suffix)| self.wildcard.get(suffix))
        };
        self.exact.get(host).or_else(wildcard).or(self.any.as_ref())
    }
}

/// The name of a Service port among upstreams.
pub fn upstream_name(service: &ServiceKey) -> String {
    format!("{}/{}:{}", service.namespace, service.name, service.port)
}

#[cfg(test)]
mod tests;
