//! What the README shows is what happens.
//!
//! `DACAPO_UPDATE_README=1` writes what happens into the README instead, from a release build (with `--features
//! planted-bugs` for the failure): `DACAPO_UPDATE_README=1 cargo test --release --package dacapo --test readme`.

#[path = "readme/greeter.rs"]
mod greeter;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use dacapo_core::{Data, Event, EventId, EventType, Key, Limits, Position, Source, Version, WallTime, planted::Bug};
use dacapo_properties::{Judge, Scenario as _};
use dacapo_service::Service as _;
use support::{Scratch, code, run, stdout};

const SUCCESS: &str = "cargo run --release -- sim";
const FAILURE: &str = "cargo run --release --features planted-bugs -- sim --bug overdraft-unguarded";

fn readme_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

fn readme() -> String {
    fs::read_to_string(readme_path()).expect("is there")
}

#[test]
fn the_table_of_planted_bugs_names_every_bug_and_how_it_was_measured() {
    let text = readme();
    let (_, rest) = text.split_once("<!-- planted bugs: begin -->").expect("the table begins");
    let (table, _) = rest.split_once("<!-- planted bugs: end -->").expect("the table ends");
    for bug in Bug::ALL {
        let row = table.lines().find(|line| line.starts_with(&format!("| `{bug}`: ")));
        let row = row.unwrap_or_else(|| panic!("{bug} has no row"));
        assert!(row.contains(bug.story()), "{row}");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, median, p95, shrunk, caught_by, _] = cells[..] else { panic!("{row}") };
        assert!(median.parse::<u64>().is_ok(), "half of the campaigns find {bug}: {median}");
        assert!(!p95.is_empty() && shrunk.contains("operation") && caught_by.starts_with('`'), "{row}");
    }
    let (_, measured) = table.split_once("Measured by `dacapo bugs planted").expect("it says by what command");
    let (_, commit) = measured.split_once("at commit `").expect("it says of which commit");
    let (commit, _) = commit.split_once('`').expect("the commit ends");
    assert!(commit.len() == 40 && commit.chars().all(|digit| digit.is_ascii_hexdigit()), "{commit}");
}

/// The lines of the block between two markers, without its fences.
fn block(name: &str) -> Vec<String> {
    let text = readme();
    let (_, rest) = text.split_once(&format!("<!-- the {name}:")).unwrap_or_else(|| panic!("{name} is marked"));
    let (_, rest) = rest.split_once("```").expect("a block follows");
    let (block, _) = rest.split_once("```").expect("it ends");
    block.lines().skip(1).map(str::to_owned).collect()
}

/// Writes what was said into a block, if that was asked for.
fn update(name: &str, command: &str, said: &str) {
    if std::env::var_os("DACAPO_UPDATE_README").is_some() {
        let text = readme();
        let (before, rest) = text.split_once(&format!("<!-- the {name}:")).expect("is marked");
        let (marker, rest) = rest.split_once("```").expect("a block follows");
        let (_, after) = rest.split_once("```").expect("it ends");
        let program = env!("CARGO_BIN_EXE_dacapo");
        let said = abridged(&said.trim().replace(program, "target/release/dacapo"));
        let block = format!("<!-- the {name}:{marker}```console\n$ {command}\n{said}\n```");
        fs::write(readme_path(), format!("{before}{block}{after}")).expect("can be written");
    }
}

/// Tables of several lines become one line and dots: the first screen is for reading.
fn abridged(said: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut table = false;
    for line in said.lines() {
        let goes_on = line.starts_with("           ");
        if !goes_on {
            // The faults of a failure have numbers, and are what it is about.
            table =
                ["faults ", "checked ", "sometimes "].iter().any(|head| line.starts_with(head)) && !line.contains('#');
            lines.push(line);
        } else if !table {
            lines.push(line);
        } else if lines.last().is_some_and(|last| !last.trim().starts_with('…')) {
            lines.push("           …");
        }
    }
    lines.join("\n")
}

/// Runs the binary elsewhere, but of this commit.
fn run_here(directory: &Path, arguments: &[&str]) -> Output {
    let root = readme_path().parent().expect("it lies somewhere").to_owned();
    let mut command = support::dacapo(directory);
    command.env("GIT_DIR", root.join(".git")).env("GIT_WORK_TREE", root);
    command.args(arguments).output().expect("the binary can be started")
}

/// What the lines are about: the first word of each line that does not go on with the one before.
fn heads<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Vec<String> {
    lines
        .into_iter()
        .filter(|line| line.as_ref().starts_with(|first: char| first.is_alphabetic()))
        .map(|line| line.as_ref().split([' ', ':']).next().unwrap_or_default().to_owned())
        // A few seeds do not reach everything that a hundred do.
        .filter(|head| !["never", "unchecked"].contains(&head.as_str()))
        .collect()
}

