//! Why a packet was dropped: one numbered list. Numbers are never used again for something else.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $label:literal;)+) => {
        /// Why a packet was dropped. The number indexes the drop counters; the label is the one in metrics and JSON.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name),+];

            /// The stable label of metrics, JSON and documentation.
            pub const fn label(self) -> &'static str {
                match self { $(DropReason::$name => $label),+ }
            }

            /// One sentence for people.
            pub const fn text(self) -> &'static str {
                match self { $(DropReason::$name => concat!($($doc),+)),+ }
            }
        }
    };
}

drop_reasons! {
    /// Ethernet or VLAN header cut short.
    TruncatedEthernet = 1, "truncated_ethernet";
    /// IP header cut short, or its length field larger than the packet.
    TruncatedIp = 2, "truncated_ip";
    /// IP version, header length or total length that contradict each other.
    BadIpHeader = 3, "bad_ip_header";
    /// The checksum of the IPv4 header is wrong.
    BadIpChecksum = 4, "bad_ip_checksum";
    /// TCP, UDP or SCTP header cut short, or with an impossible length.
    BadTransportHeader = 5, "bad_transport_header";
    /// The time to live ran out on the way to another node.
    TtlExceeded = 6, "ttl_exceeded";
    /// The service has no backend.
    NoBackend = 7, "no_backend";
    /// No port was free for source NAT.
    SnatExhausted = 8, "snat_exhausted";
    /// The route to the next hop is a blackhole, unreachable or prohibited.
    NoRoute = 9, "no_route";
    /// The packet is larger than the next hop's link can carry.
    TooBig = 10, "too_big";
    /// Forwarding is switched off on the interface.
    ForwardingOff = 11, "forwarding_off";
    /// A first packet for the front found no listener; the client tries again.
    FrontNotListening = 12, "front_not_listening";
    /// The kernel refused a change that the pipeline asked for.
    KernelRefused = 13, "kernel_refused";
    /// Source address that no client can have (zero, broadcast, multicast, the frontend itself or another VIP).
    BadSource = 14, "bad_source";
    /// A TCP segment with flags that no stack sends (none, SYN with FIN or RST).
    BadTcpFlags = 15, "bad_tcp_flags";
    /// The way to a backend on another node leads out of a device that is no external interface, where replies would not
    /// be seen.
    NotAnUplink = 16, "not_an_uplink";
    /// A later fragment for a VIP came before the first one, or long after it.
    FragmentEarly = 17, "fragment_early";
    /// A routing header of type 0, or one with segments left, in a packet for a VIP.
    RoutingHeader = 18, "routing_header";
    /// Extension headers of a packet for a VIP that are too many, too long, cut short or out of order.
    ExtensionHeaders = 19, "extension_headers";
    /// A UDP datagram of IPv6 without a checksum.
    UdpZeroChecksum = 20, "udp_zero_checksum";
    /// The source is in the list of those from which everything is dropped.
    Denied = 21, "denied";
    /// The client is not one of those that the Service is for (`loadBalancerSourceRanges`).
    SourceRange = 22, "source_range";
    /// A packet for a frontend came in a tunnel from an address that no node of the cluster has.
    TunnelSource = 24, "tunnel_source";
    /// A packet came in a tunnel for a VIP that has no such frontend, or one of the front.
    TunnelFrontend = 25, "tunnel_frontend";
    /// Two nodes in a row sent a packet on to another one, and this node has no backend for it either.
    TunnelledTwice = 26, "tunnelled_twice";
    /// Another SCTP client sends to the same backend from the same port, which source NAT cannot change: it is in a checksum
    /// over the whole packet.
    SctpPortTaken = 28, "sctp_port_taken";
    /// An ICMP error about a flow that this node does not know: it was sent to all nodes, of which one knows the flow, or to
    /// the node of the backend in the ring.
    ErrorUnknown = 30, "icmp_unknown_flow";
    /// There are too many TCP connections to pods of this node whose clients have not gone on after an answer, as in a flood of
    /// forged first segments. Who sends this one again gets through.
    SynLimited = 29, "syn_limited";
    /// An acknowledgement to the front without data, of no connection and of no SYN cookie, while a flood has such cookies sent.
    BadSynCookie = 31, "bad_syn_cookie";
    /// A VIP without a frontend at this port.
    NoPort = 23, "no_port";
    /// Clients from outside are led to backends on this node only, and all are on other nodes.
    NoLocalBackend = 27, "no_local_backend";
}

/// How many drop counters there are; number 0 is not used.
pub const DROP_REASONS: u32 = 32;
