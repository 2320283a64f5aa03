//! The command line, one to one: plain text as typed. What it means is checked in [`crate::config`].

mod agent;
mod exit;
mod manifests;
mod see;
mod top;
mod webhook;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use agent::{AgentArgs, SizeArgs};
pub use exit::Exit;
pub use manifests::ManifestArgs;
use see::{CAPTURE_EXAMPLES, DROPS_EXAMPLES, EXPLAIN_EXAMPLES, FLOWS_EXAMPLES};
pub use see::{CaptureArgs, DropsArgs, ExplainArgs, FlowsArgs};
use top::TOP_EXAMPLES;
pub use top::TopArgs;
use webhook::WEBHOOK_EXAMPLES;
pub use webhook::WebhookArgs;

/// Where an agent answers unless told otherwise.
pub const DEFAULT_ADMIN: &str = "127.0.0.1:10254";
/// Where maps, programs and links are pinned unless told otherwise.
pub const DEFAULT_PIN_PATH: &str = "/sys/fs/bpf/weir";

const EXAMPLES: &str = "\
Examples:
  weir check ./manifests                        are the manifests right?
  weir agent --source dir:./manifests           balance what they describe (needs root)
  weir services                                 what is balanced, and how much of it
  weir status --json | jq .status.problems      what is wrong
  weir unload                                   detach and unpin everything

Exit codes: 0 done, 1 failed, 64 wrong usage, 65 bad data, 69 unavailable, 77 no permission.";

const AGENT_EXAMPLES: &str = "\
Examples:
  weir agent --source dir:/etc/weir/manifests
  weir agent --source dir:./manifests --interface eth0 --node-name node-1 --pod-cidr 10.1.1.0/24
  weir agent --source dir:./manifests --dry-run         print what would be written, touch nothing

The agent needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN). When it ends, packets go on:
programs and maps stay until `weir unload`.
Exit codes: 0 ended by a signal, 64 wrong usage, 69 the node lacks something, 77 no permission.";

const CHECK_EXAMPLES: &str = "\
Examples:
  weir check ./manifests
  weir check --strict --json ./manifests | jq -r '.check[] | .file + \": \" + .message'

Exit codes: 0 no error, 65 an error (with --strict: or a warning), 69 PATH cannot be read.";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  weir migrate ./manifests > migrated.yaml
  weir migrate ingress.yaml | kubectl apply -f -

All documents go to stdout; those of old API versions (Ingress and IngressClass of v1beta1,
EndpointSlice of v1beta1) are rewritten, the others stay as they are. What weir check has to say
stands above each document as a comment; what was rewritten is told on stderr.
Exit codes: 0 done, 65 an error in the manifests, 69 PATH cannot be read.";

const READ_EXAMPLES: &str = "\
Asks the agent at --admin; if nobody answers there, reads the maps under --pin-path and says so
on stderr.
Exit codes: 0 done, 69 neither an agent nor maps.";

/// A layer 4 load balancer in XDP with a layer 7 front, for Kubernetes Services and Ingresses.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_help = EXAMPLES, max_term_width = 110, propagate_version = false)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Balance: read the sources, load the programs, keep both in step
    #[command(after_help = AGENT_EXAMPLES)]
    Agent(Box<AgentArgs>),
    /// The layer 7 process; started by the agent
    Front,
    /// Validate manifests offline
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Box<CheckArgs>),
    /// Rewrite old manifests to today's API versions
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate(Box<MigrateArgs>),
    /// How the agent is: readiness, interfaces, maps, problems
    #[command(after_help = READ_EXAMPLES)]
    Status(ReadArgs),
    /// The balanced services with their frontends and counters
    #[command(after_help = READ_EXAMPLES)]
    Services(ReadArgs),
    /// The backends with their state and counters
    #[command(after_help = READ_EXAMPLES)]
    Backends(ReadArgs),
    /// The layer 7 routes, in the order in which they are tried
    #[command(after_help = READ_EXAMPLES)]
    Routes(ReadArgs),
    /// The flows: who is connected to which backend, and how
    #[command(after_help = FLOWS_EXAMPLES)]
    Flows(FlowsArgs),
    /// What was dropped and why, with samples
    #[command(after_help = DROPS_EXAMPLES)]
    Drops(DropsArgs),
    /// What happens now: packets, bytes and new flows a second of services and backends, and drops
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// Dropped packets, or those of a service, into a file for tcpdump and Wireshark
    #[command(after_help = CAPTURE_EXAMPLES)]
    Capture(CaptureArgs),
    /// What would become of a packet or request, step by step
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Tell the API server what is wrong with objects that somebody applies
    #[command(after_help = WEBHOOK_EXAMPLES)]
    Webhook(Box<WebhookArgs>),
    /// Detach and unpin everything; refuses while an agent runs
    Unload(UnloadArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// `weir check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A manifest file, or a directory of them
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Let warnings fail the check too
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What the manifests mean.
    #[command(flatten)]
    pub manifests: ManifestArgs,
}

/// `weir migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// A manifest file, or a directory of them
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// What the manifests mean.
    #[command(flatten)]
    pub manifests: ManifestArgs,
}

/// The reading commands.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the agent answers
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_ADMIN)]
    pub admin: String,
    /// Where the maps are pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_PATH)]
    pub pin_path: PathBuf,
}

/// `weir unload`.
#[derive(Debug, Args)]
pub struct UnloadArgs {
    /// Unload even while an agent runs
    #[arg(long)]
    pub force: bool,
    /// Remove the rules that a kube-proxy which runs no more has left on this node, and nothing of weir: agents go on
    #[arg(long, conflicts_with = "force")]
    pub kube_proxy: bool,
    /// Where the maps are pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_PATH)]
    pub pin_path: PathBuf,
}

/// `weir completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Reads the command line. What cannot be read, and `--help`, is printed here; the exit code is then the error.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, Exit> {
    Cli::try_parse_from(arguments).map_err(|error| {
        let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
        // Nobody is left to be told if stderr is closed.
        let _ = error.print();
        exit
    })
}
