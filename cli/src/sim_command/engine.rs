//! The only module that speaks to the simulator: plans in, results in our own words out.

use dacapo_core::{
    planted::{BUILT_IN, Bug},
    trace::{Record, What},
};
use dacapo_properties::{Scenario, Violation};
use dacapo_sim::{
    Difference, End, Engine, Engines, Outcome, Plan, PlanError, Profile, RunOptions,
    marks::{Reach, Reached},
    narrate,
    recorder::Keep,
    run, verify,
};
use serde::{Deserialize, Serialize};

use super::{
    failure::story_line,
    result::{Failure, FaultLine, SeedResult, StoryLine, Violated},
};
use crate::{exit::Usage, scenarios, seed::Seed};

/// Records told of a violation, the last ones: more is what `replay --trace` is for.
const STORY_LINES_MAX: usize = 12;

/// How plans are drawn and carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Which scenario.
    pub(crate) scenario: String,
    /// Which profile.
    pub(crate) profile: String,
    /// What carries plans out.
    pub(crate) engines: Engines,
    /// A planted bug.
    pub(crate) bug: Option<Bug>,
    /// Whether to run everything twice.
    pub(crate) verify: bool,
    /// How much is told of a failure.
    pub(crate) telling: Telling,
}

/// How much is told of a failure, at the price of further runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Telling {
    /// The property, its message and the plan.
    Brief,
    /// What led to it as well: one run more.
    Story,
    /// Which faults are needed as well: a run for each.
    Attributed,
}

impl Order {
    /// Checks the names, so that a campaign does not find out at its first seed.
    pub(crate) fn new(scenario: &str, profile: &str, bug: Option<&str>, verify: bool) -> anyhow::Result<Self> {
        scenarios::named(scenario)?;
        profile_named(profile)?;
        let bug = bug.map(planted).transpose()?;
        Ok(Self {
            scenario: scenario.to_owned(),
            profile: profile.to_owned(),
            engines: Engines::default(),
            bug,
            verify,
            telling: Telling::Attributed,
        })
    }

    /// The marks that a campaign of this kind and length should reach; none: as many seeds as it takes.
    pub(crate) fn reachable_marks(&self, seeds: Option<u64>) -> anyhow::Result<Vec<String>> {
        if !scenarios::named(&self.scenario)?.leads_everywhere() {
            return Ok(Vec::new());
        }
        let families = profile_named(&self.profile)?.families.into_keys();
        let reach = Reach {
            families: families.filter(|family| self.engines.can_do(*family)).collect(),
            engines: self.engines,
            scenario: self.scenario.clone(),
            seeds,
        };
        Ok(Reached::default().missed(&reach).into_iter().map(|mark| mark.name.to_owned()).collect())
    }

    /// The plan of a seed.
    pub(crate) fn plan(&self, seed: Seed) -> anyhow::Result<Plan> {
        let scenario = scenarios::named(&self.scenario)?;
        let plan = Plan::draw(&*scenario, seed.0, &profile_named(&self.profile)?);
        Ok(match self.bug {
            Some(bug) => plan.with_bug(bug),
            None => plan,
        })
    }
}

fn profile_named(name: &str) -> anyhow::Result<Profile> {
    Profile::named(name).ok_or_else(|| {
        let known: Vec<String> = Profile::all().into_iter().map(|profile| profile.name).collect();
        Usage::error(format!("there is no profile {name:?}; there are: {}", known.join(", ")))
    })
}

/// A planted bug by name; a build that carries none says how to get one that does.
pub(crate) fn planted(name: &str) -> anyhow::Result<Bug> {
    let bug: Bug = name.parse().map_err(Usage::error)?;
    if BUILT_IN {
        Ok(bug)
    } else {
        Err(Usage::error(format!(
            "this build carries no planted bugs, so {name} cannot be planted; build one that does with `cargo build \
             --release --features planted-bugs`, or run `cargo run --release --features planted-bugs -- sim --bug {name}`"
        )))
    }
}

/// Runs one seed.
pub(crate) fn run_seed(order: &Order, seed: Seed) -> SeedResult {
    let result = order.plan(seed).and_then(|plan| {
        let scenario = scenarios::named(&order.scenario)?;
        let options = RunOptions { engine: order.engines.of(seed.0), ..RunOptions::default() };
        Ok(run_plan(&*scenario, &plan, order.verify, order.telling, &options)?.result)
    });
    result.unwrap_or_else(|error| SeedResult::harness(seed, order.engines.of(seed.0), format!("{error:#}")))
}

/// A run, and the records that were asked for.
pub(crate) struct Ran {
    /// What came of it.
    pub(crate) result: SeedResult,
    /// Oldest first.
    pub(crate) records: Vec<Record>,
    /// It was stopped at a step, as asked.
    pub(crate) stopped: bool,
}

/// Runs one plan, twice if it is to be verified.
pub(crate) fn run_plan(
    scenario: &dyn Scenario,
    plan: &Plan,
    twice: bool,
    telling: Telling,
    options: &RunOptions,
) -> Result<Ran, PlanError> {
    let (outcome, difference) = if twice {
        let verified = verify(scenario, plan, options)?;
        (verified.outcome, verified.difference)
    } else {
        (run(scenario, plan, options)?, None)
    };
    let failure = match (difference, &outcome.violation) {
        (Some(difference), _) => Some(Failure::Differs(difference_words(&difference))),
        (None, Some(violation)) => {
            let mut violated = explain(scenario, plan, options.engine, &outcome, violation, telling)?;
            if telling == Telling::Attributed {
                try_without_faults(scenario, plan, options.engine, &mut violated)?;
            }
            Some(Failure::Violated(violated))
        }
        (None, None) => None,
    };
    Ok(Ran {
        result: result_of(plan, options.engine, &outcome, failure),
        stopped: outcome.end == End::Stopped,
        records: outcome.records,
    })
}

