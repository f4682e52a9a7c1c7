//! The one binary: where the scenarios are put into the simulator, and the bus is put on a disk.
//!
//! Each verb has a module of its own. This crate decides nothing about events, lanes or faults; it parses, calls the
//! room that knows, and tells a person (or, with `--json`, a program) what came of it. Printing is the affair of
//! [`terminal`] alone, and `anyhow` stops here: the other rooms have errors of their own.

mod arguments;
mod bench;
mod bugs;
mod client;
mod completions;
mod crash;
mod demo;
mod doctor;
mod events;
mod exit;
mod home;
mod http;
mod interrupt;
mod list;
mod logging;
mod new_service;
mod production;
mod provenance;
mod scenarios;
mod search;
mod seed;
mod serve;
mod service;
mod settings;
mod sim_command;
mod stopwatch;
mod surgery;
mod terminal;
mod token;
mod verify;
mod view;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use arguments::{Arguments, Verb};
use exit::Exit;
use terminal::Terminal;

fn main() -> ExitCode {
    let Arguments { json, verb } = Arguments::read();
    let terminal = Terminal::new(json);
    // A panic has said where it was; what is left is to end with a code that scripts can tell from a verdict.
    let exit = panic::catch_unwind(AssertUnwindSafe(|| obey(&terminal, verb))).unwrap_or(Exit::Failed);
    exit.into()
}

fn obey(terminal: &Terminal, verb: Verb) -> Exit {
    let result = match verb {
        Verb::Sim(arguments) => sim_command::explore::run(terminal, &arguments),
        Verb::Replay(arguments) => sim_command::replay::run(terminal, &arguments),
        Verb::Shrink(arguments) => surgery::shrink::run(terminal, &arguments),
        Verb::Blame(arguments) => surgery::blame::run(terminal, &arguments),
        Verb::Bugs(arguments) => bugs::run(terminal, &arguments),
        Verb::Search(arguments) => search::run(terminal, &arguments),
        Verb::Crash(arguments) => crash::run(terminal, &arguments),
        Verb::Demo(arguments) => demo::run(terminal, &arguments),
        Verb::Serve(arguments) => serve::run(terminal, &arguments),
        Verb::Token(arguments) => token::run(terminal, &arguments),
        Verb::Verify(arguments) => verify::run(terminal, &arguments),
        Verb::Service(arguments) => service::run(terminal, &arguments),
        Verb::New(arguments) => new_service::run(terminal, &arguments),
        Verb::Bench(arguments) => bench::run(terminal, &arguments),
        Verb::Events(arguments) => events::run(terminal, &arguments),
        Verb::View(arguments) => view::run(terminal, &arguments),
        Verb::Export(arguments) => view::export::run(terminal, &arguments),
        Verb::Diff(arguments) => view::diff::run(terminal, &arguments),
        Verb::List(arguments) => Ok(list::run(terminal, &arguments)),
        Verb::Doctor(arguments) => doctor::run(terminal, &arguments),
        Verb::Completions(arguments) => Ok(completions::run(terminal, &arguments)),
        Verb::Man => completions::manual(terminal),
        Verb::Worker => sim_command::worker::run(),
    };
    result.unwrap_or_else(|error| {
        terminal.error(&error);
        Exit::of(&error)
    })
}
