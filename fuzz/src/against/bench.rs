//! The benches of the packet fixtures, as a fuzz target uses them: filled anew for each input.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use arbitrary::{Result, Unstructured};
use lb_common::abi::{
    FlowEntry4, FlowEntry6, FlowKey, FlowKey4, FlowKey6, FormerRing, FragmentEntry, FragmentKey4, FragmentKey6,
    ReplyEntry, ReplyEntry4, ReplyEntry6, TrackedEntry, map, setting,
};
use lb_common::host::Maps;
use lb_common::ip::Ip;
use lb_common::lookup::Table;

use crate::fixture::{Bench, Hook};
use crate::packets::Side;
use crate::world6::Bench6;
use crate::{world, world6};

/// Source, destination and protocol of a packet.
pub(super) type Tuple = ((IpAddr, u16), (IpAddr, u16), u8);

/// A bench of one family.
pub(super) trait Sided: Sized + 'static {
    /// It is that of IPv6.
    const SIX: bool;
    /// Where packets come from.
    const SOURCES: &'static [&'static str];
    /// Where they go.
    const TARGETS: &'static [&'static str];
    /// The services that forward by DSR.
    const DSR: RangeInclusive<u32>;
    /// Ends of tunnels: this node first, other nodes, and somebody who is none.
    const NODES: &'static [&'static str];

    /// Loads the programs; needs root.
    fn start() -> Self;

    /// Empty flow tables, and tables as the input has them.
    fn begin(&mut self, u: &mut Unstructured<'_>) -> Result<()>;

    /// One packet; panics if host and kernel differ.
    fn step(&mut self, hook: Hook, frame: &[u8]);

    /// Panics if flows or counters differ.
    fn end(&self);

    /// The packets of backends that would be replies now.
    fn replies(&self) -> Vec<Tuple>;

    /// An address of the world.
    fn address(&self, text: &str) -> IpAddr {
        text.parse().expect("the world's addresses are right")
    }
}

impl Sided for Bench {
    const SIX: bool = false;
    const SOURCES: &'static [&'static str] =
        &[world::CLIENT, world::CLIENT, world::LOCAL_POD, world::REMOTE_POD, world::FAR_POD, "10.244.2.21", "0.0.0.0"];
    const TARGETS: &'static [&'static str] = &[
        world::VIP,
        world::VIP,
        world::VIP2,
        world::CLUSTER_IP,
        world::NODE,
        world::FRONT,
        world::CLIENT,
        "198.51.100.1",
    ];
    const DSR: RangeInclusive<u32> = 11..=15;
    const NODES: &'static [&'static str] = &[world::NODE, world::NODE_2, world::NODE_3, world::CLIENT];

    fn start() -> Self {
        Bench::new()
    }

    fn begin(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let mut host = world::host(self.devices);
        vary(&mut host, Self::DSR, u)?;
        keep_counts(&mut host, &self.host);
        self.host = host;
        if let Some(kernel) = &mut self.kernel {
            for (flows, replies) in [(map::FLOWS4, map::REPLIES4), (map::HALF_FLOWS4, map::HALF_REPLIES4)] {
                kernel.empty::<FlowKey4, FlowEntry4>(flows);
                kernel.empty::<FlowKey4, ReplyEntry4>(replies);
            }
            kernel.empty::<FragmentKey4, FragmentEntry>(map::FRAGMENTS4);
            kernel.empty::<FlowKey4, TrackedEntry>(map::TRACKED4);
            kernel.fill(&self.host);
        }
        Ok(())
    }

    fn step(&mut self, hook: Hook, frame: &[u8]) {
        let _ = self.run(hook, frame); // agreement is all that is asked for
    }

    fn end(&self) {
        self.assert_equal_state();
    }

    fn replies(&self) -> Vec<Tuple> {
        tuples(&self.host)
    }
}

