//! Nonsense that resembles what is right: examples, with bytes changed, cut out, repeated and put together anew.
//!
//! It is no match for a fuzzer that sees which branches were taken (`fuzz/` has the same targets for cargo-fuzz, where that is
//! installed), but it runs everywhere. Each target gets a second; `DACAPO_FUZZ_SECONDS=600 cargo test --test fuzz` gives it ten
//! minutes. What fails is printed with its number, which repeats it: `DACAPO_FUZZ_FROM=n`.

#![expect(
    clippy::disallowed_methods,
    reason = "nonsense is tried for as long as there is time, and nothing is simulated"
)]

mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

use dacapo_backends::SqliteStore;
use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Version, WallTime,
    digest::digest_of,
    store::{Commit, Store as _},
};

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Numbers that follow from where they begin.
struct Draws(u64);

impl Draws {
    fn below(&mut self, below: usize) -> usize {
        self.0 = digest_of(self.0, &"next");
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Another one like these: up to eight changes of one of them.
fn mutated(corpus: &[Vec<u8>], number: u64) -> Vec<u8> {
    const TOKENS: &[&[u8]] = &[
        b"\"",
        b"{",
        b"}",
        b"[[[[",
        b"-1",
        b"18446744073709551616",
        b"\\u0000",
        b"null",
        b"*",
        b":",
        b"\xFF",
        b"$",
        b"e9",
    ];
    let mut draws = Draws(number);
    let mut bytes = corpus[draws.below(corpus.len())].clone();
    for _ in 0..=draws.below(8) {
        let (at, length) = (draws.below(bytes.len() + 1), draws.below(16) + 1);
        let end = (at + length).min(bytes.len());
        match draws.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << draws.below(8),
            1 if at < bytes.len() => bytes[at] = draws.below(256) as u8,
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let piece = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let token = TOKENS[draws.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
            5 => {
                let other = &corpus[draws.below(corpus.len())];
                let from = draws.below(other.len() + 1);
                let piece = &other[from..(from + length).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

/// Feeds the target for its time; how many it got.
fn feed(name: &str, corpus: &[Vec<u8>], target: impl Fn(&[u8])) -> u64 {
    let time = Duration::from_secs(number_of("DACAPO_FUZZ_SECONDS").unwrap_or(1));
    let began = Instant::now();
    let from = number_of("DACAPO_FUZZ_FROM").unwrap_or_default();
    let mut number = from;
    for example in corpus {
        target(example);
    }
    while number == from || began.elapsed() < time {
        let bytes = mutated(corpus, number);
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        assert!(outcome.is_ok(), "{name} fails on number {number}: {:?}", String::from_utf8_lossy(&bytes));
        number += 1;
    }
    number - from
}

/// The examples of the protocol's document.
fn examples() -> Vec<Vec<u8>> {
    let protocol = include_str!("../../../docs/PROTOCOL.md");
    let frames = protocol.lines().filter(|line| line.starts_with("{\"kind\""));
    let mut examples: Vec<Vec<u8>> = frames.map(|frame| frame.as_bytes().to_vec()).collect();
    let both = format!("[{},{}]", String::from_utf8_lossy(&examples[0]), String::from_utf8_lossy(&examples[1]));
    examples.push(both.into_bytes());
    examples
}

#[test]
fn frames_that_resemble_right_ones_never_end_the_process() {
    let corpus = examples();
    assert!(corpus.len() > 20, "the document has examples of all kinds: {}", corpus.len());
    assert!(feed("frames", &corpus, targets::frames) > 100);
}

#[test]
fn filters_that_resemble_right_ones_never_end_the_process() {
    let corpus = [
        "key:acc-* type:Debit,Credit",
        "-source:teller \"the rent\"",
        "time:2026-03-01..2026-03-02",
        "data.pence>500 (a or b)",
    ];
    let corpus: Vec<Vec<u8>> = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
    assert!(feed("filters", &corpus, targets::filter) > 100);
}

#[test]
fn files_that_resemble_a_store_are_refused_or_read_and_never_end_the_process() {
    let directory = std::env::temp_dir().join(format!("dacapo-fuzz-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("can be made");
    let at: PathBuf = directory.join("mutated.db");
    let corpus = vec![a_store(&directory)];
    let fed = feed("stores", &corpus, |bytes| targets::store(bytes, &at));
    fs::remove_dir_all(&directory).expect("can be removed");
    assert!(fed > 5, "{fed} files in the time");
}

/// The file of a small store.
fn a_store(directory: &std::path::Path) -> Vec<u8> {
    let path = directory.join("right.db");
    let mut store = SqliteStore::open(&path).expect("opens");
    let term = store.recover().expect("recovers").term;
    let event = |position: u64| Event {
        position: Position(position),
        id: EventId::of(format!("e-{position}")),
        event_type: EventType::of("Deposited"),
        key: Key::of("acc-1"),
        version: Version(position),
        correlation: CorrelationId::of("c"),
        causation: None,
        time: WallTime(position),
        source: Source::of("teller"),
        data: Data::of(&position),
        attributes: dacapo_core::Attributes::default(),
    };
    let events = (1..=20).map(|position| event(position).into()).collect();
    store.commit(&Commit { sequence: 1, term, events, ..Commit::default() }).expect("commits");
    store.recover().expect("brings the log into the file");
    drop(store);
    fs::read(&path).expect("can be read")
}
