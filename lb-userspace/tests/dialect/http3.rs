//! HTTP/3, with a libcurl that speaks it (pycurl).

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::certificates::{Authority, Kind, secret, values};
use crate::harness::{Site, ingress_over_tls};
use crate::pod::{Pod, answer};

mod clients;

/// Reads requests from standard input, asks them one after the other over as few connections as possible, or all at once, and
/// tells what came.
const CLIENT: &str = r#"
import io, json, pycurl, sys
asked = json.load(sys.stdin)
VERSIONS = {"3": pycurl.CURL_HTTP_VERSION_3ONLY, "2": pycurl.CURL_HTTP_VERSION_2}
def prepare(handle, request):
    body, head = io.BytesIO(), io.BytesIO()
    host, port = request["host"], asked["port"]
    handle.setopt(pycurl.URL, f"https://{host}:{port}{request['path']}")
    handle.setopt(pycurl.RESOLVE, [f"{host}:{port}:127.0.0.1"])
    handle.setopt(pycurl.CAINFO, asked["authorities"])
    handle.setopt(pycurl.HTTP_VERSION, VERSIONS[request.get("version", "3")])
    handle.setopt(pycurl.HTTPHEADER, request.get("headers", []))
    handle.setopt(pycurl.TIMEOUT, 60)
    handle.setopt(pycurl.WRITEDATA, body)
    handle.setopt(pycurl.HEADERFUNCTION, head.write)
    if request.get("head"):
        handle.setopt(pycurl.NOBODY, True)
    if "size" in request:
        data = io.BytesIO(b"x" * request["size"])
        handle.setopt(pycurl.POST, True)
        handle.setopt(pycurl.READFUNCTION, data.read)
        if request.get("length", True):
            handle.setopt(pycurl.POSTFIELDSIZE_LARGE, request["size"])
    return handle, body, head
def told(handle, body, head, error=None):
    version = {pycurl.CURL_HTTP_VERSION_1_1: "1.1", pycurl.CURL_HTTP_VERSION_2_0: "2", pycurl.CURL_HTTP_VERSION_3: "3"}
    result = {"error": error, "status": handle.getinfo(pycurl.RESPONSE_CODE), "connects": handle.getinfo(pycurl.NUM_CONNECTS),
              "version": version.get(handle.getinfo(pycurl.INFO_HTTP_VERSION)), "length": len(body.getvalue()),
              "body": body.getvalue()[:2000].decode("latin-1"), "head": head.getvalue().decode("latin-1").lower()}
    return result
if asked.get("at_once"):
    several = pycurl.CurlMulti()
    several.setopt(pycurl.M_PIPELINING, 2)
    handles = [prepare(pycurl.Curl(), request) for request in asked["requests"]]
    for handle, _, _ in handles:
        handle.setopt(pycurl.PIPEWAIT, True)
        several.add_handle(handle)
    left = 1
    while left:
        _, left = several.perform()
        several.select(1.0)
    answers = [told(*handle) for handle in handles]
else:
    # A handle that stays keeps its connections.
    answers, kept = [], pycurl.Curl()
    for request in asked["requests"]:
        kept.reset()
        handle, body, head = prepare(kept, request)
        try:
            handle.perform()
            answers.append(told(handle, body, head))
        except pycurl.error as error:
            answers.append(told(handle, body, head, str(error)))
json.dump(answers, sys.stdout)
"#;

/// `None`: there is no client of HTTP/3.
fn ask(site: &Site, authority: &Authority, requests: &Value, at_once: bool) -> Option<Vec<Value>> {
    let packages = std::env::var("WEIR_PYCURL").unwrap_or_default();
    if packages.is_empty() {
        weir_lab::lacks("pycurl, as `cargo xtask setup-peers` puts it into the user's cache (WEIR_PYCURL)");
        return None;
    }
    let asked = json!({
        "port": site.tls_port(), "authorities": authority.path(), "requests": requests, "at_once": at_once,
    });
    let mut client = Command::new("python3");
    client.args(["-c", CLIENT]).env("PYTHONPATH", packages);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python is installed");
    let written = client.stdin.take().expect("piped").write_all(asked.to_string().as_bytes());
    let output = client.wait_with_output().expect("it ends");
    written.expect("it reads");
    Some(serde_json::from_slice(&output.stdout).expect("what it tells is JSON"))
}

fn manifests(authority: &Authority, annotations: &[(&str, &str)]) -> String {
    secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", annotations)
}

#[test]
fn http3_requests_take_the_same_way() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let (site, output) =
        Site::over_quic(1, &manifests(&authority, &[("denylist-source-range", "192.0.2.0/24")]), &[("web", &pod)]);
    let requests = json!([
        {"host": "a.example", "path": "/x?y=1", "headers": ["X-Forwarded-For: 192.0.2.1", "Cookie: a=1", "TE: trailers"]},
        {"host": "a.example", "path": "/post", "size": 100_000},
        {"host": "a.example", "path": "/chunks", "size": 100_000, "length": false},
        {"host": "a.example", "path": "/head", "head": true},
        {"host": "a.example", "path": "/a%00b", "headers": []},
        {"host": "a.example", "path": "/odd", "headers": ["Content_Length: 7"]},
    ]);
    let Some(answers) = ask(&site, &authority, &requests, false) else { return };
    for answer in &answers {
        assert_eq!((&answer["version"], &answer["error"]), (&json!("3"), &Value::Null), "{answer}");
    }
    let statuses: Vec<_> = answers.iter().filter_map(|answer| answer["status"].as_u64()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 400, 400], "{answers:#?}");
    assert_eq!(answers[0]["body"], "GET /x?y=1 HTTP/1.1");
    assert!(answers[0]["head"].as_str().is_some_and(|head| head.contains("\ndate: ") && head.contains("alt-svc: h3=")));
    assert_eq!(answers[3]["body"], "");
    let connects: u64 = answers.iter().filter_map(|answer| answer["connects"].as_u64()).sum();
    assert_eq!(connects, 1, "one connection takes them all: {answers:#?}");
    let seen = pod.seen();
    assert_eq!(seen.iter().map(|asked| asked.body.len()).collect::<Vec<_>>(), [0, 100_000, 100_000, 0]);
    let told = ["x-forwarded-for", "x-forwarded-proto", "host", "cookie"].map(|name| seen[0].header(name));
    assert_eq!(&told[..2], [Some("127.0.0.1"), Some("https")]);
    assert_eq!(told[3], Some("a=1"));
    assert_eq!(seen[1].header("content-length"), Some("100000"));
    assert_eq!(seen[2].header("transfer-encoding"), Some("chunked"));
    let lines = output.lines(6);
    assert!(lines[0].contains("\"GET /x?y=1 HTTP/3.0\" 200"), "{lines:?}");
    site.eventually("the counter", || site.counters().http3_connections == 1);
}