impl Sided for Bench6 {
    const SIX: bool = true;
    const SOURCES: &'static [&'static str] = &[
        world6::CLIENT,
        world6::CLIENT,
        world6::LOCAL_POD,
        world6::REMOTE_POD,
        world6::FAR_POD,
        "2001:db8::8",
        "ff02::1",
    ];
    const TARGETS: &'static [&'static str] =
        &[world6::VIP, world6::VIP, world6::NODE, world6::FRONT, world6::CLIENT, "2001:db8:9::1"];
    const DSR: RangeInclusive<u32> = 8..=10;
    const NODES: &'static [&'static str] = &[world6::NODE, world6::NODE_3, world6::CLIENT];

    fn start() -> Self {
        Bench6::new()
    }

    fn begin(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let mut host = world6::host(self.devices);
        vary(&mut host, Self::DSR, u)?;
        keep_counts(&mut host, &self.host);
        self.host = host;
        if let Some(kernel) = &mut self.kernel {
            for (flows, replies) in [(map::FLOWS6, map::REPLIES6), (map::HALF_FLOWS6, map::HALF_REPLIES6)] {
                kernel.empty::<FlowKey6, FlowEntry6>(flows);
                kernel.empty::<FlowKey6, ReplyEntry6>(replies);
            }
            kernel.empty::<FragmentKey6, FragmentEntry>(map::FRAGMENTS6);
            kernel.empty::<FlowKey6, TrackedEntry>(map::TRACKED6);
            kernel.fill_ipv6(&self.host);
        }
        Ok(())
    }

    fn step(&mut self, hook: Hook, frame: &[u8]) {
        let _ = self.run(hook, frame); // agreement is all that is asked for
    }

    fn end(&self) {
        self.assert_equal_state();
    }

    fn replies(&self) -> Vec<Tuple> {
        tuples(&self.host)
    }
}

/// Rings, backends and the range for source NAT that are not always the same.
fn vary<F: Ip>(maps: &mut Maps<F>, dsr: RangeInclusive<u32>, u: &mut Unstructured<'_>) -> Result<()> {
    let ids = maps.backends.len() as u32;
    for service in dsr {
        let former = if u.ratio(1, 3)? { former_ring(maps, u)? } else { FormerRing::default() };
        maps.former_rings.insert(service, former);
    }
    for _ in 0..u.int_in_range(0..=4)? {
        match u.int_in_range(0..=3)? {
            0 => {
                let slot = u.choose_index(maps.rings.len())?;
                maps.rings[slot] = u.int_in_range(0..=ids)?;
            }
            1 => {
                if let Some(backend) = maps.backends.get_mut(&u.int_in_range(1..=ids)?) {
                    backend.generation += u.int_in_range(0..=2)?;
                    backend.flags ^= u.int_in_range(0..=1)?;
                }
            }
            2 => {
                if let Some(backend) = maps.backends.get_mut(&u.int_in_range(1..=ids)?) {
                    backend.protocol = *u.choose(&[0, 6, 17, 132])?;
                }
            }
            _ => {
                let range = (15_000, u.int_in_range(15_000..=15_020)?);
                maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports(range, range);
            }
        }
    }
    Ok(())
}

/// The ring that a service had, by which packets go still or not any more.
fn former_ring<F: Ip>(maps: &mut Maps<F>, u: &mut Unstructured<'_>) -> Result<FormerRing> {
    let slots: Vec<u32> = (0..7).map(|_| u.int_in_range(0..=7)).collect::<Result<_>>()?;
    let until = *u.choose(&[u32::MAX / 4, 1, 0])?;
    Ok(FormerRing { ring: maps.add_ring(&slots).ring, until, changed: 1 })
}

/// The kernel counts on from input to input, and so does the host.
fn keep_counts<F: Ip>(new: &mut Maps<F>, old: &Maps<F>) {
    new.stats.swap(&old.stats);
    new.drops.swap(&old.drops);
    new.service_stats.swap(&old.service_stats);
    new.backend_stats.swap(&old.backend_stats);
    // and it finds the last packet's note
    new.note.swap(&old.note);
}

fn tuples<F: Side>(host: &Maps<F>) -> Vec<Tuple> {
    let tuple = |(key, _): (&FlowKey<F::Addr>, &ReplyEntry<F::Addr>)| {
        let source = (F::ip(key.source), key.source_port.host());
        (source, (F::ip(key.destination), key.destination_port.host()), key.protocol as u8)
    };
    let tables = [Table::HalfOpen, Table::Proven].map(|table| host.replies[table as usize].borrow());
    let mut tuples: Vec<_> = tables.iter().flat_map(|table| table.iter().map(tuple)).collect();
    tuples.sort_unstable(); // not as a hash map has them: an input is to do the same each time
    tuples
}

/// Takes the name from the namespace of this thread, which keeps it: a fuzzer ends at any time, and nobody would sweep it.
pub(super) fn forget_namespace() {
    let own = format!("aya-test-{}-", std::process::id());
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&own) {
            let _ = rustix::mount::unmount(entry.path(), rustix::mount::UnmountFlags::DETACH);
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
