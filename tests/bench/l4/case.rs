//! What is measured.

use lb_common::abi::program;

/// What the packets are to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A proven flow to a pod on this node: DNAT, to the stack.
    Local,
    /// A proven flow to a pod on another node: SNAT and DNAT, out again.
    Snat,
    /// A segment of a connection to a pod on another node, which goes there in a tunnel.
    Dsr,
    /// The first packet of a flow to a pod on this node.
    NewLocal,
    /// The first packet of a flow to a pod on another node.
    NewSnat,
    /// The same, to go there in a tunnel.
    NewDsr,
    /// Nothing to us.
    NotOurs,
}

/// The headers of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Tcp,
    Udp,
    /// TCP over IPv6.
    Tcp6,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) carries: Carries,
    pub(crate) services: u32,
    /// A power of two; for new flows how many tuples there are before they come again.
    pub(crate) flows: u64,
}

/// Flows of which each cache line and page is used all the time, and those that few caches hold.
const FEW: u64 = 1;
const MANY: u64 = 1 << 16;
const MOST: u64 = 1 << 19;
/// Tuples of new flows.
const NEW: u64 = 1 << 24;
/// Services of a large cluster.
const SERVICES: u32 = 100_000;

impl Case {
    /// Every row.
    pub(crate) fn all() -> Vec<Case> {
        use Carries::{Tcp, Tcp6, Udp};
        let case = |kind, carries, services, flows| Case { kind, carries, services, flows };
        let mut cases = Vec::new();
        for (kind, carries) in [(Kind::Local, Tcp), (Kind::Local, Udp), (Kind::Local, Tcp6), (Kind::Snat, Tcp)] {
            cases.extend([FEW, MANY, MOST].map(|flows| case(kind, carries, 1, flows)));
        }
        cases.push(case(Kind::Local, Tcp, SERVICES, MANY));
        cases.push(case(Kind::Snat, Udp, 1, MANY));
        cases.extend([FEW, MANY, MOST].map(|flows| case(Kind::Dsr, Tcp, 1, flows)));
        for kind in [Kind::NewLocal, Kind::NewSnat, Kind::NewDsr] {
            cases.push(case(kind, Tcp, 1, NEW));
        }
        cases.push(case(Kind::NewLocal, Tcp, SERVICES, NEW));
        cases.extend([1, SERVICES].map(|services| case(Kind::NotOurs, Tcp, services, MANY)));
        let wanted = std::env::var("WEIR_BENCH_CASE").unwrap_or_default();
        cases.retain(|case| case.label().contains(&wanted));
        cases
    }

    /// The name of the row, with its numbers.
    pub(crate) fn label(&self) -> String {
        format!("{} | {} | {}", self.name(), self.services, self.flows)
    }

    fn name(&self) -> String {
        let carries = match self.carries {
            Carries::Tcp => "TCP",
            Carries::Udp => "UDP",
            Carries::Tcp6 => "TCP over IPv6",
        };
        match self.kind {
            Kind::Local => format!("established, local, {carries}"),
            Kind::Snat => format!("established, SNAT, {carries}"),
            Kind::Dsr => format!("established, DSR, {carries}"),
            Kind::NewLocal => format!("new flow, local, {carries}"),
            Kind::NewSnat => format!("new flow, SNAT, {carries}"),
            Kind::NewDsr => format!("new flow, DSR, {carries}"),
            Kind::NotOurs => "not for us".to_owned(),
        }
    }

    /// The programs beside [`program::XDP`] in which the packets go on.
    pub(crate) fn programs(&self) -> Vec<&'static str> {
        let mut programs = match self.kind {
            Kind::Local | Kind::Snat | Kind::NotOurs => Vec::new(),
            Kind::Dsr | Kind::NewDsr => vec![program::XDP_DSR],
            Kind::NewLocal | Kind::NewSnat => vec![program::XDP_CHOOSE, program::XDP_BEGIN, program::XDP_FIRST],
        };
        if self.is_ipv6() {
            programs.push(program::XDP6);
        }
        programs
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.carries == Carries::Tcp6
    }

    /// The backend is on another node.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.kind, Kind::Snat | Kind::NewSnat) || self.is_dsr()
    }

    pub(crate) fn is_dsr(&self) -> bool {
        matches!(self.kind, Kind::Dsr | Kind::NewDsr)
    }

    /// The packets are first ones.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.kind, Kind::NewLocal | Kind::NewSnat | Kind::NewDsr)
    }
}
