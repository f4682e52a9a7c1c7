//! Runs in which the bus demands tokens: instances show theirs, and a stranger is about who means it no good.

mod support;

use dacapo_core::{
    TokenName,
    trace::{Frame, Record, What},
    wire::{ErrorCode, FromBus, ToBus},
};
use dacapo_sim::{Engine, Family, Fault, Harm, Outcome, Plan, RunOptions, Trigger, marks, recorder::Keep, run};
use support::{Flaw, Tally, short};

fn guarded(seed: u64, engine: Engine) -> Outcome {
    let mut plan = Plan::draw(&Tally(Flaw::None), seed, &short());
    plan.settings.guarded = true;
    plan.faults.retain(|fault| fault.family != Family::HostileClient);
    let duration_us = plan.settings.duration_us;
    let (trigger, what) = (Trigger::At { us: 0 }, Harm::Hostile {});
    plan.faults.push(Fault { id: 9_999, family: Family::HostileClient, trigger, duration_us, what });
    let options = RunOptions { engine, keep: Keep::All, ..RunOptions::default() };
    let outcome = run(&Tally(Flaw::None), &plan, &options).expect("the plan is right");
    assert!(outcome.passed(), "seed {seed}: {:?} {:#?}", outcome.end, outcome.violation);
    outcome
}

fn shown(records: &[Record], name: &'static str) -> Vec<u64> {
    let wanted = Some(TokenName::of(name));
    let of = |record: &Record| match &record.what {
        What::Showed { connection, token, .. } if *token == wanted => Some(*connection),
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

fn refusals(records: &[Record], code: ErrorCode) -> usize {
    let is = |record: &&Record| match &record.what {
        What::FrameSent { frame: Frame::FromBus(frame), .. } => {
            matches!(&**frame, FromBus::Error(error) if error.code == code)
        }
        _ => false,
    };
    records.iter().filter(is).count()
}

#[test]
fn a_stranger_is_turned_away_again_and_again_and_nobody_else_notices() {
    let (mut unauthorized, mut forbidden, mut malformed, mut rumours) = (0, 0, 0, 0);
    let (mut at_the_door, mut nonsense, mut dawdlers) = (0, 0, 0);
    for seed in 1..=6 {
        let outcome = guarded(seed, Engine::Turmoil);
        at_the_door += outcome.reached.count(marks::TURNED_AWAY_AT_THE_DOOR);
        nonsense += outcome.reached.count(marks::NONSENSE_REFUSED);
        dawdlers += outcome.reached.count(marks::DAWDLER_CUT);
        assert!(!shown(&outcome.records, "stranger").is_empty(), "seed {seed}: he was let in with his token");
        unauthorized += refusals(&outcome.records, ErrorCode::Unauthorized);
        forbidden += refusals(&outcome.records, ErrorCode::Forbidden);
        malformed += refusals(&outcome.records, ErrorCode::Malformed) + refusals(&outcome.records, ErrorCode::TooLarge);
        rumours += outcome.records.iter().filter(|record| matches!(&record.what, What::CommitDurable { commit } if commit.events.iter().any(|event| event.event_type.as_str() == "Rumour"))).count();
    }
    assert!(unauthorized > 0, "he spoke without a token");
    assert!(forbidden > 0, "he tried what his token does not allow");
    assert!(malformed > 0, "he sent what is no frame");
    assert!(rumours > 0, "what his token allows was let in");
    assert!(at_the_door > 0, "he showed tokens that count for nothing");
    assert!(nonsense > 0 && dawdlers > 0, "{nonsense} times he sent nonsense, {dawdlers} times half of something");
}

#[test]
fn on_the_event_engine_he_is_turned_away_as_well() {
    let (mut unauthorized, mut forbidden, mut rumours, mut at_the_door) = (0, 0, 0, 0);
    for seed in 1..=6 {
        let outcome = guarded(seed, Engine::Event);
        unauthorized += refusals(&outcome.records, ErrorCode::Unauthorized);
        forbidden += outcome.reached.count("refused by rights");
        at_the_door += outcome.reached.count(marks::TURNED_AWAY_AT_THE_DOOR);
        rumours += outcome.records.iter().filter(|record| matches!(&record.what, What::CommitDurable { commit } if commit.events.iter().any(|event| event.event_type.as_str() == "Rumour"))).count();
    }
    assert!(
        unauthorized > 0 && forbidden > 0 && rumours > 0 && at_the_door > 0,
        "{unauthorized} {forbidden} {rumours} {at_the_door}"
    );
}

#[test]
fn instances_are_let_in_by_their_tokens_on_both_engines() {
    for (seed, engine) in [(1, Engine::Event), (2, Engine::Event), (3, Engine::Event), (4, Engine::Turmoil)] {
        let outcome = guarded(seed, engine);
        assert!(!shown(&outcome.records, "instances").is_empty(), "seed {seed}");
        let secret_at_bus = |record: &&Record| match &record.what {
            What::FrameReceived { frame: Frame::ToBus(frame), .. } if engine == Engine::Turmoil => {
                matches!(&**frame, ToBus::Hello(hello) if hello.bearer.is_some())
            }
            _ => false,
        };
        assert_eq!(outcome.records.iter().filter(secret_at_bus).count(), 0, "the server records no secret");
    }
}

#[test]
fn a_guarded_run_repeats_to_the_letter() {
    for engine in [Engine::Turmoil, Engine::Event] {
        assert_eq!(guarded(7, engine).fingerprint, guarded(7, engine).fingerprint);
    }
}
