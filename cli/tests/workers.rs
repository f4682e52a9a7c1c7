//! Campaigns and their worker processes: Ctrl-C, workers that die, and which engine runs a seed.
#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "other processes do not say when they are so far")]

mod support;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use support::{Scratch, code, run, stderr, stdout};

/// How often something is looked for that must come soon.
const LOOKS: u32 = 600;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A campaign that goes on for long.
fn long_campaign(scratch: &Path, jobs: &str) -> Child {
    support::dacapo(scratch)
        .args(["sim", "--seeds", "100000", "--jobs", jobs, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts")
}

/// Waits until so many seeds were handed out.
fn seeds_begun(scratch: &Path, count: usize) {
    for _ in 0..LOOKS {
        let begun = fs::read_to_string(scratch.join(".dacapo/seeds.jsonl")).unwrap_or_default().lines().count();
        if begun >= count {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
    panic!("{count} seeds were never begun");
}

fn children(of: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().expect("is a number")).collect()
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status().expect("kill is there");
    assert!(status.success(), "{pid} is there to be told");
}

fn is_gone(pid: u32) -> bool {
    (0..LOOKS).any(|_| {
        let gone = !Path::new(&format!("/proc/{pid}")).exists();
        if !gone {
            thread::sleep(LOOK_EVERY);
        }
        gone
    })
}

/// The last line.
fn summary(stdout: &str) -> Value {
    let line = stdout.lines().last().expect("something was said");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn ctrl_c_ends_a_campaign_with_its_summary_and_leaves_no_worker_behind() {
    let scratch = Scratch::new("ctrl-c");
    let campaign = long_campaign(scratch.path(), "2");
    seeds_begun(scratch.path(), 4);
    let workers = children(campaign.id());
    assert_eq!(workers.len(), 2, "a worker for each job");
    signal("-INT", campaign.id());
    let output = campaign.wait_with_output().expect("ends");
    assert_eq!(code(&output), 130, "{output:?}");
    let summary = summary(&stdout(&output));
    assert_eq!((summary["kind"].as_str(), summary["ended"].as_str()), (Some("summary"), Some("interrupted")));
    assert!(summary["seeds"].as_u64() >= Some(1), "{summary}");
    assert!(stderr(&output).contains("in flight: "), "{output:?}");
    for worker in workers {
        assert!(is_gone(worker), "worker {worker} is still there");
    }
}

#[test]
fn a_worker_that_dies_is_told_with_its_seed() {
    let scratch = Scratch::new("dead-worker");
    // It may die between two seeds, which is nobody's failure: then another one dies.
    let mut campaign = long_campaign(scratch.path(), "1");
    seeds_begun(scratch.path(), 2);
    while campaign.try_wait().expect("can be asked").is_none() {
        if let [worker] = children(campaign.id())[..] {
            let _ = Command::new("kill").args(["-KILL", &worker.to_string()]).stderr(Stdio::null()).status();
        }
        thread::sleep(LOOK_EVERY);
    }
    let output = campaign.wait_with_output().expect("has ended");
    assert_eq!(code(&output), 70, "{output:?}");
    let summary = summary(&stdout(&output));
    let failed = &summary["failed"][0];
    assert_eq!(failed["property"], "harness");
    let seed = failed["seed"].as_u64().expect("is named");
    assert_eq!(summary["seeds"].as_u64(), Some(seed), "it is the last one that counts");
}

#[test]
fn a_worker_is_a_session_of_its_own() {
    let scratch = Scratch::new("sessions");
    let mut campaign = long_campaign(scratch.path(), "2");
    seeds_begun(scratch.path(), 3);
    let session = |pid: u32| -> u32 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        let after_name = stat.rsplit(')').next().expect("there is a name");
        after_name.split_whitespace().nth(3).expect("there is a session").parse().expect("is a number")
    };
    for worker in children(campaign.id()) {
        assert_eq!(session(worker), worker, "it leads its own");
    }
    signal("-INT", campaign.id());
    assert_eq!(campaign.wait().expect("ends").code(), Some(130));
}

#[test]
fn the_number_of_a_seed_says_which_engine_runs_it_and_replays_run_the_same() {
    let scratch = Scratch::new("engines");
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let output = run(scratch.path(), arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("is an object")).collect()
    };
    let both = lines(&["sim", "--seed", "9", "--seeds", "2", "--profile", "calm", "--json"]);
    let seeds: Vec<&Value> = both.iter().filter(|line| line["kind"] == "seed").collect();
    assert_eq!(seeds.iter().map(|line| line["engine"].as_str()).collect::<Vec<_>>(), [Some("event"), Some("turmoil")]);
    for line in seeds {
        let seed = line["seed"].to_string();
        let replayed = lines(&["replay", &seed, "--profile", "calm", "--json"]);
        assert_eq!(replayed.last().expect("there is one")["fingerprint"], line["fingerprint"], "seed {seed}");
    }
    let one = |engine: &str| {
        let lines = lines(&["sim", "--seed", "10", "--profile", "calm", "--engine", engine, "--json"]);
        let summary = lines.last().expect("there is one").clone();
        assert_eq!(summary["seeds"], 1, "who names a seed means that one");
        summary["fingerprint"].clone()
    };
    assert_eq!(one("both"), one("turmoil"));
    assert_ne!(one("event"), one("turmoil"));
}

#[test]
fn a_campaign_says_which_rule_ended_it() {
    let scratch = Scratch::new("ended");
    let ended = |arguments: &[&str]| {
        let output =
            run(scratch.path(), &[&["sim", "--profile", "calm", "--engine", "event", "--json"], arguments].concat());
        (code(&output), summary(&stdout(&output))["ended"].as_str().map(str::to_owned))
    };
    assert_eq!(ended(&["--seeds", "3"]), (0, Some("seeds_done".to_owned())));
    assert_eq!(ended(&["--time", "500ms"]), (0, Some("time_over".to_owned())));
    assert_eq!(ended(&["--seeds", "2", "--until-covered"]), (3, Some("cap_reached".to_owned())));
    assert_eq!(ended(&["--until-covered", "5"]), (0, Some("covered".to_owned())));
}
