//! The access log: which requests are in it, and what a line says of them.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::model::filters::{TemplateError, Variable, variable_name};

/// Longest format.
const MAX_LENGTH: usize = 16 * 1024;

/// What is logged of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogSettings {
    /// Nothing is.
    pub off: bool,
    /// Paths with their query, as sent, that are not.
    pub skip: Vec<String>,
    /// Those that no rule is for are not.
    pub skip_default: bool,
    /// What a line says; `None`: what [`crate::l7::access_log`] says, or everything if it is JSON.
    pub format: Option<LogFormat>,
    /// How values are written.
    pub escape: Escape,
    /// What a line about a connection of a TCP port says.
    pub stream: Option<LogFormat>,
}

/// How values are written. There is no way to write them as they came: clients would choose what the log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Escape {
    /// All but printable ASCII, quotes and backslashes as `\xHH`; nothing as `-`.
    #[default]
    Hex,
    /// As in strings of JSON (RFC 8259 section 7).
    Json,
}

impl LogSettings {
    /// A request for this target is logged.
    pub fn wants(&self, target: &str) -> bool {
        !self.off && !self.skip.iter().any(|skipped| skipped == target)
    }

    /// What a line says, if somebody has said so.
    pub fn line(&self) -> Option<&LogFormat> {
        match (&self.format, self.escape) {
            (Some(format), _) => Some(format),
            (None, Escape::Json) => Some(&EVERYTHING),
            (None, Escape::Hex) => None,
        }
    }
}

/// A line as JSON where nothing else is said.
static EVERYTHING: LazyLock<LogFormat> = LazyLock::new(|| {
    let numbers = ["status", "body_bytes_sent", "request_length", "request_time"];
    let texts = [
        "time_iso8601",
        "req_id",
        "remote_addr",
        "remote_user",
        "request_method",
        "scheme",
        "host",
        "request_uri",
        "server_protocol",
        "http_referer",
        "http_user_agent",
        "namespace",
        "ingress_name",
        "service_name",
        "service_port",
        "proxy_upstream_name",
        "proxy_alternative_upstream_name",
        "upstream_addr",
        "upstream_status",
        "upstream_response_length",
        "upstream_response_time",
    ];
    let texts = texts.map(|name| format!("\"{name}\": \"${name}\""));
    let numbers = numbers.map(|name| format!("\"{name}\": ${name}"));
    let members: Vec<_> = texts.into_iter().chain(numbers).collect();
    // All of these names are known.
    LogFormat::parse(&format!("{{{}}}", members.join(", "))).unwrap_or_default()
});

/// A line with variables, parsed once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFormat {
    parts: Vec<LogPart>,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// As it stands there.
    Text(String),
    /// What templates know as well.
    Request(Variable),
    /// What only the log knows.
    Log(LogVariable),
}

macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What a line of the log can name beside the variables of templates.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum LogVariable {
            $($(#[doc = $doc])+ $variant,)+
            /// A header of the answer: `$sent_http_content_type`.
            Sent(String),
        }

        impl LogVariable {
            fn fixed(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for LogVariable {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str(concat!("${", $name, "}")),)+
                    Self::Sent(name) => write!(f, "${{sent_http_{}}}", name.replace('-', "_")),
                }
            }
        }
    };
}

variables! {
    /// The request line.
    Request = "request",
    /// Bytes of the request, head and body.
    RequestLength = "request_length",
    /// Seconds from the head of the request to the end of the answer.
    RequestTime = "request_time",
    /// The version of HTTP that the client speaks.
    ServerProtocol = "server_protocol",
    /// Status of the answer.
    Status = "status",
    /// Bytes of the answer's body.
    BodyBytesSent = "body_bytes_sent",
    /// Bytes of the answer, its head counted as HTTP/1.1 has it.
    BytesSent = "bytes_sent",
    /// The time as `20/Nov/2026:18:26:19 +0000`.
    TimeLocal = "time_local",
    /// The time as `2026-11-20T18:26:19+00:00`.
    TimeIso8601 = "time_iso8601",
    /// Seconds since 1970, with milliseconds.
    Msec = "msec",
    /// Endpoints that were tried.
    UpstreamAddr = "upstream_addr",
    /// What they answered.
    UpstreamStatus = "upstream_status",
    /// Seconds until each connection stood.
    UpstreamConnectTime = "upstream_connect_time",
    /// Seconds until each answered.
    UpstreamHeaderTime = "upstream_header_time",
    /// Seconds until the end of each answer.
    UpstreamResponseTime = "upstream_response_time",
    /// Bytes of the bodies of these answers.
    UpstreamResponseLength = "upstream_response_length",
    /// `namespace-service-port` of the rule.
    ProxyUpstreamName = "proxy_upstream_name",
    /// The same of the canary that took the request.
    ProxyAlternativeUpstreamName = "proxy_alternative_upstream_name",
    /// The address at the other end of the connection, or that the PROXY protocol told of.
    ProxyProtocolAddr = "proxy_protocol_addr",
    /// The version of TLS.
    SslProtocol = "ssl_protocol",
    /// The suite of TLS, by OpenSSL's name.
    SslCipher = "ssl_cipher",
    /// The name in the handshake of TLS.
    SslServerName = "ssl_server_name",
    /// The trace of W3C's traceparent.
    TraceId = "opentelemetry_trace_id",
    /// The span of W3C's traceparent.
    SpanId = "opentelemetry_span_id",
    /// Of a connection of a TCP port: its protocol.
    Protocol = "protocol",
    /// Of such a connection: bytes from the client.
    BytesReceived = "bytes_received",
    /// Of such a connection: how long it was open, in seconds.
    SessionTime = "session_time",
    /// Of such a connection: bytes to the endpoint.
    UpstreamBytesSent = "upstream_bytes_sent",
    /// Of such a connection: bytes from the endpoint.
    UpstreamBytesReceived = "upstream_bytes_received",
}

