//! `weir explain` against what then happens: random requests over random Ingresses.

use std::io::{Read, Write};
use std::net::TcpStream;

use lb_userspace::status::explain::{ExplainQuery, ExplainRow, explain_request};
use lb_userspace::status::query::Arguments;

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Reply, Site, ingress, ingress_over_tls, parse};
use crate::pod::{Pod, answer};

const TABLES: u64 = 25;
const REQUESTS: u64 = 40;

const NAMES: [&str; 4] = ["one", "two", "three", "four"];
const HOSTS: [&str; 5] = ["a.example", "a.example", "*.b.example", "x.b.example", "c.example"];
const PATHS: [&str; 7] = ["/", "/app", "/app/deep", "/api(/|$)(.*)", "/service/s1/", "/static", "/[ab]+"];
/// What an Ingress may ask for; those in one entry belong together.
const ANNOTATIONS: [&[(&str, &str)]; 24] = [
    &[("use-regex", "true")],
    &[("rewrite-target", "/")],
    &[("rewrite-target", "/x/$2")],
    &[("rewrite-target", "/"), ("weir.io/asset-fallback", "true")],
    &[("weir.io/asset-fallback", "true")],
    &[("weir.io/asset-fallback", "true"), ("whitelist-source-range", "192.0.2.0/24")],
    &[("permanent-redirect", "https://x.example$request_uri")],
    &[("temporal-redirect", "http://$host/moved"), ("temporal-redirect-code", "307")],
    &[("app-root", "/app")],
    &[("force-ssl-redirect", "true")],
    &[("whitelist-source-range", "192.0.2.0/24, 127.0.0.1")],
    &[("denylist-source-range", "192.0.2.0/24")],
    &[("whitelist-source-range", "nonsense")],
    &[("enable-cors", "true"), ("cors-allow-origin", "http://good.example")],
    &[("auth-type", "basic"), ("auth-secret", "users")],
    &[("auth-type", "basic"), ("auth-secret", "users"), ("satisfy", "any"), ("whitelist-source-range", "192.0.2.0/24")],
    &[("auth-type", "basic"), ("auth-secret", "none")],
    &[("enable-cors", "true")],
    &[("proxy-body-size", "8")],
    &[("proxy-body-size", "8"), ("enable-cors", "true")],
    &[("limit-rps", "1000"), ("limit-connections", "100")],
    &[("server-alias", "alias.example")],
    &[("custom-headers", "none/such")],
    &[("upstream-vhost", "inner"), ("load-balance", "ewma")],
];
const CANARIES: [&[(&str, &str)]; 4] = [
    &[("canary-by-header", "x-canary")],
    &[("canary-by-cookie", "canary")],
    &[("canary-by-header", "x-canary"), ("canary-by-header-pattern", "^al")],
    &[("canary-weight", "100")],
];
const USERS: &str = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\n\
stringData: {auth: \"ann:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=\"}\n";

const ASKED_HOSTS: [&str; 7] =
    ["a.example", "A.Example.", "x.b.example", "y.b.example", "y.y.b.example", "c.example:80", "alias.example"];
const ASKED_PATHS: [&str; 18] = [
    "/",
    "/app",
    "/app/",
    "/apple",
    "/app/deep/er",
    "/api",
    "/API/x%20y",
    "/apis/x",
    "/service/s1/x",
    "/service/s2",
    "/static/table.js",
    "/nothing",
    "/healthz",
    "/abba/x",
    "/app/../api/x",
    "/%61pp/%7e",
    "/app/..%2Fapi/x",
    "/..",
];
const HEADERS: [&str; 16] = [
    "Referer: http://a.example/service/s1/",
    "Referer: http://x.b.example/app/x?y",
    "Referer: http://c.example/static/x.css",
    "Referer: http://other.example/service/s1/",
    "Cookie: canary=always",
    "Cookie: canary=never; a=b",
    "X-Canary: always",
    "X-Canary: never",
    "Authorization: Basic YW5uOmFkbWlu",
    "Authorization: Basic YW5uOndyb25n",
    "Origin: http://good.example",
    "Origin: http://bad.example",
    "X-Forwarded-For: 192.0.2.9",
    "X-Forwarded-For: 198.51.100.9, 192.0.2.1",
    "X-Forwarded-Proto: https",
    "User-Agent: evil",
];

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.next() % choices.len() as u64).expect("small")]
    }
}

