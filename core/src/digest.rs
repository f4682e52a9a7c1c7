//! A 64-bit hash that is the same in every process and on every run, for fingerprints and state digests.
//!
//! It is no defence against an adversary; it tells two runs apart.

use std::hash::{Hash, Hasher};

use crate::event::Event;

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

/// The checksum that a store keeps beside an event: over every field, and the position, so that neither a changed nor
/// a misplaced event passes. It is part of the store's format, which is why it spells out its fields and their lengths
/// instead of relying on `Hash`, whose calls may change with the compiler.
pub fn checksum(event: &Event) -> u64 {
    let Event { position, id, event_type, key, version, correlation, causation, time, source, data } = event;
    let mut hasher = StableHasher::new(0);
    for number in [position.0, version.0, time.0, u64::from(causation.is_some())] {
        hasher.write_u64(number);
    }
    let causation = causation.as_ref().map_or("", |id| id.as_str());
    let texts = [id.as_str(), event_type.as_str(), key.as_str(), correlation.as_str(), causation, source.as_str()];
    for text in texts.into_iter().chain([data.as_str()]) {
        hasher.write_u64(text.len() as u64);
        hasher.write(text.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorrelationId, Data, EventId, EventType, Key, Position, Source, Version, WallTime};

    fn event() -> Event {
        Event {
            position: Position(7),
            id: EventId::of("e-7"),
            event_type: EventType::of("Opened"),
            key: Key::of("acc-3"),
            version: Version(2),
            correlation: CorrelationId::of("c-1"),
            causation: Some(EventId::of("e-6")),
            time: WallTime(1_700_000_000_000_000),
            source: Source::of("accounts"),
            data: Data::of(&["a", "b"]),
        }
    }

    #[test]
    fn the_checksum_of_an_event_never_changes_since_it_stands_in_files() {
        assert_eq!(checksum(&event()), 4_170_045_465_395_383_937);
    }

    #[test]
    fn the_checksum_depends_on_every_field() {
        let changes: [fn(&mut Event); 11] = [
            |event| event.position = Position(8),
            |event| event.id = EventId::of("e-8"),
            |event| event.event_type = EventType::of("Closed"),
            |event| event.key = Key::of("acc-4"),
            |event| event.version = Version(3),
            |event| event.correlation = CorrelationId::of("c-2"),
            |event| event.causation = Some(EventId::of("e-5")),
            |event| event.causation = None,
            |event| event.time = WallTime(1),
            |event| event.source = Source::of("users"),
            |event| event.data = Data::of(&["a", "c"]),
        ];
        let mut sums = vec![checksum(&event())];
        for change in changes {
            let mut changed = event();
            change(&mut changed);
            sums.push(checksum(&changed));
        }
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), changes.len() + 1);
    }

    #[test]
    fn digests_depend_on_every_byte_and_on_the_seed() {
        let base = digest_of(1, "account");
        assert_eq!(base, digest_of(1, "account"));
        assert_ne!(base, digest_of(2, "account"));
        assert_ne!(base, digest_of(1, "accounu"));
        assert_ne!(digest_of(0, &("a", "bc")), digest_of(0, &("ab", "c")));
    }
}
