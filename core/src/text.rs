//! The text of a name, made to be compared: its first bytes stand beside the pointer, so that two names that differ are
//! nearly always told apart without following it. Maps are keyed by names everywhere, and searching them is comparing.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// How many bytes stand beside the pointer.
const HEAD_BYTES: usize = 16;

/// A text without NUL. Its order, equality and hash are those of the `str`.
#[derive(Clone)]
pub(crate) struct Text {
    /// The first bytes, as big-endian numbers, filled up with zeros. No name contains a NUL, so texts that fit are equal
    /// exactly when their heads are.
    head: (u64, u64),
    text: Arc<str>,
}

impl Text {
    #[inline]
    fn fits(&self) -> bool {
        self.text.len() <= HEAD_BYTES
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        let mut head = [0; HEAD_BYTES];
        let bytes = text.as_bytes();
        let kept = bytes.len().min(HEAD_BYTES);
        head[..kept].copy_from_slice(&bytes[..kept]);
        let head = u128::from_be_bytes(head);
        Self { head: ((head >> 64) as u64, head as u64), text }
    }
}

impl From<Text> for Arc<str> {
    fn from(text: Text) -> Self {
        text.text
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head
            && self.text.len() == other.text.len()
            && (self.fits() || Arc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| {
            if (self.fits() && other.fits()) || Arc::ptr_eq(&self.text, &other.text) {
                Ordering::Equal
            } else {
                self.text.cmp(&other.text)
            }
        })
    }
}

impl Hash for Text {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::digest_of;

    #[test]
    fn order_equality_and_hash_are_those_of_the_text() {
        let texts = [
            "a",
            "acc-1",
            "acc-10",
            "acc-2",
            "accounts",
            "accounts-1234567",
            "accounts-12345678",
            "accounts-12345679",
            "accounts-1234567é",
            "accounts-123456é",
            "é",
            "éé",
            "z\u{10ffff}",
        ];
        for a in texts {
            for b in texts {
                let (one, other) = (Text::from(Arc::<str>::from(a)), Text::from(Arc::<str>::from(b)));
                assert_eq!(one.cmp(&other), a.cmp(b), "{a} and {b}");
                assert_eq!(one == other, a == b, "{a} and {b}");
            }
            assert_eq!(digest_of(0, &Text::from(Arc::<str>::from(a))), digest_of(0, a));
        }
    }
}
