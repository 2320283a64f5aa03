//! Texts with variables, as the dialect of ingress-nginx writes them: `https://$host$request_uri`.
//!
//! A template is parsed once, into fixed text and variables out of a closed list. Nothing in it is ever interpreted: a
//! variable's value is put in as it is, and variables in values mean nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest template.
const MAX_LENGTH: usize = 4096;

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Text(String),
    Variable(Variable),
}

macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What a template can name.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Variable {
            $($(#[doc = $doc])+ $variant,)+
            /// A header of the request, in lower case and with dashes: `$http_x_user`.
            Header(String),
            /// A cookie of the request: `$cookie_name`.
            Cookie(String),
            /// A parameter of the query, as sent: `$arg_name`.
            Parameter(String),
        }

        impl Variable {
            fn fixed(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn fixed_name(&self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Header(_) => "http_",
                    Self::Cookie(_) => "cookie_",
                    Self::Parameter(_) => "arg_",
                }
            }
        }

        /// The names of variables without a part of their own.
        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),+];
    };
}

variables! {
    /// `http` or `https`, as the client speaks to the front or to a trusted proxy before it.
    Scheme = "scheme",
    /// The host that the request names, in lower case and without a port.
    Host = "host",
    /// The host that the request names, as sent.
    HttpHost = "http_host",
    /// The same; nginx has a fallback for requests without one.
    BestHttpHost = "best_http_host",
    /// Path and query as sent.
    RequestUri = "request_uri",
    /// The same, percent-encoded for use inside a query.
    EscapedRequestUri = "escaped_request_uri",
    /// The path in canonical form.
    Uri = "uri",
    /// The query as sent, without its `?`.
    Args = "args",
    /// The same.
    QueryString = "query_string",
    /// `?` if there is a query.
    IsArgs = "is_args",
    /// The client's address.
    RemoteAddr = "remote_addr",
    /// The same; nginx has it as four bytes, which only matters as a key.
    BinaryRemoteAddr = "binary_remote_addr",
    /// The client's port.
    RemotePort = "remote_port",
    /// Who the client says to be, by basic authentication.
    RemoteUser = "remote_user",
    /// The method.
    RequestMethod = "request_method",
    /// The port at which the client arrived.
    ServerPort = "server_port",
    /// The address at which the client arrived.
    ServerAddr = "server_addr",
    /// The id of the request.
    RequestId = "request_id",
    /// The namespace of the Ingress.
    Namespace = "namespace",
    /// The name of the Ingress.
    IngressName = "ingress_name",
    /// The name of the Service.
    ServiceName = "service_name",
    /// The port of the Service.
    ServicePort = "service_port",
}

/// Where values come from.
pub trait Variables {
    /// Appends the value; nothing if there is none.
    fn append(&self, variable: &Variable, to: &mut String);
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A variable that is not in the list.
    #[error("there is no variable ${0}")]
    Unknown(String),
    /// `${` without its end, or `$` without a name.
    #[error("a $ without a name")]
    NoName,
    /// A control character, which no header can carry.
    #[error("a control character")]
    Control,
    /// Too long.
    #[error("longer than {MAX_LENGTH} bytes")]
    Long,
}

impl Template {
    /// Parses `text $name text ${name}text`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_LENGTH {
            return Err(TemplateError::Long);
        }
        if text.chars().any(char::is_control) {
            return Err(TemplateError::Control);
        }
        let mut template = Template::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            template.push_text(before);
            let (name, behind) = variable_name(after).ok_or(TemplateError::NoName)?;
            template.parts.push(Part::Variable(Variable::parse(name)?));
            rest = behind;
        }
        template.push_text(rest);
        Ok(template)
    }

    /// No variable stands in the host and port of this URL.
    pub fn names_host(&self) -> bool {
        let mut inside = false;
        for part in &self.parts {
            let text = match part {
                Part::Variable(_) if inside => return false,
                Part::Variable(_) => continue,
                Part::Text(text) if inside => text,
                Part::Text(text) => match text.split_once("://") {
                    Some((_, behind)) => behind,
                    None => continue,
                },
            };
            if text.contains(['/', '?']) {
                return true;
            }
            inside = true;
        }
        inside
    }

    /// The text with values in the place of variables.
    pub fn expand(&self, variables: &impl Variables) -> String {
        let mut expanded = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => expanded.push_str(text),
                Part::Variable(variable) => variables.append(variable, &mut expanded),
            }
        }
        expanded
    }

    /// The text before the first variable.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// There is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The variables in it, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    fn push_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.parts.push(Part::Text(text.to_owned()));
        }
    }
}

