//! Fills the slots of LISTENERS with the sockets of the front.

use std::net::TcpListener;

use aya::maps::{Array, MapData, SockMap};
use lb_common::abi::{map, setting};
use lb_common::limits::LISTENERS_PER_KIND;

use super::error::{DataplaneError, map_io};
use super::maps::Maps;

/// Sets of listeners: HTTP and HTTPS of IPv4, then of IPv6.
const SETS: usize = 4;

/// Puts the listeners into their slots, each among those of its own family. The programs pick a slot by a count: so a
/// smaller count is written before slots go, a larger one after slots have come. Slots are overwritten one by one: at each
/// moment every counted slot is filled.
pub(crate) fn set(maps: &Maps, http: &[TcpListener], https: &[TcpListener]) -> Result<(), DataplaneError> {
    let sets = [of_family(http, false), of_family(https, false), of_family(http, true), of_family(https, true)];
    let found = sets.iter().map(Vec::len).max().unwrap_or_default();
    if found > LISTENERS_PER_KIND as usize {
        return Err(DataplaneError::TooManyListeners { found, limit: LISTENERS_PER_KIND });
    }
    let mut sockets = maps.sockets(map::LISTENERS)?;
    let mut settings = maps.array::<u64>(map::SETTINGS)?;
    let before = settings.get(&setting::LISTENER_COUNTS, 0).map_err(failed(map::SETTINGS))?;
    let counts = pack(sets.each_ref().map(Vec::len));
    write_counts(&mut settings, smaller(before, counts))?;
    for (first, listeners) in (0..).step_by(LISTENERS_PER_KIND as usize).zip(&sets) {
        fill(&mut sockets, first, listeners)?;
    }
    write_counts(&mut settings, counts)?;
    for (first, listeners) in (0..).step_by(LISTENERS_PER_KIND as usize).zip(&sets) {
        clear(&mut sockets, first, listeners.len())?;
    }
    Ok(())
}

fn of_family(listeners: &[TcpListener], v6: bool) -> Vec<&TcpListener> {
    let is_wanted = |listener: &&TcpListener| listener.local_addr().is_ok_and(|address| address.is_ipv6() == v6);
    listeners.iter().filter(is_wanted).collect()
}

fn fill(sockets: &mut SockMap<MapData>, first: u32, listeners: &[&TcpListener]) -> Result<(), DataplaneError> {
    for (slot, listener) in (first..).zip(listeners) {
        sockets.set(slot, *listener, 0).map_err(failed(map::LISTENERS))?;
    }
    Ok(())
}

/// Empties the slots behind those in use; a slot is empty already if its socket was closed.
fn clear(sockets: &mut SockMap<MapData>, first: u32, used: usize) -> Result<(), DataplaneError> {
    for slot in first + used as u32..first + LISTENERS_PER_KIND {
        match sockets.clear_index(&slot).map_err(map_io) {
            Err(source) if !matches!(source.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {
                return Err(DataplaneError::map(map::LISTENERS)(source));
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_counts(settings: &mut Array<MapData, u64>, counts: u64) -> Result<(), DataplaneError> {
    settings.set(setting::LISTENER_COUNTS, counts, 0).map_err(failed(map::SETTINGS))
}

/// 16 bits for each set, the first one lowest.
fn pack(counts: [usize; SETS]) -> u64 {
    counts.iter().rev().fold(0, |word, count| word << 16 | *count as u64)
}

fn smaller(a: u64, b: u64) -> u64 {
    let part = |word: u64, set: usize| (word >> (16 * set)) as usize & 0xffff;
    pack([0, 1, 2, 3].map(|set| part(a, set).min(part(b, set))))
}

fn failed(map: &'static str) -> impl Fn(aya::maps::MapError) -> DataplaneError {
    move |error| DataplaneError::map(map)(map_io(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_shrink_each_by_itself() {
        assert_eq!(pack([3, 2, 0, 1]), 0x1_0000_0002_0003);
        assert_eq!(smaller(pack([3, 2, 5, 1]), pack([2, 4, 4, 9])), pack([2, 2, 4, 1]));
        assert_eq!(smaller(0, pack([2, 4, 1, 1])), 0);
    }
}
