//! All keys of the front's ConfigMap in one table, which parses them, applies them, and is their documentation
//! ([docs/configmap.md]): the 192 of ingress-nginx, an older one that is still written, and our own.
//!
//! [docs/configmap.md]: ../../../../../docs/configmap.md

use crate::model::settings::FrontSettings;
use crate::translate::ingress::dialect::value::Parsed;

mod annotations;
mod answers;
mod clients;
mod compression;
mod forwarded;
mod logs;
mod policy;
mod refused;
mod requests;
mod spans;
mod streams;
mod tls;
mod upstreams;

pub(in crate::translate) use policy::Own;

/// One key.
#[cfg_attr(not(test), expect(dead_code, reason = "what is for people only, a test writes into the documentation"))]
pub(super) struct Key {
    /// As it is written.
    pub(super) name: &'static str,
    /// What values look like, for people.
    pub(super) kind: &'static str,
    /// What holds without it.
    pub(super) default: &'static str,
    /// What it does, in a sentence.
    pub(super) meaning: &'static str,
    /// Where that differs from ingress-nginx; empty: nowhere.
    pub(super) difference: &'static str,
    /// How it is honoured.
    pub(super) support: Support,
}

/// How a key is honoured.
#[derive(Clone, Copy)]
pub(super) enum Support {
    /// Parsed, and put among the settings.
    Applied(fn(&mut FrontSettings, &str) -> Parsed<()>),
    /// The same, and without it something would be open that is meant to be closed.
    Guards(fn(&mut FrontSettings, &str) -> Parsed<()>),
    /// The same as the first, where weir is built with spans.
    Spans(fn(&mut FrontSettings, &str) -> Parsed<()>),
    /// Names a ConfigMap whose entries are headers.
    Headers(fn(&mut FrontSettings) -> &mut Vec<(String, crate::model::filters::Template)>),
    /// Every Ingress has the annotation of this name, unless it says otherwise itself.
    Annotation(&'static str),
    /// Parsed, and put among what only the translation needs.
    Own(fn(&mut Own, &str) -> Parsed<()>),
    /// Not honoured on purpose, though somebody may miss it.
    Refused {
        /// Why.
        reason: &'static str,
        /// The nearest that is safe.
        instead: &'static str,
    },
    /// There is nothing here that it could steer.
    Moot(&'static str),
}

/// All keys.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    let groups = [
        annotations::KEYS,
        answers::KEYS,
        clients::KEYS,
        compression::KEYS,
        forwarded::KEYS,
        logs::KEYS,
        policy::KEYS,
        refused::KEYS,
        refused::MOOT,
        requests::KEYS,
        spans::KEYS,
        streams::KEYS,
        tls::KEYS,
        upstreams::KEYS,
    ];
    groups.into_iter().flatten()
}

const fn applied(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
    apply: fn(&mut FrontSettings, &str) -> Parsed<()>,
) -> Key {
    Key { name, kind, default, meaning, difference, support: Support::Applied(apply) }
}

#[cfg(test)]
mod tests;
