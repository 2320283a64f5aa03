//! The limits that hold for what comes from clients: whoever reaches one is counted under its name.

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// Headers of a request.
    HeaderCount,
    /// Bytes of a head, or of one line of it.
    HeaderSize,
    /// Bytes of what is asked for.
    UriLength,
    /// Time for the head of a request.
    HeadTime,
    /// Time without a part of a request's body.
    BodyTime,
    /// Bytes per second of a request's body.
    BodyRate,
    /// Time in which a client takes nothing of its answer.
    ReadTime,
    /// Bytes per second that a client takes of its answer.
    ReadRate,
    /// Bytes of a request's body.
    BodySize,
    /// Streams that the client of a connection gave up.
    Resets,
    /// Parts of a head on a connection of HTTP/2.
    Continuation,
    /// Frames on a connection of HTTP/2 that bring nothing.
    ControlFrames,
    /// Time for the handshake of TLS.
    Handshake,
    /// Time for the header of the PROXY protocol.
    ProxyHeader,
    /// Sockets for connections to backends.
    Upstreams,
    /// Streams that the client of a connection of HTTP/3 gave up.
    Http3Resets,
    /// Frames on a connection of HTTP/3 that bring nothing, and their bytes.
    Http3Frames,
    /// Connections of one client.
    ClientConnections,
    /// Connections of all clients; counted is how often they came to be as many.
    Connections,
}

impl Hit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Hit; 19] = [
        Hit::HeaderCount,
        Hit::HeaderSize,
        Hit::UriLength,
        Hit::HeadTime,
        Hit::BodyTime,
        Hit::BodyRate,
        Hit::ReadTime,
        Hit::ReadRate,
        Hit::BodySize,
        Hit::Resets,
        Hit::Continuation,
        Hit::ControlFrames,
        Hit::Handshake,
        Hit::ProxyHeader,
        Hit::Upstreams,
        Hit::Http3Resets,
        Hit::Http3Frames,
        Hit::ClientConnections,
        Hit::Connections,
    ];

    /// What the metric calls it.
    pub fn label(self) -> &'static str {
        match self {
            Hit::HeaderCount => "header_count",
            Hit::HeaderSize => "header_size",
            Hit::UriLength => "uri_length",
            Hit::HeadTime => "head_time",
            Hit::BodyTime => "body_time",
            Hit::BodyRate => "body_rate",
            Hit::ReadTime => "read_time",
            Hit::ReadRate => "read_rate",
            Hit::BodySize => "body_size",
            Hit::Resets => "http2_resets",
            Hit::Continuation => "http2_continuation",
            Hit::ControlFrames => "http2_control_frames",
            Hit::Handshake => "tls_handshake",
            Hit::ProxyHeader => "proxy_header",
            Hit::Upstreams => "upstream_connections",
            Hit::Http3Resets => "http3_resets",
            Hit::Http3Frames => "http3_frames",
            Hit::ClientConnections => "client_connections",
            Hit::Connections => "connections",
        }
    }

    /// The one with this number.
    pub fn numbered(number: usize) -> Option<Self> {
        Hit::ALL.get(number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_are_their_own() {
        for (number, hit) in Hit::ALL.into_iter().enumerate() {
            assert_eq!(hit as usize, number);
            assert_eq!(Hit::ALL.iter().filter(|other| other.label() == hit.label()).count(), 1, "{hit:?}");
        }
    }
}
