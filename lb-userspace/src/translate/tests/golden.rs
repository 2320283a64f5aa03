//! Golden files: `tests/golden/*.txt`, each a case of its own: manifests in, desired state and problems out.
//!
//! A file has sections that begin with `-- name --`: any number of manifests, perhaps `settings` (lines `flag: value`),
//! then `desired` and `problems`. `UPDATE_EXPECT=1 cargo test golden` rewrites the last two; review the difference.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::model::{DesiredState, Problem};
use crate::source::dir;
use crate::translate::{Settings, translate};

#[test]
fn golden_files() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 10, "the golden files are gone");
    let failed: Vec<_> = cases.iter().filter_map(|case| run(case).err()).collect();
    assert!(failed.is_empty(), "{}\nUPDATE_EXPECT=1 accepts this", failed.join("\n"));
}

fn run(case: &Path) -> Result<(), String> {
    let text = fs::read_to_string(case).unwrap();
    let sections = sections(&text);
    let (desired, problems) = translate_sections(&sections);
    let actual = format!("-- desired --\n{desired}-- problems --\n{problems}");
    let input = text.split("-- desired --\n").next().unwrap();
    let updated = format!("{input}{actual}");
    if updated == text {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(case, updated).unwrap();
        return Ok(());
    }
    Err(format!("{} differs; now:\n{actual}", case.display()))
}

fn sections(text: &str) -> Vec<(&str, String)> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("-- ").and_then(|line| line.strip_suffix(" --")) {
            sections.push((name, String::new()));
        } else if let Some((_, content)) = sections.last_mut() {
            writeln!(content, "{line}").unwrap();
        }
    }
    sections
}

fn translate_sections(sections: &[(&str, String)]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings { node_name: "node-a".to_owned(), ..Settings::default() };
    for (name, content) in sections {
        match *name {
            "desired" | "problems" => {}
            "settings" => content.lines().for_each(|line| set(&mut settings, line)),
            file => {
                let path = directory.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
        }
    }
    let objects = dir::read(directory.path()).unwrap();
    let (desired, problems) = translate(&objects, &settings);
    (shown(&desired), problems.iter().map(|problem| line(problem, directory.path())).collect())
}

fn set(settings: &mut Settings, line: &str) {
    let (flag, value) = line.split_once(": ").expect("flag: value");
    let qualified = || value.split_once('/').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    match flag {
        "node-name" => value.clone_into(&mut settings.node_name),
        "node-ip" => settings.node_ips.push(value.parse().unwrap()),
        "pod-cidr" => settings.pod_cidrs.push(value.parse().unwrap()),
        "load-balancer-class" => value.clone_into(&mut settings.load_balancer_class),
        "http-port" => settings.http_port = value.parse().unwrap(),
        "ingress-class" => settings.ingress_class = Some(value.to_owned()),
        "watch-ingress-without-class" => settings.watch_ingress_without_class = value.parse().unwrap(),
        "default-backend-service" => settings.default_backend_service = qualified(),
        "configmap" => settings.configmap = qualified(),
        "tcp-services-configmap" => settings.tcp_services_configmap = qualified(),
        "front-labels" => {
            let pairs = value.split(' ').map(|pair| pair.split_once('=').expect("key=value"));
            settings.front_labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        }
        other => panic!("no such setting: {other}"),
    }
}

fn shown(desired: &DesiredState) -> String {
    desired.to_string()
}

fn line(problem: &Problem, directory: &Path) -> String {
    let file = problem.file.as_deref().map(|file| file.strip_prefix(directory).unwrap_or(file).display().to_string());
    let place = match (file, problem.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file,
        _ => "-".to_owned(),
    };
    let message = problem.message.replace(&directory.display().to_string(), "DIR");
    format!("{} {} {place} {message}\n", problem.severity, problem.code)
}
