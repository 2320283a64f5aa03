use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;
use std::task::Context;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::yield_now;

use super::*;
use crate::l7::guard::{Handle, Limits};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// What was made of a request: method, target, version, headers, and its body with trailers if it came to its end.
type Seen = (String, Option<(Vec<u8>, usize)>);

fn told<B>(request: &Request<B>) -> String {
    format!("{} {} {:?} {:?}", request.method(), request.uri(), request.version(), request.headers())
}

async fn whole(body: impl Body<Data = Bytes>) -> Option<(Vec<u8>, usize)> {
    let body = body.collect().await.ok()?;
    let trailers = body.trailers().map_or(0, HeaderMap::len);
    Some((body.to_bytes().to_vec(), trailers))
}

fn guarded(stream: DuplexStream) -> (Line<DuplexStream>, Handle) {
    let (guard, handle) = Guard::new(stream, Limits::default());
    (Line::new(guard), handle)
}

/// Sends it in pieces, and reads all answers.
async fn write(mut client: DuplexStream, pieces: Vec<Vec<u8>>) {
    for piece in pieces {
        if client.write_all(&piece).await.is_err() {
            return;
        }
        yield_now().await;
    }
    let _ = client.shutdown().await;
    let _ = client.read_to_end(&mut Vec::new()).await;
}

/// The requests of a stream that comes in pieces.
fn taken(pieces: Vec<Vec<u8>>) -> Vec<Seen> {
    runtime().block_on(async {
        let (client, server) = duplex(1 << 18);
        let (line, handle) = guarded(server);
        let line = Rc::new(line);
        let serve = async {
            let mut seen = Vec::new();
            while let Ok(Some(head)) = poll_fn(|cx| line.poll_head(cx)).await {
                let body = line.body(&head);
                if handle.refusal().is_some() {
                    seen.push(("refused".to_owned(), None));
                    break;
                }
                let body = whole(body).await;
                let is_whole = body.is_some();
                seen.push((told(&head.request), body));
                let settled = poll_fn(|cx| line.poll_settled(cx)).await;
                assert_eq!(settled, is_whole);
                if !settled || !head.asked.keeps {
                    break;
                }
            }
            line.take();
            seen
        };
        tokio::join!(serve, write(client, pieces)).0
    })
}

