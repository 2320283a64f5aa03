use crate::harness::{Site, ingress};
use crate::pod::Pod;

#[test]
fn copies_are_sent() {
    let (web, copies) = (Pod::echo(), Pod::echo());
    let target = format!("http://{}$request_uri", copies.address);
    let site = Site::annotated(&[("mirror-target", &target)], &web);
    let reply = site.get("a.example", "/x?y=1", &["--data-binary", "hello", "--header", "X-Custom: z"]);
    assert_eq!((reply.status, reply.body.as_str()), (200, "POST /x?y=1 HTTP/1.1"));
    site.eventually("the copy", || copies.seen().len() == 1);
    let copy = &copies.seen()[0];
    assert_eq!((copy.line.as_str(), copy.body.as_slice()), ("POST /x?y=1 HTTP/1.1", &b"hello"[..]));
    assert_eq!(copy.header("host"), Some(copies.address.to_string().as_str()));
    assert_eq!(copy.header("x-custom"), Some("z"));
    assert_eq!(site.get("a.example", "/get", &[]).status, 200);
    site.eventually("the next copy", || copies.seen().len() == 2);
    assert_eq!(copies.seen()[1].line, "GET /get HTTP/1.1");
    assert_eq!(web.seen().len(), 2);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn host_and_body_as_asked() {
    let (web, copies) = (Pod::echo(), Pod::echo());
    let target = format!("http://{}/copies$request_uri", copies.address);
    let annotations =
        [("mirror-target", target.as_str()), ("mirror-request-body", "off"), ("mirror-host", "$host.test")];
    let site = Site::annotated(&annotations, &web);
    assert_eq!(site.get("a.example", "/x", &["--data-binary", "hello"]).status, 200);
    site.eventually("the copy", || copies.seen().len() == 1);
    let copy = &copies.seen()[0];
    assert_eq!((copy.line.as_str(), copy.body.len()), ("POST /copies/x HTTP/1.1", 0));
    assert_eq!(copy.header("host"), Some("a.example.test"));
    assert_eq!(web.seen()[0].body, b"hello");
}

#[test]
fn a_mirror_is_in_nobodys_way() {
    let web = Pod::echo();
    let silent = Pod::silent();
    for target in [format!("http://{}$request_uri", silent.address), "http://gone.invalid/".to_owned()] {
        let site = Site::annotated(&[("mirror-target", &target)], &web);
        for _ in 0..5 {
            let reply = site.get("a.example", "/x", &["--data-binary", "hello", "--max-time", "20"]);
            assert_eq!((reply.status, reply.body.as_str()), (200, "POST /x HTTP/1.1"));
        }
    }
    let mut site = Site::annotated(&[("mirror-target", "ftp://a/")], &web);
    assert_eq!(site.codes(), ["annotation-invalid"]);
    site.apply(&ingress("web", "a.example", "/", &[("mirror-target", "http://$http_x_target/")]));
    assert_eq!(site.codes(), ["annotation-invalid"]);
}
