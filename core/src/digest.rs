//! A 64-bit hash that is the same in every process and on every run, for fingerprints and state digests.
//!
//! It is no defence against an adversary; it tells two runs apart.

use std::hash::{Hash, Hasher};

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A deterministic [`Hasher`]: the standard one is seeded per process.
#[derive(Debug, Clone)]
pub struct StableHasher(u64);

impl StableHasher {
    /// A hasher that begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x243F_6A88_85A3_08D3)
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(MULTIPLIER | 1);
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(23) ^ word.wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        let rest = chunks.remainder();
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(word) ^ (bytes.len() as u64) << 56);
    }
    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }
    fn write_u16(&mut self, n: u16) {
        self.mix(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }
    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
    fn finish(&self) -> u64 {
        let mut x = self.0;
        x ^= x >> 32;
        x = x.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        x ^ (x >> 32)
    }
}

/// Hashes one value, chained onto `seed`.
pub fn digest_of<T: Hash + ?Sized>(seed: u64, value: &T) -> u64 {
    let mut hasher = StableHasher::new(seed);
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_depend_on_every_byte_and_on_the_seed() {
        let base = digest_of(1, "account");
        assert_eq!(base, digest_of(1, "account"));
        assert_ne!(base, digest_of(2, "account"));
        assert_ne!(base, digest_of(1, "accounu"));
        assert_ne!(digest_of(0, &("a", "bc")), digest_of(0, &("ab", "c")));
    }
}
