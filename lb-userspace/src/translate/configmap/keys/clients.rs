//! Keys about connections of clients, and about what they may send.

use super::{Key, Support, applied};
use crate::l7::guard::{MAX_HEAD, MAX_HEADERS};
use crate::model::settings::{FrontSettings, TextMatch};
use crate::translate::ingress::dialect::value::{self, Parsed, Wrong};

/// Most expressions of one key: each is tried on every request.
const MAX_MATCHES: usize = 256;

pub(super) const KEYS: &[Key] = &[
    applied(
        "keep-alive",
        "seconds",
        "75",
        "How long a connection may be idle between two requests; 0: each is for one request.",
        "Holds for connections that come after the change.",
        |settings, text| value::duration(text).map(|time| settings.clients.idle = Some(time)),
    ),
    applied(
        "keep-alive-requests",
        "number",
        "",
        "Requests on one connection.",
        "Without it any number (there: 1000).",
        |settings, text| value::number(text, 1..=1_000_000_000).map(|count| settings.clients.requests = Some(count)),
    ),
    applied(
        "client-header-timeout",
        "seconds",
        "60",
        "How long the head of a request may take.",
        "Holds for connections that come after the change.",
        |settings, text| time(text).map(|time| settings.clients.head = Some(time)),
    ),
    applied(
        "client-body-timeout",
        "seconds",
        "60",
        "How long no part of a request's body may come.",
        "Also how long a client may take nothing of an answer. Holds for connections that come after the change.",
        |settings, text| time(text).map(|time| settings.clients.body = Some(time)),
    ),
    applied(
        "client-min-rate",
        "bytes",
        "100",
        "Least speed of a client, in bytes per second; 0: none.",
        "A key of weir's own. Counted is only the time in which nobody but the client is waited for, and not that of WebSockets, \
         nor that of a body whose answer has begun. Who is slower has a grace of `client-body-timeout`. Holds for connections \
         that come after the change.",
        |settings, text| value::size(text).map(|rate| settings.clients.rate = Some(rate)),
    ),
    applied(
        "large-client-header-buffers",
        "number and size",
        "",
        "Longest head of a request, as so many times a size, and longest line of it; else 431 or 414.",
        "Without it 64 KiB for the whole head (there: 4 8k).",
        buffers,
    ),
    applied(
        "client-header-count",
        "number",
        "100",
        "Most headers of a request; else 431.",
        "A key of weir's own; at most 100. Holds for connections that come after the change.",
        |settings, text| {
            value::number(text, 1..=MAX_HEADERS as u32).map(|count| settings.clients.header_count = Some(count))
        },
    ),
    applied(
        "client-uri-size",
        "size",
        "64k",
        "Longest target of a request, path and query together; else 414.",
        "A key of weir's own; the request line is a line of its head besides. Holds for connections that come after the change.",
        |settings, text| target_size(text).map(|size| settings.clients.target_size = Some(size)),
    ),
    applied(
        "max-connections-per-client",
        "number",
        "0",
        "Connections that one client may have, to all cores of a node's front; more are closed at once. 0: any number.",
        "A key of weir's own. Clients are addresses of IPv4 and networks of 64 bits of IPv6; where the PROXY protocol is spoken, those \
         that it names. Proxies that are believed may have any number.",
        |settings, text| value::number(text, 0..=1_000_000_000).map(|count| settings.clients.per_client = count),
    ),
    applied(
        "max-worker-connections",
        "number",
        "",
        "Connections of clients on each core; more wait in the kernel.",
        "Without it half of the descriptors, which holds besides (there: 16384, those to backends included).",
        |settings, text| value::number(text, 1..=1_000_000_000).map(|count| settings.clients.per_core = Some(count)),
    ),
    applied(
        "http2-max-resets",
        "number",
        "200",
        "Streams that a client may give up on one connection of HTTP/2 or HTTP/3 in ten seconds; with more the connection ends.",
        "A key of weir's own. Holds for connections that come after the change.",
        |settings, text| value::number(text, 1..=1_000_000).map(|count| settings.clients.resets = count),
    ),
    applied(
        "http2-max-control-frames",
        "number",
        "2000",
        "Frames that bring nothing, which a client may send on one connection of HTTP/2 or HTTP/3 in ten seconds.",
        "A key of weir's own. Over HTTP/2 one more for each KiB that it is sent. Holds for connections that come after the change.",
        |settings, text| value::number(text, 1..=1_000_000).map(|count| settings.clients.control_frames = count),
    ),
    applied(
        "tls-handshake-timeout",
        "time",
        "10s",
        "How long a handshake of TLS may take.",
        "A key of weir's own (nginx takes `client-header-timeout`).",
        |settings, text| time(text).map(|time| settings.clients.handshake = Some(time)),
    ),
    applied(
        "enable-underscores-in-headers",
        "flag",
        "false",
        "Whether headers with an underscore in their name are passed on.",
        "",
        |settings, text| value::flag(text).map(|on| settings.clients.underscores = on),
    ),
    applied(
        "ignore-invalid-headers",
        "flag",
        "true",
        "Drops headers whose name has more than letters, digits and dashes.",
        "What is no header at all is refused in any case.",
        |settings, text| value::flag(text).map(|on| settings.clients.drop_odd_names = on),
    ),
    Key {
        support: Support::Guards(|settings, text| {
            value::networks(text).map(|networks| settings.blocked.clients = networks)
        }),
        ..applied("block-cidrs", "CIDRs", "", "Clients that get 403 for everything.", "", |_, _| Ok(()))
    },
    Key {
        support: Support::Guards(|settings, text| matches(text).map(|list| settings.blocked.user_agents = list)),
        ..applied(
            "block-user-agents",
            "texts",
            "",
            "Requests with such a User-Agent get 403; `~` begins a regular expression, `~*` one whatever the case.",
            "Expressions without look-around and back-references.",
            |_, _| Ok(()),
        )
    },
    Key {
        support: Support::Guards(|settings, text| matches(text).map(|list| settings.blocked.referers = list)),
        ..applied(
            "block-referers",
            "texts",
            "",
            "Requests with such a Referer get 403; written like `block-user-agents`.",
            "Expressions without look-around and back-references.",
            |_, _| Ok(()),
        )
    },
    applied(
        "worker-shutdown-timeout",
        "time",
        "30s",
        "How long requests may still take when the front ends or is replaced.",
        "The default there is 240s.",
        |settings, text| value::duration(text).map(|time| settings.clients.shutdown = Some(time)),
    ),
];

