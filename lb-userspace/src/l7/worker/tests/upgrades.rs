use std::io::{ErrorKind, Read};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::harness::*;

const UPGRADE: &[u8] = b"GET /raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";
const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";

/// A client that takes the upgrade for granted may say something before it has been agreed to.
#[test]
fn what_comes_before_the_101_is_held_until_then() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let backend = Backend::start(move |mut client, heads| {
        let head = client.head();
        heads.lock().expect("no panic").push(head.clone());
        if !head.starts_with("GET /raw ") {
            return client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        held.lock().expect("no panic").recv().expect("the test releases it");
        let stream = client.stream.get_ref();
        stream.set_nonblocking(true).expect("set");
        let early = stream.peek(&mut [0]).map_err(|error| error.kind());
        stream.set_nonblocking(false).expect("set");
        assert_eq!(early, Err(ErrorKind::WouldBlock), "nothing may come before the 101");
        client.send(AGREED);
        let mut heard = [0; 5];
        client.stream.read_exact(&mut heard).expect("what came early");
        client.send(&heard.map(|byte| byte.to_ascii_uppercase()));
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(UPGRADE);
    wait_for("the request", || backend.requests() == 1);
    client.send(b"early");
    // The worker looks at its connections in turn: when others have been answered it has seen those bytes.
    for _ in 0..5 {
        assert_eq!(front.ask("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").text(), "ok");
    }
    release.send(()).expect("the backend waits");
    assert_eq!(client.reply(false).status, 101);
    let mut answer = [0; 5];
    client.stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"EARLY");
}
