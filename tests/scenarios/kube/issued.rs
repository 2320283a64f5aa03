//! A certificate by ACME through the front: what cert-manager makes of a challenge of HTTP-01 is served, and a real
//! authority (pebble) finds it there. The client of that authority is dehydrated; in the place of cert-manager's
//! controller, the test makes its objects.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_lab::{Cluster, ControlPlane, Request, SOON, ServerOptions, eventually, kubernetes_programs};

use super::{web, with_kubernetes};

const HOST: &str = "shop.example.test";
const DIRECTORY: &str = "https://127.0.0.1:14000/dir";
const ROOT: &str = "https://127.0.0.1:15000/roots/0";
/// `acmesolver` of cert-manager listens there.
const SOLVER_PORT: u16 = 8089;

/// The Ingress whose certificate is asked for.
const SHOP: &str = r#"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: weir}
spec: {controller: weir.io/ingress}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, annotations: {cert-manager.io/cluster-issuer: pebble}}
spec:
  ingressClassName: weir
  tls: [{hosts: [shop.example.test], secretName: shop-tls}]
  rules:
  - host: shop.example.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
"#;

/// What dehydrated calls: tells the test of the challenge, and waits until it says that the answer is in place.
const HOOK: &str = r#"#!/bin/sh
[ "$1" = deploy_challenge ] || exit 0
printf '%s %s' "$3" "$4" > FOLDER/challenge.part
mv FOLDER/challenge.part FOLDER/challenge
for try in $(seq 1 1200); do
  [ -e FOLDER/solved ] && exit 0
  sleep 0.1
done
exit 1
"#;

/// Serves a folder. Not `python3 -m http.server`, which asks the DNS for its own name first.
const SERVE: &str = "
import functools, http.server, socketserver, sys
files = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[2])
socketserver.TCPServer(('', int(sys.argv[1])), files).serve_forever()
";

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The certificate authority, outside of the cluster, which knows where the host is.
fn start_authority(cluster: &Cluster, folder: &Path) -> Result<Running> {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(folder.join("pebble.crt"), own.cert.pem())?;
    fs::write(folder.join("pebble.key"), own.signing_key.serialize_pem())?;
    fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{} {HOST}\n", cluster.nodes[0].ip))?;
    let config = json!({"pebble": {
        "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
        "certificate": folder.join("pebble.crt"), "privateKey": folder.join("pebble.key"),
        "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false,
    }});
    fs::write(folder.join("pebble.json"), config.to_string())?;
    let mut pebble = cluster.client.command("unshare");
    pebble.args([
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$1\" /etc/hosts && exec \"$2\" -config \"$3\" -strict false",
        "sh",
    ]);
    pebble.arg(folder.join("hosts")).arg(kubernetes_programs()?.join("pebble")).arg(folder.join("pebble.json"));
    // Pebble refuses every twentieth nonce, for which RFC 8555, section 6.5, wants a second try; dehydrated makes none.
    pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
    let pebble = Running(pebble.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    eventually("pebble to answer", SOON, || {
        cluster.client.shell(&format!("curl --silent --fail --insecure --max-time 5 {DIRECTORY}"))
    })?;
    Ok(pebble)
}

/// Asks for the certificate, as cert-manager's controller does; waits for [`HOOK`] in between.
fn start_client(cluster: &Cluster, folder: &Path) -> Result<Running> {
    let hook = folder.join("hook.sh");
    fs::write(&hook, HOOK.replace("FOLDER", &folder.display().to_string()))?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    let config = format!(
        "CA={DIRECTORY}\nBASEDIR={0}\nWELLKNOWN={0}\nHOOK={0}/hook.sh\nCHALLENGETYPE=http-01\nCURL_OPTS=--insecure\nKEY_ALGO=prime256v1\n",
        folder.display()
    );
    fs::write(folder.join("dehydrated.conf"), config)?;
    let program = kubernetes_programs()?.join("dehydrated");
    let script = format!(
        "bash {0} --config {1} --register --accept-terms && bash {0} --config {1} --cron --domain {HOST} && touch {2}",
        program.display(),
        folder.join("dehydrated.conf").display(),
        folder.join("issued").display(),
    );
    let log = fs::File::create(folder.join("dehydrated.log"))?;
    let mut client = cluster.client.command("sh");
    client.args(["-c", &script]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Running(client.spawn()?))
}

/// The Pod, the Service and the Ingress that cert-manager makes for a challenge (its packages `acme/http`), but for the
/// owner, of whose kind this server knows nothing. Gives their names.
fn solve(cluster: &mut Cluster, plane: &ControlPlane, token: &str) -> Result<[String; 3]> {
    let labels = json!({
        "acme.cert-manager.io/http-domain": "1098055893", "acme.cert-manager.io/http-token": "865410873",
        "acme.cert-manager.io/http01-solver": "true",
    });
    let meta = |annotations: Value| json!({"generateName": "cm-acme-http-solver-", "namespace": "default", "labels": labels, "annotations": annotations});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": meta(json!({
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "true", "sidecar.istio.io/inject": "false",
        })),
        "spec": {
            "restartPolicy": "OnFailure", "automountServiceAccountToken": false, "enableServiceLinks": false,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "containers": [{
                "name": "acmesolver", "image": "quay.io/jetstack/cert-manager-acmesolver", "imagePullPolicy": "IfNotPresent",
                "args": [format!("--listen-port={SOLVER_PORT}"), format!("--domain={HOST}"), format!("--token={token}")],
                "ports": [{"name": "http", "containerPort": SOLVER_PORT}],
            }],
        },
    });
    let port = json!({"name": "http", "port": SOLVER_PORT, "targetPort": SOLVER_PORT});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": meta(json!({"auth.istio.io/8089": "NONE"})),
        "spec": {"type": "NodePort", "ports": [port], "selector": labels},
    });
    let created = |path: &str, object: &Value| -> Result<String> {
        let answer = plane.request("POST", path, Some(("application/json", object)))?;
        Ok(answer["metadata"]["name"].as_str().context("a name")?.to_owned())
    };
    let pod = created("/api/v1/namespaces/default/pods", &pod)?;
    let service = created("/api/v1/namespaces/default/services", &service)?;
    let backend = json!({"service": {"name": service, "port": {"number": SOLVER_PORT}}});
    let path = json!({
        "path": format!("/.well-known/acme-challenge/{token}"), "pathType": "ImplementationSpecific", "backend": backend,
    });
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": meta(json!({"nginx.ingress.kubernetes.io/whitelist-source-range": "0.0.0.0/0,::/0"})),
        "spec": {"ingressClassName": "weir", "rules": [{"host": HOST, "http": {"paths": [path]}}]},
    });
    let ingress = created("/apis/networking.k8s.io/v1/namespaces/default/ingresses", &ingress)?;
    cluster.add_pod_in("default", 1, "solver", &[], &ServerOptions::default())?;
    plane.place_pod(&pod, cluster.pods.last().context("just added")?)?;
    Ok([format!("pod/{pod}"), format!("service/{service}"), format!("ingress/{ingress}")])
}

