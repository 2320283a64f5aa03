//! Socket-level balancing: the programs of the cgroup hooks, and their maps.
//!
//! A hook of IPv6 also sees IPv4 addresses in IPv6 form (RFC 4291, section 2.5.5.2), since a socket of IPv6 may speak to
//! both: then it does what the hook of IPv4 does.

use core::ptr::read_volatile;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_prandom_u32, bpf_get_socket_cookie, bpf_set_retval};
use aya_ebpf::macros::{cgroup_sock_addr, map};
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::SockAddrContext;
use lb_common::abi::socket::{
    PORT_LINES, PORTS_PER_LINE, PortLine, SocketChoice, SocketKey, SocketPeer, socket_setting,
};
use lb_common::addr::{Addr4, Addr6, Address, Family, V4, V6};
use lb_common::be::{Be16, Be32};
use lb_common::limits;
use lb_common::lookup::Lookup;
use lb_common::socket::{self, Caller, Outcome, Place, Sockets, is_loopback};

use crate::tables::{Kernel, Routed};

#[map]
static SOCKET_SETTINGS: Array<u64> = Array::with_max_entries(socket_setting::COUNT, 0);
#[map]
static SOCKET_PORTS: Array<PortLine> = Array::with_max_entries(PORT_LINES, 0);
#[map]
static SOCKET_PEERS4: LruHashMap<SocketKey<Addr4>, SocketPeer<Addr4>> =
    LruHashMap::with_max_entries(limits::SOCKET_PEERS, 0);
#[map]
static SOCKET_PEERS6: LruHashMap<SocketKey<Addr6>, SocketPeer<Addr6>> =
    LruHashMap::with_max_entries(limits::SOCKET_PEERS, 0);
#[map]
static SOCKET_CHOICES4: LruHashMap<SocketKey<Addr4>, SocketChoice> =
    LruHashMap::with_max_entries(limits::SOCKET_CHOICES, 0);
#[map]
static SOCKET_CHOICES6: LruHashMap<SocketKey<Addr6>, SocketChoice> =
    LruHashMap::with_max_entries(limits::SOCKET_CHOICES, 0);

/// 1 if the kernel lets these programs choose the error of a refused call (`bpf_set_retval` in the hooks of addresses:
/// since 6.1); set by the loader before the verifier sees it, which then passes over what is not reached.
#[unsafe(no_mangle)]
static SOCKET_ERRNO: u8 = 0;

/// Linux: `ECONNREFUSED`.
const ECONNREFUSED: i32 = 111;
/// The call goes on.
const ALLOW: i32 = 1;
/// The call fails, with EPERM if nothing else is said.
const DENY: i32 = 0;

/// connect(2) of IPv4.
#[cgroup_sock_addr(connect4)]
pub fn weir_connect4(ctx: SockAddrContext) -> i32 {
    connected::<Plain4>(&ctx)
}

/// connect(2) of IPv6.
#[cgroup_sock_addr(connect6)]
pub fn weir_connect6(ctx: SockAddrContext) -> i32 {
    if is_mapped(&ctx) { connected::<Mapped4>(&ctx) } else { connected::<Plain6>(&ctx) }
}

/// sendto(2) and its like to a named address, UDP over IPv4. A socket of IPv6 that names an IPv4 address is seen here.
#[cgroup_sock_addr(sendmsg4)]
pub fn weir_sendmsg4(ctx: SockAddrContext) -> i32 {
    sent::<Plain4>(&ctx)
}

/// sendto(2) and its like to a named address, UDP over IPv6.
#[cgroup_sock_addr(sendmsg6)]
pub fn weir_sendmsg6(ctx: SockAddrContext) -> i32 {
    sent::<Plain6>(&ctx)
}

/// recvfrom(2) and its like that ask for the source, UDP over IPv4.
#[cgroup_sock_addr(recvmsg4)]
pub fn weir_recvmsg4(ctx: SockAddrContext) -> i32 {
    received::<Plain4>(&ctx)
}

/// recvfrom(2) and its like that ask for the source, UDP over IPv6.
#[cgroup_sock_addr(recvmsg6)]
pub fn weir_recvmsg6(ctx: SockAddrContext) -> i32 {
    if is_mapped(&ctx) { received::<Mapped4>(&ctx) } else { received::<Plain6>(&ctx) }
}

/// getpeername(2), IPv4.
#[cgroup_sock_addr(getpeername4)]
pub fn weir_peername4(ctx: SockAddrContext) -> i32 {
    named_peer::<Plain4>(&ctx)
}

