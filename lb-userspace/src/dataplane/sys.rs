//! The few system calls that aya 0.14 has no name for: map batches, the update of any pinned link, what a link is
//! attached to, the end of a grace period, the kernel's clock.
#![expect(unsafe_code, reason = "bpf(2), membarrier(2) and clock_gettime(2) are called directly")]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Pod;

/// Numbers of `enum bpf_cmd`, include/uapi/linux/bpf.h.
mod command {
    pub(super) const MAP_CREATE: libc::c_int = 0;
    pub(super) const MAP_UPDATE_ELEM: libc::c_int = 2;
    pub(super) const OBJ_GET: libc::c_int = 7;
    pub(super) const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    pub(super) const MAP_LOOKUP_BATCH: libc::c_int = 24;
    pub(super) const MAP_DELETE_BATCH: libc::c_int = 27;
    pub(super) const LINK_UPDATE: libc::c_int = 29;
    pub(super) const LINK_DETACH: libc::c_int = 34;
}

/// What the kernel tells about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkTarget {
    /// Id of the program behind the link.
    pub(crate) program: u32,
    /// Interface index of an XDP or tcx link, inode of the namespace of an sk_lookup link; 0 once that is gone.
    pub(crate) target: u32,
}

/// One round of a batched walk over a hash map.
pub(crate) struct Batch<K, V> {
    pub(crate) entries: Vec<(K, V)>,
    /// Where the next round goes on; `None` at the end of the map.
    pub(crate) next: Option<u32>,
}

/// Opens a pinned object; `None` if there is no such pin.
pub(crate) fn open_pin(path: &Path) -> io::Result<Option<OwnedFd>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let attr = ObjectGet { pathname: name.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    match bpf_fd(command::OBJ_GET, &attr) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the program behind a link, atomically.
pub(crate) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = LinkUpdate { link_fd: raw(link), new_prog_fd: raw(program), flags: 0, old_prog_fd: 0 };
    bpf(command::LINK_UPDATE, &attr).map(drop)
}

/// Detaches a link at once (5.9). Closing the last descriptor does so, too, but some time later, from a work queue.
pub(crate) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(command::LINK_DETACH, &LinkDetach { link_fd: raw(link) }).map(drop)
}

/// What a link is attached to, and which program is behind it.
pub(crate) fn link_target(link: BorrowedFd<'_>) -> io::Result<LinkTarget> {
    let mut info = LinkInfo::default();
    let attr = InfoByFd { bpf_fd: raw(link), info_len: size_of::<LinkInfo>() as u32, info: &raw mut info as u64 };
    bpf(command::OBJ_GET_INFO_BY_FD, &attr)?;
    Ok(LinkTarget { program: info.prog_id, target: info.target })
}

/// Reads up to `count` entries of a hash map (5.6). `ENOSPC` means that one bucket alone holds more than `count`.
pub(crate) fn lookup_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    from: Option<u32>,
    count: u32,
) -> io::Result<Batch<K, V>> {
    let mut keys: Vec<MaybeUninit<K>> = vec![MaybeUninit::uninit(); count as usize];
    let mut values: Vec<MaybeUninit<V>> = vec![MaybeUninit::uninit(); count as usize];
    let (start, places) = (from.map(u32::to_ne_bytes), (keys.as_mut_ptr() as u64, values.as_mut_ptr() as u64));
    let start = start.as_ref().map(<[u8; 4]>::as_slice);
    let (filled, next) = lookup(map, (start, size_of::<u32>()), count, places)?;
    let next = next.and_then(|next| next.try_into().ok()).map(u32::from_ne_bytes);
    let filled = keys.iter().zip(&values).take(filled);
    // SAFETY: the kernel wrote the first `filled` keys and values; both are `Pod`.
    let entries = filled.map(|(key, value)| unsafe { (key.assume_init(), value.assume_init()) }).collect();
    Ok(Batch { entries, next })
}

/// Update flags of include/uapi/linux/bpf.h: whatever is there, or only where nothing is.
pub(crate) const ANY: u64 = 0;
pub(crate) const NOEXIST: u64 = 1;

/// One round of a batched walk over a map of any types: keys and values one after the other.
pub(crate) struct RawBatch {
    pub(crate) keys: Vec<u8>,
    pub(crate) values: Vec<u8>,
    /// Where to go on; `None` at the end. Of a hash map four bytes, else as many as a key has.
    pub(crate) next: Option<Vec<u8>>,
}

/// [`lookup_batch`] for keys and values of these sizes, of arrays as well; of per-CPU ones (5.13) the values of all CPUs, each
/// rounded up to 8 bytes; of tries of networks (5.13).
pub(crate) fn lookup_raw(
    map: BorrowedFd<'_>,
    from: Option<&[u8]>,
    count: u32,
    (key, value): (usize, usize),
) -> io::Result<RawBatch> {
    let (mut keys, mut values) = (vec![0; key * count as usize], vec![0; value * count as usize]);
    let places = (keys.as_mut_ptr() as u64, values.as_mut_ptr() as u64);
    let (filled, next) = lookup(map, (from, key.max(size_of::<u32>())), count, places)?;
    keys.truncate(key * filled);
    values.truncate(value * filled);
    Ok(RawBatch { keys, values, next })
}

