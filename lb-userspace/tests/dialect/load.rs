//! Many requests at once, by h2load.

use std::io::ErrorKind;
use std::process::Command;

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress_over_tls};
use crate::pod::Pod;

/// `None`: there is no h2load.
fn h2load(port: u16, url: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("h2load")
        .args(["-n", "2000", "-c", "8", "-m", "32", &format!("--connect-to=127.0.0.1:{port}")])
        .args(arguments)
        .arg(url)
        .output();
    match output {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("h2load does not start: {error}"),
    }
}

#[test]
fn every_request_of_many_is_answered() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[("ssl-redirect", "false")]);
    let site = Site::on_cores(2, &manifests, &[("web", &pod)]);
    let directory = tempfile::tempdir().expect("a directory");
    let body = directory.path().join("body");
    std::fs::write(&body, vec![b'x'; 10_000]).expect("written");
    let body = format!("--data={}", body.display());
    let (plain, tls) = (site.port(), site.tls_port());
    let mut asked = 0;
    for (port, url, arguments) in [
        (plain, "http://a.example/", &[][..]),
        (plain, "http://a.example/", &["--h1"]),
        (plain, "http://a.example/", &[body.as_str()]),
        (tls, "https://a.example/", &[]),
        (tls, "https://a.example/", &["--h1"]),
        (tls, "https://a.example/", &[body.as_str()]),
    ] {
        let Some(told) = h2load(port, url, arguments) else {
            weir_lab::lacks("h2load");
            return;
        };
        asked += 2000;
        let all = "2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(told.contains(all) && told.contains("status codes: 2000 2xx"), "{url} {arguments:?}: {told}");
    }
    assert_eq!(pod.seen().len(), asked, "each was forwarded once");
    let posted = pod.seen().iter().filter(|asked| asked.body.len() == 10_000).count();
    assert_eq!(posted, 4000);
}
