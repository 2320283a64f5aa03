//! Certificates of clients.

use crate::certificates::{Authority, Kind, secret, values};
use crate::harness::{Reply, Site, ingress_over_tls};
use crate::pod::Pod;

struct Setting {
    ours: Authority,
    believed: Authority,
    pod: Pod,
    site: Site,
}

impl Setting {
    fn new(annotations: &[(&str, &str)]) -> Self {
        let (ours, believed) = (Authority::new(), Authority::new());
        let pod = Pod::echo();
        let site = Site::start(&manifests(&ours, &believed, annotations), &[("web", &pod)]);
        Setting { ours, believed, pod, site }
    }

    fn apply(&mut self, annotations: &[(&str, &str)]) {
        self.site.apply(&manifests(&self.ours, &self.believed, annotations));
    }

    fn ask(&self, host: &str, client: Option<&(String, String)>) -> Reply {
        let mut arguments = vec!["--cacert", self.ours.path()];
        if let Some((chain, key)) = client {
            arguments.extend(["--cert", chain, "--key", key]);
        }
        self.site.get_secured(host, "/", &arguments)
    }

    fn told(&self, name: &str) -> Option<String> {
        self.pod.seen().last().and_then(|asked| asked.header(name).map(str::to_owned))
    }
}

fn manifests(ours: &Authority, believed: &Authority, annotations: &[(&str, &str)]) -> String {
    let named = annotations.iter().any(|(name, _)| *name == "auth-tls-secret");
    let named = if named { &[][..] } else { &[("auth-tls-secret", "default/clients")] };
    let annotations = [named, annotations].concat();
    let other = ingress_over_tls("other", "b.example", "one", &[]).replace("{name: other,", "{name: web,");
    [
        secret("one", &ours.issue(&["a.example", "b.example"], Kind::Ecdsa)),
        values("clients", "Opaque", &[("ca.crt", &believed.pem())]),
        ingress_over_tls("web", "a.example", "one", &annotations),
        other,
    ]
    .concat()
}

#[test]
fn only_clients_with_a_good_certificate_are_served() {
    let mut setting = Setting::new(&[]);
    assert!(setting.site.problems.is_empty(), "{:?}", setting.site.problems);
    let (good, bad) = (setting.believed.client("alice"), setting.ours.client("mallory"));
    assert_eq!(setting.ask("a.example", None).status, 400);
    assert_eq!(setting.ask("a.example", Some(&bad)).status, 400);
    assert!(setting.pod.seen().is_empty());
    assert_eq!(setting.ask("a.example", Some(&good)).status, 200);
    assert_eq!(setting.told("ssl-client-verify").as_deref(), Some("SUCCESS"));
    assert_eq!(setting.told("ssl-client-subject-dn").as_deref(), Some("CN=alice"));
    assert_eq!(setting.told("ssl-client-issuer-dn").as_deref(), Some("CN=authority"));
    assert_eq!(setting.told("ssl-client-cert"), None);
    assert_eq!(setting.ask("b.example", None).status, 200, "another host asks for none");

    setting.apply(&[("auth-tls-pass-certificate-to-upstream", "true"), ("auth-tls-match-cn", "CN=(alice|bob)$")]);
    assert_eq!(setting.ask("a.example", Some(&good)).status, 200);
    assert!(setting.told("ssl-client-cert").is_some_and(|pem| pem.starts_with("-----BEGIN%20CERTIFICATE-----%0A")));
    let carol = setting.believed.client("carol");
    assert_eq!(setting.ask("a.example", Some(&carol)).status, 403);
}

#[test]
fn there_is_no_way_around() {
    let setting = Setting::new(&[("ssl-redirect", "false")]);
    assert_eq!(setting.site.get("a.example", "/", &[]).status, 403, "without TLS");
    // The name in the handshake is one that asks for nothing.
    let by_another_name = ["--cacert", setting.ours.path(), "--header", "Host: a.example"];
    assert_eq!(setting.site.get_secured("b.example", "/", &by_another_name).status, 421);
    let forged = ["--header", "ssl-client-verify: SUCCESS", "--cacert", setting.ours.path()];
    assert_eq!(setting.site.get_secured("b.example", "/", &forged).status, 200);
    assert_eq!(setting.told("ssl-client-verify"), None);
}

#[test]
fn without_a_good_one_as_is_said() {
    let mut setting = Setting::new(&[("auth-tls-verify-client", "optional")]);
    let bad = setting.ours.client("mallory");
    assert_eq!(setting.ask("a.example", None).status, 200);
    assert_eq!(setting.told("ssl-client-verify").as_deref(), Some("NONE"));
    assert_eq!(setting.ask("a.example", Some(&bad)).status, 400);
    setting.apply(&[("auth-tls-verify-client", "optional_no_ca")]);
    assert_eq!(setting.ask("a.example", Some(&bad)).status, 200);
    assert!(setting.told("ssl-client-verify").is_some_and(|told| told.starts_with("FAILED:")));
    setting.apply(&[("auth-tls-verify-client", "off")]);
    assert_eq!(setting.ask("a.example", None).status, 200);
    setting.apply(&[("auth-tls-error-page", "https://help.example/$request_uri")]);
    let reply = setting.ask("a.example", None);
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://help.example//")));
}

