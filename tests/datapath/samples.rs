//! Samples: dropped packets always, within a budget; forwarded ones as long as somebody wants them.

use lb_common::abi::{SampleHead, hook, program, setting};
use lb_common::conntrack::ticks;
use lb_common::drop_reason::DropReason;
use lb_common::limits::{DROP_SAMPLES, DROP_SNAP};
use lb_common::sample::Capture;

use crate::fixture::{hex, monotonic_ns};
use crate::kernel::{self, Kernel};
use crate::packet::{SYN, tcp};
use crate::world::{self, CLIENT, VIP};

fn kernel() -> Option<Kernel> {
    kernel::available().then(|| Kernel::new(world::host))
}

/// A packet for a service whose backend has no route.
fn hopeless(payload: usize) -> Vec<u8> {
    tcp((CLIENT, 40_000), (VIP, 84), SYN).payload(&vec![7; payload]).bytes()
}

fn capture(kernel: &mut Kernel, capture: Capture, for_ticks: i64) {
    let until = i64::from(ticks(monotonic_ns())) + for_ticks;
    kernel.set(setting::CAPTURE_UNTIL, until as u64);
    kernel.set(setting::CAPTURE, capture.word());
}

#[test]
fn a_dropped_packet_is_sampled_with_its_headers() {
    let Some(mut kernel) = kernel() else { return };
    let long = hopeless(400);
    for (by_xdp, place) in [(true, hook::XDP), (false, hook::TC_INGRESS)] {
        if by_xdp {
            kernel.xdp(&long);
        } else {
            kernel.tc(program::TC_INGRESS, &long);
        }
        let samples = kernel.samples();
        let [(head, bytes)] = samples.as_slice() else { panic!("{samples:?}") };
        let expected = SampleHead {
            time: head.time,
            device: kernel.devices.first,
            hook: place,
            reason: DropReason::NoRoute as u32,
            length: long.len() as u32,
            captured: DROP_SNAP,
            ..SampleHead::default()
        };
        assert_eq!(*head, expected);
        // our own clock is the coarse one
        assert!(head.time > 0 && head.time <= monotonic_ns() + 1_000_000_000);
        assert_eq!(hex(bytes), hex(&long[..DROP_SNAP as usize]));
    }
    let short = hopeless(0);
    kernel.xdp(&short);
    assert_eq!(hex(&kernel.samples()[0].1), hex(&short), "a short packet is sampled whole");
}

#[test]
fn a_flood_of_drops_leaves_few_samples_of_each_reason() {
    let Some(mut kernel) = kernel() else { return };
    let start = ticks(monotonic_ns());
    for _ in 0..200 {
        kernel.xdp(&hopeless(0));
        kernel.xdp(&tcp((CLIENT, 40_000), (VIP, 7070), 0).bytes());
    }
    let windows = (ticks(monotonic_ns()) - start + 1) * kernel::cpus();
    let samples = kernel.samples();
    for reason in [DropReason::NoRoute, DropReason::BadTcpFlags] {
        let count = samples.iter().filter(|(head, _)| head.reason == reason as u32).count() as u32;
        assert!(count >= DROP_SAMPLES && count <= DROP_SAMPLES * windows, "{count} of {reason:?}, {windows} windows");
    }
    assert_eq!(kernel.drops()[&DropReason::NoRoute], 200, "counters count all");
}

#[test]
fn a_service_is_captured_as_long_as_somebody_wants_it() {
    let Some(mut kernel) = kernel() else { return };
    let wanted = Capture { service: 1, snap: 60, rate: 100, drops: false };
    let local = tcp((CLIENT, 40_000), (VIP, 7070), SYN).payload(&[7; 100]).bytes();
    let other = tcp((CLIENT, 40_000), (VIP, 80), SYN).bytes();
    kernel.xdp(&local);
    assert!(kernel.samples().is_empty(), "off unless it is asked for");
    capture(&mut kernel, wanted, 60);
    let (outcome, out) = kernel.xdp(&local);
    assert_eq!(outcome, crate::fixture::Outcome::Deliver, "the packet goes its way");
    kernel.xdp(&other);
    let samples = kernel.samples();
    let [(head, bytes)] = samples.as_slice() else { panic!("{samples:?}") };
    assert_eq!((head.reason, head.service, head.backend, head.captured), (0, 1, 1, 60));
    assert_eq!(hex(bytes), hex(&out[..60]), "as it goes on");
    capture(&mut kernel, wanted, -1);
    kernel.xdp(&local);
    assert!(kernel.samples().is_empty(), "nobody has asked for it lately");
    capture(&mut kernel, Capture { rate: 3, ..wanted }, 60);
    let start = ticks(monotonic_ns());
    for _ in 0..50 {
        kernel.xdp(&local);
    }
    let windows = ((ticks(monotonic_ns()) - start + 1) * kernel::cpus()) as usize;
    let count = kernel.samples().len();
    // the first sample may have been in the same tick
    assert!((2..=3 * windows).contains(&count), "{count} in {windows} windows");
}

#[test]
fn dropped_packets_are_captured_whole() {
    let Some(mut kernel) = kernel() else { return };
    capture(&mut kernel, Capture { service: 0, snap: 1_000, rate: 100, drops: true }, 60);
    for _ in 0..DROP_SAMPLES * 4 {
        kernel.xdp(&hopeless(400));
    }
    let samples = kernel.samples();
    assert_eq!(samples.len(), DROP_SAMPLES as usize * 4, "more than without");
    assert!(samples.iter().all(|(_, bytes)| hex(bytes) == hex(&hopeless(400))));
}
