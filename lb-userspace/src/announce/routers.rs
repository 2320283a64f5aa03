//! How it stands with the routers that this node speaks with.

use std::net::IpAddr;

use crate::model::Problem;

/// How it stands with the routers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routers {
    /// BIRD answers.
    pub bird: bool,
    /// Each session.
    pub sessions: Vec<SessionState>,
    /// How many networks lead to this node now.
    pub networks: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// A session with a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The router.
    pub peer: IpAddr,
    /// Its autonomous system.
    pub asn: u32,
    /// It is told.
    pub established: bool,
    /// What BIRD says of it.
    pub info: String,
}
