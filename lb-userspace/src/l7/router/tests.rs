use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::path::Reading;
use super::super::pattern::Pattern;
use super::super::table::RouteEntry;
use super::super::testing::{entry, path_match, regex_target, tables};
use super::*;
use crate::model::PathMatch;
use crate::model::route::Rewrite;

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.into())
}

fn named(name: &str, path: PathMatch) -> RouteEntry {
    RouteEntry { ingress: name.into(), ..entry(path, None) }
}

fn rewritten(path: PathMatch, target: &str) -> RouteEntry {
    RouteEntry { rewrite: Some(Rewrite::Prefix(target.into())), ..entry(path, None) }
}

fn regex(path: &str, target: &str) -> RouteEntry {
    RouteEntry { rewrite: Some(Rewrite::Regex(target.into())), ..entry(PathMatch::Regex(path.into()), None) }
}

fn router(hosts: &[(&str, &[RouteEntry])], default: Option<RouteEntry>) -> Router {
    let hosts = hosts.iter().map(|(host, entries)| ((*host).to_owned(), Arc::from(entries.to_vec()))).collect();
    Router::new(1, &RouteTable { hosts, default, ..RouteTable::default() })
}

/// Name of the rule and the path forwarded; `-` for 404 and `?` for an ambiguous path.
fn decide(router: &Router, host: &str, path: &str) -> (String, String) {
    match router.route(host, path) {
        Ok(Decision::Forward { rule, path }) => (rule.entry.ingress.clone(), path),
        Ok(Decision::NotFound) => ("-".into(), String::new()),
        Ok(Decision::Ambiguous) => ("?".into(), String::new()),
        Err(error) => (format!("{error:?}"), String::new()),
    }
}

fn rule(router: &Router, host: &str, path: &str) -> String {
    decide(router, host, path).0
}

#[test]
fn hosts() {
    let all = prefix("/");
    let table = router(
        &[
            ("a.example", &[named("exact", all.clone())]),
            ("*.example", &[named("wildcard", all.clone())]),
            ("*", &[named("any", all)]),
        ],
        None,
    );
    for (host, expected) in [
        ("a.example", "exact"),
        ("b.example", "wildcard"),
        ("a.b.example", "any"),
        ("example", "any"),
        (".example", "any"),
        ("10.0.0.1", "any"),
        ("[::1]", "any"),
    ] {
        assert_eq!(rule(&table, host, "/x"), expected, "{host}");
    }
}

#[test]
fn a_known_host_never_falls_to_the_rules_of_any_host() {
    let table = router(&[("a.example", &[named("a", prefix("/a"))]), ("*", &[named("any", prefix("/"))])], None);
    assert_eq!(rule(&table, "a.example", "/b"), "-");
    assert_eq!(rule(&table, "other", "/b"), "any");
    let table = router(
        &[("a.example", &[named("a", prefix("/a")), named("mine", PathMatch::Default)]), ("b.example", &[])],
        Some(named("default", PathMatch::Default)),
    );
    assert_eq!(rule(&table, "a.example", "/b"), "mine");
    assert_eq!(rule(&table, "b.example", "/b"), "default");
    assert_eq!(rule(&table, "c.example", "/b"), "default");
}

#[test]
fn paths_match_by_element() {
    let table = router(
        &[("*", &[named("exact", exact("/only")), named("foo", prefix("/foo")), named("bar", prefix("/bar/"))])],
        None,
    );
    for (path, expected) in [
        ("/only", "exact"),
        ("/only/", "-"),
        ("/foo", "foo"),
        ("/foo/", "foo"),
        ("/foo/x", "foo"),
        ("/foobar", "-"),
        ("/bar", "bar"),
        ("/bar/", "bar"),
        ("/bar/x/y", "bar"),
        ("/barx", "-"),
        ("/", "-"),
    ] {
        assert_eq!(rule(&table, "h", path), expected, "{path}");
    }
}

