//! A real browser with two pages side by side, each behind a prefix that it knows nothing of.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::harness::{Site, ingress};
use crate::pod::{Asked, Pod, answer};

/// Its style sheet asks for a font, its module for another module, its image is as wide as its name says.
const PAGE: &str = r#"<!doctype html><link rel=stylesheet href="/static/table.css">
<img src="/static/logo.svg"><p>text</p><script type="module" src="/static/table.js"></script>"#;
const STYLE: &str = r#"@font-face { font-family: table; src: url("/static/table.woff") }
p { font-family: table } body { --name: NAME }"#;
const LOGO: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="WIDTH" height="9"/>"#;
const MODULE: &str = r#"import { name } from "/static/name.js";
const ask = (path) => fetch(path).then((answer) => answer.text());
onmessage = async () => parent.postMessage(["again", name, await ask("/api/again")], "*");
if (document.readyState != "complete") await new Promise((done) => addEventListener("load", done));
await document.fonts.load("16px table").catch(() => {});
const style = getComputedStyle(document.body).getPropertyValue("--name").trim();
const logo = document.querySelector("img").naturalWidth;
parent.postMessage(["loaded", name, style, logo, await ask("/api/first")], "*");"#;
/// Loads one after the other, has both ask once more while both are there, and tells what came.
const BOTH: &str = r#"<!doctype html><iframe id=one></iframe><iframe id=two></iframe><script>
const [one, two] = document.querySelectorAll("iframe"), told = [];
const steps = [() => one.src = "/service/s1/", () => two.src = "/service/s2/",
  () => one.contentWindow.postMessage("", "*"), () => two.contentWindow.postMessage("", "*"),
  () => fetch("/both/told", { method: "POST", body: JSON.stringify(told) })];
onmessage = (message) => { told.push(message.data); steps.shift()() };
steps.shift()();
</script>"#;

/// A page with its assets, all of which may be cached.
fn ui(name: &'static str, width: &'static str) -> Pod {
    Pod::answering(move |asked| {
        let (kind, body) = match path(asked) {
            "/" => ("text/html", PAGE.to_owned()),
            "/static/table.css" => ("text/css", STYLE.replace("NAME", name)),
            "/static/logo.svg" => ("image/svg+xml", LOGO.replace("WIDTH", width)),
            "/static/table.js" => ("text/javascript", MODULE.to_owned()),
            "/static/name.js" => ("text/javascript", format!("export const name = {name:?};")),
            "/static/table.woff" => ("font/woff", String::new()),
            path => ("text/plain", format!("{name}{path}")),
        };
        answer("200 OK", &[("Content-Type", kind), ("Cache-Control", "max-age=600")], &body)
    })
}

fn path(asked: &Asked) -> &str {
    asked.line.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn two_pages_behind_prefixes_get_their_own_assets() {
    let (one, two) = (ui("one", "11"), ui("two", "12"));
    let both = Pod::answering(|_| answer("200 OK", &[("Content-Type", "text/html")], BOTH));
    let asking = [("weir.io/asset-fallback", "true"), ("rewrite-target", "/")];
    let manifests = ingress("one", "a.example", "/service/s1/", &asking)
        + &ingress("two", "a.example", "/service/s2/", &asking)
        + &ingress("both", "a.example", "/both/", &[]);
    let site = Site::start(&manifests, &[("one", &one), ("two", &two), ("both", &both)]);
    let Some(_browser) = Browser::open(site.port(), "http://a.example/both/") else {
        weir_lab::lacks("chromium");
        return;
    };
    let told = || both.seen().into_iter().find(|asked| path(asked) == "/both/told");
    site.eventually("both pages to have told what they loaded", || told().is_some());
    let told = String::from_utf8(told().expect("just seen").body).expect("text");
    assert_eq!(
        told,
        r#"[["loaded","one","one",11,"one/api/first"],["loaded","two","two",12,"two/api/first"],["again","one","one/api/again"],["again","two","two/api/again"]]"#
    );
    for (name, pod) in [("one", &one), ("two", &two)] {
        let mut paths: Vec<_> = pod.seen().iter().map(|asked| path(asked).to_owned()).collect();
        paths.sort();
        let assets =
            ["name.js", "table.css", "table.js", "table.woff", "logo.svg"].map(|asset| format!("/static/{asset}"));
        for wanted in assets.iter().map(String::as_str).chain(["/", "/api/first", "/api/again"]) {
            assert!(paths.iter().any(|path| path == wanted), "{name}: {wanted} not among {paths:?}");
        }
    }
}

/// A browser for which all names lead to the front; ends with the value.
struct Browser {
    process: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// `None`: there is none.
    fn open(port: u16, url: &str) -> Option<Self> {
        let profile = tempfile::tempdir().expect("a directory");
        // Without its sandbox, which does not start as root; all that it loads is in this file.
        let started = Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--host-resolver-rules=MAP * 127.0.0.1:{port}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(["--remote-debugging-port=0", url])
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match started {
            Ok(process) => Some(Browser { process, _profile: profile }),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("chromium does not start: {error}"),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The group that it was made the leader of, and that is not waited for yet: nobody else has its number.
        if let Some(group) = Pid::from_raw(self.process.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}