/// The name behind a `$`, and what follows it.
pub fn variable_name(after: &str) -> Option<(&str, &str)> {
    if let Some(braced) = after.strip_prefix('{') {
        return braced.split_once('}').filter(|(name, _)| !name.is_empty());
    }
    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
    (end > 0).then(|| after.split_at(end))
}

impl Variable {
    /// The variable of a name, without the `$`.
    pub fn parse(name: &str) -> Result<Self, TemplateError> {
        if let Some(fixed) = Self::fixed(name) {
            return Ok(fixed);
        }
        let (kind, rest) = name.split_once('_').filter(|(_, rest)| !rest.is_empty()).unwrap_or((name, ""));
        match kind {
            "http" if !rest.is_empty() => Ok(Self::Header(rest.to_ascii_lowercase().replace('_', "-"))),
            "cookie" if !rest.is_empty() => Ok(Self::Cookie(rest.to_owned())),
            "arg" if !rest.is_empty() => Ok(Self::Parameter(rest.to_owned())),
            _ => Err(TemplateError::Unknown(name.to_owned())),
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{{}", self.fixed_name())?;
        match self {
            Self::Header(name) => write!(f, "{}}}", name.replace('-', "_")),
            Self::Cookie(name) | Self::Parameter(name) => write!(f, "{name}}}"),
            _ => f.write_str("}"),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Variable(variable) => write!(f, "{variable}"),
        })
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.to_string()
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names;

    impl Variables for Names {
        fn append(&self, variable: &Variable, to: &mut String) {
            to.push_str(&format!("<{variable}>"));
        }
    }

    #[test]
    fn variables_are_found() {
        for (text, expected) in [
            ("/x", "/x"),
            ("https://$host$request_uri", "https://<${host}><${request_uri}>"),
            ("${host}name", "<${host}>name"),
            ("$http_x_user-$cookie_Sid.$arg_q", "<${http_x_user}>-<${cookie_Sid}>.<${arg_q}>"),
            ("", ""),
        ] {
            let template = Template::parse(text).expect(text);
            assert_eq!(template.expand(&Names), expected, "{text}");
            assert_eq!(Template::parse(&template.to_string()), Ok(template), "{text}");
        }
    }

    #[test]
    fn hosts_of_urls() {
        for (text, names) in [
            ("http://a.example", true),
            ("$scheme://a.example:80/$host", true),
            ("http://a.example?$args", true),
            ("http://$host/x", false),
            ("http://a.$namespace.svc/x", false),
            ("http://a:$service_port", false),
            ("$host", false),
        ] {
            assert_eq!(Template::parse(text).expect(text).names_host(), names, "{text}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, expected) in [
            ("$nope", TemplateError::Unknown("nope".into())),
            ("$lua_x", TemplateError::Unknown("lua_x".into())),
            ("$http_", TemplateError::Unknown("http_".into())),
            ("a$", TemplateError::NoName),
            ("${host", TemplateError::NoName),
            ("a\r\nb", TemplateError::Control),
        ] {
            assert_eq!(Template::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn every_listed_name_is_a_variable() {
        for name in NAMES {
            let variable = Variable::parse(name).expect(name);
            assert_eq!(variable.fixed_name(), *name);
        }
    }
}
