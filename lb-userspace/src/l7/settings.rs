//! The settings of the front, prepared once for each table: names of headers read, expressions compiled.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, REFERER, SERVER, USER_AGENT};
use hyper::http::request::Parts;

use super::compress::{Accepts, Algorithm};
use super::filter::{Outbound, Seen};
use super::forward::Ends;
use super::guard;
use super::proxy::host_of;
use super::rules::Rule;
use super::trace;
use crate::model::PathMatch;
use crate::model::filters::{Template, Variables};
use crate::model::settings::{FrontSettings, UpstreamSettings};

mod matches;
mod proxies;
mod request_id;

use matches::Matches;
pub use matches::compiles;
pub use proxies::NoClient;
pub(super) use request_id::X_REQUEST_ID;

/// What the front calls itself.
const NAME: HeaderValue = HeaderValue::from_static("weir");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

/// Settings, ready for use.
#[derive(Debug)]
pub struct Settings {
    /// As they came.
    pub asked: Arc<FrontSettings>,
    /// Stands for the rule where there is none, so that variables about it are empty.
    pub nobody: Rule,
    /// `Strict-Transport-Security` in answers over TLS.
    pub hsts: Option<HeaderValue>,
    forwarded_header: HeaderName,
    /// Where the PROXY protocol is spoken.
    proxied_header: Option<HeaderName>,
    set: Vec<(HeaderName, Template)>,
    add: Vec<(HeaderName, Template)>,
    hide: Vec<HeaderName>,
    user_agents: Matches,
    referers: Matches,
    no_gzip: Matches,
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(&Arc::default())
    }
}

impl Settings {
    /// Prepares settings. What cannot be used was told by the agent, and is left out here.
    pub fn new(asked: &Arc<FrontSettings>) -> Self {
        let name = |name: &String| HeaderName::try_from(name.as_str()).ok();
        let headers = |list: &[(String, Template)]| {
            list.iter().filter_map(|(key, template)| Some((name(key)?, template.clone()))).collect()
        };
        let mut hide: Vec<_> = asked.answers.hide.iter().filter_map(name).collect();
        if !asked.answers.server_of_backend {
            hide.push(SERVER);
        }
        Settings {
            nobody: Rule::nobody(PathMatch::Default),
            hsts: asked.tls.hsts.and_then(|hsts| HeaderValue::try_from(hsts.to_string()).ok()),
            forwarded_header: name(&asked.forwarded.header).unwrap_or(HeaderName::from_static("x-forwarded-for")),
            proxied_header: Some(&asked.forwarded)
                .filter(|asked| asked.proxy_protocol)
                .and_then(|asked| name(&asked.proxy_protocol_header)),
            set: headers(&asked.requests.set),
            add: headers(&asked.answers.add),
            hide,
            user_agents: Matches::new(&asked.blocked.user_agents),
            referers: Matches::new(&asked.blocked.referers),
            no_gzip: Matches::new(&asked.compression.no_gzip),
            asked: Arc::clone(asked),
        }
    }

    /// Limits of a client's connection.
    pub fn client_limits(&self, usual: guard::Limits) -> guard::Limits {
        let clients = &self.asked.clients;
        let time = |asked: Option<u64>, usual| asked.map_or(usual, Duration::from_millis);
        guard::Limits {
            // Where a connection is for one request, its end follows from the answer.
            idle: time(clients.idle.filter(|&time| time > 0), usual.idle),
            head: time(clients.head, usual.head),
            stall: time(clients.body, usual.stall),
            linger: usual.linger,
            head_size: clients.head_size.map_or(usual.head_size, |size| size as usize),
            line_size: clients.line_size.map_or(usual.line_size, |size| size as usize),
            target_size: clients.target_size.map_or(usual.target_size, |size| size as usize),
            header_count: clients.header_count.map_or(usual.header_count, |count| count as usize),
            rate: clients.rate.unwrap_or(usual.rate),
        }
    }

    /// After so many requests a connection ends.
    pub fn requests_per_connection(&self) -> u64 {
        let clients = &self.asked.clients;
        if clients.idle == Some(0) { 1 } else { clients.requests.map_or(u64::MAX, u64::from) }
    }

