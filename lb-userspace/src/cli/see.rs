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

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  weir explain tcp://192.0.2.1:80 --from 203.0.113.9:40000
  weir explain udp://192.0.2.1:53 --json | jq -r .explain.verdict
  weir explain http://shop.example/cart?id=1
  weir explain http://192.0.2.1/ --header 'Host: shop.example'

Packets are run through the pipeline over the live maps: nothing is sent, nothing is written.
Which backend a new flow gets depends on its client's address and port. Asks the agent at
--admin; if nobody answers there, reads the maps under --pin-path and says so on stderr; requests
(http, https) are known to a running agent only.
Exit codes: 0 done, 64 wrong usage, 69 neither an agent nor maps, 77 no permission.";

/// `weir explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// tcp://IP:PORT, udp://IP:PORT, http(s)://HOST[:PORT]/PATH
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// The client: IP or IP:PORT [default: one that does not exist]
    #[arg(long, value_name = "CLIENT")]
    pub from: Option<String>,
    /// A header of the request, such as 'Host: shop.example'; repeatable
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// The interface by which the packet comes in [default: the one that leads to the client]
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub read: ReadArgs,
}

pub(super) const DROPS_EXAMPLES: &str = "\
Examples:
  weir drops                       how many packets were dropped and why, with samples
  weir drops --follow              and what is dropped from now on
  weir drops --json | jq '.samples[] | select(.reason == \"bad_source\")'

Counters count every packet; samples are a few of each reason a second, so that a flood costs
nothing. Asks the agent at --admin; if nobody answers there, reads the counters under --pin-path
and says so on stderr; samples are known to a running agent only.
Exit codes: 0 done, 64 wrong usage, 69 neither an agent nor maps, 77 no permission.";

/// `weir drops`.
#[derive(Debug, Args)]
pub struct DropsArgs {
    /// Go on with samples of what is dropped from now on, until interrupted
    #[arg(long)]
    pub follow: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub read: ReadArgs,
}
