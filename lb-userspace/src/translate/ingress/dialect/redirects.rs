//! Requests that are sent elsewhere.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, Asked, Support};
use crate::model::filters::{Redirect, Template};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Redirects {
    permanent: Option<Template>,
    permanent_status: Option<u16>,
    temporal: Option<Template>,
    temporal_status: Option<u16>,
    app_root: Option<String>,
}

impl Redirects {
    /// The redirect of all requests; the temporal one is the stronger, as in ingress-nginx.
    pub(super) fn redirect(&self) -> Option<Redirect> {
        let temporal = self.temporal.clone().map(|to| Redirect { status: self.temporal_status.unwrap_or(302), to });
        let permanent = || {
            let to = self.permanent.clone()?;
            Some(Redirect { status: self.permanent_status.unwrap_or(301), to })
        };
        temporal.or_else(permanent)
    }

    /// Where requests for `/` are sent.
    pub(super) fn app_root(&self) -> Option<String> {
        self.app_root.clone()
    }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    Annotation {
        name: "permanent-redirect",
        kind: "URL",
        default: "",
        meaning: "Answers every request with a redirect to this URL, which may hold variables such as `$request_uri`.",
        difference: "Variables come from a closed list.",
        support: Support::Applied(|asked, text| target(text).map(|to| asked.redirects.permanent = to)),
    },
    Annotation {
        name: "permanent-redirect-code",
        kind: "300-308",
        default: "301",
        meaning: "The status of `permanent-redirect`.",
        difference: "",
        support: Support::Applied(|asked, text| status(text).map(|code| asked.redirects.permanent_status = Some(code))),
    },
    Annotation {
        name: "temporal-redirect",
        kind: "URL",
        default: "",
        meaning: "Like `permanent-redirect`, with status 302, and stronger.",
        difference: "Variables come from a closed list.",
        support: Support::Applied(|asked, text| target(text).map(|to| asked.redirects.temporal = to)),
    },
    Annotation {
        name: "temporal-redirect-code",
        kind: "300-308",
        default: "302",
        meaning: "The status of `temporal-redirect`.",
        difference: "",
        support: Support::Applied(|asked, text| status(text).map(|code| asked.redirects.temporal_status = Some(code))),
    },
    Annotation {
        name: "app-root",
        kind: "path",
        default: "",
        meaning: "Redirects requests for `/` to this path, with status 302.",
        difference: "",
        support: Support::Applied(set_app_root),
    },
];

fn set_app_root(asked: &mut Asked, text: &str) -> Parsed<()> {
    asked.redirects.app_root = match text {
        "" => None,
        "/" => return Err(Wrong::expected("another path than /")),
        text => Some(value::path(text)?),
    };
    Ok(())
}

/// An absolute URL over HTTP, or a path: what a browser would run as a program is neither.
pub(super) fn target(text: &str) -> Parsed<Option<Template>> {
    let template = value::template(text)?;
    if template.is_empty() {
        return Ok(None);
    }
    let begin = template.prefix().to_ascii_lowercase();
    let begins_with_scheme = matches!(template.variables().next(), Some(crate::model::filters::Variable::Scheme));
    let absolute =
        begin.starts_with("http://") || begin.starts_with("https://") || (begin.is_empty() && begins_with_scheme);
    let path = begin.starts_with('/') && !begin.starts_with("//");
    if absolute || path {
        Ok(Some(template))
    } else {
        Err(Wrong::expected("a URL that begins with http://, https:// or /"))
    }
}

fn status(text: &str) -> Parsed<u16> {
    let code = value::number(text, 300..=308)?;
    u16::try_from(code).map_err(|_| Wrong::expected("a status"))
}
