//! How an endpoint is chosen.

use serde::{Deserialize, Serialize};

use super::Template;

/// How an endpoint is chosen; what is said here goes before round robin. Affinity is stronger than a hash, and that than
/// an algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Balance {
    /// For requests that nothing ties to an endpoint.
    pub algorithm: Algorithm,
    /// Requests with the same value go to the same endpoint.
    pub hash: Option<HashBy>,
    /// Clients keep their endpoint by a cookie.
    pub affinity: Option<Box<Affinity>>,
    /// An endpoint that is new takes less for so long, in milliseconds; 0: it does not.
    pub slow_start: u64,
}

impl Balance {
    /// In a few words.
    pub fn label(&self) -> String {
        match (&self.affinity, &self.hash, self.algorithm) {
            (Some(affinity), ..) => format!("affinity {}", affinity.name),
            (None, Some(hash), _) => format!("hash {}", hash.key),
            (None, None, Algorithm::RoundRobin) => "round-robin".to_owned(),
            (None, None, Algorithm::Ewma) => "ewma".to_owned(),
            (None, None, Algorithm::LeastConnections) => "least-connections".to_owned(),
        }
    }
}

/// How an endpoint is chosen for requests that nothing ties to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Algorithm {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The better of two at random, by how long answers take and how many are awaited.
    Ewma,
    /// The one with the fewest requests in flight.
    LeastConnections,
}

/// Choice by a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashBy {
    /// What is hashed.
    pub key: Template,
    /// The hash chooses a group of so many endpoints, which take turns.
    pub subset: Option<u32>,
}

/// A cookie that keeps a client with an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Affinity {
    /// Name of the cookie.
    pub name: String,
    /// Clients stay until their endpoint is gone, instead of being spread anew when endpoints are added.
    pub persistent: bool,
    /// What follows the value, from its first semicolon on, but for what depends on the request.
    pub attributes: String,
    /// Its Path; `None`: the path of the rule.
    pub path: Option<String>,
    /// Seconds until it expires, for browsers that do not know Max-Age.
    pub expires: Option<u64>,
    /// Its Secure; `None`: if the client speaks TLS.
    pub secure: Option<bool>,
    /// Its SameSite.
    pub same_site: Option<SameSite>,
    /// `SameSite=None` is left out for browsers that take it for `Strict`.
    pub conditional: bool,
    /// A client whose endpoint failed is told another one.
    pub change_on_failure: bool,
    /// Keys the hashes in cookies, so that nobody outside can tell what they stand for.
    pub key: [u64; 2],
}

/// Values of SameSite (draft-ietf-httpbis-rfc6265bis, section 5.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SameSite {
    /// Sent from everywhere.
    None,
    /// Sent with navigation.
    Lax,
    /// Sent from the site itself only.
    Strict,
}

impl SameSite {
    /// As cookies write it.
    pub fn text(self) -> &'static str {
        match self {
            SameSite::None => "None",
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
        }
    }
}
