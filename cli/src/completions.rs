//! Completion scripts and the manual page, both made from the command line's own types.

use clap::CommandFactory as _;
use clap_complete::generate;

use crate::{
    arguments::{Arguments, CompletionsArguments},
    exit::Exit,
    terminal::Terminal,
};

/// Writes a completion script on stdout.
pub(crate) fn run(terminal: &Terminal, arguments: &CompletionsArguments) -> Exit {
    let mut script = Vec::new();
    generate(arguments.shell, &mut Arguments::command(), "dacapo", &mut script);
    terminal.raw(&script);
    Exit::Passed
}

/// Writes the manual page on stdout: the program's, then one section for each verb.
pub(crate) fn manual(terminal: &Terminal) -> anyhow::Result<Exit> {
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone()).date("");
    man.render(&mut page)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        let man = clap_mangen::Man::new(verb.clone());
        page.extend_from_slice(format!(".SH \"DACAPO {}\"\n", verb.get_name().to_uppercase()).as_bytes());
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    terminal.raw(&page);
    Ok(Exit::Passed)
}
