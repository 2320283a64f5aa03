//! How long anything may take, and how many there may be.

use std::net::SocketAddr;
use std::time::Duration;

use crate::l7::guard;
use crate::l7::pool::Unacknowledged;

/// Limits of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections of clients; more wait in the kernel.
    pub clients: usize,
    /// Open connections to backends; requests that need one more are turned away.
    pub upstreams: usize,
    /// Of clients' connections.
    pub client: guard::Limits,
    /// For the handshake of TLS.
    pub handshake: Duration,
    /// To connect to an endpoint.
    pub connect: Duration,
    /// For the head of an answer after the request's last byte, and between two parts of its body.
    pub answer: Duration,
    /// An endpoint that fails is tried last for so long, the first time; then twice as long, and so on.
    pub avoid: Duration,
    /// Servers for names outside of the cluster; none: the system's.
    pub name_servers: [Option<SocketAddr>; 3],
    /// Such names may stand for addresses of the node itself.
    pub local_names: bool,
    /// Times and sizes of requests are counted by route.
    pub in_detail: bool,
    /// Asks the kernel what a connection's other side has not acknowledged; `None`: nobody can be asked.
    pub unacknowledged: Option<Unacknowledged>,
    /// A draining worker accepts for at least so long: its successor takes over meanwhile.
    pub hand_over: Duration,
    /// Requests in flight may take so long after that.
    pub finish: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Limits {
            clients: usize::MAX,
            upstreams: usize::MAX,
            client: guard::Limits::default(),
            handshake: seconds(10),
            connect: seconds(5),
            answer: seconds(60),
            avoid: seconds(2),
            name_servers: [None; 3],
            local_names: false,
            in_detail: false,
            unacknowledged: None,
            hand_over: seconds(3),
            finish: seconds(30),
        }
    }
}
