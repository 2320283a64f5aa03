//! HTTPS through the packet path: an external IP and the nodes' own addresses.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, SOON, eventually};

use crate::common::{EXTERNAL, add_seed, scenario};

/// A certificate for shop.test that has signed itself, with its key, as openssl writes them.
pub(crate) fn certificate(directory: &Path) -> Result<(String, String)> {
    let file = |name: &str| directory.join(name).display().to_string();
    let (chain, key) = (file("tls.crt"), file("tls.key"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"])
        .args(["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test", "-keyout", &key, "-out", &chain])
        .output()
        .context("openssl")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((std::fs::read_to_string(chain)?, std::fs::read_to_string(key)?))
}

/// An Ingress for shop.test, and a Service of the front, whose list of ports is the end.
pub(crate) fn manifests((chain, key): &(String, String)) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: shop}}\n\
         stringData: {{tls.crt: {chain:?}, tls.key: {key:?}}}\n\
         ---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: shop}}\nspec:\n  \
         tls: [{{hosts: [shop.test], secretName: shop}}]\n  rules:\n  - host: shop.test\n    http:\n      paths:\n      \
         - {{path: /, pathType: Prefix, backend: {{service: {{name: tomcat-svc, port: {{number: 8080}}}}}}}}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {{name: front}}\nspec:\n  externalIPs: [{EXTERNAL}]\n  \
         selector: {{app.kubernetes.io/name: weir}}\n  ports:\n  - {{name: http, port: 80, targetPort: http}}\n  \
         - {{name: https, port: 443, targetPort: https}}\n"
    )
}

/// What curl gets from inside the client's namespace.
fn curl(cluster: &Cluster, to: &str, arguments: &[&str]) -> Result<String> {
    let connect = format!("::{to}:");
    let output = cluster
        .client
        .command("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--connect-to", &connect])
        .args(arguments)
        .output()
        .context("curl")?;
    ensure!(output.status.success(), "{to}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[ignore = "needs root"]
fn https_on_an_external_ip_and_on_the_nodes() -> Result<()> {
    scenario(|cluster| {
        let directory = tempfile::tempdir()?;
        let certificate = certificate(directory.path())?;
        let authority = directory.path().join("tls.crt").display().to_string();
        cluster.add_pod(1, "tomcat", "tomcat-deploy")?;
        cluster.write_pods()?;
        add_seed(cluster, "08-ingress-default-backend.yaml")?;
        cluster.write("shop.yaml", &manifests(&certificate))?;
        cluster.start_agents()?;
        let nodes = cluster.nodes.iter().map(|node| node.port(443).ip().to_string());
        for to in nodes.chain([EXTERNAL.to_string()]) {
            for version in ["--http1.1", "--http2"] {
                let url = "https://shop.test/a?b=c";
                eventually("an answer over TLS", SOON, || {
                    let text = curl(cluster, &to, &["--cacert", &authority, version, url])?;
                    let seen: serde_json::Value = serde_json::from_str(&text).with_context(|| text.clone())?;
                    let headers = &seen["headers"];
                    ensure!(seen["pod"] == "tomcat" && seen["path"] == "/a?b=c", "{text}");
                    ensure!(headers["x-forwarded-proto"] == "https" && headers["x-forwarded-port"] == "443", "{text}");
                    Ok(())
                })?;
            }
            let redirect =
                ["--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}", "http://shop.test/a"];
            let answer = curl(cluster, &to, &redirect)?;
            ensure!(answer == "308 https://shop.test/a", "{to}: {answer}");
        }
        Ok(())
    })
}
