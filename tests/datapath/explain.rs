//! `weir explain` against the programs: what it says of a packet is what the kernel then does with it, a thousand times and
//! more, and it changes nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use lb_common::abi::{BackendEntry4, BackendEntry6, FlowEntry6, FlowKey6, ReplyEntry6, map, program};
use lb_common::drop_reason::DropReason;
use lb_common::verdict::{Verdict, refused};
use lb_userspace::dataplane::explain::{Explainer, Explanation, Probe};

use crate::fixture::{Bench, Outcome, hex};
use crate::kernel::{self, Kernel};
use crate::packet::{ACK, SYN};
use crate::random::{Random, packet};
use crate::world::{CLIENT, Devices, FRONT, LOCAL_POD, NODE, REMOTE_POD, VIP, VIP2};

mod v6;

/// How many tuples, and how many frames of every kind.
const CASES: u32 = 1_000;
const FRAMES: u32 = 2_000;

/// Pins of the loaded programs and maps, gone when dropped.
struct Pinned(PathBuf);

impl Pinned {
    fn new(kernel: &mut Kernel) -> Self {
        // tests of one process run side by side
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = PathBuf::from(format!("/sys/fs/bpf/weir-explain-{}-{number}", std::process::id()));
        // what a run of the same number left behind
        let _ = std::fs::remove_dir_all(&root);
        kernel.pin(&root);
        Self(root)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the kernel does with a frame: by XDP, and by the companion where XDP hands over.
fn done(kernel: &mut Kernel, frame: &[u8]) -> (Outcome, Vec<u8>) {
    match kernel.xdp(frame) {
        (Outcome::HandOver | Outcome::Pass, untouched) => {
            assert_eq!(hex(&untouched), hex(frame), "handed over untouched");
            kernel.tc(program::TC_INGRESS, frame)
        }
        done => done,
    }
}

/// What was explained, in the same words.
fn outcome(told: &Explanation, frame: &[u8], devices: Devices) -> Outcome {
    let handed_over = told.seen.contains(&lb_userspace::dataplane::explain::Seen::HandedOver);
    match told.verdict {
        Verdict::Transmit(_) if handed_over => Outcome::Redirect,
        Verdict::Transmit(device) => Outcome::Transmit(device),
        Verdict::Answer => Outcome::Transmit(devices.first),
        Verdict::Pass => Outcome::Pass,
        Verdict::Deliver => Outcome::Deliver,
        Verdict::Front => Outcome::Front,
        Verdict::Drop(_) | Verdict::Refuse(_) => Outcome::Drop,
        Verdict::Dsr(_) | Verdict::Choose(_) | Verdict::Cookie(_) | Verdict::Tunnel => {
            unreachable!("these end within the pipeline")
        }
        Verdict::HandOver(task) => panic!("explained as handed over ({task:?}): {}", hex(frame)),
    }
}

/// Explains a frame, then lets the kernel have it, and compares. Every so often it also looks whether explaining changed
/// anything, which takes long.
fn compare(kernel: &mut Kernel, explainer: &Explainer, frame: &[u8], number: u32) -> Explanation {
    let devices = kernel.devices;
    let drops = kernel.drops();
    let before = number.is_multiple_of(32).then(|| state(kernel));
    let told = explainer.frame(devices.first, frame).unwrap();
    assert!(before.is_none_or(|before| state(kernel) == before), "explaining wrote into the maps: {}", hex(frame));
    assert_eq!(kernel.drops(), drops, "explaining counts nothing");
    let (outcome_there, bytes) = done(kernel, frame);
    let dropped = match told.verdict {
        Verdict::Drop(reason) => Some(reason),
        Verdict::Refuse(why) => Some(refused(why).0),
        _ => None,
    };
    // a refused packet becomes an error to its sender, if it may have one and not too many were sent lately
    if !matches!(told.verdict, Verdict::Refuse(_)) || outcome_there == Outcome::Drop {
        assert_eq!(outcome(&told, frame, devices), outcome_there, "{told:?}: {}", hex(frame));
    }
    if let Some(reason) = dropped {
        let now: BTreeMap<DropReason, u64> = kernel.drops();
        assert_eq!(now[&reason], drops.get(&reason).copied().unwrap_or(0) + 1, "{reason:?}: {}", hex(frame));
    } else if outcome_there != Outcome::Redirect {
        // the companion takes tags off what it redirects
        assert_eq!(hex(&told.bytes), hex(&bytes), "explained (left) and done (right): {}", hex(frame));
    }
    assert_backend(kernel, &told, &bytes);
    told
}

/// The backend that was named is the one that the packet now goes to.
fn assert_backend(kernel: &Kernel, told: &Explanation, bytes: &[u8]) {
    let Some(backend) = told.backend else { return };
    let (entry, place): (SocketAddr, std::ops::Range<usize>) = if backend.at.is_ipv4() {
        let entry: BackendEntry4 = kernel.backend(map::BACKENDS4, backend.id);
        ((entry.address.bytes(), entry.port.host()).into(), 30..34)
    } else {
        let entry: BackendEntry6 = kernel.backend(map::BACKENDS6, backend.id);
        ((entry.address.bytes(), entry.port.host()).into(), 38..54)
    };
    assert_eq!(backend.at, entry);
    let untagged = matches!(bytes.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]));
    if untagged && is_tunnelled(bytes) {
        assert!(matches!(told.verdict, Verdict::Transmit(_)), "{told:?}");
        let node = told.tunnel.map(|(_, node)| match node {
            IpAddr::V4(node) => node.octets().to_vec(),
            IpAddr::V6(node) => node.octets().to_vec(),
        });
        assert_eq!(node.as_deref(), bytes.get(place), "the tunnel leads to another node");
        return; // it is for the backend's node
    }
    if matches!(told.verdict, Verdict::Deliver | Verdict::Transmit(_)) && untagged {
        let octets = match entry.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        assert_eq!(bytes[place], octets, "{told:?}");
    }
}

