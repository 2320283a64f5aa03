//! The samples of the kernel, kept for those who ask: the last drops, and a capture while there is one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use lb_common::abi::{SampleHead, hook};
use lb_common::drop_reason::DropReason;

use crate::clock;
use crate::dataplane::{SampleReader, monotonic_ns};
use crate::status::drops::{Headers, SampleRow};
use crate::status::time::rfc3339;

/// Dropped packets that are remembered: some 300 KiB.
const DROPS: usize = 1_000;
/// Bytes of a dropped packet that are remembered.
const REMEMBERED: usize = lb_common::limits::DROP_SNAP as usize;
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
}

impl Samples {
    /// Reads for ever, on a thread of its own: it waits in a system call.
    pub(super) fn follow(&self, mut reader: SampleReader) -> std::io::Result<()> {
        let samples = self.clone();
        let read = move || loop {
            if let Err(error) = reader.wait(|head, bytes| samples.take(head, bytes)) {
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

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
