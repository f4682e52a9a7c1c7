//! What a failing run leaves behind: the failure in the bug base, with the smallest plan that breaks the same.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dacapo_backends::clock::SystemClock;
use dacapo_core::hooks::Clock as _;
use dacapo_reporting::calendar;
use dacapo_sim::{
    Engine, Plan, RunOptions, ShrinkError, ShrinkOptions,
    bugbase::{Added, BugBase, Finding, Provenance as Origin, Small},
    shrink,
};

use crate::{
    provenance::Provenance,
    scenarios,
    sim_command::Violated,
    terminal::{Terminal, span},
};

/// How long a failure may be shrunk before it is told.
const SHRINK_BUDGET: Duration = Duration::from_secs(10);

/// Which failures are shrunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shrinking {
    /// None.
    None,
    /// The first one: of many failures, most are the same one.
    First,
    /// Each.
    All,
}

/// Keeps failures.
pub(crate) struct Keeper {
    base: BugBase,
    directory: PathBuf,
    shrinking: Shrinking,
}

impl Keeper {
    /// Into this base.
    pub(crate) fn new(directory: &Path, shrinking: Shrinking) -> Self {
        Self { base: BugBase::at(directory), directory: directory.to_owned(), shrinking }
    }

    /// Where the base is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Keeps a failure that an engine found.
    pub(crate) fn keep(
        &mut self,
        terminal: &Terminal,
        violated: &Violated,
        engine: Engine,
        provenance: &Provenance,
    ) -> anyhow::Result<Added> {
        let plan = Plan::from_json(&violated.plan)?;
        let mut small = None;
        if self.shrinking != Shrinking::None && !self.base.is_known(&violated.property, engine, &plan)? {
            if self.shrinking == Shrinking::First {
                self.shrinking = Shrinking::None;
            }
            small = shrunk(terminal, &plan, engine, &violated.property)?;
        }
        let finding = Finding {
            property: violated.property.clone(),
            sentence: violated.sentence.clone(),
            message: violated.message.clone(),
            engine,
            plan,
            small,
            provenance: origin(provenance),
            date: calendar::show(SystemClock::default().now().wall),
        };
        let added = self.base.add(finding)?;
        terminal.object(
            "bug",
            &serde_json::json!({
                "id": added.bug.id,
                "seed": added.bug.seed,
                "property": added.bug.property,
                "file": added.path.display().to_string(),
                "new": added.is_new,
                "count": added.bug.count,
                "small": added.bug.small.as_ref().map(|small| serde_json::json!({
                    "operations": small.plan.operations.len(),
                    "faults": small.plan.faults.len(),
                    "minimality": small.minimality,
                })),
            }),
        );
        Ok(added)
    }
}

fn shrunk(terminal: &Terminal, plan: &Plan, engine: Engine, property: &str) -> anyhow::Result<Option<Small>> {
    terminal.note(format_args!(
        "shrinking seed {} for {} at most; --no-shrink leaves it as it is",
        plan.seed,
        span(SHRINK_BUDGET.as_secs_f64())
    ));
    let options = ShrinkOptions {
        run: RunOptions { engine, ..RunOptions::default() },
        budget: Some((Arc::new(SystemClock::default()), SHRINK_BUDGET)),
        jobs: 1,
    };
    match shrink(&*scenarios::named(&plan.scenario)?, plan, &options) {
        Ok(shrunk) if shrunk.failing.property == property => {
            Ok(Some(Small { minimality: shrunk.minimality, plan: shrunk.plan }))
        }
        // The same plan went another way just now.
        Ok(_) | Err(ShrinkError::Passes) => {
            terminal.note(format_args!("seed {} did not fail the same way again; see --verify", plan.seed));
            Ok(None)
        }
        Err(error @ ShrinkError::Plan(_)) => Err(error.into()),
    }
}

fn origin(provenance: &Provenance) -> Origin {
    Origin {
        commit: provenance.commit.clone(),
        clean: provenance.clean,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: command(),
    }
}

/// The command of this process, as it may be typed.
fn command() -> String {
    let words = std::env::args().enumerate().map(|(index, word)| {
        let name = Path::new(&word).file_name().map(|name| name.to_string_lossy().into_owned());
        match name {
            Some(name) if index == 0 => name,
            _ if word.contains(' ') => format!("'{word}'"),
            _ => word,
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
