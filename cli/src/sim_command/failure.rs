//! What is said of a failure, in the order in which a person asks: which promise, who did what, what disturbed it, how to
//! see it again.

use std::path::PathBuf;

use dacapo_core::Timestamp;
use dacapo_reporting::run::Blamed;
use dacapo_sim::{Engines, bugbase::Added};

use super::{
    result::{Failure, FaultLine, SeedResult, StoryLine, Violated},
    summary::Ending,
};
use crate::{
    surgery::words,
    terminal::{Terminal, bad, count, faint, strong},
};

/// Faults shown where none is known to be needed; a plan may hold dozens.
const FAULTS_SHOWN_MAX: usize = 6;

/// What the bug base knows of it.
pub(crate) struct Kept {
    /// The bug.
    pub(crate) added: Added,
    /// The flag that names the base, with a space before it.
    pub(crate) bugs: String,
    /// The page that shows the run, and the directory of the recorded run.
    pub(crate) picture: Option<(PathBuf, PathBuf)>,
    /// Where it was lost.
    pub(crate) blamed: Option<Blamed>,
}

/// Says it.
pub(crate) fn write(terminal: &Terminal, result: &SeedResult, kept: Option<&Kept>, ending: &Ending<'_>) {
    match &result.failure {
        Some(Failure::Violated(violated)) => violation(terminal, result, violated, kept, ending),
        Some(Failure::Differs(difference)) => {
            terminal.line(format_args!("{} seed {} ran in two ways", bad("NOT DETERMINISTIC"), result.seed));
            terminal.line(difference);
            provenance(terminal, result, ending);
        }
        Some(Failure::Harness(reason)) => {
            terminal.line(format_args!("{} at seed {}: {reason}", bad("THE HARNESS FAILED"), result.seed));
            terminal
                .line("This is a mistake of Dacapo or of its surroundings; it says nothing about what was simulated.");
            provenance(terminal, result, ending);
        }
        None => {}
    }
}

fn violation(terminal: &Terminal, result: &SeedResult, violated: &Violated, kept: Option<&Kept>, ending: &Ending<'_>) {
    terminal.line(format_args!("{} {}: {}", bad("VIOLATED"), strong(&violated.property), violated.sentence));
    terminal.line("");
    let place = match violated.step {
        0 => "at the end of the run".to_owned(),
        step => format!("at step {step}, {}", Timestamp(violated.at_us)),
    };
    terminal.line(format_args!("{} ({place})", violated.message));
    for line in &violated.story {
        terminal.line(story_line(line));
    }
    terminal.line("");
    faults(terminal, violated);
    terminal.line(format_args!("plan       {} operations, {} faults", result.operations, result.faults_planned));
    if let Some(Kept { added, blamed, .. }) = kept {
        if let Some(small) = &added.bug.small {
            let size = words::size(&small.plan);
            terminal.line(format_args!("small      {size}; {}", words::minimality(small.minimality)));
        }
        if let Some(blamed) = blamed {
            terminal.line(format_args!("blame      {}", blamed.text));
        }
        let times = if added.is_new { "new".to_owned() } else { format!("found {} times", added.bug.count) };
        terminal.line(format_args!("bug        {}, {times}, in {}", strong(&added.bug.id), added.path.display()));
    }
    if let Some((page, _)) = kept.and_then(|kept| kept.picture.as_ref()) {
        terminal.line(format_args!("picture    {}", strong(page.display())));
    }
    terminal.line("");
    let mut head = "again";
    let mut say = |command: String| {
        terminal.line(format_args!("{head:<10} {} {command}", program()));
        head = "";
    };
    if ending.as_drawn {
        say(replay_of_seed(result, ending));
    }
    if let Some(Kept { added, bugs, picture, .. }) = kept {
        let bug = &added.bug;
        match bug.small {
            Some(_) => say(format!("replay {}{bugs} --trace", bug.id)),
            None => say(format!("shrink {}{bugs}", bug.id)),
        }
        say(format!("blame {}{bugs}", bug.id));
        if let Some((_, run)) = picture {
            say(format!("view {}", run.display()));
        }
    }
    provenance(terminal, result, ending);
}

/// ` --engine turmoil`, unless the seed's number says so by itself.
fn engine_flag(result: &SeedResult) -> String {
    if result.engine == Engines::Both.of(result.seed.0) {
        String::new()
    } else {
        format!(" --engine {}", result.engine)
    }
}

/// `replay 42`, with whatever is not the default.
pub(crate) fn replay_of_seed(result: &SeedResult, ending: &Ending<'_>) -> String {
    let mut replay = format!("replay {}{}", result.seed, engine_flag(result));
    let flags = [
        ("scenario", Some(ending.scenario).filter(|scenario| *scenario != "bank")),
        ("profile", Some(ending.profile).filter(|profile| *profile != "swarm")),
        ("bug", ending.bug),
    ];
    for (flag, value) in flags {
        if let Some(value) = value {
            replay.extend([" --", flag, " ", value]);
        }
    }
    replay
}

fn faults(terminal: &Terminal, violated: &Violated) {
    let mut head = "faults";
    let mut say = |text: String| {
        terminal.line(format_args!("{head:<10} {text}"));
        head = "";
    };
    let needed: Vec<&FaultLine> = violated.faults.iter().filter(|fault| fault.needed == Some(true)).collect();
    if violated.faults.is_empty() {
        say("none had begun".to_owned());
    } else if violated.without_faults == Some(true) {
        say("none is needed: without any, the same promise breaks".to_owned());
    } else if let Some(first) = needed.first() {
        for fault in &needed {
            say(format!("{}: without it, the promise holds", fault_line(fault)));
        }
        let others = (violated.faults.len() - needed.len()) as u64;
        say(faint(format_args!(
            "{} had begun; see for yourself: --without-fault {}",
            count(others, "other", "others"),
            first.fault
        )));
    } else {
        if violated.without_faults.is_some() {
            say("no single one is needed, but without any the promise holds; the last ones were".to_owned());
        }
        let hidden = violated.faults.len().saturating_sub(FAULTS_SHOWN_MAX);
        for fault in &violated.faults[hidden..] {
            say(fault_line(fault));
        }
        if hidden > 0 {
            say(faint(format_args!("{} before them", count(hidden as u64, "other", "others"))));
        }
    }
}

fn fault_line(fault: &FaultLine) -> String {
    let state = if fault.on { "still on" } else { "over by then" };
    format!("#{} {} (began at step {}, {}; {state})", fault.fault, fault.text, fault.step, Timestamp(fault.at_us))
}

/// `  step 812   12.345s  accounts-1   completes …`
pub(crate) fn story_line(line: &StoryLine) -> String {
    line.to_string()
}

fn provenance(terminal: &Terminal, result: &SeedResult, ending: &Ending<'_>) {
    terminal.line(format_args!(
        "of         {}, profile {}, {} engine, fingerprint {:016x}",
        ending.provenance, ending.profile, result.engine, result.fingerprint
    ));
}

/// How this program was called, so that the commands shown can be pasted as they are.
pub(crate) fn program() -> String {
    std::env::args().next().filter(|name| !name.contains(' ')).unwrap_or_else(|| "dacapo".to_owned())
}
