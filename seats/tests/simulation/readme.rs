//! What the README shows of a failure is what happens.
//!
//! `DACAPO_UPDATE_README=1` writes what happens into the README instead.

use std::{fs, path::PathBuf};

const BEGIN: &str = "<!-- the mistake: kept true by tests/simulation/readme.rs -->\n```text\n";
const END: &str = "\n```\n<!-- end of the mistake -->";

/// What does not change with every change of an engine: steps and times do.
fn lasting(told: &str) -> Vec<String> {
    let of_the_plan = |line: &&str| ["BROKEN ", "plan ", "keep it "].iter().any(|head| line.starts_with(head));
    told.lines().filter(of_the_plan).map(str::to_owned).collect()
}

/// The README shows this failure.
pub(crate) fn shows(told: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&file).expect("is there");
    let (before, rest) = text.split_once(BEGIN).expect("the block begins");
    let (shown, after) = rest.split_once(END).expect("the block ends");
    if std::env::var_os("DACAPO_UPDATE_README").is_some() {
        // The folder of the plan is somewhere else for everybody.
        let target = told.split('"').find_map(|word| word.split_once("dacapo/seats-"));
        let told = target.map_or_else(|| told.to_owned(), |(folder, _)| told.replace(folder, "target/"));
        fs::write(&file, format!("{before}{BEGIN}{told}{END}{after}")).expect("can be written");
    } else {
        assert_eq!(lasting(shown), lasting(told), "the README shows something else; say DACAPO_UPDATE_README=1");
    }
}
