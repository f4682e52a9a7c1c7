//! Services in Lua under the simulator: a folder of scripts and a workload are a [`Scenario`].
//!
//! Its name says where the files are, so that whoever has a plan can run it again: `lua:services:workload.lua`. Every call
//! of a handler is made twice and held against its rebuild handler, so that what scripts can do wrong is found where it is
//! done, and not where it would show.

mod properties;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dacapo_properties::{Operation, Property, Scenario, ServiceSpec, scenario::Draw};
use dacapo_service::{
    InstanceConfig, Machine, Service as _,
    lua::{
        Asked, LuaLimits, LuaMachine, LuaService, LuaSettings, LuaWatch, LuaWorkload, Script, ScriptError, SentFrom,
    },
};

/// How the name of every such scenario begins.
pub const PREFIX: &str = "lua:";

/// Instances of a script in a standard run: what one of them does wrong shows at another.
const INSTANCES: usize = 2;

/// Why there is no scenario in these files.
#[derive(Debug, thiserror::Error)]
pub enum LuaScenarioError {
    /// The name does not say where the files are.
    #[error("{0:?} is no scenario in Lua; write lua:FOLDER:WORKLOAD, or give --services and --workload")]
    Name(String),
    /// The folder cannot be read.
    #[error("cannot read the folder {path}: {error}; check the path of --services")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is nothing in it.
    #[error("there is no script in {0} that calls bus:register(name); put a service there")]
    NoServices(PathBuf),
    /// Two scripts are the same service.
    #[error("{one} and {other} both register as {name}; give one of them another name")]
    Twice {
        /// A file.
        one: String,
        /// Another.
        other: String,
        /// The service.
        name: String,
    },
    /// A path has a colon.
    #[error("the path {0} has a colon, which parts the names of a scenario; rename it")]
    Colon(PathBuf),
    /// A script cannot be used.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The workload cannot be used.
    #[error("{0}; mend the workload")]
    Workload(String),
}

/// Scripts, and what customers ask of them.
#[derive(Debug, Clone)]
pub struct LuaScenario {
    name: &'static str,
    scripts: Vec<(Script, ServiceSpecOf)>,
    workload: LuaWorkload,
    settings: LuaSettings,
}

#[derive(Debug, Clone)]
struct ServiceSpecOf {
    name: dacapo_core::ServiceName,
    /// What it promises of its own state.
    watch: LuaWatch,
}

/// The name of the scenario in these files.
pub fn name_of(services: &Path, workload: &Path) -> Result<String, LuaScenarioError> {
    for path in [services, workload] {
        if path.to_string_lossy().contains(':') {
            return Err(LuaScenarioError::Colon(path.to_owned()));
        }
    }
    Ok(format!("{PREFIX}{}:{}", services.display(), workload.display()))
}

impl LuaScenario {
    /// The scenario of this name.
    pub fn named(name: &str) -> Result<Self, LuaScenarioError> {
        let paths = name.strip_prefix(PREFIX).and_then(|paths| paths.split_once(':'));
        let (services, workload) = paths.ok_or_else(|| LuaScenarioError::Name(name.to_owned()))?;
        Self::read(Path::new(services), Path::new(workload))
    }

    /// Reads a folder of scripts, those that register a service, and a workload.
    pub fn read(services: &Path, workload: &Path) -> Result<Self, LuaScenarioError> {
        let unreadable = |error| LuaScenarioError::Folder { path: services.to_owned(), error };
        let mut files = Vec::new();
        for entry in fs::read_dir(services).map_err(unreadable)? {
            files.push(entry.map_err(unreadable)?.path());
        }
        files.sort();
        let mut scripts = Vec::new();
        for file in files {
            if file.extension().is_some_and(|extension| extension == "lua") && !is_same(&file, workload) {
                scripts.push(Script::read(&file)?);
            }
        }
        // Modules lie beside the services that require them, and register nothing.
        scripts.retain(|script| script.text().contains("register"));
        if scripts.is_empty() {
            return Err(LuaScenarioError::NoServices(services.to_owned()));
        }
        Self::of(&name_of(services, workload)?, scripts, &Script::read(workload)?)
    }

