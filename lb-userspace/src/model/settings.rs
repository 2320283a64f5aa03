//! Settings of the front as a whole, from its ConfigMap: typed and checked. They travel to the front with the routes, so
//! a change is in force as soon as one of a route is. What a ConfigMap says about every route alike (times, sizes,
//! source ranges) is not here: it is where an Ingress without such an annotation has it, in its filters.

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod answers;
mod blocked;
mod clients;
mod compression;
mod forwarded;
mod log;
mod requests;
mod spans;
mod streams;
mod tls;
mod upstreams;

pub use answers::AnswerSettings;
pub use blocked::{Blocked, TextMatch};
pub use clients::ClientSettings;
pub use compression::{Coding, CompressionSettings};
pub use forwarded::{ForwardedSettings, address};
pub use log::{Escape, LogFormat, LogPart, LogSettings, LogVariable};
pub use requests::RequestSettings;
pub use spans::{Sampler, SpanSettings};
pub use streams::StreamSettings;
pub use tls::{Hsts, TlsSettings, TlsVersion};
pub use upstreams::UpstreamSettings;

/// All of them. What is not said holds as in ingress-nginx, where the type says nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FrontSettings {
    /// Proxies in front of this one, and what is believed of them.
    pub forwarded: ForwardedSettings,
    /// Connections of clients.
    pub clients: ClientSettings,
    /// Connections to backends.
    pub upstreams: UpstreamSettings,
    /// Headers of requests.
    pub requests: RequestSettings,
    /// Headers of answers.
    pub answers: AnswerSettings,
    /// Who is served nothing at all.
    pub blocked: Blocked,
    /// The access log.
    pub log: LogSettings,
    /// Coding of answers.
    pub compression: CompressionSettings,
    /// Connections of TCP ports.
    pub streams: StreamSettings,
    /// Spans of requests.
    pub spans: SpanSettings,
    /// TLS and the redirects to it.
    pub tls: TlsSettings,
}

impl FrontSettings {
    /// What is not as it is without a ConfigMap, one text for each setting.
    pub fn changed(&self) -> Vec<String> {
        let (ours, usual) = (serde_json::to_value(self), serde_json::to_value(Self::default()));
        let (Ok(Value::Object(ours)), Ok(Value::Object(usual))) = (ours, usual) else { return Vec::new() };
        let mut changed = Vec::new();
        for (group, settings) in &ours {
            for (name, value) in settings.as_object().into_iter().flatten() {
                if usual.get(group).and_then(|usual| usual.get(name)) != Some(value) {
                    changed.push(format!("{group}.{name} = {value}"));
                }
            }
        }
        changed
    }
}
