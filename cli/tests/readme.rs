//! What the README shows is what happens.

#[path = "readme/greeter.rs"]
mod greeter;
mod support;

use std::{fs, path::Path};

use dacapo_core::{Data, Event, EventId, EventType, Key, Limits, Position, Source, Version, WallTime};
use dacapo_properties::{Judge, Scenario as _};
use dacapo_service::Service as _;
use support::{Scratch, code, run, stdout};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("is there")
}

/// The lines of the block between two markers, without its fences.
fn block(name: &str) -> Vec<String> {
    let text = readme();
    let (_, rest) = text.split_once(&format!("<!-- the {name}:")).unwrap_or_else(|| panic!("{name} is marked"));
    let (_, rest) = rest.split_once("```").expect("a block follows");
    let (block, _) = rest.split_once("```").expect("it ends");
    block.lines().skip(1).map(str::to_owned).collect()
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
    let shown = block("success");
    assert_eq!(shown[0], "$ cargo run --release -- sim");
    let scratch = Scratch::new("readme");
    let output = run(scratch.path(), &["sim", "--seeds", "3"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let said = stdout(&output);
    assert_eq!(heads(&shown[1..]), heads(said.lines()), "{said}");
    let verdict = said.lines().last().expect("it says something").replace("3 seeds", "100 seeds");
    assert_eq!(shown.last(), Some(&verdict));
}

#[test]
fn the_failure_on_the_first_screen_is_told_in_the_words_of_the_promise() {
    let shown = block("failure");
    assert_eq!(shown[0], "$ cargo run --release --features planted-bugs -- sim --bug receipt-before-commit");
    let judged = Judge::new(&Limits::default(), dacapo_bank::bank().properties()).summary();
    let violated = shown.iter().find(|line| line.starts_with("VIOLATED ")).expect("a promise is broken");
    let in_its_words = |name: &str, sentence: &str| *violated == format!("VIOLATED {name}: {sentence}");
    assert!(judged.iter().any(|judged| in_its_words(judged.name, judged.sentence)), "{violated}");
    if dacapo_core::planted::BUILT_IN {
        let scratch = Scratch::new("readme-failure");
        let output = run(scratch.path(), &["sim", "--bug", "receipt-before-commit"]);
        assert_eq!(code(&output), 1, "{output:?}");
        assert_eq!(heads(&shown[1..]), heads(stdout(&output).lines()));
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
        for flag in arguments.split(' ').filter(|word| word.starts_with("--")) {
            assert!(stdout(&help).contains(flag), "{verb} does not take {flag}");
        }
    }
    assert!(text.contains("$ cargo test --workspace"), "how to test it is said");
}
