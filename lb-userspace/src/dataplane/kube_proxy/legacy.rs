//! Chains of the older iptables, which the kernel keeps as one block per table (include/uapi/linux/netfilter_ipv4/ip_tables.h).

#![expect(unsafe_code, reason = "no library has getsockopt(2) for options of netfilter")]

use std::fs;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use super::{Family, SIGNS};

/// The table of kube-proxy's translations.
const NAT: &str = "nat";
/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`, which IPv6 has too.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// `struct ipt_getinfo`; its last word is the size of the entries.
const INFO: usize = 84;
/// `struct ipt_get_entries` without its entries: name, size, padding.
const ENTRIES: usize = 40;
/// Name of a table.
const NAME: usize = 32;

/// Whether the table of translations has a chain of kube-proxy. A table that nobody made is not asked for: the kernel would
/// make it.
pub(super) fn has_chains(family: Family) -> bool {
    let (file, level) = match family {
        Family::V4 => ("/proc/thread-self/net/ip_tables_names", libc::IPPROTO_IP),
        Family::V6 => ("/proc/thread-self/net/ip6_tables_names", libc::IPPROTO_IPV6),
    };
    let tables = fs::read_to_string(file).unwrap_or_default();
    tables.lines().any(|table| table == NAT) && entries(family, level).is_some_and(|entries| names_a_sign(&entries))
}

/// A chain begins with an entry that holds its name.
fn names_a_sign(entries: &[u8]) -> bool {
    let held = |sign: &str| {
        let name = [sign.as_bytes(), &[0]].concat();
        entries.windows(name.len()).any(|window| window == name)
    };
    SIGNS.iter().any(|sign| held(sign))
}

fn entries(family: Family, level: libc::c_int) -> Option<Vec<u8>> {
    let domain = if family == Family::V4 { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(domain, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW)).ok()?;
    let mut info = named(INFO);
    get(&socket, level, GET_INFO, &mut info)?;
    let size = *info.last_chunk::<4>()?;
    let mut entries = named(ENTRIES + u32::from_ne_bytes(size) as usize);
    entries.get_mut(NAME..NAME + 4)?.copy_from_slice(&size);
    get(&socket, level, GET_ENTRIES, &mut entries)?;
    Some(entries)
}

fn named(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bytes[..NAT.len()].copy_from_slice(NAT.as_bytes());
    bytes
}

fn get(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, bytes: &mut [u8]) -> Option<()> {
    let mut length = libc::socklen_t::try_from(bytes.len()).ok()?;
    // SAFETY: the pointer and the length are those of one slice that we hold alone; the kernel writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, bytes.as_mut_ptr().cast(), std::ptr::from_mut(&mut length))
    };
    (result == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_signs() {
        assert!(names_a_sign(b"xxERROR\0KUBE-SERVICES\0yy"));
        assert!(!names_a_sign(b"KUBE-SERVICES-OF-MINE\0"));
        assert!(!names_a_sign(b""));
    }
}