#[test]
fn doubtful_paths_do_not_get_around_a_rule() {
    let table = router(&[("*", &[named("admin", prefix("/admin")), named("all", prefix("/"))])], None);
    for (path, expected, forwarded) in [
        ("/x/../admin", "admin", "/admin"),
        ("/%61dmin/%2e/x", "admin", "/admin/x"),
        ("/x%2F..%2Fadmin", "?", ""),
        ("/x/..%2fadmin", "?", ""),
        ("/x/..;/admin", "?", ""),
        ("//admin", "?", ""),
        ("/admin;x/y", "?", ""),
        ("/admin/../x", "all", "/x"),
        ("/admin/..%2fx", "?", ""),
        ("/scope%2fname", "all", "/scope%2Fname"),
        ("/proxy/http://example.com/", "all", "/proxy/http://example.com/"),
        ("/matrix;v=1/x", "all", "/matrix;v=1/x"),
        ("/../admin", "AboveRoot", ""),
        ("/a\\..\\admin", "Backslash", ""),
    ] {
        assert_eq!(decide(&table, "h", path), (expected.into(), forwarded.into()), "{path}");
    }
}

#[test]
fn patterns_may_hold_what_is_escaped_in_requests() {
    let table =
        router(&[("*", &[named("e", prefix("/a%2fb")), named("c", prefix("/café")), named("m", exact("/m;v"))])], None);
    assert_eq!(rule(&table, "h", "/a%2Fb/x"), "e");
    assert_eq!(rule(&table, "h", "/caf%c3%a9/x"), "c");
    assert_eq!(rule(&table, "h", "/m;v"), "m");
}

#[test]
fn rewrites_replace_the_matched_prefix() {
    let rules = [
        rewritten(prefix("/service/s1/"), "/"),
        rewritten(prefix("/app"), "/base/"),
        rewritten(prefix("/plain"), "/base"),
        rewritten(prefix("/relative"), "base"),
        rewritten(exact("/one"), "/two"),
    ];
    let table = router(&[("*", &rules)], None);
    for (path, expected) in [
        ("/service/s1", "/"),
        ("/service/s1/", "/"),
        ("/service/s1/static/table.js", "/static/table.js"),
        ("/service/s1//x", "/x"),
        ("/app", "/base/"),
        ("/app/", "/base/"),
        ("/app/x/", "/base/x/"),
        ("/plain", "/base"),
        ("/plain/", "/base/"),
        ("/plain/x", "/base/x"),
        ("/relative/x", "/base/x"),
        ("/one", "/two"),
    ] {
        assert_eq!(decide(&table, "h", path).1, expected, "{path}");
    }
}

#[test]
fn no_reading_leads_out_of_a_target() {
    let rules = [rewritten(prefix("/x"), "/app"), rewritten(prefix("/root"), "/")];
    let table = router(&[("*", &rules), ("all.example", &[rewritten(prefix("/"), "/app/")])], None);
    for (host, path) in [
        ("h", "/x/..%2Fx/secret"),
        ("h", "/x/..;/x/secret"),
        ("h", "/x//..%2fx"),
        ("h", "/x/a;b/..%2F..%2Fx"),
        ("all.example", "/..%2Fsecret"),
        ("all.example", "/..;/secret"),
        ("all.example", "/a/..%2F..%2Fapplication"),
    ] {
        assert_eq!(decide(&table, host, path).0, "?", "{path}");
    }
    for (host, path, expected) in [
        ("h", "/x/@scope%2Fname", "/app/@scope%2Fname"),
        ("h", "/x/a/b;v=1", "/app/a/b;v=1"),
        ("h", "/x/a//b", "/app/a//b"),
        ("h", "/root/a%2Fb", "/a%2Fb"),
        ("all.example", "/a/..%2Fb", "/app/a/..%2Fb"),
    ] {
        assert_eq!(decide(&table, host, path).1, expected, "{path}");
    }
}

