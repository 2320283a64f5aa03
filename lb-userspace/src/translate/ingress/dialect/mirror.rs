//! Copies of requests for somebody else.

use super::value::{self, Wrong};
use super::{Annotation, annotation};
use crate::model::filters::{Mirror, Template, Variable};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mirroring {
    target: Option<Template>,
    host: Option<Template>,
    no_body: bool,
}

impl Mirroring {
    pub(super) fn mirror(self) -> Option<Box<Mirror>> {
        let target = self.target?;
        Some(Box::new(Mirror { target, host: self.host, body: !self.no_body }))
    }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "mirror-target",
        "template",
        "",
        "A URL that gets a copy of each request, such as `https://test.example.com$request_uri`; what it answers goes \
         nowhere, and the request itself neither waits for it nor fails by it.",
        "Variables come from a closed list, and not in the host. Copies beyond 128 at a time of each core are left out.",
        |asked, text| {
            let target = value::template(text)?;
            let (scheme, rest) = target.prefix().split_once("://").unwrap_or(("", ""));
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            // Values of these begin with a slash.
            let path = matches!(target.variables().next(), None | Some(Variable::RequestUri | Variable::Uri));
            let ends = rest.len() > host.len() || path;
            if !matches!(scheme, "http" | "https") || host.is_empty() || !ends {
                return Err(Wrong::expected("http:// or https://, a host without variables, and perhaps a path"));
            }
            asked.mirroring.target = Some(target);
            Ok(())
        },
    ),
    annotation(
        "mirror-request-body",
        "on or off",
        "on",
        "Whether the copies have the body too.",
        "A body of more than 1 MiB is not copied, and then the request is not either.",
        |asked, text| value::switch(text).map(|body| asked.mirroring.no_body = !body),
    ),
    annotation("mirror-host", "template", "", "The Host of copies; without it that of the URL.", "", |asked, text| {
        value::template(text).map(|host| asked.mirroring.host = Some(host).filter(|host| !host.is_empty()))
    }),
];
