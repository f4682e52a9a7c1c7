//! The bank in Lua: the scripts of `bank/lua`, under the same customers and the same promises as the services in Rust.
//!
//! Three of them do what the services in Rust do, which a differential test holds them to. The fourth, nectar, is in Lua
//! alone; it declares a source of money, since the bank pays back for points.

use std::sync::Arc;

use dacapo_core::{EventType, ServiceName};
use dacapo_properties::{Operation, Property, Scenario, ServiceSpec, handlers, scenario::Draw};
use dacapo_service::{
    InstanceConfig, Machine,
    lua::{LuaLimits, LuaMachine, LuaService, LuaSettings, Script, SentFrom},
};

use crate::{Bank, accounts, properties, transactions, users};

/// The name of the service that counts points.
pub const NECTAR: &str = "nectar";

const CHECK: &str = include_str!("../lua/lib/check.lua");
const ACCOUNTS: &str = include_str!("../lua/accounts.lua");
const USERS: &str = include_str!("../lua/users.lua");
const TRANSACTIONS: &str = include_str!("../lua/transactions.lua");
const POINTS: &str = include_str!("../lua/nectar.lua");

/// The bank in Lua.
#[derive(Debug, Clone, Copy)]
pub struct LuaBank {
    with_nectar: bool,
}

/// The bank in Lua, with points.
pub fn bank() -> LuaBank {
    LuaBank { with_nectar: true }
}

/// The three services that there are in Rust, too.
pub fn bank_without_nectar() -> LuaBank {
    LuaBank { with_nectar: false }
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

fn spec(service: &'static str, instances: usize) -> ServiceSpec {
    let settings = LuaSettings { limits: LuaLimits::default(), compares: true, sent_from: SentFrom::default() };
    let make = move |config: InstanceConfig| -> Box<dyn Machine> {
        let script = script(service).expect("the bank has this script");
        let service = LuaService::load(&script, &settings).expect("the bank's scripts load: a test says so");
        Box::new(LuaMachine::new(service, config))
    };
    ServiceSpec { name: ServiceName::of(service), instances, make: Arc::new(make) }
}

impl Scenario for LuaBank {
    fn name(&self) -> &'static str {
        if self.with_nectar { "bank-lua" } else { "bank-lua-without-nectar" }
    }

    fn describe(&self) -> &'static str {
        "the bank with its services in Lua, and points for those who pay"
    }

    fn services(&self) -> Vec<ServiceSpec> {
        let mut all = vec![spec(accounts::NAME, 3), spec(users::NAME, 2), spec(transactions::NAME, 2)];
        if self.with_nectar {
            all.push(spec(NECTAR, 2));
        }
        all
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
        let mut all = handlers::properties();
        for property in Bank.properties() {
            if self.with_nectar && property.name() == properties::MoneyIsConserved::default().name() {
                all.push(Box::new(properties::MoneyIsConserved::with_cashback()));
            } else {
                all.push(property);
            }
        }
        all
    }
}