/// Other names of variables.
const ALSO: [(&str, &str); 5] = [
    ("req_id", "request_id"),
    ("the_real_ip", "remote_addr"),
    ("server_name", "host"),
    ("content_type", "http_content_type"),
    ("content_length", "http_content_length"),
];

impl LogFormat {
    /// Parses `$remote_addr [$time_local] ...`. Ends of lines become spaces: a request has one line.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_LENGTH {
            return Err(TemplateError::Long);
        }
        let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut format = LogFormat::default();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            format.push_text(before);
            let (name, behind) = variable_name(after).ok_or(TemplateError::NoName)?;
            format.parts.push(part(name)?);
            rest = behind;
        }
        format.push_text(rest);
        Ok(format)
    }

    /// The same for lines about connections of TCP ports, which have no requests.
    pub fn parse_stream(text: &str) -> Result<Self, TemplateError> {
        Self::parse_of(text, is_of_stream)
    }

    /// The same for lines about requests.
    pub fn parse_request(text: &str) -> Result<Self, TemplateError> {
        Self::parse_of(text, is_of_request)
    }

    fn parse_of(text: &str, has: fn(&LogPart) -> bool) -> Result<Self, TemplateError> {
        let format = Self::parse(text)?;
        match format.parts.iter().find(|part| !has(part)) {
            Some(unknown) => Err(TemplateError::Unknown(unknown.to_string().replace(['$', '{', '}'], ""))),
            None => Ok(format),
        }
    }

    /// Its parts in their order.
    pub fn parts(&self) -> &[LogPart] {
        &self.parts
    }

    fn push_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.parts.push(LogPart::Text(text.to_owned()));
        }
    }
}

fn part(name: &str) -> Result<LogPart, TemplateError> {
    let name = ALSO.iter().find(|(also, _)| *also == name).map_or(name, |(_, name)| *name);
    if let Some(own) = LogVariable::fixed(name) {
        return Ok(LogPart::Log(own));
    }
    match name.strip_prefix("sent_http_").filter(|header| !header.is_empty()) {
        Some(header) => Ok(LogPart::Log(LogVariable::Sent(header.to_ascii_lowercase().replace('_', "-")))),
        None => Variable::parse(name).map(LogPart::Request),
    }
}

fn is_of_request(part: &LogPart) -> bool {
    use LogVariable::{BytesReceived, Protocol, SessionTime, UpstreamBytesReceived, UpstreamBytesSent};
    let of_streams_only = [Protocol, BytesReceived, SessionTime, UpstreamBytesReceived, UpstreamBytesSent];
    !matches!(part, LogPart::Log(variable) if of_streams_only.contains(variable))
}

fn is_of_stream(part: &LogPart) -> bool {
    use LogVariable as Log;
    match part {
        LogPart::Text(_) => true,
        LogPart::Request(variable) => [
            Variable::RemoteAddr,
            Variable::BinaryRemoteAddr,
            Variable::RemotePort,
            Variable::ServerAddr,
            Variable::ServerPort,
        ]
        .contains(variable),
        LogPart::Log(Log::Status | Log::BytesSent | Log::TimeLocal | Log::TimeIso8601 | Log::Msec) => true,
        LogPart::Log(Log::UpstreamAddr | Log::UpstreamConnectTime | Log::ProxyProtocolAddr) => true,
        part => !is_of_request(part),
    }
}

impl fmt::Display for LogPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogPart::Text(text) => f.write_str(text),
            LogPart::Request(variable) => write!(f, "{variable}"),
            LogPart::Log(variable) => write!(f, "{variable}"),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| write!(f, "{part}"))
    }
}

impl From<LogFormat> for String {
    fn from(format: LogFormat) -> Self {
        format.to_string()
    }
}

impl TryFrom<String> for LogFormat {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ingress-nginx writes where nothing else is said.
    const USUAL: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id"#;

    #[test]
    fn formats_survive_their_journey() {
        let stream = "[$remote_addr] [$time_local] $protocol $status $bytes_sent $bytes_received $session_time";
        for text in [USUAL, stream, "$sent_http_content_type ${host}x", "", "{\"a\": \"$time_iso8601\"}"] {
            let format = LogFormat::parse(text).expect(text);
            assert_eq!(LogFormat::parse(&format.to_string()), Ok(format), "{text}");
        }
        assert_eq!(
            LogFormat::parse("a\n  $status\r\n").map(|format| format.to_string()),
            Ok("a   ${status}".to_owned())
        );
        let json = LogSettings { escape: Escape::Json, ..LogSettings::default() };
        assert!(json.line().is_some_and(|format| format.parts().len() > 40) && LogSettings::default().line().is_none());
    }

    #[test]
    fn unknown_variables_are_named() {
        let stream = |text| LogFormat::parse_stream(text).map(drop);
        assert_eq!(stream("$protocol $bytes_received $remote_addr"), Ok(()));
        assert_eq!(stream("$request"), Err(TemplateError::Unknown("request".into())));
        assert_eq!(LogFormat::parse_request("$session_time"), Err(TemplateError::Unknown("session_time".into())));
        for (text, expected) in [
            ("$remote_addr $geoip_city", TemplateError::Unknown("geoip_city".into())),
            ("$sent_http_", TemplateError::Unknown("sent_http_".into())),
            ("100$", TemplateError::NoName),
        ] {
            assert_eq!(LogFormat::parse(text), Err(expected), "{text}");
        }
    }
}