#[test]
fn http3_filters_are_those_of_all() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let closed = manifests(&authority, &[("denylist-source-range", "127.0.0.0/8"), ("enable-cors", "true")]);
    let (site, _) = Site::over_quic(1, &closed, &[("web", &pod)]);
    let requests = json!([{"host": "a.example", "path": "/"}]);
    let Some(answers) = ask(&site, &authority, &requests, false) else { return };
    assert_eq!((&answers[0]["status"], &answers[0]["version"]), (&json!(403), &json!("3")), "{answers:?}");
    assert!(pod.seen().is_empty());
}

#[test]
fn http3_large_answers_and_many_requests() {
    let large: &str = Box::leak("0123456789".repeat(300_000).into_boxed_str());
    let (authority, pod) = (Authority::new(), Pod::answering(move |_| answer("200 OK", &[], large)));
    let (site, _) = Site::over_quic(2, &manifests(&authority, &[]), &[("web", &pod)]);
    let one = json!({"host": "a.example", "path": "/", "size": 30_000});
    let Some(answers) = ask(&site, &authority, &json!(vec![one; 20]), true) else { return };
    for answer in &answers {
        assert_eq!(
            (&answer["status"], &answer["version"], &answer["length"]),
            (&json!(200), &json!("3"), &json!(large.len()))
        );
    }
    assert_eq!(pod.seen().iter().filter(|asked| asked.body.len() == 30_000).count(), 20);
}

#[test]
fn http3_is_found_by_those_who_come_over_tcp() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let (site, _) = Site::over_quic(1, &manifests(&authority, &[]), &[("web", &pod)]);
    let requests = json!([{"host": "a.example", "path": "/", "version": "2"}, {"host": "a.example", "path": "/"}]);
    let Some(answers) = ask(&site, &authority, &requests, false) else { return };
    // The port that is offered is the one at which the second request was answered.
    let offer = format!("alt-svc: h3=\":{}\"; ma=", site.tls_port());
    assert!(answers[0]["head"].as_str().is_some_and(|head| head.contains(&offer)), "{answers:#?}");
    assert_eq!((&answers[0]["version"], &answers[1]["version"]), (&json!("2"), &json!("3")), "{answers:#?}");
    assert!(
        !site.get("a.example", "/", &[]).headers.iter().any(|(name, _)| name == "alt-svc"),
        "plain HTTP offers nothing"
    );
    let plain = Site::start(&manifests(&authority, &[]), &[("web", &pod)]);
    let reply = plain.get_secured("a.example", "/", &["--cacert", authority.path()]);
    assert_eq!((reply.status, reply.header("alt-svc")), (200, None), "nobody has asked for HTTP/3");
}

#[test]
fn http3_is_not_spoken_where_clients_need_certificates() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let ca = values("ca", "Opaque", &[("ca.crt", &authority.pem())]);
    let wanting = manifests(&authority, &[("auth-tls-secret", "default/ca")]) + &ca;
    let (site, _) = Site::over_quic(1, &wanting, &[("web", &pod)]);
    let requests = json!([{"host": "a.example", "path": "/"}, {"host": "a.example", "path": "/", "version": "2"}]);
    let Some(answers) = ask(&site, &authority, &requests, false) else { return };
    assert!(answers[0]["error"].is_string(), "{answers:#?}");
    assert_eq!((&answers[1]["status"], &answers[1]["version"]), (&json!(400), &json!("2")), "{answers:#?}");
    assert!(!answers[1]["head"].as_str().unwrap_or_default().contains("alt-svc"), "{answers:#?}");
    assert!(pod.seen().is_empty());
}

#[test]
fn http3_certificates_change_without_a_restart() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let (mut site, _) = Site::over_quic(1, &manifests(&authority, &[]), &[("web", &pod)]);
    let request = |version: &str| json!([{"host": "b.example", "path": "/", "version": version}]);
    let Some(answers) = ask(&site, &authority, &request("3"), false) else { return };
    assert!(answers[0]["error"].is_string(), "the certificate is not for this name: {answers:?}");
    let other = secret("two", &authority.issue(&["b.example"], Kind::Rsa))
        + &ingress_over_tls("web2", "b.example", "two", &[]).replace("{name: web2,", "{name: web,");
    site.apply(&(manifests(&authority, &[]) + &other));
    let answers = ask(&site, &authority, &request("3"), false).expect("it was there");
    assert_eq!((&answers[0]["status"], &answers[0]["version"]), (&json!(200), &json!("3")), "{answers:?}");
}
