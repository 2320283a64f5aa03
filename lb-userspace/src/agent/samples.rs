//! The samples of the kernel, kept for those who ask: the last drops, and a capture while there is one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use lb_common::abi::{SampleHead, hook};
use lb_common::drop_reason::DropReason;
use lb_common::sample::Capture;

use crate::clock;
use crate::dataplane::{SampleReader, SharedErrors, monotonic_ns};
use crate::status::capture::CapturedRow;
use crate::status::drops::{Headers, SampleRow};
use crate::status::time::rfc3339;

/// Dropped packets that are remembered: some 300 KiB.
const DROPS: usize = 1_000;
/// Bytes of a dropped packet that are remembered.
const REMEMBERED: usize = lb_common::limits::DROP_SNAP as usize;
/// Bytes of captured packets that wait for whoever captures.
const CAPTURED: usize = 8 << 20;
/// A capture that was not asked for during this time is over, as it is in the kernel.
const FORGOTTEN: Duration = Duration::from_secs(5);
/// How long the reader pauses when the ring buffer cannot be read.
const PAUSE: Duration = Duration::from_secs(1);

/// A sampled packet.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Counts from 1.
    pub(super) number: u64,
    pub(super) time: SystemTime,
    pub(super) head: SampleHead,
    pub(super) bytes: Vec<u8>,
}

/// What was sampled; every copy is the same.
#[derive(Clone, Default)]
pub(super) struct Samples(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    number: u64,
    drops: VecDeque<Sample>,
    capture: Option<Capturing>,
}

/// A capture that somebody asked for lately.
struct Capturing {
    id: String,
    wanted: Capture,
    asked: Instant,
    packets: Vec<Sample>,
    bytes: usize,
    lost: u64,
}

impl Capturing {
    fn is_alive(&self) -> bool {
        clock::since(self.asked) < FORGOTTEN
    }

    fn wants(&self, head: &SampleHead) -> bool {
        if head.reason != 0 { self.wanted.drops } else { head.service != 0 && head.service == self.wanted.service }
    }

    fn take(&mut self, sample: &Sample) {
        if self.bytes + sample.bytes.len() > CAPTURED {
            self.lost += 1;
            return;
        }
        self.bytes += sample.bytes.len();
        self.packets.push(sample.clone());
    }
}

impl Samples {
    /// Reads for ever, on a thread of its own: it waits in a system call. What is for other nodes is sent to them.
    pub(super) fn follow(&self, mut reader: SampleReader, errors: SharedErrors) -> std::io::Result<()> {
        let samples = self.clone();
        let take = move |head: SampleHead, bytes: Vec<u8>| match head.hook {
            hook::SHARED => share(&errors, &bytes),
            _ => samples.take(head, bytes),
        };
        let read = move || loop {
            if let Err(error) = reader.wait(&take) {
                tracing::warn!(%error, "samples of dropped packets cannot be read");
                thread::sleep(PAUSE);
            }
        };
        thread::Builder::new().name("samples".to_owned()).spawn(read).map(drop)
    }

    fn take(&self, head: SampleHead, bytes: Vec<u8>) {
        let age = Duration::from_nanos(monotonic_ns().saturating_sub(head.time));
        let time = clock::wall().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut kept = self.lock();
        kept.number += 1;
        let sample = Sample { number: kept.number, time, head, bytes };
        kept.capture = kept.capture.take().filter(Capturing::is_alive);
        if let Some(capture) = kept.capture.as_mut().filter(|capture| capture.wants(&head)) {
            capture.take(&sample);
        }
        if head.reason != 0 {
            let remembered = sample.bytes.iter().take(REMEMBERED).copied().collect();
            kept.drops.push_back(Sample { bytes: remembered, ..sample });
            if kept.drops.len() > DROPS {
                kept.drops.pop_front();
            }
        }
    }

    /// The drops with a higher number, as rows; names of interfaces by index.
    pub(super) fn drops(&self, after: u64, interfaces: &BTreeMap<u32, String>) -> Vec<SampleRow> {
        let kept = self.lock();
        kept.drops.iter().filter(|sample| sample.number > after).map(|sample| row(sample, interfaces)).collect()
    }

