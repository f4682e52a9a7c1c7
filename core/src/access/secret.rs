//! A token's text, and the hash that the bus knows it by.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What every token begins with, so that people and scanners of secrets recognise one.
const PREFIX: &str = "dacapo_";

/// Bytes of randomness in a token.
const SECRET_BYTES: usize = 32;

/// The text of a token: `dacapo_` and 64 hexadecimal digits. It is never shown but where it is made.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(String);

/// Why a text is no token. The text is not in the sentence: it may be a secret with a slip of the pen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no token: one is `dacapo_` and 64 hexadecimal digits; make one with `dacapo token new`")]
pub struct SecretError;

impl Secret {
    /// Of so many random bytes, which must come from a source that nobody can foresee.
    pub fn of(random: [u8; SECRET_BYTES]) -> Self {
        Self(format!("{PREFIX}{}", hex(&random)))
    }

    /// Its text, for whoever presents it. Nothing that logs may call this.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the bus knows it by.
    pub fn hash(&self) -> SecretHash {
        SecretHash(hex(&Sha256::digest(self.0.as_bytes())))
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let digits = text.strip_prefix(PREFIX).ok_or(SecretError)?;
        if is_hex(digits, SECRET_BYTES) { Ok(Self(text.to_owned())) } else { Err(SecretError) }
    }
}

impl TryFrom<String> for Secret {
    type Error = SecretError;
    fn try_from(text: String) -> Result<Self, SecretError> {
        text.parse()
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The SHA-256 of a token, in hexadecimal digits. Finding a token of 256 random bits for it is out of anybody's reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHash(String);

impl TryFrom<String> for SecretHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_hex(&text, SECRET_BYTES) {
            Ok(Self(text))
        } else {
            Err("a hash of a token is the 64 hexadecimal digits of its SHA-256".to_owned())
        }
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        hash.0
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_and_hides_itself() {
        let secret = Secret::of([0xA7; 32]);
        assert_eq!(secret.reveal().len(), 7 + 64);
        assert_eq!(secret.reveal().parse::<Secret>(), Ok(secret.clone()));
        assert!(!format!("{secret:?}").contains("a7"), "{secret:?}");
        let shouted = secret.reveal().to_uppercase();
        for no_token in ["", "dacapo_", "a7", &shouted, &secret.reveal()[..70]] {
            let error = no_token.parse::<Secret>().expect_err("is none");
            assert!(!error.to_string().contains("a7"), "the sentence does not repeat what may be a secret: {error}");
        }
        let error = serde_json::from_str::<Secret>("\"dacapo_a7a7\"").expect_err("is none");
        assert!(!error.to_string().contains("a7"), "{error}");
    }

    #[test]
    fn the_hash_is_sha_256_of_the_whole_text() {
        let secret = Secret::of([0; 32]);
        let hash = String::from(secret.hash());
        assert_eq!(hash.len(), 64);
        assert_ne!(secret.hash(), Secret::of([1; 32]).hash());
        // `printf 'dacapo_000…' | sha256sum`, which anybody can repeat.
        assert_eq!(hash, "7ffaeebddc4e1c32fad4c8500070cde86147d9698ba6df1f525ee0be06ef9b40");
    }
}
