//! What the agent answers about single flows and packets. The maps are read through their pins, beside the main loop: it
//! does not wait for a table of a hundred thousand flows to be walked.

use super::state::State;
use crate::admin::Agent as _;
use crate::dataplane::{self, DataplaneError};
use crate::status::flows::{FlowCollector, FlowListing, FlowQuery};
use crate::telemetry;

impl State {
    /// The flows in the maps that are asked for.
    pub(super) fn read_flows(&self, query: &FlowQuery) -> Result<FlowListing, String> {
        let view = self.view();
        let mut collector = FlowCollector::new(query, &view);
        dataplane::flows(&self.pin_path, |flow| collector.take(flow)).map_err(told)?;
        Ok(collector.finish())
    }
}

/// An error with its causes, in one line.
fn told(error: DataplaneError) -> String {
    telemetry::chain(&error)
}
