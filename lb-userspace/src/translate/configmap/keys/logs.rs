//! Keys about the access log.

use super::{Key, Support, applied};
use crate::model::filters::TemplateError;
use crate::model::settings::{Escape, LogFormat};
use crate::translate::ingress::dialect::value::{self, Parsed, Wrong};

pub(super) const KEYS: &[Key] = &[
    applied("disable-access-log", "flag", "false", "Whether requests are not logged.", "", |settings, text| {
        value::flag(text).map(|off| settings.log.off = off)
    }),
    applied(
        "enable-access-log-for-default-backend",
        "flag",
        "true",
        "Whether requests that no rule is for are logged.",
        "The default there is false.",
        |settings, text| value::flag(text).map(|on| settings.log.skip_default = !on),
    ),
    applied(
        "skip-access-log-urls",
        "paths",
        "",
        "Paths, with their query, whose requests are not logged.",
        "",
        |settings, text| {
            settings.log.skip = value::list(text).map(str::to_owned).collect();
            Ok(())
        },
    ),
    applied(
        "log-format-upstream",
        "format",
        "",
        "What a line of the access log says, with the variables of ingress-nginx.",
        "Without it the line has the form in docs/layer7.md. Ends of lines in it are spaces.",
        |settings, text| format(LogFormat::parse_request(text)).map(|format| settings.log.format = Some(format)),
    ),
    applied(
        "log-format-escape-json",
        "flag",
        "false",
        "Whether values are escaped for JSON.",
        "Without `log-format-upstream` a line is an object with all that is known.",
        |settings, text| {
            settings.log.escape = if value::flag(text)? { Escape::Json } else { Escape::Hex };
            Ok(())
        },
    ),
    applied(
        "log-format-stream",
        "format",
        "",
        "What a line about a connection of a TCP port says.",
        "Only of ports with PROXY: the others are served in the kernel, which writes no log.",
        |settings, text| format(LogFormat::parse_stream(text)).map(|format| settings.log.stream = Some(format)),
    ),
    Key {
        name: "log-format-escape-none",
        kind: "flag",
        default: "false",
        meaning: "Whether nothing in the access log is escaped.",
        difference: "",
        support: Support::Refused {
            reason: "clients would write lines of their own",
            instead: "log-format-escape-json",
        },
    },
];

fn format(parsed: Result<LogFormat, TemplateError>) -> Parsed<LogFormat> {
    parsed.map_err(|error| Wrong::expected(format!("text and variables of the access log; {error}")))
}
