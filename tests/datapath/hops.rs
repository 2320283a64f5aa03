//! Next hops in the kernel's programs: remembered while the epoch stays, and asked for again in the next one.

use std::time::{Duration, Instant};

use lb_common::abi::setting;
use lb_common::hop::LIFE;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::fixture::{Bench, Outcome};
use crate::kernel::{Kernel, run};
use crate::packet::{SYN, tcp};
use crate::packet6::{Carries, packet6};
use crate::world::{self, NEXT_NODE};
use crate::world6::{self, Bench6};

/// Another hardware address of the next node, as `ip` takes it and as frames have it.
const OTHER: (&str, [u8; 6]) = ("02:00:00:00:00:99", [2, 0, 0, 0, 0, 0x99]);
const USUAL: &str = "02:00:00:00:00:12";
/// How often it is tried to get it all done before what was remembered ends by itself.
const TRIES: u64 = 200;

/// To which hardware address XDP sends a packet of a flow with source NAT.
fn sent_to(kernel: &mut Kernel, packet: &[u8]) -> [u8; 6] {
    let (outcome, frame) = kernel.xdp(packet);
    assert_eq!(outcome, Outcome::Transmit(kernel.devices.first));
    *frame.first_chunk().unwrap()
}

fn address(neighbour: &str, hardware: &str) {
    run(&format!("ip neigh replace {neighbour} lladdr {hardware} dev up0 nud permanent"));
}

fn holds_for_an_epoch(kernel: &mut Kernel, packet: &[u8], neighbour: &str) {
    // each CPU remembers for itself
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu());
    sched_setaffinity(None, &cpus).unwrap();
    sent_to(kernel, packet); // the first packet of the flow asks in another way
    for attempt in 1..=TRIES {
        kernel.set(setting::HOP_EPOCH, 2 * attempt);
        let start = Instant::now();
        assert_eq!(sent_to(kernel, packet), NEXT_NODE);
        address(neighbour, OTHER.0);
        let then = sent_to(kernel, packet);
        let in_time = start.elapsed() < Duration::from_nanos(LIFE) / 2;
        kernel.set(setting::HOP_EPOCH, 2 * attempt + 1);
        assert_eq!(sent_to(kernel, packet), OTHER.1, "the next epoch");
        address(neighbour, USUAL);
        if in_time {
            assert_eq!(then, NEXT_NODE, "the routing table was asked for a next hop that was remembered");
            return;
        }
    }
    panic!("{TRIES} times it took too long to change a neighbour");
}

#[test]
fn a_next_hop_holds_until_the_epoch_moves_on() {
    if let Some(kernel) = &mut Bench::new().kernel {
        let packet = tcp((world::CLIENT, 40_000), (world::VIP, 80), SYN);
        holds_for_an_epoch(kernel, &packet.bytes(), "10.10.0.12");
    }
    if let Some(kernel) = &mut Bench6::new().kernel {
        let packet = packet6(Carries::Tcp(SYN), (world6::CLIENT, 40_000), (world6::VIP, 81));
        holds_for_an_epoch(kernel, &packet.bytes(), "fe80::12");
    }
}
