//! Keys about TCP ports.

use super::{Key, applied};
use crate::translate::ingress::dialect::value::{self, Wrong};

const BY_THE_FRONT: &str = "Only of ports with PROXY: the others are served in the kernel.";

pub(super) const KEYS: &[Key] = &[
    applied(
        "proxy-stream-timeout",
        "time",
        "600s",
        "How long nothing may come on a connection of a TCP port, either way.",
        BY_THE_FRONT,
        |settings, text| match value::duration(text)? {
            0 => Err(Wrong::expected("a time above 0")),
            time => {
                settings.streams.idle = time;
                Ok(())
            }
        },
    ),
    applied(
        "proxy-stream-next-upstream",
        "flag",
        "true",
        "Whether another endpoint of it is tried if one cannot be reached.",
        BY_THE_FRONT,
        |settings, text| value::flag(text).map(|on| settings.streams.next = on),
    ),
    applied(
        "proxy-stream-next-upstream-timeout",
        "time",
        "600s",
        "For how long; 0: without end.",
        BY_THE_FRONT,
        |settings, text| value::duration(text).map(|time| settings.streams.next_time = time),
    ),
    applied(
        "proxy-stream-next-upstream-tries",
        "number",
        "3",
        "How many are tried; 0: all.",
        BY_THE_FRONT,
        |settings, text| value::number(text, 0..=1000).map(|tries| settings.streams.tries = tries),
    ),
];