#[test]
fn the_campaign_on_the_first_screen_says_what_it_shows() {
    let scratch = Scratch::new("readme");
    if std::env::var_os("DACAPO_UPDATE_README").is_some() && !dacapo_core::planted::BUILT_IN {
        update("success", SUCCESS, &stdout(&run_here(scratch.path(), &["sim"])));
    }
    let shown = block("success");
    assert_eq!(shown[0], format!("$ {SUCCESS}"));
    let output = run(scratch.path(), &["sim", "--seeds", "3"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let said = stdout(&output);
    assert_eq!(heads(&shown[1..]), heads(said.lines()), "{said}");
    let verdict = said.lines().last().expect("it says something").replace("3 seeds", "100 seeds");
    assert_eq!(shown.last(), Some(&verdict));
}

#[test]
fn the_failure_on_the_first_screen_is_told_in_the_words_of_the_promise() {
    let said = dacapo_core::planted::BUILT_IN.then(|| {
        let scratch = Scratch::new("readme-failure");
        let output = run_here(scratch.path(), &["sim", "--bug", "overdraft-unguarded"]);
        assert_eq!(code(&output), 1, "{output:?}");
        let said = stdout(&output);
        update("failure", FAILURE, &said);
        said
    });
    let shown = block("failure");
    assert_eq!(shown[0], format!("$ {FAILURE}"));
    let judged = Judge::new(&Limits::default(), dacapo_bank::bank().properties()).summary();
    let violated = shown.iter().find(|line| line.starts_with("VIOLATED ")).expect("a promise is broken");
    let in_its_words = |name: &str, sentence: &str| *violated == format!("VIOLATED {name}: {sentence}");
    assert!(judged.iter().any(|judged| in_its_words(judged.name, judged.sentence)), "{violated}");
    if let Some(said) = said {
        assert_eq!(heads(&shown[1..]), heads(said.lines()), "{said}");
    }
}

#[test]
fn the_service_shown_is_one_and_folds_what_it_says() {
    let source = include_str!("readme/greeter.rs").replace("pub(crate) ", "");
    let (_, source) = source.split_once("#[derive(Clone)]").expect("it begins there");
    assert!(readme().contains(source.trim()), "the README shows another service than the one that is tested");

    let guest = Key::of("guest-1");
    let event = |version: u64, event_type: &str| Event {
        position: Position(version),
        id: EventId::of(format!("e-{version}")),
        event_type: EventType::of(event_type),
        key: guest.clone(),
        version: Version(version),
        correlation: dacapo_core::CorrelationId::of("c-1"),
        causation: None,
        time: WallTime(0),
        source: Source::of("door"),
        data: Data::null(),
    };
    let mut greetings = 0;
    for (version, event_type) in [(1, "GuestArrived"), (2, "GuestGreeted"), (3, "GuestArrived")] {
        greeter::Greeter.apply(&guest, &mut greetings, &event(version, event_type));
    }
    assert_eq!(greetings, 1);
}

#[test]
fn the_test_shown_is_that_of_the_example() {
    let root = readme_path().parent().expect("it lies somewhere").to_owned();
    for (name, file) in [("test", "main.rs"), ("promise", "promises.rs")] {
        let source = fs::read_to_string(root.join("seats/tests/simulation").join(file)).expect("is there");
        assert!(source.contains(&block(name).join("\n")), "{file} says something else than the README's {name}");
    }
}

#[test]
fn every_command_shown_has_a_verb_that_exists() {
    let scratch = Scratch::new("readme-verbs");
    let text = readme();
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("$ cargo run ")).collect();
    assert!(commands.len() >= 5, "the README shows commands: {commands:?}");
    for command in commands {
        let (_, arguments) = command.split_once("-- ").unwrap_or_else(|| panic!("{command} has a verb"));
        let verb = arguments.split(' ').next().unwrap_or_default();
        let help = run(scratch.path(), &[verb, "--help"]);
        assert_eq!(code(&help), 0, "{command}");
        // A verb with verbs of its own has their flags there.
        let below = arguments.split(' ').nth(1).filter(|word| !word.starts_with('-')).unwrap_or(verb);
        let help = format!("{}{}", stdout(&help), stdout(&run(scratch.path(), &[verb, below, "--help"])));
        for flag in arguments.split(' ').filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{verb} does not take {flag}");
        }
    }
    assert!(text.contains("$ cargo test --workspace"), "how to test it is said");
}
