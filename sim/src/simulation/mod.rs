//! Your own services under your own promises: a test in a few lines.
//!
//! [The crate's front page](crate) has an example, and the folder `seats/` of the repository is a whole one.
//!
//! From each seed a plan is drawn: what customers do, what goes wrong and when. The services run on the real bus, under
//! crashes, partitions and lost answers, and the promises of the bus itself are judged along with yours. A broken promise
//! panics with the story, the seed and a file of the plan; `DACAPO_SEED=7 cargo test` runs that seed alone, and
//! `DACAPO_SEEDS=10000 cargo test` many.
//!
//! A check runs its seeds one after the other and keeps other checks of the process waiting, because the embedded
//! store's random numbers belong to the whole process. It writes nothing but the plans of what failed.

mod check;
mod checked;
mod error;
mod failure;
mod faults;
mod promise;
mod save;
mod scenario;
mod seen;
mod shape;
mod situation;
mod which;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use dacapo_core::Limits;
use dacapo_properties::{Operation, ServiceSpec, scenario::Draw};
use dacapo_service::Service;

pub use self::{
    checked::Checked,
    error::{CheckError, SetupError},
    failure::Failure,
    faults::Faults,
    promise::{Always, Eventually, Promise, promise},
    seen::{Answer, Seen},
    shape::Shape,
    situation::{Situation, Sometimes, mark, situation},
    which::{Which, plan, seed, seeds},
};
use self::{
    promise::Make,
    scenario::{Composed, Inspections, Workload},
};
use crate::{engine::Engine, profile::Profile};

/// A service with so many instances, for [`Simulation::of`].
pub fn service<S: Service>(service: S, instances: usize) -> ServiceSpec {
    ServiceSpec::of(service, instances)
}

/// A failing test should not keep a person waiting for much longer than it took to compile.
const SHRINK_WITHIN: Duration = Duration::from_secs(20);

/// The full stack takes many times as long as the event engine, and says the same about a service.
const FULL_STACK_EVERY: u64 = 10;

type LimitsChange = Arc<dyn Fn(&mut Limits) + Send + Sync>;

/// Services, customers and promises; [`check`](Self::check) runs them. What is wrong with it is told there.
#[derive(Clone)]
#[must_use = "nothing is run before `check`"]
pub struct Simulation {
    name: &'static str,
    services: Vec<ServiceSpec>,
    workload: Option<Workload>,
    inspections: Option<Inspections>,
    promises: Vec<Make>,
    situations: Vec<Sometimes>,
    profile: Profile,
    limits: Vec<LimitsChange>,
    engine: Option<Engine>,
    shrink_within: Duration,
    twice: bool,
    regressions: Option<PathBuf>,
    plans: Option<PathBuf>,
}

impl Simulation {
    /// Begins with services, each made by [`service`].
    pub fn of(services: impl IntoIterator<Item = ServiceSpec>) -> Self {
        Self {
            name: "simulation",
            services: services.into_iter().collect(),
            workload: None,
            inspections: None,
            promises: Vec::new(),
            situations: Vec::new(),
            profile: Profile::swarm(),
            limits: Vec::new(),
            engine: None,
            shrink_within: SHRINK_WITHIN,
            twice: false,
            regressions: None,
            plans: None,
        }
    }

    /// What it is called in the files of its plans; a plan runs only under the name that it was drawn for.
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// What customers do, drawn before the run; [`Shape`] has helpers. The closure must draw from `draw` alone. Operations
    /// without an id are numbered from 1 in their order.
    pub fn workload(
        mut self,
        workload: impl Fn(&mut dyn Draw, Shape) -> Vec<Operation> + Send + Sync + 'static,
    ) -> Self {
        self.workload = Some(Arc::new(workload));
        self
    }

    /// What is asked when all is healed and done, of instances that have seen the whole log; the answers come to
    /// [`Promise::at_the_end`] with `at_the_end` set. The closure sees what the plan's customers did.
    pub fn inspect(mut self, inspect: impl Fn(&[Operation]) -> Vec<Operation> + Send + Sync + 'static) -> Self {
        self.inspections = Some(Arc::new(inspect));
        self
    }

    /// What must hold at every step: a [`promise`], or a function that makes a
    /// [`Property`](dacapo_properties::Property), such as `NoOverdraft::default`.
    pub fn always(mut self, promise: impl Into<Always>) -> Self {
        self.promises.push(promise.into().0);
        self
    }

    /// What must hold at the end.
    pub fn eventually(mut self, promise: impl Into<Eventually>) -> Self {
        self.promises.push(promise.into().0);
        self
    }

    /// What must have happened in one of the seeds at least; else the check is inconclusive, and fails.
    pub fn sometimes(mut self, situation: Sometimes) -> Self {
        self.situations.push(situation);
        self
    }

    /// What may go wrong; [`Faults::swarm`] if nothing is said.
    pub fn faults(mut self, faults: Faults) -> Self {
        (self.profile.name, self.profile.families) = (faults.name, faults.families);
        self
    }

