//! Who is served: by user and password.

use serde::{Deserialize, Serialize};

/// Basic authentication (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// What browsers show.
    pub realm: String,
    /// Whose users: `namespace/name` of a Secret, and behind `#` the form that it is read in.
    pub users: String,
}
