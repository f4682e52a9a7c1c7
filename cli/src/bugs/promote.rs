//! `dacapo bugs promote`: a bug that is mended becomes a regression, a file that tests replay.
//!
//! A regression names a mark that its plan must still reach, so that it cannot rot silently: the day it no longer reaches
//! the place that it is about, the test says so.

use std::{collections::BTreeMap, fs};

use anyhow::Context as _;
use dacapo_sim::{
    BugBase, Engine, Outcome, Plan, RunOptions,
    marks::{Needs, marks},
    run as run_plan,
};
use serde::Serialize;

use super::{PromoteArguments, named};
use crate::{
    exit::{Exit, Usage},
    scenarios,
    terminal::{Terminal, good},
};

/// A file of regressions.
#[derive(Serialize)]
struct Regression<'a> {
    story: &'a str,
    fixed: &'a str,
    property: &'a str,
    mark: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    engine: Engine,
    plan: &'a Plan,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over by reference")]
fn is_default(engine: &Engine) -> bool {
    *engine == Engine::default()
}

/// Promotes a bug.
pub(super) fn run(terminal: &Terminal, base: &BugBase, arguments: &PromoteArguments) -> anyhow::Result<Exit> {
    let bug = named(base, &arguments.id)?;
    if let Some(planted) = bug.plan.bug {
        return Err(Usage::error(format!(
            "{} was planted ({planted}) and will never be mended; promote one that nobody planted",
            bug.id
        )));
    }
    let scenario = scenarios::named(&bug.scenario)?;
    let options = RunOptions { engine: bug.engine, ..RunOptions::default() };
    let plan = bug.smallest();
    let outcome = run_plan(&*scenario, plan, &options).map_err(|error| Usage::error(format!("{}: {error}", bug.id)))?;
    if let Some(violation) = &outcome.violation {
        terminal.note(format_args!("{} still breaks {}: {}", bug.id, violation.property, violation.message));
        terminal.note("a regression is a bug that is mended: mend it, then promote it");
        return Ok(Exit::Violated);
    }
    let reached: BTreeMap<&str, u64> = outcome.reached.counts().filter(|(_, count)| *count > 0).collect();
    let mark = match &arguments.mark {
        Some(mark) if reached.contains_key(mark.as_str()) => mark.clone(),
        Some(mark) => {
            let reached: Vec<&str> = reached.into_keys().collect();
            return Err(Usage::error(format!("the plan does not reach {mark:?}; it reaches: {}", reached.join(", "))));
        }
        None => rarest(&outcome, plan)
            .ok_or_else(|| Usage::error("the plan reaches no mark, so a test could not tell whether it has rotted"))?,
    };
    let regression = Regression {
        story: arguments.story.as_deref().unwrap_or(&bug.message),
        fixed: env!("CARGO_PKG_VERSION"),
        property: &bug.property,
        mark: &mark,
        engine: bug.engine,
        plan,
    };
    let path = arguments.to.join(format!("{}-{}.json", bug.property, bug.id));
    fs::create_dir_all(&arguments.to)
        .and_then(|()| fs::write(&path, serde_json::to_string_pretty(&regression)? + "\n"))
        .with_context(|| format!("cannot write the regression {}", path.display()))?;
    terminal.line(format_args!("{} {} with the mark {mark:?}", good("promoted to"), path.display()));
    terminal.object("promoted", &serde_json::json!({ "id": bug.id, "file": path.display().to_string(), "mark": mark }));
    Ok(Exit::Passed)
}

/// The mark that says most: one that not every campaign reaches, and the one that was reached the fewest times.
fn rarest(outcome: &Outcome, plan: &Plan) -> Option<String> {
    let marks = marks();
    let is_special = |name: &str| {
        marks.iter().any(|mark| match mark.needs {
            Needs::OneOf(families) => {
                mark.name == name && plan.faults.iter().any(|fault| families.contains(&fault.family))
            }
            _ => false,
        })
    };
    let reached = outcome.reached.counts().filter(|(_, count)| *count > 0);
    reached.min_by_key(|(name, count)| (!is_special(name), *count, (*name).to_owned())).map(|(name, _)| name.to_owned())
}
