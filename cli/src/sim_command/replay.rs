//! `dacapo replay`: one run again.

use crate::{arguments::ReplayArguments, exit::Exit, terminal::Terminal};

/// Replays.
pub(crate) fn run(terminal: &Terminal, arguments: &ReplayArguments) -> anyhow::Result<Exit> {
    let _ = (terminal, arguments);
    anyhow::bail!("the simulator has not landed")
}