/// The packet has an outer header.
fn is_tunnelled(bytes: &[u8]) -> bool {
    match bytes.get(12..14) {
        Some([0x08, 0x00]) => bytes.get(23) == Some(&4),
        Some([0x86, 0xdd]) => bytes.get(20) == Some(&41),
        _ => false,
    }
}

/// The verdict in one word; a packet in a tunnel has one of its own, and goes to a backend that is named.
fn word_of(told: &Explanation) -> String {
    assert_eq!(told.tunnel.is_some(), is_tunnelled(&told.bytes), "{told:?}");
    assert!(told.tunnel.is_none() || told.backend.is_some(), "{told:?}");
    if told.tunnel.is_some() { "Tunnel".to_owned() } else { word(told) }
}

/// The verdict in one word.
fn word(told: &Explanation) -> String {
    format!("{:?}", told.verdict).split('(').next().unwrap_or_default().to_owned()
}

/// Each of these verdicts came often enough to have been tried.
fn expect_each(outcomes: &BTreeMap<String, u32>, words: &[&str], least: u32) {
    for word in words {
        assert!(outcomes.get(*word).copied().unwrap_or(0) >= least, "{word} hardly ever came: {outcomes:?}");
    }
}

/// All that a packet may change.
fn state(kernel: &Kernel) -> impl PartialEq + use<> {
    let flows = [map::FLOWS4, map::HALF_FLOWS4].map(|name| kernel.flows(name));
    let replies = [map::REPLIES4, map::HALF_REPLIES4].map(|name| kernel.replies(name));
    let flows6 = [map::FLOWS6, map::HALF_FLOWS6].map(|name| kernel.entries::<FlowKey6, FlowEntry6>(name));
    let replies6 = [map::REPLIES6, map::HALF_REPLIES6].map(|name| kernel.entries::<FlowKey6, ReplyEntry6>(name));
    (flows, replies, flows6, replies6, kernel.events())
}

fn bench() -> Option<(Bench, Pinned)> {
    if !kernel::available() {
        return None;
    }
    let mut bench = Bench::new();
    let pinned = Pinned::new(bench.kernel.as_mut().unwrap());
    Some((bench, pinned))
}

