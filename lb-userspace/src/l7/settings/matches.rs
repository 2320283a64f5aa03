//! Texts and expressions that a header is compared with.

use hyper::header::HeaderValue;
use regex::{RegexSet, RegexSetBuilder};

use crate::model::settings::TextMatch;

/// Most memory of the compiled expressions of one setting, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// All of a setting.
#[derive(Debug, Default)]
pub(super) struct Matches {
    patterns: Option<RegexSet>,
}

impl Matches {
    pub(super) fn new(list: &[TextMatch]) -> Self {
        Matches { patterns: (!list.is_empty()).then(|| compile(list)).flatten() }
    }

    /// One of them is meant by this value.
    pub(super) fn hold(&self, value: Option<&HeaderValue>) -> bool {
        let (Some(patterns), Some(value)) = (&self.patterns, value) else { return false };
        patterns.is_match(&String::from_utf8_lossy(value.as_bytes()))
    }
}

/// It is a text, or an expression that can be used.
pub fn compiles(one: &TextMatch) -> bool {
    compile(std::slice::from_ref(one)).is_some()
}

fn compile(list: &[TextMatch]) -> Option<RegexSet> {
    let patterns = list.iter().map(|one| match one {
        TextMatch::Text(text) => format!("(?i)^{}$", regex::escape(text)),
        TextMatch::Pattern(pattern) => pattern.clone(),
        TextMatch::AnyCase(pattern) => format!("(?i){pattern}"),
    });
    RegexSetBuilder::new(patterns).size_limit(MAX_SIZE).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_whole_and_expressions_are_not() {
        let list =
            [TextMatch::Text("Curl".into()), TextMatch::Pattern("^Bot".into()), TextMatch::AnyCase("evil|bad".into())];
        let matches = Matches::new(&list);
        for (value, held) in [
            ("curl", true),
            ("curl/8", false),
            ("Bot 1", true),
            ("bot 1", false),
            ("an EVIL one", true),
            ("good", false),
        ] {
            assert_eq!(matches.hold(Some(&HeaderValue::from_static(value))), held, "{value}");
        }
        assert!(!matches.hold(None) && !Matches::default().hold(Some(&HeaderValue::from_static("curl"))));
        assert!(!compiles(&TextMatch::Pattern("(".into())));
    }
}
