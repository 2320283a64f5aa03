//! Who is served: as another service says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Template;
use crate::model::ServiceKey;

/// Each request is first described to a service, which says whether it may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAuth {
    /// Where the service is: an absolute URL over HTTP or HTTPS.
    pub url: Template,
    /// The Service port that the URL's host stands for; `None`: DNS says where it is.
    pub service: Option<ServiceKey>,
    /// Method of the question; `None`: GET.
    pub method: Option<String>,
    /// Where clients are sent that are not known.
    pub signin: Option<Template>,
    /// Parameter of that URL which tells where they came from.
    pub signin_parameter: String,
    /// Headers of the service's answer that the backend gets, in lower case.
    pub answer_headers: Vec<String>,
    /// Headers that the service gets beside those of the request, in lower case.
    pub question_headers: Vec<(String, Template)>,
    /// What the service is told as X-Auth-Request-Redirect; `None`: path and query of the request.
    pub redirect: Option<Template>,
    /// Answers are remembered by this; `None`: they are not.
    pub cache_key: Option<Template>,
    /// Milliseconds for which answers of a status are remembered; status 0: of every other.
    pub cache_times: BTreeMap<u16, u64>,
    /// The service's cookies go out with errors too.
    pub always_set_cookie: bool,
    /// Connections to the service.
    pub keep: KeepAlive,
}

/// Connections that are kept idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeepAlive {
    /// So many at most, on each core.
    pub idle: u32,
    /// Requests on one.
    pub requests: u32,
    /// Milliseconds without one.
    pub timeout: u64,
}

impl Default for KeepAlive {
    fn default() -> Self {
        KeepAlive { idle: 32, requests: 1000, timeout: 60_000 }
    }
}

impl ExternalAuth {
    /// For how long an answer of this status is remembered, if it is.
    pub fn remembered(&self, status: u16) -> Option<Duration> {
        let time = self.cache_times.get(&status).or_else(|| self.cache_times.get(&0))?;
        Some(Duration::from_millis(*time)).filter(|time| !time.is_zero())
    }
}
