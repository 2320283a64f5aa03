//! Annotations of Ingresses.

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::kinds::Ingress;

/// Prefix of the dialect of ingress-nginx.
pub(super) const NGINX: &str = "nginx.ingress.kubernetes.io/";
/// Prefix of our own.
pub(super) const WEIR: &str = "weir.io/";

/// The value of an annotation of the dialect.
pub(super) fn nginx<'a>(ingress: &'a Ingress, name: &str) -> Option<&'a str> {
    ingress.metadata.annotations.get(&format!("{NGINX}{name}")).map(String::as_str)
}

/// One Problem that lists annotations which have no effect yet.
pub(super) fn note_ignored(ingress: &Ingress, owner: &ObjectRef, problems: &mut Vec<Problem>) {
    let annotations = ingress.metadata.annotations.iter();
    let ignored: Vec<_> = annotations.filter(|(key, value)| is_ignored(key, value)).map(|(key, _)| &**key).collect();
    let Some(first) = ignored.first() else { return };
    let problem = Problem::info(code::ANNOTATIONS_IGNORED, owner, "annotations that are not honoured yet");
    problems.push(problem.at(format!("metadata.annotations[{first}]"), ignored.join(", ")));
}

fn is_ignored(key: &str, value: &str) -> bool {
    if let Some(name) = key.strip_prefix(NGINX) {
        return match name {
            "rewrite-target" | "use-regex" => false,
            // There is no TLS yet, and so no redirect to it: asking for none is asking for what happens.
            "ssl-redirect" | "force-ssl-redirect" => value != "false",
            _ => true,
        };
    }
    key.starts_with(WEIR) && key != "weir.io/rewrite"
}