/// Answers in the pod as `acmesolver` does.
fn start_solver(cluster: &Cluster, folder: &Path, token: &str, key: &str) -> Result<Running> {
    let files = folder.join("solver/.well-known/acme-challenge");
    fs::create_dir_all(&files)?;
    fs::write(files.join(token), key)?;
    let pod = cluster.pods.last().context("the solver")?;
    let mut server = pod.netns.command("python3");
    server.args(["-c", SERVE, &SOLVER_PORT.to_string()]).arg(folder.join("solver"));
    Ok(Running(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
}

/// What whoever asks for the host by HTTPS gets, who trusts nobody but the authority.
fn ask(cluster: &Cluster, folder: &Path) -> Result<String> {
    let root = folder.join("root.pem");
    if !root.exists() {
        let text = cluster.client.shell(&format!("curl --silent --fail --insecure --max-time 5 {ROOT}"))?;
        fs::write(&root, text)?;
    }
    let (root, node) = (root.display(), cluster.nodes[0].ip);
    let resolve = format!("--resolve {HOST}:443:{node}");
    cluster
        .client
        .shell(&format!("curl --silent --show-error --fail --max-time 10 --cacert {root} {resolve} https://{HOST}/"))
}

fn issued(folder: &Path) -> (PathBuf, PathBuf) {
    let folder = folder.join("certs").join(HOST);
    (folder.join("fullchain.pem"), folder.join("privkey.pem"))
}

#[test]
#[ignore = "needs root"]
fn an_authority_issues_a_certificate_through_the_front() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        plane.apply(SHOP)?;
        cluster.start_agents()?;
        let folder = tempfile::tempdir()?;
        let _authority = start_authority(cluster, folder.path())?;
        ensure!(ask(cluster, folder.path()).is_err(), "the host has a certificate before one was issued");
        let _client = start_client(cluster, folder.path())?;
        let log = || fs::read_to_string(folder.path().join("dehydrated.log")).unwrap_or_default();
        let challenge = eventually("the challenge", SOON, || {
            fs::read_to_string(folder.path().join("challenge")).with_context(log)
        })?;
        let (token, key) = challenge.split_once(' ').context("token and key")?;
        let objects = solve(cluster, plane, token)?;
        let _solver = start_solver(cluster, folder.path(), token, key)?;

        // cert-manager looks itself before it says that the authority may.
        let to = SocketAddr::new(IpAddr::V4(cluster.nodes[0].ip), 80);
        eventually("the challenge to be answered", SOON, || {
            let response =
                Request::get(HOST, &format!("/.well-known/acme-challenge/{token}")).send(&cluster.client, to)?;
            ensure!(response.status == 200 && response.text() == key, "{} {}", response.status, response.text());
            Ok(())
        })?;
        fs::write(folder.path().join("solved"), "")?;
        let (chain, private) = issued(folder.path());
        eventually("the certificate", SOON * 2, || {
            ensure!(folder.path().join("issued").exists(), "{}", log());
            Ok(())
        })?;
        plane.kubectl(&["delete", &objects[0], &objects[1], &objects[2], "--grace-period=0", "--force"])?;
        let (chain, private) = (format!("--cert={}", chain.display()), format!("--key={}", private.display()));
        plane.kubectl(&["create", "secret", "tls", "shop-tls", &chain, &private])?;
        eventually("the host to have its certificate", SOON, || ask(cluster, folder.path()).map(drop))
    })
}

