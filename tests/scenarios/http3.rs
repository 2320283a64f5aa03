//! HTTP/3 through the packet path: the nodes' own addresses, and a VIP that is on no interface. Needs a weir that was built
//! with it (`WEIR_WITH_FEATURES`), and a libcurl that speaks it (`WEIR_PYCURL`).

use std::env;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_lab::{Cluster, SOON, eventually};

use crate::common::{EXTERNAL, add_seed, options, scenario_with};
use crate::tls::{certificate, manifests};

/// Asks once, and tells what came.
const CLIENT: &str = r#"
import io, json, pycurl, sys
to, authority = sys.argv[1:]
body, handle = io.BytesIO(), pycurl.Curl()
handle.setopt(pycurl.URL, "https://shop.test/a?b=c")
handle.setopt(pycurl.CONNECT_TO, [f"::{to}:"])
handle.setopt(pycurl.CAINFO, authority)
handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_3ONLY)
handle.setopt(pycurl.POSTFIELDS, "x" * 50000)
handle.setopt(pycurl.TIMEOUT, 20)
handle.setopt(pycurl.WRITEDATA, body)
handle.perform()
is_http3 = handle.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_3
print(json.dumps({"http3": is_http3, "status": handle.getinfo(pycurl.RESPONSE_CODE), "body": body.getvalue().decode()}))
"#;

fn ask(cluster: &Cluster, packages: &str, to: &str, authority: &str) -> Result<Value> {
    let mut client = cluster.client.command("python3");
    let output = client.args(["-c", CLIENT, to, authority]).env("PYTHONPATH", packages).output().context("python3")?;
    ensure!(output.status.success(), "{to}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
#[ignore = "needs root"]
fn http3_on_an_external_ip_and_on_the_nodes() -> Result<()> {
    let given = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(weir), Some(packages)) = (given("WEIR_WITH_FEATURES"), given("WEIR_PYCURL")) else {
        weir_lab::lacks("WEIR_WITH_FEATURES and WEIR_PYCURL, as ./run test sets them");
        return Ok(());
    };
    let mut options = options()?;
    options.binaries.weir = weir.into();
    scenario_with(&options, |cluster| {
        let directory = tempfile::tempdir()?;
        let certificate = certificate(directory.path())?;
        let authority = directory.path().join("tls.crt").display().to_string();
        cluster.add_pod(1, "tomcat", "tomcat-deploy")?;
        cluster.write_pods()?;
        add_seed(cluster, "08-ingress-default-backend.yaml")?;
        let udp = "  - {name: quic, port: 443, protocol: UDP, targetPort: https}\n";
        cluster.write("shop.yaml", &(manifests(&certificate) + udp))?;
        for node in &mut cluster.nodes {
            node.agent_options().arguments.push("--http3".to_owned());
        }
        cluster.start_agents()?;
        let nodes = cluster.nodes.iter().map(|node| node.port(443).ip().to_string());
        for to in nodes.chain([EXTERNAL.to_string()]) {
            eventually("an answer over HTTP/3", SOON, || {
                let answer = ask(cluster, &packages, &to, &authority)?;
                ensure!(answer["http3"] == true && answer["status"] == 200, "{to}: {answer}");
                let seen: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
                ensure!(seen["pod"] == "tomcat" && seen["bodyBytes"] == 50_000, "{to}: {seen}");
                ensure!(seen["headers"]["x-forwarded-proto"] == json!("https"), "{to}: {seen}");
                Ok(())
            })?;
        }
        Ok(())
    })
}
