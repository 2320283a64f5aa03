//! From host and path to a rule: pure matching over one immutable table.
//!
//! An exact host beats a wildcard, which stands for exactly one label, and that beats `*`. A host that has an entry of
//! its own is never served by the rules of `*`: if none of its paths match, its default backend answers, else the
//! table's, else the front itself (404).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::delta::TableDelta;
use super::path::{CanonicalPath, PathError};
use super::rules::{HostRules, Rule};
use super::settings::Settings;
use super::table::{External, RouteEntry, RouteTable, Stream};
use super::tls;
use crate::model::{Authorities, ServiceKey, Users};

/// So many rules and upstreams that are gone may leave their places behind, and a quarter of all more.
const SPARE: usize = 256;

/// A route table prepared for matching. A copy shares the rules.
#[derive(Clone, Debug, Default)]
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
    pub settings: Arc<Settings>,
    /// Ports at which connections are not HTTP.
    pub streams: BTreeMap<u16, Stream>,
    /// There is HTTPS.
    pub https: bool,
    /// Who has signed certificates of clients.
    pub authorities: BTreeMap<String, Arc<Authorities>>,
    /// Positions of the upstreams by their names.
    names: HashMap<Arc<str>, usize>,
    exact: HashMap<Arc<str>, Arc<HostRules>>,
    /// By what follows the first label, without its dot.
    wildcard: HashMap<Arc<str>, Arc<HostRules>>,
    any: Option<Arc<HostRules>>,
    /// Host and entry of each rule, by its number; those that are gone leave theirs behind.
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
        let settings = Arc::new(Settings::new(&table.settings));
        let mut router = Router { version, settings, ..Router::default() };
        for name in table.upstreams.keys() {
            router.put_upstream(name, table);
        }
        router.take_whole(table);
        router.put_default(table);
        for (host, entries) in &table.hosts {
            router.put_host(host, entries, table);
        }
        router
    }

    /// The same for a table that differs from this router's by a few changes: what they do not name is shared.
    /// `None`: so much has come and gone since the last whole one that it is better made anew.
    pub fn after(&self, version: u64, table: &RouteTable, changes: &TableDelta) -> Option<Self> {
        // A wildcard says something of hosts that are not named.
        let reaches_others = changes.tls.hosts.keys().any(|host| host.starts_with('*'));
        let gone =
            self.numbered.len().saturating_sub(self.len()) + self.upstreams.len().saturating_sub(self.names.len());
        if reaches_others || gone > SPARE + self.len() / 4 {
            return None;
        }
        let mut router = self.clone();
        router.version = version;
        let upstreams = changes.upstreams.keys().chain(changes.weights.keys()).chain(changes.external.keys());
        upstreams.for_each(|name| router.put_upstream(name, table));
        router.take_whole(table);
        if changes.settings.is_some() {
            router.settings = Arc::new(Settings::new(&table.settings));
        }
        if changes.default.is_some() {
            router.put_default(table);
        }
        let listed = changes.tls.hosts.keys().filter(|host| !changes.hosts.contains_key(*host));
        for host in changes.hosts.keys().chain(listed) {
            match table.hosts.get(host) {
                Some(entries) => router.put_host(host, entries, table),
                None => router.remove_host(host),
            }
        }
        Some(router)
    }

    /// What is small enough to be taken as a whole.
    fn take_whole(&mut self, table: &RouteTable) {
        self.users.clone_from(&table.users);
        self.https = !table.tls.off;
        self.streams.clone_from(&table.streams);
        self.authorities.clone_from(&table.tls.authorities);
    }

    /// An upstream keeps its position for as long as it is there: rules know it by that.
    fn put_upstream(&mut self, name: &str, table: &RouteTable) {
        let found = table.upstreams.get(name).map(|endpoints| Upstream {
            name: name.into(),
            endpoints: endpoints.clone(),
            external: table.external.get(name).cloned(),
            weights: table.weights.get(name).filter(|weights| weights.len() == endpoints.len()).cloned(),
        });
        let place = self.names.get(name).and_then(|&index| self.upstreams.get_mut(index));
        match (place, found) {
            (Some(place), Some(upstream)) => *place = Upstream { name: Arc::clone(&place.name), ..upstream },
            (Some(place), None) => {
                *place = Upstream { name: name.into(), endpoints: Arc::default(), weights: None, external: None };
                self.names.remove(name);
            }
            (None, Some(upstream)) => {
                self.names.insert(Arc::clone(&upstream.name), self.upstreams.len());
                self.upstreams.push(upstream);
            }
            (None, None) => {}
        }
    }

    /// Where an upstream is, by its name: places of those that are gone are still there, under theirs.
    pub fn upstream(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    fn put_default(&mut self, table: &RouteTable) {
        self.default = table.default.as_ref().map(|entry| Rule::new(entry, &self.names));
        if let Some(rule) = &mut self.default {
            rule.number = Some(self.numbered.len());
            self.numbered.push(("*".into(), Arc::clone(&rule.entry)));
        }
    }

    fn put_host(&mut self, host: &str, entries: &[RouteEntry], table: &RouteTable) {
        let listed = table.tls.of_host(host).is_some_and(|host| host.listed);
        let mut rules = HostRules::new(entries, &self.names, listed);
        rules.number(host, &mut self.numbered);
        let rules = Arc::new(rules);
        match host.strip_prefix("*.") {
            _ if host == "*" => self.any = Some(rules),
            Some(suffix) => drop(self.wildcard.insert(suffix.into(), rules)),
            None => drop(self.exact.insert(host.into(), rules)),
        }
    }

    fn remove_host(&mut self, host: &str) {
        match host.strip_prefix("*.") {
            _ if host == "*" => self.any = None,
            Some(suffix) => drop(self.wildcard.remove(suffix)),
            None => drop(self.exact.remove(host)),
        }
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
        hosts.map(|rules| rules.count()).sum::<usize>() + usize::from(self.default.is_some())
    }

    /// There is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let hosts = self.exact.values().chain(self.wildcard.values()).chain(&self.any);
        hosts.flat_map(|host| host.all()).chain(&self.default)
    }

    /// The rules that are looked at for a host, which is in the form of [`super::host::normalise`].
    pub fn rules_of(&self, host: &str) -> Option<&HostRules> {
        let wildcard = || {
            host.split_once('.')
                .filter(|(label, _)| !label.is_empty())
                .and_then(|(_, suffix)| self.wildcard.get(suffix))
        };
        self.exact.get(host).or_else(wildcard).or(self.any.as_ref()).map(|rules| &**rules)
    }
}

/// The name of a Service port among upstreams.
pub fn upstream_name(service: &ServiceKey) -> String {
    format!("{}/{}:{}", service.namespace, service.name, service.port)
}

#[cfg(test)]
mod tests;
