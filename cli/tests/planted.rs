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
    (Bug::NoDeadline, 300),
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
        let output =
            run(scratch.path(), &["sim", "--seeds", &seeds.to_string(), "--bug", name, "--no-shrink", "--json"]);
        assert_eq!(code(&output), 1, "{name} is not found within {seeds} seeds: {}", stdout(&output));
        let found = violation(&stdout(&output));
        let summary = lines(&stdout(&output), "summary").pop().expect("the last line");
        let (seed, property) = (&summary["failed"][0]["seed"], &summary["failed"][0]["property"]);
        assert_eq!(property, &found.0);

        let by_seed = run(scratch.path(), &["replay", &seed.to_string(), "--bug", name, "--json"]);
        assert_eq!((code(&by_seed), violation(&stdout(&by_seed))), (1, found.clone()), "{name}, by its seed");
        let kept = lines(&stdout(&output), "bug").pop().expect("it is kept");
        let saved = kept["file"].as_str().expect("has a path");
        let by_file = run(scratch.path(), &["replay", saved, "--as-found", "--json"]);
        assert_eq!((code(&by_file), violation(&stdout(&by_file))), (1, found), "{name}, by its plan");
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

/// Those whose failures come down to a handful of items: what customers do and what goes wrong, at most.
const SMALL: &[(Bug, u64, u64)] = &[
    (Bug::ReceiptBeforeCommit, 1, 0),
    (Bug::OverdraftUnguarded, 9, 0),
    (Bug::DebitTwice, 4, 0),
    (Bug::CursorBeforeCommit, 3, 1),
    (Bug::RebuildOffByOne, 3, 1),
    (Bug::ParkedLaneLeaks, 3, 1),
];

#[test]
fn failures_are_shrunk_to_a_handful_of_items_and_kept_once() {
    let scratch = Scratch::new("planted-shrunk");
    for (bug, operations_max, faults_max) in SMALL {
        let name = bug.name();
        let found = |extra: &[&str]| {
            let arguments = ["sim", "-n", "100", "--engine", "event", "--bug", name, "--json"];
            let output = run(scratch.path(), &[&arguments, extra].concat());
            assert_eq!(code(&output), 1, "{name}: {}", stdout(&output));
            lines(&stdout(&output), "bug").pop().expect("it is kept")
        };
        let first = found(&["--no-shrink"]);
        assert_eq!((&first["new"], &first["small"]), (&Value::Bool(true), &Value::Null), "{name}");
        let id = first["id"].as_str().expect("has an id");

        let output = run(scratch.path(), &["shrink", id, "--time", "120s", "--json"]);
        assert_eq!(code(&output), 1, "{name}: {}", stdout(&output));
        let shrunk = lines(&stdout(&output), "shrunk").pop().expect("it is told");
        let (operations, faults) = (shrunk["operations"].as_u64(), shrunk["faults"].as_u64());
        assert!(operations <= Some(*operations_max) && faults <= Some(*faults_max), "{name}: {shrunk}");
        assert_eq!((&shrunk["minimality"], &shrunk["property"]), (&"minimal".into(), &first["property"]), "{name}");

        // The base has it, the replay breaks the same, and no item can go.
        let breaks = |without: &[&str]| {
            let output = run(scratch.path(), &[&["replay", id, "--json"], without].concat());
            lines(&stdout(&output), "violation").pop().map(|line| line["violation"]["property"].clone())
        };
        assert_eq!(breaks(&[]).as_ref(), Some(&first["property"]), "{name}");
        let ids = |what: &str| -> Vec<String> {
            let items = shrunk["plan"][what].as_array().expect("a list");
            items.iter().map(|item| item["id"].to_string()).collect()
        };
        for fault in ids("faults") {
            assert_ne!(breaks(&["--without-fault", &fault]).as_ref(), Some(&first["property"]), "{name}, {fault}");
        }
        for operation in ids("operations") {
            let flag = ["--without-operation", &operation];
            assert_ne!(breaks(&flag).as_ref(), Some(&first["property"]), "{name}, {operation}");
        }

        // Found again it is the same bug, and is not shrunk again.
        let again = found(&[]);
        assert_eq!((&again["new"], &again["id"], &again["count"]), (&Value::Bool(false), &first["id"], &2.into()));
        let rerun = run(scratch.path(), &["bugs", "rerun", id]);
        assert_eq!(code(&rerun), 1, "{name} still fails");
        let promote = run(scratch.path(), &["bugs", "promote", id]);
        assert_eq!(code(&promote), 2, "nobody mends what was planted");
    }
}

#[test]
fn blame_names_a_step_before_the_one_at_which_a_promise_was_seen_broken() {
    let scratch = Scratch::new("planted-blamed");
    let found = ["sim", "-n", "100", "--engine", "event", "--bug", "id-window", "--no-shrink", "--json"];
    let output = run(scratch.path(), &found);
    let bug = lines(&stdout(&output), "bug").pop().expect("it is kept");
    let id = bug["id"].as_str().expect("has an id");
    let output = run(scratch.path(), &["blame", id, "--samples", "12", "--time", "300s", "--json"]);
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    let blame = lines(&stdout(&output), "blame").pop().expect("it is told");
    let (step, seen) = (blame["step"].as_u64(), blame["violated_at_step"].as_u64());
    assert!(step <= seen && step > Some(0), "{blame}");
    assert_eq!(blame["strayed"], 0, "every future shares its past");
    let share =
        |side: &str| blame[side]["failing"].as_f64().expect("a number") / blame[side]["of"].as_f64().expect("one");
    assert!(share("before") < share("after"), "{blame}");
}