#[test]
fn what_cannot_be_understood_closes_the_routes() {
    let mut setting = Setting::new(&[]);
    let good = setting.believed.client("alice");
    for (name, value) in [
        ("auth-tls-verify-client", "maybe"),
        ("auth-tls-verify-depth", "many"),
        ("auth-tls-match-cn", "CN=("),
        ("auth-tls-secret", "default/missing"),
        ("auth-tls-secret", "other/clients"),
        ("auth-tls-secret", "default/one"),
    ] {
        setting.apply(&[(name, value)]);
        let site = &setting.site;
        assert_eq!(site.problems.len(), 1, "{name}: {value}: {:?}", site.problems);
        assert_eq!(setting.ask("a.example", Some(&good)).status, 503, "{name}: {value}");
        assert_eq!(setting.ask("b.example", None).status, 200, "{name}: {value}");
    }
}

/// With authorities of clients, and what these have revoked.
fn depends_on(ours: &Authority, authorities: &str, revoked: &str, depth: &str) -> String {
    let asked = [("auth-tls-secret", "default/clients"), ("auth-tls-verify-depth", depth)];
    let clients = [("ca.crt", authorities), ("ca.crl", revoked)];
    let clients: Vec<_> = clients.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    secret("one", &ours.issue(&["a.example"], Kind::Ecdsa))
        + &values("clients", "Opaque", &clients)
        + &ingress_over_tls("web", "a.example", "one", &asked)
}

#[test]
fn chains_of_clients_may_have_so_many_authorities_between() {
    let (ours, root) = (Authority::new(), Authority::new());
    let (middle, pod) = (root.below(), Pod::echo());
    let low = middle.below();
    let clients = [root.client("near"), middle.client("far"), low.client("farther")];
    let mut site = Site::start(&depends_on(&ours, &root.pem(), "", "1"), &[("web", &pod)]);
    for (depth, statuses) in [("0", [200, 400, 400]), ("1", [200, 200, 400]), ("2", [200; 3])] {
        site.apply(&depends_on(&ours, &root.pem(), "", depth));
        assert!(site.problems.is_empty(), "{:?}", site.problems);
        let seen = clients.each_ref().map(|(chain, key)| {
            site.get_secured("a.example", "/", &["--cacert", ours.path(), "--cert", chain, "--key", key]).status
        });
        assert_eq!(seen, statuses, "depth {depth}");
    }
}

#[test]
fn who_is_on_the_list_of_the_revoked_is_not_served() {
    let (ours, believed) = (Authority::new(), Authority::new());
    let other = believed.below();
    let (alice, bob, pod) = (believed.client("alice"), believed.client("bob"), Pod::echo());
    let ask = |site: &Site, (chain, key): &(String, String), version: &str| {
        let arguments = ["--cacert", ours.path(), "--cert", chain, "--key", key, "--tls-max", version];
        site.get_secured("a.example", "/", &arguments).status
    };
    let mut site = Site::start(&depends_on(&ours, &believed.pem(), "", "1"), &[("web", &pod)]);
    assert_eq!([ask(&site, &alice, "1.3"), ask(&site, &bob, "1.3")], [200; 2]);
    site.apply(&depends_on(&ours, &believed.pem(), &believed.revoke(&["bob", "carol"]), "1"));
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    for version in ["1.2", "1.3"] {
        assert_eq!([ask(&site, &alice, version), ask(&site, &bob, version)], [200, 400], "TLS {version}");
    }
    // One of somebody else revokes nothing.
    site.apply(&depends_on(&ours, &believed.pem(), &other.revoke(&["alice", "bob"]), "1"));
    assert_eq!([ask(&site, &alice, "1.3"), ask(&site, &bob, "1.3")], [200; 2]);
    site.apply(&depends_on(&ours, &believed.pem(), "no list", "1"));
    assert_eq!((site.problems.len(), ask(&site, &alice, "1.3")), (1, 503), "{:?}", site.problems);
}

#[test]
fn a_change_of_authorities_counts_at_once() {
    let mut setting = Setting::new(&[]);
    let good = setting.believed.client("alice");
    assert_eq!(setting.ask("a.example", Some(&good)).status, 200);
    let before = std::mem::replace(&mut setting.believed, Authority::new());
    setting.apply(&[]);
    assert_eq!(setting.ask("a.example", Some(&good)).status, 400);
    drop(before);
    let next = setting.believed.client("bob");
    assert_eq!(setting.ask("a.example", Some(&next)).status, 200);
}
