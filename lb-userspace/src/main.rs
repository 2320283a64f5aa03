//! The binary `weir`: reads the command line and runs the command.

use std::process::ExitCode;

use lb_userspace::{cli, commands};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(cli) => commands::run(cli),
        Err(exit) => exit.into(),
    }
}
