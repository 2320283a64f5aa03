//! Requests of pages of other origins (Fetch standard, "CORS protocol").

use serde::{Deserialize, Serialize};

/// What pages of other origins may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Who is allowed.
    pub origins: Vec<Origin>,
    /// Access-Control-Allow-Methods.
    pub methods: String,
    /// Access-Control-Allow-Headers.
    pub headers: String,
    /// Access-Control-Expose-Headers.
    pub expose: Option<String>,
    /// Access-Control-Allow-Credentials.
    pub credentials: bool,
    /// Access-Control-Max-Age, in seconds.
    pub max_age: u32,
}

/// One or several origins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// All.
    Any,
    /// Exactly this one: scheme, host and port, in lower case.
    Exact(String),
    /// One label or more in the place of a star: what stands before and behind it.
    Wildcard(String, String),
}

impl Cors {
    /// The value of Access-Control-Allow-Origin for a request's Origin; `None`: it is not allowed.
    pub fn allowed<'a>(&self, origin: &'a str) -> Option<&'a str> {
        if self.origins.contains(&Origin::Any) {
            return Some("*");
        }
        let lower = origin.to_ascii_lowercase();
        self.origins.iter().any(|allowed| allowed.matches(&lower)).then_some(origin)
    }
}

impl Origin {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Origin::Any => true,
            Origin::Exact(allowed) => allowed == origin,
            Origin::Wildcard(before, behind) => {
                let between = origin.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(behind.as_str()));
                let is_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                between.is_some_and(|labels| !labels.is_empty() && labels.bytes().all(is_label))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_match_as_a_whole() {
        let origins = vec![
            Origin::Exact("https://a.example:8443".into()),
            Origin::Wildcard("https://".into(), ".b.example".into()),
        ];
        let cors =
            Cors { origins, methods: "".into(), headers: "".into(), expose: None, credentials: true, max_age: 0 };
        for (origin, allowed) in [
            ("https://A.example:8443", true),
            ("https://a.example", false),
            ("https://x.b.example", true),
            ("https://x.y.b.example", true),
            ("https://b.example", false),
            ("https://.b.example", false),
            ("https://evil.example/.b.example", false),
            ("https://x.b.example.evil", false),
            ("http://x.b.example", false),
        ] {
            assert_eq!(cors.allowed(origin), allowed.then_some(origin), "{origin}");
        }
    }
}
