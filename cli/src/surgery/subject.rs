//! What is meant by SEED|BUG|FILE.

use std::{fs, path::Path};

use anyhow::Context as _;
use dacapo_sim::{
    BugBase, Engine, Engines, Plan, PlanError,
    bugbase::{self, KnownBug},
};

use crate::{
    bugs,
    exit::Usage,
    seed::Seed,
    sim_command::{Order, planted},
};

/// How a plan is named on the command line.
#[derive(Debug)]
pub(crate) struct Naming<'a> {
    /// A seed, a bug's id, or a file.
    pub(crate) what: &'a str,
    /// The scenario, for a seed.
    pub(crate) scenario: &'a str,
    /// The profile, for a seed.
    pub(crate) profile: &'a str,
    /// A bug to plant.
    pub(crate) bug: Option<&'a str>,
    /// The bug base.
    pub(crate) bugs: &'a Path,
}

/// The plan that is meant.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The plan: of a bug, as it was found.
    pub(crate) plan: Plan,
    /// The bug that it belongs to.
    pub(crate) known: Option<KnownBug>,
}

impl Subject {
    /// What carries it out, unless another engine was asked for.
    pub(crate) fn engine(&self) -> Engine {
        self.known.as_ref().map_or(Engines::Both.of(self.plan.seed), |bug| bug.engine)
    }

    /// The smallest plan that is known of it.
    pub(crate) fn smallest(self) -> Plan {
        match self.known {
            // A bug that was planted by the command line is in `plan` alone.
            Some(bug) if bug.plan == self.plan => bug.smallest().clone(),
            _ => self.plan,
        }
    }
}

/// Finds the plan that is meant.
pub(crate) fn find(naming: &Naming<'_>) -> anyhow::Result<Subject> {
    let mut subject = named(naming)?;
    if let Some(bug) = naming.bug {
        subject.plan = subject.plan.with_bug(planted(bug)?);
    }
    Ok(subject)
}

fn named(naming: &Naming<'_>) -> anyhow::Result<Subject> {
    let path = Path::new(naming.what);
    match naming.what.parse::<Seed>() {
        Ok(seed) => {
            let plan = Order::new(naming.scenario, naming.profile, None, false)?.plan(seed)?;
            Ok(Subject { plan, known: None })
        }
        Err(_) if bugbase::is_id(naming.what) => Ok(of(bugs::named(&BugBase::at(naming.bugs), naming.what)?)),
        Err(_) if path.is_file() => from_file(path),
        Err(error) => Err(Usage::error(format!(
            "{error}; or give the id of a bug (`dacapo bugs list` names them), or the file of a saved plan"
        ))),
    }
}

fn of(bug: KnownBug) -> Subject {
    Subject { plan: bug.plan.clone(), known: Some(bug) }
}

/// A plan, a bug of a bug base, or a regression: each holds a plan.
fn from_file(path: &Path) -> anyhow::Result<Subject> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let field = |name: &str| value.as_ref().and_then(|value| value.get(name));
    if field("first_seen").is_some() {
        return Ok(of(bugbase::read(path).map_err(|error| Usage::error(error.to_string()))?));
    }
    let plan = match field("plan") {
        Some(plan) => Plan::from_json(&plan.to_string()),
        None => Plan::from_json(&text),
    };
    let plan = plan.map_err(|error: PlanError| Usage::error(format!("{}: {error}", path.display())))?;
    Ok(Subject { plan, known: None })
}