/// `(name, target)` as external-dns finds them: names of rules, of TLS and of an annotation, with what the status says.
fn found_by_external_dns(object: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let annotations = &object["metadata"]["annotations"];
    let mut names: Vec<_> = list(&object["spec"]["rules"]).iter().filter_map(|rule| text(&rule["host"])).collect();
    names
        .extend(list(&object["spec"]["tls"]).iter().flat_map(|tls| list(&tls["hosts"])).filter_map(|host| text(&host)));
    names.extend(text(&annotations["external-dns.alpha.kubernetes.io/hostname"]));
    names.sort();
    names.dedup();
    let addresses = list(&object["status"]["loadBalancer"]["ingress"]);
    let targets: Vec<_> =
        addresses.iter().filter_map(|one| text(&one["ip"]).or_else(|| text(&one["hostname"]))).collect();
    let targets = text(&annotations["external-dns.alpha.kubernetes.io/target"]).map_or(targets, |target| vec![target]);
    names.iter().flat_map(|name| targets.iter().map(|target| (name.clone(), target.clone()))).collect()
}

#[test]
#[ignore = "needs root"]
fn external_dns_finds_what_it_reads() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        plane.apply(SHOP)?;
        plane.apply(
            "apiVersion: v1\nkind: Service\nmetadata: {name: game, annotations: \
             {external-dns.alpha.kubernetes.io/hostname: game.example.test, external-dns.alpha.kubernetes.io/ttl: \"60\"}}\n\
             spec: {type: LoadBalancer, loadBalancerIP: 10.100.100.9, ports: [{port: 80, targetPort: 8080}], selector: {app: web}}\n",
        )?;
        let target = "external-dns.alpha.kubernetes.io/target=front.example.test";
        cluster.start_agents()?;
        let object = |kind: &str, name: &str| -> Result<Value> {
            Ok(serde_json::from_str(&plane.kubectl(&["get", kind, name, "-o", "json"])?)?)
        };
        let finds = |kind: &str, name: &str, expected: &[(&str, String)]| {
            eventually("what external-dns reads", SOON, || {
                let found = found_by_external_dns(&object(kind, name)?);
                let expected: Vec<_> = expected.iter().map(|(name, to)| ((*name).to_owned(), to.clone())).collect();
                ensure!(found == expected, "{found:?}, not {expected:?}");
                Ok(())
            })
        };
        let node = |index: usize| (HOST, cluster.nodes[index].ip.to_string());
        finds("ingress", "shop", &[node(0), node(1)])?;
        finds("service", "game", &[("game.example.test", "10.100.100.9".to_owned())])?;
        // A target of its own stands above the status, and agents leave annotations as they are.
        plane.kubectl(&["annotate", "ingress", "shop", target])?;
        plane.kubectl(&[
            "label",
            "node",
            &cluster.nodes[1].name,
            "node.kubernetes.io/exclude-from-external-load-balancers=",
        ])?;
        eventually("the status to follow", SOON, || {
            let status = object("ingress", "shop")?["status"]["loadBalancer"]["ingress"].clone();
            ensure!(status == json!([{"ip": cluster.nodes[0].ip}]), "{status}");
            Ok(())
        })?;
        finds("ingress", "shop", &[(HOST, "front.example.test".to_owned())])
    })
}
