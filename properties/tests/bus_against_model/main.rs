//! The bus machine against the reference model: random sequences of what clients, store, clock and crashes may do,
//! judged after every output, healed at the end, shrunk when they fail.
//!
//! * `DACAPO_CASES=10000 cargo test -p dacapo-properties --test bus_against_model` runs more cases.
//! * A failure names its case as JSON. `DACAPO_CASE='…'` with the test `a_case_from_outside` tells its whole story.

mod acts;
mod heal;
mod transition;
mod world;

use dacapo_core::planted::{BUILT_IN, Bug, Planted};
use dacapo_properties::model::{Broken, Mark, Marks};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestRng, TestRunner},
};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use serde::{Deserialize, Serialize};

use crate::{
    transition::{Setup, Transition, setups, transitions},
    world::World,
};

const STEPS: std::ops::Range<usize> = 1..120;

/// A case as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Case {
    /// What went wrong once, for regressions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    story: String,
    setup: Setup,
    transitions: Vec<Transition>,
}

impl Case {
    fn run_in(&self, world: &mut World) -> Result<(), Broken> {
        self.transitions.iter().try_for_each(|transition| world.step(transition))?;
        world.finish()
    }

    fn run(&self, planted: Planted) -> Result<Marks, Broken> {
        let mut world = World::new(self.setup, planted);
        self.run_in(&mut world)?;
        Ok(world.marks().clone())
    }
}

/// The sequence of transitions. What they mean depends on what the bus answers, so the model that judges them runs
/// beside the bus and not here.
struct Sequence;

impl ReferenceStateMachine for Sequence {
    type State = Setup;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Setup> {
        setups()
    }

    fn transitions(setup: &Setup) -> BoxedStrategy<Transition> {
        transitions(*setup)
    }

    fn apply(state: Setup, _: &Transition) -> Setup {
        state
    }
}

/// The bus and the model, with the case so far.
struct Run {
    world: World,
    case: Case,
}

impl Run {
    #[track_caller]
    fn judge(&self, judged: Result<(), Broken>) {
        if let Err(broken) = judged {
            panic!("{broken}\ncase: {}", serde_json::to_string(&self.case).expect("is plain data"));
        }
    }
}

struct BusAgainstModel;

impl StateMachineTest for BusAgainstModel {
    type SystemUnderTest = Run;
    type Reference = Sequence;

    fn init_test(setup: &Setup) -> Run {
        let case = Case { story: String::new(), setup: *setup, transitions: vec![] };
        Run { world: World::new(*setup, Planted::NONE), case }
    }

    fn apply(mut run: Run, _: &Setup, transition: Transition) -> Run {
        run.case.transitions.push(transition);
        let judged = run.case.transitions.last().map_or(Ok(()), |transition| run.world.step(transition));
        run.judge(judged);
        run
    }

    fn teardown(mut run: Run, _: Setup) {
        let judged = run.world.finish();
        run.judge(judged);
    }
}

fn cases() -> u32 {
    std::env::var("DACAPO_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}

proptest_state_machine::prop_state_machine! {
    #![proptest_config(Config {
        cases: cases(),
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("proptest-regressions/bus_against_model.txt"))),
        ..Config::default()
    })]

    #[test]
    fn the_bus_keeps_its_promises(sequential STEPS => BusAgainstModel);
}

/// Draws cases from a fixed seed.
fn drawn(seed: u8, count: usize) -> impl Iterator<Item = Case> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = Sequence::sequential_strategy(STEPS);
    (0..count).map(move |_| {
        let tree = strategy.new_tree(&mut runner).expect("draws");
        let (setup, transitions, _) = tree.current();
        Case { story: String::new(), setup, transitions }
    })
}

#[test]
fn a_case_runs_the_same_way_twice() {
    for case in drawn(3, 50) {
        let story = || {
            let mut world = World::new(case.setup, Planted::NONE).with_transcript();
            let judged = case.run_in(&mut world);
            (judged, world.digest(), world.transcript())
        };
        assert_eq!(story(), story());
    }
}

#[test]
fn every_situation_is_reached() {
    let mut marks = Marks::default();
    for case in drawn(1, 300) {
        match case.run(Planted::NONE) {
            Ok(reached) => marks.add(&reached),
            Err(broken) => panic!("{broken}\ncase: {}", serde_json::to_string(&case).expect("is plain data")),
        }
    }
    println!("{marks}");
    let missing: Vec<Mark> = marks.missing();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

/// The bugs that can be planted in the machine itself.
const IN_THE_MACHINE: [Bug; 13] = [
    Bug::ReceiptBeforeCommit,
    Bug::CompletionApart,
    Bug::RedeliveryUnordered,
    Bug::NoDeadline,
    Bug::OldEpochAccepted,
    Bug::IdWindow,
    Bug::RebuildOverlaps,
    Bug::RebuildOffByOne,
    Bug::ParkedLaneLeaks,
    Bug::BackoffBlocksOthers,
    Bug::CreditLostAfterNack,
    Bug::StickyLost,
    Bug::CursorBeforeCommit,
];

/// `cargo test -p dacapo-properties --features dacapo-core/planted-bugs --test bus_against_model -- --ignored`
#[test]
#[ignore = "needs a build with the feature dacapo-core/planted-bugs"]
fn every_planted_bug_is_caught() {
    let built_in = BUILT_IN;
    assert!(built_in, "build with --features dacapo-core/planted-bugs");
    let mut escaped = vec![];
    for bug in IN_THE_MACHINE {
        let caught = drawn(2, 2_000).enumerate().find_map(|(n, case)| Some((n, case.run(Planted::bug(bug)).err()?)));
        match caught {
            Some((n, broken)) => println!("{bug}: case {n}: {}", broken.rule),
            None => escaped.push(bug),
        }
    }
    assert!(escaped.is_empty(), "not caught: {escaped:?}");
}

#[test]
fn what_failed_once_does_not_fail_again() {
    let cases = include_str!("regressions.jsonl").lines();
    let failing = cases.filter_map(|line| {
        let case: Case = serde_json::from_str(line).expect("is a case");
        Some(format!("{}: {}", case.story, case.run(Planted::NONE).err()?))
    });
    let failing: Vec<String> = failing.collect();
    assert!(failing.is_empty(), "again:\n{}", failing.join("\n"));
}

#[test]
fn a_case_from_outside() {
    let Ok(text) = std::env::var("DACAPO_CASE") else { return };
    let case: Case = serde_json::from_str(&text).expect("is a case");
    let mut world = World::new(case.setup, Planted::NONE).with_transcript();
    let judged = case.run_in(&mut world);
    println!("{}", world.transcript());
    assert_eq!(judged, Ok(()));
}
