//! Samples of packets, out of the kernel's ring buffer.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use lb_common::abi::{SampleBudget, SampleHead, map, setting};
use lb_common::conntrack::ticks;
use lb_common::sample::Capture;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::{DataplaneError, map_io};
use super::maps::Maps;
use super::netlink::Netlink;
use super::sys;

/// How long a capture holds after it was last asked for, in ticks of about a second.
const LEASE: u32 = 4;

/// The reading end of the ring buffer. There should be one: samples go to whoever comes first.
pub struct SampleReader(RingBuf<MapData>);

impl SampleReader {
    pub(super) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        let failed = DataplaneError::map(map::SAMPLES);
        let ring = Map::from_map_data(maps.data(map::SAMPLES)?).and_then(RingBuf::try_from);
        ring.map(Self).map_err(map_io).map_err(failed)
    }

    /// Waits for samples, a second at most, and gives those that are there to `take`.
    pub fn wait(&mut self, mut take: impl FnMut(SampleHead, Vec<u8>)) -> std::io::Result<()> {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut waiting = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        poll(&mut waiting, Some(&second))?;
        while let Some(item) = self.0.next() {
            if let Some((head, bytes)) = split(&item) {
                take(head, bytes);
            }
        }
        Ok(())
    }
}

/// Names of the interfaces of the calling thread's network namespace, by index.
pub fn interface_names() -> Result<BTreeMap<u32, String>, DataplaneError> {
    Ok(Netlink::connect()?.links()?.into_iter().map(|link| (link.index, link.name)).collect())
}

/// A sample as the ring buffer holds it; `None` if it is shorter than it says.
pub fn split(sample: &[u8]) -> Option<(SampleHead, Vec<u8>)> {
    let (words, _) = sample.get(..size_of::<SampleHead>())?.as_chunks::<4>();
    let word = |at: usize| u32::from_ne_bytes(words[at]);
    let [a, b, c, d, e, f, g, h, ..] = *sample else { return None };
    let head = SampleHead {
        time: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        device: word(2),
        hook: word(3),
        reason: word(4),
        length: word(5),
        captured: word(6),
        service: word(7),
        backend: word(8),
        reserved: word(9),
    };
    let bytes = sample[size_of::<SampleHead>()..].get(..head.captured as usize)?;
    Some((head, bytes.to_vec()))
}

/// Has packets sampled for some seconds from now; nothing but a few drops if it is `None`.
pub(super) fn capture(maps: &Maps, wanted: Option<Capture>) -> Result<(), DataplaneError> {
    let failed = |error| DataplaneError::map(map::SETTINGS)(map_io(error));
    let mut settings = maps.array::<u64>(map::SETTINGS)?;
    // first until when, then what: a program between the two sees nothing that is over
    let until = ticks(sys::monotonic_ns()).wrapping_add(LEASE);
    settings.set(setting::CAPTURE_UNTIL, u64::from(until), 0).map_err(failed)?;
    settings.set(setting::CAPTURE, wanted.map_or(0, Capture::word), 0).map_err(failed)
}

/// Samples that found no room in the ring buffer, since it was made.
pub(super) fn lost(maps: &Maps) -> Result<u64, DataplaneError> {
    let failed = |error| DataplaneError::map(map::SAMPLE_BUDGETS)(map_io(error));
    let budgets: PerCpuArray<MapData, SampleBudget> = maps.per_cpu(map::SAMPLE_BUDGETS)?;
    let mut lost = 0;
    for index in 0..budgets.len() {
        lost += budgets.get(&index, 0).map_err(failed)?.iter().map(|budget| budget.lost).sum::<u64>();
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_head_and_bytes() {
        let mut raw = 77_u64.to_ne_bytes().to_vec();
        raw.extend([2_u32, 1, 7, 400, 3, 5, 6, 0].iter().flat_map(|word| word.to_ne_bytes()));
        raw.extend([1, 2, 3]);
        let (head, bytes) = split(&raw).unwrap();
        let expected = SampleHead {
            time: 77,
            device: 2,
            hook: 1,
            reason: 7,
            length: 400,
            captured: 3,
            service: 5,
            backend: 6,
            reserved: 0,
        };
        assert_eq!((head, bytes), (expected, vec![1, 2, 3]));
        assert_eq!(split(&raw[..42]), None);
        assert_eq!(split(&raw[..20]), None);
    }
}