    /// The scenario of these scripts, under a name.
    pub fn of(name: &str, scripts: Vec<Script>, workload: &Script) -> Result<Self, LuaScenarioError> {
        let settings = LuaSettings { limits: LuaLimits::default(), compares: true, sent_from: SentFrom::default() };
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut loaded = Vec::new();
        for script in scripts {
            let name = LuaService::load(&script, &settings)?.name();
            if let Some(one) = files.insert(name.to_string(), script.file().to_owned()) {
                let (other, name) = (script.file().to_owned(), name.to_string());
                return Err(LuaScenarioError::Twice { one, other, name });
            }
            let watch = LuaWatch::load(&script, &settings)?;
            loaded.push((script, ServiceSpecOf { name, watch }));
        }
        let workload = LuaWorkload::load(workload, &settings)?;
        let scenario = Self { name: intern(name), scripts: loaded, workload, settings };
        // What is wrong with the workload is told before a campaign begins.
        scenario.operations(1, 2, 20, Duration::from_secs(10)).map_err(LuaScenarioError::Workload)?;
        Ok(scenario)
    }

    fn operations(
        &self,
        seed: u64,
        customers: u32,
        operations: usize,
        lasting: Duration,
    ) -> Result<Vec<Operation>, String> {
        let asked = self.workload.draw(seed, customers, operations, lasting.as_secs_f64())?;
        let names: BTreeSet<&str> = self.scripts.iter().map(|(_, spec)| spec.name.as_str()).collect();
        let operation = |(id, asked): (u64, Asked)| {
            let Asked { customer, at, service, method, path, body, after } = asked;
            if !names.contains(service.as_str()) {
                let known: Vec<&str> = names.iter().copied().collect();
                return Err(format!("request {id} asks {service:?}; the services are: {}", known.join(", ")));
            }
            if customer >= customers {
                return Err(format!(
                    "request {id} is customer {customer}'s; they are numbered from 0 to {}",
                    customers - 1
                ));
            }
            if !path.starts_with('/') {
                return Err(format!("request {id} has the path {path:?}; begin it with a slash"));
            }
            Ok(Operation {
                id,
                customer,
                at_us: (at.clamp(0.0, 1e6) * 1e6) as u64,
                after,
                service: dacapo_core::ServiceName::of(service),
                method,
                path,
                body: if body.is_null() { String::new() } else { body.to_string() },
            })
        };
        (1..).zip(asked).map(operation).collect()
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Names of scenarios and promises live as long as the process, which sees few of them.
fn intern(text: &str) -> &'static str {
    static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return known;
    }
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    texts.insert(text);
    text
}

impl Scenario for LuaScenario {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> &'static str {
        "services in Lua"
    }

    fn services(&self) -> Vec<ServiceSpec> {
        let spec = |(script, spec): &(Script, ServiceSpecOf)| {
            let (script, settings) = (script.clone(), self.settings.clone());
            let make = move |config: InstanceConfig| -> Box<dyn Machine> {
                let service = LuaService::load(&script, &settings).expect("a script that was loaded once loads again");
                Box::new(LuaMachine::new(service, config))
            };
            ServiceSpec { name: spec.name.clone(), instances: INSTANCES, make: Arc::new(make) }
        };
        self.scripts.iter().map(spec).collect()
    }

    fn workload(&self, draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation> {
        let lasting = Duration::from_micros(duration_us);
        match self.operations(draw.below(1 << 53), customers, operations, lasting) {
            Ok(operations) => operations,
            Err(sentence) => panic!("the workload fails for this seed: {sentence}"),
        }
    }

    fn inspections(&self, _: &[Operation], _: u64) -> Vec<Operation> {
        Vec::new()
    }

    fn properties(&self) -> Vec<Box<dyn Property>> {
        let watches = self.scripts.iter().map(|(script, spec)| (script, &spec.watch));
        // Another run has sent what it has sent.
        self.settings.sent_from.clear();
        properties::of(&self.workload, &self.settings.sent_from, watches)
    }
}
