//! Fills the slots of LISTENERS with the sockets of the front.

use std::net::TcpListener;

use aya::maps::{Array, MapData, SockMap};
use lb_common::abi::{map, setting};
use lb_common::limits::LISTENERS_PER_KIND;

use super::error::{DataplaneError, map_io};
use super::maps::Maps;

/// First slot of each kind.
const HTTP: u32 = 0;
const HTTPS: u32 = LISTENERS_PER_KIND;

/// Puts the listeners into their slots. The programs pick a slot by a count: so a smaller count is written before slots
/// go, a larger one after slots have come. Slots are overwritten one by one: at each moment every counted slot is filled.
pub(crate) fn set(maps: &Maps, http: &[TcpListener], https: &[TcpListener]) -> Result<(), DataplaneError> {
    check(http)?;
    check(https)?;
    let mut sockets = maps.sockets(map::LISTENERS)?;
    let mut settings = maps.array::<u64>(map::SETTINGS)?;
    let before = settings.get(&setting::LISTENER_COUNTS, 0).map_err(failed(map::SETTINGS))?;
    let counts = pack(http.len(), https.len());
    write_counts(&mut settings, smaller(before, counts))?;
    fill(&mut sockets, HTTP, http)?;
    fill(&mut sockets, HTTPS, https)?;
    write_counts(&mut settings, counts)?;
    clear(&mut sockets, HTTP, http.len())?;
    clear(&mut sockets, HTTPS, https.len())
}

fn check(listeners: &[TcpListener]) -> Result<(), DataplaneError> {
    if listeners.len() > LISTENERS_PER_KIND as usize {
        return Err(DataplaneError::TooManyListeners { found: listeners.len(), limit: LISTENERS_PER_KIND });
    }
    Ok(())
}

fn fill(sockets: &mut SockMap<MapData>, first: u32, listeners: &[TcpListener]) -> Result<(), DataplaneError> {
    for (slot, listener) in (first..).zip(listeners) {
        sockets.set(slot, listener, 0).map_err(failed(map::LISTENERS))?;
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

/// HTTP in bits 0–15, HTTPS in bits 16–31.
fn pack(http: usize, https: usize) -> u64 {
    (https as u64) << 16 | http as u64
}

fn smaller(a: u64, b: u64) -> u64 {
    let part = |word: u64, shift: u32| (word >> shift) as usize & 0xffff;
    pack(part(a, 0).min(part(b, 0)), part(a, 16).min(part(b, 16)))
}

fn failed(map: &'static str) -> impl Fn(aya::maps::MapError) -> DataplaneError {
    move |error| DataplaneError::map(map)(map_io(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_shrink_each_by_itself() {
        assert_eq!(pack(3, 2), 0x2_0003);
        assert_eq!(smaller(pack(3, 2), pack(2, 4)), pack(2, 2));
        assert_eq!(smaller(0, pack(2, 4)), 0);
    }
}
