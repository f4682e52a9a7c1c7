//! Nonsense that resembles what is right: examples, with bytes changed, cut out, repeated and put together anew.
//!
//! It is no match for a fuzzer that sees which branches were taken (`fuzz/` has the same targets for cargo-fuzz, and
//! docs/OPERATING.md says how they are run), but it runs everywhere. Each target gets a second; `DACAPO_FUZZ_SECONDS=600 cargo test --test fuzz` gives it ten
//! minutes. What fails is printed with its number, which repeats it: `DACAPO_FUZZ_FROM=n`.

#![expect(
    clippy::disallowed_methods,
    reason = "nonsense is tried for as long as there is time, and nothing is simulated"
)]

mod corpora;
mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

use dacapo_core::digest::digest_of;

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

/// A directory of a test's own.
fn scratch(of: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("dacapo-fuzz-{of}-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("can be made");
    directory
}

#[test]
fn frames_that_resemble_right_ones_never_end_the_process() {
    let corpus = corpora::frames();
    assert!(corpus.len() > 20, "the document has examples of all kinds: {}", corpus.len());
    assert!(feed("frames", &corpus, targets::frames) > 100);
}

#[test]
fn requests_to_publish_are_understood_as_they_are_shown_or_refused() {
    assert!(feed("publishes", &corpora::publishes(), targets::publishes) > 100);
}

#[test]
fn whatever_is_written_to_a_server_is_answered_or_cut_off_and_it_goes_on() {
    assert!(feed("requests", &corpora::requests(), targets::requests) > 20);
}

#[test]
fn filters_that_resemble_right_ones_never_end_the_process() {
    assert!(feed("filters", &corpora::filters(), targets::filter) > 100);
}

#[test]
fn nothing_that_resembles_a_token_is_repeated() {
    assert!(feed("tokens", &corpora::tokens(), targets::token) > 100);
}

#[test]
fn plans_that_resemble_right_ones_are_read_as_they_are_written_or_refused() {
    assert!(feed("plans", &corpora::plans(), targets::plan) > 20);
}

#[test]
fn traces_that_resemble_right_ones_are_shown_or_refused() {
    let directory = scratch("traces");
    let fed = feed("traces", &corpora::traces(), |bytes| targets::trace(bytes, &directory));
    fs::remove_dir_all(&directory).expect("can be removed");
    assert!(fed > 5, "{fed} traces in the time");
}

#[test]
fn files_that_resemble_a_store_are_refused_or_read_and_never_end_the_process() {
    let directory = scratch("stores");
    let at = directory.join("mutated.db");
    let fed = feed("stores", &corpora::stores(&directory), |bytes| targets::store(bytes, &at));
    fs::remove_dir_all(&directory).expect("can be removed");
    assert!(fed > 5, "{fed} files in the time");
}

/// Writes what cargo-fuzz begins with, where `DACAPO_FUZZ_CORPUS` says.
#[test]
fn every_target_has_examples_to_begin_with() {
    let directory = scratch("corpus");
    let all = [
        ("filters", corpora::filters()),
        ("frames", corpora::frames()),
        ("plans", corpora::plans()),
        ("publishes", corpora::publishes()),
        ("requests", corpora::requests()),
        ("stores", corpora::stores(&directory)),
        ("tokens", corpora::tokens()),
        ("traces", corpora::traces()),
    ];
    fs::remove_dir_all(&directory).expect("can be removed");
    let manifest = include_str!("../../../fuzz/Cargo.toml");
    let wanted: Vec<String> = all.iter().map(|(name, _)| format!("name = \"{name}\"")).collect();
    let targets: Vec<&str> = manifest.lines().filter(|line| line.starts_with("name = ")).skip(1).collect();
    assert_eq!(targets, wanted, "fuzz/Cargo.toml has the same targets");
    let into = std::env::var_os("DACAPO_FUZZ_CORPUS").map(PathBuf::from);
    for (name, corpus) in all {
        assert!(!corpus.is_empty(), "{name} has none");
        let Some(into) = into.as_ref().map(|into| into.join(name)) else { continue };
        fs::create_dir_all(&into).expect("can be made");
        for (number, example) in corpus.iter().enumerate() {
            fs::write(into.join(format!("example-{number}")), example).expect("can be written");
        }
    }
}
