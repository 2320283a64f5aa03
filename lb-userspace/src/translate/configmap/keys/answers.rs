//! Keys about headers of answers.

use super::{Key, Support, applied};
use crate::translate::ingress::dialect::value::{self, Parsed, Wrong};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "add-headers",
        kind: "namespace/name",
        default: "",
        meaning: "A ConfigMap of headers for all answers.",
        difference: "Variables come from a closed list.",
        support: Support::Headers(|settings| &mut settings.answers.add),
    },
    applied("hide-headers", "headers", "", "Headers of backends that clients do not get.", "", |settings, text| {
        settings.answers.hide = names(text)?;
        Ok(())
    }),
    applied(
        "allow-backend-server-header",
        "flag",
        "true",
        "Whether the backend's `Server` reaches clients.",
        "The default there is false.",
        |settings, text| value::flag(text).map(|on| settings.answers.server_of_backend = on),
    ),
    applied(
        "server-tokens",
        "flag",
        "false",
        "Whether the front names itself in `Server`.",
        "Says weir, and never the version.",
        |settings, text| value::flag(text).map(|on| settings.answers.server = on),
    ),
    applied(
        "relative-redirects",
        "flag",
        "false",
        "Whether redirects of the front name no host.",
        "Those within a host never do, whatever is set; those to another host or scheme have to.",
        |_, text| value::flag(text).map(drop),
    ),
];

fn names(text: &str) -> Parsed<Vec<String>> {
    let name = |name: &str| match name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(Wrong::expected(format!("names of headers between commas; {name:?} is none"))),
    };
    value::list(text).map(name).collect()
}
