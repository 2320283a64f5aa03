//! What proxies in front of this one say about a request, if they are believed.

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use crate::l7::forward::{Ends, Told};
use crate::l7::forwarded::{self, Element};
use crate::model::settings::{ForwardedSettings, address};

/// A proxy that is believed tells of a client, and not who it is. Its own address must not stand for the client's: it may go
/// where clients may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header that tells who the client is cannot be read")]
pub struct NoClient;

/// The ends of one request.
pub(super) fn ends(
    settings: &ForwardedSettings,
    header: &HeaderName,
    ends: &Ends,
    headers: &HeaderMap,
) -> Result<Option<Ends>, NoClient> {
    if !settings.address || !settings.trusts(ends.client.ip()) {
        return Ok(None);
    }
    let lines: Vec<_> = headers.get_all(header).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        let mut ends = ends.clone();
        if settings.request && *header != FORWARDED {
            ends.told = told(headers);
        }
        return Ok(Some(ends));
    }
    if *header == FORWARDED {
        return by_forwarded(settings, ends, &lines).map(Some);
    }
    let texts: Vec<_> = lines.iter().flat_map(|line| line.split(|&byte| byte == b',')).collect();
    let addresses = texts.iter().map(|text| address(std::str::from_utf8(text).ok()?));
    let mut ends = ends.of_client(settings.client_in(addresses).ok_or(NoClient)?);
    let list = lines.join(&b", "[..]);
    ends.told = Told {
        addresses: settings.append.then(|| HeaderValue::from_bytes(&list)).and_then(Result::ok),
        ..if settings.request { told(headers) } else { Told::default() }
    };
    Ok(Some(ends))
}

/// The same by RFC 7239: host and scheme are those of the element that names the client, which the proxy next to the client
/// has written, and never of one before it.
fn by_forwarded(settings: &ForwardedSettings, ends: &Ends, lines: &[&[u8]]) -> Result<Ends, NoClient> {
    let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
    let parsed: Vec<_> = lines.iter().map(|line| forwarded::parse(line)).collect();
    let elements: Vec<_> = parsed.iter().flatten().map(Option::as_ref).collect();
    let client_of = |element: &&Element| element.client.as_deref().and_then(|text| text.parse().ok());
    let clients = elements.iter().map(|element| element.as_ref().and_then(client_of));
    let client = settings.client_in(clients).ok_or(NoClient)?;
    let mut told = ends.of_client(client);
    let element = elements.iter().flatten().rfind(|element| client_of(element) == Some(client));
    told.told = match element.filter(|_| settings.request) {
        Some(Element { host, scheme, .. }) => believed(host.as_deref(), scheme.as_deref(), None),
        None => Told::default(),
    };
    // A quote that is not closed would hide what is added after it from backends as well.
    let good = parsed.iter().rposition(|line| line.contains(&None)).map_or(0, |bad| bad + 1);
    let list = lines[good..].join(", ");
    told.told.elements = HeaderValue::try_from(list).ok().filter(|list| settings.append && !list.is_empty());
    Ok(told)
}

/// Only what could be true is believed: it is passed on to backends that build links of it.
fn told(headers: &HeaderMap) -> Told {
    let first = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A chain of proxies may have made a list of it; the first is what the client asked.
    let first = |name: &str| first(name).map(|list| list.split(',').next().unwrap_or(list).trim());
    let port = first("x-forwarded-port").and_then(|port| port.parse().ok());
    believed(first("x-forwarded-host"), first("x-forwarded-proto"), port)
}

fn believed(host: Option<&str>, scheme: Option<&str>, port: Option<u16>) -> Told {
    let host = host.filter(|host| crate::l7::host::split(host).is_some());
    let scheme = match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => Some("https"),
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => Some("http"),
        _ => None,
    };
    let port = port.filter(|&port| port > 0);
    Told {
        host: host.and_then(|host| HeaderValue::try_from(host).ok()),
        scheme,
        port: port.or(scheme.map(|scheme| if scheme == "https" { 443 } else { 80 })),
        ..Told::default()
    }
}
