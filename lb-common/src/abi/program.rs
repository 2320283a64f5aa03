//! Names of the programs, equal to the functions in `lb-ebpf`.

/// XDP at the ingress of each external interface.
pub const XDP: &str = "weir_xdp";
/// tc ingress companion on the same interfaces.
pub const TC_INGRESS: &str = "weir_tc_ingress";
/// tc egress on the same interfaces.
pub const TC_EGRESS: &str = "weir_tc_egress";
/// tc ingress of devices behind which backends are and which are no external interfaces.
pub const TUNNEL: &str = "weir_tunnel";
/// sk_lookup of the network namespace.
pub const SK_LOOKUP: &str = "weir_sk_lookup";
/// IPv6 of [`XDP`].
pub const XDP6: &str = "weir_xdp6";
/// ICMP of [`XDP`].
pub const XDP_ICMP: &str = "weir_xdp_icmp";
/// ICMP of [`XDP6`].
pub const XDP_ICMP6: &str = "weir_xdp_icmp6";
/// IPv6 of [`TC_INGRESS`].
pub const TC_INGRESS6: &str = "weir_ingress6";
/// ICMP of [`TC_INGRESS`].
pub const TC_ICMP: &str = "weir_in_icmp";
/// ICMP of [`TC_INGRESS6`].
pub const TC_ICMP6: &str = "weir_in_icmp6";
/// Tells the sender of a packet that [`XDP`] or [`XDP6`] drops why; in XDP_PROGRAMS.
pub const XDP_REFUSE: &str = "weir_xdp_refuse";
/// The same for [`TC_INGRESS`]; in TC_PROGRAMS.
pub const TC_REFUSE: &str = "weir_tc_refuse";
/// IPv6 of [`TC_EGRESS`].
pub const TC_EGRESS6: &str = "weir_egress6";
/// Takes samples under XDP; in XDP_PROGRAMS.
pub const SAMPLE: &str = "weir_sample";
/// Takes samples on tc; in TC_PROGRAMS.
pub const SAMPLE_TC: &str = "weir_sample_tc";
/// Packets that [`TC_EGRESS`] caught; in TC_PROGRAMS.
pub const INSIDE4: &str = "weir_inside4";
/// IPv6 of [`INSIDE4`]; in TC_PROGRAMS.
pub const INSIDE6: &str = "weir_inside6";
/// Answers a [`crate::question::Question`]; never attached.
pub const ASK: &str = "weir_ask";
/// The programs of socket-level balancing, at the hooks of a cgroup.
pub const SOCKET: [&str; 8] = [
    "weir_recvmsg4",
    "weir_recvmsg6",
    "weir_peername4",
    "weir_peername6",
    "weir_sendmsg4",
    "weir_sendmsg6",
    "weir_connect4",
    "weir_connect6",
];
/// IPv6 of [`TUNNEL`]; in TC_PROGRAMS.
pub const TUNNEL6: &str = "weir_tunnel6";
/// Forwards by DSR what [`XDP`] knows no flow of; in XDP_PROGRAMS.
pub const XDP_DSR: &str = "weir_xdp_dsr";
/// IPv6 of [`XDP_DSR`]; in XDP_PROGRAMS.
pub const XDP_DSR6: &str = "weir_xdp_dsr6";
/// Begins a flow with the backend that [`XDP_CHOOSE`] or [`XDP_DSR`] has chosen; in XDP_PROGRAMS.
pub const XDP_BEGIN: &str = "weir_xdp_begin";
/// IPv6 of [`XDP_BEGIN`]; in XDP_PROGRAMS.
pub const XDP_BEGIN6: &str = "weir_xdp_begin6";
/// Sends the packet that a flow has begun with; in XDP_PROGRAMS.
pub const XDP_FIRST: &str = "weir_xdp_first";
/// IPv6 of [`XDP_FIRST`]; in XDP_PROGRAMS.
pub const XDP_FIRST6: &str = "weir_xdp_first6";
/// [`XDP_FIRST`] on tc; in TC_PROGRAMS.
pub const TC_FIRST: &str = "weir_tc_first";
/// IPv6 of [`TC_FIRST`]; in TC_PROGRAMS.
pub const TC_FIRST6: &str = "weir_tc_first6";
/// Takes the outer header off packets from other nodes; in XDP_PROGRAMS.
pub const XDP_OPEN: &str = "weir_xdp_open";
/// IPv6 of [`XDP_OPEN`]; in XDP_PROGRAMS.
pub const XDP_OPEN6: &str = "weir_xdp_open6";
/// Chooses backends for new flows ([`crate::policy`]); in XDP_PROGRAMS.
pub const XDP_CHOOSE: &str = "weir_xdp_choose";
/// IPv6 of [`XDP_CHOOSE`]; in XDP_PROGRAMS.
pub const XDP_CHOOSE6: &str = "weir_xdp_choose6";
/// [`XDP_CHOOSE`] on tc; in TC_PROGRAMS.
pub const TC_CHOOSE: &str = "weir_tc_choose";
/// IPv6 of [`TC_CHOOSE`]; in TC_PROGRAMS.
pub const TC_CHOOSE6: &str = "weir_tc_choose6";
/// Tells a client that nobody is there, under XDP; in XDP_PROGRAMS.
pub const XDP_RESET: &str = "weir_xdp_reset";
/// [`XDP_RESET`] on tc; in TC_PROGRAMS.
pub const TC_RESET: &str = "weir_tc_reset";
/// Answers neighbours who ask for an announced address ([`crate::neighbour`]), under XDP; in XDP_PROGRAMS.
pub const XDP_NEIGHBOUR: &str = "weir_xdp_neigh";
/// [`XDP_NEIGHBOUR`] on tc; in TC_PROGRAMS.
pub const TC_NEIGHBOUR: &str = "weir_tc_neigh";
/// Guards the front by SYN cookies ([`crate::cookie`]); in XDP_PROGRAMS.
pub const XDP_COOKIE: &str = "weir_xdp_cookie";
/// IPv6 of [`XDP_COOKIE`]; in XDP_PROGRAMS.
pub const XDP_COOKIE6: &str = "weir_xdp_cookie6";
/// [`XDP_COOKIE`] on tc; in TC_PROGRAMS.
pub const TC_COOKIE: &str = "weir_tc_cookie";
/// IPv6 of [`TC_COOKIE`]; in TC_PROGRAMS.
pub const TC_COOKIE6: &str = "weir_tc_cookie6";
/// [`XDP_DSR`] on tc; in TC_PROGRAMS.
pub const TC_DSR: &str = "weir_tc_dsr";
/// IPv6 of [`TC_DSR`]; in TC_PROGRAMS.
pub const TC_DSR6: &str = "weir_tc_dsr6";
/// [`XDP_BEGIN`] on tc; in TC_PROGRAMS.
pub const TC_BEGIN: &str = "weir_tc_begin";
/// IPv6 of [`TC_BEGIN`]; in TC_PROGRAMS.
pub const TC_BEGIN6: &str = "weir_tc_begin6";
/// [`XDP_OPEN`] on tc; in TC_PROGRAMS.
pub const TC_OPEN: &str = "weir_tc_open";
/// IPv6 of [`TC_OPEN`]; in TC_PROGRAMS.
pub const TC_OPEN6: &str = "weir_tc_open6";