#[test]
fn regular_expressions_are_tried_in_their_turn() {
    let matches = |text: &str| PathMatch::Regex(text.into());
    let rules = [
        named("exact", exact("/api/v1")),
        named("long", matches("/api/v[0-9]+(/|$)(.*)")),
        named("short", matches("/api/?(.*)")),
        named("broken", matches("/x(")),
        named("prefix", prefix("/api/v1/users")),
        named("other", prefix("/other")),
        named("default", PathMatch::Default),
    ];
    let table = router(&[("*", &rules)], None);
    for (path, expected) in [
        ("/api/v1", "exact"),
        ("/API/v1", "long"),
        ("/api/v1/users", "long"),
        ("/api/v12", "long"),
        ("/apiary", "short"),
        ("/%61pi", "short"),
        ("/y/../api/v2/", "long"),
        ("/other/x", "other"),
        ("/x(", "default"),
        ("/api/v1/a%2Fb", "long"),
        ("/api/v1%2Fa", "?"),
        ("/y/..%2fapi", "?"),
        ("//api", "?"),
    ] {
        assert_eq!(rule(&table, "h", path), expected, "{path}");
    }
}

#[test]
fn regular_expressions_replace_the_whole_path() {
    let rules = [
        regex("/api(/|$)(.*)", "/$2"),
        regex("/app/(.*)", "/base/$1"),
        regex("/users/([^/]+)/([^/]+)", "/$2/of/$1"),
        regex("/all", "/one"),
        regex("/glue/(.)(.)(.*)", "/$1$2/$3"),
        regex("/escape/(.*)", "/secret/%2$1"),
        regex("/slash/([^/]*)", "/base/a%2F$1/b"),
        regex("/bare(/.*)", "$1"),
    ];
    let table = router(&[("*", &rules)], None);
    for (path, expected) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api/users/7", "/users/7"),
        ("/api/a%2fb", "/a%2Fb"),
        ("/api/a;v=1", "/a;v=1"),
        ("/api//x", "/x"),
        ("/api/x//y", "/x//y"),
        ("/api/%2e%2e/api/x", "/x"),
        ("/app/", "/base/"),
        ("/users/a/b/c", "/b/of/a"),
        ("/users/a;/b", "/b/of/a;"),
        ("/all/the/rest", "/one"),
        ("/glue/ab/c", "/ab/c"),
        ("/slash/x", "/base/a%2Fx/b"),
        ("/bare/x", "/x"),
    ] {
        assert_eq!(decide(&table, "h", path).1, expected, "{path}");
    }
    for path in [
        // Dots put together, or next to an escaped slash of the target.
        "/glue/.../x",
        "/slash/.;a",
        "/slash/..;",
        // Out of the target, as servers read it.
        "/app/..%2Fapp/secret",
        "/app/..;/app/secret",
        "/app/a/..%2fapp/..%2f..%2fapp",
        "/api/..%2Fapi/x",
        // An escape put together, or left unfinished.
        "/escape/F..%2F",
        "/escape/e%2e",
        "/escape/x",
        // Which user it is depends on the server.
        "/users/a%2Fb/c",
    ] {
        let decision = decide(&table, "h", path);
        assert!(decision.0 == "?", "{path}: {decision:?}");
    }
}

