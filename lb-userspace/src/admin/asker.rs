//! Who may change something by the API: people on this machine, by a process of root's or of the agent's own user. The front
//! runs on this machine too, as somebody else, and reads what anybody in the world sends.

use std::net::SocketAddr;

use hyper::StatusCode;
use hyper::header::{HeaderMap, ORIGIN};

use super::answer::{self, Answer};
use crate::sockets;

/// Both ends of a connection to the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) peer: SocketAddr,
    pub(super) own: SocketAddr,
}

impl Asker {
    /// Why this must not be done for it: it asks from another host, is a web page in somebody's browser, which cannot help
    /// sending `Origin`, belongs to a user who has no say, or asks by a socket that we have made and `lent` to somebody else.
    pub(super) async fn refusal(self, headers: &HeaderMap, lent: &[u64], what: &'static str) -> Option<Answer> {
        if !self.peer.ip().to_canonical().is_loopback() || headers.contains_key(ORIGIN) {
            return Some(answer::text(StatusCode::FORBIDDEN, format!("{what} only from loopback\n")));
        }
        // Lists of all sockets are read for that.
        let owner = tokio::task::spawn_blocking(move || sockets::owner_of(self.peer, self.own)).await.ok().flatten();
        let user = owner.filter(|owner| !lent.contains(&owner.inode)).map(|owner| owner.user);
        let ours = rustix::process::geteuid().as_raw();
        if user.is_some_and(|user| user == 0 || user == ours) {
            return None;
        }
        let who = user.map_or_else(|| "nobody known".to_owned(), |user| format!("user {user}"));
        tracing::warn!(%who, what, "admin API: refused");
        let expected = format!("{what} only for root and the agent's own user, not for {who}\n");
        Some(answer::text(StatusCode::FORBIDDEN, expected))
    }
}
