//! 64-bit hashes that are the same in every process and on every run.
//!
//! There are two, since they are asked for different things. [`StableHasher`] is quick: fingerprints, digests of frames
//! and of machines rest on it, which are compared between runs of one program and never outlive it. [`digest_of`] and
//! [`checksum`] last: ids, draws and the store's files rest on them, so they may never change.
//!
//! Neither is a defence against an adversary; they tell two runs apart.

use std::hash::{Hash, Hasher};

use crate::event::Event;

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
const START: u64 = 0x243F_6A88_85A3_08D3;
const OTHER: u64 = 0xA409_3822_299F_31D1;

/// A deterministic [`Hasher`]: the standard one is seeded per process. It takes 16 bytes at a time, by one
/// multiplication; a lone number waits for the next.
#[derive(Debug, Clone)]
pub struct StableHasher {
    state: u64,
    /// A number that waits for another.
    lone: Option<u64>,
}

/// Both halves of a product.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

fn word(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes)
}

/// The last word of a slice that is longer than eight bytes, which may overlap the one before; of a shorter one, all of it.
fn ends(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return (word(*first), word(*last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
    }
    let all = bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    (all, 0)
}

impl StableHasher {
    /// A hasher that begins with `seed`.
    #[inline]
    pub fn new(seed: u64) -> Self {
        Self { state: seed ^ START, lone: None }
    }

    /// Hashes one value, chained onto `seed`.
    pub fn digest<T: Hash + ?Sized>(seed: u64, value: &T) -> u64 {
        let mut hasher = Self::new(seed);
        value.hash(&mut hasher);
        hasher.finish()
    }

    #[inline]
    fn mix(&mut self, a: u64, b: u64) {
        // The old state goes in twice, so that no input can make it vanish.
        self.state = folded(a ^ MULTIPLIER, b ^ self.state).wrapping_add(self.state.rotate_left(29));
    }
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(lone) = self.lone.take() {
            self.state ^= lone.wrapping_mul(OTHER) ^ OTHER;
        }
        // The last one to sixteen bytes are taken from the end, together with the length.
        for pair in bytes[..bytes.len().saturating_sub(1)].as_chunks::<16>().0 {
            let (a, b) = ends(pair);
            self.mix(a, b);
        }
        let (a, b) = ends(bytes.last_chunk::<16>().map_or(bytes, |last| last));
        self.mix(a, b ^ (bytes.len() as u64).wrapping_mul(OTHER));
    }
    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }
    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }
    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    #[inline]
    fn write_u64(&mut self, n: u64) {
        match self.lone.take() {
            Some(lone) => self.mix(lone, n),
            None => self.lone = Some(n),
        }
    }
    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    #[inline]
    fn finish(&self) -> u64 {
        let lone = self.lone.map_or(0, |lone| lone.wrapping_mul(OTHER) ^ OTHER);
        folded(self.state ^ lone ^ OTHER, MULTIPLIER) ^ self.state
    }
}

/// The hasher of what lasts: its outcome stands in ids, plans and files.
#[derive(Debug)]
struct LastingHasher(u64);

impl LastingHasher {
    fn new(seed: u64) -> Self {
        Self(seed ^ START)
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(MULTIPLIER);
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(23) ^ word.wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for LastingHasher {
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

/// Hashes one value, chained onto `seed`, for what lasts: ids that are derived, and draws.
pub fn digest_of<T: Hash + ?Sized>(seed: u64, value: &T) -> u64 {
    let mut hasher = LastingHasher::new(seed);
    value.hash(&mut hasher);
    hasher.finish()
}

/// The checksum that a store keeps beside an event: over every field, and the position, so that neither a changed nor
/// a misplaced event passes. It is part of the store's format, which is why it spells out its fields and their lengths
/// instead of relying on `Hash`, whose calls may change with the compiler.
pub fn checksum(event: &Event) -> u64 {
    let Event { position, id, event_type, key, version, correlation, causation, time, source, data, attributes } =
        event;
    let mut hasher = LastingHasher::new(0);
    for number in [position.0, version.0, time.0, u64::from(causation.is_some())] {
        hasher.write_u64(number);
    }
    let causation = causation.as_ref().map_or("", |id| id.as_str());
    let texts = [id.as_str(), event_type.as_str(), key.as_str(), correlation.as_str(), causation, source.as_str()];
    for text in texts.into_iter().chain([data.as_str()]) {
        hasher.write_u64(text.len() as u64);
        hasher.write(text.as_bytes());
    }
    // None of them leave no mark, since there were none in the files of former versions.
    for text in attributes.iter().flat_map(|(name, value)| [name, value]) {
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
            attributes: crate::Attributes::default(),
        }
    }

    #[test]
    fn the_checksum_of_an_event_never_changes_since_it_stands_in_files() {
        assert_eq!(checksum(&event()), 4_170_045_465_395_383_937);
    }

    #[test]
    fn the_checksum_depends_on_every_field() {
        let changes: [fn(&mut Event); 12] = [
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
            |event| event.attributes = crate::Attributes::default().with("traceparent", "t").expect("is one"),
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
    fn what_lasts_never_changes_since_ids_and_plans_are_made_of_it() {
        assert_eq!(digest_of(1, &("request", 17_u64, Key::of("acc-3"))), 5_908_793_301_261_008_451);
    }

    #[test]
    fn quick_digests_depend_on_every_byte_its_place_and_the_seed() {
        let text: Vec<u8> = (1..=70).collect();
        let mut seen = std::collections::BTreeSet::new();
        let mut is_new = |digest: u64| assert!(seen.insert(digest), "{digest:x} was met before");
        for length in 0..=text.len() {
            is_new(StableHasher::digest(1, &text[..length]));
            is_new(StableHasher::digest(2, &text[..length]));
            for index in 0..length {
                let mut changed = text[..length].to_vec();
                changed[index] ^= 0x80;
                is_new(StableHasher::digest(1, &changed));
            }
        }
        for numbers in [&[1_u64, 2][..], &[2, 1], &[1], &[1, 0], &[0, 1], &[1, 2, 0], &[0, 1, 2]] {
            let mut hasher = StableHasher::new(1);
            for number in numbers {
                hasher.write_u64(*number);
            }
            is_new(hasher.finish());
        }
        is_new(StableHasher::digest(1, &("a", "bc")));
        is_new(StableHasher::digest(1, &("ab", "c")));
        is_new(StableHasher::digest(1, &(7_u64, "ab")));
        is_new(StableHasher::digest(1, &("ab", 7_u64)));
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
