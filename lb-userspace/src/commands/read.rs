//! The reading commands: ask the agent; where nobody answers, read the pins.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{chain, failed, print, say, width};
use crate::cli::{Exit, ReadArgs};
use crate::config::Reader;
use crate::dataplane::{self, DataplaneError, kube_proxy};
use crate::status::ask::{self, AskError};
use crate::status::row::{InterfaceRow, KubeProxyRow, MapRow, SocketLevelRow};
use crate::status::{self, Listing, Name, View};

pub(super) fn run(name: Name, args: &ReadArgs) -> Exit {
    let reader = match Reader::try_from(args) {
        Ok(reader) => reader,
        Err(error) => return failed(Exit::Usage, &error),
    };
    let path = format!("/api/v1/{}", name.as_str());
    if name == Name::Routes {
        return match ask::get(reader.admin, &path) {
            Ok(text) => show(&reader, args.json, text, status::print),
            Err(unasked) => {
                say(&format!("{}; only a running agent knows routes", chain(&unasked)));
                Exit::Unavailable
            }
        };
    }
    let from_pins = || Ok(Listing::new(name, &view(dataplane::inspect(&reader.pin_path)?)));
    answer(&reader, args.json, Question { path, from_pins, print: status::print })
}

/// Something to be asked of an agent, or to be read from the pins where none answers.
pub(super) struct Question<F, P> {
    /// Where the agent answers it, with arguments.
    pub(super) path: String,
    /// Reads the same from the pins.
    pub(super) from_pins: F,
    /// Shows the answer to people, no wider than so many characters.
    pub(super) print: P,
}

/// Gets the answer and prints it, as JSON if wished.
pub(super) fn answer<T: Serialize + DeserializeOwned>(
    reader: &Reader,
    json: bool,
    question: Question<impl FnOnce() -> Result<T, DataplaneError>, impl Fn(&T, usize) -> String>,
) -> Exit {
    let unasked = match ask::get(reader.admin, &question.path) {
        Ok(text) => return show(reader, json, text, question.print),
        Err(unasked) => unasked,
    };
    let found = match (question.from_pins)() {
        Ok(found) => found,
        Err(error) => return unread(&unasked, &error),
    };
    say(&format!("{}; read the maps at {} instead", chain(&unasked), reader.pin_path.display()));
    match serde_json::to_string_pretty(&found) {
        Ok(text) if json => print(&(text + "\n")),
        Ok(_) => print(&(question.print)(&found, width())),
        Err(error) => failed(Exit::Failed, &error),
    }
}

/// Prints what an agent answered.
pub(super) fn show<T: DeserializeOwned>(
    reader: &Reader,
    json: bool,
    text: String,
    to_text: impl Fn(&T, usize) -> String,
) -> Exit {
    if json {
        return print(&text);
    }
    match serde_json::from_str(&text) {
        Ok(found) => print(&to_text(&found, width())),
        Err(error) => failed(Exit::Unavailable, &NotAListing { reader: reader.clone(), error }),
    }
}

/// Somebody answers who is no agent of this version.
#[derive(Debug, thiserror::Error)]
#[error("{} answers with what is no listing of weir {}: {error}", reader.admin, env!("CARGO_PKG_VERSION"))]
struct NotAListing {
    reader: Reader,
    error: serde_json::Error,
}

/// Neither an agent nor the pins could be asked.
pub(super) fn unread(unasked: &AskError, error: &DataplaneError) -> Exit {
    say(&format!("{}; and {}", chain(unasked), chain(error)));
    match error {
        DataplaneError::Permission { .. } => Exit::NoPermission,
        _ => Exit::Unavailable,
    }
}

pub(super) fn view(inspection: dataplane::Inspection) -> View {
    View {
        missing: vec!["agent: none answers".to_owned()],
        interfaces: inspection.interfaces.iter().map(InterfaceRow::from).collect(),
        socket_level: Some(SocketLevelRow::from(&inspection.socket_level)),
        kube_proxy: Some(KubeProxyRow::from(&kube_proxy::find())),
        maps: inspection.maps.iter().map(MapRow::from).collect(),
        tables: Arc::new(inspection.tables),
        counts: Some(Arc::new(inspection.counters)),
        ..View::default()
    }
}
