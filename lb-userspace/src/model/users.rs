//! Users and hashes of their passwords, as Secrets hold them for basic authentication.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Highest cost of bcrypt: four seconds of a processor for one password.
const MAX_BCRYPT_COST: u32 = 16;
/// Most rounds of sha-crypt, which cost about as much.
const MAX_ROUNDS: u32 = 5_000_000;

/// The users of a Secret, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Users(pub BTreeMap<String, PasswordHash>);

/// What is kept of a password: a hash in a form that can be checked. Never shown.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

/// How a password was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// bcrypt: `$2y$`, `$2b$`, `$2a$`.
    Bcrypt,
    /// A thousand rounds of MD5 with this magic: `$apr1$` as Apache has it, `$1$` as in crypt(3).
    Md5(&'static str),
    /// sha-crypt: `$5$` with SHA-256, `$6$` with SHA-512.
    ShaCrypt,
    /// One SHA-1, in base64: `{SHA}`.
    Sha1,
    /// One SHA-1 of password and salt, in base64 together with the salt: `{SSHA}`.
    SaltedSha1,
}

/// Why a text is no hash that can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Of no known form.
    #[error("not a hash by bcrypt, apr1, {{SHA}} or sha-crypt")]
    Unknown,
    /// Checking one password would take too long.
    #[error("bcrypt of a cost above {MAX_BCRYPT_COST}, or sha-crypt of more than {MAX_ROUNDS} rounds")]
    Expensive,
}

impl PasswordHash {
    /// Takes a hash of a known form.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let text = text.trim();
        let (scheme, rest) = split(text).ok_or(HashError::Unknown)?;
        match scheme {
            Scheme::Bcrypt if !is_bcrypt(text) => return Err(HashError::Unknown),
            Scheme::Bcrypt if !cost(rest).is_some_and(|cost| (4..=MAX_BCRYPT_COST).contains(&cost)) => {
                return Err(HashError::Expensive);
            }
            Scheme::ShaCrypt if rounds(rest).is_some_and(|rounds| rounds > MAX_ROUNDS) => {
                return Err(HashError::Expensive);
            }
            _ if rest.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(HashError::Unknown);
            }
            _ => {}
        }
        Ok(PasswordHash(text.to_owned()))
    }

    /// Its form.
    pub fn scheme(&self) -> Option<Scheme> {
        split(&self.0).map(|(scheme, _)| scheme)
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What follows the mark of its form.
    pub fn rest(&self) -> &str {
        split(&self.0).map_or("", |(_, rest)| rest)
    }
}

fn split(text: &str) -> Option<(Scheme, &str)> {
    let schemes = [
        ("$2y$", Scheme::Bcrypt),
        ("$2b$", Scheme::Bcrypt),
        ("$2a$", Scheme::Bcrypt),
        ("$apr1$", Scheme::Md5("$apr1$")),
        ("$1$", Scheme::Md5("$1$")),
        ("$5$", Scheme::ShaCrypt),
        ("$6$", Scheme::ShaCrypt),
        ("{SHA}", Scheme::Sha1),
        ("{SSHA}", Scheme::SaltedSha1),
    ];
    schemes.into_iter().find_map(|(mark, scheme)| Some((scheme, text.strip_prefix(mark)?)))
}

/// `$2y$05$` and 53 characters.
fn is_bcrypt(text: &str) -> bool {
    text.len() == 60 && text.is_ascii() && text.as_bytes()[6] == b'$'
}

fn cost(rest: &str) -> Option<u32> {
    rest.split_once('$')?.0.parse().ok()
}

fn rounds(rest: &str) -> Option<u32> {
    let rounds = rest.strip_prefix("rounds=")?.split('$').next()?;
    // Too many digits are too many rounds.
    Some(rounds.parse().unwrap_or(u32::MAX))
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let bcrypt = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
        for (text, scheme) in [
            (bcrypt, Scheme::Bcrypt),
            ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", Scheme::Md5("$apr1$")),
            ("{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", Scheme::Sha1),
            ("$6$rounds=10000$salt$x", Scheme::ShaCrypt),
            (" $5$salt$x\n", Scheme::ShaCrypt),
        ] {
            assert_eq!(PasswordHash::parse(text).map(|hash| hash.scheme()), Ok(Some(scheme)), "{text}");
        }
        for text in ["", "plain", "{PLAIN}open", "rl.3StKT.4T8M", "$apr1$", "$2y$05$short", "$5$a b$x"] {
            assert_eq!(PasswordHash::parse(text), Err(HashError::Unknown), "{text}");
        }
        for text in [&bcrypt.replace("$05$", "$31$"), "$5$rounds=999999999$s$x", "$6$rounds=99999999999$s$x"] {
            assert_eq!(PasswordHash::parse(text), Err(HashError::Expensive), "{text}");
        }
        assert!(!format!("{:?}", PasswordHash::parse(bcrypt)).contains("c4Wo"));
    }
}