/// Ingresses, some of which want the same, some with a canary, some with a default backend or a Service that is not there.
fn manifests(random: &mut Random) -> String {
    let mut text = USERS.to_owned();
    for number in 0..12 {
        let (name, host, path) = (random.of(&NAMES), random.of(&HOSTS), random.of(&PATHS));
        let mut annotations = Vec::new();
        for _ in 0..random.next() % 3 {
            annotations.extend(random.of(&ANNOTATIONS));
        }
        annotations.sort_unstable();
        annotations.dedup_by_key(|(name, _)| *name);
        let mut one = ingress(name, host, path, &annotations);
        if random.one_in(3) {
            one += &format!("  defaultBackend: {{service: {{name: {}, port: {{number: 80}}}}}}\n", random.of(&NAMES));
        }
        if random.one_in(4) {
            one = one.replace("pathType: Prefix", "pathType: ImplementationSpecific");
        } else if random.one_in(4) {
            one = one.replace("pathType: Prefix", "pathType: Exact");
        }
        if random.one_in(8) {
            one = one.replace("number: 80", "number: 81");
        }
        text += &one.replacen(&format!("name: {name}\n"), &format!("name: ingress-{number}\n"), 1);
        if random.one_in(4) {
            let canary: Vec<_> = random.of(&CANARIES).iter().copied().chain([("canary", "true")]).collect();
            let other = random.of(&NAMES);
            let one = ingress(other, host, path, &canary);
            text += &one.replacen(&format!("name: {other}\n"), &format!("name: canary-{number}\n"), 1);
        }
    }
    text
}

struct Asked {
    method: &'static str,
    host: &'static str,
    path: String,
    headers: Vec<String>,
    body: &'static str,
}

fn asked(random: &mut Random) -> Asked {
    let method =
        if random.one_in(30) { "TRACE" } else { random.of(&["GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE"]) };
    let query = random.of(&["", "", "?a=b&c=%2F"]);
    let mut headers: Vec<String> = (0..random.next() % 4).map(|_| random.of(&HEADERS).to_owned()).collect();
    headers.sort();
    headers.dedup_by_key(|header| header.split(':').next().map(str::to_owned));
    let body = if method == "POST" { random.of(&["", "body", "a longer body"]) } else { "" };
    if method == "POST" {
        headers.push(format!("Content-Length: {}", body.len()));
    }
    Asked { method, host: random.of(&ASKED_HOSTS), path: random.of(&ASKED_PATHS).to_owned() + query, headers, body }
}

fn explained(site: &Site, asked: &Asked) -> ExplainRow {
    let mut arguments = Arguments::default();
    arguments.add("target", Some(&format!("http://named.by.header{}", asked.path)));
    arguments.add("from", Some(&"127.0.0.1"));
    arguments.add("method", Some(&asked.method));
    arguments.add("header", Some(&format!("Host: {}", asked.host)));
    asked.headers.iter().for_each(|header| arguments.add("header", Some(header)));
    explain_request(&ExplainQuery::read(&arguments).expect("good arguments"), &site.view())
}

fn happens(site: &Site, asked: &Asked) -> Reply {
    let mut stream = TcpStream::connect(site.address()).expect("the front listens");
    let headers: String = asked.headers.iter().map(|header| format!("{header}\r\n")).collect();
    let Asked { method, host, path, body, .. } = asked;
    let text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    parse(&String::from_utf8_lossy(&answer))
}

/// What both tell of a request: status, who answered, what path that one got, where the client is sent, whether pages of
/// another origin may read the answer.
type Outcome = (u16, Option<String>, Option<String>, Option<String>, bool);

