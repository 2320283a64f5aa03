//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>): what a proxy
//! writes at the beginning of a connection, to say whose it is.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end.
const MAX_LINE: usize = 107;
/// Longest part of version 2 that is read: addresses and what may be told beside them.
const MAX_TOLD: usize = 4096;

/// Which version is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Both ends of the connection that a proxy speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The client.
    pub client: SocketAddr,
    /// Where it arrived.
    pub front: SocketAddr,
}

/// Why a connection cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ProxyProtocolError {
    /// It ended, or broke.
    #[error("the connection ended in its PROXY header")]
    Io(#[from] std::io::Error),
    /// It does not begin with the protocol.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// It does, but wrongly.
    #[error("the PROXY header is malformed")]
    Malformed,
}

/// Reads the header, and not a byte behind it. `None`: the proxy speaks for itself, or cannot say for whom.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Told>, ProxyProtocolError> {
    // The shortest header of either version is longer than that.
    let mut first = [0; SIGNATURE.len()];
    stream.read_exact(&mut first).await?;
    if first == SIGNATURE {
        return read_v2(stream).await;
    }
    if !first.starts_with(b"PROXY ") {
        return Err(ProxyProtocolError::Missing);
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(ProxyProtocolError::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| ProxyProtocolError::Malformed)?;
    parse_v1(line.trim_end_matches("\r\n")).ok_or(ProxyProtocolError::Malformed)
}

/// Inside, `None` is what the proxy does not know.
fn parse_v1(line: &str) -> Option<Option<Told>> {
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (client, front): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (client_port, front_port) = (port(words.next()?)?, port(words.next()?)?);
    let right = match family {
        "TCP4" => client.is_ipv4() && front.is_ipv4(),
        "TCP6" => client.is_ipv6() && front.is_ipv6(),
        _ => false,
    };
    let told = Told { client: (client, client_port).into(), front: (front, front_port).into() };
    (right && words.next().is_none()).then_some(Some(told))
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Told>, ProxyProtocolError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version_and_command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version_and_command >> 4 != 2 || length > MAX_TOLD {
        return Err(ProxyProtocolError::Malformed);
    }
    let mut told = vec![0; length];
    stream.read_exact(&mut told).await?;
    match (version_and_command & 15, family) {
        // LOCAL: a health check of the proxy's own.
        (0, _) => Ok(None),
        (1, 0x11) => addresses::<4>(&told).map(Some),
        (1, 0x21) => addresses::<16>(&told).map(Some),
        // Families that no client here can have are not told of.
        (1, _) => Ok(None),
        _ => Err(ProxyProtocolError::Malformed),
    }
}

/// Two addresses of N bytes, then two ports.
fn addresses<const N: usize>(told: &[u8]) -> Result<Told, ProxyProtocolError>
where
    [u8; N]: IntoAddress,
{
    let address = |at: usize| {
        let bytes: [u8; N] = told.get(at..at + N)?.try_into().ok()?;
        Some(bytes.into_address())
    };
    let port = |at: usize| Some(u16::from_be_bytes(told.get(at..at + 2)?.try_into().ok()?));
    let both = || {
        let client = SocketAddr::new(address(0)?, port(2 * N)?);
        Some(Told { client, front: SocketAddr::new(address(N)?, port(2 * N + 2)?) })
    };
    both().ok_or(ProxyProtocolError::Malformed)
}

trait IntoAddress {
    fn into_address(self) -> IpAddr;
}

impl IntoAddress for [u8; 4] {
    fn into_address(self) -> IpAddr {
        Ipv4Addr::from(self).into()
    }
}

impl IntoAddress for [u8; 16] {
    fn into_address(self) -> IpAddr {
        Ipv6Addr::from(self).into()
    }
}

/// The header that says whose a connection is.
pub fn write(version: Version, told: Told) -> Vec<u8> {
    let (client, front) = (canonical(told.client), canonical(told.front));
    if client.ip().is_unspecified() {
        return of_nobody(version);
    }
    match version {
        Version::V1 => write_v1(client, front),
        Version::V2 => write_v2(client, front),
    }
}

/// The connection is the proxy's own.
fn of_nobody(version: Version) -> Vec<u8> {
    match version {
        Version::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        // The command LOCAL, without addresses.
        Version::V2 => [SIGNATURE.as_slice(), &[0x20, 0, 0, 0]].concat(),
    }
}

fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

fn write_v1(client: SocketAddr, front: SocketAddr) -> Vec<u8> {
    let family = match (client.is_ipv4(), front.is_ipv4()) {
        (true, true) => "TCP4",
        (false, false) => "TCP6",
        _ => return b"PROXY UNKNOWN\r\n".to_vec(),
    };
    let mut line = String::with_capacity(MAX_LINE);
    // Writing to a String does not fail.
    let _ = write!(line, "PROXY {family} {} {} {} {}\r\n", client.ip(), front.ip(), client.port(), front.port());
    line.into_bytes()
}

fn write_v2(client: SocketAddr, front: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let mut told = Vec::new();
    let family = match (client.ip(), front.ip()) {
        (IpAddr::V4(client), IpAddr::V4(front)) => {
            told.extend(client.octets().into_iter().chain(front.octets()));
            0x11
        }
        (client, front) => {
            let v6 = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            told.extend(v6(client).octets().into_iter().chain(v6(front).octets()));
            0x21
        }
    };
    told.extend(client.port().to_be_bytes().into_iter().chain(front.port().to_be_bytes()));
    // At most 36 bytes.
    header.extend([0x21, family, 0, told.len() as u8]);
    header.extend(told);
    header
}

#[cfg(test)]
mod tests;
