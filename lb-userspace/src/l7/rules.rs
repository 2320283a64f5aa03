//! The rules of one host, indexed so that a match costs a few hash look-ups, however many paths there are; regular
//! expressions are tried one by one.

use std::collections::HashMap;
use std::sync::Arc;

use super::canary::CanaryRule;
use super::fallback;
use super::health;
use super::path::{CanonicalPath, Reading, canonical_pattern, prefix_key};
use super::pattern::Pattern;
use super::rewrite::{Ambiguous, PathRewrite};
use super::table::RouteEntry;
use super::tls::SubjectPattern;
use crate::model::PathMatch;

/// One route, prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As it stands in the table.
    pub entry: Arc<RouteEntry>,
    /// Index in [`super::router::Router::upstreams`]; `None`: no such Service or port.
    pub upstream: Option<usize>,
    /// Where a part of its requests goes.
    pub canary: Option<CanaryRule>,
    /// The host is listed under `spec.tls` of an Ingress.
    pub listed: bool,
    /// Its number in the table; `None`: it is in none.
    pub number: Option<usize>,
    /// What the subject of a client's certificate has to match.
    pub subject: Option<SubjectPattern>,
    /// Stands for the rule in a cookie, if it takes what its pages ask for.
    pub token: Option<u64>,
    /// What its endpoints are asked, to find those that cannot serve.
    pub health: Option<u64>,
    pattern: Option<Pattern>,
    rewrite: Option<PathRewrite>,
}

impl Rule {
    /// Prepares an entry; `upstreams` gives the index of each name.
    pub fn new(entry: &RouteEntry, upstreams: &HashMap<Arc<str>, usize>) -> Self {
        let find = |name: &str| upstreams.get(name).copied();
        let upstream = entry.upstream.as_deref().and_then(find);
        let canary = entry.filters.canary.as_deref().and_then(|canary| CanaryRule::new(canary, find));
        let pattern = match &entry.path {
            // The agent left out what does not compile; here it matches nothing.
            PathMatch::Regex(text) => Pattern::new(text).ok(),
            _ => None,
        };
        let rewrite = PathRewrite::new(entry, pattern.as_ref());
        let subject = entry.filters.client.as_ref().and_then(|client| client.subject.as_deref());
        // The agent has closed routes with one that is no pattern.
        let subject = subject.and_then(SubjectPattern::new);
        let token = fallback::token(entry);
        Rule {
            entry: Arc::new(entry.clone()),
            upstream,
            canary,
            listed: false,
            number: None,
            subject,
            token,
            health: health::kind(entry),
            pattern,
            rewrite,
        }
    }

    /// The rule of nobody: it has no Ingress and no backend.
    pub fn nobody(path: PathMatch) -> Self {
        let entry = RouteEntry {
            path,
            ingress: String::new(),
            service: String::new(),
            service_port: String::new(),
            upstream: None,
            rewrite: None,
            filters: Arc::default(),
            problem: None,
        };
        Rule::new(&entry, &HashMap::new())
    }

    /// The path that the backend sees, for one that matched this rule; see [`PathRewrite::apply`] for what is refused.
    pub fn forwarded(&self, path: CanonicalPath<'_>) -> Result<String, Ambiguous> {
        match &self.rewrite {
            None => Ok(path.text.into_owned()),
            Some(rewrite) => rewrite.apply(&path),
        }
    }
}

/// The rules of one host.
#[derive(Debug)]
pub struct HostRules {
    rules: Vec<Rule>,
    default: Option<usize>,
    /// Positions of regular expressions.
    patterns: Vec<usize>,
    canonical: PathIndex,
    /// The patterns as each of [`Reading::all`] has them; empty if that makes no difference.
    readings: Vec<PathIndex>,
    /// Positions of rules that take what their pages ask for.
    tokens: HashMap<u64, usize>,
}

