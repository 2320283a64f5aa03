//! Reading the values of flags: each mistake is kept, with the flag, the value and what would be right.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

/// The command line has mistakes: all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// In the order of the flags.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

/// One value that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The flag, with its dashes.
    pub flag: &'static str,
    /// What was given.
    pub value: String,
    /// What would be right.
    pub expected: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}': expected {}", self.flag, self.value, self.expected)
    }
}

/// Reads values and keeps the mistakes.
#[derive(Debug, Default)]
pub(super) struct Flags {
    mistakes: Vec<Mistake>,
}

impl Flags {
    /// Reads one value; the reader's error is what would be right.
    pub(super) fn one<T>(
        &mut self,
        flag: &'static str,
        text: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        read(text).map_err(|expected| self.mistake(flag, text, &expected)).ok()
    }

    /// Reads the value of a flag that may be left out.
    pub(super) fn maybe<T>(
        &mut self,
        flag: &'static str,
        text: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        text.and_then(|text| self.one(flag, text, read))
    }

    /// Reads every value of a repeatable flag.
    pub(super) fn each<T>(
        &mut self,
        flag: &'static str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        texts.iter().filter_map(|text| self.one(flag, text, &read)).collect()
    }

    pub(super) fn mistake(&mut self, flag: &'static str, value: &str, expected: &str) {
        self.mistakes.push(Mistake { flag, value: value.to_owned(), expected: expected.to_owned() });
    }

    /// The mistakes, where nothing can be made of what was given.
    pub(super) fn into_error(self) -> ConfigError {
        ConfigError { mistakes: self.mistakes }
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.mistakes.is_empty() { Ok(value) } else { Err(ConfigError { mistakes: self.mistakes }) }
    }
}

/// A type whose own `FromStr` tells what would be right.
pub(super) fn parsed<T: FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse()
}

pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "an IPv4 or IPv6 address, such as 10.0.0.1 or 2001:db8::1".to_owned())
}

/// An address of this node's own that others can answer to.
pub(super) fn own_address(text: &str) -> Result<IpAddr, String> {
    let address = address(text)?;
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local {
        return Err("an address that other machines can reach, such as 10.0.0.1 or 2001:db8::1".to_owned());
    }
    Ok(address)
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "ADDRESS:PORT, such as 127.0.0.1:10254 or [::1]:10254".to_owned())
}

/// A network; host bits are cut off, as `ip route` would refuse them but people write them.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| "a network, such as 10.1.0.0/16 or 2001:db8::/32".to_owned())?;
    Ok(net.trunc())
}

/// The rule of the kernel's `dev_valid_name`.
pub(super) fn interface(text: &str) -> Result<String, String> {
    let bad = |c: char| c.is_whitespace() || c == '/' || c == ':';
    let valid = !text.is_empty() && text.len() < 16 && text != "." && text != ".." && !text.contains(bad);
    if valid { Ok(text.to_owned()) } else { Err("the name of an interface, such as eth0".to_owned()) }
}

/// What an agent does that was replaced.
pub(super) fn stands_by(text: &str) -> Result<bool, String> {
    match text {
        "end" => Ok(false),
        "stand-by" => Ok(true),
        _ => Err("end or stand-by".to_owned()),
    }
}

/// A number, decimal or with 0x.
pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

pub(super) fn port_or_off(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port from 1 to 65535, or 0 to switch it off".to_owned())
}

/// `NS/NAME`.
pub(super) fn object_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if is_name(namespace) && is_name(name) => Ok((namespace.to_owned(), name.to_owned())),
        _ => Err("NAMESPACE/NAME, such as default/my-service".to_owned()),
    }
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !text.contains(char::is_whitespace) => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("a label KEY=VALUE, such as app.kubernetes.io/name=weir".to_owned()),
    }
}

/// A name as Kubernetes takes it (RFC 1123 subdomain): what no object can be called never matches one.
pub(super) fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= 253 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|&b| inner(b))
}
