//! Flags of `weir top`.

use clap::Args;

use super::ReadArgs;

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  weir top                                  what happens now, until interrupted
  weir top --sort flows --interval 10
  weir top --once --json | jq '.top.services[0]'

Rates are differences of two readings of the counters; packets and bytes are those from clients.
With --json and without --once one object a line. Asks the agent at --admin; if nobody answers
there, reads the counters under --pin-path and says so on stderr; names are then not known.
Exit codes: 0 done, 64 wrong usage, 69 neither an agent nor maps, 77 no permission.";

/// `weir top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Measure once and end
    #[arg(long)]
    pub once: bool,
    /// Seconds from one reading to the next, 1 to 30
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    pub interval: String,
    /// What comes first: packets, bytes, flows or name
    #[arg(long, value_name = "KEY", default_value = "packets")]
    pub sort: String,
    /// So many services, and so many backends, at most [default: what fits the terminal, else 20]
    #[arg(long, value_name = "N")]
    pub limit: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub read: ReadArgs,
}
