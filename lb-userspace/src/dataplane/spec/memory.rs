//! How much memory the maps take, by the way in which the kernel makes them, and that docs/operations.md says so.

use aya::maps::MapType;

use super::{BPF_F_NO_PREALLOC, Shape, specs};
use crate::dataplane::MapSizes;

const MANUAL: &str = include_str!("../../../../docs/operations.md");
const MIB: f64 = 1_048_576.0;

/// Bytes when the map is made: in all, and for each CPU. What fills on demand has none for its elements.
fn bytes(shape: &Shape) -> (u64, u64) {
    let (entries, eights) = (u64::from(shape.entries), |size: u32| u64::from(size).next_multiple_of(8));
    // kernel/bpf/hashtab.c: `struct bucket`, and `struct htab_elem` before key and value
    let buckets = 16 * entries.next_power_of_two();
    match shape.kind {
        MapType::Hash | MapType::LruHash if shape.flags & BPF_F_NO_PREALLOC != 0 => (buckets, 0),
        MapType::Hash | MapType::LruHash => (buckets + entries * (48 + eights(shape.key) + eights(shape.value)), 0),
        MapType::Array => (entries * eights(shape.value), 0),
        MapType::PerCpuArray => (entries * 8, entries * eights(shape.value)),
        MapType::RingBuf => (entries, 0),
        MapType::SockMap | MapType::ProgramArray => (entries * 8, 0),
        _ => (0, 0),
    }
}

/// The number in front of the words.
fn named(words: &str) -> f64 {
    let (before, _) = MANUAL.split_once(words).unwrap_or_else(|| panic!("docs/operations.md does not say '{words}'"));
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn the_manual_says_how_much_memory_the_maps_take() {
    let each = specs(&MapSizes::default()).map(|spec| bytes(&spec.shape));
    let (fixed, per_cpu) = each.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let (two, further) = ((fixed + 2 * per_cpu) as f64 / MIB, per_cpu as f64 / MIB);
    let close = |said: f64, is: f64| (said - is).abs() < 0.05 * is;
    assert!(close(named(" MiB of kernel memory"), two), "{two:.1} MiB on 2 CPUs");
    assert!(close(named(" MiB more per further CPU"), further), "{further:.1} MiB for each further CPU");
}