/// getpeername(2), IPv6.
#[cgroup_sock_addr(getpeername6)]
pub fn weir_peername6(ctx: SockAddrContext) -> i32 {
    if is_mapped(&ctx) { named_peer::<Mapped4>(&ctx) } else { named_peer::<Plain6>(&ctx) }
}

#[inline(always)]
fn connected<W: View>(ctx: &SockAddrContext) -> i32
where
    Kernel<false>: Lookup<W::Family>,
{
    let kernel = kernel(ctx);
    finish::<W>(ctx, socket::connect::<W::Family, _, _>(&kernel, &kernel, &caller::<W>(ctx, true), &place::<W>(ctx)))
}

#[inline(always)]
fn sent<W: View>(ctx: &SockAddrContext) -> i32
where
    Kernel<false>: Lookup<W::Family>,
{
    let kernel = kernel(ctx);
    finish::<W>(ctx, socket::send::<W::Family, _, _>(&kernel, &kernel, &caller::<W>(ctx, true), &place::<W>(ctx)))
}

#[inline(always)]
fn received<W: View>(ctx: &SockAddrContext) -> i32 {
    let kernel = kernel(ctx);
    if let Some(meant) = socket::received::<W::Family, _>(&kernel, &caller::<W>(ctx, false), &place::<W>(ctx)) {
        write::<W>(ctx, &meant);
    }
    ALLOW
}

#[inline(always)]
fn named_peer<W: View>(ctx: &SockAddrContext) -> i32 {
    let kernel = kernel(ctx);
    if let Some(meant) = socket::peer_name::<W::Family, _>(&kernel, &caller::<W>(ctx, false), &place::<W>(ctx)) {
        write::<W>(ctx, &meant);
    }
    ALLOW
}

#[inline(always)]
fn finish<W: View>(ctx: &SockAddrContext, outcome: Outcome<Addr<W>>) -> i32 {
    match outcome {
        Outcome::Keep => ALLOW,
        Outcome::Replace(place) => {
            write::<W>(ctx, &place);
            ALLOW
        }
        Outcome::Refuse => refuse(),
    }
}

#[inline(always)]
fn refuse() -> i32 {
    // SAFETY: the static is valid; volatile, because the loader gives it another value than the compiler sees.
    if unsafe { read_volatile(&raw const SOCKET_ERRNO) } != 0 {
        // SAFETY: the helper only notes the number; these hooks may call it since 6.1.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
    }
    DENY
}

#[inline(always)]
fn kernel(ctx: &SockAddrContext) -> Kernel<false> {
    Kernel { ctx: ctx.as_ptr(), ingress: 0 }
}

/// Who calls. Only what begins something needs to know where: for answers that stays unknown.
#[inline(always)]
fn caller<W: View>(ctx: &SockAddrContext, begins: bool) -> Caller {
    // SAFETY: the context is valid while the program runs; both helpers take it and give a number (since 5.7).
    let (cookie, ip_protocol) = unsafe { (bpf_get_socket_cookie(ctx.as_ptr()), (*ctx.sock_addr).protocol) };
    let namespace = if begins {
        // SAFETY: as above.
        unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
    } else {
        0
    };
    Caller { cookie, protocol: ip_protocol as u8, namespace, bound_to_loopback: begins && W::bound_to_loopback(ctx) }
}

#[inline(always)]
fn place<W: View>(ctx: &SockAddrContext) -> Place<Addr<W>> {
    // SAFETY: the context is valid while the program runs; the port stands in network order in its low half.
    let port = unsafe { (*ctx.sock_addr).user_port } as u16;
    Place { address: W::address(ctx), port: Be16::from_bytes(port.to_ne_bytes()) }
}

#[inline(always)]
fn write<W: View>(ctx: &SockAddrContext, place: &Place<Addr<W>>) {
    W::set_address(ctx, place.address);
    // SAFETY: the context is valid while the program runs, and these hooks may write this word.
    unsafe { (*ctx.sock_addr).user_port = u32::from(place.port.raw()) };
}

/// The address of a family.
type Addr<W> = <<W as View>::Family as Family>::Addr;

/// How an address stands in the context of a hook.
trait View {
    /// The family that is balanced.
    type Family: SocketMaps;

    /// The address that the process names, or is to be told.
    fn address(ctx: &SockAddrContext) -> Addr<Self>;

