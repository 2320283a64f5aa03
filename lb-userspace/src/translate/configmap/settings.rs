//! The ConfigMap with the settings of the front: read key by key, each by its entry in the table.

use super::keys::{self, Key, Own, Support};
use super::reference;
use crate::model::filters::Template;
use crate::model::problem::code;
use crate::model::settings::FrontSettings;
use crate::model::{ObjectRef, Problem, name};
use crate::source::Objects;
use crate::source::kinds::ConfigMap;
use crate::translate::ingress::dialect::{self, Asked, similar, value::Wrong};

const NO_SPANS: &str = "this weir was built without spans";

/// What a ConfigMap asks for.
#[derive(Clone, Debug, Default)]
pub(in crate::translate) struct Read {
    /// For the front.
    pub(in crate::translate) front: FrontSettings,
    /// For the translation.
    pub(in crate::translate) own: Own,
    /// What every Ingress begins with.
    pub(in crate::translate) asked: Asked,
    /// What was to protect all routes cannot be understood.
    pub(in crate::translate) closed: Option<String>,
}

/// Reads a ConfigMap of settings.
pub(super) fn read(found: &ConfigMap, objects: &Objects, problems: &mut Vec<Problem>) -> Read {
    let mut reading = Reading { read: Read::default(), owner: reference(found), objects, problems };
    for (name, text) in &found.data {
        match keys::all().find(|key| key.name == name) {
            Some(key) => reading.key(key, text),
            None => reading.unknown(name, text),
        }
    }
    reading.finish()
}

struct Reading<'a> {
    read: Read,
    owner: ObjectRef,
    objects: &'a Objects,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    fn key(&mut self, key: &'static Key, text: &str) {
        let asks_for_nothing = text.trim() == key.default || text.trim().is_empty();
        let result = match key.support {
            Support::Refused { .. } | Support::Moot(_) if asks_for_nothing => Ok(()),
            Support::Spans(_) if asks_for_nothing && !cfg!(feature = "otlp") => Ok(()),
            _ if text.trim().is_empty() => Ok(()),
            Support::Applied(apply) => apply(&mut self.read.front, text),
            Support::Spans(apply) if cfg!(feature = "otlp") => apply(&mut self.read.front, text),
            Support::Spans(_) => {
                return self.refused(key, NO_SPANS, Some("a weir that was built with the feature otlp"));
            }
            Support::Own(apply) => apply(&mut self.read.own, text),
            Support::Guards(apply) => return self.guard(key, text, apply),
            Support::Headers(headers) => return self.headers(key, text, headers),
            Support::Annotation(annotation) => return self.annotation(key, text, annotation),
            Support::Refused { reason, instead } => return self.refused(key, reason, Some(instead)),
            Support::Moot(reason) => return self.refused(key, reason, None),
        };
        if let Err(wrong) = result {
            self.invalid(key.name, text, &wrong, "the front goes on without it");
        }
    }

    fn guard(&mut self, key: &'static Key, text: &str, apply: fn(&mut FrontSettings, &str) -> Result<(), Wrong>) {
        if let Err(wrong) = apply(&mut self.read.front, text) {
            self.close(key.name, text, &wrong);
        }
    }

    /// As every Ingress would say it.
    fn annotation(&mut self, key: &'static Key, text: &str, annotation: &'static str) {
        let Some(annotation) = dialect::find(annotation) else { return };
        match annotation.support {
            dialect::Support::Applied(apply) => {
                if let Err(wrong) = apply(&mut self.read.asked, text) {
                    self.invalid(key.name, text, &wrong, "the front goes on without it");
                }
            }
            dialect::Support::Guards(apply) => {
                if let Err(wrong) = apply(&mut self.read.asked, text) {
                    self.close(key.name, text, &wrong);
                }
            }
            dialect::Support::Refused { reason, instead } => self.refused(key, reason, Some(instead)),
            // No key stands for one of these.
            dialect::Support::Elsewhere => {}
        }
    }

    /// The headers in another ConfigMap.
    fn headers(
        &mut self,
        key: &'static Key,
        text: &str,
        headers: fn(&mut FrontSettings) -> &mut Vec<(String, Template)>,
    ) {
        let Some((namespace, name)) = name::split_qualified(text.trim()) else {
            let wrong = Wrong::expected("namespace/name of a ConfigMap");
            return self.invalid(key.name, text, &wrong, "the front goes on without it");
        };
        let Some(found) = self.objects.config_map(namespace, name) else {
            let what = format!("ConfigMap {namespace}/{name} does not exist");
            let problem = Problem::warning(code::CONFIGMAP_MISSING, &self.owner, what);
            return self.problems.push(problem.at(field(key.name), text));
        };
        for (header, text) in &found.data {
            match dialect::header(header, text) {
                Ok(header) => headers(&mut self.read.front).push(header),
                Err(wrong) => {
                    let problem =
                        Problem::error(code::CONFIGMAP_INVALID, &reference(found), "this cannot be set as a header");
                    self.problems.push(problem.at(field(header), text).expected(wrong.0));
                }
            }
        }
    }

    fn refused(&mut self, key: &Key, reason: &str, instead: Option<&str>) {
        let what = format!("{} is not honoured: {reason}", key.name);
        let problem = match instead {
            Some(instead) => Problem::warning(code::CONFIGMAP_KEY_REFUSED, &self.owner, what)
                .at_field(field(key.name))
                .expected(instead),
            None => Problem::info(code::CONFIGMAP_KEY_REFUSED, &self.owner, what).at_field(field(key.name)),
        };
        self.problems.push(problem);
    }

    fn unknown(&mut self, name: &str, text: &str) {
        let problem = Problem::warning(code::CONFIGMAP_KEY_UNKNOWN, &self.owner, "there is no such setting");
        let problem = problem.at(field(name), text);
        let problem = match similar::nearest(name, keys::all().map(|key| key.name)) {
            Some(near) => problem.expected(format!("perhaps {near}")),
            None => problem,
        };
        self.problems.push(problem);
    }

    fn invalid(&mut self, name: &str, text: &str, wrong: &Wrong, consequence: &'static str) {
        let consequence = wrong.consequence(consequence);
        let what = format!("{name} cannot have this value; {consequence}");
        let problem = Problem::error(code::CONFIGMAP_INVALID, &self.owner, what);
        self.problems.push(problem.at(field(name), text).expected(wrong.0.clone()));
    }

    fn close(&mut self, name: &'static str, text: &str, wrong: &Wrong) {
        self.invalid(name, text, wrong, "all routes answer 503, as it is to protect them");
        self.read.closed.get_or_insert_with(|| format!("{name} has a value that cannot be used"));
    }

    fn finish(self) -> Read {
        let forwarded = &self.read.front.forwarded;
        if (forwarded.address || forwarded.proxy_protocol) && forwarded.proxies.is_empty() {
            let what =
                "proxies at any address are believed, so clients that reach the front themselves can say who they are";
            let problem = Problem::warning(code::PROXIES_NOT_NAMED, &self.owner, what).at_field("data");
            self.problems.push(problem.expected("proxy-real-ip-cidr with the networks of the proxies"));
        }
        self.read
    }
}

fn field(key: &str) -> String {
    format!("data[{key}]")
}
