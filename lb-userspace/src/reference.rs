//! The parts of docs/reference.md that are made from code; `UPDATE_EXPECT=1` writes them anew.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use clap::CommandFactory;
use lb_common::drop_reason::DropReason;

use crate::cli::Cli;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
/// The tests write different parts of one file.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Asserts that a part of the page, between two comments with its name, is this text.
pub(crate) fn check(part: &str, made: &str) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let text = std::fs::read_to_string(PATH).expect("docs/reference.md");
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    let updated = format!("{before}{begin}\n{}\n\n{end}{after}", made.trim());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(PATH, updated).expect("written");
    } else {
        assert_eq!(text, updated, "UPDATE_EXPECT=1 accepts this");
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A table of the arguments of a command.
fn flags(command: &clap::Command) -> String {
    let mut text = "| flag | default | |\n|---|---|---|\n".to_owned();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let values = argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str());
        let values = values.collect::<Vec<_>>().join(" ");
        let takes = argument.get_action().takes_values();
        let name = match argument.get_long() {
            Some(long) if takes => format!("--{long} {values}"),
            Some(long) => format!("--{long}"),
            None => values,
        };
        let defaults = argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy()));
        let defaults = if takes { defaults.collect::<Vec<_>>().join(" ") } else { String::new() };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "| `{}` | {} | {} |", cell(&name), cell(&defaults), cell(&help));
    }
    text
}

#[test]
fn every_flag_of_every_command_is_listed() {
    let program = Cli::command();
    let mut text = String::new();
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, "### weir {}\n\n{about}.\n\n", command.get_name());
        if command.get_arguments().next().is_some() {
            let _ = writeln!(text, "{}", flags(command));
        }
    }
    assert!(text.contains("| `--source SOURCE` |") && text.contains("### weir unload"), "{text}");
    check("flags", &text);
}

#[test]
fn every_reason_for_a_drop_is_listed() {
    let row = |reason: &DropReason| format!("| `{}` | {} |\n", reason.label(), cell(reason.text().trim()));
    let rows: String = DropReason::ALL.iter().map(row).collect();
    check("drops", &format!("| reason | |\n|---|---|\n{rows}"));
}
