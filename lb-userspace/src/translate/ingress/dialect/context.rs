//! What annotations refer to: other objects, and where Problems go.

use super::value::Wrong;
use super::{NGINX, field};
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};
use crate::source::Objects;
use crate::source::kinds::{ConfigMap, Ingress};

/// Everything beside the annotations' own text.
pub(in crate::translate) struct Context<'a> {
    pub(super) objects: &'a Objects,
    pub(super) ingress: &'a Ingress,
    pub(super) owner: &'a ObjectRef,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl<'a> Context<'a> {
    /// The ConfigMap that an annotation names, if it may: those of other namespaces are not the Ingress's to read.
    pub(super) fn config_map(
        &mut self,
        annotation: &str,
        namespace: Option<String>,
        name: &str,
    ) -> Option<&'a ConfigMap> {
        let own = self.ingress.metadata.namespace.as_str();
        let namespace = namespace.unwrap_or_else(|| own.to_owned());
        if namespace != own {
            let wrong = Wrong::expected(format!("one of namespace {own}"));
            self.problem(
                annotation,
                &format!("{namespace}/{name}"),
                &wrong,
                "objects of other namespaces are not read",
            );
            return None;
        }
        let found = self.objects.config_map(&namespace, name);
        if found.is_none() {
            let what = format!("ConfigMap {namespace}/{name} does not exist");
            let problem = Problem::warning(code::CONFIGMAP_MISSING, self.owner, what);
            self.problems.push(problem.at(field(&format!("{NGINX}{annotation}")), name));
        }
        found.map(|found| &**found)
    }

    /// Something that an annotation leads to is wrong.
    pub(super) fn problem(&mut self, annotation: &str, value: &str, wrong: &Wrong, what: &str) {
        let problem = Problem::error(code::ANNOTATION_INVALID, self.owner, what);
        self.problems.push(problem.at(field(&format!("{NGINX}{annotation}")), value).expected(wrong.0.clone()));
    }
}
