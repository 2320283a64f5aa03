//! Replies of local pods at tc egress.

use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{SYN, SYN_ACK, tcp, udp};
use crate::world::{CLIENT, LOCAL_POD, NODE, VIP};

#[test]
fn the_reply_of_a_local_pod_gets_the_vip_back() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, 40_000), (NODE, 30_088), SYN).bytes());
    assert_eq!(verdict, Verdict::Deliver);
    let reply = tcp((LOCAL_POD, 8080), (CLIENT, 40_000), SYN_ACK).ttl(63);
    bench.egress(&reply, Verdict::Deliver, &reply.clone().from(NODE, 30_088));
    bench.assert_equal_state();
}

#[test]
fn udp_replies() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Ingress, &udp((CLIENT, 5000), (VIP, 53)).bytes());
    assert_eq!(verdict, Verdict::Deliver);
    let reply = udp(("10.244.1.11", 53), (CLIENT, 5000));
    bench.egress(&reply, Verdict::Deliver, &reply.clone().from(VIP, 53));
    let bare = reply.no_checksum();
    bench.egress(&bare, Verdict::Deliver, &bare.clone().from(VIP, 53));
}

#[test]
fn what_the_node_sends_on_its_own_is_left_alone() {
    let mut bench = Bench::new();
    for packet in [tcp((LOCAL_POD, 8080), (CLIENT, 40_000), SYN_ACK), tcp((NODE, 22), (CLIENT, 5000), SYN_ACK)] {
        bench.egress(&packet, Verdict::Pass, &packet);
    }
}
