//! What must hold of our own kinds beyond the types of their fields: said once, to the API server in its language of rules
//! (CEL, Kubernetes 1.25 and later), and checked here as well, for files and for older servers, which know no such rules.

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};

/// What must hold of a `spec`.
pub struct Rule<T> {
    /// The field that it is about.
    pub field: &'static str,
    /// The rule for the API server; `self` is the `spec`.
    pub cel: &'static str,
    /// What is said when it is broken.
    pub says: &'static str,
    /// Where it is broken, if it is.
    pub broken: fn(&T) -> Option<Place>,
}

/// Where in its field a rule is broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The item of a list.
    index: Option<usize>,
    /// What stands there.
    value: Option<String>,
}

impl Place {
    /// In the field as a whole.
    pub fn whole() -> Self {
        Place::default()
    }

    /// In the first item of a list that is wrong.
    pub fn first(items: &[String], is_wrong: impl Fn(&str) -> bool) -> Option<Self> {
        let (index, item) = items.iter().enumerate().find(|(_, item)| is_wrong(item))?;
        Some(Place { index: Some(index), value: Some(item.clone()) })
    }
}

/// A Problem for each rule that is broken.
pub fn check<T>(rules: &[Rule<T>], spec: &T, owner: &ObjectRef) -> Vec<Problem> {
    let broken = rules.iter().filter_map(|rule| Some((rule, (rule.broken)(spec)?)));
    let problem = |(rule, place): (&Rule<T>, Place)| {
        let problem = Problem::error(code::FIELD_INVALID, owner, rule.says);
        let field = match place.index {
            Some(index) => format!("{}[{index}]", rule.field),
            None => rule.field.to_owned(),
        };
        match place.value {
            Some(value) => problem.at(field, value),
            None => problem.at_field(field),
        }
    };
    broken.map(problem).collect()
}
