//! Route tables for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::table::{RouteEntry, RouteTable};
use crate::model::route::Rewrite;
use crate::model::settings::{FrontSettings, LogSettings};
use crate::model::{Certificate, PathMatch, Tls, TlsHost};

pub(crate) fn entry(path: PathMatch, upstream: Option<&str>) -> RouteEntry {
    RouteEntry {
        path,
        ingress: "default/web".into(),
        service: "default/web".into(),
        service_port: "80".into(),
        upstream: upstream.map(str::to_owned),
        rewrite: None,
        filters: Arc::default(),
        problem: None,
    }
}

pub(crate) fn path_match() -> impl Strategy<Value = PathMatch> {
    let regex = ["/[ab](/|$)(.*)", "/(a|ab)(/c)?", "/(.)(.*)", "/[^/]+/([^/]*)$", "/a%2F(.*)", "/(%2|;|/)?(.*)"];
    let regex = prop::sample::select(regex.to_vec()).prop_map(str::to_owned);
    let path = prop_oneof![Just("/".to_owned()), "(/(a|b|ab|c)){1,3}/?", "/a(%2Fb|;v|//b|/\\.\\./c)?"];
    prop_oneof![
        4 => path.clone().prop_map(PathMatch::Prefix),
        2 => path.clone().prop_map(PathMatch::ImplementationSpecific),
        2 => path.prop_map(PathMatch::Exact),
        3 => regex.prop_map(PathMatch::Regex),
        1 => Just(PathMatch::Default),
    ]
}

/// Targets of every shape, also such as put dots, slashes and escapes together from captures.
pub(crate) fn regex_target() -> impl Strategy<Value = String> {
    "/?(\\$[1-4]|/|\\.|a|%2|%2F|;v|%|F){0,6}"
}

fn route_entry() -> impl Strategy<Value = RouteEntry> {
    let target = prop::sample::select(vec!["/", "/x", "/x/"]);
    (path_match(), prop::option::of("u[0-3]"), prop::option::of(target), regex_target()).prop_map(
        |(path, upstream, target, regex_target)| {
            let rewrite = target.map(|target| match path {
                PathMatch::Regex(_) => Rewrite::Regex(regex_target),
                _ => Rewrite::Prefix(target.to_owned()),
            });
            RouteEntry { rewrite, ..entry(path, upstream.as_deref()) }
        },
    )
}

/// Not one that could be used.
fn certificate() -> impl Strategy<Value = Arc<Certificate>> {
    ("[a-z]{3}", "[a-z]{3}", prop::option::of(prop::collection::vec(any::<u8>(), 3)), any::<i64>()).prop_map(
        |(chain, key, staple, until)| {
            let (key, names) = (key.into(), vec!["a.example".to_owned()]);
            Arc::new(Certificate { chain, key, staple, names, not_before: 0, not_after: until })
        },
    )
}

fn tls() -> impl Strategy<Value = Tls> {
    let secret = "default/[a-c]";
    let host = prop::option::of(secret).prop_map(|certificate| TlsHost { certificate, ..TlsHost::default() });
    (
        prop::collection::btree_map(secret, certificate(), 0..3),
        prop::collection::btree_map("(\\*|[ab])\\.example", host, 0..3),
        prop::option::of(secret),
    )
        .prop_map(|(certificates, hosts, default)| Tls { certificates, hosts, default, ..Tls::default() })
}

pub(crate) fn tables() -> impl Strategy<Value = RouteTable> {
    let host = prop_oneof![Just("*".to_owned()), "[ab]\\.example", Just("*.example".to_owned())];
    let routes = prop::collection::vec(route_entry(), 0..5).prop_map(Arc::from);
    let endpoints = prop::collection::vec(1u16..4, 0..3)
        .prop_map(|ports| ports.into_iter().map(|p| ([127, 0, 0, 1], p).into()).collect::<Vec<_>>().into());
    (
        prop::collection::btree_map(host, routes, 0..4),
        prop::collection::btree_map("u[0-3]", endpoints, 0..4),
        prop::collection::btree_map("u[0-3]", prop::collection::vec(1u16..9, 0..3).prop_map(Arc::from), 0..3),
        prop::option::of(route_entry().prop_map(|e| RouteEntry { path: PathMatch::Default, ..e })),
        tls(),
        any::<bool>(),
    )
        .prop_map(
            |(hosts, upstreams, weights, default, tls, off): (
                BTreeMap<_, _>,
                BTreeMap<_, _>,
                BTreeMap<_, _>,
                _,
                _,
                _,
            )| {
                let log = LogSettings { off, ..LogSettings::default() };
                let settings = Arc::new(FrontSettings { log, ..FrontSettings::default() });
                RouteTable { hosts, upstreams, weights, default, tls, settings, ..RouteTable::default() }
            },
        )
}
