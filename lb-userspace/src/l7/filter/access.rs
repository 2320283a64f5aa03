//! Who is served: by address, by user, by the word of another service.

use std::rc::Rc;

use hyper::header::{AUTHORIZATION, HeaderName};

use super::variables::Seen;
use super::{After, Audience, Outbound, basic, external};
use crate::l7::answer::Answer;
use crate::l7::worker::{View, Worker};
use crate::model::filters::Filters;

/// All have to agree, or the address is enough: as the route says.
pub(super) async fn admit<A: Audience>(
    seen: &Seen<'_>,
    worker: &Rc<Worker>,
    view: &View,
    outbound: &mut Outbound,
    after: &mut After,
    audience: &mut A,
) -> Result<(), Answer> {
    let filters = &seen.rule.entry.filters;
    let client = seen.ends.client.ip();
    if let Some(access) = &filters.access {
        let either = access.or_authenticated && (filters.basic.is_some() || filters.external.is_some());
        if either && access.names(client) {
            audience.hear("source-range", "names the client, which is enough");
            outbound.removed.extend(reserved(filters));
            return Ok(());
        }
        if either {
            audience.hear("source-range", "does not name the client, which has to authenticate");
        } else {
            let admitted = if access.admits(client) { Ok(()) } else { Err(Answer::forbidden()) };
            audience.hear_of("source-range", &admitted);
            admitted?;
        }
    }
    outbound.removed.extend(reserved(filters));
    // On the heap, so that connections to other routes take no memory for it.
    if let Some(basic) = &filters.basic {
        let admitted = Box::pin(basic::check(basic, seen.rule, &seen.head.headers, worker, view)).await;
        audience.hear_of("basic-auth", &admitted);
        admitted?;
    }
    if let Some(external) = filters.external.as_ref().filter(|_| !A::ASKS) {
        let url = external.url.expand(seen);
        audience.hear("external-auth", format_args!("{url} decides; taken as if it let the request through"));
        return Ok(());
    }
    if let Some(external) = &filters.external {
        let passed = match Box::pin(external::check(external, seen, worker, view)).await {
            Ok(passed) => passed,
            Err((answer, cookies)) => {
                after.cookies = (cookies, external.always_set_cookie);
                return Err(answer);
            }
        };
        after.cookies = (passed.cookies, external.always_set_cookie);
        for (name, value) in passed.headers {
            outbound.headers.push((name, value));
        }
    }
    Ok(())
}

/// What nobody behind the front gets as the client sent it: a password that was for us, and the words of the service.
pub(super) fn reserved(filters: &Filters) -> impl Iterator<Item = HeaderName> {
    let names = filters.external.iter().flat_map(|external| &external.answer_headers);
    let names = names.filter_map(|name| HeaderName::try_from(name.as_str()).ok());
    filters.basic.iter().map(|_| AUTHORIZATION).chain(names)
}
