use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, plug};
use crate::command;
use crate::netns::Netns;
use crate::node::Node;
use crate::pod::Pod;
use crate::wait::eventually;

/// Its address on the switch.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 200);
const ADDRESS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 0x200);
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(120);
/// Who may do everything.
const ADMIN: &str = "admin-token";
/// Who is the ServiceAccount of the agents.
const AGENT: &str = "agent-token";
/// The ServiceAccount of the agents, as the API server names it.
pub const AGENT_USER: &str = "system:serviceaccount:weir-system:weir";

/// A real Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager) in a namespace of its own at the switch.
#[derive(Debug)]
pub struct ControlPlane {
    programs: PathBuf,
    folder: PathBuf,
    etcd: Option<Child>,
    api: Option<Child>,
    manager: Option<Child>,
    // Last: what runs in it has to end first.
    netns: Netns,
}

impl ControlPlane {
    /// Starts all three and waits until the API server answers. `programs` is the folder that `cargo xtask setup-kube`
    /// fills.
    pub fn start(cluster: &Cluster, programs: &Path) -> Result<Self> {
        let mut plane = Self::start_without_controllers(cluster, programs)?;
        plane.manager = Some(plane.start_manager()?);
        Ok(plane)
    }

    /// The same without kube-controller-manager: what it would write is written by hand.
    pub fn start_without_controllers(cluster: &Cluster, programs: &Path) -> Result<Self> {
        let netns = Netns::create(format!("{}-api", cluster.name()))?;
        plug(&cluster.wire, "api", &netns, (ADDRESS, ADDRESS6))?;
        let folder = cluster.folder().join("control-plane");
        fs::create_dir_all(&folder)?;
        write_files(&folder)?;
        let programs = programs.to_owned();
        let mut plane = Self { programs, folder, etcd: None, api: None, manager: None, netns };
        plane.etcd = Some(plane.start_etcd()?);
        plane.start_api()?;
        Ok(plane)
    }

    fn start_etcd(&self) -> Result<Child> {
        let data = format!("--data-dir={}", self.folder.join("etcd").display());
        self.spawn("etcd", &[&data, "--unsafe-no-fsync"])
    }

    /// Starts the API server, again after [`ControlPlane::stop_api`].
    pub fn start_api(&mut self) -> Result<()> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let arguments = [
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            "--etcd-compaction-interval=5s".to_owned(),
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={ADDRESS}"),
            "--secure-port=6443".to_owned(),
            format!("--cert-dir={}", file("certs")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112".to_owned(),
            "--feature-gates=IPv6DualStack=true".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            format!("--service-account-key-file={}", file("sa.pub")),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--audit-policy-file={}", file("audit.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
        ];
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut api = self.spawn("kube-apiserver", &arguments)?;
        let ready = || match api.try_wait()? {
            // Waiting longer would not help.
            Some(status) => Ok(Err(status)),
            None => self.request("GET", "/readyz", None).map(Ok),
        };
        let ended =
            eventually("the API server to be ready", START, ready).with_context(|| self.log("kube-apiserver"))?;
        ensure!(ended.is_ok(), "the API server has ended: {}", self.log("kube-apiserver"));
        self.api = Some(api);
        Ok(())
    }

    /// Ends the API server; what it stored stays.
    pub fn stop_api(&mut self) -> Result<()> {
        let mut api = self.api.take().context("it runs")?;
        api.kill()?;
        api.wait()?;
        Ok(())
    }

