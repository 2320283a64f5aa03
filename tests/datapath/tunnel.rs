//! Backends behind a device that is no external interface: the second uplink of the world stands for a tunnel.

use lb_common::abi::{device_flag, setting};
use lb_common::drop_reason::DropReason;
use lb_common::lookup::Route;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, Builder, SYN, SYN_ACK, tcp};
use crate::world::{self, CLIENT, Devices, FAR_POD, VIP};

/// Address of the tunnel.
const TUNNEL: &str = "10.20.0.11";

/// The world with a tunnel, to which XDP cannot send, and with `--snat-address`.
fn bench() -> Bench {
    let tables = |devices: Devices| {
        let mut maps = world::host(devices);
        maps.tunnels.push(devices.second);
        maps.settings[setting::SNAT_ADDRESS4 as usize] = u64::from(world::address("10.10.0.77").raw());
        let routing = std::mem::replace(&mut maps.routing, Box::new(|_| Route::None(DropReason::NoRoute)));
        maps.routing = Box::new(move |destination| match routing(destination) {
            Route::Direct { device, .. } if device == devices.second => Route::Kernel { device },
            route => route,
        });
        maps
    };
    let mut bench = Bench::with(tables);
    if let Some(kernel) = &mut bench.kernel {
        kernel.set_flags(bench.devices.second, device_flag::TUNNEL);
    }
    bench
}

/// Sends the client's packet by way of the companion, and gives the port that the backend sees.
fn request(bench: &mut Bench, packet: &Builder) -> u16 {
    // XDP leaves it alone, and has found its flow.
    assert!(
        matches!(bench.run(Hook::Ingress, &packet.bytes()), (Verdict::HandOver(_), bytes) if bytes == packet.bytes())
    );
    let (verdict, bytes) = bench.run(Hook::Companion, &packet.bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.second));
    let port = u16::from_be_bytes([bytes[34], bytes[35]]);
    let sent = packet.clone().from(TUNNEL, port).to(FAR_POD, 8080).ttl(63);
    assert_eq!(crate::fixture::hex(&bytes), crate::fixture::hex(&sent.bytes()), "not from the tunnel's own address");
    port
}

#[test]
fn out_by_the_tunnel_and_back() {
    let mut bench = bench();
    let port = request(&mut bench, &tcp((CLIENT, 40_000), (VIP, 81), SYN));
    let reply = tcp((FAR_POD, 8080), (TUNNEL, port), SYN_ACK);
    let (verdict, bytes) = bench.run(Hook::Tunnel, &reply.bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    let seen = reply.from(VIP, 81).to(CLIENT, 40_000).ttl(63);
    assert_eq!(crate::fixture::hex(&bytes), crate::fixture::hex(&seen.bytes()));
    assert_eq!(request(&mut bench, &tcp((CLIENT, 40_000), (VIP, 81), ACK)), port, "the flow keeps its port");
    bench.assert_equal_state();
}

#[test]
fn only_replies_are_ours_there() {
    let mut bench = bench();
    let port = request(&mut bench, &tcp((CLIENT, 40_000), (VIP, 81), SYN));
    let others = [
        tcp((FAR_POD, 40_001), (VIP, 7070), SYN), // to a frontend: nobody's client comes that way
        tcp((FAR_POD, 8080), (TUNNEL, 80), SYN_ACK),
        tcp((FAR_POD, 8081), (TUNNEL, port), SYN_ACK),
        tcp((FAR_POD, 8080), (world::NODE, port), SYN_ACK),
    ];
    for packet in others {
        assert_eq!(bench.run(Hook::Tunnel, &packet.bytes()), (Verdict::Pass, packet.bytes()), "{packet:?}");
    }
    // Malformed ones are the kernel's to judge.
    let mut cut = tcp((FAR_POD, 8080), (TUNNEL, port), SYN_ACK).bytes();
    cut.truncate(40);
    assert_eq!(bench.run(Hook::Tunnel, &cut).0, Verdict::Pass);
}

#[test]
fn a_reply_that_goes_no_further_is_not_left_to_the_stack() {
    let mut bench = bench();
    let port = request(&mut bench, &tcp((CLIENT, 40_000), (VIP, 81), SYN));
    let reply = tcp((FAR_POD, 8080), (TUNNEL, port), SYN_ACK).ttl(1);
    assert_eq!(bench.run(Hook::Tunnel, &reply.bytes()).0, Verdict::Answer, "the backend is told");
}

#[test]
fn a_reply_that_is_ours_and_broken_goes_nowhere() {
    let mut bench = bench();
    let port = request(&mut bench, &tcp((CLIENT, 40_000), (VIP, 81), SYN));
    let mut reply = tcp((FAR_POD, 8080), (TUNNEL, port), SYN_ACK).bytes();
    reply[24] ^= 1;
    assert_eq!(bench.run(Hook::Tunnel, &reply).0, Verdict::Drop(DropReason::BadIpChecksum));
}
