//! Running a check: saved plans first, then the seeds; the first broken promise ends it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use dacapo_backends::clock::SystemClock;
use dacapo_core::{Timestamp, trace::Fingerprint};

use super::{
    Checked, Simulation,
    error::{CheckError, SetupError},
    failure::Failure,
    save,
    scenario::Composed,
    seen::INSPECTIONS_FROM,
    which::{Environment, Which},
};
use crate::{
    plan::{Plan, PlanError},
    recorder::Keep,
    run::{Outcome, RunOptions, run},
    shrink::{Minimality, ShrinkError, ShrinkOptions, Shrunk, shrink},
    verify::verify,
};

/// One check at a time in a process: the random numbers of the embedded store belong to the whole of it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(super) fn check(simulation: &Simulation, which: Which, environment: Environment) -> Result<Checked, CheckError> {
    // A check that panicked has left nothing behind that the next one could stumble over.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let scenario = simulation.composed()?;
    let asked_for = which.clone();
    let (which, demands_situations) = environment.choose(which);
    let mut campaign = Campaign { simulation, scenario: &scenario, checked: Checked::default(), verified: false };
    if which == asked_for
        && let Some(folder) = &simulation.regressions
    {
        campaign.regressions(folder)?;
    }
    match which {
        Which::Plan(file) => campaign.one(&read(&file)?, Origin::File(&file))?,
        Which::Seeds(seeds) if seeds.is_empty() => return Err(SetupError::NoSeeds.into()),
        Which::Seeds(seeds) => {
            for seed in seeds {
                campaign.one(&simulation.draw(&scenario, seed)?, Origin::Seed)?;
                campaign.checked.seeds.push(seed);
            }
        }
    }
    let Campaign { checked, .. } = campaign;
    if demands_situations {
        simulation.conclude(&scenario, &checked)?;
    }
    Ok(checked)
}

fn read(file: &Path) -> Result<Plan, SetupError> {
    let text = fs::read_to_string(file).map_err(|error| SetupError::File { path: file.to_owned(), error })?;
    Plan::from_json(&text).map_err(|error| SetupError::Plan { whose: file.display().to_string(), error })
}

impl Simulation {
    /// The plan of a seed, with the test's own limits.
    fn draw(&self, scenario: &Composed, seed: u64) -> Result<Plan, SetupError> {
        let mut plan = Plan::draw(scenario, seed, &self.profile);
        self.limits.iter().for_each(|change| change(&mut plan.settings.limits));
        if plan.operations.is_empty() {
            return Err(SetupError::NoOperations(seed));
        }
        if plan.operations.iter().any(|operation| operation.id >= INSPECTIONS_FROM) {
            return Err(SetupError::TooManyOperations { seed, operations: plan.operations.len() });
        }
        for operation in &plan.operations {
            if !self.services.iter().any(|spec| spec.name == operation.service) {
                let known: Vec<&str> = self.services.iter().map(|spec| spec.name.as_str()).collect();
                return Err(SetupError::NoSuchService {
                    operation: operation.id,
                    service: operation.service.to_string(),
                    known: known.join(", "),
                });
            }
            if operation.customer >= self.profile.customers {
                return Err(SetupError::NoSuchCustomer {
                    operation: operation.id,
                    customer: operation.customer,
                    customers: self.profile.customers,
                });
            }
        }
        Ok(plan)
    }

    /// Whether the campaign has come to what it should have come to.
    fn conclude(&self, scenario: &Composed, checked: &Checked) -> Result<(), CheckError> {
        let never = self.situations.iter().filter(|situation| checked.met.count(situation.name) == 0);
        let mut missed: Vec<String> = never.map(|it| format!("`{}` never happened", it.name)).collect();
        let promises = scenario.makes.iter().take(self.promises.len()).map(|make| make().name());
        let idle = promises.filter(|name| checked.checks.get(name).is_none_or(|checks| *checks == 0));
        missed.extend(idle.map(|name| format!("`{name}` was never in a position to be broken")));
        if missed.is_empty() {
            return Ok(());
        }
        Err(CheckError::Inconclusive { missed, seeds: checked.seeds.len() })
    }
}

/// Where a plan comes from.
#[derive(Debug, Clone, Copy)]
enum Origin<'a> {
    /// It was drawn.
    Seed,
    /// The test names its file.
    File(&'a Path),
    /// It lies in the folder of the regressions.
    Regression(&'a Path),
}

impl Origin<'_> {
    fn whose(self, plan: &Plan) -> String {
        match self {
            Self::Seed => format!("the plan of seed {}", plan.seed),
            Self::File(file) | Self::Regression(file) => file.display().to_string(),
        }
    }
}