    fn start_manager(&self) -> Result<Child> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig("admin", ADMIN)?.display());
        let controllers = "--controllers=endpointslice,endpoint,namespace,garbagecollector,deployment,replicaset";
        self.spawn(
            "kube-controller-manager",
            &[&kubeconfig, controllers, "--leader-elect=false", "--port=0", "--feature-gates=IPv6DualStack=true"],
        )
    }

    /// The kubeconfig of the agents' ServiceAccount.
    pub fn agent_kubeconfig(&self) -> Result<PathBuf> {
        self.kubeconfig("agent", AGENT)
    }

    /// The kubeconfig of an administrator.
    pub fn admin_kubeconfig(&self) -> Result<PathBuf> {
        self.kubeconfig("admin", ADMIN)
    }

    fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        let authority = self.folder.join("certs/apiserver.crt");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://{ADDRESS}:6443"), "certificate-authority": authority,
            }}],
            "users": [{"name": "lab", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace(name)}}],
        });
        let file = self.folder.join(format!("{name}.kubeconfig"));
        fs::write(&file, config.to_string())?;
        Ok(file)
    }

    /// Sends a request as administrator and gives what the server answers; anything but success is an error.
    pub fn request(&self, method: &str, path: &str, body: Option<(&str, &Value)>) -> Result<Value> {
        let mut curl = self.netns.command("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--insecure", "--max-time", "20", "-X", method]);
        curl.arg("-H").arg(format!("Authorization: Bearer {ADMIN}"));
        if let Some((kind, body)) = body {
            curl.arg("-H").arg(format!("Content-Type: {kind}")).arg("-d").arg(body.to_string());
        }
        let text = command::run(curl.arg(format!("https://{ADDRESS}:6443{path}")))?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Runs kubectl as administrator and gives what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut kubectl = self.netns.command(self.programs.join("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.kubeconfig("admin", ADMIN)?);
        kubectl.arg("--cache-dir").arg(self.folder.join("kubectl")).env("HOME", &self.folder);
        command::run(kubectl.args(arguments))
    }

    /// The same, with all that it says; and whether it succeeded.
    pub fn kubectl_tells(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let mut kubectl = self.netns.command(self.programs.join("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.kubeconfig("admin", ADMIN)?);
        kubectl.arg("--cache-dir").arg(self.folder.join("kubectl")).env("HOME", &self.folder);
        let output = kubectl.args(arguments).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// Its namespace, for what the API server asks.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// A folder that ends with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the real kube-proxy on a node, in its mode `iptables`. Dropping the process ends it.
    pub fn start_kube_proxy(&self, node: &Node) -> Result<KubeProxy> {
        let program = self.programs.join("kube-proxy");
        ensure!(program.is_file(), "no {}: run `cargo xtask setup-kube`", program.display());
        let log = File::options().create(true).append(true).open(self.folder.join("kube-proxy.log"))?;
        let mut command = node.netns.command(program);
        command.arg(format!("--kubeconfig={}", self.kubeconfig("admin", ADMIN)?.display()));
        command.args(["--proxy-mode=iptables", "--cluster-cidr=10.244.0.0/16", "--oom-score-adj=0"]);
        command.arg(format!("--hostname-override={}", node.name));
        // The machine's connection tracking is left as it is.
        command.args(["--conntrack-max-per-core=0", "--conntrack-min=0"]);
        command.args(["--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(KubeProxy { child: command.spawn().context("kube-proxy")? })
    }

    /// `kubectl apply` of some text.
    pub fn apply(&self, text: &str) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(text.as_bytes())?;
        self.kubectl(&["apply", "-f", &file.path().display().to_string()]).map(drop)
    }

    /// Registers the nodes, as kubelets do it.
    pub fn register_nodes(&self, cluster: &Cluster) -> Result<()> {
        for node in &cluster.nodes {
            let cidrs = [node.pod_cidr(), node.pod_cidr6()];
            let node = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name},
                "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
                "status": {"addresses": [{"type": "InternalIP", "address": node.ip}]},
            });
            self.request("POST", "/api/v1/nodes", Some((JSON, &node)))?;
        }
        Ok(())
    }

    /// Creates the Pod object of a pod and says that it runs, as its kubelet does it.
    pub fn register_pod(&self, pod: &Pod) -> Result<()> {
        let labels: serde_json::Map<_, _> =
            pod.labels.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": labels},
            "spec": {"nodeName": pod.node, "containers": [{"name": "main", "image": "none"}]},
        });
        let path = format!("/api/v1/namespaces/{}/pods", pod.namespace);
        self.request("POST", &path, Some((JSON, &object)))?;
        self.run_pod(pod)
    }

    /// Brings a Pod object that waits for a node to the node of a pod, as the scheduler does it, and says that it runs with
    /// the address of that pod.
    pub fn place_pod(&self, object: &str, pod: &Pod) -> Result<()> {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": object},
            "target": {"apiVersion": "v1", "kind": "Node", "name": pod.node},
        });
        let path = format!("/api/v1/namespaces/{}/pods/{object}/binding", pod.namespace);
        self.request("POST", &path, Some((JSON, &binding)))?;
        self.run_pod_as(object, pod)
    }

    /// Says of the Pod object of a pod that it runs with its address.
    pub fn run_pod(&self, pod: &Pod) -> Result<()> {
        self.run_pod_as(&pod.name, pod)
    }

    fn run_pod_as(&self, object: &str, pod: &Pod) -> Result<()> {
        let ips = [json!({"ip": pod.ip}), json!({"ip": pod.ip6})];
        let status = json!({"status": {
            "phase": "Running", "podIP": pod.ip, "podIPs": ips, "conditions": [{"type": "Ready", "status": "True"}],
        }});
        let path = format!("/api/v1/namespaces/{}/pods/{object}/status", pod.namespace);
        self.request("PATCH", &path, Some(("application/merge-patch+json", &status))).map(drop)
    }

    /// What was asked of the API server by a user, as its audit log says.
    pub fn audit(&self, user: &str) -> Result<Vec<Audited>> {
        let text = fs::read_to_string(self.folder.join("audit.log"))?;
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(events.filter(|event| event["user"]["username"] == user).map(|event| Audited::new(&event)).collect())
    }

    fn spawn(&self, program: &str, arguments: &[&str]) -> Result<Child> {
        let log = File::options().create(true).append(true).open(self.folder.join(format!("{program}.log")))?;
        let mut command: Command = self.netns.command(self.programs.join(program));
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).spawn().with_context(|| program.to_owned())
    }

    fn log(&self, program: &str) -> String {
        crate::agent::tail(&self.folder.join(format!("{program}.log")))
    }
}

