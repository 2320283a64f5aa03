//! The limit on TCP connections to pods of this node that nobody has proven.

use lb_common::abi::setting;
use lb_common::drop_reason::DropReason;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, SYN, SYN_ACK, tcp, udp};
use crate::world::{CLIENT, LOCAL_POD, VIP};

/// One for a service in 8.4 seconds, and none in advance.
const WORD: u64 = 4_200_000_000 | (1 << 32);

fn first(client: u16) -> Vec<u8> {
    tcp((CLIENT, client), (VIP, 7070), SYN).bytes()
}

#[test]
fn what_nobody_goes_on_with_is_limited_and_what_is_proven_counts_no_more() {
    let mut bench = Bench::new();
    bench.set(setting::SYN_LIMIT, WORD);
    assert_eq!(bench.run(Hook::Ingress, &first(1)).0, Verdict::Deliver);
    bench.dropped(&first(2), DropReason::SynLimited);
    // neither what has begun nor another protocol, or way, is meant
    assert_eq!(bench.run(Hook::Ingress, &first(1)).0, Verdict::Deliver);
    let datagram = bench.run(Hook::Ingress, &udp((CLIENT, 3), (VIP, 5353)).payload(b"x").bytes()).0;
    assert!(matches!(datagram, Verdict::Deliver | Verdict::Transmit(_)), "{datagram:?}");
    assert_eq!(
        bench.run(Hook::Ingress, &tcp((CLIENT, 3), (VIP, 80), SYN).bytes()).0,
        Verdict::Transmit(bench.devices.first)
    );
    let answer = tcp((LOCAL_POD, 8080), (CLIENT, 1), SYN_ACK);
    assert_eq!(bench.run(Hook::Egress, &answer.bytes()).0, Verdict::Deliver);
    assert_eq!(bench.run(Hook::Ingress, &tcp((CLIENT, 1), (VIP, 7070), ACK).bytes()).0, Verdict::Deliver);
    assert_eq!(bench.run(Hook::Ingress, &first(4)).0, Verdict::Deliver, "the first one counts no more");
    bench.assert_equal_state();
}