#[test]
fn upstreams_are_found_by_name() {
    let table = RouteTable {
        hosts: BTreeMap::from([(
            "*".into(),
            Arc::from([entry(prefix("/a"), Some("u")), entry(prefix("/b"), Some("gone"))]),
        )]),
        upstreams: BTreeMap::from([("t".into(), Arc::from([])), ("u".into(), Arc::from([([127, 0, 0, 1], 1).into()]))]),
        ..RouteTable::default()
    };
    let router = Router::new(7, &table);
    let upstream = |path| match router.route("h", path) {
        Ok(Decision::Forward { rule, .. }) => rule.upstream.map(|index| router.upstreams[index].name.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(upstream("/a"), Some("u".into()));
    assert_eq!(upstream("/b"), None);
    assert_eq!(router.len(), 2);
}

/// The definition of element-wise matching, written down naively: rule by rule, element by element.
fn oracle_matches(pattern: &PathMatch, path: &str, read: &dyn Fn(&str) -> String) -> bool {
    let elements = |text: &str| text.trim_end_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
    match pattern {
        PathMatch::Exact(text) => read(text) == path,
        PathMatch::Prefix(text) | PathMatch::ImplementationSpecific(text) => {
            let (pattern, path) = (elements(&read(text)), path.split('/').map(str::to_owned).collect::<Vec<_>>());
            path.len() >= pattern.len() && path[..pattern.len()] == pattern[..]
        }
        PathMatch::Regex(text) => Pattern::new(text).unwrap().is_match(path),
        PathMatch::Default => false,
    }
}

fn oracle(entries: &[PathMatch], path: &CanonicalPath<'_>) -> Option<Option<usize>> {
    let pattern = |text: &str| crate::l7::path::canonical_pattern(text);
    let find =
        |path: &str, read: &dyn Fn(&str) -> String| entries.iter().position(|entry| oracle_matches(entry, path, read));
    let found = find(&path.text, &pattern);
    let agree = !path.ambiguous
        || Reading::all().all(|reading| find(&reading.read(&path.text), &|text| reading.read(&pattern(text))) == found);
    agree.then_some(found.or(entries.iter().position(|entry| *entry == PathMatch::Default)))
}

proptest! {
    #[test]
    fn as_the_oracle(patterns in prop::collection::vec(path_match(), 0..6), path in "/((a|b|ab|c|%2[fF]|;v|//|/|\\.\\.|\\.)/?){0,6}") {
        let entries: Vec<RouteEntry> = patterns.iter().enumerate().map(|(i, path)| named(&i.to_string(), path.clone())).collect();
        let table = router(&[("*", &entries)], None);
        let Ok(canonical) = CanonicalPath::new(&path) else {
            prop_assert!(table.route("h", &path).is_err());
            return Ok(());
        };
        let expected = match oracle(&patterns, &canonical) {
            None => "?".to_owned(),
            Some(None) => "-".to_owned(),
            Some(Some(position)) => position.to_string(),
        };
        prop_assert_eq!(rule(&table, "h", &path), expected);
    }

    #[test]
    fn rewritten_paths_stay_below_their_target(path in "/(x|a|\\.\\.|%2[fF]|;v|/){0,8}") {
        let table = router(&[("*", &[rewritten(prefix("/x"), "/app"), rewritten(prefix("/"), "/app")])], None);
        if let Ok(Decision::Forward { path, .. }) = table.route("h", &path) {
            for reading in Reading::all() {
                let read = reading.read(&path);
                prop_assert!(read == "/app" || read.starts_with("/app/"), "{path} is read as {read}");
            }
        }
    }

    #[test]
    fn what_captures_make_is_a_path_and_no_server_finds_dots_in_it(
        pattern in "/(\\((\\.|\\[\\^/\\]|a|%2)\\*?\\)\\??|/|\\(\\.\\*\\)){0,5}",
        target in regex_target(),
        path in "/(a|\\.|\\.\\.|%2[fF]|%2e|;|/|2F){0,10}",
    ) {
        prop_assume!(Pattern::new(&pattern).is_ok());
        let table = router(&[("*", &[regex(&pattern, &target)])], None);
        if let Ok(Decision::Forward { path, .. }) = table.route("h", &path) {
            prop_assert!(path.starts_with('/'), "{path}");
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte)), "{path}");
            let segments = path.split('/').flat_map(|s| s.split("%2F")).map(|s| s.split(';').next().unwrap_or(s));
            prop_assert!(!segments.into_iter().any(|segment| segment == "." || segment == ".."), "{path}");
            prop_assert_eq!(CanonicalPath::new(&path).map(|canonical| canonical.text.into_owned()), Ok(path.clone()));
        }
    }

    #[test]
    fn captures_stay_below_the_target(path in "/(x|a|\\.\\.|\\.|%2[fF]|;v|/){0,8}") {
        let table = router(&[("*", &[regex("/x(/|$)(.*)", "/app/$2"), regex("/(.*)", "/app/$1")])], None);
        if let Ok(Decision::Forward { path, .. }) = table.route("h", &path) {
            for reading in Reading::all() {
                let read = reading.read(&path);
                prop_assert!(read.starts_with("/app/"), "{path} is read as {read}");
            }
        }
    }

    #[test]
    fn what_is_forwarded_is_absolute_and_has_no_dots(table in tables(), host in "[ab]\\.example|c", path in "/[a-c/.;%2F]{0,12}") {
        let router = Router::new(1, &table);
        if let Ok(Decision::Forward { path, .. }) = router.route(&host, &path) {
            prop_assert!(path.starts_with('/'), "{}", path);
            prop_assert!(!path.split('/').any(|segment| segment == ".."), "{}", path);
        }
    }

    #[test]
    fn a_router_that_was_changed_decides_like_a_new_one(
        tables in prop::collection::vec(tables(), 2..5),
        path in "/[a-c/.;%2F]{0,12}",
    ) {
        let mut tables = tables.into_iter().map(complete);
        let mut table = tables.next().expect("at least two");
        let mut router = Router::new(1, &table);
        for (version, next) in (2..).zip(tables) {
            let changes = crate::l7::delta::delta(&table, &next);
            let fresh = Router::new(version, &next);
            router = router.after(version, &next, &changes).unwrap_or_else(|| Router::new(version, &next));
            prop_assert_eq!((router.version, router.len()), (version, fresh.len()));
            for host in ["a.example", "b.example", "c.example", "other"] {
                prop_assert_eq!(seen(&router, host, &path), seen(&fresh, host, &path));
            }
            for name in next.upstreams.keys() {
                let endpoints = |router: &Router| router.upstream(name).map(|index| router.upstreams[index].endpoints.clone());
                prop_assert_eq!(endpoints(&router), endpoints(&fresh));
            }
            table = next;
        }
    }
}

