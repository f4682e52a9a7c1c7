//! `dacapo bench`, as somebody types it: a bus is started, loaded, checked, and gone afterwards.

mod support;

use std::process::Command;

use support::Scratch;

fn bench(scratch: &Scratch, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dacapo"))
        .arg("bench")
        .args(["--time", "1s", "--warm-up", "100ms", "--directory"])
        .arg(scratch.path())
        .args(arguments)
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("is text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn number(report: &serde_json::Value, path: &str) -> u64 {
    report.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{path} is in {report}"))
}

#[test]
fn a_load_is_carried_out_measured_and_checked() {
    let scratch = Scratch::new("bench-checked");
    let chart = scratch.path().join("chart.svg");
    let chart = chart.to_str().expect("is text");
    let load = ["--json", "--publishers", "4", "--window", "8", "--batch", "2", "--keys", "3", "--hot", "500"];
    let more = ["--conflicts", "200", "--services", "2", "--instances", "2", "--chart", chart];
    let (code, stdout, stderr) = bench(&scratch, &[&load[..], &more[..]].concat());
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let report: serde_json::Value = serde_json::from_str(stdout.lines().last().expect("a line")).expect("is JSON");
    let accepted = number(&report, "/accepted");
    assert!(accepted > 50, "{report}");
    assert!(number(&report, "/stale") > 0, "some were meant to be stale, and were: {report}");
    assert!(number(&report, "/completed") > 0, "{report}");
    assert!(number(&report, "/publish_to_receipt/p50_us") <= number(&report, "/publish_to_receipt/p99_us"));
    assert!(number(&report, "/sync_before/count") > 0);
    assert_eq!(report.pointer("/faults"), Some(&serde_json::json!([])));
    assert!(std::fs::read_to_string(chart).expect("there is a chart").contains("publish to completed"));
    let left: Vec<_> = std::fs::read_dir(scratch.path()).expect("lists").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 1, "the chart alone is left: {left:?}");
}

#[test]
fn a_bus_that_is_not_there_is_told_in_a_sentence() {
    let scratch = Scratch::new("bench-nobody");
    let output = Command::new(env!("CARGO_BIN_EXE_dacapo"))
        .args(["bench", "--bus", "127.0.0.1:1"])
        .current_dir(scratch.path())
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("there is no bus at 127.0.0.1:1; start one with `dacapo serve`"), "{stderr}");
    assert_eq!(output.status.code(), Some(70));
    let (code, _, stderr) = bench(&scratch, &["--expect", "any", "--conflicts", "5"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--conflicts needs --expect version"), "{stderr}");
}
