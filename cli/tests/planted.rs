//! The harness's own test: bugs that were planted are found, and their replays fail in the same step.
//!
//! Only in a build that carries them: `cargo test --package dacapo --features planted-bugs --test planted`.
#![cfg(feature = "planted-bugs")]

mod support;

use dacapo_core::planted::Bug;
use serde_json::Value;
use support::{Scratch, code, run, stdout};

/// Those that the turmoil engine finds with the swarm, within so many seeds from the first.
const FOUND: &[(Bug, u32)] = &[
    (Bug::ReceiptBeforeCommit, 20),
    (Bug::CompletionApart, 20),
    (Bug::RedeliveryUnordered, 20),
    (Bug::OldEpochAccepted, 20),
    (Bug::RebuildOffByOne, 20),
    (Bug::ParkedLaneLeaks, 100),
    (Bug::RetryWithAny, 50),
    (Bug::OverdraftUnguarded, 20),
    (Bug::DebitTwice, 20),
    (Bug::CreditLostAfterNack, 100),
    (Bug::StickyLost, 100),
    (Bug::CursorBeforeCommit, 20),
];

/// The lines of this kind.
fn lines(stdout: &str, kind: &str) -> Vec<Value> {
    let objects = stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("each line is an object"));
    objects.filter(|object| object["kind"] == kind).collect()
}

/// Property and step of the one violation.
fn violation(stdout: &str) -> (String, u64) {
    let violations = lines(stdout, "violation");
    let [line] = &violations[..] else { panic!("there is one: {stdout}") };
    let violated = &line["violation"];
    (violated["property"].as_str().expect("has a name").to_owned(), violated["step"].as_u64().expect("is a number"))
}

#[test]
fn planted_bugs_are_found_and_replayed_in_the_same_step() {
    let scratch = Scratch::new("planted");
    for (bug, seeds) in FOUND {
        let name = bug.name();
        let output = run(scratch.path(), &["sim", "--seeds", &seeds.to_string(), "--bug", name, "--json"]);
        assert_eq!(code(&output), 1, "{name} is not found within {seeds} seeds: {}", stdout(&output));
        let found = violation(&stdout(&output));
        let summary = lines(&stdout(&output), "summary").pop().expect("the last line");
        let (seed, property) = (&summary["failed"][0]["seed"], &summary["failed"][0]["property"]);
        assert_eq!(property, &found.0);

        let by_seed = run(scratch.path(), &["replay", &seed.to_string(), "--bug", name, "--json"]);
        assert_eq!((code(&by_seed), violation(&stdout(&by_seed))), (1, found.clone()), "{name}, by its seed");
        let saved = format!(".dacapo/bugs/{}-{name}-seed-{seed}.json", found.0);
        let by_file = run(scratch.path(), &["replay", &saved, "--json"]);
        assert_eq!((code(&by_file), violation(&stdout(&by_file))), (1, found), "{name}, by its plan");
    }
}

#[test]
fn without_a_bug_the_same_build_finds_nothing() {
    let scratch = Scratch::new("unplanted");
    let output = run(scratch.path(), &["sim", "--seeds", "10", "--json"]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
}
