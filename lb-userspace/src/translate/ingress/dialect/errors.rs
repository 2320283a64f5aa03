//! Pages in the place of errors.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, Context, annotation};
use crate::model::filters::ErrorPages;
use crate::model::name;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pages {
    statuses: Vec<u16>,
    service: Option<String>,
    only_own: bool,
}

impl Pages {
    pub(super) fn pages(self, context: &mut Context<'_>) -> Option<Box<ErrorPages>> {
        let service = self.service.and_then(|name| context.first_port("default-backend", &name));
        let pages = ErrorPages { statuses: self.statuses, service, only_own: self.only_own };
        (!pages.statuses.is_empty() || pages.service.is_some()).then(|| Box::new(pages))
    }
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "custom-http-errors",
        "statuses",
        "",
        "Answers with these statuses are replaced by a page of the default backend, which is asked for `/` with X-Code, X-Format, X-Original-URI, X-Namespace, X-Ingress-Name, X-Service-Name, X-Service-Port and X-Request-ID, and gives the status too.",
        "The page is asked for with GET or HEAD and may have 1 MiB; if there is none, the answer stays as it was.",
        |asked, text| statuses(text).map(|statuses| asked.pages.statuses = statuses),
    ),
    annotation(
        "default-backend",
        "name",
        "",
        "The Service for these pages, by its first port; it also takes the requests where the backend has no endpoint.",
        "",
        |asked, text| service(text).map(|service| asked.pages.service = service),
    ),
    annotation(
        "disable-proxy-intercept-errors",
        "flag",
        "false",
        "Leaves answers of backends as they are; only errors of the front itself are replaced.",
        "",
        |asked, text| value::flag(text).map(|only_own| asked.pages.only_own = only_own),
    ),
];

fn statuses(text: &str) -> Parsed<Vec<u16>> {
    let status = |piece: &str| {
        let status = piece.parse().ok().filter(|status| (300..600).contains(status));
        status.ok_or_else(|| Wrong::expected("statuses from 300 to 599 between commas, such as 404,503"))
    };
    value::list(text).map(status).collect()
}

fn service(text: &str) -> Parsed<Option<String>> {
    match text.trim() {
        "" => Ok(None),
        text if name::is_label(text) => Ok(Some(text.to_owned())),
        _ => Err(Wrong::expected("the name of a Service of the same namespace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_services() {
        assert_eq!(statuses("404, 503,"), Ok(vec![404, 503]));
        assert!(statuses("404 503").is_err() && statuses("200").is_err() && statuses("all").is_err());
        assert_eq!(service("pages"), Ok(Some("pages".to_owned())));
        assert!(service("other/pages").is_err());
    }
}
