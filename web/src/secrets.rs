//! Secrets: 256 bits from the system, and what is kept or shown in their stead.
//!
//! A visitor's cookie is a secret. What is kept of it is its hash, so that whoever reads the file cannot be the visitor; what
//! forms bear of it is another hash, so that only a page that the visitor was given can send them.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};

/// Bytes of a secret.
const BYTES: usize = 32;

/// A visitor's secret, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// It must not stand in a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What is kept of a secret.
pub(crate) type Kept = [u8; 32];

impl Secret {
    /// A new one.
    pub(crate) fn draw() -> Self {
        Self(hexadecimal(&random::<BYTES>()))
    }

    /// What a visitor sent, if it can be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == 2 * BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| Self(text.to_owned()))
    }

    /// For the cookie.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub(crate) fn kept(&self) -> Kept {
        self.hash("session")
    }

    /// What forms bear.
    pub(crate) fn form_token(&self) -> String {
        hexadecimal(&self.hash("form"))
    }

    /// Whether a form bears what it should. All digits are looked at, so that time tells nothing.
    pub(crate) fn vouches_for(&self, token: &str) -> bool {
        let own = self.form_token();
        let differ = own.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
        own.len() == token.len() && differ == 0
    }

    fn hash(&self, purpose: &str) -> Kept {
        Sha256::new().chain_update(purpose).chain_update([0]).chain_update(&self.0).finalize().into()
    }
}

/// A request's id, as a page without script bears it.
pub(crate) fn request_id() -> String {
    hexadecimal(&random::<16>())
}

/// Bytes that nobody can foresee.
///
/// # Panics
/// When the system has none to give: no secret can be made then, and nothing weaker must take its place.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_vouched_for_by_its_visitor_alone() {
        let (own, other) = (Secret::draw(), Secret::draw());
        assert!(own.vouches_for(&own.form_token()));
        for token in ["", &other.form_token(), own.as_str(), &own.form_token()[..63]] {
            assert!(!own.vouches_for(token), "{token}");
        }
    }

    #[test]
    fn what_is_kept_is_neither_the_secret_nor_what_forms_bear() {
        let secret = Secret::draw();
        assert_ne!(hexadecimal(&secret.kept()), secret.as_str());
        assert_ne!(hexadecimal(&secret.kept()), secret.form_token());
        assert_ne!(Secret::draw(), secret);
        assert!(!format!("{secret:?}").contains(secret.as_str()));
        assert_eq!(Secret::parse(secret.as_str()).map(|parsed| parsed.kept()), Some(secret.kept()));
        assert!(Secret::parse("short").is_none());
    }
}
