//! What can be simulated: the place where scenarios are put into the simulator, which knows none.

use dacapo_properties::Scenario;
use dacapo_sim::lua::{LuaScenario, PREFIX};

use crate::exit::Usage;

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
    vec![Box::new(dacapo_bank::bank()), Box::new(dacapo_bank::lua::bank())]
}

/// The scenario of this name.
pub(crate) fn named(name: &str) -> anyhow::Result<Box<dyn Scenario>> {
    if name.starts_with(PREFIX) {
        let scenario = LuaScenario::named(name).map_err(|error| Usage::error(error.to_string()))?;
        return Ok(Box::new(scenario));
    }
    if let Some(folder) = name.strip_prefix(dacapo_bank::lua::PREFIX) {
        let scenario = dacapo_bank::lua::bank_in(folder.as_ref()).map_err(|error| Usage::error(error.to_string()))?;
        return Ok(Box::new(scenario));
    }
    let mut known = Vec::new();
    for scenario in all() {
        if scenario.name() == name {
            return Ok(scenario);
        }
        known.push(scenario.name());
    }
    Err(Usage::error(format!(
        "there is no scenario {name:?}; there are: {}, bank-lua:FOLDER for scripts of your own in the bank, and \
         lua:FOLDER:WORKLOAD",
        known.join(", ")
    )))
}
