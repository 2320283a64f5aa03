//! What the front would do with a request: its own router over the route table in force.

use super::{ExplainQuery, ExplainRow, Scheme, StepRow};
use crate::l7::host::normalise;
use crate::l7::router::{Decision, Router};
use crate::l7::rules::Rule;
use crate::l7::table::{External, RouteTable};
use crate::model::PathMatch;
use crate::status::View;
use crate::status::filter_text;

/// Answers of the front itself.
mod status {
    pub(super) const NOT_FOUND: &str = "404";
    pub(super) const BAD_REQUEST: &str = "400";
    pub(super) const UNAVAILABLE: &str = "503";
}

/// Tells what the front would do.
pub fn explain_request(query: &ExplainQuery, view: &View) -> ExplainRow {
    let table: &RouteTable = &view.routes;
    let mut row =
        ExplainRow { input: query.target.to_string(), from: query.client().to_string(), ..ExplainRow::default() };
    if query.target.scheme == Scheme::Https {
        row.refuse("no-tls", StepRow::new("tls", "none", "the front speaks plain HTTP only"));
        return row;
    }
    let given = query.headers.iter().rev().find(|(name, _)| name == "host").map(|(_, value)| value.as_str());
    let host = given.unwrap_or(&query.target.host);
    let normalised = normalise(host).unwrap_or_default();
    row.steps.push(StepRow::new("host", normalised.clone(), rules_of(table, &normalised)));
    let path = query.target.path.split('?').next().unwrap_or_default();
    let router = Router::new(0, table);
    match router.route(&normalised, path) {
        Err(error) => row.reject(status::BAD_REQUEST, "path", &error.to_string()),
        Ok(Decision::Ambiguous) => {
            row.reject(status::BAD_REQUEST, "path", "servers differ in how they read it, and it would lead elsewhere");
        }
        Ok(Decision::NotFound) => row.reject(status::NOT_FOUND, "route", "no route, and no default backend"),
        Ok(Decision::Forward { rule, path: forwarded }) => {
            row.route(rule, path, &forwarded);
            row.endpoints(rule, &router, view);
        }
    }
    row
}

impl ExplainRow {
    fn reject(&mut self, status: &str, step: &str, why: &str) {
        self.refuse(status, StepRow::new(step, "none", why));
        self.steps.push(StepRow::new("verdict", "reject", format!("the front answers {status}")));
    }

    fn refuse(&mut self, reason: &str, step: StepRow) {
        self.steps.push(step);
        self.verdict = "reject".to_owned();
        self.reason = Some(reason.to_owned());
    }

    fn route(&mut self, rule: &Rule, path: &str, forwarded: &str) {
        let entry = &rule.entry;
        let (kind, pattern) = match &entry.path {
            PathMatch::Exact(path) => ("Exact", path.as_str()),
            PathMatch::Prefix(path) => ("Prefix", path.as_str()),
            PathMatch::ImplementationSpecific(path) => ("ImplementationSpecific", path.as_str()),
            PathMatch::Regex(path) => ("Regex", path.as_str()),
            PathMatch::Default => ("default backend", ""),
        };
        let detail = format!("of Ingress {}", entry.ingress);
        self.steps.push(StepRow::new("route", format!("{kind} {pattern}").trim_end(), detail));
        if let Some(filter) = &entry.rewrite {
            self.steps.push(StepRow::new("filter", filter_text(filter), format!("{path} becomes {forwarded}")));
        }
        self.steps.extend(entry.filters.labels().into_iter().map(|label| StepRow::new("filter", label, "")));
        if entry.rewrite.is_none() && path != forwarded {
            self.steps.push(StepRow::new("path", forwarded, "in canonical form"));
        }
    }

    fn endpoints(&mut self, rule: &Rule, router: &Router, view: &View) {
        let service = format!("{}:{}", rule.entry.service, rule.entry.service_port);
        let endpoints = rule.upstream.map(|index| router.upstreams[index].endpoints.clone()).unwrap_or_default();
        let external = rule.upstream.and_then(|index| router.upstreams[index].external.as_ref());
        if let Some(External { host, port }) = external {
            let detail = format!("of {service}: the addresses of {host}, port {port}");
            self.steps.push(StepRow::new("endpoints", host.clone(), detail));
            self.steps.push(StepRow::new("verdict", "forward", "to one of them in turn"));
            self.verdict = "forward".to_owned();
            return;
        }
        let Some(first) = endpoints.first() else {
            let why = rule.entry.problem.clone().unwrap_or_else(|| "no endpoint takes requests".to_owned());
            return self.reject(status::UNAVAILABLE, "endpoints", &format!("{service}: {why}"));
        };
        let listed = endpoints.iter().take(8).map(|endpoint| endpoint.to_string()).collect::<Vec<_>>().join(", ");
        let more = if endpoints.len() > 8 { ", ..." } else { "" };
        self.steps.push(StepRow::new(
            "endpoints",
            endpoints.len().to_string(),
            format!("of {service}: {listed}{more}"),
        ));
        let turn = if endpoints.len() > 1 { "to one of them in turn" } else { "to it" };
        self.steps.push(StepRow::new("verdict", "forward", turn));
        self.verdict = "forward".to_owned();
        // Which of several comes next, each core of the front knows for itself.
        if endpoints.len() == 1 {
            self.backend = Some(first.to_string());
            self.node = view.node_of(*first);
        }
    }
}

/// Whose rules are looked at.
fn rules_of(table: &RouteTable, host: &str) -> String {
    let wildcard = host.split_once('.').map(|(_, suffix)| format!("*.{suffix}"));
    let candidates = [Some(host.to_owned()), wildcard, Some("*".to_owned())];
    match candidates.into_iter().flatten().find(|name| table.hosts.contains_key(name)) {
        Some(name) => format!("{} routes of host {name}", table.hosts[&name].len()),
        None => "no route names it".to_owned(),
    }
}
