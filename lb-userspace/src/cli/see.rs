//! Flags of the commands that look at single flows and packets.

use std::path::PathBuf;

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
  weir explain https://shop.example/cart --method POST --header 'Cookie: canary=always'

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
    /// The method of the request [default: GET]
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
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

pub(super) const CAPTURE_EXAMPLES: &str = "\
Examples:
  weir capture --drops -w drops.pcapng                    what is dropped in the next minute
  weir capture --service default/web --count 100 -w -     | tcpdump -nr -
  weir capture --frontend 192.0.2.1:80 --time 10 --rate 1000 -w vip.pcapng

The file is pcapng, which tcpdump and Wireshark read; each packet has a comment that says what
became of it. Packets from clients are captured as they go on, after translation. It ends after
--count packets or --time seconds; if it is killed, the sampling ends by itself within seconds.
A running agent is needed, and asked from this machine only.
Exit codes: 0 done, 1 the file cannot be written, 64 wrong usage, 69 no agent.";

/// `weir capture`.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// Packets that are dropped
    #[arg(long, required_unless_present_any = ["service", "frontend"], conflicts_with_all = ["service", "frontend"])]
    pub drops: bool,
    /// Packets from clients to a service: NAMESPACE/NAME, NAMESPACE/NAME:PORT, or an id
    #[arg(long, value_name = "SERVICE", conflicts_with = "frontend")]
    pub service: Option<String>,
    /// Packets from clients to the service that answers at IP:PORT
    #[arg(long, value_name = "IP:PORT")]
    pub frontend: Option<String>,
    /// Packets a second, on each CPU, at most
    #[arg(long, value_name = "N", default_value = "100")]
    pub rate: String,
    /// End after so many packets [default: only --time]
    #[arg(long, value_name = "N")]
    pub count: Option<String>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub time: String,
    /// Bytes of each packet
    #[arg(long, value_name = "N", default_value = "256")]
    pub snaplen: String,
    /// The file; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: PathBuf,
    /// Where the agent answers
    #[arg(long, value_name = "ADDR", default_value = super::DEFAULT_ADMIN)]
    pub admin: String,
}