/// Every upstream that is named exists, as in tables that the agent makes.
fn complete(mut table: RouteTable) -> RouteTable {
    let named = table.hosts.values().flat_map(|entries| entries.iter()).chain(&table.default);
    let named: Vec<_> = named.filter_map(|entry| entry.upstream.clone()).collect();
    for name in named {
        table.upstreams.entry(name).or_default();
    }
    table
}

/// All that a request can tell of a router.
fn seen(router: &Router, host: &str, path: &str) -> String {
    match router.route(host, path) {
        Ok(Decision::Forward { rule, path }) => {
            let numbered = rule.number.and_then(|number| router.rule(number));
            let upstream = rule.upstream.and_then(|index| router.upstreams.get(index));
            format!("{:?} {:?} {upstream:?} {numbered:?} {path}", rule.entry, rule.listed)
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn what_is_gone_is_not_kept_for_ever() {
    let table = |number: usize| {
        let rules: Arc<[RouteEntry]> = Arc::from([entry(prefix("/"), Some(&format!("u{number}")))]);
        let hosts = BTreeMap::from([(format!("h{number}"), rules)]);
        let upstreams = BTreeMap::from([(format!("u{number}"), Arc::default())]);
        RouteTable { hosts, upstreams, ..RouteTable::default() }
    };
    let (mut router, mut anew) = (Router::new(0, &table(0)), 0);
    for number in 1..1000 {
        let (old, new) = (table(number - 1), table(number));
        let version = number as u64;
        let changed = router.after(version, &new, &crate::l7::delta::delta(&old, &new));
        anew += usize::from(changed.is_none());
        router = changed.unwrap_or_else(|| Router::new(version, &new));
        assert!(router.upstreams.len() <= SPARE + 2 && router.numbered.len() <= SPARE + 2);
    }
    assert!((1..10).contains(&anew), "{anew}");
}
