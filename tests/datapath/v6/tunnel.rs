//! Backends behind the tunnel of an overlay network for IPv6, as [`crate::tunnel`] has them for IPv4.

use lb_common::abi::{device_flag, setting};
use lb_common::addr::V6;
use lb_common::host::Maps;
use lb_common::lookup::Route;

use super::*;
use crate::fixture::hex;
use crate::world::Devices;
use crate::world6;

/// Address of the tunnel.
const TUNNEL: &str = NODE2;
/// `--snat-address`, which the tunnel does not take.
const SNAT: &str = "fd00:10::77";

/// The world with the second uplink as a tunnel, to which XDP cannot send.
fn bench() -> Bench6 {
    let tables = |devices: Devices| {
        let mut maps: Maps<V6> = world6::host(devices);
        maps.tunnels.push(devices.second);
        let [high, low] = world6::address(SNAT).raw();
        maps.settings[setting::SNAT_ADDRESS6 as usize] = high;
        maps.settings[setting::SNAT_ADDRESS6_LOW as usize] = low;
        let routing = std::mem::replace(&mut maps.routing, Box::new(|_| Route::None(DropReason::NoRoute)));
        maps.routing = Box::new(move |destination| match routing(destination) {
            Route::Direct { device, .. } if device == devices.second => Route::Kernel { device },
            route => route,
        });
        maps
    };
    let mut bench = Bench6::with(tables);
    if let Some(kernel) = &mut bench.kernel {
        kernel.set_flags(bench.devices.second, device_flag::TUNNEL);
    }
    bench
}

/// Sends the client's packet by way of the companion, and gives the port that the backend sees.
fn request(bench: &mut Bench6, packet: &Builder6) -> u16 {
    let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
    assert!(matches!(verdict, Verdict::HandOver(_)) && bytes == packet.bytes(), "XDP leaves it alone: {verdict:?}");
    let (verdict, bytes) = bench.run(Hook::Companion, &packet.bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.second));
    let port = u16::from_be_bytes([bytes[54], bytes[55]]);
    let sent = packet.clone().from(TUNNEL, port).to(FAR_POD, 8080).hops(63);
    assert_eq!(hex(&bytes), hex(&sent.bytes()), "not from the tunnel's own address");
    port
}

#[test]
fn out_by_the_tunnel_and_back() {
    let mut bench = bench();
    let packet = |flags| packet6(Carries::Tcp(flags), (CLIENT, 40_000), (VIP, 82));
    let port = request(&mut bench, &packet(SYN));
    let reply = packet6(Carries::Tcp(SYN_ACK), (FAR_POD, 8080), (TUNNEL, port));
    let seen = reply.clone().from(VIP, 82).to(CLIENT, 40_000).hops(63);
    let out = Verdict::Transmit(bench.devices.first);
    bench.becomes(Hook::Tunnel, &reply, out, &seen);
    assert_eq!(request(&mut bench, &packet(ACK)), port, "the flow keeps its port");
    bench.assert_equal_state();
}

#[test]
fn only_replies_are_ours_there() {
    let mut bench = bench();
    let port = request(&mut bench, &packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 82)));
    let segment = |from, to, flags| packet6(Carries::Tcp(flags), from, to);
    for packet in [
        segment((FAR_POD, 40_001), (VIP, 80), SYN), // to a frontend: nobody's client comes that way
        segment((FAR_POD, 8080), (TUNNEL, 80), SYN_ACK),
        segment((FAR_POD, 8081), (TUNNEL, port), SYN_ACK),
        segment((FAR_POD, 8080), (NODE, port), SYN_ACK),
    ] {
        bench.becomes(Hook::Tunnel, &packet, Verdict::Pass, &packet);
    }
    let last = segment((FAR_POD, 8080), (TUNNEL, port), SYN_ACK).hops(1);
    assert_eq!(bench.run(Hook::Tunnel, &last.bytes()).0, Verdict::Answer, "the backend is told");
}
