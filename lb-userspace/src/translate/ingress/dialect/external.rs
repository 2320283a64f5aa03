//! Authentication by another service.

use std::collections::BTreeMap;

use super::super::annotations::nginx;
use super::headers::{self, RESERVED};
use super::value::{self, Parsed, Wrong};
use super::{Annotation, Context, Support};
use crate::model::filters::{ExternalAuth, KeepAlive, Template};
use crate::model::{Protocol, ServiceKey, name};
use crate::source::kinds::Ingress;

mod url;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct External {
    url: Option<Template>,
    method: Option<String>,
    signin: Option<Template>,
    signin_parameter: Option<String>,
    answer_headers: Vec<String>,
    /// Namespace, if one is written, and name of a ConfigMap.
    question_headers: Option<(Option<String>, String)>,
    redirect: Option<Template>,
    cache_key: Option<Template>,
    cache_times: Option<BTreeMap<u16, u64>>,
    always_set_cookie: bool,
    keep: KeepAlive,
}

/// The Ingress has nothing to do with what the ConfigMap asks of all: it says so, or has a service of its own.
pub(super) fn is_of_its_own(ingress: &Ingress) -> bool {
    let refuses = nginx(ingress, "enable-global-auth").is_some_and(|text| value::flag(text) == Ok(false));
    refuses || nginx(ingress, "auth-url").is_some_and(|text| !text.trim().is_empty())
}

impl External {
    pub(super) fn auth(self, context: &mut Context<'_>) -> Option<Box<ExternalAuth>> {
        let url = self.url?;
        if url::is_up_to_clients(&url, context.ingress) {
            let expected = "a host of its own, as the rule takes any host that a client names";
            context.close("auth-url", &url.to_string(), expected, "clients would choose who authenticates them");
            return None;
        }
        let question_headers = match &self.question_headers {
            Some((namespace, name)) => {
                headers::of_config_map("auth-proxy-set-headers", namespace.clone(), name, context)
            }
            None => Vec::new(),
        };
        let service = url::service(&url);
        let exists = service.as_ref().is_none_or(|key| context.has_service(key));
        if let Some(key) = service.as_ref().filter(|_| !exists) {
            let wrong = Wrong::expected("a Service and one of its TCP ports");
            context.problem("auth-url", &url.to_string(), &wrong, &format!("{key} does not exist; requests get 503"));
        }
        Some(Box::new(ExternalAuth {
            service,
            url,
            method: self.method,
            signin: self.signin,
            signin_parameter: self.signin_parameter.unwrap_or_else(|| "rd".to_owned()),
            answer_headers: self.answer_headers,
            question_headers,
            redirect: self.redirect,
            cache_key: self.cache_key,
            cache_times: self.cache_times.unwrap_or_else(|| [200, 202, 401].map(|status| (status, 300_000)).into()),
            always_set_cookie: self.always_set_cookie,
            keep: self.keep,
        }))
    }
}

const fn annotation(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
    support: Support,
) -> Annotation {
    Annotation { name, kind, default, meaning, difference, support }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "auth-url",
        "template",
        "",
        "The service that is asked about every request: 2xx lets it through, 401 and 403 do not, all else is 500.",
        "A service that cannot be asked is 503. NAME.NAMESPACE.svc is found without DNS. $http_host in its host is $host: clients do not choose the port. Its certificate is not checked, as there.",
        Support::Guards(|asked, text| url::parse(text).map(|url| asked.external.url = url)),
    ),
    annotation(
        "auth-method",
        "method",
        "GET",
        "The method of that question.",
        "",
        Support::Applied(|asked, text| method(text).map(|method| asked.external.method = method)),
    ),
    annotation(
        "auth-signin",
        "template",
        "",
        "Where clients are sent, with status 302, whom the service answers 401.",
        "",
        Support::Applied(|asked, text| url::parse_signin(text).map(|url| asked.external.signin = url)),
    ),
    annotation(
        "auth-signin-redirect-param",
        "name",
        "rd",
        "The parameter of that URL which tells where they came from.",
        "",
        Support::Applied(|asked, text| parameter(text).map(|name| asked.external.signin_parameter = name)),
    ),
    annotation(
        "auth-response-headers",
        "names",
        "",
        "Headers of the service's answer that the backend gets; never those that the client sent.",
        "A wrong name closes the routes.",
        Support::Guards(|asked, text| names(text).map(|names| asked.external.answer_headers = names)),
    ),
    annotation(
        "auth-proxy-set-headers",
        "namespace/name",
        "",
        "A ConfigMap of headers for the question, with variables.",
        "The ConfigMap has to be in the namespace of the Ingress.",
        Support::Applied(|asked, text| headers::qualified(text).map(|named| asked.external.question_headers = named)),
    ),
    annotation(
        "auth-request-redirect",
        "template",
        "$request_uri",
        "What the service is told as X-Auth-Request-Redirect.",
        "",
        Support::Applied(|asked, text| {
            value::template(text).map(|to| asked.external.redirect = Some(to).filter(|to| !to.is_empty()))
        }),
    ),
    annotation(
        "auth-cache-key",
        "template",
        "",
        "Under what key answers of the service are remembered; empty: not at all.",
        "4,096 for each core. A key that is empty for a request is not remembered, nor answers that say no-store or set cookies.",
        Support::Applied(|asked, text| {
            value::template(text).map(|key| asked.external.cache_key = Some(key).filter(|key| !key.is_empty()))
        }),
    ),
    annotation(
        "auth-cache-duration",
        "statuses and time",
        "200 202 401 5m",
        "How long they are remembered, by status.",
        "",
        Support::Applied(|asked, text| durations(text).map(|times| asked.external.cache_times = times)),
    ),
    annotation(
        "auth-keepalive",
        "number",
        "32",
        "Idle connections that are kept to the service.",
        "On each core, also where the URL has variables, and not 0 where nothing is said.",
        Support::Applied(|asked, text| value::number(text, 0..=4096).map(|most| asked.external.keep.idle = most)),
    ),
    annotation(
        "auth-keepalive-requests",
        "number",
        "1000",
        "Requests on one such connection.",
        "",
        Support::Applied(|asked, text| {
            value::number(text, 1..=u32::MAX).map(|most| asked.external.keep.requests = most)
        }),
    ),
    annotation(
        "auth-keepalive-timeout",
        "seconds",
        "60",
        "How long such a connection stays idle.",
        "",
        Support::Applied(|asked, text| value::duration(text).map(|time| asked.external.keep.timeout = time)),
    ),
    annotation(
        "auth-keepalive-share-vars",
        "flag",
        "false",
        "Whether variables of the request are those of the question.",
        "They always are: templates only see the client's request.",
        Support::Applied(|_, text| value::flag(text).map(drop)),
    ),
    annotation(
        "auth-always-set-cookie",
        "flag",
        "false",
        "Passes on cookies of the service with errors as well.",
        "",
        Support::Applied(|asked, text| value::flag(text).map(|always| asked.external.always_set_cookie = always)),
    ),
    annotation(
        "enable-global-auth",
        "flag",
        "true",
        "Whether the global authentication of the ConfigMap holds here.",
        "",
        Support::Applied(|_, text| value::flag(text).map(drop)),
    ),
];

