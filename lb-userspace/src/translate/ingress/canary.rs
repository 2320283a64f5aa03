//! Canary Ingresses become part of the routes of the Ingress with the same hosts and paths.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::path::text;
use super::{Draft, reference};
use crate::model::filters::ServicePort;
use crate::model::problem::code;
use crate::model::{ObjectRef, PathMatch, Problem, Route, RouteKey};
use crate::source::kinds::Ingress;

/// The routes that canaries may join.
pub(super) struct Mains<'a> {
    routes: &'a mut BTreeMap<RouteKey, Route>,
    by_place: HashMap<Place, RouteKey>,
}

/// Host, whether the path is exact, and the path as written without a slash at its end.
type Place = (Option<String>, bool, String);

fn place(key: &RouteKey) -> Place {
    let exact = matches!(key.path, PathMatch::Exact(_));
    let path = text(&key.path);
    let path = if exact { path } else { path.trim_end_matches('/') };
    (key.host.clone(), exact, path.to_owned() + if key.path == PathMatch::Default { "default" } else { "" })
}

impl<'a> Mains<'a> {
    /// An index is made only if there is a canary.
    pub(super) fn new(routes: &'a mut BTreeMap<RouteKey, Route>, wanted: bool) -> Self {
        let by_place = routes.keys().filter(|_| wanted).map(|key| (place(key), key.clone())).collect();
        Mains { routes, by_place }
    }

    /// Lets a route of a canary Ingress join the one with the same host and path.
    pub(super) fn join(&mut self, draft: Draft, ingress: &Ingress, problems: &mut Vec<Problem>) {
        let owner = reference(ingress);
        let Some(canary) = &draft.route.filters.canary else { return };
        let value = || {
            let host = draft.route.key.host.as_deref().unwrap_or("any host");
            format!("{host}{}", text(&draft.route.key.path))
        };
        let found = self.by_place.get(&place(&draft.route.key)).and_then(|key| self.routes.get_mut(key));
        let Some(main) = found else {
            let what = "a canary joins an Ingress with the same host and path, and there is none; it gets no requests";
            problems.push(problem(code::CANARY_WITHOUT_MAIN, &owner, what).at(draft.field.clone(), value()));
            return;
        };
        if main.ingress.split_once('/').map(|(namespace, _)| namespace) != Some(&ingress.metadata.namespace) {
            let what = format!(
                "Ingress {} has host and path, and is of another namespace; a canary gets none of its requests",
                main.ingress
            );
            problems.push(problem(code::CANARY_WITHOUT_MAIN, &owner, &what).at(draft.field.clone(), value()));
            return;
        }
        if let Some(other) = &main.filters.canary {
            let what = format!("Ingress {} is the canary for host and path already", other.ingress);
            problems.push(problem(code::ROUTE_CONFLICT, &owner, &what).at(draft.field.clone(), value()));
            return;
        }
        let mut canary = canary.clone();
        canary.ingress = draft.route.ingress.clone();
        canary.to = draft.route.backend.resolved.as_ref().map(|key| ServicePort {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            port: key.port,
        });
        Arc::make_mut(&mut main.filters).canary = Some(canary);
    }
}

fn problem(code: &'static str, owner: &ObjectRef, what: &str) -> Problem {
    Problem::warning(code, owner, what.to_owned())
}
