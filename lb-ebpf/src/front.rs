//! sk_lookup: which listener of the front takes a connection.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::BPF_SK_LOOKUP_F_NO_REUSEPORT;
use aya_ebpf::programs::SkLookupContext;
use lb_common::abi::{FlowKey4, FrontendEntry, device_flag, frontend_flag, protocol};
use lb_common::addr::V4;
use lb_common::be::{Be16, Be32};
use lb_common::hash::flow_hash;
use lb_common::pipeline;

use crate::maps::{DEVICES, LISTENERS};
use crate::sockets;
use crate::tables::{Kernel, LISTENER_TRIES, listener_slot};

/// Family of IPv4 in socket calls.
const AF_INET: u32 = 2;

/// Hands the connection to a listener of the front if its address and port are a frontend of the front. Without
/// NO_REUSEPORT the kernel would hash again within the group, and closing a member would reset its queue.
#[inline(always)]
pub(crate) fn assign(ctx: &SkLookupContext) {
    let Some((frontend, hash)) = frontend(ctx) else { return };
    let mut attempt = 0;
    while attempt < LISTENER_TRIES {
        let Some(slot) = listener_slot(frontend.flags, hash, attempt) else { return };
        if LISTENERS.redirect_sk_lookup(ctx, slot, u64::from(BPF_SK_LOOKUP_F_NO_REUSEPORT)).is_ok() {
            return;
        }
        attempt += 1;
    }
}

/// A connection of this node's own processes or pods to a VIP of the front, which was led to the listener's port of the
/// node's address. What came in by an external interface is refused: there that port is nobody's.
#[inline(always)]
fn from_inside(ctx: &SkLookupContext, kind: u32) -> Option<FrontendEntry> {
    // SAFETY: the context is valid while the program runs (the field is of 5.17).
    let ingress = unsafe { (*ctx.lookup).ingress_ifindex };
    // SAFETY: plain words; the agent replaces elements whole.
    let outside = unsafe { DEVICES.get(ingress) }.is_some_and(|device| device.flags & device_flag::UPLINK != 0);
    (kind != 0 && !outside).then_some(FrontendEntry { service: 0, flags: kind })
}

/// The frontend that the connection is for, if the front answers it, and the hash of the connection.
#[inline(always)]
fn frontend(ctx: &SkLookupContext) -> Option<(FrontendEntry, u32)> {
    // SAFETY: the context is valid while the program runs.
    let (family, ip_protocol, local, remote, local_port, remote_port) = unsafe {
        let lookup = &*ctx.lookup;
        let remote_port = u16::from_be(lookup.remote_port);
        (lookup.family, lookup.protocol, lookup.local_ip4, lookup.remote_ip4, lookup.local_port as u16, remote_port)
    };
    if family != AF_INET || ip_protocol != u32::from(protocol::TCP) {
        return None;
    }
    let local = Be32::from_bytes(local.to_ne_bytes());
    let local_port = Be16::new(local_port);
    let kernel = Kernel::<false> { ctx: ctx.as_ptr(), ingress: 0 };
    let entry = match pipeline::find_frontend::<V4, _>(&kernel, local, local_port, protocol::TCP) {
        Some(entry) => entry,
        None => from_inside(ctx, sockets::front_kind::<V4>(local, local_port.host()))?,
    };
    let key = FlowKey4 {
        source: Be32::from_bytes(remote.to_ne_bytes()),
        destination: local,
        source_port: Be16::new(remote_port),
        destination_port: local_port,
        protocol: ip_protocol,
    };
    (entry.flags & frontend_flag::FRONT != 0).then(|| (entry, flow_hash(&key)))
}
