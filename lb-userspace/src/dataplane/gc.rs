//! Removes flows that have been idle for too long from the tables that the kernel does not clean itself.

use std::io;
use std::os::fd::AsFd;

use aya::maps::{HashMap, MapData};
use lb_common::abi::{BackendEntry, FlowEntry, FlowKey, ReplyEntry};
use lb_common::addr::{Address, Family, V4, V6};
use lb_common::conntrack::{idle_ticks, timeout_ticks};
use lb_common::flow::{forward_key, replies_of};

use super::error::DataplaneError;
use super::family::MapFamily;
use super::mapped::{Access, MappedArray};
use super::maps::{Maps, walk};
use super::sys;

/// Entries of one table that one call looks at: all of a table of default size, some 30 ms. A table that takes many calls
/// keeps closed flows for minutes, and is full at a few thousand connections per second.
const PER_CALL: usize = 1 << 20;
/// How long a reply entry may stand without its flow, in ticks of about a second: the kernel writes one of the two
/// first, and a flow that was just made must not lose its reply entry to us.
const ORPHAN_TICKS: u32 = 10;

/// What one call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Flows and reply entries looked at.
    pub examined: u64,
    /// Flows removed because they were idle.
    pub expired: u64,
    /// Reply entries removed because their flow was gone, or seen under another tuple by now.
    pub orphans: u64,
    /// The end of all tables was reached: the next call starts over.
    pub complete: bool,
}

/// Walks over the tables of both families, a part of each per call.
pub(crate) struct Collector {
    v4: FamilyCollector<V4>,
    v6: FamilyCollector<V6>,
}

impl Collector {
    pub(crate) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self { v4: FamilyCollector::open(maps)?, v6: FamilyCollector::open(maps)? })
    }

    /// Looks at the next part of the tables; `now` is in ticks.
    pub(crate) fn collect(&mut self, now: u32) -> Result<GcReport, DataplaneError> {
        let (v4, v6) = (self.v4.collect(now)?, self.v6.collect(now)?);
        Ok(GcReport {
            examined: v4.examined + v6.examined,
            expired: v4.expired + v6.expired,
            orphans: v4.orphans + v6.orphans,
            complete: v4.complete && v6.complete,
        })
    }
}

/// The tables of one family, one after the other.
struct FamilyCollector<F: MapFamily> {
    flows: MapData,
    replies: MapData,
    flow_by_key: HashMap<MapData, FlowKey<F::Addr>, FlowEntry<F::Addr>>,
    reply_by_key: HashMap<MapData, FlowKey<F::Addr>, ReplyEntry<F::Addr>>,
    backends: MappedArray<BackendEntry<F::Addr>>,
    phase: Phase,
}

/// A reply entry with its key.
type Reply<F> = (FlowKey<<F as Family>::Addr>, ReplyEntry<<F as Family>::Addr>);

/// Where the next call goes on.
#[derive(Clone, Copy)]
enum Phase {
    Flows(Option<u32>),
    Replies(Option<u32>),
}

