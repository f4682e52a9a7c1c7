//! Running a check: saved plans first, then the seeds; the first broken promise ends it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use dacapo_core::Timestamp;
use dacapo_properties::Violation;

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
    plan::Plan,
    recorder::Keep,
    run::{Outcome, RunOptions, run},
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
        Which::Plan(file) => campaign.one(&read(&file)?, None)?,
        Which::Seeds(seeds) if seeds.is_empty() => return Err(SetupError::NoSeeds.into()),
        Which::Seeds(seeds) => {
            for seed in seeds {
                campaign.one(&simulation.draw(&scenario, seed)?, None)?;
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

struct Campaign<'a> {
    simulation: &'a Simulation,
    scenario: &'a Composed,
    checked: Checked,
    /// A plan was run twice already.
    verified: bool,
}

impl Campaign<'_> {
    fn options(&self) -> RunOptions {
        RunOptions { engine: self.simulation.engine, ..RunOptions::default() }
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
            self.one(&read(&file)?, Some(&file))?;
            self.checked.regressions += 1;
        }
        Ok(())
    }

    /// Runs one plan and adds it up.
    fn one(&mut self, plan: &Plan, regression: Option<&Path>) -> Result<(), CheckError> {
        let wrong = |error| SetupError::Plan {
            whose: regression
                .map_or_else(|| format!("the plan of seed {}", plan.seed), |file| file.display().to_string()),
            error,
        };
        let outcome = if self.simulation.twice || !self.verified {
            self.verified = true;
            let verified = verify(self.scenario, plan, &self.options()).map_err(wrong)?;
            if let Some(difference) = verified.difference {
                return Err(CheckError::NotDeterministic(difference));
            }
            verified.outcome
        } else {
            run(self.scenario, plan, &self.options()).map_err(wrong)?
        };
        match &outcome.violation {
            Some(violation) => Err(self.broken(plan, violation, regression).map_err(wrong)?),
            None => {
                self.checked.add(&outcome);
                Ok(())
            }
        }
    }

    /// Runs the plan again with its records kept, to tell what led to the violation.
    fn broken(
        &self,
        drawn: &Plan,
        violation: &Violation,
        regression: Option<&Path>,
    ) -> Result<CheckError, crate::plan::PlanError> {
        let plan = drawn.clone();
        let keeping = RunOptions { keep: Keep::All, ..self.options() };
        let Outcome { violation: again, records, simulated, fingerprint, .. } = run(self.scenario, &plan, &keeping)?;
        let Some(again) = again.filter(|again| again.property == violation.property) else {
            let verified = verify(self.scenario, drawn, &self.options())?;
            let difference = verified.difference.expect("a plan that broke a promise and did not is run in two ways");
            return Ok(CheckError::NotDeterministic(difference));
        };
        let at_step = records.iter().find(|record| record.step == again.step).map(|record| record.at);
        let saved = match regression {
            Some(file) => Ok(file.to_owned()),
            None => save::save(self.simulation.plans.as_deref(), &plan, again.property),
        };
        let name = std::thread::current().name().filter(|name| *name != "main").map(str::to_owned);
        Ok(CheckError::Broken(Box::new(Failure {
            property: again.property.to_owned(),
            sentence: again.sentence.to_owned(),
            message: again.message.clone(),
            seed: drawn.seed,
            step: again.step,
            at: at_step.unwrap_or(Timestamp(simulated.as_micros() as u64)),
            story: Failure::story(&again, &records),
            plan,
            drawn: drawn.clone(),
            saved,
            regression: regression.map(Path::to_owned),
            fingerprint,
            test: name,
        })))
    }
}
