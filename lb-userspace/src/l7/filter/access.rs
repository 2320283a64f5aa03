//! Who is served: by address, by user.

use super::basic;
use super::variables::Seen;
use crate::l7::answer::Answer;
use crate::l7::worker::{View, Worker};

/// Both have to agree, or one is enough: as the route says.
pub(super) async fn admit(seen: &Seen<'_>, worker: &Worker, view: &View) -> Result<(), Answer> {
    let filters = &seen.rule.entry.filters;
    let client = seen.ends.client.ip();
    if let Some(access) = &filters.access {
        let either = access.or_authenticated && filters.basic.is_some();
        if either && access.names(client) {
            return Ok(());
        }
        if !either && !access.admits(client) {
            return Err(Answer::forbidden());
        }
    }
    if let Some(basic) = &filters.basic {
        // On the heap, so that connections to other routes take no memory for it.
        Box::pin(basic::check(basic, seen.rule, &seen.head.headers, worker, view)).await?;
    }
    Ok(())
}
