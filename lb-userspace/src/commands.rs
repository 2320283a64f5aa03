//! The commands, but for `weir agent` and `weir front`, which have modules of their own.

mod capture;
mod check;
mod drops;
mod explain;
mod flows;
mod migrate;
mod pcapng;
mod read;
mod top;
mod unload;
mod webhook;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::{AgentArgs, Cli, Command, CompletionsArgs, Exit};
use crate::config::Config;
use crate::status::Name;
use crate::telemetry::{LogFormat, LogLevel, chain};
use crate::{agent, dataplane, l7, telemetry};

/// What is shown of the end of a long error.
const LAST_LINES: usize = 24;
/// Width of tables where nobody can be asked.
const WIDTH: usize = 120;

/// Runs a command.
pub fn run(cli: Cli) -> ExitCode {
    let exit = match cli.command {
        Command::Agent(args) => run_agent(&args),
        Command::Front => run_front(),
        Command::Check(args) => check::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Status(args) => read::run(Name::Status, &args),
        Command::Services(args) => read::run(Name::Services, &args),
        Command::Backends(args) => read::run(Name::Backends, &args),
        Command::Routes(args) => read::run(Name::Routes, &args),
        Command::Flows(args) => flows::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Drops(args) => drops::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Webhook(args) => webhook::run(&args),
        Command::Unload(args) => unload::run(&args),
        Command::Completions(args) => completions(&args),
    };
    exit.into()
}

fn run_agent(args: &AgentArgs) -> Exit {
    let config = match Config::try_from(args) {
        Ok(config) => config,
        Err(error) => return failed(Exit::Usage, &error),
    };
    let level = match telemetry::init(config.log_format, config.log_level) {
        Ok(level) => level,
        Err(error) => return failed(Exit::Failed, &error),
    };
    match agent::run(config, level) {
        Ok(()) => Exit::Done,
        Err(error) => failed(error.exit(), &error),
    }
}

fn run_front() -> Exit {
    // It has no environment and no flags: its few lines are text, as those of `weir front` in a terminal.
    if let Err(error) = telemetry::init(LogFormat::default(), LogLevel::default()) {
        return failed(Exit::Failed, &error);
    }
    match l7::front_main(dataplane::unacknowledged) {
        Ok(()) => Exit::Done,
        Err(error) => failed(Exit::Failed, &error),
    }
}

fn completions(args: &CompletionsArgs) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "weir", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Writes to stdout. That nobody reads on (`weir services | head`) is not a failure.
fn print(text: &str) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => failed(Exit::Failed, &error),
        _ => Exit::Done,
    }
}

/// Says on stderr why a command failed, with all causes.
fn failed(exit: Exit, error: &dyn std::error::Error) -> Exit {
    say(&shorten(&chain(error)));
    exit
}

/// The first line and the last ones: the verifier tells its whole way, and what it objects to at the end.
fn shorten(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let Some(left_out) = lines.len().checked_sub(LAST_LINES + 2) else { return text.to_owned() };
    let end = &lines[lines.len() - LAST_LINES..];
    format!("{}\n[{} lines left out]\n{}", lines[0], left_out + 1, end.join("\n"))
}

/// Says something on stderr.
fn say(text: &str) {
    for line in text.lines() {
        // Nobody is left to be told if stderr is closed.
        let _ = writeln!(std::io::stderr(), "weir: {line}");
    }
}

/// How wide tables may be.
fn width() -> usize {
    stated("COLUMNS").or_else(|| terminal().map(|(columns, _)| columns)).unwrap_or(WIDTH)
}

/// How many lines the terminal has; `None` where stdout is none.
fn height() -> Option<usize> {
    terminal().map(|(_, lines)| stated("LINES").unwrap_or(lines))
}

fn stated(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Columns and lines of the terminal that stdout is.
fn terminal() -> Option<(usize, usize)> {
    let stdout = std::io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
    Some((size.ws_col.into(), size.ws_row.into())).filter(|(columns, lines)| *columns > 0 && *lines > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_told_once() {
        let cause = std::io::Error::other("no such device");
        assert_eq!(chain(&Outer(cause)), "cannot start: no such device");
        assert_eq!(chain(&std::io::Error::other(Outer(std::io::Error::other("x")))), "cannot start: x");
    }

    #[test]
    fn long_errors_keep_their_beginning_and_end() {
        let text = (0..100).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
        let short = shorten(&text);
        let lines: Vec<_> = short.lines().collect();
        assert_eq!(lines[..3], ["0", "[75 lines left out]", "76"]);
        assert_eq!((lines.len(), lines.last()), (LAST_LINES + 2, Some(&"99")));
        assert_eq!(shorten("a\nb"), "a\nb");
    }
}
