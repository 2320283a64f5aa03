//! Spans by OTLP, as a collector receives them.

use serde_json::Value;

use crate::harness::{Site, config_map, ingress};
use crate::pod::{Pod, answer};

/// A collector, and spans that it was sent.
fn spans(collector: &Pod) -> Vec<Value> {
    spans_of(collector, "weir")
}

fn spans_of(collector: &Pod, service: &str) -> Vec<Value> {
    let mut spans = Vec::new();
    for asked in collector.seen() {
        assert_eq!(asked.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(asked.header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
        for resource in body["resourceSpans"].as_array().expect("a list") {
            assert_eq!(attribute(&resource["resource"], "service.name"), service);
            for scope in resource["scopeSpans"].as_array().expect("a list") {
                spans.extend(scope["spans"].as_array().expect("a list").iter().cloned());
            }
        }
    }
    spans
}

fn attribute<'a>(of: &'a Value, key: &str) -> &'a str {
    let found = of["attributes"].as_array().and_then(|all| all.iter().find(|one| one["key"] == key));
    let value = found.map_or(&Value::Null, |one| &one["value"]);
    value["stringValue"].as_str().or(value["intValue"].as_str()).unwrap_or_default()
}

#[test]
fn otlp_spans_reach_a_collector() {
    let collector = Pod::answering(|_| answer("200 OK", &[("Content-Type", "application/json")], "{}"));
    let pod = Pod::answering(|asked| match asked.line.contains("/fails") {
        true => answer("500 Internal Server Error", &[], "no"),
        false => answer("200 OK", &[], "hello"),
    });
    let site = Site::traced(&ingress("web", "a.example", "/api", &[]), &[("web", &pod)], &collector, 1_000_000);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = format!("traceparent: {parent}");
    site.get("a.example", "/api/x?secret=1", &["--header", &traced, "--header", "tracestate: a=b"]);
    site.get("a.example", "/api/fails", &[]);
    site.get("a.example", "/api/x", &["--header", &traced.replace("-01", "-00")]);
    site.get("nobody.example", "/", &[]);
    site.eventually("the spans", || spans(&collector).len() == 3);
    let spans = spans(&collector);
    let [first, failed, unrouted] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((&first["traceId"], &first["parentSpanId"]), (&parent[3..35].into(), &parent[36..52].into()));
    assert_eq!((first["name"].as_str(), first["kind"].as_u64()), (Some("GET /api"), Some(2)));
    for (key, expected) in [
        ("http.request.method", "GET"),
        ("url.path", "/api/x"),
        ("http.route", "/api"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "5"),
        ("server.address", "a.example"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("weir.ingress", "default/web"),
        ("weir.upstream", "default/web:80"),
        ("weir.endpoint", pod.address.to_string().as_str()),
        ("weir.request_id", pod.seen()[0].header("x-request-id").unwrap_or("none")),
    ] {
        assert_eq!(attribute(first, key), expected, "{key}: {first:#}");
    }
    assert!(!first.to_string().contains("secret"), "queries are nobody's business: {first:#}");
    let time = |span: &Value, key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time");
    assert!(time(first, "startTimeUnixNano") <= time(first, "endTimeUnixNano"));
    assert_eq!((first["status"]["code"].as_u64(), failed["status"]["code"].as_u64()), (Some(0), Some(2)));
    assert!(failed.get("parentSpanId").is_none() && failed["traceId"] != first["traceId"]);
    assert_eq!((attribute(unrouted, "http.response.status_code"), attribute(unrouted, "http.route")), ("404", ""));

    // Backends go on with the span of the front.
    let seen = pod.seen();
    let told = |at: usize| seen[at].header("traceparent").unwrap_or_default().to_owned();
    let as_parent = |span: &Value| {
        format!("00-{}-{}-01", span["traceId"].as_str().unwrap_or(""), span["spanId"].as_str().unwrap_or(""))
    };
    assert_eq!((told(0), seen[0].header("tracestate")), (as_parent(first), Some("a=b")));
    assert_eq!(told(1), as_parent(failed));
    assert!(told(2).starts_with(&parent[..36]) && told(2).ends_with("-00"), "{}", told(2));
}

#[test]
fn otlp_requests_do_not_wait_for_a_collector() {
    // It takes connections and says nothing.
    let (collector, pod) = (Pod::silent(), Pod::echo());
    let site = Site::traced(&ingress("web", "a.example", "/", &[]), &[("web", &pod)], &collector, 1_000_000);
    for _ in 0..50 {
        assert_eq!(site.get("a.example", "/", &[]).status, 200);
    }
    let nothing = Pod::answering(|_| answer("200 OK", &[], "{}"));
    let quiet = Site::traced(&ingress("web", "a.example", "/", &[]), &[("web", &pod)], &nothing, 0);
    quiet.get("a.example", "/", &[]);
    quiet.get("a.example", "/", &["--header", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]);
    quiet.eventually("the one that was asked for", || spans(&nothing).len() == 1);
}

#[test]
fn otlp_keys_of_the_configmap() {
    let collector = Pod::answering(|_| answer("200 OK", &[], "{}"));
    let pod = Pod::echo();
    let port = collector.address.port().to_string();
    let data = [
        ("enable-opentelemetry", "true"),
        ("otlp-collector-host", "127.0.0.1"),
        ("otlp-collector-port", port.as_str()),
        ("otel-service-name", "shop"),
        ("opentelemetry-trust-incoming-span", "false"),
    ];
    let web = ingress("web", "a.example", "/", &[]);
    let mut site = Site::configured(&data, &web, &[("web", &pod)]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    site.get("a.example", "/one", &["--header", parent]);
    site.eventually("the span", || spans_of(&collector, "shop").len() == 1);
    let first = &spans_of(&collector, "shop")[0];
    assert!(first.get("parentSpanId").is_none() && !first.to_string().contains("0af7651916cd43dd"), "{first:#}");
    // To another collector, and only where whoever began the trace wants it.
    let other = Pod::answering(|_| answer("200 OK", &[], "{}"));
    let at = other.address.port().to_string();
    let data = [
        ("enable-opentelemetry", "true"),
        ("otlp-collector-host", "127.0.0.1"),
        ("otlp-collector-port", at.as_str()),
        ("otel-sampler", "AlwaysOff"),
    ];
    site.apply(&(config_map(&data) + &web));
    site.get("a.example", "/none", &[]);
    site.get("a.example", "/two", &["--header", &parent.replace("-00", "-01")]);
    site.eventually("the span that its parent asks for", || spans(&other).len() == 1);
    assert_eq!(attribute(&spans(&other)[0], "url.path"), "/two");
    assert_eq!(spans_of(&collector, "shop").len(), 1);
}