#[test]
fn a_thousand_tuples_fare_as_explained() {
    const FROM: &[&str] = &[
        CLIENT,
        CLIENT,
        CLIENT,
        "192.0.2.8",
        "198.51.100.7",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        REMOTE_POD,
        LOCAL_POD,
    ];
    /// Most of the world's frontends.
    const KNOWN: &[(&str, u16, u8)] = &[
        (VIP, 7070, 6),
        (VIP2, 7070, 6),
        (NODE, 30_088, 6),
        (VIP, 53, 17),
        (VIP, 80, 6),
        (VIP, 81, 6),
        (VIP, 82, 6),
        (VIP, 83, 6),
        (VIP, 84, 6),
        (VIP, 5353, 17),
        (FRONT, 80, 6),
        (NODE, 31_188, 6),
        (VIP, 15_001, 6),
        (FRONT, 443, 6),
        (VIP, 90, 6),
        (VIP, 5300, 17),
        (VIP, 91, 6),
        (VIP, 92, 6),
        (VIP, 93, 6),
    ];
    const TO: &[&str] = &[VIP, VIP2, NODE, FRONT, "198.51.100.1", LOCAL_POD];
    const PORTS: &[u16] = &[80, 53, 7070, 443, 30_088, 31_188, 15_001, 9];
    let Some((mut bench, pinned)) = bench() else { return };
    let explainer = Explainer::open(pinned.path()).unwrap();
    let mut random = Random(0xc0ffee);
    let mut outcomes = BTreeMap::<String, u32>::new();
    let mut backends = BTreeMap::<u32, u32>::new();
    for number in 0..CASES {
        let unknown = (random.of(TO), random.of(PORTS), random.of(&[6, 17]));
        let (to, port, protocol) = if random.below(4) == 0 { unknown } else { random.of(KNOWN) };
        let from = format!("{}:{}", random.of(FROM), 40_000 + random.below(60)).parse().unwrap();
        let to = format!("{to}:{port}").parse().unwrap();
        let probe = Probe::new(protocol, from, to).unwrap();
        let by_tuple = explainer.probe(&probe, Some("up0")).unwrap();
        let frame = probe.frame(crate::world::mac(crate::packet::UPLINK));
        let told = compare(bench.kernel.as_mut().unwrap(), &explainer, &frame, number);
        assert_eq!(told, by_tuple, "{probe:?}");
        *outcomes.entry(word_of(&told)).or_default() += 1;
        if told.seen.contains(&lb_userspace::dataplane::explain::Seen::HandedOver) {
            *outcomes.entry("to tc".to_owned()).or_default() += 1;
        }
        if let Some(backend) = told.backend {
            *backends.entry(backend.id).or_default() += 1;
        }
    }
    expect_each(&outcomes, &["Pass", "Deliver", "Transmit", "Front", "Drop", "Tunnel", "to tc"], 20);
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
        let (hook, bytes) = packet(&mut random, crate::fixture::Hook::Ingress, &replies);
        if hook != crate::fixture::Hook::Ingress {
            continue;
        }
        let told = compare(bench.kernel.as_mut().unwrap(), &explainer, &bytes, round);
        *outcomes.entry(word(&told)).or_default() += 1;
        if round % 100 == 0 {
            let kernel = bench.kernel.as_ref().unwrap();
            replies = [map::REPLIES4, map::HALF_REPLIES4].into_iter().flat_map(|name| kernel.replies(name)).collect();
        }
    }
    expect_each(&outcomes, &["Pass", "Deliver", "Transmit", "Front", "Drop"], 5);
}

/// A flow that exists is told as such, and keeps its backend.
#[test]
fn known_flows_are_told() {
    let Some((mut bench, pinned)) = bench() else { return };
    let explainer = Explainer::open(pinned.path()).unwrap();
    for flags in [SYN, ACK, ACK] {
        let frame = crate::packet::tcp((CLIENT, 40_000), (VIP, 7070), flags).bytes();
        let told = compare(bench.kernel.as_mut().unwrap(), &explainer, &frame, 0);
        assert_eq!(told.backend.map(|backend| (backend.id, backend.local)), Some((1, true)));
    }
    let probe =
        Probe::new(6, format!("{CLIENT}:40000").parse().unwrap(), format!("{VIP}:7070").parse().unwrap()).unwrap();
    let told = explainer.probe(&probe, Some("up0")).unwrap();
    let known = |seen: &lb_userspace::dataplane::explain::Seen| {
        matches!(seen, lb_userspace::dataplane::explain::Seen::Flow { entry: Some((_, 1)), .. })
    };
    assert!(told.seen.iter().any(known), "{:?}", told.seen);
}
