//! Suites of TLS 1.2 that a host offers, by the names of OpenSSL.

use super::value::{self, Parsed, Wrong};
use super::{Annotation, annotation};
use crate::l7::tls;

pub(super) const ANNOTATIONS: &[Annotation] = &[
    annotation(
        "ssl-ciphers",
        "suites",
        "",
        "Suites of TLS 1.2 that the host offers, the preferred one first, with the names of OpenSSL.",
        "Holds for its hosts; of several Ingresses for a host the oldest counts. Only suites with ECDHE and authenticated \
         encryption; all of TLS 1.3 stay.",
        |asked, text| {
            let (suites, result) = suites(text)?;
            asked.secure.set_ciphers(suites);
            result
        },
    ),
    annotation(
        "ssl-prefer-server-ciphers",
        "flag",
        "true",
        "Whether the host's order of suites counts, or the client's.",
        "Holds for its hosts; of several Ingresses for a host the oldest counts.",
        |asked, text| value::flag(text).map(|on| asked.secure.set_server_order(on)),
    ),
];

const SUITES: &str = "ECDHE-ECDSA- or ECDHE-RSA- with AES128-GCM-SHA256, AES256-GCM-SHA384 or CHACHA20-POLY1305";

/// The suites of a list for OpenSSL that are offered here, and what else is in it. An error if there are none.
pub(in crate::translate) fn suites(text: &str) -> Parsed<(Vec<String>, Parsed<()>)> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for word in text.split([':', ',', ' ']).map(str::trim).filter(|word| !word.is_empty()) {
        match word.strip_prefix(['!', '-']) {
            // What is not offered need not be excluded.
            Some(excluded) => known.retain(|one| one != excluded),
            // Those of TLS 1.3 are always there.
            None if word.starts_with("TLS_") => {}
            None if tls::suite(word).is_some() => known.push(word.to_owned()),
            None => unknown.push(word),
        }
    }
    if known.is_empty() {
        return Err(Wrong::expected(SUITES));
    }
    let all_known = unknown.is_empty();
    let result =
        if all_known { Ok(()) } else { Err(Wrong::in_part(format!("{SUITES}; not offered: {}", unknown.join(", ")))) };
    Ok((known, result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_for_openssl() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (one, other) = ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305");
        let list = format!("{other}:{one}:!aNULL:TLS_AES_128_GCM_SHA256");
        assert_eq!(suites(&list), Ok((names(&[other, one]), Ok(()))));
        assert_eq!(suites(&format!("{one}:{other}:-{one}")), Ok((names(&[other]), Ok(()))));
        let (found, result) = suites(&format!("{one}:DHE-RSA-AES128-GCM-SHA256")).expect("one is known");
        assert_eq!(found, names(&[one]));
        assert!(result.is_err_and(|wrong| wrong.0.ends_with("not offered: DHE-RSA-AES128-GCM-SHA256")));
        for bad in ["", "HIGH:!MD5", "RC4-SHA", "TLS_AES_128_GCM_SHA256"] {
            assert!(suites(bad).is_err(), "{bad}");
        }
    }
}
