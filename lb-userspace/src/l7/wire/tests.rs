//! A backend says bytes, in pieces of any size; what a client of HTTP/1.1 makes of them is asserted.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{Request, Response, Version};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;

use super::*;

impl Io for DuplexStream {
    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

fn request(method: &str, headers: &[(&str, &str)], body: &'static [u8]) -> Request<RequestBody> {
    let mut request = Request::builder().method(method).uri("/a?b").header("host", "h");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(RequestBody::whole(Bytes::from_static(body))).expect("a request")
}

/// To be sent as one of HTTP/1.0.
fn old(mut request: Request<RequestBody>) -> Request<RequestBody> {
    *request.version_mut() = Version::HTTP_10;
    request
}

/// What came of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    body: String,
    trailers: usize,
    /// The connection takes another request.
    again: bool,
}

/// Reads the head of a request.
async fn heard(far: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(far.read_u8().await.expect("the connection is open"));
    }
    String::from_utf8(head).expect("text")
}

async fn collect(wire: &Wire, answer: Response<WireBody>) -> Option<Seen> {
    let status = answer.status().as_u16();
    let collected = answer.into_body().collect().await.ok()?;
    let trailers = collected.trailers().map_or(0, |trailers| trailers.len());
    let body = String::from_utf8(collected.to_bytes().to_vec()).expect("text");
    Some(Seen { status, body, trailers, again: wire.is_ready() })
}

/// Asks once; the backend says `pieces`, and closes the connection afterwards if it is to.
fn exchange(method: &'static str, pieces: Vec<Vec<u8>>, closes: bool) -> Option<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), async move {
        let (near, mut far) = duplex(1 << 16);
        let wire = Wire::new(near);
        let backend = async {
            heard(&mut far).await;
            for piece in pieces {
                far.write_all(&piece).await.ok()?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (!closes).then_some(far)
        };
        let client = async {
            let answer = wire.send(request(method, &[], b"")).await.ok()?;
            collect(&wire, answer).await
        };
        let (client, _open) = tokio::join!(tokio::time::timeout(Duration::from_secs(60), client), backend);
        client.ok().flatten()
    })
}

fn whole(method: &'static str, text: &str, closes: bool) -> Option<Seen> {
    exchange(method, vec![text.as_bytes().to_vec()], closes)
}

fn seen(status: u16, body: &str, trailers: usize, again: bool) -> Option<Seen> {
    Some(Seen { status, body: body.to_owned(), trailers, again })
}

#[test]
fn answers_end_where_they_say() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", seen(200, "ok", 0, true)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", seen(200, "", 0, true)),
        ("HTTP/1.1 204 No Content\r\n\r\n", seen(204, "", 0, true)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", seen(304, "", 0, true)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", seen(200, "ok", 0, true)),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\nA: b\r\nC: d\r\n\r\n",
            seen(200, "ok", 2, true),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nok", seen(200, "ok", 0, false)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", seen(200, "ok", 0, false)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", seen(200, "ok", 0, true)),
        // Nobody asked for more.
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", seen(200, "ok", 0, false)),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 201 C\r\nContent-Length: 1\r\n\r\nx",
            seen(201, "x", 0, true),
        ),
    ] {
        assert_eq!(whole("GET", text, false), expected, "{text:?}");
    }
    assert_eq!(whole("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false), seen(200, "", 0, true));
    assert_eq!(whole("GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", true), seen(200, "until the end", 0, false));
}

#[test]
fn what_is_no_answer_is_an_error() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
    for text in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r;x\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA b\r\n\r\n",
        &long,
        &many,
    ] {
        assert_eq!(whole("GET", text, true), None, "{:?}", &text[..text.len().min(90)]);
    }
}

