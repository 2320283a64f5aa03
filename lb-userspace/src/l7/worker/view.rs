//! A worker's view of the routes.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::l7::router::{Router, Upstream};
use crate::model::ServiceKey;

/// The routes as one worker uses them: the table, and whose turn it is.
#[derive(Debug)]
pub struct View {
    /// The table.
    pub router: Arc<Router>,
    turns: Vec<Cell<usize>>,
}

impl View {
    /// Each upstream begins at a random endpoint: otherwise all workers of all nodes would begin at the first.
    pub fn new(router: Arc<Router>) -> Self {
        let random = RandomState::new();
        let turns =
            (0..router.upstreams.len()).map(|index| Cell::new((random.hash_one(index) >> 8) as usize)).collect();
        View { router, turns }
    }

    /// An upstream and the position to begin at; the next request begins one further.
    pub fn upstream(&self, index: usize) -> Option<(&Upstream, usize)> {
        let turn = self.turns.get(index)?;
        let start = turn.get();
        turn.set(start.wrapping_add(1));
        Some((self.router.upstreams.get(index)?, start))
    }

    /// The endpoints of a Service port, from the one whose turn it is.
    pub fn addresses(&self, service: &ServiceKey) -> Vec<SocketAddr> {
        self.rotated(self.router.upstream_of(service))
    }

    /// Those of the default backend.
    pub fn default_addresses(&self) -> Vec<SocketAddr> {
        self.rotated(self.router.default_upstream())
    }

    fn rotated(&self, index: Option<usize>) -> Vec<SocketAddr> {
        let upstream = index.and_then(|index| self.upstream(index));
        let Some((upstream, start)) = upstream.filter(|(upstream, _)| !upstream.endpoints.is_empty()) else {
            return Vec::new();
        };
        let mut addresses = upstream.endpoints.to_vec();
        addresses.rotate_left(start % upstream.endpoints.len());
        addresses
    }
}
