//! How requests are sent on: times and sizes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Times and sizes; what is not said holds as in [`crate::l7::worker::Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Proxying {
    /// To connect to an endpoint, in milliseconds.
    pub connect: Option<u64>,
    /// Between two parts of the request's body that the endpoint takes, in milliseconds.
    pub send: Option<u64>,
    /// For the head of the answer, and between two parts of its body, in milliseconds.
    pub read: Option<u64>,
    /// For all of it, from the head of the request to the end of the answer, in milliseconds; nothing said: no limit.
    pub whole: Option<u64>,
    /// Longest body of a request, in bytes; 0 or nothing said: no limit. Bodies are streamed, so none is needed to protect
    /// the front.
    pub max_body: Option<u64>,
    /// Bodies of requests are read before they are sent on, as far as there is room for them.
    pub gathers: bool,
    /// The backend is spoken to in HTTP/1.0, where that can say how long the request is.
    pub old_http: bool,
}

impl Proxying {
    /// Longest body of a request, in bytes.
    pub fn max_body(&self) -> u64 {
        match self.max_body.unwrap_or(0) {
            0 => u64::MAX,
            limit => limit,
        }
    }

    /// What is said, one short text each.
    pub fn labels(&self) -> impl Iterator<Item = String> {
        let time = |name: &str, time: Option<u64>| time.map(|time| format!("{name} {time} ms"));
        let size = self.max_body.filter(|size| *size > 0).map(|size| format!("body-size {size}"));
        let times = [("connect", self.connect), ("send", self.send), ("read", self.read), ("request", self.whole)]
            .map(|(what, limit)| time(&format!("{what}-timeout"), limit));
        let old = self.old_http.then(|| "http 1.0".to_owned());
        [size].into_iter().chain(times).chain([old]).flatten()
    }

    /// A time, or the usual one.
    pub fn time(milliseconds: Option<u64>, usual: Duration) -> Duration {
        milliseconds.map_or(usual, Duration::from_millis)
    }
}
