//! A value that is shared and hashed once, however many records carry it.
//!
//! What is sent is also received, and may be kept besides: each of these is a record, and the fingerprint hashes every
//! record. The value never changes, so its digest does not either; hashing it again is hashing one word.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::StableHasher;

/// A shared value beside its digest. It is written, compared and printed as the value is.
pub struct Hashed<T>(Arc<(u64, T)>);

impl<T: Hash> Hashed<T> {
    /// Hashes the value.
    pub fn new(value: T) -> Self {
        Self(Arc::new((StableHasher::digest(0, &value), value)))
    }
}

impl<T> Hashed<T> {
    /// The digest of the value, which equal values share.
    pub fn digest(&self) -> u64 {
        self.0.0
    }
}

impl<T: Clone> Hashed<T> {
    /// The value itself: moved out if nobody else shares it, else copied.
    pub fn into_inner(self) -> T {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.1.clone(), |(_, value)| value)
    }
}

impl<T> Clone for Hashed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T: fmt::Debug> fmt::Debug for Hashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.1.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.1 == other.0.1
    }
}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest());
    }
}

impl<T: Serialize> Serialize for Hashed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.1.serialize(serializer)
    }
}

impl<'de, T: Hash + Deserialize<'de>> Deserialize<'de> for Hashed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_hash_alike_whether_they_share_or_not() {
        let one = Hashed::new(vec![1_u64, 2]);
        let read: Hashed<Vec<u64>> = serde_json::from_str("[1,2]").expect("is a list");
        assert_eq!((&one, one.digest()), (&read, read.digest()));
        assert_eq!(StableHasher::digest(7, &one), StableHasher::digest(7, &read));
        assert_ne!(one.digest(), Hashed::new(vec![1_u64, 3]).digest());
        assert_eq!(serde_json::to_string(&one).expect("encodes"), "[1,2]");
    }

    #[test]
    fn the_last_holder_gets_the_value_without_a_copy() {
        let one = Hashed::new(vec![1_u64, 2]);
        let place = one.as_ptr();
        let copied = one.clone().into_inner();
        assert_ne!(copied.as_ptr(), place, "shared, so it is copied");
        let moved = one.into_inner();
        assert_eq!(moved.as_ptr(), place);
    }
}
