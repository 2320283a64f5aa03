//! Flags of the commands that look at single flows and packets.

use std::path::PathBuf;
use std::time::Duration;

use super::flag::{self, Flags};
use super::{ConfigError, Reader};
use crate::cli::{CaptureArgs, ExplainArgs, FlowsArgs};
use crate::status::capture::{self, CaptureQuery, What};
use crate::status::explain::{self, ExplainQuery};
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

/// `weir explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainCommand {
    /// Whom to ask.
    pub reader: Reader,
    /// What.
    pub query: ExplainQuery,
}

impl TryFrom<&ExplainArgs> for ExplainCommand {
    type Error = ConfigError;

    fn try_from(args: &ExplainArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let reader = Reader::read(&mut flags, &args.read);
        let target = flags.one("TARGET", &args.target, flag::parsed);
        let from = flags.maybe("--from", args.from.as_deref(), explain::client);
        let headers = flags.each("--header", &args.header, explain::header);
        let interface = flags.maybe("--interface", args.interface.as_deref(), flag::interface);
        let method = flags.maybe("--method", args.method.as_deref(), explain::method).unwrap_or_default();
        let Some(target) = target else { return Err(flags.into_error()) };
        let query = ExplainQuery { target, from, method, headers, interface };
        if let Err(error) = query.probe() {
            flags.mistake("--from", &error.from.to_string(), "an address of the target's family");
        }
        flags.finish(Self { reader, query })
    }
}

/// `weir capture`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureCommand {
    /// Whom to ask.
    pub reader: Reader,
    /// What.
    pub query: CaptureQuery,
    /// Packets after which it ends.
    pub count: u64,
    /// Time after which it ends.
    pub time: Duration,
    /// The file.
    pub path: PathBuf,
}

impl TryFrom<&CaptureArgs> for CaptureCommand {
    type Error = ConfigError;

    fn try_from(args: &CaptureArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0).ok_or("a number from 1 on".to_owned());
        let service = flags.maybe("--service", args.service.as_deref(), flag::parsed).map(What::Service);
        let frontend = flags.maybe("--frontend", args.frontend.as_deref(), capture::frontend).map(What::Frontend);
        let query = CaptureQuery {
            id: std::process::id().to_string(),
            what: service.or(frontend).unwrap_or(What::Drops),
            rate: flags.one("--rate", &args.rate, capture::rate).unwrap_or_default(),
            snap: flags.one("--snaplen", &args.snaplen, capture::snap).unwrap_or_default(),
            stop: false,
        };
        let count = flags.maybe("--count", args.count.as_deref(), number).unwrap_or(u64::MAX);
        let time = Duration::from_secs(flags.one("--time", &args.time, number).unwrap_or_default());
        let reader = Reader { admin: super::admin(&mut flags, &args.admin), pin_path: PathBuf::new() };
        flags.finish(Self { reader, query, count, time, path: args.write.clone() })
    }
}
