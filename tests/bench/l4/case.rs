//! What is measured.

/// What the packets are to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A proven flow to a pod on this node: DNAT, to the stack.
    Local,
    /// The same over UDP.
    LocalUdp,
    /// A proven flow to a pod on another node: SNAT and DNAT, out again.
    Snat,
    /// The first packet of a flow to a pod on this node.
    NewLocal,
    /// The first packet of a flow to a pod on another node.
    NewSnat,
    /// Nothing to us.
    NotOurs,
}

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) services: u32,
    /// A power of two; for new flows how many tuples there are before they come again.
    pub(crate) flows: u64,
}

const fn case(name: &'static str, kind: Kind, services: u32, flows: u64) -> Case {
    Case { name, kind, services, flows }
}

impl Case {
    /// Every row.
    pub(crate) fn all() -> Vec<Case> {
        let mut cases = vec![
            case("established, local, TCP", Kind::Local, 1, 1),
            case("established, local, TCP", Kind::Local, 1, 65_536),
            case("established, local, TCP", Kind::Local, 1_000, 65_536),
            case("established, local, TCP", Kind::Local, 10_000, 65_536),
            case("established, local, UDP", Kind::LocalUdp, 1, 65_536),
            case("established, SNAT, TCP", Kind::Snat, 1, 1),
            case("established, SNAT, TCP", Kind::Snat, 1, 65_536),
        ];
        for services in [1, 1_000, 10_000] {
            cases.push(case("new flow, local, TCP", Kind::NewLocal, services, 1 << 24));
        }
        cases.push(case("new flow, SNAT, TCP", Kind::NewSnat, 1, 1 << 24));
        for services in [1, 1_000, 10_000] {
            cases.push(case("not for us", Kind::NotOurs, services, 65_536));
        }
        cases
    }
}
