//! `cargo xtask tidy`: rules of the project that no compiler knows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ebpf_build::Workspace;

use crate::exit::Exit;

/// Words that must not appear in a part of the tree.
struct Rule {
    /// Files and folders, relative to the workspace.
    paths: &'static [&'static str],
    /// Left out of them.
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        paths: &[
            "lb-userspace/src/translate",
            "lb-userspace/src/translate.rs",
            "lb-userspace/src/compile",
            "lb-userspace/src/compile.rs",
            "lb-userspace/src/diff.rs",
            "lb-userspace/src/diff",
        ],
        except: &[],
        words: &["std::fs", "std::net::Tcp", "std::net::Udp", "Instant", "SystemTime", "tokio", "rand::"],
        why: "translate, compile and diff are pure: no IO and no clock",
    },
    Rule {
        paths: &["lb-userspace/src/source", "lb-userspace/src/source.rs"],
        except: &[],
        words: &["dataplane"],
        why: "sources never see the data plane",
    },
    Rule {
        paths: &["lb-userspace/src/l7", "lb-userspace/src/l7.rs"],
        except: &[],
        words: &["dataplane", "aya::"],
        why: "layer 7 knows nothing of the data plane",
    },
    Rule {
        paths: &["lb-userspace/src/model", "lb-userspace/src/model.rs"],
        except: &[],
        words: &["k8s_openapi", "kube::", "aya::"],
        why: "the model is free of Kubernetes and of maps",
    },
    Rule {
        paths: &["lb-userspace/src"],
        except: &["lb-userspace/src/dataplane", "lb-userspace/src/dataplane.rs"],
        words: &["aya::"],
        why: "only the data plane touches maps and programs",
    },
    Rule {
        paths: &["lb-common/src"],
        except: &[],
        words: &["aya_ebpf", "aya_log"],
        why: "lb-common runs on the host as well as in the kernel",
    },
];

/// Where `unsafe` may be; the lint `unsafe_code` denies it elsewhere unless a file switches it off. The map types of
/// abi/pod.rs promise aya that they are plain data, which is an `unsafe impl`.
const UNSAFE: &[&str] = &["lb-ebpf/", "lb-userspace/src/dataplane", "lb-common/src/abi/pod.rs"];

pub(crate) fn run() -> Result<()> {
    let root = Workspace::here().root().to_path_buf();
    let files = rust_files(&root)?;
    let mut broken = Vec::new();
    for (path, text) in &files {
        broken.extend(RULES.iter().filter(|rule| rule.covers(path)).flat_map(|rule| rule.check(path, text)));
        broken.extend(unsafe_outside(path, text));
        if path.ends_with("/mod.rs") {
            broken.push(format!("{path}: module files are foo.rs beside foo/"));
        }
    }
    if broken.is_empty() {
        println!("tidy: {} files keep {} rules", files.len(), RULES.len() + 2);
        return Ok(());
    }
    Err(Exit::Failed(format!("rules are broken:\n  {}", broken.join("\n  "))).into())
}

impl Rule {
    fn covers(&self, path: &str) -> bool {
        let within =
            |prefix: &&str| path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        !is_unit_test(path) && self.paths.iter().any(within) && !self.except.iter().any(within)
    }

    fn check(&self, path: &str, text: &str) -> Vec<String> {
        code_lines(text)
            .flat_map(|(number, line)| {
                let words = self.words.iter().filter(move |word| contains_word(line, word));
                words.map(move |word| format!("{path}:{number}: `{word}`: {}", self.why))
            })
            .collect()
    }
}

/// A file of unit tests, which may read golden files and clocks.
fn is_unit_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/src/") && path.contains("/tests/")
}

fn unsafe_outside(path: &str, text: &str) -> Vec<String> {
    if UNSAFE.iter().any(|allowed| path.starts_with(allowed)) {
        return Vec::new();
    }
    let switched_off =
        |line: &str| ["allow", "expect"].iter().any(|level| line.contains(&format!("{level}(unsafe_code")));
    code_lines(text)
        .filter(|(_, line)| switched_off(line))
        .map(|(number, _)| format!("{path}:{number}: unsafe code belongs in lb-ebpf and dataplane"))
        .collect()
}

/// Lines up to the unit tests, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let numbered = lines.enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn contains_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let open_end = word.ends_with(':') || !is_part(line[at + word.len()..].chars().next());
        !is_part(line[..at].chars().next_back()) && open_end
    })
}

/// All Rust files of the workspace with their paths relative to it.
fn rust_files(root: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let members = ["lb-common", "lb-ebpf", "lb-userspace", "ebpf-build", "xtask", "tests", "fuzz"];
    let mut folders: Vec<PathBuf> = members.iter().map(|member| root.join(member)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root)?.display().to_string();
                files.push((relative, fs::read_to_string(&path)?));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_clock_in_a_pure_module() {
        let rule = &RULES[0];
        assert!(rule.covers("lb-userspace/src/compile/ids.rs") && rule.covers("lb-userspace/src/diff.rs"));
        assert!(!rule.covers("lb-userspace/src/compiler.rs"));
        assert_eq!(rule.check("x.rs", "use std::time::Instant;\n// Instant\nlet instants = 1;\n").len(), 1);
    }

    #[test]
    fn leaves_unit_tests_alone() {
        assert!(RULES[0].check("x.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n").is_empty());
    }

    #[test]
    fn this_tree_keeps_the_rules() -> Result<()> {
        run()
    }
}
