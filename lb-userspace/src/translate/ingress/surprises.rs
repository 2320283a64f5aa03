//! Where the paths of an Ingress match other requests than they would in ingress-nginx, which surprises in these ways: a
//! rewrite target makes regular expressions of all paths of the host, paths of type ImplementationSpecific match by
//! characters, and a path with a slash at its end draws requests without it by a redirect (kubernetes.io, "Five surprising
//! behaviors of ingress-nginx", February 2026; `buildLocation` and `needsRewrite` of its template).

use std::collections::{BTreeMap, BTreeSet};

use super::path::text;
use super::slashes;
use crate::model::problem::code;
use crate::model::route::Rewrite;
use crate::model::{ObjectRef, PathMatch, Problem, Route, RouteKey};
use crate::source::kinds::Ingress;

/// What differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Surprise {
    /// The Ingress has a rewrite target.
    NotImplied,
    /// Another Ingress of the host has one.
    Beside,
    /// `/foo` is not `/foobar`.
    ByElements,
    /// `/foo` is not sent to `/foo/`.
    NotRedirected,
}

/// Says of each Ingress which of its paths these are, once for each way.
pub(super) fn note<'a>(
    routes: &BTreeMap<RouteKey, Route>,
    ingresses: impl Iterator<Item = &'a Ingress>,
    problems: &mut Vec<Problem>,
) {
    let (mut confirmed, mut slashed) = (BTreeSet::new(), BTreeSet::new());
    for ingress in ingresses {
        let name = format!("{}/{}", ingress.metadata.namespace, ingress.metadata.name);
        if ingress.metadata.annotations.get("weir.io/rewrite").is_some_and(|mode| mode == "prefix") {
            confirmed.insert(name.clone());
        }
        if slashes::is_asked(ingress) {
            slashed.insert(name);
        }
    }
    let hosts = Hosts::new(routes);
    let mut found = BTreeMap::<_, Vec<String>>::new();
    for (key, route) in routes {
        let silent = match hosts.surprise(key, route, routes) {
            Some(Surprise::NotImplied) => confirmed.contains(&route.ingress),
            Some(Surprise::NotRedirected) => slashed.contains(&route.ingress),
            _ => false,
        };
        if let Some(surprise) = hosts.surprise(key, route, routes).filter(|_| !silent) {
            let place = format!("{}{}", key.host.as_deref().unwrap_or("any host"), text(&key.path));
            found.entry((&route.ingress, surprise)).or_default().push(place);
        }
    }
    for ((ingress, surprise), places) in found {
        let Some((namespace, name)) = ingress.split_once('/') else { continue };
        let owner = ObjectRef::new("Ingress", namespace, name);
        problems.push(surprise.problem(&owner).at("spec.rules", places.join(", ")));
    }
}

/// Which hosts have what makes expressions of their paths.
struct Hosts<'a> {
    /// Here too.
    regex: BTreeSet<&'a Option<String>>,
    /// Only in ingress-nginx.
    rewritten: BTreeSet<&'a Option<String>>,
}

impl<'a> Hosts<'a> {
    fn new(routes: &'a BTreeMap<RouteKey, Route>) -> Self {
        let with = |is: fn(&RouteKey, &Route) -> bool| {
            routes.iter().filter(move |(key, route)| is(key, route)).map(|(key, _)| &key.host).collect()
        };
        Hosts {
            regex: with(|key, _| matches!(key.path, PathMatch::Regex(_))),
            rewritten: with(|_, route| matches!(route.rewrite, Some(Rewrite::Prefix(_)))),
        }
    }

    fn surprise(&self, key: &RouteKey, route: &Route, routes: &BTreeMap<RouteKey, Route>) -> Option<Surprise> {
        let path = text(&key.path);
        // Of hosts with expressions `literal-beside-regex` tells; an expression of `/` matches all as well.
        if self.regex.contains(&key.host) || matches!(key.path, PathMatch::Default) || path == "/" {
            return None;
        }
        if self.rewritten.contains(&key.host) {
            return Some(if route.rewrite.is_some() { Surprise::NotImplied } else { Surprise::Beside });
        }
        match (path.strip_suffix('/'), &key.path) {
            (Some(bare), _) => (!slashes::is_taken(routes, &key.host, bare)).then_some(Surprise::NotRedirected),
            (None, PathMatch::ImplementationSpecific(_)) => Some(Surprise::ByElements),
            (None, _) => None,
        }
    }
}

impl Surprise {
    fn problem(self, owner: &ObjectRef) -> Problem {
        let (code, what, expected) = match self {
            Surprise::NotImplied => (
                code::REGEX_NOT_IMPLIED,
                "ingress-nginx makes regular expressions of these paths, because there is a rewrite target: they match \
                 by characters and in any case; here they match by elements, as written",
                Some(
                    "nginx.ingress.kubernetes.io/use-regex: \"true\" for expressions, or weir.io/rewrite: prefix to confirm",
                ),
            ),
            Surprise::Beside => (
                code::LITERAL_BESIDE_REGEX,
                "ingress-nginx makes regular expressions of these paths, because another Ingress of the host has a rewrite \
                 target; here they stay as written",
                None,
            ),
            Surprise::ByElements => (
                code::PREFIX_BY_ELEMENTS,
                "ingress-nginx matches these paths of type ImplementationSpecific by characters, so that /foo takes \
                 /foobar; here they match by elements",
                Some(
                    "nginx.ingress.kubernetes.io/use-regex: \"true\" to match by characters, or type Prefix to confirm",
                ),
            ),
            Surprise::NotRedirected => (
                code::SLASH_NOT_REDIRECTED,
                "ingress-nginx redirects requests for these paths without the slash at their end; here a prefix takes \
                 them as they are, and an exact path does not match",
                Some("weir.io/slash-redirect: \"true\" to redirect"),
            ),
        };
        let problem = Problem::info(code, owner, what);
        match expected {
            Some(expected) => problem.expected(expected),
            None => problem,
        }
    }
}
