//! Label selectors, as everywhere in Kubernetes: all labels named, and all expressions, must hold.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Which objects, by their labels. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that an object must have, with their values.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions; all must hold.
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct LabelRequirement {
    /// Name of the label.
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    #[cfg_attr(test, schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"])))]
    pub operator: String,
    /// Values for In and NotIn.
    #[cfg_attr(test, schemars(length(max = 64)))]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether an object with these labels is chosen. An operator that does not exist chooses nothing.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }

    /// The first expression whose operator does not exist, or that has values where it takes none, or none where it needs
    /// some: its place.
    pub fn fault(&self) -> Option<usize> {
        self.match_expressions.iter().position(|requirement| match requirement.operator.as_str() {
            "In" | "NotIn" => requirement.values.is_empty(),
            "Exists" | "DoesNotExist" => !requirement.values.is_empty(),
            _ => true,
        })
    }
}

impl LabelRequirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_named = || value.is_some_and(|value| self.values.contains(value));
        match self.operator.as_str() {
            "In" => is_named(),
            "NotIn" => !is_named(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

/// Whether one of several selectors chooses an object; none at all choose everything.
pub fn any_matches(selectors: &[LabelSelector], labels: &BTreeMap<String, String>) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> BTreeMap<String, String> {
        [("app", "web"), ("tier", "front")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn with(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let requirement = LabelRequirement { key: key.to_owned(), operator: operator.to_owned(), values };
        LabelSelector { match_expressions: vec![requirement], ..LabelSelector::default() }
    }

    #[test]
    fn labels_and_expressions_must_all_hold() {
        assert!(LabelSelector::default().matches(&labels()));
        let mut selector = with("tier", "In", &["front", "back"]);
        selector.match_labels.insert("app".to_owned(), "web".to_owned());
        assert!(selector.matches(&labels()));
        selector.match_labels.insert("zone".to_owned(), "a".to_owned());
        assert!(!selector.matches(&labels()));
    }

    #[test]
    fn operators() {
        for (key, operator, values, chosen) in [
            ("app", "In", &["web"][..], true),
            ("app", "In", &["shop"], false),
            ("none", "In", &["web"], false),
            ("app", "NotIn", &["web"], false),
            ("none", "NotIn", &["web"], true),
            ("app", "Exists", &[], true),
            ("none", "Exists", &[], false),
            ("none", "DoesNotExist", &[], true),
            ("app", "DoesNotExist", &[], false),
        ] {
            let selector = with(key, operator, values);
            assert_eq!(selector.matches(&labels()), chosen, "{key} {operator} {values:?}");
            assert_eq!(selector.fault(), None);
        }
        for wrong in [with("app", "Is", &["web"]), with("app", "In", &[]), with("app", "Exists", &["web"])] {
            assert_eq!(wrong.fault(), Some(0), "{wrong:?}");
        }
        assert!(!with("app", "Is", &["web"]).matches(&labels()));
    }

    #[test]
    fn of_several_selectors_one_is_enough_and_none_choose_all() {
        assert!(any_matches(&[], &labels()));
        assert!(any_matches(&[with("none", "Exists", &[]), with("app", "Exists", &[])], &labels()));
        assert!(!any_matches(&[with("none", "Exists", &[])], &labels()));
    }
}
