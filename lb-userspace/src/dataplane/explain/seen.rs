//! What the pipeline looked up on the way to its verdict, in order.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::Stat;
use lb_common::drop_reason::DropReason;
use lb_common::lookup::{Route, Table};

/// One thing that the pipeline asked or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Whether it is a reply of a backend: client and frontend of the flow if so.
    Reply {
        /// The source of the tuple that was looked up.
        from: SocketAddr,
        /// Client and frontend.
        parties: Option<(SocketAddr, SocketAddr)>,
    },
    /// The frontend at an address and port: id of the service, and whether the front answers.
    Frontend {
        /// Where; the unspecified address stands for NodePorts.
        at: SocketAddr,
        /// What was found.
        found: Option<(u32, bool)>,
    },
    /// The frontend forwards by DSR.
    Dsr,
    /// The service's ring changed lately, and flows of before stay where they were.
    RingChanged,
    /// Whether it is remembered where the flow goes: id of its backend if so.
    Tracked(Option<u32>),
    /// The node of a backend, to which DSR carries packets; `None`: this one, or not known.
    Node {
        /// Id of the backend.
        backend: u32,
        /// The node's address.
        at: Option<IpAddr>,
    },
    /// Whether NodePorts answer at an address.
    NodeAddress {
        /// The address.
        address: IpAddr,
        /// They do.
        own: bool,
    },
    /// Whether a listener of the front is there.
    Listens(bool),
    /// The flow of the packet: state and backend id if there is one.
    Flow {
        /// Where it was looked for.
        table: Table,
        /// What was found.
        entry: Option<(u16, u32)>,
    },
    /// The flow was over, or its backend gone.
    FlowRemoved,
    /// The service and its ring.
    Service {
        /// Its id.
        id: u32,
        /// Length of the ring; 0: no backend.
        slots: u32,
    },
    /// A backend.
    Backend {
        /// Its id.
        id: u32,
        /// Address and port.
        at: SocketAddr,
        /// It is on this node.
        local: bool,
        /// The entry is in use.
        used: bool,
    },
    /// The way to an address.
    Route {
        /// The address.
        to: IpAddr,
        /// What the routing table says.
        route: Route,
    },
    /// The tuple of the replies was recorded.
    Lease {
        /// What the backend sees as its client.
        backend_sees: SocketAddr,
    },
    /// XDP left the packet to the companion on tc, which begins anew.
    HandedOver,
    /// The packet counts for a service and a backend (0: the front).
    Counted {
        /// Id of the service.
        service: u32,
        /// Id of the backend.
        backend: u32,
    },
    /// Something else was counted.
    Event(Stat),
    /// The packet counts as dropped.
    Dropped(DropReason),
}