fn method(text: &str) -> Parsed<Option<String>> {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    match text.trim() {
        "" => Ok(None),
        text if known.contains(&text) => Ok(Some(text.to_owned())),
        _ => Err(Wrong::expected(known.join(", "))),
    }
}

fn parameter(text: &str) -> Parsed<Option<String>> {
    let text = text.trim();
    let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    if good { Ok(Some(text.to_owned()).filter(|text| !text.is_empty())) } else { Err(Wrong::expected("a name")) }
}

fn names(text: &str) -> Parsed<Vec<String>> {
    let name = |name: &str| {
        let name = name.to_ascii_lowercase();
        let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let own = RESERVED.contains(&name.as_str()) || name == "host";
        let wrong =
            || Wrong::expected("names of headers between commas, none that frames the request or names its host");
        if is_token && !own { Ok(name) } else { Err(wrong()) }
    };
    value::list(text).map(name).collect()
}

/// `200 202 10m, 401 1m`; a time alone is for 200, 301 and 302, `any` for all.
fn durations(text: &str) -> Parsed<Option<BTreeMap<u16, u64>>> {
    let wrong = || Wrong::expected("statuses and a time, such as 200 202 10m, 401 1m");
    let mut times = BTreeMap::new();
    for piece in value::list(text) {
        let words: Vec<_> = piece.split_whitespace().collect();
        let Some((time, statuses)) = words.split_last() else { continue };
        // A number alone would be a status without its time.
        let time = Some(*time).filter(|time| time.parse::<u32>().is_err()).ok_or_else(wrong)?;
        let time = value::duration(time).map_err(|_| wrong())?;
        for status in if statuses.is_empty() { &["200", "301", "302"] } else { statuses } {
            let status = match *status {
                "any" => 0,
                text => text.parse().ok().filter(|status| (100..600).contains(status)).ok_or_else(wrong)?,
            };
            times.entry(status).or_insert(time);
        }
    }
    Ok(Some(times).filter(|times| !times.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_by_status() {
        let times = |text: &str| durations(text).map(|times| times.unwrap_or_default().into_iter().collect::<Vec<_>>());
        assert_eq!(times("200 202 10m, 401 30s"), Ok(vec![(200, 600_000), (202, 600_000), (401, 30_000)]));
        assert_eq!(times("1m, any 5s"), Ok(vec![(0, 5000), (200, 60_000), (301, 60_000), (302, 60_000)]));
        assert_eq!(times(""), Ok(vec![]));
        for text in ["200 202", "200 ok 5m", "99 5m", "200 5 apples"] {
            assert!(durations(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_headers() {
        assert_eq!(names("X-User, x-groups,"), Ok(vec!["x-user".to_owned(), "x-groups".to_owned()]));
        for text in ["Host", "Transfer-Encoding", "X User", "X-A;"] {
            assert!(names(text).is_err(), "{text}");
        }
        assert!(method("post").is_err() && method("CONNECT").is_err() && parameter("a&b").is_err());
    }
}
