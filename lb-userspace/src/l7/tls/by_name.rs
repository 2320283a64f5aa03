//! Something for each name: exact before wildcard, which stands for one label, before that for any.

use std::collections::HashMap;

/// Values by name.
#[derive(Clone, Debug)]
pub(super) struct ByName<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows the first label, without its dot.
    wildcard: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T> FromIterator<(String, T)> for ByName<T> {
    /// Names are exact, `*.suffix`, or `*`.
    fn from_iter<I: IntoIterator<Item = (String, T)>>(named: I) -> Self {
        let mut all = ByName { exact: HashMap::new(), wildcard: HashMap::new(), any: None };
        for (name, value) in named {
            match name.strip_prefix("*.") {
                _ if name == "*" => all.any = Some(value),
                Some(suffix) => drop(all.wildcard.insert(suffix.into(), value)),
                None => drop(all.exact.insert(name.into(), value)),
            }
        }
        all
    }
}

impl<T> ByName<T> {
    /// What there is for a name in lower case.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&T> {
        let named = name.and_then(|name| {
            let wildcard = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(wildcard)
        });
        named.or(self.any.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::ByName;

    #[test]
    fn exact_before_wildcard_before_any() {
        let named: ByName<u8> = [("a.example", 1), ("*.example", 2), ("*", 3)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        for (name, found) in
            [(Some("a.example"), 1), (Some("b.example"), 2), (Some("x.b.example"), 3), (Some("example"), 3), (None, 3)]
        {
            assert_eq!(named.find(name), Some(&found), "{name:?}");
        }
    }
}
