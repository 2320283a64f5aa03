//! Flags of the commands that look at single flows and packets.

use clap::Args;

use super::ReadArgs;

pub(super) const FLOWS_EXAMPLES: &str = "\
Examples:
  weir flows --service default/web              who is connected to a Service
  weir flows --backend 10.244.2.7 --json        what a backend has to do
  weir flows --client 192.0.2.0/24 --state half-open

The most recently used flows come first. Packets and bytes are counted by service and backend,
not by flow. Asks the agent at --admin; if nobody answers there, reads the maps under --pin-path
and says so on stderr; names of Services are then not known, only their ids.
Exit codes: 0 done, 64 wrong usage, 69 neither an agent nor maps, 77 no permission.";

/// `weir flows`.
#[derive(Debug, Args)]
pub struct FlowsArgs {
    /// Only of this service: NAMESPACE/NAME, NAMESPACE/NAME:PORT, or an id
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// Only from this client: an address, ADDRESS:PORT or a network
    #[arg(long, value_name = "CLIENT")]
    pub client: Option<String>,
    /// Only to this backend: an address, ADDRESS:PORT or a network
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// Only in this state: half-open, established, closing or closed
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// So many rows at most
    #[arg(long, value_name = "N", default_value_t = crate::status::flows::DEFAULT_LIMIT.to_string())]
    pub limit: String,
    /// Whom to ask.
    #[command(flatten)]
    pub read: ReadArgs,
}
