//! Running a fixture: the same packets through the host pipeline and through the kernel.

use std::collections::BTreeMap;

use lb_common::abi::{FlowEntry4, FlowKey4, ReplyEntry4, TrackedEntry, map, program};
use lb_common::addr::V4;
use lb_common::conntrack::ticks;
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::Ethernet;
use lb_common::host::{Bytes, Maps};
use lb_common::lookup::Table;
use lb_common::pipeline;
use lb_common::verdict::Verdict;

use crate::kernel::{self, Kernel};
use crate::packet::Builder;
use crate::world::{self, Devices};

/// What becomes of a packet, as far as both sides can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pass,
    Deliver,
    Front,
    HandOver,
    Transmit(u32),
    /// Sent by the companion; out of which device is the kernel's to say.
    Redirect,
    Drop,
}

/// Where a packet meets the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Ingress,
    Egress,
    /// tc ingress, where XDP has left no word: the companion does it all.
    Companion,
    /// tc ingress of a tunnel.
    Tunnel,
}

/// The host's side of a fixture, and the kernel's where there is one.
pub(crate) struct Bench {
    pub(crate) host: Maps<V4>,
    pub(crate) devices: Devices,
    pub(crate) kernel: Option<Kernel>,
}

impl Bench {
    /// Both sides with the tables of [`world`].
    pub(crate) fn new() -> Self {
        Self::with(world::host)
    }

    /// Both sides with tables of one's own.
    pub(crate) fn with(tables: impl Fn(Devices) -> Maps<V4>) -> Self {
        let kernel = kernel::available().then(|| Kernel::new(&tables));
        let devices = kernel.as_ref().map_or(Devices { first: 7, second: 8 }, |kernel| kernel.devices);
        Self { host: tables(devices), devices, kernel }
    }

    /// Runs a packet on both sides, asserts that they agree, and gives what the host says.
    pub(crate) fn run(&mut self, hook: Hook, packet: &[u8]) -> (Verdict, Vec<u8>) {
        self.host.now.set(ticks(monotonic_ns()));
        let mut bytes = Bytes(packet.to_vec());
        self.host.resolves = hook != Hook::Ingress;
        self.host.ingress = self.devices.first;
        self.host.refusals.take(); // both sides may tell each sender: their clocks differ by less than the limit goes by
        let mut verdict = match hook {
            Hook::Ingress | Hook::Companion => pipeline::ingress(&mut bytes, &self.host),
            Hook::Egress => match pipeline::egress(&mut bytes, &self.host) {
                Verdict::HandOver(_) => pipeline::inside(&mut bytes, &self.host),
                verdict => verdict,
            },
            Hook::Tunnel => pipeline::tunnel(&mut bytes, &self.host),
        };
        if let Verdict::Refuse(why) = verdict {
            let frame = Ethernet::parse(&bytes).unwrap();
            verdict = pipeline::tell::<V4, _, _>(&mut bytes, &frame, &self.host, why);
        }
        if let Some(kernel) = &mut self.kernel {
            kernel.forget_refusals();
            let (outcome, out) = match hook {
                Hook::Ingress => kernel.xdp(packet),
                Hook::Egress => kernel.tc(program::TC_EGRESS, packet),
                Hook::Companion => kernel.tc(program::TC_INGRESS, packet),
                Hook::Tunnel => kernel.tc(program::TUNNEL, packet),
            };
            let expected = outcome_of(hook, verdict, bytes.0 != packet, self.devices);
            assert_eq!(outcome, expected, "kernel and host disagree on {packet:02x?}");
            // the companion takes tags off what it redirects; to the host a packet has a fixed length
            let on_tc = matches!(hook, Hook::Companion | Hook::Egress);
            let by_companion = on_tc && matches!(verdict, Verdict::Transmit(_));
            let here = if by_companion { untagged(&bytes.0) } else { bytes.0.clone() };
            if by_companion && here.len() < bytes.0.len() && out.len() == bytes.0.len() {
                // with its tags it is sent to the neighbour at once; those of the host's world are looked up by the kernel
                assert_eq!(hex(&out[12..]), hex(&bytes.0[12..]), "kernel (left) and host (right): {}", hex(packet));
            } else if !matches!(verdict, Verdict::Drop(_)) {
                assert_eq!(hex(&out), hex(&here), "kernel (left) and host (right) make other bytes of {}", hex(packet));
            }
        }
        (verdict, bytes.0)
    }

    /// A packet from the wire that must come out as `expected`, by `verdict`.
    pub(crate) fn ingress(&mut self, packet: &Builder, verdict: Verdict, expected: &Builder) {
        self.expect(Hook::Ingress, packet, verdict, expected);
    }

    /// A packet to the wire that must come out as `expected`.
    pub(crate) fn egress(&mut self, packet: &Builder, verdict: Verdict, expected: &Builder) {
        self.expect(Hook::Egress, packet, verdict, expected);
    }

    fn expect(&mut self, hook: Hook, packet: &Builder, verdict: Verdict, expected: &Builder) {
        let (got, bytes) = self.run(hook, &packet.bytes());
        assert_eq!(got, verdict, "{packet:?}");
        assert_eq!(hex(&bytes), hex(&expected.bytes()), "{packet:?}");
    }

    /// A packet from the wire that must be dropped for this reason.
    pub(crate) fn dropped(&mut self, packet: &[u8], reason: DropReason) {
        let before = self.drops(reason);
        let (got, _) = self.run(Hook::Ingress, packet);
        assert_eq!(got, Verdict::Drop(reason), "{}", hex(packet));
        assert_eq!(self.drops(reason), before + 1, "drops are counted");
        if let Some(kernel) = &self.kernel {
            assert_eq!(
                kernel.drops().get(&reason).copied().unwrap_or(0),
                before + 1,
                "drops are counted in the kernel"
            );
        }
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.host.drops.borrow()[reason as usize].packets
    }

