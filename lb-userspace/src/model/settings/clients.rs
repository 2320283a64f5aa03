//! Connections of clients. They hold for connections that are accepted after the change.

use serde::{Deserialize, Serialize};

/// What clients may do with their connections; what is not said holds as in [`crate::l7::guard::Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientSettings {
    /// Between two requests, in milliseconds; 0: a connection is for one request.
    pub idle: Option<u64>,
    /// Requests on one connection.
    pub requests: Option<u32>,
    /// From the first to the last byte of a head, in milliseconds.
    pub head: Option<u64>,
    /// Without a byte of a body, in milliseconds.
    pub body: Option<u64>,
    /// Bytes per second of a body or an answer; 0: any speed will do.
    pub rate: Option<u64>,
    /// Longest head, in bytes.
    pub head_size: Option<u32>,
    /// Longest line of a head, in bytes.
    pub line_size: Option<u32>,
    /// Most headers of a request.
    pub header_count: Option<u32>,
    /// Longest target of a request, in bytes.
    pub target_size: Option<u32>,
    /// Connections of one client; 0: any number.
    pub per_client: u32,
    /// Connections of clients on each core.
    pub per_core: Option<u32>,
    /// Streams that a client may give up on one connection in ten seconds.
    pub resets: u32,
    /// Frames in that time that bring nothing.
    pub control_frames: u32,
    /// For the handshake of TLS, in milliseconds.
    pub handshake: Option<u64>,
    /// How long requests may take when the front ends, in milliseconds.
    pub shutdown: Option<u64>,
    /// Headers with an underscore in their name count; else they are dropped like other odd ones.
    pub underscores: bool,
    /// Headers whose name has more than letters, digits and dashes are dropped.
    pub drop_odd_names: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        ClientSettings {
            idle: None,
            requests: None,
            head: None,
            body: None,
            rate: None,
            head_size: None,
            line_size: None,
            header_count: None,
            target_size: None,
            per_client: 0,
            per_core: None,
            resets: 200,
            control_frames: 2000,
            handshake: None,
            shutdown: None,
            underscores: false,
            drop_odd_names: true,
        }
    }
}

impl ClientSettings {
    /// A header of this name is passed on. The front's own `_` rules for names that pass for others hold besides.
    pub fn keeps_name(&self, name: &str) -> bool {
        !self.drop_odd_names
            || name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || (b == b'_' && self.underscores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_dropped_unless_they_are_asked_for() {
        let usual = ClientSettings::default();
        let underscores = ClientSettings { underscores: true, ..usual };
        let all = ClientSettings { drop_odd_names: false, ..usual };
        for (name, kept) in [("x-user", [true; 3]), ("x_user", [false, true, true]), ("x.user", [false, false, true])] {
            assert_eq!([usual, underscores, all].map(|settings| settings.keeps_name(name)), kept, "{name}");
        }
    }
}
