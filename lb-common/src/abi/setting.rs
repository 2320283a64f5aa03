//! Indices into SETTINGS. Each word changes by one aligned store.

/// Lowest NodePort in use in bits 16–31, highest in bits 0–15, host order; 0 if there is none.
pub const NODE_PORTS: u32 = 0;
/// First port that SNAT leases in bits 16–31, last in bits 0–15, host order; in bits 48–63 and 32–47 first and last of those
/// that replies come to, of which some may have been leased while the range was another ([`snat_ports`]).
pub const SNAT_PORTS: u32 = 1;
/// Mark set on packets for the front.
pub const FRONT_MARK: u32 = 2;
/// Filled slots of LISTENERS for HTTP in bits 0–15, for HTTPS in bits 16–31; the same for IPv6 in bits 32–63.
pub const LISTENER_COUNTS: u32 = 3;
/// Address (IPv4, the raw word in network order) that SNAT takes instead of the device's own; 0 if none.
pub const SNAT_ADDRESS4: u32 = 4;
/// First half of the IPv6 address that SNAT takes instead of the device's own, the raw words in network order; 0 if
/// none. Two words cannot change at once: whoever changes the address writes 0 here, then the second half, then this.
pub const SNAT_ADDRESS6: u32 = 5;
/// Its second half.
pub const SNAT_ADDRESS6_LOW: u32 = 6;
/// Another number with each change of routes, neighbours and interfaces, and of frontends and addresses of the node: what
/// programs remember of those under another number is not used ([`crate::hop`], [`crate::recent`]).
pub const HOP_EPOCH: u32 = 7;
/// Bit 0: DENIED4 is not empty; bit 1: DENIED6 is not.
pub const DENY: u32 = 8;
/// Until when CAPTURE holds, in ticks ([`crate::conntrack::ticks`]): written again as long as somebody wants it.
pub const CAPTURE_UNTIL: u32 = 14;
/// A [`crate::sample::Capture`]; 0: only a few dropped packets are sampled.
pub const CAPTURE: u32 = 15;
/// How many unproven TCP connections may go to pods of this node: nanoseconds for each in bits 0–31, 0 for no limit; how many at
/// once in bits 32–63.
pub const SYN_LIMIT: u32 = 9;
/// Address of this node (IPv4, the raw word in network order) that its tunnels come from; 0 if none.
pub const NODE_ADDRESS4: u32 = 10;
/// First half of the IPv6 address that tunnels come from; changed as [`SNAT_ADDRESS6`] is.
pub const NODE_ADDRESS6: u32 = 11;
/// Its second half.
pub const NODE_ADDRESS6_LOW: u32 = 12;
/// MTU of the network between the nodes; 0 if it is not known.
pub const TUNNEL_MTU: u32 = 13;
/// Until when neighbours are told of announced addresses, in nanoseconds of [`crate::lookup::Lookup::clock`]: a node whose agent
/// is gone leaves them to others.
pub const ANNOUNCED_UNTIL: u32 = 16;
/// How many words there are.
pub const COUNT: u32 = 17;

/// Seconds for which the kernel tracks a connection that goes no further (`nf_conntrack_tcp_timeout_syn_recv`).
const SYN_BURST: u32 = 60;

/// The word of [`SYN_LIMIT`] for so many connections per second, 0 for no limit: as many at once as come in [`SYN_BURST`].
pub const fn syn_limit(per_second: u32) -> u64 {
    match per_second {
        0 => 0,
        _ => (1_000_000_000 / per_second as u64) | ((SYN_BURST * per_second) as u64) << 32,
    }
}

/// Connections per second in a word that [`syn_limit`] has made.
pub const fn syn_limit_of(word: u64) -> u32 {
    (word >> 32) as u32 / SYN_BURST
}

/// The word of [`SNAT_PORTS`] for first and last port that are leased, and that replies come to.
pub const fn snat_ports(leased: (u16, u16), replies: (u16, u16)) -> u64 {
    let ([first, last], [from, to]) = ([leased.0 as u64, leased.1 as u64], [replies.0 as u64, replies.1 as u64]);
    from << 48 | to << 32 | first << 16 | last
}
