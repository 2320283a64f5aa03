//! Keys that only the translation needs: our own, and what Ingresses may refer to.

use super::{Key, Support};
use crate::model::PathMatch;
use crate::model::filters::RequestLimits;
use crate::translate::ingress::dialect::value::{self, Parsed, Wrong};
use crate::translate::ingress::hosts::HostPolicy;

/// What only the translation needs.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::translate) struct Own {
    /// Annotations may name objects of other namespaces.
    pub(in crate::translate) cross_namespace: bool,
    /// Headers that Ingresses may add to answers, in lower case; `None`: any.
    pub(in crate::translate) answer_headers: Option<Vec<String>>,
    /// Which namespaces may claim which hosts.
    pub(in crate::translate) hosts: HostPolicy,
    /// Status of requests beyond a rate.
    pub(in crate::translate) rate_status: Option<u16>,
    /// Status of requests beyond those in flight.
    pub(in crate::translate) flight_status: Option<u16>,
    /// Beginnings of paths of rules that nobody has to log in for.
    pub(in crate::translate) no_auth: Vec<String>,
}

impl Default for Own {
    fn default() -> Self {
        Own {
            cross_namespace: false,
            answer_headers: None,
            hosts: HostPolicy::default(),
            rate_status: None,
            flight_status: None,
            no_auth: vec![ACME_CHALLENGE.to_owned()],
        }
    }
}

/// Where authorities look whether who asks for a certificate has the host (RFC 8555 section 8.3).
const ACME_CHALLENGE: &str = "/.well-known/acme-challenge";

impl Own {
    /// Nobody has to log in for a rule with this path. Expressions may match more than they begin with.
    pub(in crate::translate) fn is_without_auth(&self, path: &PathMatch) -> bool {
        match path {
            PathMatch::Exact(text) | PathMatch::Prefix(text) | PathMatch::ImplementationSpecific(text) => {
                self.no_auth.iter().any(|begin| text.starts_with(begin.as_str()))
            }
            PathMatch::Regex(_) | PathMatch::Default => false,
        }
    }

    /// Puts the statuses among the limits of an Ingress.
    pub(in crate::translate) fn complete(&self, limits: &mut RequestLimits) {
        limits.rate_status = self.rate_status;
        limits.flight_status = self.flight_status;
    }
}

const fn own(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
    difference: &'static str,
    apply: fn(&mut Own, &str) -> Parsed<()>,
) -> Key {
    Key { name, kind, default, meaning, difference, support: Support::Own(apply) }
}

pub(super) const KEYS: &[Key] = &[
    own(
        "allow-cross-namespace-resources",
        "flag",
        "false",
        "Whether annotations may name objects of other namespaces.",
        "",
        |own, text| value::flag(text).map(|on| own.cross_namespace = on),
    ),
    own(
        "no-auth-locations",
        "paths",
        ACME_CHALLENGE,
        "Rules whose paths begin so need no authentication, by password or by a service.",
        "Goes by the path of the rule; rules with regular expressions are never among them.",
        |own, text| {
            own.no_auth = value::list(text).map(value::path).collect::<Parsed<_>>()?;
            Ok(())
        },
    ),
    own(
        "host-policy",
        "off, first or granted",
        "off",
        "Which namespaces may claim which hosts: `off` all of them; `first` the one whose Ingress is oldest; `granted` \
         those whose Namespace lists the host in `weir.io/hosts`.",
        "ingress-nginx does not have it.",
        |own, text| {
            own.hosts = match text.trim() {
                "off" => HostPolicy::Off,
                "first" => HostPolicy::First,
                "granted" => HostPolicy::Granted,
                _ => return Err(Wrong::expected("off, first or granted")),
            };
            Ok(())
        },
    ),
    own(
        "global-allowed-response-headers",
        "headers",
        "",
        "Headers that `custom-headers` may name.",
        "Without it any that does not frame the message; there none.",
        |own, text| {
            own.answer_headers = Some(value::list(text).map(str::to_ascii_lowercase).collect());
            Ok(())
        },
    ),
    own("limit-req-status-code", "400-599", "503", "Status of requests beyond a rate.", "", |own, text| {
        status(text).map(|status| own.rate_status = Some(status))
    }),
    own("limit-conn-status-code", "400-599", "503", "Status of requests beyond those in flight.", "", |own, text| {
        status(text).map(|status| own.flight_status = Some(status))
    }),
];

fn status(text: &str) -> Parsed<u16> {
    u16::try_from(value::number(text, 400..=599)?).map_err(|_| Wrong::expected("a status"))
}
