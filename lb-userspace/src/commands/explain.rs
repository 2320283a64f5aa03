//! `weir explain`: what would become of a packet or request.

use super::read::{self, Question};
use super::{chain, failed, say};
use crate::cli::{Exit, ExplainArgs};
use crate::config::ExplainCommand;
use crate::dataplane::explain::Explainer;
use crate::status::explain::{ExplainListing, explain_packet};
use crate::status::{View, ask, print_explain};

pub(super) fn run(args: &ExplainArgs) -> Exit {
    let ExplainCommand { reader, query } = match ExplainCommand::try_from(args) {
        Ok(command) => command,
        Err(error) => return failed(Exit::Usage, &error),
    };
    let path = format!("/api/v1/explain?{}", query.arguments());
    let Ok(Some(probe)) = query.probe() else {
        return match ask::get(reader.admin, &path) {
            Ok(text) => read::show(&reader, args.read.json, text, print_explain),
            Err(unasked) => {
                say(&format!("{}; only a running agent knows routes", chain(&unasked)));
                Exit::Unavailable
            }
        };
    };
    let from_pins = || {
        let explanation = Explainer::open(&reader.pin_path)?.probe(&probe, query.interface.as_deref())?;
        Ok(ExplainListing { explain: explain_packet(&query, &explanation, &View::default()) })
    };
    read::answer(&reader, args.read.json, Question { path, from_pins, print: print_explain })
}