proptest! {
    /// Wherever the bytes are cut, the answer is the same.
    #[test]
    fn pieces_do_not_matter(
        parts in prop::collection::vec("[a-z]{1,30}", 0..4), trailer in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let chunks: String = parts.iter().map(|part| format!("{:X}\r\n{part}\r\n", part.len())).collect();
        let end = if trailer { "0\r\nA: b\r\n\r\n" } else { "0\r\n\r\n" };
        let text = format!("HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n{chunks}{end}");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| text.as_bytes()[pair[0]..pair[1]].to_vec()).collect();
        prop_assert_eq!(exchange("GET", pieces, false), seen(200, &parts.concat(), usize::from(trailer), true));
    }
}

#[tokio::test]
async fn what_is_sent_is_what_was_asked() {
    for (request, expected) in [
        (request("GET", &[("a", "b")], b""), "GET /a?b HTTP/1.1\r\nhost: h\r\na: b\r\n\r\n"),
        (request("POST", &[], b"xyz"), "POST /a?b HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nxyz"),
        (
            request("PUT", &[("content-length", "3")], b"xyz"),
            "PUT /a?b HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nxyz",
        ),
        (old(request("GET", &[], b"")), "GET /a?b HTTP/1.0\r\nhost: h\r\n\r\n"),
        (request("POST", &[], b""), "POST /a?b HTTP/1.1\r\nhost: h\r\n\r\n"),
        (
            request("PUT", &[("transfer-encoding", "chunked")], b""),
            "PUT /a?b HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            request("PUT", &[("transfer-encoding", "chunked")], b"xyz"),
            "PUT /a?b HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n",
        ),
    ] {
        let (near, mut far) = duplex(1 << 16);
        let wire = Wire::new(near);
        let backend = async {
            let mut heard = vec![0; expected.len()];
            far.read_exact(&mut heard).await.expect("all of it");
            far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("open");
            String::from_utf8(heard).expect("text")
        };
        let (answer, heard) = tokio::join!(wire.send(request), backend);
        assert_eq!(heard, expected);
        assert!(answer.is_ok());
        assert_eq!(wire.is_ready(), !expected.contains("HTTP/1.0"), "{expected}");
    }
}

#[tokio::test]
async fn behind_a_request_that_says_close_comes_none() {
    for (headers, again) in [(&[][..], true), (&[("connection", "close")], false)] {
        let (near, mut far) = duplex(1 << 16);
        let wire = Wire::new(near);
        let backend = async {
            heard(&mut far).await;
            far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("open");
        };
        let (answer, ()) = tokio::join!(wire.send(request("GET", headers, b"")), backend);
        assert!(answer.is_ok());
        assert_eq!(wire.is_ready(), again);
    }
}

#[tokio::test]
async fn many_connections_are_looked_at_in_one_go() {
    // more than a task may do before it has to yield
    for _ in 0..300 {
        let (near, far) = duplex(64);
        let wire = Wire::new(near);
        drop(far);
        assert!(!wire.is_ready());
    }
}

#[tokio::test]
async fn what_was_not_sent_comes_back() {
    let (near, far) = duplex(1 << 16);
    let wire = Wire::new(near);
    drop(far);
    let failed = wire.send(request("POST", &[("a", "b")], b"xyz")).await.expect_err("nobody is there");
    let Failed::Unsent(request) = failed else { panic!("it was not sent") };
    assert_eq!(request.headers()["a"], "b");
    let body = request.into_body().collect().await.expect("the body").to_bytes();
    assert_eq!(&body[..], b"xyz");
}

#[tokio::test]
async fn a_backend_that_says_something_unasked_is_not_asked() {
    let (near, mut far) = duplex(1 << 16);
    let wire = Wire::new(near);
    assert!(wire.is_ready());
    far.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.expect("open");
    assert!(!wire.is_ready());
}

#[tokio::test]
async fn a_request_whose_body_has_begun_does_not_come_back() {
    let (near, far) = duplex(1 << 16);
    let wire = Wire::new(Deaf(near));
    let failed = wire.send(request("POST", &[], b"xyz")).await.expect_err("nothing can be written");
    assert!(matches!(failed, Failed::Unseen), "{failed:?}");
    drop(far);
}

