//! The picture of a failure: the run recorded, and the page that stands alone.
//!
//! The page shows the smallest plan that is known, since that is the one to read; the run as it was found stands beside it
//! in the viewer.

use std::path::{Path, PathBuf};

use dacapo_reporting::run::Blamed;
use dacapo_sim::{
    Engine, Minimality, Plan,
    bugbase::{KnownBug, Small},
};

use super::{
    failure::{program, replay_of_seed},
    result::{SeedResult, Violated},
    summary::Ending,
};
use crate::{
    terminal::Terminal,
    view::record::{self, DIRECTORY, Recording},
};

/// Of a bug of the base: the page, and the directory of the run that it shows.
pub(super) fn of_bug(
    terminal: &Terminal,
    result: &SeedResult,
    violated: &Violated,
    bug: &KnownBug,
    blamed: Option<Blamed>,
    bugs: &str,
    ending: &Ending<'_>,
) -> anyhow::Result<(PathBuf, PathBuf)> {
    let runs = Path::new(DIRECTORY);
    let small_id = format!("{}-small", bug.id);
    let command = |verb: &str| format!("{} {verb} {}{bugs}", program(), bug.id);
    let found = Recording {
        name: format!("{}, as found", bug.id),
        plan: &Plan::from_json(&violated.plan)?,
        engine: result.engine,
        provenance: ending.provenance,
        replay: format!("{} --as-found", command("replay")),
        commands: vec![("where it was lost".to_owned(), format!("{} --as-found", command("blame")))],
        needed: needed(violated),
        blamed: None,
        beside: bug.small.iter().map(|_| ("the smallest".to_owned(), small_id.clone())).collect(),
    };
    let mut path = runs.join(&bug.id);
    let mut run = record::record(&path, found)?;
    if let Some(Small { minimality, plan }) = &bug.small {
        let is_minimal = *minimality == Minimality::Minimal;
        path = runs.join(&small_id);
        let small = Recording {
            name: bug.id.clone(),
            plan,
            engine: bug.engine,
            provenance: ending.provenance,
            replay: command("replay"),
            commands: vec![("where it was lost".to_owned(), command("blame"))],
            needed: plan.faults.iter().filter(|_| is_minimal).map(|fault| (fault.id, true)).collect(),
            blamed,
            beside: vec![("as found".to_owned(), bug.id.clone())],
        };
        run = record::record(&path, small)?;
    }
    let page = record::page(&run, runs.join(format!("{}.html", bug.id)))?;
    let shown = |path: &Path| path.display().to_string();
    terminal.object("picture", &serde_json::json!({ "page": shown(&page), "run": shown(&path) }));
    Ok((page, path))
}

/// Of a failure, into the directory of a report.
pub(super) fn of_report(
    directory: &Path,
    result: &SeedResult,
    violated: &Violated,
    ending: &Ending<'_>,
) -> anyhow::Result<()> {
    let name = format!("seed-{}", result.seed);
    let plan = Plan::from_json(&violated.plan)?;
    let replay = if ending.as_drawn {
        format!("{} {}", program(), replay_of_seed(result, ending))
    } else {
        format!("{} replay {}", program(), directory.join(format!("plan-{}.json", result.seed)).display())
    };
    let run = record::record(&directory.join(&name), of_seed(&plan, result.engine, ending, replay, needed(violated)))?;
    record::page(&run, directory.join(format!("{name}.html")))?;
    Ok(())
}

/// A plan as it was drawn, without anything beside it.
pub(super) fn of_seed<'a>(
    plan: &'a Plan,
    engine: Engine,
    ending: &Ending<'a>,
    replay: String,
    needed: Vec<(u32, bool)>,
) -> Recording<'a> {
    Recording {
        name: format!("seed {}", plan.seed),
        plan,
        engine,
        provenance: ending.provenance,
        replay,
        commands: Vec::new(),
        needed,
        blamed: None,
        beside: Vec::new(),
    }
}

fn needed(violated: &Violated) -> Vec<(u32, bool)> {
    violated.faults.iter().filter_map(|line| line.needed.map(|needed| (line.fault, needed))).collect()
}
