use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

const USUAL: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length $upstream_status $req_id"#;

/// The test is a proxy that may choose ids.
const BELIEVED: [(&str, &str); 2] = [("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8")];

fn web() -> String {
    ingress("web", "a.example", "/", &[])
}

/// Times are not for a test to know.
fn without_times(line: &str) -> String {
    let (before, rest) = line.split_once('[').expect("a time");
    let (_, after) = rest.split_once(']').expect("its end");
    format!("{before}[]{after}")
}

#[test]
fn lines_are_as_ingress_nginx_writes_them() {
    let pod = Pod::answering(|_| answer("201 Created", &[], "hello"));
    let data = [&[("log-format-upstream", USUAL)], &BELIEVED[..]].concat();
    let (site, output) = Site::logging(&data, &web(), &[("web", &pod)]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    let arguments =
        ["--user", "ann:secret", "--user-agent", "x\"\\y", "--header", "X-Request-ID: one", "--data", "four"];
    site.get("a.example", "/p?q=1", &arguments);
    let line = without_times(&output.lines(1)[0]);
    // What curl sent, without its body: a line and an empty one, and a header in each of the others.
    let sent: [&str; 9] = [
        "POST /p?q=1 HTTP/1.1",
        "Host: a.example",
        "Authorization: Basic YW5uOnNlY3JldA==",
        "User-Agent: x\"\\y",
        "Accept: */*",
        "X-Request-ID: one",
        "Content-Length: 4",
        "Content-Type: application/x-www-form-urlencoded",
        "",
    ];
    let length: usize = sent.iter().map(|line| line.len() + 2).sum::<usize>() + 4;
    let (before, after) = (
        format!("127.0.0.1 - ann [] \"POST /p?q=1 HTTP/1.1\" 201 5 \"-\" \"x\\x22\\x5Cy\" {length} "),
        format!(" [default-web-80] [-] {} 5 201 one", pod.address),
    );
    assert!(line.starts_with(&before) && line.ends_with(&after), "{line}");
    let time = &line[before.len()..line.len() - after.len()];
    assert!(time.split_once('.').is_some_and(|(_, digits)| digits.len() == 3), "{time}");
}

#[test]
fn endpoints_that_were_tried_are_told_one_by_one() {
    let broken = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let pod = Pod::echo();
    let format = "$upstream_addr|$upstream_status|$upstream_connect_time";
    let gone = Pod::at(broken);
    let (site, output) = Site::logging(&[("log-format-upstream", format)], &web(), &[("web", &gone), ("web", &pod)]);
    let both = format!("{broken}, {}|-, 200|-, 0.", pod.address);
    // Whose turn is first is by chance, and later the one that cannot be reached comes last.
    let mut requests = 0;
    site.eventually("an endpoint in vain", || {
        site.get("a.example", "/", &[]);
        requests += 1;
        output.lines(requests).last().is_some_and(|line| line.starts_with(&both))
            || output.lines(requests).iter().any(|line| line.starts_with(&both))
    });
}

#[test]
fn json_is_json_whatever_clients_send() {
    let pod = Pod::answering(|_| answer("200 OK", &[("Content-Type", "text/x")], "hello"));
    let format = r#"{"agent": "$http_user_agent", "status": $status, "type": "$sent_http_content_type",
        "ingress": "$namespace/$ingress_name", "bytes": $bytes_sent, "args": "$args", "trace": "$opentelemetry_trace_id"}"#;
    let data = [("log-format-upstream", format), ("log-format-escape-json", "true")];
    let (mut site, output) = Site::logging(&data, &web(), &[("web", &pod)]);
    let mut stream = TcpStream::connect(site.address()).expect("connected");
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nUser-Agent: \"}\\\x09\xc3\xa4\r\n\
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    stream.write_all(request).expect("sent");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("answered");
    let line: serde_json::Value = serde_json::from_str(&output.lines(1)[0]).expect("JSON");
    assert_eq!(line["agent"], "\"}\\\t\u{e4}");
    assert_eq!((&line["status"], &line["type"]), (&200.into(), &"text/x".into()));
    assert_eq!((&line["ingress"], &line["args"]), (&"default/web".into(), &"".into()));
    let counted = reply.len() - "connection: close\r\n".len();
    assert_eq!(line["bytes"], counted, "{}", String::from_utf8_lossy(&reply));
    assert_eq!(line["trace"], "0af7651916cd43dd8448eb211c80319c");

    let data = [&[("log-format-escape-json", "true")], &BELIEVED[..]].concat();
    site.apply(&(crate::harness::config_map(&data) + &web()));
    site.get("a.example", "/x", &["--header", "X-Request-ID: one"]);
    let line: serde_json::Value = serde_json::from_str(&output.lines(2)[1]).expect("JSON");
    assert_eq!((&line["req_id"], &line["request_uri"]), (&"one".into(), &"/x".into()));
    assert_eq!((&line["host"], &line["upstream_addr"]), (&"a.example".into(), &pod.address.to_string().into()));
}

