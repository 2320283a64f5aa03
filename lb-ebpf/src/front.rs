//! sk_lookup: which listener of the front takes a connection.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_SK_LOOKUP_F_NO_REUSEPORT, bpf_sk_lookup};
use aya_ebpf::programs::SkLookupContext;
use lb_common::abi::{FlowKey, FrontendEntry, device_flag, frontend_flag, protocol};
use lb_common::addr::{Addr4, Addr6, V4, V6};
use lb_common::be::{Be16, Be32};
use lb_common::hash::flow_hash;
use lb_common::pipeline;

use crate::maps::{DEVICES, LISTENERS};
use crate::since;
use crate::sockets::{self, SocketMaps};
use crate::tables::{Kernel, LISTENER_TRIES, Routed as _, listener_slot};

/// Where a family's addresses stand in what the kernel looks for.
trait Looked: SocketMaps {
    /// The address that the client asks for.
    fn local(lookup: *mut bpf_sk_lookup) -> Self::Addr;

    /// The client's address.
    fn remote(lookup: *mut bpf_sk_lookup) -> Self::Addr;
}

impl Looked for V4 {
    #[inline(always)]
    fn local(lookup: *mut bpf_sk_lookup) -> Addr4 {
        // SAFETY: the context is valid while the program runs.
        Be32::from_bytes(unsafe { (*lookup).local_ip4 }.to_ne_bytes())
    }

    #[inline(always)]
    fn remote(lookup: *mut bpf_sk_lookup) -> Addr4 {
        // SAFETY: as in `local`.
        Be32::from_bytes(unsafe { (*lookup).remote_ip4 }.to_ne_bytes())
    }
}

impl Looked for V6 {
    #[inline(always)]
    fn local(lookup: *mut bpf_sk_lookup) -> Addr6 {
        // SAFETY: as for IPv4; no reference is made.
        address6(unsafe { (&raw const (*lookup).local_ip6).cast() })
    }

    #[inline(always)]
    fn remote(lookup: *mut bpf_sk_lookup) -> Addr6 {
        // SAFETY: as in `local`.
        address6(unsafe { (&raw const (*lookup).remote_ip6).cast() })
    }
}

/// Four words, each read by itself: the kernel allows no larger reads of them (net/core/filter.c,
/// `sk_lookup_is_valid_access`), and the compiler would join them.
#[inline(always)]
fn address6(words: *const u32) -> Addr6 {
    // SAFETY: the context holds four words there and is valid while the program runs.
    let word = |at: usize| u64::from(unsafe { words.add(at).read_volatile() });
    let pair = |first: u64, second: u64| {
        if cfg!(target_endian = "little") { first | second << 32 } else { first << 32 | second }
    };
    Addr6::from_raw([pair(word(0), word(1)), pair(word(2), word(3))])
}

/// Hands the connection to a listener of the front if its address and port are a frontend of the front. Without
/// NO_REUSEPORT the kernel would hash again within the group, and closing a member would reset its queue.
#[inline(always)]
pub(crate) fn assign(ctx: &SkLookupContext) {
    // SAFETY: the context is valid while the program runs.
    let family = unsafe { (*ctx.lookup).family };
    if family == u32::from(V4::SOCKET_FAMILY) {
        assign_of::<V4>(ctx);
    } else if family == u32::from(V6::SOCKET_FAMILY) {
        assign_of::<V6>(ctx);
    }
}

#[inline(always)]
fn assign_of<F: Looked>(ctx: &SkLookupContext) {
    let Some((frontend, hash)) = frontend::<F>(ctx) else { return };
    let mut attempt = 0;
    while attempt < LISTENER_TRIES {
        let Some(slot) = listener_slot::<F>(frontend.flags, hash, attempt) else { return };
        if LISTENERS.redirect_sk_lookup(ctx, slot, u64::from(BPF_SK_LOOKUP_F_NO_REUSEPORT)).is_ok() {
            return;
        }
        attempt += 1;
    }
}

/// A connection of this node's own processes or pods to a VIP of the front, which was led to the listener's port of the
/// node's address. What came in by an external interface is refused: there that port is nobody's. Of what the node sends to
/// itself, `own`, the kernel says that it came in by the device that has the address (net/ipv4/route.c,
/// `ip_route_output_key_hash_rcu`); nobody outside can have that source and get an answer. Where the kernel does not say by
/// which device, all but the node's own might be from outside.
#[inline(always)]
fn from_inside(ctx: &SkLookupContext, kind: u32, own: bool) -> Option<FrontendEntry> {
    let outside = || {
        // SAFETY: the context is valid while the program runs.
        let ingress = unsafe { (*ctx.lookup).ingress_ifindex };
        // SAFETY: plain words; the agent replaces elements whole.
        unsafe { DEVICES.get(ingress) }.is_some_and(|device| device.flags & device_flag::OUTSIDE != 0)
    };
    (kind != 0 && (own || (since::lookup_device() && !outside()))).then_some(FrontendEntry { service: 0, flags: kind })
}

/// The frontend that the connection is for, if the front answers it, and the hash of the connection.
#[inline(always)]
fn frontend<F: Looked>(ctx: &SkLookupContext) -> Option<(FrontendEntry, u32)> {
    // SAFETY: the context is valid while the program runs.
    let (ip_protocol, local_port, remote_port) = unsafe {
        let lookup = &*ctx.lookup;
        (lookup.protocol, lookup.local_port as u16, u16::from_be(lookup.remote_port))
    };
    if ip_protocol != u32::from(protocol::TCP) {
        return None;
    }
    let (local, local_port) = (F::local(ctx.lookup), Be16::new(local_port));
    let kernel = Kernel::<false> { ctx: ctx.as_ptr(), ingress: 0 };
    let entry = match pipeline::find_frontend::<F, _>(&kernel, local, local_port, protocol::TCP) {
        Some(entry) => entry,
        None => {
            let kind = sockets::front_kind::<F>(local, local_port.host());
            from_inside(ctx, kind, F::remote(ctx.lookup) == local)?
        }
    };
    let key = FlowKey {
        source: F::remote(ctx.lookup),
        destination: local,
        source_port: Be16::new(remote_port),
        destination_port: local_port,
        protocol: ip_protocol,
    };
    (entry.flags & frontend_flag::FRONT != 0).then(|| (entry, flow_hash(&key)))
}
