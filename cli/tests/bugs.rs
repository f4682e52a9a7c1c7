//! The bug base, `replay`, `shrink` and `blame` as people and scripts meet them, in a build that plants no bugs: what is in
//! the base was found once and passes now.

mod support;

use std::{fs, path::Path};

use dacapo_sim::{
    Engine, Minimality, Plan, Profile,
    bugbase::{BugBase, Finding, KnownBug, Provenance, Small},
};
use serde_json::Value;
use support::{Scratch, code, run, stderr, stdout};

/// A small plan of the bank that passes.
fn plan(seed: u64) -> Plan {
    let profile = Profile { operations: 9, duration_us: 2_000_000, ..Profile::named("process").expect("is built in") };
    Plan::draw(&dacapo_bank::bank(), seed, &profile)
}

/// A bug that was mended, in the base of this directory.
fn mended(directory: &Path, seed: u64) -> KnownBug {
    let whole = plan(seed);
    let mut small = whole.clone();
    small.faults.clear();
    small.mask.clear();
    let finding = Finding {
        property: "lane_order".to_owned(),
        sentence: "a lane's events are completed in order".to_owned(),
        message: "position 12 was completed before position 11".to_owned(),
        engine: Engine::Event,
        plan: whole,
        small: Some(Small { minimality: Minimality::Minimal, plan: small }),
        provenance: Provenance {
            commit: "c0ffee".to_owned(),
            clean: Some(true),
            version: "0.1.0".to_owned(),
            command: "dacapo sim --engine event".to_owned(),
        },
        date: "2026-01-01T00:00:00.000Z".to_owned(),
    };
    BugBase::at(directory.join(".dacapo/bugs")).add(finding).expect("can be written").bug
}

fn objects(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect()
}

