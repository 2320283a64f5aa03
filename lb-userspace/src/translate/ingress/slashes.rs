//! `weir.io/slash-redirect`: requests for a path without the slash at its end are sent to it with the slash, as nginx does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::annotations::WEIR;
use super::dialect::value;
use super::path::text;
use crate::model::filters::{Filters, Redirect, Template};
use crate::model::{PathMatch, Route, RouteKey};
use crate::source::kinds::Ingress;

/// As nginx's (`ngx_http_core_find_config_phase`).
const STATUS: u16 = 301;

type Routes = BTreeMap<RouteKey, Route>;

/// Adds the redirects, for Ingresses that ask for them and paths that nobody has.
pub(super) fn add<'a>(routes: &mut Routes, ingresses: impl Iterator<Item = &'a Ingress>) {
    for ingress in ingresses.filter(|ingress| is_asked(ingress)) {
        let holder = format!("{}/{}", ingress.metadata.namespace, ingress.metadata.name);
        let of_it = routes.iter().filter(|(_, route)| route.ingress == holder);
        let added: Vec<_> = of_it.filter_map(|(key, route)| redirect(key, route, routes)).collect();
        routes.extend(added.into_iter().map(|route| (route.key.clone(), route)));
    }
}

/// The Ingress asks for it. A wrong value was told where annotations are read.
pub(super) fn is_asked(ingress: &Ingress) -> bool {
    let annotation = ingress.metadata.annotations.get(&format!("{WEIR}slash-redirect"));
    annotation.is_some_and(|text| value::flag(text) == Ok(true))
}

/// A rule is for just this path and what is below it, so nothing is redirected from it.
pub(super) fn is_taken(routes: &Routes, host: &Option<String>, bare: &str) -> bool {
    let kinds = [PathMatch::Exact, PathMatch::Prefix, PathMatch::ImplementationSpecific];
    kinds.into_iter().any(|kind| routes.contains_key(&RouteKey { host: host.clone(), path: kind(bare.to_owned()) }))
}

fn redirect(key: &RouteKey, route: &Route, routes: &Routes) -> Option<Route> {
    let path = text(&key.path);
    let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty() && !bare.ends_with('/'))?;
    let literal = !matches!(key.path, PathMatch::Regex(_) | PathMatch::Default);
    // A dollar sign would begin a variable.
    if !literal || path.contains('$') || route.filters.redirect.is_some() || is_taken(routes, &key.host, bare) {
        return None;
    }
    let to = Template::parse(&format!("{path}$is_args$args")).ok()?;
    let redirect = Some(Redirect { status: STATUS, to });
    let filters = Filters { redirect, asset_fallback: false, canary: None, ..(*route.filters).clone() };
    let key = RouteKey { host: key.host.clone(), path: PathMatch::Exact(bare.to_owned()) };
    Some(Route { key, rewrite: None, filters: Arc::new(filters), ..route.clone() })
}