impl HostRules {
    /// All of them.
    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// Prepares the entries of a host, in the order in which they are tried.
    pub fn new(entries: &[RouteEntry], upstreams: &HashMap<Arc<str>, usize>, listed: bool) -> Self {
        let rule = |entry| Rule { listed, ..Rule::new(entry, upstreams) };
        let rules: Vec<Rule> = entries.iter().map(rule).collect();
        let default = entries.iter().position(|entry| entry.path == PathMatch::Default);
        let patterns = (0..rules.len()).filter(|&position| rules[position].pattern.is_some()).collect();
        let canonical = PathIndex::new(entries, |path| path);
        let varies = entries.iter().filter_map(|entry| literal(&entry.path)).map(canonical_pattern);
        let varies = varies.into_iter().any(|path| CanonicalPath::new(&path).is_ok_and(|path| path.ambiguous));
        let readings = if varies {
            Reading::all().map(|reading| PathIndex::new(entries, |path| reading.read(&path))).collect()
        } else {
            Vec::new()
        };
        let tokens = rules.iter().enumerate().filter_map(|(position, rule)| Some((rule.token?, position))).collect();
        HostRules { rules, default, patterns, canonical, readings, tokens }
    }

    /// The first rule that matches, else the host's default.
    pub fn find(&self, path: &CanonicalPath<'_>) -> Result<Option<&Rule>, Ambiguous> {
        Ok(self.own(path)?.or_else(|| self.rules.get(self.default?)))
    }

    /// The first rule that matches.
    pub fn own(&self, path: &CanonicalPath<'_>) -> Result<Option<&Rule>, Ambiguous> {
        let found = self.position(&self.canonical, &path.text);
        if path.ambiguous {
            for (position, reading) in Reading::all().enumerate() {
                let index = self.readings.get(position).unwrap_or(&self.canonical);
                if self.position(index, &reading.read(&path.text)) != found {
                    return Err(Ambiguous);
                }
            }
        }
        Ok(found.and_then(|position| self.rules.get(position)))
    }

    /// Some rule takes what its pages ask for.
    pub fn has_fallbacks(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// The rule that a token stands for.
    pub fn by_token(&self, token: u64) -> Option<&Rule> {
        self.rules.get(*self.tokens.get(&token)?)
    }

    /// The first rule that matches a path, given the index of literal ones.
    fn position(&self, index: &PathIndex, path: &str) -> Option<usize> {
        let literal = index.find(path);
        let mut before = self.patterns.iter().copied().take_while(|&position| literal.is_none_or(|at| position < at));
        let matches = |&position: &usize| self.rules[position].pattern.as_ref().is_some_and(|p| p.is_match(path));
        before.find(matches).or(literal)
    }

    /// Gives each rule its number: its position among all.
    pub fn number(&mut self, host: &str, all: &mut Vec<(Arc<str>, Arc<RouteEntry>)>) {
        let host: Arc<str> = host.into();
        for rule in &mut self.rules {
            rule.number = Some(all.len());
            all.push((Arc::clone(&host), Arc::clone(&rule.entry)));
        }
    }

    /// Number of rules.
    pub fn count(&self) -> usize {
        self.rules.len()
    }
}

/// Literal patterns to the position of the first rule that has them.
#[derive(Debug, Default)]
struct PathIndex {
    exact: HashMap<Box<str>, usize>,
    prefix: HashMap<Box<str>, usize>,
}

impl PathIndex {
    fn new(entries: &[RouteEntry], read: impl Fn(String) -> String) -> Self {
        let mut index = PathIndex::default();
        for (position, entry) in entries.iter().enumerate() {
            let Some(text) = literal(&entry.path) else { continue };
            let text = read(canonical_pattern(text));
            let (map, key) = match entry.path {
                PathMatch::Exact(_) => (&mut index.exact, text.as_str()),
                _ => (&mut index.prefix, prefix_key(&text)),
            };
            map.entry(key.into()).or_insert(position);
        }
        index
    }

    /// The same as trying the rules one by one in their order: every pattern that can match is an ancestor of the path.
    fn find(&self, path: &str) -> Option<usize> {
        let mut best = self.exact.get(path).copied();
        let mut ancestor = Some(path);
        while let Some(prefix) = ancestor {
            if let Some(&position) = self.prefix.get(prefix) {
                best = Some(best.map_or(position, |best| best.min(position)));
            }
            ancestor = prefix.rfind('/').map(|end| &prefix[..end]);
        }
        best
    }
}

/// The text of a path that is no regular expression.
fn literal(path: &PathMatch) -> Option<&str> {
    match path {
        PathMatch::Exact(text) | PathMatch::Prefix(text) | PathMatch::ImplementationSpecific(text) => Some(text),
        PathMatch::Regex(_) | PathMatch::Default => None,
    }
}
