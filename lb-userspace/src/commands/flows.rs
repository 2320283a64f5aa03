//! `weir flows`: the flows in the maps.

use super::failed;
use super::read::{self, Question};
use crate::cli::{Exit, FlowsArgs};
use crate::config::FlowsCommand;
use crate::dataplane;
use crate::status::View;
use crate::status::flows::{FlowCollector, FlowListing};
use crate::status::print_flows;

pub(super) fn run(args: &FlowsArgs) -> Exit {
    let FlowsCommand { reader, query } = match FlowsCommand::try_from(args) {
        Ok(command) => command,
        Err(error) => return failed(Exit::Usage, &error),
    };
    let path = format!("/api/v1/flows?{}", query.arguments());
    let from_pins = || -> Result<FlowListing, _> {
        let view = View::default();
        let mut collector = FlowCollector::new(&query, &view);
        dataplane::flows(&reader.pin_path, |flow| collector.take(flow))?;
        Ok(collector.finish())
    };
    read::answer(&reader, args.read.json, Question { path, from_pins, print: print_flows })
}