/// A connection that takes nothing any more, which reading does not tell.
struct Deaf(DuplexStream);

impl Io for Deaf {
    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl AsyncRead for Deaf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            Poll::Pending if !cx.waker().will_wake(Waker::noop()) => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const LARGE: &[u8] = &[b'x'; 1 << 12];

/// Sends `LARGE` to a backend that has room for little of it.
async fn early<T>(talk: impl AsyncFnOnce(Wire, Response<WireBody>, DuplexStream) -> T) -> T {
    early_to(request("POST", &[], LARGE), talk).await
}

/// A request that is answered before its end.
async fn early_to<T>(
    request: Request<RequestBody>,
    talk: impl AsyncFnOnce(Wire, Response<WireBody>, DuplexStream) -> T,
) -> T {
    let (near, mut far) = duplex(64);
    let wire = Wire::new(near);
    let run = async {
        let backend = async {
            heard(&mut far).await;
            far.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nn").await.expect("open");
        };
        let (answer, ()) = tokio::join!(wire.send(request), backend);
        talk(wire, answer.expect("an answer"), far).await
    };
    LocalSet::new().run_until(run).await
}

#[tokio::test]
async fn a_connection_whose_request_was_not_sent_is_not_used_again() {
    let seen = early(async |wire, answer, mut far| {
        far.write_all(b"o").await.expect("open");
        let seen = collect(&wire, answer).await;
        drop(far);
        seen
    });
    assert_eq!(seen.await, seen_413(false));
}

#[tokio::test]
async fn what_is_left_of_a_request_is_sent_while_nobody_reads_the_answer() {
    let seen = early(async |wire, answer, mut far| {
        let mut rest = vec![0; LARGE.len()];
        far.read_exact(&mut rest).await.expect("all of it");
        assert_eq!(rest, LARGE);
        far.write_all(b"o").await.expect("open");
        // The task that sends has to hear of its last write.
        tokio::task::yield_now().await;
        collect(&wire, answer).await
    });
    assert_eq!(seen.await, seen_413(true));
}

#[tokio::test]
async fn nothing_more_is_sent_when_nobody_wants_the_answer() {
    early(async |wire, answer, mut far| {
        drop((wire, answer));
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.expect("its end");
        assert!(rest.len() < LARGE.len(), "{}", rest.len());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_has_answered_and_reads_nothing_more_is_left() {
    early(async |wire, answer, mut far| {
        far.write_all(b"o").await.expect("open");
        assert_eq!(collect(&wire, answer).await, seen_413(false));
        drop(wire);
        let end = far.write_all(&[b'x'; 1 << 10]);
        // Until then the connection is open, and takes no more than it has room for.
        let waited = tokio::time::Instant::now();
        end.await.expect_err("closed in the end");
        assert_eq!(waited.elapsed().as_secs(), 60);
    })
    .await;
}

#[tokio::test]
async fn an_answer_ends_with_the_request_that_breaks_off() {
    // Its body is shorter than its head says.
    let seen = early_to(request("POST", &[("content-length", "5000")], LARGE), async |wire, answer, mut far| {
        let mut rest = vec![0; LARGE.len()];
        far.read_exact(&mut rest).await.expect("all that there is");
        let seen = collect(&wire, answer).await;
        (seen, wire.is_ready())
    });
    assert_eq!(seen.await, (None, false));
}

#[tokio::test]
async fn a_request_that_breaks_off_has_no_answer() {
    let (near, mut far) = duplex(1 << 16);
    let wire = Wire::new(near);
    let backend = async {
        heard(&mut far).await;
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("open");
    };
    let (answer, ()) = tokio::join!(wire.send(request("POST", &[("content-length", "4000")], b"xyz")), backend);
    assert!(matches!(answer, Err(Failed::Sent)), "{answer:?}");
}

#[tokio::test]
async fn what_is_no_head_is_told_from_a_connection_that_ends() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    for (text, malformed) in [
        ("HTTP/2 200 OK\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nA b\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        (&long, true),
        ("HTTP/1.1 200 OK\r\n", false),
        ("", false),
    ] {
        let (near, mut far) = duplex(1 << 20);
        let wire = Wire::new(near);
        let backend = async {
            heard(&mut far).await;
            far.write_all(text.as_bytes()).await.expect("open");
            drop(far);
        };
        let (answer, ()) = tokio::join!(wire.send(request("GET", &[], b"")), backend);
        let failed = answer.expect_err("there is none");
        assert_eq!(matches!(failed, Failed::Invalid), malformed, "{failed:?}: {:?}", &text[..text.len().min(50)]);
        assert_eq!(matches!(failed, Failed::Sent), !malformed, "{failed:?}: {:?}", &text[..text.len().min(50)]);
    }
}

/// One byte of the request each second, for ever.
#[tokio::test(start_paused = true)]
async fn a_request_does_not_trickle_for_ever_behind_its_answer() {
    early(async |wire, answer, mut far| {
        far.write_all(b"o").await.expect("open");
        assert_eq!(collect(&wire, answer).await, seen_413(false));
        drop(wire);
        let (start, mut bytes) = (tokio::time::Instant::now(), 0);
        while far.read_u8().await.is_ok() {
            bytes += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(bytes < LARGE.len(), "it went on to the end");
        let seconds = start.elapsed().as_secs();
        // What was under way is still read.
        assert!((60..200).contains(&seconds), "{seconds}");
    })
    .await;
}

#[test]
fn short_pieces_hold_no_long_buffers() {
    let mut inbox = BytesMut::with_capacity(1 << 17);
    inbox.extend_from_slice(&[b'x'; 3000]);
    let place = inbox.as_ptr();
    let piece = receiving::cut(&mut inbox, 1000);
    assert_eq!((piece.len(), inbox.len()), (1000, 2000));
    assert_ne!(piece.as_ptr(), place, "it holds the buffer");
    let rest = receiving::cut(&mut inbox, 2000);
    assert_eq!(rest.len(), 2000);
    inbox.reserve(1 << 17);
    assert_eq!(inbox.as_ptr(), place, "the buffer is used again");
    inbox.extend_from_slice(&vec![b'x'; 1 << 16]);
    assert_eq!(receiving::cut(&mut inbox, 1 << 16).as_ptr(), place, "long pieces are not copied");
}

#[tokio::test]
async fn what_came_of_an_answer_that_breaks_off_can_go_out_first() {
    let (near, mut far) = duplex(1 << 16);
    let wire = Wire::new(near);
    let backend = async {
        heard(&mut far).await;
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await.expect("open");
        drop(far);
    };
    let (answer, ()) = tokio::join!(wire.send(request("GET", &[], b"")), backend);
    let mut body = answer.expect("an answer").into_body();
    let mut next = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(next(), Poll::Ready(Some(Ok(_)))));
    assert!(next().is_pending());
    assert!(matches!(next(), Poll::Ready(Some(Err(_)))));
}

fn seen_413(again: bool) -> Option<Seen> {
    seen(413, "no", 0, again)
}

#[tokio::test]
async fn after_101_the_connection_is_somebody_elses() {
    let (near, mut far) = duplex(1 << 16);
    let wire = Wire::new(near);
    let backend = async {
        heard(&mut far).await;
        far.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello").await.expect("open");
        far
    };
    let (answer, mut far) = tokio::join!(wire.send(request("GET", &[("upgrade", "x")], b"")), backend);
    assert_eq!(answer.expect("an answer").status(), 101);
    let (mut io, said) = wire.take_tunnel();
    assert_eq!(&said[..], b"hello");
    assert!(!wire.is_ready());
    io.write_all(b"hi").await.expect("open");
    let mut heard = [0; 2];
    far.read_exact(&mut heard).await.expect("open");
    assert_eq!(&heard, b"hi");
}
