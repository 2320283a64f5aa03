//! Flags of the commands that look at single flows and packets.

use super::flag::{self, Flags};
use super::{ConfigError, Reader};
use crate::cli::FlowsArgs;
use crate::status::flows::{self, FlowQuery};

/// `weir flows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowsCommand {
    /// Whom to ask.
    pub reader: Reader,
    /// Which flows.
    pub query: FlowQuery,
}

impl TryFrom<&FlowsArgs> for FlowsCommand {
    type Error = ConfigError;

    fn try_from(args: &FlowsArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let reader = Reader::read(&mut flags, &args.read);
        let query = FlowQuery {
            service: flags.maybe("--service", args.service.as_deref(), flag::parsed),
            client: flags.maybe("--client", args.client.as_deref(), flag::parsed),
            backend: flags.maybe("--backend", args.backend.as_deref(), flag::parsed),
            state: flags.maybe("--state", args.state.as_deref(), flows::state),
            limit: flags.one("--limit", &args.limit, flows::limit).unwrap_or_default(),
        };
        flags.finish(Self { reader, query })
    }
}