fn outcome_of(row: &ExplainRow) -> Outcome {
    let request = row.request.as_ref().expect("one about a request");
    let shared = row.steps.iter().any(|step| {
        step.step == "decision" && step.result == "cors" && step.detail.as_deref() == Some("the origin is allowed")
    });
    let service = request.service.as_ref().map(|service| service.replace("default/", "").replace(":80", ""));
    let forwarded = request.forwarded.clone().filter(|_| service.is_some());
    assert_eq!(row.verdict == "forward", service.is_some(), "{row:?}");
    (request.status.unwrap_or(200), service, forwarded, request.location.clone(), shared)
}

fn outcome(reply: &Reply) -> Outcome {
    let header = |name| reply.header(name).map(str::to_owned);
    (
        reply.status,
        header("x-pod"),
        header("x-path"),
        header("location"),
        header("access-control-allow-origin").is_some(),
    )
}

#[test]
fn a_thousand_requests_go_as_explained() {
    let pods = NAMES.map(|name| {
        let pod = Pod::answering(move |asked| {
            let path = asked.line.split(' ').nth(1).unwrap_or_default();
            answer("200 OK", &[("X-Pod", name), ("X-Path", path)], "")
        });
        (name, pod)
    });
    let named = pods.each_ref().map(|(name, pod)| (*name, pod));
    let settings =
        [("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8"), ("block-user-agents", "evil")];
    let settings_map = crate::harness::config_map(&settings);
    let mut site = Site::configured(&settings, "", &named);
    let mut random = Random(5);
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    for table in 0..TABLES {
        let manifests = settings_map.clone() + &manifests(&mut random);
        site.apply(&manifests);
        for _ in 0..REQUESTS {
            let asked = asked(&mut random);
            let (told, reply) = (explained(&site, &asked), happens(&site, &asked));
            let Asked { method, host, path, headers, body } = &asked;
            let what = format!("table {table}: {method} {host}{path} {headers:?} {body:?}");
            assert_eq!(outcome_of(&told), outcome(&reply), "{what}\n{told:#?}\n{reply:?}\n{manifests}");
            *seen.entry(reply.status).or_default() += 1;
        }
    }
    // The test is worth something only if much of what can happen has happened.
    for status in [200, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 413, 503] {
        assert!(seen.contains_key(&status), "no {status} among {seen:?}");
    }
}

#[test]
fn the_answer_names_filters_and_the_others() {
    let pod = Pod::echo();
    let asking = [("whitelist-source-range", "192.0.2.0/24"), ("limit-rps", "5"), ("rewrite-target", "/")];
    let manifests = ingress("web", "a.example", "/app", &asking)
        + &ingress("web", "a.example", "/", &[]).replacen("name: web", "name: root", 1)
        + &ingress("web", "a.example", "/other", &[]).replacen("name: web", "name: other", 1)
        + &ingress("web", "a.example", "/app/", &[]).replacen("name: web", "name: younger", 1)
        + &ingress("web", "*.example", "/app", &[]).replacen("name: web", "name: wild", 1);
    let site = Site::start(&manifests, &[("web", &pod)]);
    let explain = |from: &str| {
        let mut arguments = Arguments::default();
        arguments.add("target", Some(&"http://a.example/app/x?y=z"));
        arguments.add("from", Some(&from));
        explain_request(&ExplainQuery::read(&arguments).expect("good arguments"), &site.view())
    };
    let (inside, outside) = (explain("192.0.2.7"), explain("198.51.100.7"));
    let steps = |row: &ExplainRow| -> Vec<String> {
        let line = |step: &lb_userspace::status::explain::StepRow| {
            format!("{}: {}: {}", step.step, step.result, step.detail.as_deref().unwrap_or_default())
        };
        row.steps.iter().map(line).collect()
    };
    let told = steps(&inside);
    for expected in [
        "host: a.example: 3 routes of host a.example",
        "route: Prefix /app: of Ingress default/web",
        "filter: rewrite-target /: /app/x becomes /x",
        "not: Prefix /: of Ingress default/root: matches too, but the longer path comes first",
        "not: Prefix /other: of Ingress default/other: does not match the path",
        "not: host *.example: the routes of host a.example, which is stronger, are looked at",
        "decision: limits: lets it through",
        "decision: source-range: lets it through",
        "verdict: forward: to it",
    ] {
        assert!(told.iter().any(|step| step == expected), "{expected} not among {told:#?}");
    }
    let conflict = told.iter().find(|step| step.starts_with("not: a.example/app"));
    assert!(conflict.is_some_and(|step| step.contains("Ingress default/younger: ")), "{told:#?}");
    let request = inside.request.expect("a request");
    assert_eq!((request.forwarded.as_deref(), request.service.as_deref()), (Some("/x?y=z"), Some("default/web:80")));
    assert_eq!((outside.verdict.as_str(), outside.reason.as_deref()), ("reject", Some("403")));
    let told = steps(&outside);
    assert!(told.iter().any(|step| step == "decision: source-range: answers 403"), "{told:#?}");
}

