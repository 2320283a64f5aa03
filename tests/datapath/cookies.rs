//! SYN cookies of the front: the kernel's own, so that the host's half is told them.

use std::net::TcpListener;

use lb_common::abi::{FrontendKey4, Stat, frontend_flag};
use lb_common::addr::V4;
use lb_common::be::Be16;
use lb_common::cookie::Known;
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::Ethernet;
use lb_common::host::{Bytes, Maps};
use lb_common::pipeline;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Outcome, hex};
use crate::packet::{ACK, Builder, SYN, SYN_ACK, tcp};
use crate::packet6::{Carries, packet6};
use crate::world::{self, CLIENT, Devices, FRONT, address};
use crate::world6::{self, Bench6};

/// Where the TCP header begins, behind Ethernet and IPv4.
const TCP: usize = 14 + 20;
/// MSS 1,460, SACK permitted, a time stamp, window scale 7: what a client of Linux begins with.
const OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

/// The tables of [`world`], with cookies for the front.
fn tables(devices: Devices) -> Maps<V4> {
    let mut maps = world::host(devices);
    let key = FrontendKey4 { address: address(FRONT), port: Be16::new(80), protocol: 6, fill: [] };
    maps.frontends.get_mut(&key).expect("the front is there").flags |= frontend_flag::COOKIES;
    maps
}

