//! Host against kernel: tables and packets out of fuzz input through the host's pipeline and through the loaded programs.
//! Both must give the same verdict, the same bytes, the same flows and the same counts ([`crate::fixture`] compares).
//!
//! A bench lives in a network namespace, and that belongs to a thread: each family has its own, for all inputs. An input
//! begins with empty flow tables.

mod bench;

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

use arbitrary::{Result, Unstructured};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use self::bench::Sided;
use crate::fixture::{Bench, Hook};
use crate::packets::{self, Draft};
use crate::wire::{ICMP, ICMP6, SCTP, TCP, UDP};
use crate::world6::Bench6;

/// Most packets of one input.
const PACKETS: usize = 40;
/// Ports to play with: those of frontends, of backends, of leases and of clients.
const PORTS: &[u16] =
    &[80, 81, 82, 83, 84, 53, 5353, 7070, 8080, 443, 30_088, 15_000, 15_001, 40_000, 40_001, 90, 91, 92, 93, 5300];

pub(crate) fn run(data: &[u8]) {
    static WORKERS: OnceLock<[Worker; 2]> = OnceLock::new();
    let Some((family, input)) = data.split_first() else { return };
    let workers = WORKERS.get_or_init(|| [Worker::start::<Bench>(), Worker::start::<Bench6>()]);
    workers[usize::from(family & 1)].run(input);
}

/// A thread with a bench: inputs in, and for each a word when it has passed.
struct Worker(Mutex<(Sender<Vec<u8>>, Receiver<()>)>);

impl Worker {
    fn start<B: Sided>() -> Self {
        let (sender, inputs) = channel::<Vec<u8>>();
        let (passed, receiver) = channel();
        thread::spawn(move || {
            stay_on_this_cpu();
            let mut bench = B::start();
            bench::forget_namespace();
            for input in inputs {
                history(&mut bench, &input);
                if passed.send(()).is_err() {
                    break;
                }
            }
        });
        Self(Mutex::new((sender, receiver)))
    }

    /// Panics if the bench did, which has said why.
    fn run(&self, input: &[u8]) {
        let channels = self.0.lock().expect("an earlier input failed");
        channels.0.send(input.to_vec()).expect("an earlier input failed");
        channels.1.recv().expect("host and kernel do not agree");
    }
}

/// What a packet leaves for the next program is kept by CPU, and an input is to do the same each time.
fn stay_on_this_cpu() {
    let mut only = CpuSet::new();
    only.set(sched_getcpu());
    sched_setaffinity(None, &only).expect("a thread may stay where it is");
}

/// All packets of an input; the end of the input ends the history.
fn history<B: Sided>(bench: &mut B, input: &[u8]) {
    let u = &mut Unstructured::new(input);
    if bench.begin(u).is_err() {
        return;
    }
    for _ in 0..PACKETS {
        if packet(bench, u).is_err() {
            break;
        }
    }
    bench.end();
}

/// A packet of whatever kind: from a client, the reply of a backend, an ICMP error, or anything.
fn packet<B: Sided>(bench: &mut B, u: &mut Unstructured<'_>) -> Result<()> {
    let hook = *u.choose(&[Hook::Ingress, Hook::Ingress, Hook::Companion, Hook::Egress, Hook::Tunnel])?;
    let mut draft = match u.int_in_range(0..=9)? {
        0 | 1 => reply(bench, u)?,
        2 => error(bench, u)?,
        8 | 9 => tunnelled(bench, u)?,
        _ => between(bench, u)?.vary(u)?,
    };
    if B::SIX && hook != Hook::Ingress {
        draft.tags = 0; // what the companion does with tags the fixtures of IPv4 compare
    }
    let mut frame = packets::damage(u, draft.bytes())?;
    // the kernel's test runs take no frame without contents, and on tc none that is cut within the IP header
    let least = if hook == Hook::Ingress { 15 } else { 14 + 40 };
    frame.resize(frame.len().max(least), 0);
    bench.step(hook, &frame);
    Ok(())
}

fn between<B: Sided>(bench: &B, u: &mut Unstructured<'_>) -> Result<Draft> {
    let source = (bench.address(u.choose(B::SOURCES)?), *u.choose(PORTS)?);
    let destination = (bench.address(u.choose(B::TARGETS)?), *u.choose(PORTS)?);
    Ok(Draft::between(source, destination, *u.choose(&[TCP, TCP, TCP, UDP, SCTP, 47])?))
}

/// What a backend answers that was sent something.
fn reply<B: Sided>(bench: &B, u: &mut Unstructured<'_>) -> Result<Draft> {
    let waiting = bench.replies();
    if waiting.is_empty() {
        return between(bench, u);
    }
    let (source, destination, protocol) = *u.choose(&waiting)?;
    Draft::between(source, destination, protocol).vary(u)
}

/// A packet that another node sends on, or that somebody else has wrapped up.
fn tunnelled<B: Sided>(bench: &B, u: &mut Unstructured<'_>) -> Result<Draft> {
    let inner = if u.ratio(1, 4)? { error(bench, u)? } else { between(bench, u)?.vary(u)? };
    let (from, to) = (bench.address(u.choose(B::NODES)?), bench.address(u.choose(B::NODES)?));
    let again = u.arbitrary()?;
    Ok(Draft { again, ..Draft::tunnel(from, to, inner.datagram()) })
}

/// An ICMP error about a packet to a backend or about its reply, or an echo request.
fn error<B: Sided>(bench: &B, u: &mut Unstructured<'_>) -> Result<Draft> {
    let from = bench.address(u.choose(B::SOURCES)?);
    if u.ratio(1, 4)? {
        return about_tunnel(bench, from, u);
    }
    let about = reply(bench, u)?;
    let (source, destination) =
        if u.arbitrary()? { (about.source, about.destination) } else { (about.destination, about.source) };
    let quoted = Draft::between(source, destination, about.protocol).vary(u)?;
    let kind = *u.choose(&[(3, 4), (3, 1), (11, 0), (12, 0), (2, 0), (1, 4), (8, 0), (128, 0)])?;
    if matches!(kind, (8 | 128, 0)) {
        let vip = bench.address(u.choose(B::TARGETS)?);
        let word = u16::from_be_bytes([kind.0, kind.1]);
        return Ok(Draft::between((from, word), (vip, 0), if B::SIX { ICMP6 } else { ICMP }));
    }
    let length = u.int_in_range(20..=120)?;
    Ok(packets::error(from, quoted.source.0, kind, &quoted.datagram(), length))
}

/// What a router between the nodes says of a packet that this one has sent on: it is too big.
fn about_tunnel<B: Sided>(bench: &B, from: IpAddr, u: &mut Unstructured<'_>) -> Result<Draft> {
    let inner = between(bench, u)?.vary(u)?;
    let (own, other) = (bench.address(B::NODES[0]), bench.address(u.choose(B::NODES)?));
    let outer = Draft::tunnel(own, other, inner.datagram());
    let (kind, length) = (if B::SIX { (2, 0) } else { (3, 4) }, u.int_in_range(20..=160)?);
    Ok(packets::error(from, own, kind, &outer.datagram(), length))
}
