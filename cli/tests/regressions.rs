//! Every bug that a seed found, again: its plan must pass now, and must still reach the place that it is about, so
//! that it cannot rot silently.

use std::{fs, path::Path};

use dacapo_sim::{Engine, Plan, RunOptions, run};

/// One file of `regressions/`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Regression {
    /// What went wrong.
    story: String,
    /// The version in which it was mended.
    fixed: String,
    /// The property that it broke.
    property: String,
    /// What carries it out.
    #[serde(default)]
    engine: Engine,
    /// A mark that the plan must still reach.
    mark: String,
    plan: Plan,
}

#[test]
fn what_a_seed_once_found_stays_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../regressions");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("regressions/ is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "there are regressions");
    let scenario = dacapo_bank::bank();
    let mut idle = Vec::new();
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(&file).expect("it can be read");
        let Regression { story, fixed, property, engine, mark, plan } =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!story.is_empty() && !fixed.is_empty(), "{name} tells its story");
        let outcome = run(&scenario, &plan, &RunOptions { engine, ..RunOptions::default() })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(outcome.passed(), "{name} is back ({property}): {:#?}", outcome.violation);
        // That nothing panics is the engines' own word, of which they speak only when it is broken.
        let is_known = property == "no_panic" || outcome.judged.iter().any(|judged| judged.name == property);
        assert!(is_known, "{name}: there is no property {property}");
        let reaches = outcome.reached.counts().any(|(of, count)| of == mark && count > 0);
        if !reaches {
            idle.push(format!("{name} no longer reaches {mark:?}"));
        }
    }
    assert!(idle.is_empty(), "they test nothing any more: {idle:#?}");
}