#[test]
fn what_is_refused_has_a_line_without_what_it_said() {
    let pod = Pod::echo();
    let format = "$remote_addr \"$request\" $status $host $request_length";
    let (site, output) = Site::logging(&[("log-format-upstream", format)], &web(), &[("web", &pod)]);
    let mut stream = TcpStream::connect(site.address()).expect("connected");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n").expect("sent");
    stream.read_to_end(&mut Vec::new()).expect("answered");
    assert_eq!(output.lines(1), ["127.0.0.1 \"-\" 400 - 0"]);
}

#[test]
fn requests_without_a_rule_are_logged_unless_told_otherwise() {
    let pod = Pod::echo();
    let data = [("log-format-upstream", "$status $host"), ("enable-access-log-for-default-backend", "false")];
    let (mut site, output) = Site::logging(&data, &web(), &[("web", &pod)]);
    site.get("nobody.example", "/", &[]);
    site.get("a.example", "/", &[]);
    assert_eq!(output.lines(1), ["200 a.example"]);
    site.apply(&(crate::harness::config_map(&data[..1]) + &web()));
    site.get("nobody.example", "/", &[]);
    assert_eq!(output.lines(2), ["200 a.example", "404 nobody.example"]);
}

#[test]
fn wrong_formats_are_told() {
    let pod = Pod::echo();
    let data = [
        ("log-format-upstream", "$remote_addr $geoip2_city"),
        ("log-format-escape-none", "true"),
        ("log-format-stream", "$"),
    ];
    let site = Site::configured(&data, &web(), &[("web", &pod)]);
    assert_eq!(site.codes(), ["configmap-invalid", "configmap-invalid", "configmap-key-refused"]);
    let expected: Vec<_> = site.problems.iter().filter_map(|problem| problem.expected.as_deref()).collect();
    assert!(expected.iter().any(|expected| expected.contains("$geoip2_city")), "{expected:?}");
}

#[test]
fn errors_tell_the_id_of_the_request() {
    let pod = Pod::echo();
    let site = Site::configured(&BELIEVED, &web(), &[("web", &pod)]);
    let reply = site.get("nobody.example", "/", &["--header", "X-Request-ID: one<two"]);
    assert_eq!(reply.status, 404);
    assert!(reply.body.ends_with("\nRequest ID: one?two\n"), "{}", reply.body);
    assert!(!site.get("nobody.example", "/healthz", &[]).body.contains("Request ID"));
}

#[test]
fn traces_are_passed_on_and_begun_where_that_is_asked_for() {
    let pod = Pod::echo();
    let own = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut site = Site::configured(&[], &web(), &[("web", &pod)]);
    site.get("a.example", "/", &["--header", own, "--header", "tracestate: a=b"]);
    site.get("a.example", "/", &[]);
    site.apply(&(crate::harness::config_map(&[("generate-traceparent", "true")]) + &web()));
    site.get("a.example", "/", &["--header", own]);
    site.get("a.example", "/", &["--header", "traceparent: nonsense", "--header", "tracestate: a=b"]);
    let seen = pod.seen();
    let traces: Vec<_> = seen.iter().map(|asked| asked.header("traceparent").unwrap_or_default().to_owned()).collect();
    let own = own.trim_start_matches("traceparent: ");
    assert_eq!([&*traces[0], &*traces[1], &*traces[2]], [own, "", own]);
    assert_eq!((seen[0].header("tracestate"), seen[3].header("tracestate")), (Some("a=b"), None));
    assert!(traces[3].starts_with("00-") && traces[3].len() == own.len() && traces[3] != own, "{}", traces[3]);
}
