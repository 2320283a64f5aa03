//! Users and passwords.

use std::sync::Arc;

use super::value::{Parsed, Wrong};
use super::{Annotation, Context, Support, guard};
use crate::model::filters::BasicAuth;
use crate::model::{PasswordHash, Users};
use crate::source::kinds::Secret;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Basic {
    wanted: bool,
    realm: String,
    secret: Option<String>,
    /// Each key of the Secret is a user.
    map: bool,
}

/// Longest realm.
const MAX_REALM: usize = 256;

impl Basic {
    /// Where the Secret is missing or names no user, the routes are closed.
    pub(super) fn auth(self, context: &mut Context<'_>) -> Option<Box<BasicAuth>> {
        let Some(name) = self.secret else {
            if self.wanted {
                context.close(
                    "auth-secret",
                    "",
                    "the name of a Secret with users and passwords",
                    "auth-type asks for one",
                );
            }
            return None;
        };
        if !self.wanted {
            let wrong = Wrong::expected("auth-type: basic beside it");
            context.problem("auth-secret", &name, &wrong, "a Secret without auth-type protects nothing");
            return None;
        }
        let secret = context.secret("auth-secret", &name)?;
        let form = if self.map { "auth-map" } else { "auth-file" };
        let users = format!("{}/{}#{form}", secret.metadata.namespace, secret.metadata.name);
        let found = match context.users.get(&users) {
            Some(found) => Arc::clone(found),
            None => match if self.map { of_map(secret) } else { of_file(secret) } {
                Ok(found) => Arc::clone(context.users.entry(users.clone()).or_insert(Arc::new(found))),
                Err(wrong) => {
                    context.close("auth-secret", &name, &wrong.0, "the Secret holds no users");
                    return None;
                }
            },
        };
        context.note_unusable(&secret.metadata, &found.unusable);
        if found.users.0.is_empty() {
            let expected = "user:hash, by bcrypt, apr1, {SHA} or sha-crypt";
            context.close("auth-secret", &name, expected, "no user of the Secret can log in");
            return None;
        }
        Some(Box::new(BasicAuth { realm: self.realm, users }))
    }
}

/// What a Secret holds.
#[derive(Debug, Default, PartialEq)]
pub(in crate::translate::ingress) struct Found {
    pub(in crate::translate::ingress) users: Arc<Users>,
    /// Users who cannot log in, and why.
    unusable: Vec<(String, String)>,
}

impl Found {
    fn add(&mut self, name: &str, hash: &str) {
        match PasswordHash::parse(hash) {
            // nginx takes the first line of a user.
            Ok(hash) => drop(Arc::make_mut(&mut self.users).0.entry(name.to_owned()).or_insert(hash)),
            Err(error) => self.unusable.push((name.to_owned(), error.to_string())),
        }
    }
}

/// A file as htpasswd writes it, under the key `auth`.
fn of_file(secret: &Secret) -> Parsed<Found> {
    let text = secret.data.get("auth").and_then(|value| value.text());
    let text = text.ok_or_else(|| Wrong::expected("a key auth with lines user:hash"))?;
    let mut found = Found::default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        match line.split_once(':') {
            // What follows a second colon is a comment.
            Some((name, rest)) if !name.is_empty() => found.add(name, rest.split(':').next().unwrap_or_default()),
            _ => found.unusable.push((String::new(), "a line without user:hash".to_owned())),
        }
    }
    Ok(found)
}

/// Each key a user, its value the hash. Of other values the reader of Secrets keeps none.
fn of_map(secret: &Secret) -> Parsed<Found> {
    let mut found = Found::default();
    for (name, value) in &secret.data {
        found.add(name, value.text().unwrap_or_default());
    }
    Ok(found)
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    guard(
        "auth-type",
        "basic",
        "",
        "Asks for a user and a password.",
        "digest is refused: it needs passwords that can be read back; the routes then answer 503.",
        |asked, text| {
            asked.basic.wanted = !text.trim().is_empty();
            match text.trim() {
                "basic" | "" => Ok(()),
                "digest" => Err(Wrong::expected("basic, over TLS, in the place of digest")),
                _ => Err(Wrong::expected("basic")),
            }
        },
    ),
    guard(
        "auth-secret",
        "name",
        "",
        "The Secret with users and hashes of their passwords: bcrypt, apr1, `{SHA}`, `{SSHA}` or sha-crypt.",
        "Of the namespace of the Ingress only. Without it, or without a user in it, the routes answer 503.",
        |asked, text| {
            asked.basic.secret = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
            Ok(())
        },
    ),
    guard(
        "auth-secret-type",
        "auth-file or auth-map",
        "auth-file",
        "Whether users stand in the key `auth`, one in each line, or have a key each.",
        "",
        |asked, text| {
            asked.basic.map = match text.trim() {
                "auth-map" => true,
                "" | "auth-file" => false,
                _ => return Err(Wrong::expected("auth-file or auth-map")),
            };
            Ok(())
        },
    ),
    Annotation {
        name: "auth-realm",
        kind: "text",
        default: "",
        meaning: "The realm that browsers show.",
        difference: "",
        support: Support::Applied(|asked, text| realm(text).map(|realm| asked.basic.realm = realm)),
    },
    Annotation {
        name: "satisfy",
        kind: "any or all",
        default: "all",
        meaning: "With any, an allowed address or authentication alone is enough.",
        difference: "",
        // What holds without it is stricter.
        support: Support::Applied(|asked, text| {
            asked.sources.or_authenticated = match text.trim() {
                "any" => true,
                "" | "all" => false,
                _ => return Err(Wrong::expected("any or all")),
            };
            Ok(())
        }),
    },
];

fn realm(text: &str) -> Parsed<String> {
    let good = text.len() <= MAX_REALM && !text.chars().any(char::is_control);
    if good { Ok(text.to_owned()) } else { Err(Wrong::expected("one line of at most 256 bytes")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kinds::SecretValue;

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), SecretValue(value.as_bytes().into())));
        Secret { data: data.collect(), ..Secret::default() }
    }

    fn names(found: &Found) -> (Vec<&str>, Vec<&str>) {
        let unusable = found.unusable.iter().map(|(name, _)| name.as_str());
        (found.users.0.keys().map(String::as_str).collect(), unusable.collect())
    }

    #[test]
    fn files() {
        let text = "# users\nann:{SHA}x:comment\r\n\nbob:$apr1$s$h\nann:{SHA}y\nopen:{PLAIN}pw\nnobody\n:{SHA}z\n";
        let found = of_file(&secret(&[("auth", text)])).expect("a file");
        assert_eq!(names(&found), (vec!["ann", "bob"], vec!["open", "", ""]));
        assert_eq!(found.users.0["ann"].text(), "{SHA}x");
        assert!(of_file(&secret(&[("users", "ann:{SHA}x")])).is_err_and(|wrong| wrong.0.contains("auth")));
    }

    #[test]
    fn maps() {
        let found = of_map(&secret(&[("ann", "{SHA}x\n"), ("bob", "plain")])).expect("a map");
        assert_eq!(names(&found), (vec!["ann"], vec!["bob"]));
    }

    #[test]
    fn realms_are_one_line() {
        assert_eq!(realm("Please \"log in\""), Ok("Please \"log in\"".to_owned()));
        assert!(realm("a\r\nSet-Cookie: x").is_err() && realm(&"x".repeat(257)).is_err());
    }
}
