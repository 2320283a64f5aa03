use crate::harness::{Reply, Site, config_map, ingress};
use crate::pod::{Pod, answer};

/// What a browser would show, and the headers; curl decodes.
fn ask(site: &Site, path: &str, accepts: &str) -> Reply {
    let accepts = format!("Accept-Encoding: {accepts}");
    site.get("a.example", path, &["--compressed", "--header", &accepts])
}

fn pages() -> Pod {
    Pod::answering(|asked| {
        let text = "<p>text</p>".repeat(1000);
        let html = ("Content-Type", "text/html");
        match asked.line.split(' ').nth(1) {
            Some("/tagged") => answer("200 OK", &[html, ("ETag", "\"a\"")], &text),
            Some("/short") => answer("200 OK", &[html], "short"),
            Some("/image") => answer("200 OK", &[("Content-Type", "image/png")], &text),
            Some("/chunked") => format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
                text.len()
            ),
            _ => answer("200 OK", &[html, ("Cache-Control", "no-transform")], &text),
        }
    })
}

#[test]
fn answers_are_compressed_as_the_config_map_says() {
    let pod = pages();
    let manifests = ingress("web", "a.example", "/", &[]);
    let data = [("use-gzip", "true"), ("enable-brotli", "true")];
    let mut site = Site::configured(&data, &manifests, &[("web", &pod)]);
    let text = "<p>text</p>".repeat(1000);
    for path in ["/tagged", "/chunked", "/tagged"] {
        let reply = ask(&site, path, "gzip, deflate");
        assert_eq!((reply.header("content-encoding"), reply.body == text), (Some("gzip"), true), "{path}");
        assert_eq!((reply.header("vary"), reply.header("content-length")), (Some("Accept-Encoding"), None), "{path}");
    }
    assert_eq!(ask(&site, "/tagged", "gzip").header("etag"), Some("W/\"a\""));
    let brotli = ask(&site, "/tagged", "gzip, br, zstd");
    assert_eq!((brotli.header("content-encoding"), brotli.body == text), (Some("br"), true));
    for (path, accepts) in
        [("/short", "gzip"), ("/image", "gzip"), ("/", "gzip"), ("/tagged", "gzip;q=0"), ("/tagged", "zstd")]
    {
        let reply = ask(&site, path, accepts);
        assert_eq!((reply.status, reply.header("content-encoding")), (200, None), "{path} {accepts}");
    }
    let head = site.get("a.example", "/tagged", &["--head", "--header", "Accept-Encoding: gzip"]);
    assert_eq!((head.header("content-encoding"), head.header("etag")), (None, Some("\"a\"")));
    assert!(site.problems.is_empty(), "{:?}", site.problems);

    site.apply(&(config_map(&[("use-gzip", "true"), ("gzip-min-length", "20000")]) + &manifests));
    assert_eq!(ask(&site, "/tagged", "gzip").header("content-encoding"), None);
    assert_eq!(ask(&site, "/chunked", "gzip").header("content-encoding"), Some("gzip"));
    site.apply(
        &(config_map(&[("enable-zstd", "true"), ("zstd-level", "9"), ("zstd-types", "image/png")]) + &manifests),
    );
    assert_eq!(ask(&site, "/tagged", "gzip, zstd").header("content-encoding"), Some("zstd"));
    let image = ask(&site, "/image", "gzip, zstd");
    assert_eq!((image.header("content-encoding"), image.body == text), (Some("zstd"), true));
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    site.apply(&(config_map(&[]) + &manifests));
    assert_eq!(ask(&site, "/tagged", "gzip").header("content-encoding"), None);
}
