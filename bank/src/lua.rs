//! The bank in Lua: the scripts of `bank/lua`, under the same customers and the same promises as the services in Rust.
//!
//! Three of them do what the services in Rust do, which a differential test holds them to. The fourth, nectar, is in Lua
//! alone; it declares a source of money, since the bank pays back for points.

mod told;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use dacapo_core::{EventType, ServiceName};
use dacapo_properties::{Operation, Property, Scenario, ServiceSpec, handlers, scenario::Draw};
use dacapo_service::{
    InstanceConfig, Machine, Service as _,
    lua::{LuaLimits, LuaMachine, LuaService, LuaSettings, Script, ScriptError, SentFrom},
};

use self::told::Told;
use crate::{Bank, accounts, properties, transactions, users};

/// The name of the service that counts points.
pub const NECTAR: &str = "nectar";

/// How the name of a scenario begins whose scripts are in a folder: `bank-lua:FOLDER`.
pub const PREFIX: &str = "bank-lua:";

const CHECK: &str = include_str!("../lua/lib/check.lua");
const ACCOUNTS: &str = include_str!("../lua/accounts.lua");
const USERS: &str = include_str!("../lua/users.lua");
const TRANSACTIONS: &str = include_str!("../lua/transactions.lua");
const POINTS: &str = include_str!("../lua/nectar.lua");

/// Instances of each service in a standard run.
const INSTANCES: [(&str, usize); 4] = [(accounts::NAME, 3), (users::NAME, 2), (transactions::NAME, 2), (NECTAR, 2)];

/// The bank in Lua.
#[derive(Debug, Clone)]
pub struct LuaBank {
    name: &'static str,
    scripts: Vec<(&'static str, usize, Script)>,
    settings: LuaSettings,
}

impl LuaBank {
    fn of(name: &'static str, scripts: Vec<(&'static str, usize, Script)>) -> Self {
        let settings = LuaSettings { limits: LuaLimits::default(), compares: true, sent_from: SentFrom::default() };
        Self { name, scripts, settings }
    }

    fn has_nectar(&self) -> bool {
        self.scripts.iter().any(|(service, ..)| *service == NECTAR)
    }
}

/// The bank in Lua, with points.
pub fn bank() -> LuaBank {
    LuaBank::of("bank-lua", ours(&INSTANCES))
}

/// The three services that there are in Rust, too.
pub fn bank_without_nectar() -> LuaBank {
    LuaBank::of("bank-lua-without-nectar", ours(&INSTANCES[..3]))
}

/// The bank with the scripts of a folder in place of ours: `accounts.lua`, `users.lua`, `transactions.lua` and, if it is
/// there, `nectar.lua`. The customers and the promises are the same, so that whoever changes a script sees what it breaks.
pub fn bank_in(folder: &Path) -> Result<LuaBank, ScriptError> {
    let mut scripts = Vec::new();
    for (service, instances) in INSTANCES {
        let file = folder.join(format!("{service}.lua"));
        if service == NECTAR && !file.exists() {
            continue;
        }
        let script = Script::read(&file)?;
        let loaded = LuaService::load(&script, &LuaSettings::default())?;
        if loaded.name().as_str() != service {
            let (file, name) = (script.file(), loaded.name());
            return Err(ScriptError::Broken(format!("{file} registers as {name}, and the bank asks {service}")));
        }
        scripts.push((service, instances, script));
    }
    Ok(LuaBank::of(intern(&format!("{PREFIX}{}", folder.display())), scripts))
}

fn ours(services: &[(&'static str, usize)]) -> Vec<(&'static str, usize, Script)> {
    let script = |service| script(service).expect("the bank has this script");
    services.iter().map(|(service, instances)| (*service, *instances, script(service))).collect()
}

/// Names of scenarios live as long as the process, which sees few of them.
fn intern(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    name
}

/// The script of a service.
pub fn script(service: &str) -> Option<Script> {
    let (file, text) = match service {
        accounts::NAME => ("accounts.lua", ACCOUNTS),
        users::NAME => ("users.lua", USERS),
        transactions::NAME => ("transactions.lua", TRANSACTIONS),
        NECTAR => ("nectar.lua", POINTS),
        _ => return None,
    };
    Some(Script::of(file, text).with_module("lib.check", CHECK))
}

impl Scenario for LuaBank {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> &'static str {
        "the bank with its services in Lua, and points for those who pay"
    }

    fn services(&self) -> Vec<ServiceSpec> {
        let spec = |(service, instances, script): &(&'static str, usize, Script)| {
            let (script, settings) = (script.clone(), self.settings.clone());
            let make = move |config: InstanceConfig| -> Box<dyn Machine> {
                let service = LuaService::load(&script, &settings).expect("a script that was loaded once loads again");
                Box::new(LuaMachine::new(service, config))
            };
            ServiceSpec { name: ServiceName::of(*service), instances: *instances, make: Arc::new(make) }
        };
        self.scripts.iter().map(spec).collect()
    }

    fn workload(&self, draw: &mut dyn Draw, customers: u32, operations: usize, duration_us: u64) -> Vec<Operation> {
        Bank.workload(draw, customers, operations, duration_us)
    }

    fn inspections(&self, operations: &[Operation], first_id: u64) -> Vec<Operation> {
        Bank.inspections(operations, first_id)
    }

    fn may_be_skipped(&self) -> Vec<(ServiceName, EventType)> {
        Bank.may_be_skipped()
    }

    fn properties(&self) -> Vec<Box<dyn Property>> {
        // Another run has sent what it has sent.
        self.settings.sent_from.clear();
        let mut all = handlers::properties();
        for property in Bank.properties() {
            let is_conserved = property.name() == properties::MoneyIsConserved::default().name();
            let promise: Box<dyn Property> = if self.has_nectar() && is_conserved {
                Box::new(properties::MoneyIsConserved::with_cashback())
            } else {
                property
            };
            all.push(Box::new(Told { promise, sent_from: self.settings.sent_from.clone() }));
        }
        all
    }
}
