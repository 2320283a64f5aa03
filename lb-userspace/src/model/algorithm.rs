//! How a new flow chooses its backend.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a new flow chooses its backend; whoever comes from IPVS knows these as `mh`, `wlc`, `wrr` and `sh`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// By the hash of its addresses and ports, the same on every node.
    #[default]
    Maglev,
    /// Of two by chance the one with fewer flows for its weight.
    LeastConnections,
    /// By chance.
    Random,
    /// By the hash of the client's address, the same on every node.
    SourceHash,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 4] = [Self::Maglev, Self::LeastConnections, Self::Random, Self::SourceHash];

    /// The word for it in manifests, tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Maglev => "maglev",
            Self::LeastConnections => "least-connections",
            Self::Random => "random",
            Self::SourceHash => "source-hash",
        }
    }

    /// The same flow chooses the same backend on every node.
    pub const fn is_by_hash(self) -> bool {
        matches!(self, Self::Maglev | Self::SourceHash)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Algorithm {
    type Err = String;

    /// The error is what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        known.ok_or_else(|| Self::ALL.map(Self::as_str).join(", "))
    }
}
