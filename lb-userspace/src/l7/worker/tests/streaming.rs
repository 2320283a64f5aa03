use std::io::{BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::harness::*;
use crate::clock::{now, since};
use crate::l7::table::RouteTable;
use crate::model::settings::{Coding, CompressionSettings, FrontSettings};

const SIZE: u64 = 64 << 20;
/// What sockets and the front may hold between a fast sender and a reader that does not read: far less than the body.
const IN_FLIGHT: u64 = 24 << 20;

/// Waits until a number no longer grows, and returns it.
fn settled(number: &AtomicU64) -> u64 {
    let deadline = now() + PATIENCE;
    let mut last = (number.load(Ordering::SeqCst), now());
    while since(last.1) < Duration::from_millis(400) || last.0 == 0 {
        assert!(now() < deadline, "it never settles");
        std::thread::sleep(Duration::from_millis(5));
        let count = number.load(Ordering::SeqCst);
        if count != last.0 {
            last = (count, now());
        }
    }
    last.0
}

fn write_counted(out: &mut impl Write, sent: &AtomicU64) {
    let block = vec![7; 1 << 16];
    while sent.load(Ordering::SeqCst) < SIZE {
        out.write_all(&block).expect("the reader reads in the end");
        sent.fetch_add(block.len() as u64, Ordering::SeqCst);
    }
}

fn read_counted(input: &mut impl Read, mut left: u64) -> u64 {
    let (mut block, mut count) = (vec![0; 1 << 16], 0);
    while left > 0 {
        let read = input.read(&mut block).expect("bytes in time");
        assert!(read > 0, "the end after {count} bytes");
        assert!(block[..read].iter().all(|&byte| byte == 7));
        (left, count) = (left.saturating_sub(read as u64), count + read as u64);
    }
    count
}

fn chunk(input: &mut impl BufRead) -> Vec<u8> {
    let mut line = String::new();
    input.read_line(&mut line).expect("a line in time");
    let length = usize::from_str_radix(line.trim(), 16).expect("a length");
    let mut chunk = vec![0; length + 2];
    input.read_exact(&mut chunk).expect("a chunk in time");
    chunk.truncate(length);
    chunk
}

#[test]
fn events_are_compressed_one_by_one() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = Backend::start(move |mut client, _| {
        client.head();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}9\r\ndata: 1\n\n\r\n").as_bytes());
        held.lock().expect("no panic").recv().expect("the test releases it");
        client.send(b"0\r\n\r\n");
    });
    let gzip = Coding { on: true, types: Some(vec!["text/event-stream".to_owned()]), ..Coding::default() };
    let compression = CompressionSettings { gzip, ..CompressionSettings::default() };
    let settings = Arc::new(FrontSettings { compression, ..FrontSettings::default() });
    let front = Front::start(&RouteTable { settings, ..all_to(&[backend.address]) }, limits());
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(header(&client.head(), "content-encoding"), Some("gzip".to_owned()));
    let (mut coded, mut text) = (Vec::new(), Vec::new());
    while text != b"data: 1\n\n" {
        coded.extend(chunk(&mut client.stream));
        text.clear();
        // There is no end yet.
        let _ = flate2::read::GzDecoder::new(&coded[..]).read_to_end(&mut text);
    }
    release.send(()).expect("the backend waits");
}

#[test]
fn a_large_answer_waits_for_its_reader() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let backend = Backend::start(move |mut client, _| {
        client.head();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        write_counted(client.stream.get_mut(), &counter);
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(header(&client.head(), "content-length"), Some(SIZE.to_string()));
    let ahead = settled(&sent);
    assert!(ahead < IN_FLIGHT, "{ahead} bytes were taken from the backend while nobody read");
    assert_eq!(read_counted(&mut client.stream, SIZE), SIZE);
}

#[test]
fn a_large_request_waits_for_its_reader() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = Backend::start(move |mut client, _| {
        client.head();
        held.lock().expect("no panic").recv().expect("the test releases it");
        let count = read_counted(&mut client.stream, SIZE).to_string();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{count}", count.len()).as_bytes());
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
    let sent = Arc::new(AtomicU64::new(0));
    let (counter, mut out) = (Arc::clone(&sent), client.stream.get_ref().try_clone().expect("a copy"));
    let writer = std::thread::spawn(move || write_counted(&mut out, &counter));
    let ahead = settled(&sent);
    assert!(ahead < IN_FLIGHT, "{ahead} bytes were taken from the client while nobody read");
    release.send(()).expect("the backend waits");
    assert_eq!(client.reply(false).text(), SIZE.to_string());
    writer.join().expect("all written");
}

#[test]
fn parts_of_an_answer_are_passed_on_as_they_come() {
    let (next, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |mut client, _| {
        client.head();
        client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
        wait.lock().expect("no panic").recv().expect("the test goes on");
        client.send(b"3\r\ntwo\r\n0\r\n\r\n");
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    let mut bytes = [0; 8];
    client.stream.read_exact(&mut bytes).expect("the first part before the second was sent");
    assert_eq!(&bytes, b"3\r\none\r\n");
    next.send(()).expect("the backend waits");
    let mut bytes = [0; 13];
    client.stream.read_exact(&mut bytes).expect("the rest");
    assert_eq!(&bytes, b"3\r\ntwo\r\n0\r\n\r\n");
}

#[test]
fn a_backend_that_dies_in_its_answer_is_not_taken_for_one_that_finished() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let backend = Backend::start(move |mut client, _| {
            client.head();
            client.send(answer.as_bytes());
        });
        let front = Front::start(&all_to(&[backend.address]), limits());
        let mut client = front.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200"));
        let mut rest = Vec::new();
        let _ = client.stream.read_to_end(&mut rest);
        assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 10 + 6, "{rest:?}");
        wait_for("the failure to be counted", || front.counters().upstream_failures == 1);
    }
}

#[test]
fn a_stalled_answer_is_cut_off() {
    let backend = Backend::start(|mut client, _| {
        client.head();
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        client.is_at_end();
    });
    let limits = crate::l7::worker::Limits { answer: Duration::from_millis(100), ..limits() };
    let front = Front::start(&all_to(&[backend.address]), limits);
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    assert_eq!(rest, b"hello");
}