    /// Replaces it.
    fn set_address(ctx: &SockAddrContext, address: Addr<Self>);

    /// The socket is bound to a loopback address.
    fn bound_to_loopback(ctx: &SockAddrContext) -> bool;
}

/// IPv4 in the hooks of IPv4.
struct Plain4;
/// IPv6 in the hooks of IPv6.
struct Plain6;
/// IPv4 in the hooks of IPv6.
struct Mapped4;

impl View for Plain4 {
    type Family = V4;

    #[inline(always)]
    fn address(ctx: &SockAddrContext) -> Addr4 {
        // SAFETY: the context is valid while the program runs.
        Be32::from_bytes(unsafe { (*ctx.sock_addr).user_ip4 }.to_ne_bytes())
    }

    #[inline(always)]
    fn set_address(ctx: &SockAddrContext, address: Addr4) {
        // SAFETY: as in `write`.
        unsafe { (*ctx.sock_addr).user_ip4 = address.raw() };
    }

    #[inline(always)]
    fn bound_to_loopback(ctx: &SockAddrContext) -> bool {
        // SAFETY: the context is valid, and so is the socket in it, of which these hooks may read the source.
        let source = unsafe { (*(*ctx.sock_addr).__bindgen_anon_1.sk).src_ip4 };
        is_loopback(Be32::from_bytes(source.to_ne_bytes()))
    }
}

impl View for Plain6 {
    type Family = V6;

    #[inline(always)]
    fn address(ctx: &SockAddrContext) -> Addr6 {
        address6(words6(ctx))
    }

    #[inline(always)]
    fn set_address(ctx: &SockAddrContext, address: Addr6) {
        // SAFETY: as in `write`; whole words.
        unsafe {
            let place = (&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>();
            place.write_volatile(address.words()[0]);
            place.add(1).write_volatile(address.words()[1]);
            place.add(2).write_volatile(address.words()[2]);
            place.add(3).write_volatile(address.words()[3]);
        }
    }

    #[inline(always)]
    fn bound_to_loopback(ctx: &SockAddrContext) -> bool {
        is_loopback(address6(source6(ctx)))
    }
}

impl View for Mapped4 {
    type Family = V4;

    #[inline(always)]
    fn address(ctx: &SockAddrContext) -> Addr4 {
        Be32::from_bytes(words6(ctx)[3].to_ne_bytes())
    }

    #[inline(always)]
    fn set_address(ctx: &SockAddrContext, address: Addr4) {
        // SAFETY: as in `write`; the other words say that this one is of IPv4.
        unsafe { (*ctx.sock_addr).user_ip6[3] = address.raw() };
    }

    #[inline(always)]
    fn bound_to_loopback(ctx: &SockAddrContext) -> bool {
        let source = source6(ctx);
        is_mapped_words(&source) && is_loopback(Be32::from_bytes(source[3].to_ne_bytes()))
    }
}

/// An address of IPv6 from its four words.
#[inline(always)]
fn address6([a, b, c, d]: [u32; 4]) -> Addr6 {
    let long = |high: u32, low: u32| (u64::from(high.to_be()) << 32 | u64::from(low.to_be())).to_be();
    Addr6::from_raw([long(a, b), long(c, d)])
}

#[inline(always)]
fn is_mapped(ctx: &SockAddrContext) -> bool {
    is_mapped_words(&words6(ctx))
}

/// ::ffff:0:0/96.
#[inline(always)]
fn is_mapped_words(words: &[u32; 4]) -> bool {
    words[0] == 0 && words[1] == 0 && words[2] == 0xffff_u32.to_be()
}

/// The words of the address, read one by one: the verifier allows whole words only.
#[inline(always)]
fn words6(ctx: &SockAddrContext) -> [u32; 4] {
    // SAFETY: the context is valid while the program runs.
    unsafe {
        let place = (&raw const (*ctx.sock_addr).user_ip6).cast::<u32>();
        [read_volatile(place), read_volatile(place.add(1)), read_volatile(place.add(2)), read_volatile(place.add(3))]
    }
}

/// The words of the address that the socket is bound to.
#[inline(always)]
fn source6(ctx: &SockAddrContext) -> [u32; 4] {
    // SAFETY: the context is valid, and so is the socket in it, of which these hooks may read the source.
    unsafe {
        let place = (&raw const (*(*ctx.sock_addr).__bindgen_anon_1.sk).src_ip6).cast::<u32>();
        [read_volatile(place), read_volatile(place.add(1)), read_volatile(place.add(2)), read_volatile(place.add(3))]
    }
}

/// The maps of a family.
pub(crate) trait SocketMaps: Routed {
    /// Whom sockets mean.
    const PEERS: &'static LruHashMap<SocketKey<Self::Addr>, SocketPeer<Self::Addr>>;
    /// The choices of unconnected sockets.
    const CHOICES: &'static LruHashMap<SocketKey<Self::Addr>, SocketChoice>;

