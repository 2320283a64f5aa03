//! Which Ingresses are ours.

use std::collections::BTreeSet;

use super::reference;
use crate::model::Problem;
use crate::model::problem::code;
use crate::source::Objects;
use crate::source::kinds::Ingress;
use crate::translate::Settings;

/// The class that is ours without a flag.
const DEFAULT_CLASS: &str = "weir";
/// `spec.controller` of IngressClasses that are ours.
const CONTROLLER: &str = "weir.io/ingress";
/// The older way to name a class.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Marks the IngressClass that counts for Ingresses without one.
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// The classes that are ours.
pub(in crate::translate) struct Classes<'a> {
    names: BTreeSet<&'a str>,
    classless: bool,
}

impl<'a> Classes<'a> {
    /// From the flags and the IngressClass objects. Without `--ingress-class`, Ingresses without a class are ours unless
    /// the cluster's default class belongs to another controller: manifests that name no class must just work.
    pub(in crate::translate) fn new(objects: &'a Objects, settings: &'a Settings) -> Self {
        let own = settings.ingress_class.as_deref().unwrap_or(DEFAULT_CLASS);
        let mut names = BTreeSet::from([own]);
        let (mut default_is_ours, mut default_is_foreign) = (false, false);
        for class in objects.ingress_classes() {
            let is_ours = class.spec.controller == CONTROLLER || class.metadata.name == own;
            let is_default = class.metadata.annotations.get(DEFAULT_ANNOTATION).is_some_and(|value| value == "true");
            default_is_ours |= is_default && is_ours;
            default_is_foreign |= is_default && !is_ours;
            if is_ours {
                names.insert(&class.metadata.name);
            }
        }
        let unclaimed = settings.ingress_class.is_none() && !default_is_foreign;
        Classes { names, classless: default_is_ours || settings.watch_ingress_without_class || unclaimed }
    }

    /// Whether to serve an Ingress; one of another class gets an info Problem.
    pub(in crate::translate) fn serve(&self, ingress: &Ingress, problems: &mut Vec<Problem>) -> bool {
        let annotation = ingress.metadata.annotations.get(CLASS_ANNOTATION);
        let (field, class) = match (annotation, &ingress.spec.ingress_class_name) {
            (Some(class), _) => (format!("metadata.annotations[{CLASS_ANNOTATION}]"), class),
            (None, Some(class)) => ("spec.ingressClassName".to_owned(), class),
            (None, None) => return self.classless,
        };
        let is_ours = self.names.contains(class.as_str());
        if !is_ours {
            let what = "the class is not served here; --ingress-class changes that";
            let expected = self.names.iter().copied().collect::<Vec<_>>().join(" or ");
            let problem = Problem::info(code::INGRESS_CLASS_FOREIGN, &reference(ingress), what);
            problems.push(problem.at(field, class).expected(expected));
        }
        is_ours
    }
}