/// The same as hyper sees it behind the guard.
fn served(stream: &[u8]) -> Vec<Seen> {
    runtime().block_on(async {
        let (client, server) = duplex(1 << 18);
        let (guard, handle) = Guard::new(server, Limits::default());
        let seen = Mutex::new(Vec::new());
        let service = service_fn(async |request: Request<Incoming>| {
            let (told, refused) = (told(&request), handle.refusal().is_some());
            let body = whole(request.into_body()).await;
            let one = if refused { ("refused".to_owned(), None) } else { (told, body) };
            seen.lock().expect("no panic").push(one);
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(guard), service);
        let _ = tokio::join!(connection, write(client, vec![stream.to_vec()]));
        seen.into_inner().expect("no panic")
    })
}

fn cut(bytes: &[u8], at: usize) -> Vec<Vec<u8>> {
    vec![bytes[..at].to_vec(), bytes[at..].to_vec()]
}

const STREAMS: &[&str] = &[
    "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b?c HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\nGET /c HTTP/1.1\r\nHost: c\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPUT /b HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nGET /c HTTP/1.1\r\nHost: c\r\nX: 1\r\nx: 2\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nshort",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET http://a/x HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
];

#[test]
fn cut_at_every_byte_it_is_the_same_and_what_hyper_sees() {
    for stream in STREAMS {
        let bytes = stream.as_bytes();
        let all = taken(vec![bytes.to_vec()]);
        assert_eq!(all, served(bytes), "{stream:?}");
        for at in 0..bytes.len() {
            assert_eq!(taken(cut(bytes, at)), all, "{stream:?} cut at {at}");
        }
        assert_eq!(taken(bytes.iter().map(|byte| vec![*byte]).collect()), all, "{stream:?} byte by byte");
    }
    assert_eq!(taken(vec![STREAMS[0].into()]).len(), 2, "close is close");
    assert_eq!(taken(vec![STREAMS[1].into()])[1].1, Some((b"abc".to_vec(), 1)));
    assert_eq!(taken(vec![STREAMS[4].into()])[0].1, None, "it is not all there");
}

#[test]
fn long_heads_and_bodies_come_whole() {
    let (long, body) = ("x".repeat(40 << 10), "y".repeat(1 << 17));
    let stream = format!("POST / HTTP/1.1\r\nHost: a\r\nX: {long}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let seen = taken(vec![stream.clone().into_bytes()]);
    assert_eq!(seen, served(stream.as_bytes()));
    assert_eq!(seen[0].1, Some((body.into_bytes(), 0)));
}

proptest! {
    #[test]
    fn both_agree_on_every_stream_however_it_comes(parts in prop::collection::vec(prop_oneof![
        4 => "(GET|POST|HEAD) /[a-z%{?]{0,3} HTTP/1\\.[01]\r\nHost: a\r\n(Connection: (close|keep-alive, x|x)\r\n)?\r\n",
        3 => "POST /[a-z]{0,3} HTTP/1\\.1\r\nHost: a\r\nContent-Length: [0-4]\r\n\r\n",
        3 => "POST /[a-z]{0,3} HTTP/1\\.1\r\nHost: a\r\n(Transfer-Encoding|transfer-encoding): ?(chunked|Chunked)\r\n\r\n",
        3 => "[0-3](;x)?\r\n[a-z]{0,3}\r\n",
        2 => "0\r\n(A: b\r\n)?\r\n",
        1 => "[a-z\r\n]{0,4}",
        1 => "GET / HTTP/1\\.1\r\nHost: a\r\n(Host: a|Content-Length: 1, 1|Transfer-Encoding: x|X : y| y|X: y\n)\r\n\r\n",
    ], 0..8), at in any::<prop::sample::Index>()) {
        let stream = parts.concat().into_bytes();
        let seen = taken(vec![stream.clone()]);
        prop_assert_eq!(&seen, &served(&stream));
        prop_assert_eq!(taken(cut(&stream, at.index(stream.len() + 1))), seen);
    }
}

/// A body in these pieces; `None` is one that is waited for a while.
struct Pieces {
    pieces: VecDeque<Option<&'static [u8]>>,
    length: Option<u64>,
    trailers: Option<HeaderMap>,
    breaks: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        match self.pieces.pop_front() {
            Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None if self.breaks => Poll::Ready(Some(Err(()))),
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

const PLAIN: Asked = Asked { by_head: false, old: false, keeps: true, trailers: false };

/// What goes out, and whether another request may follow; the date is left out.
fn sent(asked: Asked, response: Response<Pieces>, room: usize) -> (String, Option<bool>) {
    runtime().block_on(async {
        let (mut client, server) = duplex(room);
        let (line, _) = guarded(server);
        let (head, body) = response.into_parts();
        let mut out = Vec::new();
        let form = answer::write(&head, &body.size_hint(), asked, &Dates::default(), &mut out);
        let mut sending = Sending::new(out, form.framing, body);
        let send = async {
            let result = poll_fn(|cx| sending.poll(&line, cx)).await;
            line.take();
            result
        };
        let mut heard = String::new();
        let (result, read) = tokio::join!(send, client.read_to_string(&mut heard));
        read.expect("text");
        let (start, end) = heard.split_once("date: ").expect("a date");
        let (_, end) = end.split_once("\r\n").expect("its end");
        (format!("{start}{end}").replace("\r\n", "|"), result.ok().map(|()| form.keeps))
    })
}

fn body(pieces: &[Option<&'static [u8]>], length: Option<u64>) -> Pieces {
    Pieces { pieces: pieces.iter().copied().collect(), length, trailers: None, breaks: false }
}

fn response(status: u16, headers: &[(&'static str, &str)], body: Pieces) -> Response<Pieces> {
    let builder =
        headers.iter().fold(Response::builder().status(status), |one, (name, value)| one.header(*name, *value));
    builder.body(body).expect("a response")
}

const TWO: &[Option<&[u8]>] = &[Some(b"ab"), None, Some(b"cde")];

#[test]
fn answers_as_they_go_out() {
    let (by_head, old) = (Asked { by_head: true, ..PLAIN }, Asked { old: true, ..PLAIN });
    let last = Asked { keeps: false, ..PLAIN };
    for (asked, status, headers, length, expected, keeps) in [
        (PLAIN, 200, &[("a", "b")][..], Some(5), "HTTP/1.1 200 OK|a: b|content-length: 5||abcde", true),
        (PLAIN, 200, &[("content-length", "5")], Some(5), "HTTP/1.1 200 OK|content-length: 5||abcde", true),
        (PLAIN, 200, &[("content-length", "5")], None, "HTTP/1.1 200 OK|content-length: 5||abcde", true),
        (PLAIN, 200, &[], None, "HTTP/1.1 200 OK|transfer-encoding: chunked||2|ab|3|cde|0||", true),
        (PLAIN, 404, &[], Some(0), "HTTP/1.1 404 Not Found|content-length: 0||", true),
        (PLAIN, 799, &[], Some(0), "HTTP/1.1 799 <none>|content-length: 0||", true),
        (PLAIN, 204, &[("content-length", "5")], None, "HTTP/1.1 204 No Content||", true),
        (PLAIN, 304, &[("content-length", "5"), ("etag", "x")], Some(0), "HTTP/1.1 304 Not Modified|etag: x||", true),
        (PLAIN, 101, &[("upgrade", "x")], None, "HTTP/1.1 101 Switching Protocols|upgrade: x||", false),
        (
            PLAIN,
            200,
            &[("connection", "close")],
            Some(5),
            "HTTP/1.1 200 OK|connection: close|content-length: 5||abcde",
            false,
        ),
        (last, 200, &[], Some(5), "HTTP/1.1 200 OK|content-length: 5|connection: close||abcde", false),
        (by_head, 200, &[("content-length", "9")], Some(0), "HTTP/1.1 200 OK|content-length: 9||", true),
        (by_head, 200, &[], Some(5), "HTTP/1.1 200 OK|content-length: 5||", true),
        (by_head, 200, &[], None, "HTTP/1.1 200 OK||", true),
        (old, 200, &[], Some(5), "HTTP/1.0 200 OK|content-length: 5|connection: keep-alive||abcde", true),
        (old, 200, &[], None, "HTTP/1.0 200 OK||abcde", false),
        (Asked { keeps: false, ..old }, 200, &[], Some(5), "HTTP/1.0 200 OK|content-length: 5||abcde", false),
        (PLAIN, 200, &[("transfer-encoding", "gzip")], Some(5), "HTTP/1.1 200 OK|content-length: 5||abcde", true),
    ] {
        for room in [1, 7, 1 << 16] {
            let got = sent(asked, response(status, headers, body(TWO, length)), room);
            assert_eq!(got, (expected.to_owned(), Some(keeps)), "{asked:?} {status} {headers:?} {length:?}");
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    for (length, breaks, expected) in [
        (Some(9), false, "HTTP/1.1 200 OK|content-length: 9||abcde"),
        (Some(9), true, "HTTP/1.1 200 OK|content-length: 9||abcde"),
        (None, true, "HTTP/1.1 200 OK|transfer-encoding: chunked||2|ab|3|cde|"),
    ] {
        let body = Pieces { breaks, ..body(TWO, length) };
        assert_eq!(sent(PLAIN, response(200, &[], body), 1 << 16), (expected.to_owned(), None));
    }
    // One that is too long is as long as its head says.
    let got = sent(PLAIN, response(200, &[], body(TWO, Some(3))), 1 << 16);
    assert_eq!(got, ("HTTP/1.1 200 OK|content-length: 3||abc".to_owned(), Some(true)));
}

#[test]
fn trailers_go_to_who_wants_them_if_they_are_announced_and_may() {
    let wants = Asked { trailers: true, ..PLAIN };
    let announced = [("trailer", "a, host")];
    for (asked, headers, expected) in [
        (wants, &announced[..], "|trailer: a, host|transfer-encoding: chunked||2|ab|0|a: 1||"),
        (wants, &[], "|transfer-encoding: chunked||2|ab|0||"),
        (PLAIN, &announced, "|trailer: a, host|transfer-encoding: chunked||2|ab|0||"),
        (Asked { old: true, ..wants }, &announced, "||ab"),
    ] {
        let mut trailers = HeaderMap::new();
        for (name, value) in [("a", "1"), ("b", "2"), ("host", "3")] {
            trailers.insert(name, value.parse().expect("a value"));
        }
        let body = Pieces { trailers: Some(trailers), ..body(&[Some(b"ab")], None) };
        let (heard, _) = sent(asked, response(200, headers, body), 1 << 16);
        assert_eq!(&heard["HTTP/1.x 200 OK".len()..], expected, "{asked:?}");
    }
}

#[test]
fn long_pieces_come_out_as_they_went_in() {
    static LONG: [u8; 100_000] = [b'x'; 100_000];
    let pieces = [Some(&LONG[..]), Some(b"y"), Some(&LONG[..20_000]), None, Some(&LONG[..9_000])];
    for (length, room) in [(Some(129_001), 1000), (Some(129_001), 1 << 20), (None, 1000), (None, 1 << 20)] {
        let (heard, keeps) = sent(PLAIN, response(200, &[], body(&pieces, length)), room);
        let (_, text) = heard.split_once("||").expect("a head");
        let chunks = || {
            format!("186a0|{0}|1|y|4e20|{1}|2328|{2}|0||", "x".repeat(100_000), "x".repeat(20_000), "x".repeat(9_000))
        };
        let expected = length.map_or_else(chunks, |_| format!("{}y{}", "x".repeat(100_000), "x".repeat(29_000)));
        assert!(text == expected, "{length:?} {room}: {} bytes", text.len());
        assert_eq!(keeps, Some(true));
    }
}

#[test]
fn who_waits_for_permission_gets_it_when_the_body_is_read() {
    runtime().block_on(async {
        for (reads, expected) in [(true, "HTTP/1.1 100 Continue\r\n\r\n"), (false, "")] {
            let (mut client, server) = duplex(1 << 16);
            let (line, _) = guarded(server);
            let line = Rc::new(line);
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
            client.write_all(head).await.expect("room");
            let head = poll_fn(|cx| line.poll_head(cx)).await.expect("a head").expect("one");
            let mut body = line.body(&head);
            if reads {
                let mut first = std::pin::pin!(body.frame());
                assert!(poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_pending())).await);
            }
            drop(body);
            assert_eq!(begin(&line).await, (&[][..], false), "the body has not come");
            line.take();
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.expect("its end");
            assert_eq!(heard, expected);
        }
    });
}

#[test]
fn a_body_that_nobody_wants_is_skipped_if_it_is_here() {
    runtime().block_on(async {
        for (come, goes_on) in [("ab", true), ("a", false)] {
            let (mut client, server) = duplex(1 << 16);
            let (line, _) = guarded(server);
            let line = Rc::new(line);
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{come}");
            client.write_all(head.as_bytes()).await.expect("room");
            let head = poll_fn(|cx| line.poll_head(cx)).await.expect("a head").expect("one");
            let body = line.body(&head);
            assert!(begin(&line).await.1, "somebody has it");
            drop(body);
            assert_eq!(begin(&line).await.1, goes_on, "{come:?}");
        }
    });
}

#[test]
fn the_end_of_a_body_that_somebody_reads_is_waited_for() {
    runtime().block_on(async {
        let (mut client, server) = duplex(1 << 16);
        let (line, _) = guarded(server);
        let line = Rc::new(line);
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n").await.expect("room");
        let head = poll_fn(|cx| line.poll_head(cx)).await.expect("a head").expect("one");
        let body = line.body(&head);
        let rest = async {
            yield_now().await;
            client.write_all(b"ab").await.expect("room");
            whole(body).await
        };
        let (settled, seen) = tokio::join!(poll_fn(|cx| line.poll_settled(cx)), rest);
        assert_eq!((settled, seen), (true, Some((b"ab".to_vec(), 0))));
    });
}

#[test]
fn who_reads_a_body_hears_that_the_connection_is_gone() {
    runtime().block_on(async {
        let (mut client, server) = duplex(1 << 16);
        let (line, _) = guarded(server);
        let line = Rc::new(line);
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n").await.expect("room");
        let head = poll_fn(|cx| line.poll_head(cx)).await.expect("a head").expect("one");
        let body = line.body(&head);
        let gone = async {
            yield_now().await;
            line.take();
        };
        let (seen, ()) = tokio::join!(whole(body), gone);
        assert_eq!(seen, None);
    });
}

async fn begin(line: &Line<DuplexStream>) -> (&'static [u8], bool) {
    poll_fn(|cx| Poll::Ready(line.begin_answer(cx))).await
}

/// The next head on a line, and the body behind it.
async fn next(line: &Rc<Line<DuplexStream>>) -> Received {
    let head = poll_fn(|cx| line.poll_head(cx)).await.expect("a head").expect("one");
    line.body(&head)
}

/// Who has a body that was read to its end may keep it for long: a backend takes the last of it slowly.
#[test]
fn a_body_that_is_over_takes_nothing_of_the_next_one() {
    const KNOWN: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    const CHUNKS: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    for (first, second) in [(KNOWN, KNOWN), (KNOWN, CHUNKS), (CHUNKS, KNOWN), (CHUNKS, CHUNKS)] {
        runtime().block_on(async {
            let (mut client, server) = duplex(1 << 16);
            let line = Rc::new(guarded(server).0);
            client.write_all(first.as_bytes()).await.expect("room");
            let mut old = next(&line).await;
            assert!(old.frame().await.is_some_and(|frame| frame.is_ok()));
            assert!(old.is_end_stream() && begin(&line).await.1);
            assert!(poll_fn(|cx| line.poll_settled(cx)).await);
            client.write_all(second.as_bytes()).await.expect("room");
            let new = next(&line).await;
            assert!(old.is_end_stream() && old.frame().await.is_none(), "{first} {second}");
            drop(old);
            assert!(begin(&line).await.1, "somebody has it");
            assert!(poll_fn(|cx| Poll::Ready(line.poll_settled(cx).is_pending())).await, "and reads it still");
            assert_eq!(whole(new).await, Some((b"ab".to_vec(), 0)), "{first} {second}");
        });
    }
}

#[test]
fn a_body_that_is_over_stays_so_when_its_connection_is_gone() {
    runtime().block_on(async {
        let (mut client, server) = duplex(1 << 16);
        let line = Rc::new(guarded(server).0);
        let chunks = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        client.write_all(chunks).await.expect("room");
        let mut body = next(&line).await;
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        line.take();
        assert!(body.frame().await.is_none() && body.is_end_stream());
    });
}

/// The answer may be a no, and then the next request comes where the body was expected.
#[test]
fn behind_an_answer_instead_of_permission_comes_no_request() {
    runtime().block_on(async {
        let (mut client, server) = duplex(1 << 16);
        let line = Rc::new(guarded(server).0);
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        client.write_all(head).await.expect("room");
        let body = next(&line).await;
        assert_eq!(begin(&line).await, (&[][..], false), "nobody has read it");
        drop(body);
    });
}

#[test]
fn a_slow_reader_makes_nothing_grow() {
    static PIECE: [u8; 4000] = [b'x'; 4000];
    runtime().block_on(async {
        let (mut client, server) = duplex(1000);
        let (line, _) = guarded(server);
        let body = body(&[Some(&PIECE[..]); 500], Some(2_000_000));
        let mut sending = Sending::new(Vec::new(), answer::Framing::Length(2_000_000), body);
        let send = async {
            poll_fn(|cx| sending.poll(&line, cx)).await.expect("it goes out");
            line.take();
        };
        let mut heard = Vec::new();
        let ((), read) = tokio::join!(send, client.read_to_end(&mut heard));
        assert_eq!((read.expect("all of it"), heard.len()), (2_000_000, 2_000_000));
        let room = sending.into_buffer().capacity();
        assert!(room < 128 << 10, "{room}");
    });
}
