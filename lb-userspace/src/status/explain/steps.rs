//! The lookups of the pipeline, in words.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::Stat;
use lb_common::conntrack::FlowState;
use lb_common::drop_reason::DropReason;
use lb_common::lookup::{Route, Table};
use lb_common::verdict::{Verdict, is_unserved, refused};

use super::{ExplainQuery, StepRow};
use crate::dataplane::explain::{Explanation, Seen};
use crate::status::View;

/// One row for each thing that matters.
pub(super) fn steps(query: &ExplainQuery, explanation: &Explanation, view: &View) -> Vec<StepRow> {
    let mut teller =
        Teller { query, names: view.service_names(), rows: Vec::new(), flow: None, backends: HashMap::new() };
    teller.arrives(explanation);
    for seen in &explanation.seen {
        teller.tell(seen);
    }
    teller.ends(explanation);
    teller.rows
}

struct Teller<'a> {
    query: &'a ExplainQuery,
    names: HashMap<u32, String>,
    rows: Vec<StepRow>,
    /// State and backend of the flow that was found.
    flow: Option<(u16, u32)>,
    backends: HashMap<u32, (SocketAddr, bool)>,
}

impl Teller<'_> {
    fn row(&mut self, step: &str, result: impl Into<String>, detail: impl Into<String>) {
        let row = StepRow::new(step, result, detail);
        // a second pass by the companion repeats what XDP saw
        if self.rows.last() != Some(&row) {
            self.rows.push(row);
        }
    }

    fn service(&self, id: u32) -> String {
        self.names.get(&id).map_or_else(|| format!("service {id}"), |name| format!("{name} (service {id})"))
    }

    fn arrives(&mut self, explanation: &Explanation) {
        let by = if explanation.xdp { "XDP" } else { "the tc companion: XDP is not attached" };
        let chosen = if self.query.from.is_none() { "; nobody is named, so somebody who does not exist" } else { "" };
        let detail = format!("from {}{chosen}; seen first by {by}", self.query.client());
        self.row("packet", format!("comes in by {}", explanation.device), detail);
    }

    fn tell(&mut self, seen: &Seen) {
        match *seen {
            Seen::Reply { from, parties: Some((client, frontend)) } if from == self.query.client() => {
                self.row("reply", "of a backend", format!("to {client} from {frontend}"));
            }
            Seen::Frontend { at, found } => self.frontend(at, found),
            Seen::Dsr => {
                self.row(
                    "forwarding",
                    "dsr",
                    "a backend on another node gets packets in a tunnel and answers straight",
                );
            }
            Seen::RingChanged => self.row("ring", "changed lately", "flows of before stay where they were"),
            Seen::Tracked(Some(backend)) => {
                self.row("flow", "remembered", format!("its ring changed since it began; backend id {backend}"));
            }
            Seen::Tracked(None) => {}
            Seen::Node { backend, at: Some(node) } => {
                self.row("node", node.to_string(), format!("of backend id {backend}"));
            }
            Seen::Node { at: None, .. } => self.row("node", "this one, or not known", "no tunnel"),
            Seen::NodeAddress { address, own } => {
                let result = if own { "of this node" } else { "not of this node" };
                self.row("node address", result, address.to_string());
            }
            Seen::Listens(listens) => {
                self.row("front", if listens { "listens" } else { "does not listen" }, "");
            }
            Seen::Flow { table, entry } => self.flow(table, entry),
            Seen::FlowRemoved => self.row("flow", "over, or its backend is gone", "a new one begins"),
            Seen::Service { id, slots: 0 } => self.row("ring", "empty", format!("{} has no backend", self.service(id))),
            Seen::Service { id, slots } => self.row("ring", format!("{slots} slots"), self.service(id)),
            Seen::Backend { id, at, local, used: true } => self.backend(id, at, local),
            Seen::Backend { id, used: false, .. } => self.row("backend", "gone", format!("id {id}")),
            Seen::Route { to, route } => {
                self.row("route", route_word(route), format!("to {to}{}", route_detail(route)));
            }
            Seen::Lease { backend_sees } => self.lease(backend_sees),
            Seen::HandedOver => self.row("hand-over", "to the tc companion", "XDP cannot send it; the kernel helps"),
            Seen::Event(Stat::Untunnelled) => self.row("tunnel", "ends here", "another node sent the packet on"),
            Seen::Event(Stat::NotOurs) => self.row("frontend", "none", "not ours: left to the kernel"),
            Seen::Event(Stat::FlowTableFull) => self.row("flow table", "full", "the flow stays half-open"),
            Seen::Reply { .. } | Seen::Counted { .. } | Seen::Event(_) | Seen::Dropped(_) => {}
        }
    }

    fn frontend(&mut self, at: SocketAddr, found: Option<(u32, bool)>) {
        let kind = if at.ip().is_unspecified() { "NodePort" } else { "frontend" };
        let place = if at.ip().is_unspecified() { format!("port {}", at.port()) } else { at.to_string() };
        let protocol = self.query.target.scheme.protocol();
        match found {
            Some((service, front)) => {
                let to = if front { ", answered by the front" } else { "" };
                let detail = format!("{place}/{protocol} leads to {}{to}", self.service(service));
                self.row(kind, "found", detail);
            }
            None => self.row(kind, "none", format!("{place}/{protocol}")),
        }
    }

    fn flow(&mut self, table: Table, entry: Option<(u16, u32)>) {
        let name = match table {
            Table::Proven => "proven",
            Table::HalfOpen => "half-open",
        };
        match entry {
            Some((state, backend)) => {
                self.flow = entry;
                self.row(
                    "flow",
                    FlowState::from_number(state).label(),
                    format!("in the {name} table, backend id {backend}"),
                );
            }
            None if self.flow.is_none() => self.row("flow", "none", format!("in the {name} table")),
            None => {}
        }
    }

    fn backend(&mut self, id: u32, at: SocketAddr, local: bool) {
        if self.backends.insert(id, (at, local)).is_none() {
            let place = if local { "on this node" } else { "on another node" };
            self.row("backend", at.to_string(), format!("id {id}, {place}"));
        }
    }

    fn lease(&mut self, backend_sees: SocketAddr) {
        if backend_sees == self.query.client() {
            self.row("source", "the client's own", backend_sees.to_string());
        } else {
            self.row("source", "source NAT", format!("the backend sees {backend_sees}"));
        }
    }

    fn dropped(&mut self, reason: DropReason) {
        self.row("verdict", format!("drop: {}", reason.label()), reason.text().trim());
    }

    fn transmitted(&mut self, tunnel: Option<(IpAddr, IpAddr)>) {
        let Some((from, to)) = tunnel else {
            return self.row("verdict", "forward", "rewritten and sent to the next hop");
        };
        self.row("tunnel", if from.is_ipv4() { "IPIP" } else { "IP6IP6" }, format!("from {from} to {to}"));
        self.row("verdict", "forward", "in a tunnel to the backend's node, which answers the client itself");
    }

    fn ends(&mut self, explanation: &Explanation) {
        match explanation.verdict {
            Verdict::Pass => self.row("verdict", "pass", "untouched, to the kernel"),
            Verdict::Deliver => self.row("verdict", "forward", "rewritten; the kernel routes it to the pod"),
            Verdict::Transmit(_) => self.transmitted(explanation.tunnel),
            Verdict::Answer => self.row("verdict", "forward", "answered"),
            Verdict::Front => self.row("verdict", "forward", "to the front of this node"),
            Verdict::HandOver(_) | Verdict::Dsr(_) | Verdict::Choose(_) | Verdict::Cookie(_) | Verdict::Tunnel => {
                self.row("verdict", "pass", "left to the kernel");
            }
            Verdict::Drop(reason) => self.dropped(reason),
            Verdict::Refuse(why) if is_unserved(why) => {
                let reason = refused(why).0;
                let told = format!("{} The client is told at once.", reason.text().trim());
                self.row("verdict", format!("reject: {}", reason.label()), told);
            }
            Verdict::Refuse(why) => self.dropped(refused(why).0),
        }
    }
}

fn route_word(route: Route) -> String {
    match route {
        Route::Direct { .. } => "resolved".to_owned(),
        Route::Kernel { .. } => "by the kernel".to_owned(),
        Route::TooBig { .. } => "too small".to_owned(),
        Route::None(reason) => reason.label().to_owned(),
    }
}

fn route_detail(route: Route) -> String {
    match route {
        Route::Direct { device, .. } => format!(" out of device {device}"),
        Route::Kernel { device } => format!(" out of device {device}; its neighbour is resolved by the kernel"),
        Route::TooBig { mtu } => format!(" takes packets of {mtu} bytes at most"),
        Route::None(_) => String::new(),
    }
}
