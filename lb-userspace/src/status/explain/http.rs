//! What the front would do with a request: its own guard, settings, router and filters decide, over the route table in
//! force. Nothing is sent, so what only others can tell is told as open: a service that authenticates, a client's requests
//! before this one, the chance of a canary.

mod asked;
mod backend;
mod others;
mod secured;

use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ExplainQuery, ExplainRow, StepRow};
use crate::l7::answer::Answer;
use crate::l7::fallback::By;
use crate::l7::filter::{self, After, Audience, Seen};
use crate::l7::forward::Ends;
use crate::l7::proxy::host_of;
use crate::l7::router::Router;
use crate::l7::routing::{self, Routed, Unrouted};
use crate::l7::rules::Rule;
use crate::l7::worker::{self, Worker};
use crate::status::View;
use crate::status::filter_text;
use crate::status::routes::path_of;
use asked::Asked;

/// What `weir explain` says of a request, beside its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRow {
    /// `namespace/name` of the Ingress whose rule it goes by.
    pub ingress: Option<String>,
    /// The rule's path.
    pub path: Option<String>,
    /// How that matches; null for a default backend.
    pub path_type: Option<String>,
    /// `namespace/name:port` of the Service that gets it.
    pub service: Option<String>,
    /// Path and query as the backend gets them.
    pub forwarded: Option<String>,
    /// Status, if the front answers itself.
    pub status: Option<u16>,
    /// Where the client is sent.
    pub location: Option<String>,
}

/// Tells what the front would do.
pub fn explain_request(query: &ExplainQuery, view: &View) -> ExplainRow {
    let row = ExplainRow { input: query.target.to_string(), from: query.client().to_string(), ..ExplainRow::default() };
    let mut told = Told { row, request: RequestRow::default(), view, decided: Vec::new() };
    if let Err(answer) = told.explain(query) {
        told.rejected(&answer);
    }
    told.row.request = Some(told.request);
    told.row
}

/// What has been told so far.
struct Told<'a> {
    row: ExplainRow,
    request: RequestRow,
    view: &'a View,
    /// Filters that have decided something.
    decided: Vec<&'static str>,
}

/// Hears the filters.
impl Audience for Told<'_> {
    const ASKS: bool = false;

    fn hear(&mut self, filter: &'static str, outcome: impl Display) {
        self.decided.push(filter);
        self.step("decision", filter, outcome.to_string());
    }
}

impl Told<'_> {
    fn step(&mut self, step: &str, result: impl Into<String>, detail: impl Into<String>) {
        self.row.steps.push(StepRow::new(step, result, detail));
    }

    /// The front answers itself; the step before says why.
    fn rejected(&mut self, answer: &Answer) {
        self.step("verdict", "reject", format!("the front answers {answer}"));
        self.row.verdict = "reject".to_owned();
        self.row.reason = Some(answer.status.as_u16().to_string());
        self.request.status = Some(answer.status.as_u16());
        self.request.location = answer.location().map(str::to_owned);
    }

    fn explain(&mut self, query: &ExplainQuery) -> Result<(), Answer> {
        let table = Arc::clone(&self.view.routes);
        let Asked { mut head, length } = Asked::new(query).map_err(|refusal| {
            self.step("request", "refused", refusal.reason);
            Answer::refused(refusal)
        })?;
        let Some(session) = self.session(query, &table) else { return Ok(()) };
        let here = asked::ends(query, session);
        let router = Arc::new(Router::new(0, &table));
        let view = worker::View::new(Arc::clone(&router));
        let settings = &router.settings;
        let ends = settings.ends(&here, &head.headers).map_err(|why| {
            self.step("client", "unknown", why.to_string());
            Answer::no_client(why)
        })?;
        let ends = ends.unwrap_or_else(|| here.clone());
        if ends.client != here.client || ends.scheme() != here.scheme() {
            self.step(
                "client",
                ends.client.ip().to_string(),
                format!("as a trusted proxy tells, by {}", ends.scheme()),
            );
        }
        settings.prepare(&mut head, here.client.ip());
        if settings.blocks(ends.client, &head.headers) {
            self.step("blocked", "yes", "by the front's ConfigMap: address, user agent or referer");
            return Err(Answer::forbidden());
        }
        self.step("host", others::normalised(&head), others::rules_of(&table, &head));
        let Routed { rule, mut path, by, .. } = self.routed(&router, &head, &ends)?;
        if let Some(query) = head.uri.query() {
            path = format!("{path}?{query}");
        }
        self.route(rule, head.uri.path(), &path, by);
        others::tell(self, &table, &head, rule);
        let seen = Seen { rule, head: &head, ends: &ends };
        self.filters(&seen, &length, &view)?;
        self.destination(&seen, &view)
    }

    fn routed<'r>(
        &mut self,
        router: &'r Router,
        head: &hyper::http::request::Parts,
        ends: &Ends,
    ) -> Result<Routed<'r>, Answer> {
        routing::decide(router, head, ends).map_err(|why| match why {
            Unrouted::Front => {
                self.step("route", "none", "OPTIONS * is for the front itself");
                Answer::options()
            }
            Unrouted::Path(error) => {
                self.step("path", "none", error.to_string());
                Answer::bad_path(error)
            }
            Unrouted::Ambiguous => {
                self.step("path", "none", "servers differ in how they read it, and it would lead elsewhere");
                Answer::ambiguous_path()
            }
            Unrouted::NotFound(_) => {
                self.step("route", "none", "no route, and no default backend");
                others::tell_all(self, head);
                Answer::not_found(host_of(head), head.uri.path())
            }
        })
    }

    fn route(&mut self, rule: &Rule, asked: &str, forwarded: &str, by: Option<By>) {
        let entry = &rule.entry;
        let (path, kind) = path_of(&entry.path);
        let result = kind.map_or_else(|| "default backend".to_owned(), |kind| format!("{kind} {path}"));
        self.step("route", result, format!("of Ingress {}", entry.ingress));
        let by = by.map(|by| match by {
            By::Referer => "no rule matches; the page that asks, as Referer says, came by this one",
            By::Cookie => "no rule matches; the client was served last by this one, as its cookie says",
        });
        if let Some(why) = by {
            self.step("decision", "asset-fallback", why);
        } else if let Some(rewrite) = &entry.rewrite {
            let bare = forwarded.split('?').next().unwrap_or_default();
            self.step("filter", filter_text(rewrite), format!("{asked} becomes {bare}"));
        } else if forwarded.split('?').next() != Some(asked) {
            self.step("path", forwarded, "in canonical form");
        }
        for label in entry.filters.labels() {
            self.step("filter", label, "");
        }
        self.request.ingress = Some(entry.ingress.clone());
        self.request.path = Some(path.to_owned());
        self.request.path_type = kind.map(str::to_owned);
        self.request.forwarded = Some(forwarded.to_owned());
    }

    /// What the filters decide, each in turn; a client's first request, as far as they count.
    fn filters(&mut self, seen: &Seen<'_>, length: &asked::Length, view: &worker::View) -> Result<(), Answer> {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            self.step("decision", "unknown", "no thread is left to check passwords on");
            return Ok(());
        };
        let (worker, mut after) = (Worker::apart(), After::default());
        let result = runtime.block_on(filter::before(seen, length, &worker, view, &mut after, self));
        if let Err(answer) = &result {
            self.pages(seen.rule, answer.status);
        }
        result.map(drop)
    }
}

/// What TLS tells of the connection; `None`: it is plain.
type Session = Option<Rc<crate::l7::tls::Session>>;