#[test]
fn an_empty_base_has_no_bugs_and_nothing_fails_in_it() {
    let scratch = Scratch::new("bugs-empty");
    let list = run(scratch.path(), &["bugs", "list"]);
    assert_eq!((code(&list), stdout(&list).trim()), (0, "no bug was found here yet"));
    assert_eq!(code(&run(scratch.path(), &["bugs", "rerun"])), 0);
    for arguments in [&["bugs", "show", "bug-1234"][..], &["bugs", "promote", "bug-1234"], &["replay", "bug-1234"]] {
        let output = run(scratch.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains("dacapo bugs list"), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_bug_is_listed_shown_and_run_again() {
    let scratch = Scratch::new("bugs-shown");
    let bug = mended(scratch.path(), 3);
    let list = objects(&stdout(&run(scratch.path(), &["bugs", "list", "--json"])));
    assert_eq!(
        (list.len(), &list[0]["id"], &list[0]["small_faults"]),
        (1, &Value::from(bug.id.as_str()), &Value::from(0))
    );

    let show = stdout(&run(scratch.path(), &["bugs", "show", &bug.id[..8]]));
    for words in ["lane_order", "position 12", "customer", "minimal", "c0ffee", "dacapo sim --engine event"] {
        assert!(show.contains(words), "{words:?} is missing:\n{show}");
    }

    let rerun = run(scratch.path(), &["bugs", "rerun", "--json"]);
    assert_eq!(code(&rerun), 0, "{rerun:?}");
    let line = &objects(&stdout(&rerun))[0];
    assert_eq!((&line["found"]["state"], &line["small"]["state"]), (&"passes_now".into(), &"passes_now".into()));
}

#[test]
fn a_bug_is_replayed_as_shrunk_or_as_found_and_without_any_item() {
    let scratch = Scratch::new("bugs-replayed");
    let bug = mended(scratch.path(), 3);
    let fingerprint = |flags: &[&str]| {
        let output = run(scratch.path(), &[&["replay", &bug.id, "--json"], flags].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        objects(&stdout(&output)).pop().expect("a summary")["fingerprint"].clone()
    };
    let (small, found) = (fingerprint(&[]), fingerprint(&["--as-found"]));
    assert_ne!(small, found);
    let first = bug.plan.operations[0].id.to_string();
    assert_ne!(fingerprint(&["--without-operation", &first]), small);
    let file = format!(".dacapo/bugs/lane_order-{}.json", bug.id);
    let by_file = run(scratch.path(), &["replay", &file, "--engine", "event", "--json"]);
    assert_eq!(objects(&stdout(&by_file)).pop().expect("a summary")["fingerprint"], small);
    let unknown = run(scratch.path(), &["replay", &bug.id, "--without-operation", "99999"]);
    assert_eq!(code(&unknown), 2, "{unknown:?}");
    assert!(stderr(&unknown).contains("the plan has no operation 99999"), "{unknown:?}");
}

#[test]
fn what_passes_is_neither_shrunk_nor_blamed() {
    let scratch = Scratch::new("bugs-passing");
    fs::write(scratch.path().join("plan.json"), plan(3).to_json()).expect("can be written");
    for verb in ["shrink", "blame"] {
        let output = run(scratch.path(), &[verb, "plan.json", "--engine", "event"]);
        assert_eq!(code(&output), 0, "{verb}: {output:?}");
        assert!(stdout(&output).contains("the plan breaks nothing"), "{verb}: {output:?}");
        let nothing = run(scratch.path(), &[verb, "no-such-file.json"]);
        assert_eq!(code(&nothing), 2, "{verb}: {nothing:?}");
    }
}

#[test]
fn a_mended_bug_becomes_a_regression_that_can_be_replayed() {
    let scratch = Scratch::new("bugs-promoted");
    let bug = mended(scratch.path(), 3);
    let output = run(scratch.path(), &["bugs", "promote", &bug.id, "--story", "It went out of order.", "--json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let told = &objects(&stdout(&output))[0];
    let path = scratch.path().join(told["file"].as_str().expect("is named"));
    let text = fs::read_to_string(path).expect("is written");
    let regression: Value = serde_json::from_str(&text).expect("is JSON");
    let fields: Vec<&String> = regression.as_object().expect("is an object").keys().collect();
    assert_eq!(fields, ["engine", "fixed", "mark", "plan", "property", "story"], "what the suite of regressions reads");
    assert_eq!(regression["story"], "It went out of order.");
    let read = Plan::from_json(&regression["plan"].to_string()).expect("is a plan");
    assert_eq!(read, *bug.smallest());
    let replayed = run(scratch.path(), &["replay", told["file"].as_str().expect("is named"), "--engine", "event"]);
    assert_eq!(code(&replayed), 0, "{replayed:?}");

    let unreached = run(scratch.path(), &["bugs", "promote", &bug.id, "--mark", "no such mark"]);
    assert_eq!(code(&unreached), 2, "{unreached:?}");
    assert!(stderr(&unreached).contains("it reaches: "), "{unreached:?}");
}

#[test]
fn a_file_of_another_version_is_refused_with_a_sentence_and_the_others_are_listed() {
    let scratch = Scratch::new("bugs-version");
    let bug = mended(scratch.path(), 3);
    let base = scratch.path().join(".dacapo/bugs");
    let text = fs::read_to_string(base.join(format!("lane_order-{}.json", bug.id))).expect("is there");
    fs::write(base.join("newer.json"), text.replacen("\"version\": 1", "\"version\": 7", 1)).expect("can be written");
    let list = run(scratch.path(), &["bugs", "list"]);
    assert_eq!(code(&list), 0, "{list:?}");
    assert!(stdout(&list).contains(&bug.id) && stderr(&list).contains("is of version 7"), "{list:?}");
    let replay = run(scratch.path(), &["replay", ".dacapo/bugs/newer.json"]);
    assert_eq!(code(&replay), 2, "{replay:?}");
    assert!(stderr(&replay).contains("use the program that wrote it"), "{replay:?}");
}
