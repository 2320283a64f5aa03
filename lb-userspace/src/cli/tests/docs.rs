//! Command lines in the documentation: each is one that this program takes, and those that need neither a node nor a cluster
//! are run.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::*;
use crate::commands;

/// A command line, and where it stands.
struct Line {
    place: String,
    words: Vec<String>,
    /// In a block of commands, as they are typed; else in running text, where an end may be left out.
    whole: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages, and the files that hold commands to copy.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).expect("the documentation").map(|entry| entry.expect("a page").path());
    let mut pages: Vec<_> = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    pages.extend(["README.md", "SECURITY.md", "examples/README.md"].map(|name| root().join(name)));
    pages.retain(|path| path.exists());
    pages.sort();
    pages
}

/// Words as a shell makes them, as far as the documentation goes: quotes, comments, and what ends a command.
fn commands_of(text: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut quote = None;
    for letter in text.chars().chain(['\n']) {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '&' | ';' | '>' | '<') => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    commands.push(words);
    commands
}

/// Those of the commands that are ours, with the program's name first.
fn ours(text: &str) -> impl Iterator<Item = Vec<String>> {
    commands_of(text).into_iter().filter_map(|words| {
        let at = words.iter().position(|word| !["$", "sudo", "--"].contains(&word.as_str()))?;
        let is_ours = ["weir", "/weir", "target/release/weir", "/usr/local/bin/weir"].contains(&words[at].as_str());
        is_ours.then(|| words[at..].to_vec())
    })
}

fn lines_of(page: &Path) -> Vec<Line> {
    let text = fs::read_to_string(page).expect("a page");
    let (mut lines, mut in_block) = (Vec::new(), false);
    for (number, text) in text.lines().enumerate() {
        let place = format!("{}:{}", page.display(), number + 1);
        if text.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            lines.extend(ours(text.trim()).map(|words| Line { place: place.clone(), words, whole: true }));
        } else {
            let quoted = text.split('`').skip(1).step_by(2);
            let found = quoted.flat_map(ours).map(|words| Line { place: place.clone(), words, whole: false });
            lines.extend(found.collect::<Vec<_>>());
        }
    }
    lines
}

fn lines() -> Vec<Line> {
    pages().iter().flat_map(|page| lines_of(page)).collect()
}

/// Something is left out, or it is drawn and not typed: dots, alternatives, lines.
fn is_cut(words: &[String]) -> bool {
    words.iter().any(|word| word.contains(['…', '[', '|']) || word.contains("...") || word == "-")
}

/// The subcommand exists, and each flag is one of its own.
fn check(line: &Line) -> Result<(), String> {
    let program = Cli::command();
    let Some(name) = line.words.get(1).filter(|word| word.starts_with(|letter: char| letter.is_ascii_lowercase()))
    else {
        return Ok(());
    };
    let command = program.find_subcommand(name).ok_or_else(|| format!("there is no weir {name}"))?;
    for word in line.words[2..].iter().filter(|word| word.starts_with("--") && word.len() > 2) {
        let flag = word[2..].split('=').next().unwrap_or_default().trim_end_matches(['.', ',', '…']);
        if !command.get_arguments().any(|argument| argument.get_long() == Some(flag)) && flag != "help" {
            return Err(format!("weir {name} has no --{flag}"));
        }
    }
    match Cli::try_parse_from(&line.words) {
        Err(error) if line.whole && !is_cut(&line.words) && error.use_stderr() => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[test]
fn every_command_line_in_the_documentation_is_one() {
    let lines = lines();
    let whole = lines.iter().filter(|line| line.whole).count();
    assert!(whole >= 10 && lines.len() >= 60, "{whole} of {} are found: the search is wrong", lines.len());
    let wrong = lines.iter().filter_map(|line| {
        let what = check(line).err()?;
        Some(format!("{}: {}: {what}", line.place, line.words.join(" ")))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_command_line_would_be_found() {
    let line = |text: &str, whole| Line { place: String::new(), words: ours(text).next().expect("ours"), whole };
    assert!(check(&line("$ weir status --json | jq . # all of it", true)).is_ok());
    assert!(check(&line("weir agent ... --front-label a=b", true)).is_ok());
    for (wrong, whole) in [
        ("weir stats", false),
        ("weir status --jason", false),
        ("weir check", true),
        ("weir agent --source dir:x --odd", true),
    ] {
        assert!(check(&line(wrong, whole)).is_err(), "{wrong}");
    }
    assert_eq!(ours("kubectl apply -k deploy/kubernetes").count(), 0);
}

/// The pages that say how to come from ingress-nginx and how to install, step by step.
#[test]
fn commands_that_need_no_node_do_what_their_page_says() {
    let seeds = root().join("examples/seeds");
    let mut ran = Vec::new();
    for page in ["docs/ingress-nginx.md", "docs/operations.md", "README.md"] {
        for line in lines_of(&root().join(page)) {
            let Some(name @ ("check" | "migrate")) = line.words.get(1).map(String::as_str) else { continue };
            if line.words.len() < 3 || is_cut(&line.words) {
                continue;
            }
            // Where the page has somebody's own manifests, the seeds stand in.
            let words = line.words.iter().map(|word| {
                let is_path = ["all.yaml", "DIRECTORY", "PATH", "/etc/weir/manifests"].contains(&word.as_str());
                if is_path { seeds.clone().into_os_string() } else { word.into() }
            });
            let cli = parse(words).expect("a command line");
            assert_eq!(commands::run(cli), std::process::ExitCode::SUCCESS, "{}: {}", line.place, line.words.join(" "));
            ran.push((page, name.to_owned()));
        }
    }
    for expected in
        [("docs/ingress-nginx.md", "check"), ("docs/ingress-nginx.md", "migrate"), ("docs/operations.md", "check")]
    {
        assert!(ran.iter().any(|(page, name)| (*page, name.as_str()) == expected), "{expected:?} did not run: {ran:?}");
    }
}
