//! The Helm chart gives what the kustomizations give. It is rendered by Helm's own library, which `cargo xtask setup-helm`
//! takes from PyPI.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lb_userspace::source::yaml;
use serde_json::Value;
use weir_lab::kubernetes_programs;

use crate::common::workspace;

/// Everything that is optional is on; the namespace is made by `helm install` otherwise.
const ALL: &str = r#"{"namespace": {"create": true}, "monitoring": {"enabled": true}, "webhook": {"enabled": true}}"#;
/// Prints what a chart gives, as JSON: the texts of its templates.
const RENDER: &str = "
import json, sys
sys.path.insert(0, sys.argv[1])
from helm_python import Chart, lint
report = lint(sys.argv[2], strict=True)
assert not report['errors'], report
with Chart.load(sys.argv[2]) as chart:
    texts = chart.render(values=json.loads(sys.argv[3]), name='weir', namespace='weir-system')
print(json.dumps(list(texts.values())))
";

type Objects = BTreeMap<String, Value>;

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Objects by kind, namespace and name.
fn objects(text: &str) -> Result<Objects> {
    let mut objects = Objects::new();
    for document in yaml::parse(text)?.iter().filter(|document| document.value != yaml::Value::Null) {
        let object: Value = document.read().map_err(|error| anyhow::anyhow!("{}: {text}", error.message))?;
        let name = format!("{} {} {}", object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]);
        ensure!(objects.insert(name.clone(), object).is_none(), "{name} twice");
    }
    Ok(objects)
}

fn of_kustomize(folder: &str) -> Result<Objects> {
    let folder = workspace().join("deploy/kubernetes").join(folder);
    objects(&output(Command::new(kubernetes_programs()?.join("kubectl")).arg("kustomize").arg(folder))?)
}

fn of_chart(values: &str) -> Result<Objects> {
    let helm = std::env::var_os("WEIR_HELM").map(PathBuf::from).filter(|folder| folder.is_dir());
    let helm = helm.or_else(cached).context("no Helm: run `cargo xtask setup-helm`")?;
    let chart = workspace().join("deploy/chart");
    let text = output(Command::new("python3").args(["-c", RENDER]).arg(helm).arg(chart).arg(values))?;
    let texts: Vec<String> = serde_json::from_str(&text)?;
    objects(&texts.join("\n---\n"))
}

fn cached() -> Option<PathBuf> {
    let folder = Path::new(&std::env::var_os("HOME")?).join(".cache/weir/helm-python-sdk-0.2.2");
    folder.is_dir().then_some(folder)
}

#[test]
#[ignore = "needs root"]
fn the_chart_and_the_kustomizations_give_the_same_objects() -> Result<()> {
    let mut wanted = of_kustomize("")?;
    wanted.extend(of_kustomize("monitoring")?);
    wanted.extend(of_kustomize("webhook")?);
    let mut given = of_chart(ALL)?;
    for (name, object) in &wanted {
        let other = given.remove(name).with_context(|| format!("the chart has no {name}"))?;
        ensure!(*object == other, "{name} differs:\n{object:#}\n{other:#}");
    }
    ensure!(given.is_empty(), "only the chart has {:?}", given.keys());

    // With a BIRD beside each agent.
    let mut given = of_chart(r#"{"namespace": {"create": true}, "bgp": {"enabled": true}}"#)?;
    for (name, object) in &of_kustomize("../bgp")? {
        let other = given.remove(name).with_context(|| format!("with BGP the chart has no {name}"))?;
        ensure!(*object == other, "with BGP {name} differs:\n{object:#}\n{other:#}");
    }
    ensure!(given.is_empty(), "with BGP only the chart has {:?}", given.keys());

    // Secrets of some namespaces only.
    let narrow = of_chart(r#"{"rbac": {"secretNamespaces": ["shop"]}}"#)?;
    let role = narrow.get(r#""ClusterRole" null "weir""#).context("the ClusterRole")?;
    ensure!(!role.to_string().contains("secrets"), "{role}");
    ensure!(narrow.contains_key(r#""Role" "shop" "weir-secrets""#), "{:?}", narrow.keys());
    Ok(())
}