impl<F: MapFamily> FamilyCollector<F> {
    fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self {
            flows: maps.data(F::MAPS.flows)?,
            replies: maps.data(F::MAPS.replies)?,
            flow_by_key: maps.hash(F::MAPS.flows)?,
            reply_by_key: maps.hash(F::MAPS.replies)?,
            backends: maps.mapped(F::MAPS.backends, Access::Read)?,
            phase: Phase::Flows(None),
        })
    }

    fn collect(&mut self, now: u32) -> Result<GcReport, DataplaneError> {
        let mut report = GcReport::default();
        self.phase = match self.phase {
            Phase::Flows(from) => {
                match self.collect_flows(now, from, &mut report).map_err(DataplaneError::map(F::MAPS.flows))? {
                    Some(cursor) => Phase::Flows(Some(cursor)),
                    None => Phase::Replies(None),
                }
            }
            Phase::Replies(from) => {
                match self.collect_replies(now, from, &mut report).map_err(DataplaneError::map(F::MAPS.replies))? {
                    Some(cursor) => Phase::Replies(Some(cursor)),
                    None => {
                        report.complete = true;
                        Phase::Flows(None)
                    }
                }
            }
        };
        Ok(report)
    }

    fn collect_flows(&self, now: u32, from: Option<u32>, report: &mut GcReport) -> io::Result<Option<u32>> {
        walk::<FlowKey<F::Addr>, FlowEntry<F::Addr>>(&self.flows, from, PER_CALL, |entries| {
            report.examined += entries.len() as u64;
            let (mut flows, mut replies) = (Vec::new(), Vec::new());
            for (key, entry) in entries {
                if let Some(reply) = self.expired(now, key, entry) {
                    flows.push(*key);
                    replies.extend(reply);
                }
            }
            report.expired += sys::delete_batch(self.flows.fd().as_fd(), &flows)? as u64;
            sys::delete_batch(self.replies.fd().as_fd(), &replies).map(drop)
        })
    }

    /// `Some` if the flow is idle, with the key of its reply entry if it has one. Only flows that look idle from the
    /// client's side cost a second lookup: the backend may still be sending.
    fn expired(
        &self,
        now: u32,
        key: &FlowKey<F::Addr>,
        entry: &FlowEntry<F::Addr>,
    ) -> Option<Option<FlowKey<F::Addr>>> {
        let timeout = timeout_ticks(entry.state, key.protocol as u8);
        if idle_ticks(now, entry.last_seen) <= timeout {
            return None;
        }
        let reply = self.reply(key, entry);
        let is_over = reply.is_none_or(|(_, reply)| idle_ticks(now, reply.last_seen) > timeout);
        is_over.then_some(reply.map(|(key, _)| key))
    }

    /// The reply entry of a flow, unless its backend is another one by now or the tuple belongs to another flow: then it
    /// is nobody's or not ours.
    fn reply(&self, key: &FlowKey<F::Addr>, entry: &FlowEntry<F::Addr>) -> Option<Reply<F>> {
        let backend = self.backends.read(entry.backend)?;
        if backend.generation != entry.generation || backend.protocol == 0 {
            return None;
        }
        let reply_key = replies_of(key, entry, &backend);
        let reply = self.reply_by_key.get(&reply_key, 0).ok()?;
        (forward_key(&reply, key.protocol) == *key).then_some((reply_key, reply))
    }

    fn collect_replies(&self, now: u32, from: Option<u32>, report: &mut GcReport) -> io::Result<Option<u32>> {
        walk::<FlowKey<F::Addr>, ReplyEntry<F::Addr>>(&self.replies, from, PER_CALL, |entries| {
            report.examined += entries.len() as u64;
            let orphans = entries.iter().filter(|(key, reply)| {
                idle_ticks(now, reply.last_seen) > ORPHAN_TICKS
                    && !self.flow_by_key.get(&forward_key(reply, key.protocol), 0).is_ok_and(|flow| sees(&flow, key))
            });
            let orphans: Vec<FlowKey<F::Addr>> = orphans.map(|(key, _)| *key).collect();
            report.orphans += sys::delete_batch(self.replies.fd().as_fd(), &orphans)? as u64;
            Ok(())
        })
    }
}

/// The backend of the flow sees it under the tuple; a flow that has moved to another one leaves its old reply entry behind.
fn sees<A: Address>(flow: &FlowEntry<A>, replies: &FlowKey<A>) -> bool {
    (flow.snat_address, flow.snat_port) == (replies.destination, replies.destination_port)
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{BackendEntry4, FlowEntry4, FlowKey4, ReplyEntry4};
    use lb_common::be::{Be16, Be32};

    use super::*;

    const CLIENT: (Be32, Be16) = (Be32::new(0x0a00_0001), Be16::new(40_000));
    const VIP: (Be32, Be16) = (Be32::new(0xc000_0201), Be16::new(80));
    const POD: (Be32, Be16) = (Be32::new(0x0af4_0105), Be16::new(8_080));
    const NODE: (Be32, Be16) = (Be32::new(0x0a00_0064), Be16::new(15_123));

    fn key(source: (Be32, Be16), destination: (Be32, Be16)) -> FlowKey4 {
        FlowKey4 {
            source: source.0,
            destination: destination.0,
            source_port: source.1,
            destination_port: destination.1,
            protocol: 6,
        }
    }

    #[test]
    fn a_reply_goes_to_whom_the_backend_sees() {
        let flow = key(CLIENT, VIP);
        let backend = BackendEntry4 { address: POD.0, port: POD.1, protocol: 6, ..BackendEntry4::default() };
        for seen in [CLIENT, NODE] {
            let entry = FlowEntry4 { snat_address: seen.0, snat_port: seen.1, ..FlowEntry4::default() };
            assert_eq!(replies_of(&flow, &entry, &backend), key(POD, seen));
        }
    }

    #[test]
    fn a_reply_entry_leads_back_to_its_flow() {
        let entry = ReplyEntry4 {
            frontend_address: VIP.0,
            frontend_port: VIP.1,
            client_address: CLIENT.0,
            client_port: CLIENT.1,
            ..ReplyEntry4::default()
        };
        assert_eq!(forward_key(&entry, 6), key(CLIENT, VIP));
    }
}
