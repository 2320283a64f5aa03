//! What the agent answers about single flows and packets. The maps are read through their pins, beside the main loop: it
//! does not wait for a table of a hundred thousand flows to be walked.

use lb_common::sample::Capture;

use super::samples::{self, Sample};
use super::state::State;
use crate::admin::Agent as _;
use crate::dataplane::explain::Explainer;
use crate::dataplane::{self, DataplaneError};
use crate::status::capture::{CaptureListing, CaptureQuery, What};
use crate::status::drops::{DropListing, DropsQuery, drops};
use crate::status::explain::{ExplainListing, ExplainQuery, explain_packet, explain_request};
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

    /// Drops by reason, and samples of them.
    pub(super) fn list_drops(&self, query: &DropsQuery) -> Result<DropListing, String> {
        let interfaces = dataplane::interface_names().map_err(told)?;
        Ok(drops(&self.view(), self.samples.drops(query.after, &interfaces), true))
    }

    /// What was captured since the last time; the sampling goes on for some seconds.
    pub(super) fn capture_packets(&self, query: &CaptureQuery) -> Result<CaptureListing, String> {
        let view = self.view();
        let service = view.captured_service(&query.what)?;
        let wanted = Capture { service, snap: query.snap, rate: query.rate, drops: query.what == What::Drops };
        let (captured, lost) = self.samples.capture(&query.id, wanted, query.stop)?;
        let dataplane = self.dataplane();
        dataplane.capture((!query.stop).then_some(wanted)).map_err(told)?;
        let lost = lost + dataplane.samples_lost().map_err(told)?;
        drop(dataplane);
        let interfaces = dataplane::interface_names().map_err(told)?;
        let row = |sample: &Sample| samples::captured_row(sample, &interfaces, |s, b| view.captured_for(s, b));
        Ok(CaptureListing { capture: captured.iter().map(row).collect(), lost })
    }

    /// What would become of a packet or request.
    pub(super) fn explain_live(&self, query: &ExplainQuery) -> Result<ExplainListing, String> {
        let view = self.view();
        let explain = match query.probe().map_err(|error| error.to_string())? {
            Some(probe) => {
                let explainer = Explainer::open(&self.pin_path).map_err(told)?;
                explain_packet(query, &explainer.probe(&probe, query.interface.as_deref()).map_err(told)?, &view)
            }
            None => explain_request(query, &view),
        };
        Ok(ExplainListing { explain })
    }
}

/// An error with its causes, in one line.
fn told(error: DataplaneError) -> String {
    telemetry::chain(&error)
}
