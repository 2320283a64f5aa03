//! Route tables for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::table::{RouteEntry, RouteTable};
use crate::model::PathMatch;
use crate::model::route::Rewrite;

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
    )
        .prop_map(|(hosts, upstreams, weights, default): (BTreeMap<_, _>, BTreeMap<_, _>, BTreeMap<_, _>, _)| {
            RouteTable { hosts, upstreams, weights, default, ..RouteTable::default() }
        })
}
