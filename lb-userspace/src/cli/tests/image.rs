//! What is installed in a cluster, looked at without a container engine: the image's recipe, and how it is started.

use std::fs;
use std::path::Path;

use super::*;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn exists(name: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).exists()
}

/// Instructions of the Dockerfile, without comments.
fn instructions(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect()
}

#[test]
fn the_image_is_one_static_file_built_from_what_is_here() {
    let text = read("deploy/Dockerfile");
    let instructions = instructions(&text);
    let all =
        |name: &str| instructions.iter().filter(|(word, _)| *word == name).map(|(_, rest)| *rest).collect::<Vec<_>>();
    assert_eq!(all("FROM"), ["debian:12 AS build", "scratch"], "two stages, and of the first only the file is kept");
    let known = ["FROM", "RUN", "WORKDIR", "COPY", "ENTRYPOINT"];
    assert!(
        instructions.iter().all(|(word, _)| known.contains(word)),
        "no other user, port or volume: {instructions:?}"
    );

    let build = all("RUN").into_iter().find(|run| run.starts_with("cargo rustc")).expect("it is built");
    for words in ["--release", "--locked", "--package lb-userspace", "--bin weir", "-C target-feature=+crt-static"] {
        assert!(build.contains(words), "{words} in {build}");
    }
    assert!(read("lb-userspace/Cargo.toml").contains("name = \"weir\"") && exists("Cargo.lock"));
    let setup = all("RUN").into_iter().find(|run| run.starts_with("cargo xtask setup")).expect("it is prepared");
    assert_eq!(setup, "cargo xtask setup --build-only");
    assert!(read("xtask/src/setup.rs").contains("build_only: bool"), "the flag is there");

    assert_eq!(all("COPY"), [". .", "--from=build /weir/target/release/weir /weir"]);
    assert_eq!(all("WORKDIR"), ["/weir"], "the file is copied from below it");
    assert_eq!(all("ENTRYPOINT"), ["[\"/weir\"]"], "the file that was copied");
    let ignored = read(".dockerignore");
    let ignored: Vec<_> = ignored.lines().collect();
    assert_eq!(ignored, ["target", ".git"], "neither is needed to build, and nothing that is needed is left out");
}

/// The entries of a list in the manifest that begins with a line; comments are passed over.
fn list<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let mut lines = text.lines().skip_while(|line| line.trim() != begin);
    let indent = lines.next().map_or(0, |line| line.len() - line.trim_start().len());
    let of_it = lines.take_while(|line| line.len() - line.trim_start().len() >= indent && !line.trim().ends_with(':'));
    of_it.filter_map(|line| line.trim().strip_prefix("- ")).collect()
}

#[test]
fn the_daemon_set_starts_the_image_as_it_is_meant_to() {
    let text = read("deploy/kubernetes/daemonset.yaml");
    assert!(!text.contains("command:"), "the entry point of the image starts");
    let arguments: Vec<_> = list(&text, "args:").into_iter().map(|word| word.replace("$(NODE_NAME)", "node")).collect();
    let cli = parse(std::iter::once("weir".to_owned()).chain(arguments.clone()));
    assert!(matches!(cli.map(|cli| cli.command), Ok(Command::Agent(_))), "{arguments:?}");
    // Without a line in the image it runs as root, and the manifest says so too.
    for line in ["runAsUser: 0", "allowPrivilegeEscalation: false", "readOnlyRootFilesystem: true", "drop: [ALL]"] {
        assert!(text.lines().any(|found| found.trim() == line), "{line}");
    }
}

#[test]
fn capabilities_are_the_same_wherever_they_stand() {
    let manifest = read("deploy/kubernetes/daemonset.yaml");
    let added = list(&manifest, "add:");
    assert!(added.len() > 5, "{added:?}");
    let page = read("docs/kubernetes.md");
    let table = page.lines().skip_while(|line| *line != "| | for | without it |").skip(2);
    let told = table.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    let told: Vec<_> = told.flat_map(|names| names.split(',')).map(str::trim).collect();
    assert_eq!(added, told, "each with its reason, in docs/kubernetes.md");
    let unit = read("deploy/systemd/weir.service");
    let bounds = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a set");
    for name in &added {
        assert!(bounds.split(' ').any(|bound| bound.strip_prefix("CAP_") == Some(name)), "{name} of {bounds}");
    }
}