/// One round of a walk to these two places, which have room for `count` keys and `count` values: how many came, and where the
/// next round goes on, in as many bytes as are said beside where this one begins.
fn lookup(
    map: BorrowedFd<'_>,
    (from, cursor): (Option<&[u8]>, usize),
    count: u32,
    (keys, values): (u64, u64),
) -> io::Result<(usize, Option<Vec<u8>>)> {
    let mut next = vec![0; cursor];
    let mut attr = MapBatch {
        in_batch: from.map_or(0, |start| start.as_ptr() as u64),
        out_batch: next.as_mut_ptr() as u64,
        keys,
        values,
        count,
        map_fd: raw(map),
        ..MapBatch::default()
    };
    let end = match bpf_mut(command::MAP_LOOKUP_BATCH, &mut attr) {
        Ok(_) => false,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
        Err(error) => return Err(error),
    };
    Ok((attr.count as usize, (!end).then_some(next)))
}

/// Writes an element: bytes of the sizes that the map has, of a per-CPU one those of all CPUs.
pub(crate) fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    bpf(command::MAP_UPDATE_ELEM, &MapElement { map_fd: raw(map), pad: 0, key, value, flags }).map(drop)
}

/// Deletes keys of a hash map (5.6); keys that are not there are passed over. Returns how many were there.
pub(crate) fn delete_batch<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<usize> {
    let mut deleted = 0;
    let mut rest = keys;
    while !rest.is_empty() {
        let mut attr =
            MapBatch { keys: rest.as_ptr() as u64, count: rest.len() as u32, map_fd: raw(map), ..MapBatch::default() };
        let outcome = bpf_mut(command::MAP_DELETE_BATCH, &mut attr);
        let done = (attr.count as usize).min(rest.len());
        deleted += done;
        match outcome {
            Ok(_) => break,
            // The key after the deleted ones is missing: go on behind it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                rest = rest.get(done + 1..).unwrap_or(&[]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

/// A one-slot map of maps with its inner map. Writing the slot returns only after an RCU grace period.
pub(crate) struct GraceMap {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl GraceMap {
    pub(crate) fn create() -> io::Result<Self> {
        const ARRAY: u32 = 2;
        const ARRAY_OF_MAPS: u32 = 12;
        let array = MapCreate { map_type: ARRAY, key_size: 4, value_size: 4, max_entries: 1, ..MapCreate::default() };
        let inner = bpf_fd(command::MAP_CREATE, &array)?;
        let array = MapCreate { map_type: ARRAY_OF_MAPS, inner_map_fd: inner.as_raw_fd() as u32, ..array };
        Ok(Self { outer: bpf_fd(command::MAP_CREATE, &array)?, inner })
    }

    /// Waits until every program that ran when this was called has ended.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let (key, value) = (0_u32, self.inner.as_raw_fd());
        let attr = MapElement {
            map_fd: self.outer.as_raw_fd() as u32,
            pad: 0,
            key: &raw const key as u64,
            value: &raw const value as u64,
            flags: 0,
        };
        bpf(command::MAP_UPDATE_ELEM, &attr).map(drop)
    }
}

/// `membarrier(MEMBARRIER_CMD_GLOBAL)`, which is a `synchronize_rcu`; `EINVAL` with nohz_full.
pub(crate) fn membarrier_global() -> io::Result<()> {
    const GLOBAL: libc::c_int = 1;
    // SAFETY: membarrier takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The cookie of the calling thread's network namespace, as programs see it (5.14).
pub(crate) fn namespace_cookie() -> io::Result<u64> {
    /// include/uapi/asm-generic/socket.h
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which is as long.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}

/// The clock that the programs read, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writes; CLOCK_MONOTONIC always exists, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[repr(C)]
struct ObjectGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_link_info`: the union after `prog_id` begins, aligned to 8, with the target of each kind that we use.
#[repr(C, align(8))]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    target: u32,
    rest: [u32; 11],
}

#[repr(C)]
#[derive(Default)]
struct MapBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

#[repr(C)]
struct MapElement {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn bpf<A>(command: libc::c_int, attr: &A) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is the repr(C) head of `union bpf_attr` for this command and lives through the call; every pointer
    // in it was made from a live local of the caller, large enough for the command.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Like [`bpf`] for commands that write into the attributes.
fn bpf_mut<A>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: as in `bpf`, and `attr` is valid for writes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn bpf_fd<A>(command: libc::c_int, attr: &A) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the command succeeded and returns a new descriptor (close-on-exec, as all of bpf(2)) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