    /// What was captured since the last time, and how much found no room here. There is one capture at a time; one that was
    /// not asked for lately makes room for another.
    pub(super) fn capture(&self, id: &str, wanted: Capture, stop: bool) -> Result<(Vec<Sample>, u64), String> {
        let mut kept = self.lock();
        let running = kept.capture.take().filter(Capturing::is_alive);
        if let Some(other) = running.as_ref().filter(|running| running.id != id) {
            let message = format!("another capture runs (process {})", other.id);
            kept.capture = running;
            return Err(message);
        }
        let new =
            || Capturing { id: id.to_owned(), wanted, asked: clock::now(), packets: Vec::new(), bytes: 0, lost: 0 };
        let mut capture = running.unwrap_or_else(new);
        let (packets, lost) = (std::mem::take(&mut capture.packets), capture.lost);
        (capture.asked, capture.bytes) = (clock::now(), 0);
        kept.capture = (!stop).then_some(capture);
        Ok((packets, lost))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn share(errors: &SharedErrors, frame: &[u8]) {
    if let Err(error) = errors.send(frame) {
        tracing::debug!(%error, "an ICMP error was not passed on to other nodes");
    }
}

/// A captured packet; `told` says what a forwarded one counts for.
pub(super) fn captured_row(
    sample: &Sample,
    interfaces: &BTreeMap<u32, String>,
    told: impl Fn(u32, u32) -> String,
) -> CapturedRow {
    let head = &sample.head;
    let became = match head.reason {
        0 => format!("forward: {}", told(head.service, head.backend)),
        number => format!("drop: {}", reason(number)),
    };
    let since = sample.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    CapturedRow {
        time: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        interface: interface(head.device, interfaces),
        comment: format!("{became}, by {}", hook_name(head.hook)),
        length: head.length,
        bytes: sample.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn row(sample: &Sample, interfaces: &BTreeMap<u32, String>) -> SampleRow {
    let Headers { protocol, source, destination } = Headers::of(&sample.bytes);
    SampleRow {
        number: sample.number,
        time: rfc3339(sample.time),
        interface: interface(sample.head.device, interfaces),
        hook: hook_name(sample.head.hook).to_owned(),
        reason: reason(sample.head.reason),
        protocol,
        source,
        destination,
        length: sample.head.length,
    }
}

/// The name of an interface; its index if it is gone.
pub(super) fn interface(index: u32, names: &BTreeMap<u32, String>) -> String {
    names.get(&index).cloned().unwrap_or_else(|| index.to_string())
}

/// In the words of the JSON.
pub(super) const fn hook_name(number: u32) -> &'static str {
    match number {
        hook::XDP => "xdp",
        hook::TC_INGRESS => "tc-ingress",
        _ => "tc-egress",
    }
}

/// The label; the number of one that this version does not know.
pub(super) fn reason(number: u32) -> String {
    let known = DropReason::ALL.iter().find(|&&reason| reason as u32 == number);
    known.map_or_else(|| number.to_string(), |reason| reason.label().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_capture_at_a_time_takes_what_it_wants() {
        let samples = Samples::default();
        let wanted = Capture { service: 5, snap: 64, rate: 1, drops: false };
        let forwarded =
            SampleHead { service: 5, backend: 9, hook: hook::XDP, device: 2, length: 90, ..SampleHead::default() };
        samples.take(forwarded, vec![1]);
        assert_eq!(samples.capture("a", wanted, false).unwrap().0.len(), 0, "nobody had asked for it");
        samples.take(forwarded, vec![1, 0xab]);
        samples.take(SampleHead { service: 6, ..forwarded }, vec![2]);
        samples.take(SampleHead { service: 0, reason: 7, ..forwarded }, vec![3]);
        let refused = samples.capture("b", wanted, false).unwrap_err();
        assert_eq!(refused, "another capture runs (process a)");
        let (captured, _) = samples.capture("a", wanted, true).unwrap();
        let rows: Vec<_> = captured
            .iter()
            .map(|sample| {
                captured_row(sample, &[(2, "eth0".to_owned())].into(), |service, backend| {
                    format!("{service} to {backend}")
                })
            })
            .collect();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].comment.as_str(), rows[0].bytes.as_str()), ("forward: 5 to 9, by xdp", "01ab"));
        assert_eq!((rows[0].interface.as_str(), rows[0].length), ("eth0", 90));
        let drops = Capture { drops: true, service: 0, ..wanted };
        assert!(samples.capture("b", drops, false).is_ok(), "the first has stopped");
        samples.take(SampleHead { service: 0, reason: 7, ..forwarded }, vec![3]);
        samples.take(forwarded, vec![0; CAPTURED + 1]);
        samples.take(SampleHead { reason: 7, ..forwarded }, vec![0; CAPTURED]);
        let (captured, lost) = samples.capture("b", drops, false).unwrap();
        assert_eq!((captured.len(), lost), (1, 1), "there is a bound");
        let comment = captured_row(&captured[0], &BTreeMap::new(), |_, _| String::new()).comment;
        assert_eq!(comment, "drop: no_backend, by xdp");
    }

    #[test]
    fn the_last_drops_are_kept_and_numbered() {
        let samples = Samples::default();
        let head = SampleHead { device: 2, hook: hook::XDP, reason: 7, length: 400, ..SampleHead::default() };
        for _ in 0..DROPS + 5 {
            samples.take(head, vec![0; 300]);
        }
        samples.take(SampleHead { reason: 0, ..head }, vec![]);
        let names = [(2, "eth0".to_owned())].into();
        let rows = samples.drops(0, &names);
        assert_eq!((rows.len(), rows[0].number), (DROPS, 6));
        assert_eq!((rows[0].interface.as_str(), rows[0].reason.as_str()), ("eth0", "no_backend"));
        assert_eq!((rows[0].hook.as_str(), rows[0].length, &rows[0].source), ("xdp", 400, &None));
        assert_eq!(samples.drops(DROPS as u64 + 4, &names).len(), 1);
        assert!(samples.lock().drops.iter().all(|sample| sample.bytes.len() == REMEMBERED));
        assert_eq!(interface(9, &names), "9");
    }
}