struct Campaign<'a> {
    simulation: &'a Simulation,
    scenario: &'a Composed,
    checked: Checked,
    /// A plan was run twice already.
    verified: bool,
}

impl Campaign<'_> {
    fn options(&self, plan: &Plan) -> RunOptions {
        RunOptions { engine: self.simulation.engine_of(plan.seed), ..RunOptions::default() }
    }

    fn regressions(&mut self, folder: &Path) -> Result<(), CheckError> {
        let unreadable = |error| SetupError::File { path: folder.to_owned(), error };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            files.push(entry.map_err(unreadable)?.path());
        }
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        for file in files {
            self.one(&read(&file)?, Origin::Regression(&file))?;
            self.checked.regressions += 1;
        }
        Ok(())
    }

    /// Runs one plan and adds it up.
    fn one(&mut self, plan: &Plan, origin: Origin<'_>) -> Result<(), CheckError> {
        let wrong = |error| SetupError::Plan { whose: origin.whose(plan), error };
        let outcome = if self.simulation.twice || !self.verified {
            self.verified = true;
            let verified = verify(self.scenario, plan, &self.options(plan)).map_err(wrong)?;
            if let Some(difference) = verified.difference {
                return Err(CheckError::NotDeterministic(difference));
            }
            verified.outcome
        } else {
            run(self.scenario, plan, &self.options(plan)).map_err(wrong)?
        };
        if outcome.violation.is_some() {
            return Err(self.broken(plan, outcome.fingerprint, origin).map_err(wrong)?);
        }
        self.checked.add(&outcome);
        Ok(())
    }

    /// What there is to tell of a plan that breaks a promise.
    fn broken(&self, drawn: &Plan, fingerprint: Fingerprint, origin: Origin<'_>) -> Result<CheckError, PlanError> {
        let again = verify(self.scenario, drawn, &self.options(drawn))?;
        if let Some(difference) = again.difference {
            return Ok(CheckError::NotDeterministic(difference));
        }
        assert_eq!(again.outcome.fingerprint, fingerprint, "two more runs were equal, and the first one was not");
        let (plan, minimality) = match origin {
            Origin::Seed => self.smaller(drawn)?,
            Origin::File(_) | Origin::Regression(_) => (drawn.clone(), None),
        };
        // Once more, with its records kept, to tell what led to the violation.
        let keeping = RunOptions { keep: Keep::All, ..self.options(&plan) };
        let Outcome { violation, records, simulated, fingerprint, .. } = run(self.scenario, &plan, &keeping)?;
        let violation = violation.expect("this very plan was seen to break a promise");
        let at_step = records.iter().find(|record| record.step == violation.step).map(|record| record.at);
        Ok(CheckError::Broken(Box::new(Failure {
            property: violation.property.to_owned(),
            sentence: violation.sentence.to_owned(),
            message: violation.message.clone(),
            seed: drawn.seed,
            step: violation.step,
            at: at_step.unwrap_or(Timestamp(simulated.as_micros() as u64)),
            story: Failure::story(&violation, &records),
            saved: match origin {
                Origin::Seed => save::save(self.simulation.plans.as_deref(), &plan, violation.property),
                Origin::File(file) | Origin::Regression(file) => Ok(file.to_owned()),
            },
            regression: match origin {
                Origin::Regression(file) => Some(file.to_owned()),
                Origin::Seed | Origin::File(_) => None,
            },
            engine: keeping.engine,
            drawn: drawn.clone(),
            plan,
            minimality,
            fingerprint,
            test: std::thread::current().name().filter(|name| *name != "main").map(str::to_owned),
        })))
    }

    /// The smallest plan that breaks the same promise, as far as there is time.
    fn smaller(&self, plan: &Plan) -> Result<(Plan, Option<Minimality>), PlanError> {
        let budget = self.simulation.shrink_within;
        if budget.is_zero() {
            return Ok((plan.clone(), None));
        }
        let clock = Arc::new(SystemClock::new());
        let options = ShrinkOptions { run: self.options(plan), budget: Some((clock, budget)), jobs: 1 };
        match shrink(self.scenario, plan, &options) {
            Ok(Shrunk { plan, minimality, .. }) => Ok((plan, Some(minimality))),
            Err(ShrinkError::Plan(error)) => Err(error),
            Err(ShrinkError::Passes) => unreachable!("this very plan was seen to break a promise"),
        }
    }
}