    /// Settings of connections to backends.
    pub fn upstreams(&self) -> UpstreamSettings {
        self.asked.upstreams
    }

    /// Puts the head of a request into the form in which everything else sees it: odd headers dropped, an id given. Who is no
    /// proxy that is believed does not choose by which id logs and backends know its request.
    pub fn prepare(&self, head: &mut Parts, peer: IpAddr) {
        let forwarded = &self.asked.forwarded;
        let believed = forwarded.address && forwarded.trusts(peer);
        let is_odd = |name: &&HeaderName| {
            !self.asked.clients.keeps_name(name.as_str()) || (!believed && request_id::is_name(name))
        };
        let odd: Vec<_> = head.headers.keys().filter(is_odd).collect();
        let odd: Vec<HeaderName> = odd.into_iter().cloned().collect();
        for name in odd {
            head.headers.remove(name);
        }
        if self.asked.requests.id {
            head.headers.entry(X_REQUEST_ID).or_insert_with(request_id::fresh);
        }
        if self.asked.requests.trace {
            trace::begin(&mut head.headers);
        }
    }

    /// The client and what it asked for, as a proxy that is believed tells it; `None`: as the connection shows it.
    pub fn ends(&self, ends: &Ends, headers: &HeaderMap) -> Result<Option<Ends>, NoClient> {
        proxies::ends(&self.asked.forwarded, &self.forwarded_header, ends, headers)
    }

    /// The request is served nothing.
    pub fn blocks(&self, client: SocketAddr, headers: &HeaderMap) -> bool {
        let blocked = &self.asked.blocked;
        if blocked.is_empty() {
            return false;
        }
        blocked.has_client(client.ip())
            || self.user_agents.hold(headers.get(USER_AGENT))
            || self.referers.hold(headers.get(REFERER))
    }

    /// How the answer to a request may be coded; `None`: not at all.
    pub fn accepts(&self, head: &Parts) -> Option<Accepts<'_>> {
        let accepts = Accepts::new(&self.asked.compression, head)?;
        Some(if self.no_gzip.hold(head.headers.get(USER_AGENT)) { accepts.without(Algorithm::Gzip) } else { accepts })
    }

    /// Adds what all backends get; what an Ingress asks for is stronger.
    pub fn complete(&self, outbound: &mut Outbound, seen: &Seen<'_>) {
        let head = seen.head;
        let proxied = self.proxied_header.iter();
        if self.asked.forwarded.rfc7239 {
            outbound.headers.push((FORWARDED, seen.ends.forwarded(host_of(head))));
        }
        outbound.headers.extend(proxied.map(|name| (name.clone(), seen.ends.peer_address().clone())));
        for (name, template) in &self.set {
            let told = outbound.headers.iter().any(|(other, _)| other == name);
            if let Some(value) = value(template, seen).filter(|_| !told) {
                outbound.headers.push((name.clone(), value));
            }
        }
        if self.asked.forwarded.original_uri {
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            outbound.headers.extend(HeaderValue::try_from(target).ok().map(|value| (X_ORIGINAL_URI, value)));
        }
    }

    /// What is added to the answer to a request.
    pub fn added(&self, seen: &impl Variables) -> Vec<(HeaderName, HeaderValue)> {
        let added = self.add.iter();
        added.filter_map(|(name, template)| Some((name.clone(), value(template, seen)?))).collect()
    }

    /// Nothing is added to answers.
    pub fn adds_nothing(&self) -> bool {
        self.add.is_empty()
    }

    /// Takes out of a backend's answer what clients do not get.
    pub fn hide(&self, headers: &mut HeaderMap) {
        for name in &self.hide {
            headers.remove(name);
        }
    }

    /// Says who answers, where that is asked for.
    pub fn sign(&self, headers: &mut HeaderMap) {
        if self.asked.answers.server {
            headers.insert(SERVER, NAME);
        }
    }
}

fn value(template: &Template, seen: &impl Variables) -> Option<HeaderValue> {
    HeaderValue::try_from(template.expand(seen)).ok()
}