/// At least something: with nothing at all no request would arrive.
fn time(text: &str) -> Parsed<u64> {
    value::duration(text)?.checked_sub(1).map(|time| time + 1).ok_or_else(|| Wrong::expected("a time above 0"))
}

/// Some clients ask for little, but for something.
fn target_size(text: &str) -> Parsed<u32> {
    let size = value::size(text)?;
    let fits = u32::try_from(size).ok().filter(|size| (16..=MAX_HEAD as u32).contains(size));
    fits.ok_or_else(|| Wrong::expected(format!("a size from 16 bytes to {} KiB", MAX_HEAD >> 10)))
}

/// `4 8k`.
fn buffers(settings: &mut FrontSettings, text: &str) -> Parsed<()> {
    let wrong =
        || Wrong::expected(format!("a number and a size such as 4 8k, together at most {} KiB", MAX_HEAD >> 10));
    let (number, size) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let number = value::number(number, 1..=1024).map_err(|_| wrong())?;
    let size = value::size(size).ok().and_then(|size| u32::try_from(size).ok()).ok_or_else(wrong)?;
    let whole = number.checked_mul(size).filter(|&whole| (256..=MAX_HEAD as u64).contains(&u64::from(whole)));
    settings.clients.head_size = Some(whole.ok_or_else(wrong)?);
    settings.clients.line_size = Some(size);
    Ok(())
}

fn matches(text: &str) -> Parsed<Vec<TextMatch>> {
    let list: Vec<_> = value::list(text).map(text_match).collect::<Parsed<_>>()?;
    if list.len() > MAX_MATCHES {
        return Err(Wrong::expected(format!("at most {MAX_MATCHES} texts")));
    }
    Ok(list)
}

fn text_match(text: &str) -> Parsed<TextMatch> {
    let found = match (text.strip_prefix("~*"), text.strip_prefix('~')) {
        (Some(pattern), _) => TextMatch::AnyCase(pattern.to_owned()),
        (None, Some(pattern)) => TextMatch::Pattern(pattern.to_owned()),
        (None, None) => TextMatch::Text(text.to_owned()),
    };
    match crate::l7::settings::compiles(&found) {
        true => Ok(found),
        false => Err(Wrong::expected(format!("a regular expression behind ~; {text:?} is none"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_limited() {
        let mut settings = FrontSettings::default();
        assert_eq!(buffers(&mut settings, "4 8k"), Ok(()));
        assert_eq!((settings.clients.head_size, settings.clients.line_size), (Some(32 << 10), Some(8 << 10)));
        for bad in ["", "4", "8k 4", "0 8k", "4 64k", "1024 8k", "4 4294967295"] {
            assert!(buffers(&mut settings, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn matches_are_texts_and_expressions() {
        let all = [
            TextMatch::Text("curl".to_owned()),
            TextMatch::Pattern("^Bot".to_owned()),
            TextMatch::AnyCase("evil|bad".to_owned()),
        ];
        assert_eq!(matches("curl, ~^Bot,~*evil|bad"), Ok(all.into()));
        assert!(matches("~(").is_err());
    }
}
