use super::harness::*;
use crate::l7::worker::Limits;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn who_comes_when_all_places_are_taken_waits_for_one() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let front = Front::start(&all_to(&[backend.address]), Limits { clients: 2, ..limits() });
    let mut held: Vec<Client> = (0..2).map(|_| front.connect()).collect();
    for client in &mut held {
        client.send(GET);
        assert_eq!(client.reply(false).text(), "ok");
    }
    let mut next = front.connect();
    next.send(GET);
    // Those who have a place are served all the while.
    held[0].send(GET);
    assert_eq!(held[0].reply(false).text(), "ok");
    assert_eq!(front.counters().connections, 2, "a third client is served beside two");
    held.pop();
    assert_eq!(next.reply(false).text(), "ok");
}