    /// The address of the node for pods that want the front.
    fn front_address() -> Option<Self::Addr>;
}

impl SocketMaps for V4 {
    const PEERS: &'static LruHashMap<SocketKey<Addr4>, SocketPeer<Addr4>> = &SOCKET_PEERS4;
    const CHOICES: &'static LruHashMap<SocketKey<Addr4>, SocketChoice> = &SOCKET_CHOICES4;

    #[inline(always)]
    fn front_address() -> Option<Addr4> {
        let word = word(socket_setting::FRONT_ADDRESS4) as u32;
        (word != 0).then(|| Be32::from_bytes(word.to_ne_bytes()))
    }
}

impl SocketMaps for V6 {
    const PEERS: &'static LruHashMap<SocketKey<Addr6>, SocketPeer<Addr6>> = &SOCKET_PEERS6;
    const CHOICES: &'static LruHashMap<SocketKey<Addr6>, SocketChoice> = &SOCKET_CHOICES6;

    #[inline(always)]
    fn front_address() -> Option<Addr6> {
        let (first, second) = (word(socket_setting::FRONT_ADDRESS6), word(socket_setting::FRONT_ADDRESS6_LOW));
        (first != 0).then(|| Addr6::from_raw([first, second]))
    }
}

#[inline(always)]
fn word(index: u32) -> u64 {
    SOCKET_SETTINGS.get(index).copied().unwrap_or(0)
}

/// The byte of SOCKET_PORTS for a port.
#[inline(always)]
fn port_byte(port: Be16) -> Option<*mut u8> {
    let port = u32::from(port.host());
    let line = SOCKET_PORTS.get_ptr_mut(port / PORTS_PER_LINE)?.cast::<u8>();
    // SAFETY: the remainder is below the length of the line.
    Some(unsafe { line.add((port % PORTS_PER_LINE) as usize) })
}

impl<F: SocketMaps> Sockets<F> for Kernel<false> {
    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper takes nothing.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn socket_setting(&self, index: u32) -> u64 {
        word(index)
    }

    #[inline(always)]
    fn front_address(&self) -> Option<F::Addr> {
        F::front_address()
    }

    #[inline(always)]
    fn choice(&self, key: &SocketKey<F::Addr>) -> Option<SocketChoice> {
        // SAFETY: plain words; elements are replaced whole.
        unsafe { F::CHOICES.get(key) }.copied()
    }

    #[inline(always)]
    fn put_choice(&self, key: &SocketKey<F::Addr>, choice: &SocketChoice) {
        let _ = F::CHOICES.insert(key, choice, 0);
    }

    #[inline(always)]
    fn peer(&self, key: &SocketKey<F::Addr>) -> Option<SocketPeer<F::Addr>> {
        // SAFETY: plain words; elements are replaced whole.
        unsafe { F::PEERS.get(key) }.copied()
    }

    #[inline(always)]
    fn put_peer(&self, key: &SocketKey<F::Addr>, peer: &SocketPeer<F::Addr>) {
        let _ = F::PEERS.insert(key, peer, 0);
    }

    #[inline(always)]
    fn is_backend_port(&self, port: Be16) -> bool {
        // SAFETY: the pointer is into a map value; a byte has no torn state.
        port_byte(port).is_some_and(|byte| unsafe { read_volatile(byte) } != 0)
    }

    #[inline(always)]
    fn note_backend_port(&self, port: Be16) {
        if let Some(byte) = port_byte(port) {
            // SAFETY: as in `is_backend_port`; several CPUs write the same value.
            unsafe { byte.write_volatile(1) };
        }
    }
}

/// The listener kind that a packet for an address and port of the node is for: pods reach the front so
/// ([`socket::front_kind`]), packets that came in by an external interface do not.
#[inline(always)]
pub(crate) fn front_kind<F: SocketMaps>(local: F::Addr, port: u16) -> u32 {
    let kind = socket::front_kind(word(socket_setting::FRONT_PORTS), port);
    if kind != 0 && F::front_address() == Some(local) { kind } else { 0 }
}
