//! Who is served nothing at all.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Requests that get 403 whatever they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Blocked {
    /// Of these clients.
    pub clients: Vec<IpNet>,
    /// With one of these in `User-Agent`.
    pub user_agents: Vec<TextMatch>,
    /// With one of these in `Referer`.
    pub referers: Vec<TextMatch>,
}

/// Which texts are meant, as nginx's `map` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TextMatch {
    /// This text, whatever the case.
    Text(String),
    /// `~`: texts in which the expression matches.
    Pattern(String),
    /// `~*`: the same, whatever the case.
    AnyCase(String),
}

impl Blocked {
    /// Nobody.
    pub fn is_empty(&self) -> bool {
        *self == Blocked::default()
    }

    /// The client is served nothing.
    pub fn has_client(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.clients.iter().any(|network| network.contains(&client))
    }
}
