//! Flags of `weir top`, checked.

use super::flag::{self, Flags};
use super::{ConfigError, Reader};
use crate::cli::TopArgs;
use crate::status::top::{self, TopQuery};

/// `weir top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopCommand {
    /// Whom to ask.
    pub reader: Reader,
    /// Seconds, order, and the bound if there is one.
    pub query: TopQuery,
    /// So many rows were asked for.
    pub limit: Option<usize>,
    /// Measure once.
    pub once: bool,
}

impl TryFrom<&TopArgs> for TopCommand {
    type Error = ConfigError;

    fn try_from(args: &TopArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let reader = Reader::read(&mut flags, &args.read);
        let limit = flags.maybe("--limit", args.limit.as_deref(), top::limit);
        let defaults = TopQuery::default();
        let query = TopQuery {
            seconds: flags.one("--interval", &args.interval, top::seconds).unwrap_or_default(),
            sort: flags.one("--sort", &args.sort, flag::parsed).unwrap_or_default(),
            limit: limit.unwrap_or(defaults.limit),
        };
        flags.finish(Self { reader, query, limit, once: args.once })
    }
}
