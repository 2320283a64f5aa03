//! Keys about connections to backends.

use super::{Key, applied};
use crate::translate::ingress::dialect::value;

pub(super) const KEYS: &[Key] = &[
    applied(
        "upstream-keepalive-connections",
        "number",
        "64",
        "Most idle connections to one endpoint, of each core; 0: none.",
        "There to all endpoints of a Service together, and 320.",
        |settings, text| value::number(text, 0..=1_000_000).map(|count| settings.upstreams.idle = Some(count)),
    ),
    applied(
        "upstream-keepalive-timeout",
        "seconds",
        "50",
        "How long a connection may be idle.",
        "The default there is 60, which is when many backends close theirs.",
        |settings, text| value::duration(text).map(|time| settings.upstreams.idle_time = Some(time)),
    ),
    applied(
        "upstream-keepalive-timeout-non-idempotent",
        "time",
        "1s",
        "How long a connection may have been idle for a request that must not be sent twice (POST, or a body); 0: each gets a \
         connection of its own, so that no endpoint can close one under it.",
        "ingress-nginx does not have it.",
        |settings, text| value::duration(text).map(|time| settings.upstreams.idle_time_once = Some(time)),
    ),
    applied(
        "upstream-keepalive-time",
        "time",
        "1h",
        "How old a connection may be when it is used again.",
        "",
        |settings, text| value::duration(text).map(|time| settings.upstreams.age = Some(time)),
    ),
    applied("upstream-keepalive-requests", "number", "10000", "Requests on one connection.", "", |settings, text| {
        value::number(text, 1..=1_000_000_000).map(|count| settings.upstreams.requests = Some(count))
    }),
    applied(
        "retry-non-idempotent",
        "flag",
        "false",
        "Whether requests that may have been seen are sent again, even POST and the like.",
        "Only without a body; one with a body that is gone is never sent again.",
        |settings, text| value::flag(text).map(|on| settings.upstreams.retry_all = on),
    ),
    applied(
        "disable-ipv6-dns",
        "flag",
        "false",
        "Whether names of ExternalName Services and authentication services have addresses of IPv4 only.",
        "",
        |settings, text| value::flag(text).map(|on| settings.upstreams.ipv4_names = on),
    ),
];
