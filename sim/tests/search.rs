//! The exhaustive search: small scopes are walked to their end, the same way every time; what is planted is found.
//!
//! `cargo test -p dacapo-sim --features dacapo-core/planted-bugs --test search` looks for the planted bugs too.

use dacapo_core::planted::{BUILT_IN, Bug};
use dacapo_sim::search::{Budget, Ended, Reach, Report, Scope, reach, search};

fn whole(scope: Scope) -> Report {
    search(scope, &mut |_| true)
}

/// What a search saw, or the violation with the way to it.
#[track_caller]
fn passes(scope: Scope) -> Report {
    let report = whole(scope);
    match &report.ended {
        Ended::Complete => report,
        Ended::Found(finding) => panic!("{:#?}\n{:#?}", finding.violation, finding.told),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_small_scope_is_walked_to_its_end_and_every_promise_holds() {
    let scope = Scope { events: 2, keys: 2, instances: 1, ..Scope::default() };
    let report = passes(scope);
    assert!(report.standing.states > 3_000, "{:?}", report.standing);
    assert!(report.standing.healed > 100, "{:?}", report.standing);
}

#[test]
fn a_service_of_the_deployed_machines_counts_every_request_once() {
    let budget = Budget { crashes: 1, ..Budget::default() };
    let scope = Scope { events: 0, requests: 2, keys: 1, instances: 2, budget, ..Scope::default() };
    let report = passes(scope);
    assert!(report.standing.states > 1_000, "{:?}", report.standing);
}

#[test]
fn two_searches_of_one_scope_see_the_same() {
    let budget = Budget { crashes: 1, drops: 1, late: 1, ..Budget::default() };
    let scope = Scope { events: 1, keys: 1, instances: 2, budget, ..Scope::default() };
    assert_eq!(passes(scope.clone()), passes(scope));
}

#[test]
fn a_search_that_gives_up_says_so() {
    let scope = Scope { states_max: 100, ..Scope::default() };
    assert_eq!(whole(scope).ended, Ended::Bounded(101));
    assert_eq!(search(Scope::default(), &mut |_| false).ended, Ended::Interrupted);
}

#[test]
fn every_planted_bug_within_reach_is_found_and_no_other() {
    let built_in = BUILT_IN;
    for bug in Bug::ALL {
        let Reach::Within(scope) = reach(*bug) else { continue };
        let report = whole(scope);
        let Ended::Found(finding) = &report.ended else {
            assert!(!built_in, "{bug} is not found: {report:?}");
            continue;
        };
        assert!(built_in, "{:?} in a build without planted bugs", finding.violation);
        assert!(finding.shortest, "{bug} is found breadth first");
        assert!(!finding.told.is_empty(), "{bug} is told");
        let (steps, states) = (finding.path.len(), report.standing.states);
        eprintln!("{bug:<24} {steps:>2} steps, {states:>6} states: {}", finding.violation.property);
    }
}
