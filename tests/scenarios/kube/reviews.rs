//! The admission webhook, asked by a real API server.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weir_lab::{ControlPlane, SOON, eventually};

use super::with_kubernetes;
use crate::common::workspace;

/// Where it listens, in the namespace of the API server.
const LISTEN: &str = "127.0.0.1:9443";
/// An Ingress with a mistake that needs no other object to be seen.
const WRONG: &str = r"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: NAME
  annotations: {nginx.ingress.kubernetes.io/proxy-read-timeout: soon}
spec:
  rules:
  - http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
";

/// A running webhook, as nobody and without a capability.
struct Webhook(Child);

impl Webhook {
    fn start(plane: &ControlPlane, weir: &std::path::Path, deny: &[&str]) -> Result<Self> {
        let folder = plane.folder().join("webhook");
        let mut command: Command = plane.netns().command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]);
        command.arg(weir).args(["webhook", "--listen", LISTEN]).args(deny);
        command.arg("--tls-cert").arg(folder.join("tls.crt")).arg("--tls-key").arg(folder.join("tls.key"));
        let webhook =
            Self(command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()).spawn()?);
        let health = format!("curl --silent --fail --insecure https://{LISTEN}/healthz");
        eventually("the webhook to listen", SOON, || plane.netns().shell(&health).map(drop))?;
        Ok(webhook)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate for the loopback address, which nobody may read the key of but everybody here; gives the authority.
fn certificate(plane: &ControlPlane) -> Result<String> {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = plane.folder().join("webhook");
    fs::create_dir_all(&folder)?;
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(folder.join("tls.crt"), made.cert.pem())?;
    fs::write(folder.join("tls.key"), made.signing_key.serialize_pem())?;
    for path in folder.ancestors().take(3) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(made.cert.pem())
}

/// The configuration that comes with weir, asking at an address in place of a Service.
fn configure(plane: &ControlPlane, authority: &str) -> Result<()> {
    let manifest = workspace().join("deploy/kubernetes/webhook/webhook.yaml");
    let text = fs::read_to_string(manifest)?;
    let configuration = text.split("---\n").last().context("the configuration comes last")?;
    plane.apply(configuration)?;
    let client = json!([{"op": "replace", "path": "/webhooks/0/clientConfig", "value": {
        "url": format!("https://{LISTEN}/validate"), "caBundle": encoded(authority.as_bytes()),
    }}]);
    plane.kubectl(&["patch", "validatingwebhookconfiguration", "weir", "--type=json", "-p", &client.to_string()])?;
    Ok(())
}

/// Base64 (RFC 4648, section 4).
fn encoded(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        let letter = |place: usize| match place <= chunk.len() {
            true => char::from(LETTERS[(word >> (18 - 6 * place) & 63) as usize]),
            false => '=',
        };
        (0..4).map(letter).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// `kubectl apply` of [`WRONG`] under a name.
fn apply(plane: &ControlPlane, name: &str) -> Result<(bool, String)> {
    let file = plane.folder().join(format!("{name}.yaml"));
    fs::write(&file, WRONG.replace("NAME", name))?;
    plane.kubectl_tells(&["apply", "-f", &file.display().to_string()])
}

#[test]
#[ignore = "needs root"]
fn mistakes_are_told_when_they_are_applied() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        let weir = cluster.nodes[0].binary().to_owned();
        let authority = certificate(plane)?;
        configure(plane, &authority)?;

        let warning = Webhook::start(plane, &weir, &[])?;
        let mut number = 0;
        // The API server takes a moment to know its webhooks.
        eventually("a warning", SOON, || {
            number += 1;
            let (taken, said) = apply(plane, &format!("warned-{number}"))?;
            ensure!(taken && said.contains("Warning: weir:") && said.contains("proxy-read-timeout"), "{said}");
            Ok(())
        })?;
        drop(warning);

        let strict = Webhook::start(plane, &weir, &["--deny", "warning"])?;
        eventually("a refusal", SOON, || {
            let (taken, said) = apply(plane, "refused")?;
            ensure!(!taken && said.contains("denied") && said.contains("proxy-read-timeout"), "{said}");
            Ok(())
        })?;
        let read = plane.kubectl_tells(&["get", "ingress", "refused"])?;
        ensure!(!read.0, "what was refused is there: {}", read.1);
        drop(strict);

        // Down, it blocks nothing.
        let (taken, said) = apply(plane, "refused")?;
        ensure!(taken, "{said}");
        Ok(())
    })
}
