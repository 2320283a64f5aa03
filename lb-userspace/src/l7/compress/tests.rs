use std::io::Read;

use hyper::Request;
use hyper::header::HeaderName;

use super::*;

fn on() -> CompressionSettings {
    let coding = || Coding { on: true, ..Coding::default() };
    CompressionSettings { gzip: coding(), brotli: coding(), zstd: coding(), no_gzip: Vec::new() }
}

fn parts(method: &str, accepts: &str) -> Parts {
    let request = Request::builder().method(method).header("accept-encoding", accepts).body(()).expect("a request");
    request.into_parts().0
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect(text)
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::try_from(*name).expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    pairs.iter().map(pair).collect()
}

/// The coding that is taken, if any.
fn coded(settings: &CompressionSettings, accepts: &str, answer: &[(&str, &str)]) -> Option<String> {
    let mut headers = headers(answer);
    Accepts::new(settings, &parts("GET", accepts))?.apply(StatusCode::OK, &mut headers)?;
    headers.get(CONTENT_ENCODING).map(|coding| coding.to_str().expect("text").to_owned())
}

const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

#[test]
fn the_client_chooses() {
    for (accepts, coding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, deflate, br", Some("br")),
        ("gzip;q=1.0, br;q=0.5, *;q=0", Some("gzip")),
        ("br;q=0, *", Some("zstd")),
        ("identity", None),
        ("deflate", None),
        ("", None),
    ] {
        assert_eq!(coded(&on(), accepts, &[HTML]).as_deref(), coding, "{accepts}");
    }
    let gzip = CompressionSettings { gzip: Coding { on: true, ..Coding::default() }, ..CompressionSettings::default() };
    assert_eq!(coded(&gzip, "br, gzip;q=0.1", &[HTML]).as_deref(), Some("gzip"));
    assert_eq!(coded(&gzip, "br", &[HTML]), None);
    assert!(Accepts::new(&CompressionSettings::default(), &parts("GET", "gzip")).is_none());
    assert!(Accepts::new(&on(), &parts("HEAD", "gzip")).is_none());
}

#[test]
fn what_stays_as_it_is() {
    for answer in [
        &[("content-type", "image/png")][..],
        &[],
        &[HTML, ("content-encoding", "identity")],
        &[HTML, ("content-range", "bytes 0-1/2")],
        &[HTML, ("cache-control", "public, No-Transform")],
        &[HTML, ("content-length", "19")],
    ] {
        assert_eq!(coded(&on(), "gzip, br, zstd", answer), None, "{answer:?}");
    }
    assert_eq!(coded(&on(), "gzip", &[HTML, ("content-length", "255")]), None);
    assert!(coded(&on(), "br", &[HTML, ("content-length", "255")]).is_some());
    for status in [100, 204, 206, 304] {
        let status = StatusCode::from_u16(status).expect("a status");
        let settings = on();
        let accepts = Accepts::new(&settings, &parts("GET", "gzip")).expect("it is on");
        assert!(accepts.apply(status, &mut headers(&[HTML])).is_none(), "{status}");
    }
}

#[test]
fn headers_tell_what_was_done() {
    let settings = on();
    let apply = |accepts: &str, answer: &[(&str, &str)]| {
        let mut headers = headers(answer);
        Accepts::new(&settings, &parts("GET", accepts)).expect("it is on").apply(StatusCode::OK, &mut headers);
        headers
    };
    let answer = [HTML, ("content-length", "999"), ("etag", "\"a\""), ("accept-ranges", "bytes"), ("digest", "x")];
    let coded = apply("gzip", &answer);
    assert_eq!((&coded[ETAG], &coded[VARY]), (&value("W/\"a\""), &value("Accept-Encoding")));
    assert!(["content-length", "accept-ranges", "digest"].iter().all(|name| !coded.contains_key(*name)), "{coded:?}");
    assert_eq!(apply("gzip", &[HTML, ("etag", "W/\"a\"")])[ETAG], "W/\"a\"");
    // Another client would get it coded: caches have to know.
    let plain = apply("identity", &answer);
    assert_eq!(
        (&plain[ETAG], &plain[VARY], &plain[CONTENT_LENGTH]),
        (&value("\"a\""), &value("Accept-Encoding"), &value("999"))
    );
    assert!(!apply("gzip", &[("content-type", "image/png")]).contains_key(VARY));
}

fn decoded(algorithm: Algorithm, coded: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // The end of the stream may be missing.
    let _ = match algorithm {
        Algorithm::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut out),
        Algorithm::Brotli => brotli::Decompressor::new(coded, 4096).read_to_end(&mut out),
        Algorithm::Zstd => zstd::stream::read::Decoder::new(coded).expect("a decoder").read_to_end(&mut out),
    };
    out
}

#[test]
fn what_is_flushed_can_be_read() {
    let text: Vec<u8> = (0..200_000u32).flat_map(|number| (number % 977).to_le_bytes()).collect();
    for algorithm in Algorithm::ALL {
        let mut encoder = Encoder::new(algorithm, 4).expect("memory");
        let mut coded = encoder.write(b"data: one\n\n").expect("written").to_vec();
        coded.extend(encoder.flush().expect("flushed"));
        assert_eq!(decoded(algorithm, &coded), b"data: one\n\n", "{algorithm:?}");
        assert!(encoder.flush().expect("nothing to flush").is_empty());
        for chunk in text.chunks(7777) {
            coded.extend(encoder.write(chunk).expect("written"));
        }
        coded.extend(encoder.finish().expect("finished"));
        assert!(encoder.is_finished() && encoder.finish().expect("twice").is_empty());
        assert!(coded.len() < text.len() / 10, "{algorithm:?}: {}", coded.len());
        assert_eq!(decoded(algorithm, &coded), [b"data: one\n\n", &text[..]].concat(), "{algorithm:?}");
    }
}