fn run(command: &str) {
    let status = std::process::Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// A first segment with options.
fn first() -> Vec<u8> {
    let mut bytes = tcp((CLIENT, 40_000), (FRONT, 80), SYN).payload(&OPTIONS).bytes();
    bytes[TCP + 12] = 10 << 4;
    bytes
}

/// The segment that acknowledges a number.
fn acknowledging(number: u32) -> Vec<u8> {
    behind_the_first(number, b"")
}

/// The same with data.
fn saying(number: u32) -> Vec<u8> {
    behind_the_first(number, b"hello")
}

fn behind_the_first(number: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = tcp((CLIENT, 40_000), (FRONT, 80), ACK).payload(data).bytes();
    let sequence = word(&first(), TCP + 4).wrapping_add(1);
    bytes[TCP + 4..TCP + 8].copy_from_slice(&sequence.to_be_bytes());
    bytes[TCP + 8..TCP + 12].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The sum over a segment with its pseudo header (RFC 9293, section 3.1), as a receiver makes it.
fn sum(frame: &[u8]) -> u16 {
    let segment = &frame[TCP..];
    let pseudo = [&frame[26..34], &[0, 6], &(segment.len() as u16).to_be_bytes(), segment].concat();
    let mut sum: u32 =
        pseudo.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What the host makes of a packet by way of XDP or of the companion.
fn on_host(bench: &mut Bench, resolves: bool, packet: &[u8]) -> (Verdict, Vec<u8>) {
    let mut bytes = Bytes(packet.to_vec());
    (bench.host.resolves, bench.host.ingress) = (resolves, bench.devices.first);
    bench.host.now.set(lb_common::conntrack::ticks(crate::fixture::monotonic_ns()));
    (pipeline::ingress(&mut bytes, &bench.host), bytes.0)
}

/// The answer of the host to [`first`] with a cookie, in all its fields.
fn assert_answer(frame: &[u8], cookie: u32, mss: u16) {
    let [high, low] = mss.to_be_bytes();
    assert_eq!(word(frame, TCP), (80 << 16) | 40_000, "ports");
    assert_eq!((word(frame, TCP + 4), word(frame, TCP + 8)), (cookie, word(&first(), TCP + 4) + 1));
    assert_eq!(frame[TCP + 12..TCP + 14], [6 << 4, SYN_ACK]);
    assert_eq!(frame[TCP + 14..TCP + 16], (10 * mss).to_be_bytes(), "a first window");
    assert_eq!(frame[TCP + 20..], [2, 4, high, low], "an MSS, and nothing that nobody would remember");
    assert_eq!((sum(frame), Ethernet::parse(&Bytes(frame.to_vec())).is_ok()), (0xffff, true), "{}", hex(frame));
}

#[test]
fn while_the_listener_is_full_first_segments_are_answered_and_only_what_fits_them_gets_through() {
    let mut bench = Bench::with(tables);
    assert_eq!(on_host(&mut bench, false, &first()).0, Verdict::Front, "the listener has room");
    assert_eq!(on_host(&mut bench, false, &acknowledging(1)).0, Verdict::Front, "there were no cookies");
    let Some(mut kernel) = bench.kernel.take() else { return in_model(&mut bench) };
    // both ways, and the outcome that the answer is there
    for (companion, answered) in [(false, Outcome::Transmit(bench.devices.first)), (true, Outcome::Redirect)] {
        let mut ask = |packet: &[u8]| match companion {
            false => kernel.xdp(packet),
            true => kernel.tc(lb_common::abi::program::TC_INGRESS, packet),
        };
        let _listener = (!companion).then(|| {
            run(&format!("ip address add {FRONT}/32 dev lo"));
            TcpListener::bind((FRONT, 80)).unwrap()
        });
        let _held = companion.then(|| TcpListener::bind((FRONT, 80)).unwrap());
        if !companion {
            assert_eq!(ask(&first()).0, Outcome::Front, "the listener has room");
            assert_eq!(ask(&acknowledging(1)).0, Outcome::Front, "there were no cookies");
        }
        // stands for a full queue: the kernel makes cookies whatever room there is
        std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").unwrap();
        let (outcome, out) = ask(&first());
        assert_eq!(outcome, answered);
        let (cookie, mss) = (word(&out, TCP + 4), u16::from_be_bytes([out[out.len() - 2], out[out.len() - 1]]));
        assert_answer(&out, cookie, mss);
        bench.host.cookie = Box::new(move |_| Some((cookie, mss)));
        let (verdict, bytes) = on_host(&mut bench, companion, &first());
        assert_eq!((verdict, hex(&bytes)), (Verdict::Answer, hex(&out)), "host (left) and kernel (right)");
        let good = ask(&acknowledging(cookie.wrapping_add(1)));
        assert_eq!(good, (Outcome::Front, acknowledging(cookie.wrapping_add(1))));
        assert_eq!(ask(&acknowledging(cookie.wrapping_add(77))).0, Outcome::Drop);
        assert_eq!(ask(&saying(cookie.wrapping_add(77))).0, Outcome::Front, "its beginning may be before it");
        std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "1").unwrap();
        assert_eq!(ask(&first()).0, Outcome::Front, "there is room again");
    }
    assert_eq!(kernel.drops()[&DropReason::BadSynCookie], 2);
    let counted = [Stat::CookiesSent, Stat::CookiesTaken].map(|stat| kernel.events()[stat as usize]);
    assert_eq!(counted, [2, 2]);
    in_model(&mut bench);
}

/// The same for IPv6: with the only cookies that its kernel makes, and the bytes that the host makes with them.
#[test]
fn of_ipv6_alike() {
    const TCP6: usize = 14 + 40;
    let mut bench = Bench6::with(|devices| {
        let mut maps = world6::host(devices);
        let frontend = maps.frontends.get_mut(&world6::key(world6::FRONT, 80, 6)).expect("the front is there");
        frontend.flags |= frontend_flag::COOKIES;
        maps
    });
    let Some(mut kernel) = bench.kernel.take() else { return };
    let segment = |flags| packet6(Carries::Tcp(flags), (world6::CLIENT, 40_000), (world6::FRONT, 80));
    run(&format!("ip address add {}/128 dev lo nodad", world6::FRONT));
    let _listener = TcpListener::bind((world6::FRONT, 80)).unwrap();
    std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").unwrap();
    let mut first = segment(SYN).payload(&OPTIONS).bytes();
    first[TCP6 + 12] = 10 << 4;
    for companion in [false, true] {
        let mut ask = |packet: &[u8]| match companion {
            false => kernel.xdp(packet),
            true => kernel.tc(lb_common::abi::program::TC_INGRESS, packet),
        };
        let (_, out) = ask(&first);
        let (cookie, mss) = (word(&out, TCP6 + 4), u16::from_be_bytes([out[out.len() - 2], out[out.len() - 1]]));
        assert!(mss >= 536, "{}", hex(&out));
        bench.host.cookie = Box::new(move |_| Some((cookie, mss)));
        (bench.host.resolves, bench.host.ingress) = (companion, bench.devices.first);
        let mut bytes = Bytes(first.clone());
        assert_eq!(pipeline::ingress(&mut bytes, &bench.host), Verdict::Answer);
        assert_eq!(hex(&bytes.0), hex(&out), "host (left) and kernel (right)");
        for (offset, outcome) in [(1, Outcome::Front), (77, Outcome::Drop)] {
            let mut answer = segment(ACK).payload(b"").bytes();
            answer[TCP6 + 4..TCP6 + 8].copy_from_slice(&(word(&first, TCP6 + 4) + 1).to_be_bytes());
            answer[TCP6 + 8..TCP6 + 12].copy_from_slice(&cookie.wrapping_add(offset).to_be_bytes());
            assert_eq!(ask(&answer).0, outcome, "{offset} behind the cookie");
        }
    }
}

/// The same on the host alone.
fn in_model(bench: &mut Bench) {
    bench.host.cookie = Box::new(|headers| (headers.length == 24).then_some((7_000, 1_460)));
    let (verdict, bytes) = on_host(bench, false, &first());
    assert_eq!(verdict, Verdict::Answer);
    assert_answer(&bytes, 7_000, 1_460);
    bench.host.known = Box::new(|headers| match u32::from_be(headers.transport[2]) {
        7_001 => Known::Cookie,
        1 => Known::Connected,
        _ => Known::Stranger,
    });
    let mut verdict = |number| on_host(bench, false, &acknowledging(number)).0;
    assert_eq!([7_001, 1].map(&mut verdict), [Verdict::Front; 2]);
    assert_eq!(verdict(7_777), Verdict::Drop(DropReason::BadSynCookie));
    assert_eq!(on_host(bench, false, &saying(7_777)).0, Verdict::Front, "its beginning may be before it");
    // what cannot be meant for a listener of this node is not answered
    let plain = |packet: Builder| packet.payload(&OPTIONS).bytes();
    let bare = tcp((CLIENT, 40_000), (FRONT, 80), SYN).payload(b"").bytes();
    bench.host.cookie = Box::new(|headers| (headers.length == 20).then_some((9, 536)));
    let (verdict, bytes) = on_host(bench, false, &bare);
    assert_eq!((verdict, bytes.len(), bytes[TCP + 12]), (Verdict::Answer, bare.len(), 5 << 4), "no room for an MSS");
    assert_eq!(sum(&bytes), 0xffff);
    for stranger in ["255.255.255.255", FRONT, "224.0.0.1"] {
        let forged = plain(tcp((stranger, 40_000), (FRONT, 80), SYN));
        assert_ne!(on_host(bench, false, &forged).0, Verdict::Answer, "{stranger}");
    }
}