/// A kube-proxy; dropping it ends it, and leaves its rules.
#[derive(Debug)]
pub struct KubeProxy {
    child: Child,
}

impl Drop for KubeProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for child in [&mut self.manager, &mut self.api, &mut self.etcd].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const JSON: &str = "application/json";

/// The agents' objects are in a namespace of their own.
fn namespace(name: &str) -> &'static str {
    if name == "agent" { "weir-system" } else { "default" }
}

fn write_files(folder: &Path) -> Result<()> {
    let groups = "system:serviceaccounts,system:serviceaccounts:weir-system";
    let tokens = format!("{ADMIN},admin,1,\"system:masters\"\n{AGENT},{AGENT_USER},2,\"{groups}\"\n");
    fs::write(folder.join("tokens.csv"), tokens)?;
    fs::write(folder.join("audit.yaml"), "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")?;
    let key = rcgen::KeyPair::generate().context("a key for tokens of ServiceAccounts")?;
    fs::write(folder.join("sa.key"), key.serialize_pem())?;
    fs::write(folder.join("sa.pub"), key.public_key_pem())?;
    Ok(())
}

/// One request, as the audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// `list`, `watch`, ...
    pub verb: String,
    /// API group.
    pub group: String,
    /// Plural, with the subresource.
    pub resource: String,
    /// Name, if one was asked for.
    pub name: String,
    /// Status of the answer.
    pub code: u64,
}

impl Audited {
    fn new(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let resource = match object["subresource"].as_str() {
            Some(sub) => format!("{}/{sub}", text(&object["resource"])),
            None => text(&object["resource"]),
        };
        Self {
            verb: text(&event["verb"]),
            group: text(&object["apiGroup"]),
            resource,
            name: text(&object["name"]),
            code: event["responseStatus"]["code"].as_u64().unwrap_or(0),
        }
    }
}

/// The folder of the programs, or why there is none.
pub fn kubernetes_programs() -> Result<PathBuf> {
    let cache = || -> Option<PathBuf> {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let base =
            std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home)?;
        Some(base.join("weir/kubernetes-1.20.2"))
    };
    let given = std::env::var_os("WEIR_KUBE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let Some(folder) = given.or_else(cache) else { bail!("there is no home for a cache") };
    ensure!(folder.join("kube-apiserver").is_file(), "no {}: run `cargo xtask setup-kube`", folder.display());
    Ok(folder)
}
