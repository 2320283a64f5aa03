//! Where a request goes, and what the client gets if there is nobody.

use std::net::SocketAddr;

use hyper::StatusCode;

use super::Told;
use crate::l7::answer::Answer;
use crate::l7::destination::{self, Destination};
use crate::l7::filter::Seen;
use crate::l7::proxy::host_of;
use crate::l7::router::Upstream;
use crate::l7::rules::Rule;
use crate::l7::table::External;
use crate::l7::worker;

/// Endpoints that are named.
const LISTED: usize = 8;

impl Told<'_> {
    /// Tells which page stands in for an answer of the front.
    pub(super) fn pages(&mut self, rule: &Rule, status: StatusCode) {
        let Some(pages) = &rule.entry.filters.errors else { return };
        if pages.statuses.contains(&status.as_u16()) {
            let service =
                pages.service.as_ref().map_or("the default backend".to_owned(), |service| service.to_string());
            self.step("decision", "error-pages", format!("{service} is asked for a page in the place of {status}"));
        }
    }

    /// Tells where the request goes that the filters let through.
    pub(super) fn destination(&mut self, seen: &Seen<'_>, view: &worker::View) -> Result<(), Answer> {
        let (rule, mut open) = (seen.rule, None);
        let found = destination::of(rule, view, seen.head, |canary| {
            open = Some((canary.weight, canary.total));
            canary.weight >= canary.total
        });
        if let (Some(canary), Some(to)) = (&rule.entry.filters.canary, &found) {
            let at_canary = rule
                .canary
                .as_ref()
                .is_some_and(|rule| *view.router.upstreams[rule.upstream].name == *to.upstream.name);
            let which = if at_canary { "this is one for the canary" } else { "this is none for the canary" };
            let chance = open.filter(|(weight, total)| (1..*total).contains(weight));
            let detail = chance.map_or(which.to_owned(), |(weight, total)| {
                format!(
                    "by chance: {weight} of {total} such requests go to Ingress {}, told is one that does not",
                    canary.ingress
                )
            });
            self.step("decision", "canary", detail);
        }
        let found = found.or_else(|| {
            let found = destination::stand_in(rule, view)?;
            self.step("decision", "default-backend", "stands in, as the backend has no endpoint");
            Some(found)
        });
        match found {
            Some(Destination { upstream, .. }) => self.endpoints(rule, upstream),
            None => {
                let service = format!("{}:{}", rule.entry.service, rule.entry.service_port);
                let why = rule.entry.problem.clone().unwrap_or_else(|| "no endpoint takes requests".to_owned());
                self.step("endpoints", "none", format!("{service}: {why}"));
                self.pages(rule, StatusCode::SERVICE_UNAVAILABLE);
                Err(Answer::unavailable(&rule.entry, host_of(seen.head), seen.head.uri.path()))
            }
        }
    }

    /// The endpoints of a Service, one of which gets the request.
    fn endpoints(&mut self, rule: &Rule, upstream: &Upstream) -> Result<(), Answer> {
        let service = &upstream.name;
        if let Some(External { host, port }) = &upstream.external {
            self.step("endpoints", host.clone(), format!("of {service}: the addresses of {host}, port {port}"));
            self.forward(service, "to one of them in turn");
            return Ok(());
        }
        let endpoints = &upstream.endpoints;
        let listed = endpoints.iter().take(LISTED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let more = if endpoints.len() > LISTED { ", ..." } else { "" };
        self.step("endpoints", endpoints.len().to_string(), format!("of {service}: {listed}{more}"));
        let how = match (&rule.entry.filters.balance, endpoints.len()) {
            (_, 1) => "to it",
            (None, _) => "to one of them in turn",
            (Some(_), _) => "to one of them, as the filters say",
        };
        self.forward(service, how);
        self.only(endpoints);
        Ok(())
    }

    /// Which of several comes next, each core of the front knows for itself.
    pub(super) fn only(&mut self, endpoints: &[SocketAddr]) {
        if let [only] = *endpoints {
            self.row.backend = Some(only.to_string());
            self.row.node = self.view.node_of(only);
        }
    }

    pub(super) fn forward(&mut self, service: &str, how: &str) {
        self.step("verdict", "forward", how);
        self.row.verdict = "forward".to_owned();
        self.request.service = Some(service.to_owned());
    }
}
