//! `weir top`: what happens now.

use std::io::IsTerminal;
use std::sync::Arc;
use std::thread;

use super::read::{self, show};
use super::{failed, height, print, say, width};
use crate::cli::{Exit, TopArgs};
use crate::config::{Reader, TopCommand};
use crate::status::ask::{self, AskError};
use crate::status::print_top;
use crate::status::top::{TopListing, TopQuery, TopReading, top};
use crate::telemetry::chain;
use crate::{clock, dataplane};

/// Cursor to the first place of the screen, and everything behind it gone (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

pub(super) fn run(args: &TopArgs) -> Exit {
    let command = match TopCommand::try_from(args) {
        Ok(command) => command,
        Err(error) => return failed(Exit::Usage, &error),
    };
    let mut said = false;
    loop {
        let exit = round(&command, args.read.json, &mut said);
        if command.once || exit != Exit::Done {
            return exit;
        }
    }
}

/// One measurement: by the agent, or from the pins where none answers.
fn round(command: &TopCommand, json: bool, said: &mut bool) -> Exit {
    let query = sized(command);
    match from_agent(&command.reader, &query) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(listing) if !command.once => tell(&listing, command, json),
            _ => show(&command.reader, json, text, |listing: &TopListing, _| table(listing, command)),
        },
        Err(unasked) => match from_pins(&command.reader, &query, &unasked, said) {
            Ok(listing) => tell(&listing, command, json),
            Err(exit) => exit,
        },
    }
}

/// As many rows as the terminal has lines, unless a number was given.
fn sized(command: &TopCommand) -> TopQuery {
    let rows = command.limit.or_else(height).unwrap_or(command.query.limit);
    TopQuery { limit: rows, ..command.query }
}

fn from_agent(reader: &Reader, query: &TopQuery) -> Result<String, AskError> {
    ask::get_after(reader.admin, &format!("/api/v1/top?{}", query.arguments()), query.pause())
}

fn from_pins(reader: &Reader, query: &TopQuery, unasked: &AskError, said: &mut bool) -> Result<TopListing, Exit> {
    let reading = || -> Result<TopReading, Exit> {
        let found = dataplane::inspect(&reader.pin_path).map_err(|error| read::unread(unasked, &error))?;
        let now = clock::now();
        let mut view = read::view(found);
        view.counted_at = Some(now);
        Ok(TopReading { view, front: None, traffic: Arc::default(), asked: now })
    };
    let before = reading()?;
    if !*said {
        say(&format!("{}; read the maps at {} instead", chain(unasked), reader.pin_path.display()));
        *said = true;
    }
    thread::sleep(query.pause());
    Ok(top(query, &before, &reading()?))
}

/// Prints a measurement: in place of the one before on a terminal, else behind it.
fn tell(listing: &TopListing, command: &TopCommand, json: bool) -> Exit {
    let text = match (json, command.once) {
        (true, true) => serde_json::to_string_pretty(listing).map(|text| text + "\n"),
        (true, false) => serde_json::to_string(listing).map(|text| text + "\n"),
        (false, true) => Ok(table(listing, command)),
        (false, false) if std::io::stdout().is_terminal() => Ok(format!("{CLEAR}{}", table(listing, command))),
        (false, false) => Ok(table(listing, command) + "\n"),
    };
    match text {
        Ok(text) => print(&text),
        Err(error) => failed(Exit::Failed, &error),
    }
}

fn table(listing: &TopListing, command: &TopCommand) -> String {
    // once: the prompt comes behind it, and what scrolls away can be looked at
    let lines = height().filter(|_| !command.once && command.limit.is_none());
    print_top(listing, width(), lines.map_or(usize::MAX / 2, |lines| lines.saturating_sub(1)))
}
