//! The harness's own test: bugs that were planted are found, and their replays fail in the same step.
//!
//! Only in a build that carries them: `cargo test --package dacapo --features planted-bugs --test planted`.
#![cfg(feature = "planted-bugs")]

mod support;

use dacapo_core::planted::Bug;
use serde_json::Value;
use support::{Scratch, code, run, stdout};

/// A campaign from the first seed finds each of them within so many seeds. `dacapo bugs planted` tells how soon on average.
const FOUND: &[(Bug, u32)] = &[
    (Bug::ReceiptBeforeCommit, 20),
    (Bug::CompletionApart, 20),
    (Bug::RedeliveryUnordered, 20),
    (Bug::NoDeadline, 100),
    (Bug::OldEpochAccepted, 20),
    (Bug::IdWindow, 50),
    (Bug::RebuildOverlaps, 300),
    (Bug::RebuildOffByOne, 20),
    (Bug::ParkedLaneLeaks, 100),
    (Bug::BackoffBlocksOthers, 50),
    (Bug::RetryWithAny, 50),
    (Bug::OverdraftUnguarded, 20),
    (Bug::DebitTwice, 20),
    (Bug::CreditLostAfterNack, 100),
    (Bug::HeadBeforeCommit, 50),
    (Bug::StickyLost, 100),
    (Bug::CursorBeforeCommit, 20),
    (Bug::LastEventLost, 50),
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
        let bug = lines(&stdout(&output), "bug").pop().expect("it is kept in the bug base");
        let id = bug["id"].as_str().expect("has an id");
        let by_id = run(scratch.path(), &["replay", id, "--json"]);
        assert_eq!(code(&by_id), 1, "{name}, by its id in the bug base");
    }
}

#[test]
fn without_a_bug_the_same_build_finds_nothing() {
    let scratch = Scratch::new("unplanted");
    let output = run(scratch.path(), &["sim", "--seeds", "10", "--json"]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
}

#[test]
fn the_first_failure_is_the_same_however_many_workers_there_are() {
    let scratch = Scratch::new("first-failure");
    let first = |jobs: &str| {
        let arguments =
            ["sim", "--seeds", "60", "--bug", "backoff-blocks-others", "--no-shrink", "--jobs", jobs, "--json"];
        let output = run(scratch.path(), &arguments);
        assert_eq!(code(&output), 1, "{}", stdout(&output));
        let summary = lines(&stdout(&output), "summary").pop().expect("the last line");
        (summary["failed"].clone(), summary["fingerprint"].clone(), summary["seeds"].clone())
    };
    let one = first("1");
    assert_eq!(one, first("4"));
    assert_eq!(one.0.as_array().map(Vec::len), Some(1), "only the first counts");
}

#[test]
fn the_table_does_not_depend_on_the_workers() {
    let scratch = Scratch::new("table");
    let table = |jobs: &str| {
        let arguments = [
            "bugs",
            "planted",
            "--bug",
            "debit-twice",
            "--bug",
            "id-window",
            "--campaigns",
            "3",
            "--shrink",
            "0s",
            "--jobs",
            jobs,
            "--json",
        ];
        let output = run(scratch.path(), &arguments);
        assert_eq!(code(&output), 0, "{}", stdout(&output));
        let without_time = |mut row: Value| {
            row.as_object_mut().expect("is one").remove("wall_s");
            row
        };
        lines(&stdout(&output), "planted").into_iter().map(without_time).collect::<Vec<_>>()
    };
    let one = table("1");
    assert_eq!(one.len(), 2);
    assert!(one.iter().all(|row| row["found"] == 3 && row["seeds_median"].is_u64()), "{one:?}");
    assert_eq!(one, table("3"));
}

#[test]
fn the_table_is_written_as_the_readme_shows_it() {
    let scratch = Scratch::new("markdown");
    let output = run(
        scratch.path(),
        &["bugs", "planted", "--bug", "debit-twice", "--campaigns", "2", "--shrink", "5s", "--markdown"],
    );
    assert_eq!(code(&output), 0, "{output:?}");
    let text = stdout(&output);
    assert!(text.starts_with("<!-- planted bugs: begin -->\n| planted bug |"), "{text}");
    assert!(text.contains("| `debit-twice`: ") && text.contains("operation"), "{text}");
    assert!(text.trim_end().ends_with("<!-- planted bugs: end -->"), "{text}");
}
