//! `dacapo list`: what there is, by name, so that nobody needs the source to find a word for the command line.

use dacapo_core::planted::Bug;
use serde::Serialize;

use crate::{
    arguments::{ListArguments, Subject},
    exit::Exit,
    scenarios,
    sim_command::catalogue,
    terminal::{Terminal, strong},
};

/// One thing.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    /// As the command line takes it.
    pub(crate) name: String,
    /// One line.
    pub(crate) sentence: String,
}

impl Item {
    /// A thing.
    pub(crate) fn new(name: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { name: name.into(), sentence: sentence.into() }
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    subject: &'static str,
    #[serde(flatten)]
    item: &'a Item,
}

/// Lists.
pub(crate) fn run(terminal: &Terminal, arguments: &ListArguments) -> Exit {
    let subjects = [
        (Subject::Scenarios, "scenarios"),
        (Subject::Profiles, "profiles"),
        (Subject::Properties, "properties"),
        (Subject::Faults, "faults"),
        (Subject::Marks, "marks"),
        (Subject::Bugs, "bugs"),
    ];
    let wanted = |subject| arguments.subject.is_none_or(|wanted| wanted == subject);
    for (subject, title) in subjects.into_iter().filter(|(subject, _)| wanted(*subject)) {
        let items = items(subject);
        let width = items.iter().map(|item| item.name.len()).max().unwrap_or_default();
        terminal.line(strong(title));
        for item in &items {
            terminal.line(format_args!("  {:<width$}  {}", item.name, item.sentence));
            terminal.object("item", &Listed { subject: title, item });
        }
    }
    Exit::Passed
}

fn items(subject: Subject) -> Vec<Item> {
    match subject {
        Subject::Scenarios => {
            scenarios::all().iter().map(|scenario| Item::new(scenario.name(), scenario.describe())).collect()
        }
        Subject::Profiles => catalogue::profiles(),
        Subject::Properties => catalogue::properties(),
        Subject::Faults => catalogue::faults(),
        Subject::Marks => catalogue::marks(),
        Subject::Bugs => Bug::ALL.iter().map(|bug| Item::new(bug.name(), bug.story())).collect(),
    }
}
