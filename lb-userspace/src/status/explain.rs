//! `weir explain`: what would become of a packet or request, told step by step.

mod http;
mod question;
mod steps;

#[cfg(test)]
mod tests;

use lb_common::abi::Task;
use lb_common::verdict::{Verdict, is_unserved, refused};
use serde::{Deserialize, Serialize};

use super::view::View;
use crate::dataplane::explain::Explanation;

pub use http::{RequestRow, explain_request};
pub use question::{DEFAULT_CLIENT_PORT, ExplainQuery, ExplainTarget, Scheme, client, header, method};

/// What `weir explain` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainListing {
    /// The answer.
    pub explain: ExplainRow,
}

/// The one object of `weir explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainRow {
    /// The target as it was asked.
    pub input: String,
    /// `ADDRESS:PORT` of the client.
    pub from: String,
    /// What was looked at, in order.
    pub steps: Vec<StepRow>,
    /// `forward`, `reject`, `drop` or `pass`.
    pub verdict: String,
    /// Why, where it is dropped or rejected: a drop reason, or the status of the answer.
    pub reason: Option<String>,
    /// `ADDRESS:PORT` of the backend.
    pub backend: Option<String>,
    /// Device and hardware address by which the packet goes on.
    pub next_hop: Option<String>,
    /// The node of the backend.
    pub node: Option<String>,
    /// More about a request; null for packets.
    #[serde(default)]
    pub request: Option<RequestRow>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRow {
    /// What was looked at.
    pub step: String,
    /// What was found, in a word or two.
    pub result: String,
    /// More of it.
    pub detail: Option<String>,
}

impl StepRow {
    fn new(step: &str, result: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = Some(detail.into()).filter(|detail: &String| !detail.is_empty());
        Self { step: step.to_owned(), result: result.into(), detail }
    }
}

/// Tells what the pipeline made of a packet. Names come from the view; without an agent there are ids.
pub fn explain_packet(query: &ExplainQuery, explanation: &Explanation, view: &View) -> ExplainRow {
    let backend = explanation.backend.map(|backend| backend.at);
    let hop = explanation.next_hop.as_ref().map(|hop| match hop.mac {
        Some(mac) => format!("{} dev {}", mac.map(|byte| format!("{byte:02x}")).join(":"), hop.name),
        None => format!("dev {}", hop.name),
    });
    let node = explanation
        .backend
        .and_then(|backend| view.node_of(backend.at).or_else(|| view.node.clone().filter(|_| backend.local)));
    let (verdict, reason) = verdict(explanation.verdict);
    ExplainRow {
        input: query.target.to_string(),
        from: query.client().to_string(),
        steps: steps::steps(query, explanation, view),
        verdict: verdict.to_owned(),
        reason: reason.map(str::to_owned),
        backend: backend.map(|backend| backend.to_string()),
        next_hop: hop,
        node,
        request: None,
    }
}

/// In the words of the JSON, with the reason of a drop.
fn verdict(verdict: Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Pass => ("pass", None),
        Verdict::Deliver | Verdict::Transmit(_) | Verdict::Front | Verdict::Answer => ("forward", None),
        Verdict::HandOver(Task::Front) => ("forward", None),
        Verdict::HandOver(_) => ("pass", None),
        Verdict::Drop(reason) => ("drop", Some(reason.label())),
        Verdict::Dsr(_) | Verdict::Choose(_) | Verdict::Cookie(_) | Verdict::Tunnel => ("pass", None),
        Verdict::Refuse(why) if is_unserved(why) => ("reject", Some(refused(why).0.label())),
        Verdict::Refuse(why) => ("drop", Some(refused(why).0.label())),
    }
}
