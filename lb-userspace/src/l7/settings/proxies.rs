//! What proxies in front of this one say about a request, if they are believed.

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use crate::l7::forward::{Ends, Told};
use crate::l7::forwarded::{self, Element};
use crate::model::settings::ForwardedSettings;

/// The ends of one request.
pub(super) fn ends(
    settings: &ForwardedSettings,
    header: &HeaderName,
    ends: &Ends,
    headers: &HeaderMap,
) -> Option<Ends> {
    if !settings.address || !settings.trusts(ends.client.ip()) {
        return None;
    }
    if *header == FORWARDED {
        return Some(by_forwarded(settings, ends, headers));
    }
    let values = || headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    let addresses: Vec<_> = values().flat_map(|list| list.split(',')).collect();
    let mut ends = match settings.client_in(addresses.into_iter()) {
        Some(address) => ends.of_client(address),
        None => ends.clone(),
    };
    let list = values().collect::<Vec<_>>().join(", ");
    ends.told = Told {
        addresses: (settings.append && !list.is_empty()).then(|| HeaderValue::try_from(list).ok()).flatten(),
        ..if settings.request { told(headers) } else { Told::default() }
    };
    Some(ends)
}

/// The same by RFC 7239: host and scheme are those of the element that names the client, which the proxy next to the client
/// has written, and never of one before it.
fn by_forwarded(settings: &ForwardedSettings, ends: &Ends, headers: &HeaderMap) -> Ends {
    let values: Vec<_> = headers.get_all(FORWARDED).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    let list = values.join(", ");
    let elements = forwarded::parse(&list);
    let clients = || elements.iter().map(|element| element.client.as_deref().unwrap_or_default());
    let Some(client) = settings.client_in(clients()) else { return ends.clone() };
    let mut told = ends.of_client(client);
    let element =
        elements.iter().rfind(|element| element.client.as_deref().and_then(|text| text.parse().ok()) == Some(client));
    told.told = match element.filter(|_| settings.request) {
        Some(Element { host, scheme, .. }) => believed(host.as_deref(), scheme.as_deref(), None),
        None => Told::default(),
    };
    told.told.elements = HeaderValue::try_from(list).ok().filter(|_| settings.append);
    told
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
