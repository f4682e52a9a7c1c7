//! What there is to name: for `list`.

use dacapo_core::Limits;
use dacapo_properties::Judge;
use dacapo_sim::{
    Family, Profile,
    marks::{Mark, Needs, marks as all_marks},
};

use crate::{list::Item, scenarios};

/// The profiles.
pub(crate) fn profiles() -> Vec<Item> {
    Profile::all().into_iter().map(|profile| Item::new(profile.name, profile.description)).collect()
}

/// The promises of the bus, and those of every scenario.
pub(crate) fn properties() -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for scenario in scenarios::all() {
        for judged in Judge::new(&Limits::default(), scenario.properties()).summary() {
            if items.iter().all(|item| item.name != judged.name) {
                items.push(Item::new(judged.name, judged.sentence));
            }
        }
    }
    items.push(Item::new("deterministic", "the same plan on the same engine gives the same fingerprint (--verify)"));
    items
}

/// The families of faults.
pub(crate) fn faults() -> Vec<Item> {
    Family::ALL.iter().map(|family| Item::new(family.name(), family.sentence())).collect()
}

/// What a campaign should reach.
pub(crate) fn marks() -> Vec<Item> {
    let names = |families: &[Family]| match families {
        [one] => one.to_string(),
        several => format!("one of {}", several.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ")),
    };
    let sentence = |mark: &Mark| match mark.needs {
        Needs::Nothing => format!("if never: {}", mark.risk),
        Needs::OneOf(families) => format!("needs {}; if never: {}", names(families), mark.risk),
        Needs::Rare(families) => format!("needs many seeds and {}; if never: {}", names(families), mark.risk),
        Needs::On(engine, []) => format!("needs the {engine} engine; if never: {}", mark.risk),
        Needs::On(engine, families) => {
            format!("needs the {engine} engine and {}; if never: {}", names(families), mark.risk)
        }
        Needs::In(scenario, families) => {
            format!("needs the scenario {scenario} and {}; if never: {}", names(families), mark.risk)
        }
        Needs::OutOfReach(reason) => format!("out of reach: {reason}; if never: {}", mark.risk),
    };
    all_marks().iter().map(|mark| Item::new(mark.name, sentence(mark))).collect()
}