    /// Lets so many ticks go by without a packet.
    pub(crate) fn wait(&mut self, ticks: u32) {
        let before = |seen: &mut u32| *seen = seen.wrapping_sub(ticks);
        for table in [Table::Proven, Table::HalfOpen] {
            self.host.flows[table as usize].borrow_mut().values_mut().for_each(|flow| before(&mut flow.last_seen));
            self.host.replies[table as usize].borrow_mut().values_mut().for_each(|reply| before(&mut reply.last_seen));
        }
        let Some(kernel) = &mut self.kernel else { return };
        for (flows, replies) in [(map::FLOWS4, map::REPLIES4), (map::HALF_FLOWS4, map::HALF_REPLIES4)] {
            kernel.change::<FlowKey4, FlowEntry4>(flows, |flow| before(&mut flow.last_seen));
            kernel.change::<FlowKey4, ReplyEntry4>(replies, |reply| before(&mut reply.last_seen));
        }
    }

    /// Sets a word of the settings on both sides.
    pub(crate) fn set(&mut self, index: u32, word: u64) {
        self.host.settings[index as usize] = word;
        self.kernel.iter_mut().for_each(|kernel| kernel.set(index, word));
    }

    /// The flow tables of both sides are equal but for the times.
    pub(crate) fn assert_equal_state(&self) {
        let Some(kernel) = &self.kernel else { return };
        let tables =
            [(Table::Proven, map::FLOWS4, map::REPLIES4), (Table::HalfOpen, map::HALF_FLOWS4, map::HALF_REPLIES4)];
        for (table, flows, replies) in tables {
            assert_eq!(timeless_flows(kernel.flows(flows)), timeless_flows(self.flows(table)), "{flows}");
            assert_eq!(timeless_replies(kernel.replies(replies)), timeless_replies(self.replies(table)), "{replies}");
        }
        let timeless = |(key, entry)| (key, TrackedEntry { last_seen: 0, ..entry });
        let here: BTreeMap<FlowKey4, TrackedEntry> = self.host.tracked.borrow().iter().map(|(k, v)| (*k, *v)).collect();
        let (there, here) = (kernel.tracked().into_iter().map(timeless), here.into_iter().map(timeless));
        assert_eq!(there.collect::<BTreeMap<_, _>>(), here.collect(), "{}", map::TRACKED4);
        for id in 1..=16 {
            let host = self.host.service_stats.borrow().get(&id).copied().unwrap_or_default();
            assert_eq!(kernel.service_counters(id), host, "counters of service {id}");
        }
        assert_eq!(kernel.events(), *self.host.stats.borrow(), "events");
    }

    /// Forward entries of the host.
    pub(crate) fn flows(&self, table: Table) -> BTreeMap<FlowKey4, FlowEntry4> {
        self.host.flows[table as usize].borrow().iter().map(|(k, v)| (*k, *v)).collect()
    }

    /// Reply entries of the host.
    pub(crate) fn replies(&self, table: Table) -> BTreeMap<FlowKey4, ReplyEntry4> {
        self.host.replies[table as usize].borrow().iter().map(|(k, v)| (*k, *v)).collect()
    }
}

/// The frame without its 802.1Q tags.
fn untagged(frame: &[u8]) -> Vec<u8> {
    match frame.get(12..14) {
        Some([0x81, 0] | [0x88, 0xa8]) => untagged(&[&frame[..12], &frame[16..]].concat()),
        _ => frame.to_vec(),
    }
}

/// What the kernel's programs do by this verdict of the host.
pub(crate) fn outcome_of(hook: Hook, verdict: Verdict, is_changed: bool, devices: Devices) -> Outcome {
    match verdict {
        Verdict::Transmit(_) | Verdict::Answer if hook != Hook::Ingress => Outcome::Redirect,
        // tc leaves both to the stack by one code; what came out of a tunnel may pass, too
        Verdict::Pass | Verdict::Deliver if hook != Hook::Ingress && is_changed => Outcome::Deliver,
        Verdict::Pass => Outcome::Pass,
        Verdict::Deliver => Outcome::Deliver,
        // the policy rule that a mark is for takes what comes in by external interfaces alone
        Verdict::Front if hook == Hook::Tunnel => Outcome::Pass,
        Verdict::Front => Outcome::Front,
        Verdict::HandOver(_) => Outcome::HandOver,
        Verdict::Transmit(device) => Outcome::Transmit(device),
        Verdict::Answer => Outcome::Transmit(devices.first),
        Verdict::Drop(_) | Verdict::Refuse(_) => Outcome::Drop,
        Verdict::Dsr(_) | Verdict::Choose(_) | Verdict::Cookie(_) | Verdict::Tunnel => {
            unreachable!("these end within the pipeline")
        }
    }
}

fn timeless_flows(flows: BTreeMap<FlowKey4, FlowEntry4>) -> BTreeMap<FlowKey4, FlowEntry4> {
    flows.into_iter().map(|(key, entry)| (key, FlowEntry4 { last_seen: 0, ..entry })).collect()
}

fn timeless_replies(replies: BTreeMap<FlowKey4, ReplyEntry4>) -> BTreeMap<FlowKey4, ReplyEntry4> {
    replies.into_iter().map(|(key, entry)| (key, ReplyEntry4 { last_seen: 0, ..entry })).collect()
}

/// The clock of the flow tables.
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Bytes for an assertion message.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.chunks(4).map(|c| c.iter().map(|b| format!("{b:02x}")).collect::<String>()).collect::<Vec<_>>().join(" ")
}
