//! The command line as scripts and people meet it: codes, sentences, JSON Lines.

mod support;

use std::fs;

use support::{Scratch, code, run, stderr, stdout};

#[test]
fn help_names_every_verb_and_every_exit_code() {
    let scratch = Scratch::new("help");
    let output = run(scratch.path(), &["--help"]);
    assert_eq!(code(&output), 0);
    let help = stdout(&output);
    for verb in [
        "sim",
        "replay",
        "shrink",
        "blame",
        "bugs",
        "demo",
        "serve",
        "events",
        "view",
        "export",
        "diff",
        "list",
        "doctor",
        "completions",
        "man",
    ] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} is missing:\n{help}");
    }
    for exit in ["0  passed", "1  a property", "2  usage", "3  inconclusive", "4  not det", "70  ", "130  interrupted"]
    {
        assert!(help.contains(exit), "{exit:?} is missing:\n{help}");
    }
    assert!(!help.contains("worker"), "the worker is nobody's verb:\n{help}");
}

#[test]
fn what_cannot_be_understood_ends_with_two() {
    let scratch = Scratch::new("usage");
    for arguments in [
        &["dance"][..],
        &["sim", "--seed", "x"],
        &["sim", "--seeds", "-1"],
        &["sim", "--time", "90"],
        &["sim", "nothing"],
        &["sim", "--profile", "nothing"],
        &["sim", "--engine", "tornado"],
        &["sim", "--until-covered", "soon"],
        &["bugs", "planted", "--campaigns", "0"],
        &["replay"],
        &["replay", "no-such-file.json"],
        &["serve"],
        &["serve", "--db", "x.db", "--set", "grace"],
        &["serve", "--db", "x.db", "--set", "no_such_limit=1"],
        &["serve", "--db", "x.db", "--config", "no-such-file.toml"],
        &["events", "--db", "no-such.db"],
        &["events", "--db", "x.db", "colour:red"],
        &["events", "--bus", "127.0.0.1"],
        &["events"],
        &["completions", "tcsh-of-mine"],
    ] {
        let output = run(scratch.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(!stderr(&output).trim().is_empty(), "{arguments:?} is told nothing");
    }
}

#[test]
fn a_seed_is_decimal_hexadecimal_or_a_commit() {
    let scratch = Scratch::new("seeds");
    let fingerprint = |seed: &str| {
        let output = run(scratch.path(), &["replay", seed, "--profile", "calm", "--json"]);
        assert_eq!(code(&output), 0, "{output:?}");
        last_line(&stdout(&output))["fingerprint"].clone()
    };
    let decimal = fingerprint("42");
    assert_eq!(decimal, fingerprint("0x2a"));
    assert_eq!(decimal, fingerprint("000000000000002a000000000000000000000000"));
    assert_ne!(decimal, fingerprint("43"));
}

fn last_line(stdout: &str) -> serde_json::Value {
    let line = stdout.lines().last().expect("something was said");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn json_lines_end_with_the_summary() {
    let scratch = Scratch::new("json");
    let output = run(scratch.path(), &["sim", "--seeds", "2", "--profile", "calm", "--json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let text = stdout(&output);
    for line in text.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("each line is an object");
        assert_eq!(object["v"], 1, "{line}");
        assert!(object["kind"].is_string(), "{line}");
    }
    let summary = last_line(&text);
    assert_eq!(summary["kind"], "summary");
    assert_eq!((summary["passed"].as_bool(), summary["seeds"].as_u64()), (Some(true), Some(2)));
    assert_eq!(summary["failed"], serde_json::json!([]));
    assert_eq!(summary["fingerprint"].as_str().map(str::len), Some(16));
    assert!(summary["simulated_s"].as_f64() > Some(0.0) && summary["wall_s"].as_f64() > Some(0.0), "{summary}");
    let begins = r#"{"v":1,"kind":"summary","passed":true,"seeds":2,"failed":[],"fingerprint":""#;
    assert!(text.lines().last().expect("is there").starts_with(begins), "{text}");
}

#[test]
fn a_campaign_says_the_same_however_many_workers_it_has() {
    let scratch = Scratch::new("jobs");
    let fingerprint = |jobs: &str| {
        let output = run(scratch.path(), &["sim", "-n", "3", "--seed", "7", "-j", jobs, "--json"]);
        assert_eq!(code(&output), 0, "{output:?}");
        last_line(&stdout(&output))["fingerprint"].clone()
    };
    assert_eq!(fingerprint("1"), fingerprint("3"));
}

#[test]
fn seeds_are_written_down_before_they_run() {
    let scratch = Scratch::new("written");
    run(scratch.path(), &["sim", "-n", "2", "--seed", "5", "--profile", "calm"]);
    let seeds = fs::read_to_string(scratch.path().join(".dacapo/seeds.jsonl")).expect("is written");
    let seeds: Vec<u64> = seeds
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("is JSON")["seed"].as_u64().expect("is one"))
        .collect();
    assert_eq!(seeds, [5, 6]);
}

#[test]
fn the_default_binary_refuses_to_plant_bugs_and_says_how_to_build_the_other() {
    let scratch = Scratch::new("bugs");
    for verb in [&["sim"][..], &["replay", "1"]] {
        let output = run(scratch.path(), &[verb, &["--bug", "receipt-before-commit"]].concat());
        if dacapo_core::planted::BUILT_IN {
            continue;
        }
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(stderr(&output).contains("cargo build --release --features planted-bugs"), "{output:?}");
    }
    let table = run(scratch.path(), &["bugs", "planted", "--campaigns", "1", "--bug", "debit-twice"]);
    if !dacapo_core::planted::BUILT_IN {
        assert_eq!(code(&table), 2, "{table:?}");
        assert!(stderr(&table).contains("cargo build --release --features planted-bugs"), "{table:?}");
    }
    let output = run(scratch.path(), &["sim", "--bug", "no-such-bug"]);
    assert_eq!(code(&output), 2, "{output:?}");
    assert!(stderr(&output).contains("receipt-before-commit"), "the known ones are named: {output:?}");
}

#[test]
fn a_file_that_is_no_store_is_refused_with_a_sentence_and_left_as_it_is() {
    let scratch = Scratch::new("no-store");
    let path = scratch.path().join("notes.db");
    fs::write(&path, "Dear diary, this is not a database at all. ".repeat(200)).expect("can be written");
    let before = fs::read(&path).expect("can be read");
    for arguments in [
        &["serve", "--db", "notes.db"][..],
        &["events", "--db", "notes.db"],
        &["demo", "--db", "notes.db"],
        &["view", "notes.db"],
        &["export", "notes.db", "-o", "x.svg"],
    ] {
        let output = run(scratch.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains("notes.db"), "{arguments:?}: {output:?}");
    }
    assert_eq!(fs::read(&path).expect("can be read"), before);
}

#[test]
fn what_cannot_be_shown_or_written_is_refused_with_a_sentence() {
    let scratch = Scratch::new("no-view");
    for (arguments, sentence) in [
        (&["view"][..], "name a store or a run"),
        (&["view", "nothing"], "neither a file nor a recorded run"),
        (&["view", "."], "no run is recorded in"),
        (&["export", "nothing", "-o", "x.html"], "neither a file nor a recorded run"),
        (&["export", ".", "-o", "x.txt"], ".html, .svg, .dot or .jsonl"),
        (&["diff", "one", "other"], "neither a file nor a recorded run"),
        (&["events", "--bus", "http://127.0.0.1:1", "status:parked"], "a bus does not tell how services fared"),
    ] {
        let output = run(scratch.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(sentence), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_a_failure_with_a_sentence() {
    let scratch = Scratch::new("port");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let address = taken.local_addr().expect("it has one").to_string();
    let output = run(scratch.path(), &["serve", "--db", "x.db", "--listen", &address]);
    assert_eq!(code(&output), 70, "{output:?}");
    assert!(stderr(&output).contains(&format!("cannot listen at {address}")), "{output:?}");
}

#[test]
fn list_names_what_the_command_line_takes() {
    let scratch = Scratch::new("list");
    let text = stdout(&run(scratch.path(), &["list"]));
    for name in ["bank", "swarm", "calm", "no_overdraft", "lane_order", "crash-bus", "receipt-before-commit"] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    let marks = run(scratch.path(), &["list", "marks", "--json"]);
    assert!(stdout(&marks).lines().count() > 5, "{marks:?}");
    assert_eq!(last_line(&stdout(&marks))["subject"], "marks");
}

#[test]
fn completions_and_the_manual_are_written() {
    let scratch = Scratch::new("man");
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(scratch.path(), &["completions", shell]));
        assert!(script.contains("dacapo") && script.contains("replay"), "{shell}");
    }
    let manual = stdout(&run(scratch.path(), &["man"]));
    assert!(manual.contains(".TH"), "{manual}");
    for words in ["DACAPO SIM", "DACAPO EVENTS", "interrupted"] {
        assert!(manual.contains(words), "{words} is missing");
    }
}

#[test]
fn nobody_reading_is_no_crash() {
    let scratch = Scratch::new("closed");
    let mut child = support::dacapo(scratch.path())
        .arg("man")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}
