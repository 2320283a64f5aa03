use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// What the guard passes on if the stream arrives in these pieces.
async fn through(pieces: Vec<Vec<u8>>, read_size: usize) -> (Vec<u8>, Option<u16>) {
    let (mut client, server) = duplex(1 << 16);
    let (mut guard, handle) = Guard::new(server, Limits::default());
    let writer = async move {
        for piece in pieces {
            if client.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let reader = async {
        let (mut out, mut chunk) = (Vec::new(), vec![0; read_size]);
        while let Ok(count @ 1..) = guard.read(&mut chunk).await {
            out.extend_from_slice(&chunk[..count]);
        }
        out
    };
    let (out, ()) = tokio::join!(reader, writer);
    (out, handle.refusal().map(|refusal| refusal.status))
}

const GOOD: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST /b HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: c\r\n\r\n";

#[test]
fn good_requests_pass_unchanged_however_they_arrive() {
    runtime().block_on(async {
        for cut in 0..GOOD.len() {
            let pieces = vec![GOOD.as_bytes()[..cut].to_vec(), GOOD.as_bytes()[cut..].to_vec()];
            assert_eq!(through(pieces, 8192).await, (GOOD.as_bytes().to_vec(), None), "cut at {cut}");
        }
        let bytes = GOOD.bytes().map(|byte| vec![byte]).collect();
        assert_eq!(through(bytes, 7).await, (GOOD.as_bytes().to_vec(), None));
    });
}

#[test]
fn nothing_of_a_refused_request_passes() {
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad = "GET /evil HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    let expected = [good.as_bytes(), STAND_IN].concat();
    let stream = format!("{good}{bad}{good}").into_bytes();
    runtime().block_on(async {
        for cut in 0..stream.len() {
            let pieces = vec![stream[..cut].to_vec(), stream[cut..].to_vec()];
            assert_eq!(through(pieces, 8192).await, (expected.clone(), Some(400)), "cut at {cut}");
        }
    });
}

#[test]
fn a_malformed_body_ends_the_stream() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    runtime().block_on(async {
        let stream = format!("{head}zz\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        assert_eq!(through(vec![stream], 8192).await, (head.as_bytes().to_vec(), None));
    });
}

#[test]
fn a_read_never_goes_past_one_request() {
    runtime().block_on(async {
        let (mut client, server) = duplex(1 << 16);
        let (mut guard, _) = Guard::new(server, Limits::default());
        let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(one.repeat(3).as_bytes()).await.expect("room for it");
        let mut chunk = [0; 8192];
        for _ in 0..3 {
            assert_eq!(guard.read(&mut chunk).await.expect("a request"), one.len());
        }
    });
}

#[test]
fn idle_connections_end_and_slow_heads_are_refused() {
    runtime().block_on(async {
        let (_client, server) = duplex(1 << 16);
        let (mut guard, handle) = Guard::new(server, Limits::default());
        let start = tokio::time::Instant::now();
        assert_eq!(guard.read(&mut [0; 64]).await.expect("the end"), 0);
        assert_eq!((start.elapsed().as_secs(), handle.refusal()), (75, None));

        let (mut client, server) = duplex(1 << 16);
        let (mut guard, handle) = Guard::new(server, Limits::default());
        let start = tokio::time::Instant::now();
        let drip = async {
            loop {
                if client.write_all(b"G").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
        };
        let mut chunk = [0; 64];
        tokio::select! {
            count = guard.read(&mut chunk) => assert_eq!(count.expect("the stand-in"), STAND_IN.len()),
            () = drip => panic!("the guard let the client drip for ever"),
        }
        assert_eq!((start.elapsed().as_secs(), handle.refusal().map(|refusal| refusal.status)), (60, Some(408)));
    });
}

#[test]
fn a_stalled_body_and_a_stalled_reader_are_errors() {
    runtime().block_on(async {
        let (mut client, server) = duplex(64);
        let (mut guard, _) = Guard::new(server, Limits::default());
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").await.expect("room for it");
        let mut chunk = [0; 64];
        assert!(guard.read(&mut chunk).await.expect("the head") > 0);
        assert_eq!(guard.read(&mut chunk).await.expect_err("no body").kind(), io::ErrorKind::TimedOut);
        assert_eq!(guard.write_all(&[0; 1000]).await.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);
    });
}

/// Takes what is written, and lets nothing of it go.
#[derive(Debug)]
struct Withheld;

impl AsyncRead for Withheld {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Withheld {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[test]
fn what_tls_holds_back_is_stalled_too() {
    runtime().block_on(async {
        let (mut guard, handle) = Guard::new(Withheld, Limits::default());
        guard.write_all(b"answer").await.expect("taken");
        let flushed = tokio::time::timeout(Limits::default().stall * 2, guard.flush()).await.expect("an end");
        assert_eq!(flushed.expect_err("stalled").kind(), io::ErrorKind::TimedOut);
        assert_eq!((handle.cut_for(), handle.cut_for()), (Some(Hit::ReadTime), None), "it is told once");
        let (mut guard, _) = Guard::new(Withheld, Limits::default());
        let shut = tokio::time::timeout(Limits::default().stall * 2, guard.shutdown()).await.expect("an end");
        assert_eq!(shut.expect_err("stalled").kind(), io::ErrorKind::TimedOut);
        // While bytes leave, it is no stall.
        let left = Arc::new(AtomicU64::new(0));
        let (guard, _) = Guard::new(Withheld, Limits::default());
        let mut guard = guard.counting(Some(Arc::clone(&left)));
        for _ in 0..10 {
            left.fetch_add(10_000, Ordering::Relaxed);
            let flushed = tokio::time::timeout(Limits::default().stall / 2, guard.flush()).await;
            assert!(flushed.is_err(), "it goes on");
        }
    });
}

#[test]
fn slow_readers_are_cut_off() {
    let limits = Limits { rate: 100, stall: Duration::from_secs(10), ..Limits::default() };
    for (per_second, fast) in [(10, false), (200, true)] {
        runtime().block_on(async {
            let (mut client, server) = duplex(16);
            let (mut guard, handle) = Guard::new(server, limits);
            let reader = async {
                let mut chunk = vec![0; per_second];
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    client.read_exact(&mut chunk).await.expect("more");
                }
            };
            let written = tokio::select! {
                written = guard.write_all(&[0; 20_000]) => written,
                () = reader => Ok(()),
            };
            assert_eq!(written.is_ok(), fast, "{per_second}");
            assert_eq!(handle.cut_for(), (!fast).then_some(Hit::ReadRate), "{per_second}");
        });
    }
}

#[test]
fn shutdown_waits_for_the_client_but_not_for_ever() {
    runtime().block_on(async {
        let (mut client, server) = duplex(1 << 16);
        let (mut guard, _) = Guard::new(server, Limits::default());
        client.write_all(&[0; 5000]).await.expect("room for it");
        let start = tokio::time::Instant::now();
        guard.shutdown().await.expect("closed");
        assert_eq!(start.elapsed().as_secs(), 2);

        let (client, server) = duplex(1 << 16);
        let (mut guard, _) = Guard::new(server, Limits::default());
        drop(client);
        let start = tokio::time::Instant::now();
        guard.shutdown().await.expect("closed");
        assert_eq!(start.elapsed().as_secs(), 0);
    });
}

#[test]
fn a_tunnel_passes_everything() {
    runtime().block_on(async {
        let (mut client, server) = duplex(1 << 16);
        let (mut guard, handle) = Guard::new(server, Limits::default());
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(format!("{head}\0\x01early").as_bytes()).await.expect("room for it");
        let mut chunk = [0; 64];
        assert_eq!(guard.read(&mut chunk).await.expect("the head"), head.len());
        handle.become_tunnel();
        client.write_all(b"\nlate").await.expect("room for it");
        drop(client);
        let mut rest = Vec::new();
        guard.read_to_end(&mut rest).await.expect("the rest");
        assert_eq!(rest, b"\0\x01early\nlate");
    });
}

/// Targets of the requests that hyper makes of a stream behind the guard.
async fn served(stream: &[u8]) -> Vec<String> {
    let (mut client, server) = duplex(1 << 16);
    let (guard, handle) = Guard::new(server, Limits::default());
    let seen = Mutex::new(Vec::new());
    let service = service_fn(async |request: Request<Incoming>| {
        let target = request.uri().to_string();
        seen.lock().expect("no panic").push(if handle.refusal().is_some() { "refused".to_owned() } else { target });
        let _ = request.into_body().collect().await;
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let connection =
        http1::Builder::new().half_close(true).header_read_timeout(None).serve_connection(TokioIo::new(guard), service);
    let write = async {
        client.write_all(stream).await.expect("room for it");
        client.shutdown().await.expect("open until now");
        client.read_to_end(&mut Vec::new()).await.expect("the answers");
    };
    let (_, ()) = tokio::join!(connection, write);
    seen.into_inner().expect("no panic")
}

/// The same by the framer alone, which knows nothing of hyper.
fn framed(stream: &[u8]) -> Vec<String> {
    let (mut framer, mut rest, mut targets) = (Framer::default(), stream, Vec::new());
    loop {
        let at_head = framer.at_head();
        match framer.step(rest) {
            Ok(Step::More) => return targets,
            Ok(Step::Skip(count)) => rest = &rest[count..],
            Ok(Step::Release(count)) => {
                if at_head {
                    let line = String::from_utf8_lossy(&rest[..count]).into_owned();
                    targets.push(line.split(' ').nth(1).expect("a target").to_owned());
                }
                rest = &rest[count..];
            }
            Err(_) => {
                targets.extend(framer.at_head().then(|| "refused".to_owned()));
                return targets;
            }
        }
    }
}

#[test]
fn hyper_sees_the_requests_that_the_guard_saw() {
    runtime().block_on(async {
        assert_eq!(served(GOOD.as_bytes()).await, ["/a", "/b", "/c"]);
        assert_eq!(framed(GOOD.as_bytes()), ["/a", "/b", "/c"]);
        assert_eq!(served(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n").await, ["/a", "refused"]);
    });
}

proptest! {
    #[test]
    fn hyper_and_guard_agree_on_every_stream(parts in prop::collection::vec(prop_oneof![
        4 => "(GET|POST|HEAD) /[a-z%{?]{0,3} HTTP/1\\.1\r\nHost: a\r\n\r\n",
        3 => "POST /[a-z]{0,3} HTTP/1\\.1\r\nHost: a\r\nContent-Length: [0-4]\r\n\r\n",
        3 => "POST /[a-z]{0,3} HTTP/1\\.1\r\nHost: a\r\n(Transfer-Encoding|transfer-encoding): ?(chunked|Chunked)\r\n\r\n",
        3 => "[0-3](;x)?\r\n[a-z]{0,3}\r\n",
        2 => Just("0\r\n\r\n".to_owned()),
        1 => "[a-z\r\n]{0,4}",
        1 => "GET / HTTP/1\\.1\r\nHost: a\r\n(Host: a|Content-Length: 1, 1|Transfer-Encoding: x|X : y| y|X: y\n)\r\n\r\n",
    ], 0..8)) {
        let stream = parts.concat().into_bytes();
        let seen = runtime().block_on(served(&stream));
        prop_assert_eq!(seen, framed(&stream));
    }

    #[test]
    fn pieces_and_read_sizes_do_not_matter(stream in "(GET / HTTP/1\\.1\r\nHost: a\r\n\r\n|POST /x HTTP/1\\.1\r\n|Host: b\r\n|Content-Length: [0-9]\r\n\r\n|Transfer-Encoding: chunked\r\n\r\n|[0-3]\r\n|abc|\r\n){0,10}",
                                           cut in any::<prop::sample::Index>(), read_size in 1usize..100) {
        let bytes = stream.as_bytes();
        let cut = cut.index(bytes.len() + 1);
        runtime().block_on(async {
            let whole = through(vec![bytes.to_vec()], 8192).await;
            let pieces = through(vec![bytes[..cut].to_vec(), bytes[cut..].to_vec()], read_size).await;
            prop_assert_eq!(whole, pieces);
            Ok(())
        })?;
    }
}