fn result_of(plan: &Plan, engine: Engine, outcome: &Outcome, failure: Option<Failure>) -> SeedResult {
    let faults = outcome.faults_by_family();
    SeedResult {
        seed: Seed(plan.seed),
        engine,
        fingerprint: outcome.fingerprint.0,
        simulated_us: u64::try_from(outcome.simulated.as_micros()).unwrap_or(u64::MAX),
        records: outcome.steps,
        events: outcome.events,
        operations: plan.operations.len() as u64,
        faults_planned: plan.faults.len() as u64,
        faults: faults.into_iter().map(|(family, (begun, _))| (family.to_string(), begun)).collect(),
        checks: outcome.judged.iter().map(|judged| (judged.name.to_owned(), judged.checks)).collect(),
        shapes: outcome.shapes.clone(),
        marks: outcome.reached.counts().map(|(name, count)| (name.to_owned(), count)).collect(),
        failure,
    }
}

/// Runs the plan once more with its records kept, to tell what led to the violation.
fn explain(
    scenario: &dyn Scenario,
    plan: &Plan,
    engine: Engine,
    outcome: &Outcome,
    violation: &Violation,
    telling: Telling,
) -> Result<Violated, PlanError> {
    let records = match telling {
        Telling::Brief => Vec::new(),
        Telling::Story | Telling::Attributed => {
            run(scenario, plan, &RunOptions { engine, keep: Keep::All, ..RunOptions::default() })?.records
        }
    };
    let mut steps = violation.steps.clone();
    steps.extend(Some(violation.step).filter(|step| *step > 0));
    let at = |step: u64| records.get(usize::try_from(step.checked_sub(1)?).ok()?);
    let mut story: Vec<StoryLine> = steps.iter().filter_map(|step| at(*step)).map(narrate::line).collect();
    story.drain(..story.len().saturating_sub(STORY_LINES_MAX));
    let end_us = u64::try_from(outcome.simulated.as_micros()).unwrap_or(u64::MAX);
    Ok(Violated {
        property: violation.property.to_owned(),
        sentence: violation.sentence.to_owned(),
        step: violation.step,
        at_us: at(violation.step).map_or(end_us, |record| record.at.0),
        message: violation.message.clone(),
        story,
        faults: fault_lines(plan, &records, violation.step),
        without_faults: None,
        plan: plan.to_json(),
    })
}

/// Leaves out all faults, then one at a time: which does it take to break the same property?
fn try_without_faults(
    scenario: &dyn Scenario,
    plan: &Plan,
    engine: Engine,
    violated: &mut Violated,
) -> Result<(), PlanError> {
    let breaks = |plan: &Plan| -> Result<bool, PlanError> {
        let outcome = run(scenario, plan, &RunOptions { engine, ..RunOptions::default() })?;
        Ok(outcome.violation.is_some_and(|violation| violation.property == violated.property))
    };
    let without_faults = breaks(&Plan { faults: Vec::new(), ..plan.clone() })?;
    if !without_faults {
        let begun: Vec<u32> = violated.faults.iter().map(|line| line.fault).collect();
        let needed = begun.into_iter().map(|fault| Ok(!breaks(&plan.clone().without_fault(fault))?));
        let needed: Vec<bool> = needed.collect::<Result<_, PlanError>>()?;
        for (line, needed) in violated.faults.iter_mut().zip(needed) {
            line.needed = Some(needed);
        }
    }
    violated.without_faults = Some(without_faults);
    Ok(())
}

/// The faults that had begun before a step (0: in the whole run), in the order in which they last began.
fn fault_lines(plan: &Plan, records: &[Record], step: u64) -> Vec<FaultLine> {
    let mut lines: Vec<FaultLine> = Vec::new();
    for record in records.iter().take_while(|record| step == 0 || record.step <= step) {
        match record.what {
            What::FaultBegun { fault } => {
                lines.retain(|line| line.fault != fault);
                let text = plan.faults.iter().find(|planned| planned.id == fault);
                lines.push(FaultLine {
                    fault,
                    step: record.step,
                    at_us: record.at.0,
                    on: true,
                    needed: None,
                    text: text.map_or_else(|| "not in the plan".to_owned(), dacapo_sim::Fault::describe),
                });
            }
            What::FaultEnded { fault } => {
                lines.iter_mut().filter(|line| line.fault == fault).for_each(|line| line.on = false);
            }
            _ => {}
        }
    }
    lines
}

fn difference_words(difference: &Difference) -> String {
    let mut text = format!(
        "fingerprints {} and {}; equal up to step {} at least",
        difference.fingerprints.0, difference.fingerprints.1, difference.equal_until
    );
    let mut say = |line: &str| {
        text.push('\n');
        text.push_str(line);
    };
    if difference.one.is_none() && difference.other.is_none() {
        say("further runs of the plan were equal: the leak shows now and then only");
        return text;
    }
    for record in &difference.before {
        say(&story_line(&narrate::line(record)));
    }
    let side = |record: &Option<Record>| match record {
        Some(record) => story_line(&narrate::line(record)),
        None => "  (had ended)".to_owned(),
    };
    for line in ["one run:", &side(&difference.one), "the other:", &side(&difference.other)] {
        say(line);
    }
    for context in &difference.led {
        say(&format!("what led to it, of {}:", context.about));
        for record in &context.records {
            say(&story_line(&narrate::line(record)));
        }
    }
    text
}
