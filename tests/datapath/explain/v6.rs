//! The same for IPv6.

use super::*;
use crate::packet6::{Carries, packet6};
use crate::world6::{self, Bench6};

fn bench() -> Option<(Bench6, Pinned)> {
    if !kernel::available() {
        return None;
    }
    let mut bench = Bench6::new();
    let pinned = Pinned::new(bench.kernel.as_mut().unwrap());
    Some((bench, pinned))
}

#[test]
fn a_thousand_tuples_fare_as_explained() {
    use world6::{CLIENT, FAR_POD, FRONT, LOCAL_POD, NODE, REMOTE_POD, VIP};
    const FROM: &[&str] = &[CLIENT, CLIENT, CLIENT, "2001:db8::8", "::1", "ff02::1", "::", REMOTE_POD, LOCAL_POD];
    /// The world's frontends.
    const KNOWN: &[(&str, u16, u8)] = &[
        (VIP, 80, 6),
        (VIP, 81, 6),
        (VIP, 82, 6),
        (VIP, 83, 6),
        (VIP, 53, 17),
        (VIP, 5353, 17),
        (NODE, 30_088, 6),
        (FRONT, 80, 6),
        (VIP, 90, 6),
        (VIP, 5300, 17),
        (VIP, 91, 6),
    ];
    const TO: &[&str] = &[VIP, NODE, FRONT, "2001:db8:9::1", LOCAL_POD, FAR_POD];
    const PORTS: &[u16] = &[80, 53, 81, 82, 83, 30_088, 15_001, 9];
    let Some((mut bench, pinned)) = bench() else { return };
    let explainer = Explainer::open(pinned.path()).unwrap();
    let mut random = Random(0xc0ffee);
    let mut outcomes = BTreeMap::<String, u32>::new();
    let mut backends = BTreeMap::<u32, u32>::new();
    for number in 0..CASES {
        let unknown = (random.of(TO), random.of(PORTS), random.of(&[6, 17]));
        let (to, port, protocol) = if random.below(4) == 0 { unknown } else { random.of(KNOWN) };
        let from = format!("[{}]:{}", random.of(FROM), 40_000 + random.below(60)).parse().unwrap();
        let to = format!("[{to}]:{port}").parse().unwrap();
        let probe = Probe::new(protocol, from, to).unwrap();
        let by_tuple = explainer.probe(&probe, Some("up0")).unwrap();
        let frame = probe.frame(crate::world::mac(crate::packet::UPLINK));
        let told = compare(bench.kernel.as_mut().unwrap(), &explainer, &frame, number);
        assert_eq!(told, by_tuple, "{probe:?}");
        *outcomes.entry(word_of(&told)).or_default() += 1;
        if let Some(backend) = told.backend {
            *backends.entry(backend.id).or_default() += 1;
        }
    }
    expect_each(&outcomes, &["Pass", "Deliver", "Transmit", "Drop", "Tunnel"], 20);
    assert!(backends.len() >= 5, "{backends:?}");
}

#[test]
fn frames_of_every_kind_fare_as_explained() {
    let Some((mut bench, pinned)) = bench() else { return };
    let explainer = Explainer::open(pinned.path()).unwrap();
    let mut random = Random(0xf00d);
    let mut outcomes = BTreeMap::<String, u32>::new();
    let mut replies = Vec::new();
    for round in 0..FRAMES {
        let (hook, bytes) = crate::v6::random::packet(&mut random, crate::fixture::Hook::Ingress, &replies);
        if hook != crate::fixture::Hook::Ingress {
            continue;
        }
        let kernel = bench.kernel.as_mut().unwrap();
        let told = compare(kernel, &explainer, &bytes, round);
        *outcomes.entry(word(&told)).or_default() += 1;
        if round % 100 == 0 {
            let tables = [map::REPLIES6, map::HALF_REPLIES6];
            replies = tables.into_iter().flat_map(|name| kernel.entries::<FlowKey6, ReplyEntry6>(name)).collect();
        }
    }
    expect_each(&outcomes, &["Pass", "Deliver", "Transmit", "Answer", "Drop"], 5);
}

/// A flow that exists is told as such, and keeps its backend.
#[test]
fn known_flows_are_told() {
    let Some((mut bench, pinned)) = bench() else { return };
    let explainer = Explainer::open(pinned.path()).unwrap();
    for flags in [SYN, ACK, ACK] {
        let frame = packet6(Carries::Tcp(flags), (world6::CLIENT, 40_000), (world6::VIP, 80)).bytes();
        let told = compare(bench.kernel.as_mut().unwrap(), &explainer, &frame, 0);
        assert_eq!(told.backend.map(|backend| (backend.id, backend.local)), Some((1, true)));
    }
    let from = format!("[{}]:40000", world6::CLIENT).parse().unwrap();
    let probe = Probe::new(6, from, format!("[{}]:80", world6::VIP).parse().unwrap()).unwrap();
    let told = explainer.probe(&probe, Some("up0")).unwrap();
    let known = |seen: &lb_userspace::dataplane::explain::Seen| {
        matches!(seen, lb_userspace::dataplane::explain::Seen::Flow { entry: Some((_, 1)), .. })
    };
    assert!(told.seen.iter().any(known), "{:?}", told.seen);
}
