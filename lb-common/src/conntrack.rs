//! What is remembered of a flow and for how long: pure steps, time is an argument.

use crate::abi::protocol;
use crate::transport::tcp_flag;

/// The state of a flow: what has been seen, as bits, so that no order of segments needs a case of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowState(u16);

impl FlowState {
    /// Nothing seen but packets from the client.
    pub const HALF_OPEN: FlowState = FlowState(0);
    /// The client went on after an answer of the backend.
    pub const PROVEN: FlowState = FlowState(1);
    const CLIENT_FIN: u16 = 2;
    const BACKEND_FIN: u16 = 4;
    const RESET: u16 = 8;

    /// From the number in a map entry.
    #[inline(always)]
    pub const fn from_number(number: u16) -> Self {
        FlowState(number)
    }

    /// The number for a map entry.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// After a segment from the client with these flags (0 for UDP).
    #[inline(always)]
    pub const fn after_client(self, tcp_flags: u8) -> Self {
        self.after(tcp_flags, Self::CLIENT_FIN)
    }

    /// After a segment from the backend with these flags (0 for UDP).
    #[inline(always)]
    pub const fn after_backend(self, tcp_flags: u8) -> Self {
        self.after(tcp_flags, Self::BACKEND_FIN)
    }

    #[inline(always)]
    const fn after(self, tcp_flags: u8, fin: u16) -> Self {
        let mut bits = self.0;
        if tcp_flags & tcp_flag::FIN != 0 {
            bits |= fin;
        }
        if tcp_flags & tcp_flag::RST != 0 {
            bits |= Self::RESET;
        }
        FlowState(bits)
    }

    /// One side has sent an RST.
    #[inline(always)]
    pub const fn is_reset(self) -> bool {
        self.0 & Self::RESET != 0
    }

    /// Both sides have sent a FIN, or one an RST.
    #[inline(always)]
    pub const fn is_closed(self) -> bool {
        self.is_reset() || self.0 & (Self::CLIENT_FIN | Self::BACKEND_FIN) == Self::CLIENT_FIN | Self::BACKEND_FIN
    }

    /// At least one side has said that it ends.
    #[inline(always)]
    pub const fn is_closing(self) -> bool {
        self.0 & (Self::CLIENT_FIN | Self::BACKEND_FIN | Self::RESET) != 0
    }

    /// The word for people.
    pub const fn label(self) -> &'static str {
        if self.is_closed() {
            "closed"
        } else if self.is_closing() {
            "closing"
        } else if self.0 & Self::PROVEN.0 != 0 {
            "established"
        } else {
            "half-open"
        }
    }
}

/// One tick is 2^30 ns, about 1.07 s: a shift instead of a division, and 32 bits last 146 years.
#[inline(always)]
pub const fn ticks(monotonic_ns: u64) -> u32 {
    (monotonic_ns >> 30) as u32
}

/// Seconds to ticks, rounded up.
#[inline(always)]
pub(crate) const fn seconds(seconds: u64) -> u32 {
    ((seconds * 1_000_000_000) >> 30) as u32 + 1
}

/// TCP, nothing seen from the backend: as long as clients repeat a SYN (RFC 5382 REQ-5 allows down to 4 minutes for
/// transitory states; half-open entries are also bounded by their small table).
pub const TCP_HALF_OPEN: u32 = seconds(75);
/// TCP, established: RFC 5382 REQ-5 asks for no less than 2 hours 4 minutes.
pub const TCP_ESTABLISHED: u32 = seconds(7_440);
/// TCP, one FIN seen: RFC 5382 REQ-5, 4 minutes.
pub const TCP_CLOSING: u32 = seconds(240);
/// TCP, both FINs seen: as long as the backend stays in TIME-WAIT (60 s on Linux, include/net/tcp.h TCP_TIMEWAIT_LEN), so
/// that no other flow gets a tuple on which the backend would challenge it.
pub const TCP_CLOSED: u32 = seconds(60);
/// TCP, reset: long enough for repeated last segments.
pub const TCP_RESET: u32 = seconds(10);
/// UDP, no answer yet.
pub const UDP_HALF_OPEN: u32 = seconds(30);
/// UDP: RFC 4787 REQ-5, no less than 2 minutes, 5 recommended.
pub const UDP_ESTABLISHED: u32 = seconds(300);

/// How many ticks have passed since `last_seen`. A clock that is behind counts as no time: another CPU may have entered the
/// next tick, and used the flow in it, since this one read the time.
#[inline(always)]
pub const fn idle_ticks(now: u32, last_seen: u32) -> u32 {
    let passed = now.wrapping_sub(last_seen);
    if passed > u32::MAX / 2 { 0 } else { passed }
}

/// How long a flow may be idle, in ticks. SCTP is kept like TCP: its endpoints send a HEARTBEAT every 30 seconds or so on
/// what is idle (RFC 9260, section 8.3), unless the application forbids it.
#[inline(always)]
pub const fn timeout_ticks(state: u16, ip_protocol: u8) -> u32 {
    let state = FlowState::from_number(state);
    let half_open = state.number() & FlowState::PROVEN.number() == 0;
    if ip_protocol == protocol::UDP {
        return if half_open { UDP_HALF_OPEN } else { UDP_ESTABLISHED };
    }
    if state.is_reset() {
        TCP_RESET
    } else if state.is_closed() {
        TCP_CLOSED
    } else if half_open {
        TCP_HALF_OPEN
    } else if state.is_closing() {
        TCP_CLOSING
    } else {
        TCP_ESTABLISHED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcp_flag::{ACK, FIN, RST};

    #[test]
    fn one_fin_closes_one_side() {
        let open = FlowState::PROVEN;
        assert!(!open.is_closing());
        let one = open.after_client(FIN | ACK);
        assert!(one.is_closing() && !one.is_closed());
        assert!(!one.after_client(FIN | ACK).is_closed(), "a repeated FIN of the same side");
        assert!(one.after_backend(FIN | ACK).is_closed());
        assert!(open.after_backend(RST).is_closed());
    }

    #[test]
    fn what_was_seen_in_the_future_is_not_idle() {
        assert_eq!(idle_ticks(101, 90), 11);
        assert_eq!(idle_ticks(99, 100), 0);
        assert_eq!(idle_ticks(3, u32::MAX), 4, "ticks wrap");
    }

    #[test]
    fn timeouts_follow_the_rfcs() {
        const SECOND: u64 = 1_000_000_000;
        let tcp = |state: FlowState| u64::from(timeout_ticks(state.number(), protocol::TCP)) << 30;
        assert!(tcp(FlowState::PROVEN) >= 7_440 * SECOND);
        assert!(tcp(FlowState::PROVEN.after_client(FIN)) >= 240 * SECOND);
        assert!(tcp(FlowState::HALF_OPEN) < tcp(FlowState::PROVEN.after_client(FIN)));
        assert!(tcp(FlowState::PROVEN.after_client(RST)) <= 12 * SECOND);
        let time_wait = FlowState::PROVEN.after_client(FIN).after_backend(FIN);
        assert!((60 * SECOND..65 * SECOND).contains(&tcp(time_wait)), "Linux keeps TIME-WAIT for 60 s");
        assert!(u64::from(timeout_ticks(FlowState::PROVEN.number(), protocol::UDP)) << 30 >= 120 * SECOND);
    }
}
