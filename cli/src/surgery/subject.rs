//! What is meant by SEED|BUG|FILE.

use std::{fs, path::Path};

use anyhow::Context as _;
use dacapo_sim::Plan;

use crate::{
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

/// The plan that is meant, and whether it is what its seed draws.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The plan.
    pub(crate) plan: Plan,
    /// It was named by its seed.
    pub(crate) by_seed: bool,
}

/// Finds the plan that is meant.
pub(crate) fn find(naming: &Naming<'_>) -> anyhow::Result<Subject> {
    let path = Path::new(naming.what);
    let seed = naming.what.parse::<Seed>();
    let mut plan = match seed {
        Ok(seed) => Order::new(naming.scenario, naming.profile, None, false)?.plan(seed)?,
        Err(_) if path.is_file() => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Plan::from_json(&text).map_err(|error| Usage::error(format!("{}: {error}", path.display())))?
        }
        Err(error) => {
            return Err(Usage::error(format!(
                "{error}; or give the file of a saved plan, or a bug of `dacapo bugs list`"
            )));
        }
    };
    if let Some(bug) = naming.bug {
        plan = plan.with_bug(planted(bug)?);
    }
    Ok(Subject { plan, by_seed: naming.what.parse::<Seed>().is_ok() })
}
