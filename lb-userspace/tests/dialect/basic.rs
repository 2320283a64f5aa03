use crate::harness::{Site, ingress};
use crate::pod::Pod;

const ASK: [(&str, &str); 3] = [("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "The \"shop\"")];
/// Passwords: myPassword, and for eve pass.
const USERS: &str = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData:\n  auth: |\n    \
ann:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n    \
bob:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n    \
cid:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n    \
eve:$1$ab$U8jv6p.D2WDJLEY1puNWT1\n";

fn site(annotations: &[(&str, &str)], secret: &str, pod: &Pod) -> Site {
    Site::start(&(ingress("web", "a.example", "/", annotations) + secret), &[("web", pod)])
}

fn status(site: &Site, login: &str) -> u16 {
    site.get("a.example", "/", &["--user", login]).status
}

#[test]
fn users_log_in_with_a_password() {
    let pod = Pod::echo();
    let site = site(&ASK, USERS, &pod);
    for login in ["ann:myPassword", "bob:myPassword", "cid:myPassword", "eve:pass", "ann:myPassword"] {
        assert_eq!(status(&site, login), 200, "{login}");
    }
    assert_eq!(pod.seen().len(), 5);
    assert!(pod.seen().iter().all(|asked| asked.header("authorization").is_none()), "the backend got the password");
    for login in ["ann:mypassword", "ann:", ":myPassword", "dan:myPassword", "bob:pass", "cid:pass"] {
        assert_eq!(status(&site, login), 401, "{login}");
    }
    let reply = site.get("a.example", "/", &[]);
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Basic realm=\"The \\\"shop\\\"\"")));
    let token = site.get("a.example", "/", &["--header", "Authorization: Bearer YW5uOm15UGFzc3dvcmQ="]);
    assert_eq!((token.status, pod.seen().len()), (401, 5), "a request reached the backend");
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn a_secret_may_have_a_key_for_each_user() {
    let pod = Pod::echo();
    let map = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\n\
data: {cid: e1NIQX1WQlB1SkhJN3VpeGFhNkxRR1d4NHMrNUdLTkU9, dan: bXlQYXNzd29yZA==}\n";
    let site = site(&[&ASK[..], &[("auth-secret-type", "auth-map")]].concat(), map, &pod);
    assert_eq!((status(&site, "cid:myPassword"), status(&site, "dan:myPassword")), (200, 401));
}

#[test]
fn a_change_of_the_secret_is_in_force_at_once() {
    let pod = Pod::echo();
    let mut site = site(&ASK, USERS, &pod);
    assert_eq!(status(&site, "bob:myPassword"), 200);
    let other = USERS.replace("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "$apr1$xxxxxxxx$ckCtyLj3v7WoKYQQ7.R6U1");
    site.apply(&(ingress("web", "a.example", "/", &ASK) + &other));
    assert_eq!((status(&site, "bob:myPassword"), status(&site, "bob:pass")), (401, 200));
}

#[test]
fn without_users_nobody_is_served() {
    let pod = Pod::echo();
    let mut site = site(&ASK, USERS, &pod);
    let open = USERS.replace("auth: |", "file: |");
    let plain = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData: {auth: \"ann:myPassword\"}\n";
    for (annotations, secret, codes) in [
        (&ASK[..], "", &["secret-missing"][..]),
        (&ASK, &open, &["annotation-invalid"]),
        (&ASK, plain, &["annotation-invalid", "secret-invalid"]),
        (&[("auth-type", "basic")], USERS, &["annotation-invalid"]),
        (&[("auth-type", "digest"), ASK[1]], USERS, &["annotation-invalid"]),
        (&[ASK[0], ("auth-secret", "other/users")], USERS, &["annotation-invalid"]),
        (&[ASK[0], ASK[1], ("auth-secret-type", "file")], USERS, &["annotation-invalid"]),
    ] {
        site.apply(&(ingress("web", "a.example", "/", annotations) + secret));
        assert_eq!(status(&site, "ann:myPassword"), 503, "{annotations:?}");
        assert_eq!(site.codes(), codes, "{annotations:?}: {:?}", site.problems);
        let shown = format!("{:?}", site.problems);
        assert!(!shown.contains("myPassword") && !shown.contains("c4WoMPo3"), "{shown}");
    }
    site.apply(&ingress("web", "a.example", "/", &[("auth-type", "digest"), ASK[1]]));
    assert!(site.problems.iter().any(|problem| problem.expected.as_ref().is_some_and(|text| text.contains("basic"))));
    assert!(pod.seen().is_empty(), "a request reached the backend");
}

#[test]
fn an_address_may_be_enough() {
    let pod = Pod::echo();
    let mut site = site(&ASK, USERS, &pod);
    for (source, satisfy, without, with) in [
        ("127.0.0.0/8", "any", 200, 200),
        ("10.0.0.0/8", "any", 401, 200),
        ("127.0.0.0/8", "all", 401, 200),
        ("10.0.0.0/8", "all", 403, 403),
    ] {
        let annotations = [&ASK[..], &[("allowlist-source-range", source), ("satisfy", satisfy)]].concat();
        site.apply(&(ingress("web", "a.example", "/", &annotations) + USERS));
        let seen = (site.get("a.example", "/", &[]).status, status(&site, "bob:myPassword"));
        assert_eq!(seen, (without, with), "{source} {satisfy}");
    }
    // Without anybody to authenticate, the addresses decide.
    site.apply(&ingress("web", "a.example", "/", &[("allowlist-source-range", "10.0.0.0/8"), ("satisfy", "any")]));
    assert_eq!(site.get("a.example", "/", &[]).status, 403);
    let annotations = [&ASK[..], &[("denylist-source-range", "10.0.0.0/8"), ("satisfy", "any")]].concat();
    site.apply(&(ingress("web", "a.example", "/", &annotations) + USERS));
    assert_eq!(site.get("a.example", "/", &[]).status, 401, "not to be denied is not to be allowed");
}

#[test]
fn pages_of_other_origins_may_ask_first() {
    let pod = Pod::echo();
    let site = site(&[&ASK[..], &[("enable-cors", "true")]].concat(), USERS, &pod);
    let origin = ["--header", "Origin: https://page.example"];
    let asked = site.get("a.example", "/", &[&["--request", "OPTIONS"], &origin[..]].concat());
    assert_eq!(asked.status, 204);
    let reply = site.get("a.example", "/", &origin);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (401, Some("*")));
}
