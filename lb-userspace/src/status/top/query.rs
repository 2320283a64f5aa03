//! What is asked of `weir top`.

use std::str::FromStr;
use std::time::Duration;

use crate::status::query::{Arguments, BadArgument};

/// Seconds between two readings unless another number is asked for.
const DEFAULT_SECONDS: u32 = 2;
/// And at most.
const LARGEST_SECONDS: u32 = 30;
/// Services, and backends, that are shown unless another number is asked for.
const DEFAULT_LIMIT: usize = 20;
/// And at most.
const LARGEST_LIMIT: usize = 10_000;

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopSort {
    /// Most packets.
    #[default]
    Packets,
    /// Most bytes.
    Bytes,
    /// Most new flows.
    Flows,
    /// By name.
    Name,
}

impl TopSort {
    /// As typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            TopSort::Packets => "packets",
            TopSort::Bytes => "bytes",
            TopSort::Flows => "flows",
            TopSort::Name => "name",
        }
    }
}

impl FromStr for TopSort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [TopSort::Packets, TopSort::Bytes, TopSort::Flows, TopSort::Name];
        let found = all.into_iter().find(|sort| sort.as_str() == text);
        found.ok_or_else(|| format!("one of {}", all.map(TopSort::as_str).join(", ")))
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopQuery {
    /// Seconds from one reading to the next.
    pub seconds: u32,
    /// What comes first.
    pub sort: TopSort,
    /// So many services, and so many backends, at most.
    pub limit: usize,
}

impl Default for TopQuery {
    fn default() -> Self {
        Self { seconds: DEFAULT_SECONDS, sort: TopSort::default(), limit: DEFAULT_LIMIT }
    }
}

impl TopQuery {
    /// From the arguments of a request.
    pub fn read(arguments: &Arguments) -> Result<Self, BadArgument> {
        Ok(Self {
            seconds: arguments.one("seconds", seconds)?.unwrap_or(DEFAULT_SECONDS),
            sort: arguments.parsed("sort")?.unwrap_or_default(),
            limit: arguments.one("limit", limit)?.unwrap_or(DEFAULT_LIMIT),
        })
    }

    /// As the arguments of a request.
    pub fn arguments(&self) -> Arguments {
        let mut arguments = Arguments::default();
        arguments.add("seconds", Some(&self.seconds));
        arguments.add("sort", Some(&self.sort.as_str()));
        arguments.add("limit", Some(&self.limit));
        arguments
    }

    /// The time between the readings.
    pub fn pause(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

/// A number of seconds; else what would be right.
pub fn seconds(text: &str) -> Result<u32, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=LARGEST_SECONDS).contains(seconds));
    seconds.ok_or_else(|| format!("a number of seconds from 1 to {LARGEST_SECONDS}"))
}

/// A number of rows; else what would be right.
pub fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=LARGEST_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("a number of rows from 1 to {LARGEST_LIMIT}"))
}
