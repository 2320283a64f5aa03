//! Which path answers what.

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::header::CACHE_CONTROL;
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinError;

use super::answer::{self, Answer};
use super::asker::Asker;
use super::host;
use super::{Agent, Scope};
use crate::metrics;
use crate::status::capture::CaptureQuery;
use crate::status::drops::DropsQuery;
use crate::status::explain::ExplainQuery;
use crate::status::flows::FlowQuery;
use crate::status::query::{Arguments, BadArgument};
use crate::status::top::{TopQuery, top};
use crate::status::{Listing, Name};
use crate::telemetry::LogLevel;

const PATHS: &str = "/healthz /readyz /metrics /api/v1/status /api/v1/services /api/v1/backends /api/v1/routes \
                     /api/v1/flows /api/v1/drops /api/v1/top /api/v1/capture /api/v1/explain /api/v1/log-level";
/// Where the metrics are.
const METRICS: &str = "/metrics";
/// Where packets are captured.
const CAPTURE: &str = "/api/v1/capture";
/// Where an answer takes as long as what it tells of.
const TOP: &str = "/api/v1/top";
/// Longer than any level's name.
const LARGEST_BODY: usize = 64;

/// Answers one request.
pub(super) async fn answer<B>(agent: Arc<dyn Agent>, scope: Scope, asker: Asker, request: Request<B>) -> Answer
where
    B: hyper::body::Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !host::is_own(&*agent, &request) {
        let expected = "expected an address, localhost or the name of the node as Host\n";
        return answer::text(StatusCode::MISDIRECTED_REQUEST, expected);
    }
    let path = request.uri().path().to_owned();
    if scope == Scope::Metrics && path != METRICS {
        return answer::text(StatusCode::NOT_FOUND, format!("expected {METRICS}; the rest is at --admin\n"));
    }
    let arguments = Arguments::parse(request.uri().query().unwrap_or_default());
    let fresh = request.headers().get_all(CACHE_CONTROL).iter().any(|value| value == "no-cache");
    if path == "/api/v1/log-level" && request.method() != Method::GET {
        return set_log_level(&*agent, asker, request).await;
    }
    if path == CAPTURE {
        if request.method() != Method::POST {
            return answer::method_not_allowed("POST");
        }
        // Packets hold what clients sent, and asking for them changes what the programs do.
        if let Some(refusal) = asker.refusal(request.headers(), &agent.lent(), "packets are captured").await {
            return refusal;
        }
    } else if request.method() != Method::GET && request.method() != Method::HEAD {
        return answer::method_not_allowed("GET");
    }
    let answered = if path == TOP {
        measure(agent, &arguments).await
    } else {
        apart(move || {
            if fresh {
                agent.refresh();
            }
            read(&*agent, &path, &arguments)
        })
        .await
    };
    answered.unwrap_or_else(|error| answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
}

/// Counters are read by system calls: not on a thread that others wait for.
async fn apart<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    tokio::task::spawn_blocking(read).await
}

/// Reads the counters twice and tells what happened in between.
async fn measure(agent: Arc<dyn Agent>, arguments: &Arguments) -> Result<Answer, JoinError> {
    let query = match TopQuery::read(arguments) {
        Ok(query) => query,
        Err(error) => return Ok(answer::text(StatusCode::BAD_REQUEST, format!("{error}\n"))),
    };
    let again = Arc::clone(&agent);
    let before = apart(move || agent.top()).await?;
    tokio::time::sleep(query.pause()).await;
    let after = apart(move || again.top()).await?;
    Ok(answer::json(&top(&query, &before, &after)))
}

fn read(agent: &dyn Agent, path: &str, arguments: &Arguments) -> Answer {
    match path {
        "/healthz" => health(agent),
        "/readyz" => readiness(agent),
        METRICS => answer::typed(StatusCode::OK, metrics::CONTENT_TYPE, agent.metrics()),
        "/api/v1/log-level" => answer::json(&json!({"logLevel": agent.log_level().get().to_string()})),
        "/api/v1/flows" => asked(FlowQuery::read(arguments), |query| agent.flows(query)),
        "/api/v1/drops" => asked(DropsQuery::read(arguments), |query| agent.drops(query)),
        CAPTURE => asked(CaptureQuery::read(arguments), |query| agent.capture(query)),
        "/api/v1/explain" => asked(ExplainQuery::read(arguments), |query| agent.explain(query)),
        _ => match listing(path) {
            Some(name) => answer::json(&Listing::new(name, &agent.view())),
            None => answer::text(StatusCode::NOT_FOUND, format!("expected one of {PATHS}\n")),
        },
    }
}

/// The answer to a question with arguments: 400 if they are wrong, 503 if the maps cannot be read.
fn asked<Q, A: Serialize>(query: Result<Q, BadArgument>, answer: impl FnOnce(&Q) -> Result<A, String>) -> Answer {
    match query.map(|query| answer(&query)) {
        Ok(Ok(found)) => answer::json(&found),
        Ok(Err(reason)) => answer::text(StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
        Err(error) => answer::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

fn listing(path: &str) -> Option<Name> {
    let name = path.strip_prefix("/api/v1/")?;
    Name::ALL.into_iter().find(|listing| listing.as_str() == name)
}

fn health(agent: &dyn Agent) -> Answer {
    if agent.alive() {
        answer::text(StatusCode::OK, "ok\n")
    } else {
        answer::text(StatusCode::SERVICE_UNAVAILABLE, "the agent's main loop stands still\n")
    }
}

/// One line for each thing that is missing.
fn readiness(agent: &dyn Agent) -> Answer {
    match agent.missing() {
        missing if missing.is_empty() => answer::text(StatusCode::OK, "ready\n"),
        missing => answer::text(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n"),
    }
}

async fn set_log_level<B>(agent: &dyn Agent, asker: Asker, request: Request<B>) -> Answer
where
    B: hyper::body::Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.method() != Method::PUT && request.method() != Method::POST {
        return answer::method_not_allowed("GET, PUT, POST");
    }
    if let Some(refusal) = asker.refusal(request.headers(), &agent.lent(), "the log level changes").await {
        return refusal;
    }
    let Ok(body) = Limited::new(request.into_body(), LARGEST_BODY).collect().await else {
        return answer::text(StatusCode::PAYLOAD_TOO_LARGE, format!("expected at most {LARGEST_BODY} bytes\n"));
    };
    match String::from_utf8_lossy(&body.to_bytes()).trim().parse::<LogLevel>() {
        Ok(level) if agent.log_level().set(level) => answer::json(&json!({"logLevel": level.to_string()})),
        Ok(_) => answer::text(StatusCode::SERVICE_UNAVAILABLE, "the log is gone\n"),
        Err(expected) => answer::text(StatusCode::BAD_REQUEST, format!("expected {expected}\n")),
    }
}
