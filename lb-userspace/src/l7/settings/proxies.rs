//! What proxies in front of this one say about a request, if they are believed.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::l7::forward::{Ends, Told};
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

/// Only what could be true is believed: it is passed on to backends that build links of it.
fn told(headers: &HeaderMap) -> Told {
    let first = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A chain of proxies may have made a list of it; the first is what the client asked.
    let first = |name: &str| first(name).map(|list| list.split(',').next().unwrap_or(list).trim());
    let host = first("x-forwarded-host").filter(|host| crate::l7::host::split(host).is_some());
    let scheme = match first("x-forwarded-proto") {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => Some("https"),
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => Some("http"),
        _ => None,
    };
    let port = first("x-forwarded-port").and_then(|port| port.parse::<u16>().ok()).filter(|&port| port > 0);
    Told {
        host: host.and_then(|host| HeaderValue::try_from(host).ok()),
        scheme,
        port: port.or(scheme.map(|scheme| if scheme == "https" { 443 } else { 80 })),
        addresses: None,
    }
}