/// What is told of a request over TLS: the steps of that, the verdict, and the Service.
fn over_tls(site: &Site, host: &str) -> (Vec<String>, String, Option<String>) {
    let mut arguments = Arguments::default();
    arguments.add("target", Some(&format!("https://{host}/x")));
    arguments.add("from", Some(&"127.0.0.1"));
    let row = explain_request(&ExplainQuery::read(&arguments).expect("good arguments"), &site.view());
    let steps = row.steps.iter().filter(|step| step.step == "tls");
    let steps = steps.map(|step| format!("{}: {}", step.result, step.detail.as_deref().unwrap_or_default())).collect();
    let service = row.request.and_then(|request| request.service).or(row.backend.map(|_| "passed".to_owned()));
    (steps, row.verdict, service)
}

#[test]
fn connections_over_tls_go_as_explained() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let pod = Pod::named("here");
    // Another front with a certificate of its own stands for a backend that speaks TLS itself.
    let passed = secret("one", &theirs.issue(&["pass.example"], Kind::Ecdsa));
    let behind = Site::start(&(passed + &ingress_over_tls("web", "pass.example", "one", &[])), &[("web", &pod)]);
    let backend = Pod::at(([127, 0, 0, 1], behind.tls_port()).into());
    let manifests = [
        secret("one", &ours.issue(&["a.example", "pass.example"], Kind::Ecdsa)),
        ingress_over_tls("web", "a.example", "one", &[]),
        ingress_over_tls("backend", "pass.example", "one", &[("ssl-passthrough", "true")]),
        ingress_over_tls("gone", "gone.example", "none", &[("ssl-passthrough", "true")]),
        ingress("plain", "b.example", "/", &[]).replace("{name: plain,", "{name: web,"),
    ];
    let site = Site::start(&manifests.concat(), &[("web", &pod), ("backend", &backend)]);

    let (steps, verdict, service) = over_tls(&site, "a.example");
    assert_eq!(steps, ["ends here: certificate of Secret default/one"]);
    assert_eq!((verdict.as_str(), service.as_deref()), ("forward", Some("default/web:80")));
    assert_eq!(site.get_secured("a.example", "/x", &["--cacert", ours.path()]).body, "here");

    let (steps, verdict, _) = over_tls(&site, "b.example");
    assert_eq!(steps, ["ends here: the front's own certificate"]);
    assert_eq!(verdict, "forward");
    assert!(
        site.try_secured("b.example", "/x", &["--cacert", ours.path()]).is_err(),
        "it has a certificate of its own"
    );
    assert_eq!(site.get_secured("b.example", "/x", &["--insecure"]).body, "here");

    let (steps, verdict, _) = over_tls(&site, "pass.example");
    assert!(steps.len() == 1 && steps[0].starts_with("passed through: "), "{steps:?}");
    assert_eq!(verdict, "forward");
    assert!(site.get_secured("pass.example", "/x", &["--cacert", theirs.path()]).status == 200);

    let (steps, verdict, _) = over_tls(&site, "gone.example");
    assert!(steps.last().is_some_and(|step| step.contains("has no endpoint; the connection is closed")), "{steps:?}");
    assert_eq!(verdict, "reject");
    assert!(site.try_secured("gone.example", "/x", &["--insecure"]).is_err());
}
