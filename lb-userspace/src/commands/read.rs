//! The reading commands: ask the agent; where nobody answers, read the pins.

use std::sync::Arc;

use super::{chain, failed, print, say, width};
use crate::cli::{Exit, ReadArgs};
use crate::config::Reader;
use crate::dataplane::{self, DataplaneError};
use crate::status::ask::{AskError, ask};
use crate::status::row::{InterfaceRow, MapRow};
use crate::status::{self, Listing, Name, View};

pub(super) fn run(name: Name, args: &ReadArgs) -> Exit {
    let reader = match Reader::try_from(args) {
        Ok(reader) => reader,
        Err(error) => return failed(Exit::Usage, &error),
    };
    match ask(reader.admin, name) {
        Ok(json) if args.json => print(&json),
        Ok(json) => match serde_json::from_str(&json) {
            Ok(listing) => print(&status::print(&listing, width())),
            Err(error) => failed(Exit::Unavailable, &NotAListing { reader, error }),
        },
        Err(error) => from_pins(name, args, &reader, &error),
    }
}

/// Somebody answers who is no agent of this version.
#[derive(Debug, thiserror::Error)]
#[error("{} answers with what is no listing of weir {}: {error}", reader.admin, env!("CARGO_PKG_VERSION"))]
struct NotAListing {
    reader: Reader,
    error: serde_json::Error,
}

/// Routes are known to nobody but an agent; the rest stands in the maps, without names.
fn from_pins(name: Name, args: &ReadArgs, reader: &Reader, unasked: &AskError) -> Exit {
    if name == Name::Routes {
        say(&format!("{}; only a running agent knows routes", chain(unasked)));
        return Exit::Unavailable;
    }
    let inspection = match dataplane::inspect(&reader.pin_path) {
        Ok(inspection) => inspection,
        Err(error) => {
            say(&format!("{}; and {}", chain(unasked), chain(&error)));
            return match error {
                DataplaneError::Permission { .. } => Exit::NoPermission,
                _ => Exit::Unavailable,
            };
        }
    };
    say(&format!("{}; read the maps at {} instead", chain(unasked), reader.pin_path.display()));
    let listing = Listing::new(name, &view(inspection));
    match serde_json::to_string_pretty(&listing) {
        Ok(json) if args.json => print(&(json + "\n")),
        Ok(_) => print(&status::print(&listing, width())),
        Err(error) => failed(Exit::Failed, &error),
    }
}

fn view(inspection: dataplane::Inspection) -> View {
    View {
        missing: vec!["agent: none answers".to_owned()],
        interfaces: inspection.interfaces.iter().map(InterfaceRow::from).collect(),
        maps: inspection.maps.iter().map(MapRow::from).collect(),
        tables: Arc::new(inspection.tables),
        counts: Some(Arc::new(inspection.counters)),
        ..View::default()
    }
}
