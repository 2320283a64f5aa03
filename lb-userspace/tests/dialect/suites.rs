use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress_over_tls};
use crate::pod::Pod;

const FIRST: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
const SECOND: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";

/// The suite that comes of an offer, or nothing if none does.
fn agreed(site: &Site, host: &str, offer: &str) -> Option<String> {
    let address = format!("127.0.0.1:{}", site.tls_port());
    let arguments = ["s_client", "-connect", &address, "-servername", host, "-tls1_2", "-cipher", offer];
    let output = std::process::Command::new("openssl").args(arguments).stdin(std::process::Stdio::null()).output();
    let text = String::from_utf8_lossy(&output.expect("openssl is installed").stdout).into_owned();
    let suite = text.lines().find_map(|line| Some(line.split_once("Cipher is ")?.1.trim().to_owned()))?;
    Some(suite).filter(|suite| suite != "(NONE)")
}

#[test]
fn hosts_offer_the_suites_that_their_ingress_names() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let hosts = ["a.example", "b.example", "c.example"];
    let certificate = secret("one", &authority.issue(&hosts, Kind::Ecdsa));
    let (backwards, both) = (format!("{SECOND}:{FIRST}"), format!("{FIRST}:{SECOND}"));
    let manifests = certificate
        + &ingress_over_tls("web", "a.example", "one", &[("ssl-ciphers", SECOND)])
        + &ingress_over_tls(
            "web2",
            "b.example",
            "one",
            &[("ssl-prefer-server-ciphers", "false"), ("ssl-ciphers", &both)],
        )
        + &ingress_over_tls("web3", "c.example", "one", &[("ssl-ciphers", &format!("{FIRST}:RC4-SHA"))]);
    let site = Site::start(&manifests, &[("web", &pod), ("web2", &pod), ("web3", &pod)]);
    assert_eq!(site.codes(), ["annotation-invalid"], "{:?}", site.problems);
    assert!(site.problems[0].expected.as_deref().is_some_and(|text| text.ends_with("not offered: RC4-SHA")));
    for (host, offer, expected) in [
        ("a.example", both.as_str(), Some(SECOND)),
        ("a.example", FIRST, None),
        ("b.example", &backwards, Some(SECOND)),
        ("b.example", &both, Some(FIRST)),
        ("c.example", &backwards, Some(FIRST)),
        ("c.example", SECOND, None),
    ] {
        assert_eq!(agreed(&site, host, offer).as_deref(), expected, "{host} {offer}");
    }
    for host in hosts {
        let reply = site.get_secured(host, "/", &["--cacert", authority.path()]);
        assert_eq!(reply.status, 200, "{host}: TLS 1.3 stays");
    }
}