    /// So many instances of every service, whatever [`service`] said.
    pub fn instances(mut self, instances: usize) -> Self {
        self.services.iter_mut().for_each(|spec| spec.instances = instances);
        self
    }

    /// So many customers; 4 if nothing is said.
    pub fn customers(mut self, customers: u32) -> Self {
        self.profile.customers = customers;
        self
    }

    /// About so many operations in a run; 80 if nothing is said.
    pub fn operations(mut self, operations: usize) -> Self {
        self.profile.operations = operations;
        self
    }

    /// How long faults last in a run; 12 simulated seconds if nothing is said. Customers begin what they do in the first
    /// three quarters, and what is left over is done after the healing.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.profile.duration_us = duration.as_micros() as u64;
        self
    }

    /// Changes the limits of the bus that were drawn for a seed.
    pub fn limits(mut self, change: impl Fn(&mut Limits) + Send + Sync + 'static) -> Self {
        self.limits.push(Arc::new(change));
        self
    }

    /// Carries every run out with this engine. If nothing is said it is the event engine, and the full stack (server,
    /// connections, HTTP) for every tenth seed.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// How long a failing plan may be made smaller, by the system's clock; 20 seconds if nothing is said. Zero: it is
    /// told as it is.
    pub fn shrink_within(mut self, budget: Duration) -> Self {
        self.shrink_within = budget;
        self
    }

    /// Runs every seed twice and compares the traces. Without it, that is done with the first seed alone.
    pub fn twice(mut self) -> Self {
        self.twice = true;
        self
    }

    /// Runs the plans in this folder (`*.json`) first: what was found once and mended. A relative path begins in the
    /// package.
    pub fn regressions(mut self, folder: impl Into<PathBuf>) -> Self {
        self.regressions = Some(folder.into());
        self
    }

    /// Where the plans of what fails are saved; `dacapo` in cargo's target folder if nothing is said.
    pub fn save_plans_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.plans = Some(folder.into());
        self
    }

    /// Runs everything.
    ///
    /// # Panics
    /// When a promise is broken, a situation was not met, or the simulation was put together wrongly; the message is
    /// for a person.
    #[track_caller]
    pub fn check(&self, which: Which) -> Checked {
        match self.try_check(which) {
            Ok(checked) => checked,
            Err(error) => panic!("\n{error}\n"),
        }
    }

    /// [`check`](Self::check) for those who want to look at what failed.
    pub fn try_check(&self, which: Which) -> Result<Checked, CheckError> {
        check::check(self, which, which::Environment::read()?)
    }

    /// The engine for a plan of this seed: the same whenever that seed is run.
    fn engine_of(&self, seed: u64) -> Engine {
        let whole = seed.is_multiple_of(FULL_STACK_EVERY);
        self.engine.unwrap_or(if whole { Engine::Turmoil } else { Engine::Event })
    }

    /// What an engine takes. Everything that can be wrong before a plan is drawn is told here.
    fn composed(&self) -> Result<Composed, SetupError> {
        self.check_services()?;
        if self.workload.is_none() {
            return Err(SetupError::NoWorkload);
        }
        if !(1..=100).contains(&self.profile.customers) {
            return Err(SetupError::Customers(self.profile.customers));
        }
        if self.profile.duration_us < 1_000_000 {
            return Err(SetupError::NoTime(Duration::from_micros(self.profile.duration_us)));
        }
        let counters = self.situations.iter().filter_map(|situation| situation.make.clone());
        let makes: Vec<Make> = self.promises.iter().cloned().chain(counters).collect();
        Self::check_names(&makes)?;
        self.check_marks()?;
        Ok(Composed {
            name: self.name,
            services: self.services.clone(),
            workload: self.workload.clone(),
            inspections: self.inspections.clone(),
            makes,
        })
    }

    fn check_services(&self) -> Result<(), SetupError> {
        if self.services.is_empty() {
            return Err(SetupError::NoServices);
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for spec in &self.services {
            *counts.entry(spec.name.as_str()).or_default() += 1;
            if counts[spec.name.as_str()] > 1 {
                return Err(SetupError::ServiceTwice(spec.name.to_string()));
            }
            if spec.instances == 0 {
                return Err(SetupError::NoInstances(spec.name.to_string()));
            }
        }
        Ok(())
    }

    fn check_names(makes: &[Make]) -> Result<(), SetupError> {
        let mut names: Vec<&str> = dacapo_properties::PROMISES.iter().map(|promise| promise.name).collect();
        for make in makes {
            let name = make().name();
            if names.contains(&name) {
                return Err(SetupError::PromiseTwice(name.to_owned()));
            }
            names.push(name);
        }
        Ok(())
    }

    fn check_marks(&self) -> Result<(), SetupError> {
        let known: Vec<&str> = crate::marks::marks().iter().map(|mark| mark.name).collect();
        let unknown = self.situations.iter().find(|it| it.make.is_none() && !known.contains(&it.name));
        match unknown {
            Some(unknown) => Err(SetupError::NoSuchMark { name: unknown.name.to_owned(), known: known.join(", ") }),
            None => Ok(()),
        }
    }
}
