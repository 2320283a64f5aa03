//! The kernel object, embedded, and what of it depends on the running kernel.

use std::borrow::Cow;

use aya::EbpfLoader;

use super::probe;

/// The ELF object with all maps and programs of `lb-ebpf`, aligned as an ELF parser wants it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEIR_EBPF_OBJECT"));

/// The section of XDP programs that see packets of several buffers, and that of others. A name ends with a zero.
const WITH_BUFFERS: &[u8] = b"xdp.frags\0";
const WITHOUT_BUFFERS: &[u8] = b"xdp\0";

/// The object for this kernel: before 5.18 none takes XDP programs that see packets of several buffers.
pub fn for_this_kernel() -> Cow<'static, [u8]> {
    if probe::xdp_buffers() { Cow::Borrowed(OBJECT) } else { Cow::Owned(without_buffers(OBJECT)) }
}

/// Tells the programs what this kernel has; the words are those of `lb-ebpf/src/since.rs` and `sockets.rs`.
pub fn tell(loader: &mut EbpfLoader<'_>) {
    let word = |available: bool| if available { &1_u8 } else { &0_u8 };
    loader.override_global("SOCKET_ERRNO", word(probe::refuses_by_number()), true);
    loader.override_global("COARSE_CLOCK", word(probe::coarse_clock()), true);
    loader.override_global("LOOKUP_DEVICE", word(probe::lookup_device()), true);
    loader.override_global("XDP_BUFFERS", word(probe::xdp_buffers()), true);
}

/// Shortens the names of sections in place: nothing moves.
fn without_buffers(object: &[u8]) -> Vec<u8> {
    let mut object = object.to_vec();
    let mut at = 0;
    while let Some(place) = object.get_mut(at..at + WITH_BUFFERS.len()) {
        if place == WITH_BUFFERS {
            place[..WITHOUT_BUFFERS.len()].copy_from_slice(WITHOUT_BUFFERS);
        }
        at += 1;
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sections_are_shortened_where_they_stand() {
        assert_eq!(without_buffers(b"\0.relxdp.frags\0xdp.fragsy\0"), b"\0.relxdp\0frags\0xdp.fragsy\0");
        assert_eq!(without_buffers(b"xdp.frags\0"), b"xdp\0frags\0");
        let changed = without_buffers(OBJECT);
        assert_eq!(changed.len(), OBJECT.len());
        assert!(!changed.windows(WITH_BUFFERS.len()).any(|name| name == WITH_BUFFERS));
    }
}
