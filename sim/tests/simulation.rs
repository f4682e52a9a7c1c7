//! The harness as a library: what a user's test says, and what it is told.

use std::{
    collections::BTreeMap,
    fs, panic,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use dacapo_sim::{
    dacapo_core::trace::{Record, What},
    prelude::*,
};
use expect_test::{Expect, expect};

/// Takes what is said on a board, once in a while twice.
#[derive(Clone)]
struct Boards {
    /// Says everything twice.
    echoes: bool,
    /// Numbers what is said over all lives and runs of this program: what no service may do.
    counts: Option<Arc<AtomicU64>>,
}

const BOARDS: Boards = Boards { echoes: false, counts: None };
const ECHO: Boards = Boards { echoes: true, counts: None };

impl Service for Boards {
    type State = u64;

    fn name(&self) -> ServiceName {
        ServiceName::of("boards")
    }

    fn types(&self) -> Vec<EventType> {
        vec![EventType::of("Said")]
    }

    fn apply(&self, _: &Key, said: &mut u64, _: &Event) {
        *said += 1;
    }

    fn routes(&self) -> Vec<Route> {
        let path = "/boards/{id}";
        vec![Route { method: Method::Post, path }, Route { method: Method::Get, path }]
    }

    fn request(&self, request: &Request, context: &mut Context<'_, u64>) -> Result<Response, Interrupt> {
        let board = Key::of(format!("board-{}", request.parameter("id")));
        let said = *context.state(&board)?;
        if request.method == Method::Get {
            return Ok(Response::json(200, &said));
        }
        let number = self.counts.as_ref().map_or(said, |counts| counts.fetch_add(1, Ordering::Relaxed));
        for _ in 0..=u8::from(self.echoes) {
            context.emit(EventType::of("Said"), board.clone(), &(number, request.idempotency_key.as_deref()));
        }
        Ok(Response::json(200, &number))
    }
}

/// Two boards, written on by two customers for a second.
fn boards(boards: Boards) -> Simulation {
    Simulation::of([service(boards, 2)])
        .workload(|draw, shape| {
            shape.operations(draw, |draw, _| Operation::post("boards", format!("/boards/{}", draw.below(2))))
        })
        .customers(2)
        .operations(6)
        .lasting(Duration::from_secs(1))
}

fn said_once() -> Always {
    promise("said_once", "what is said once stands on its board once").events(BTreeMap::new(), |said, event| {
        if event.event_type.as_str() != "Said" {
            return Ok(());
        }
        match said.insert(event.data.as_str().to_owned(), event.version) {
            Some(first) => Err(format!("{} has it twice: as {first} and as {}", event.key, event.version)),
            None => Ok(()),
        }
    })
}

fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

#[track_caller]
fn is_told(simulation: &Simulation, which: dacapo_sim::simulation::Which, words: &Expect) {
    let error = simulation.try_check(which).expect_err("something is wrong with it");
    words.assert_eq(&error.to_string());
}

#[test]
fn a_simulation_that_makes_no_sense_is_told_why() {
    let nothing = |_: &mut dyn Draw, _: Shape| Vec::new();
    is_told(
        &Simulation::of([]).workload(nothing),
        seeds(1),
        &expect!["the simulation has no services; give at least one: `Simulation::of([service(MyService, 2)])`"],
    );
    is_told(
        &Simulation::of([service(BOARDS, 1), service(ECHO, 1)]).workload(nothing),
        seeds(1),
        &expect!["two services are called `boards`; give one of them another name"],
    );
    is_told(
        &boards(BOARDS).instances(0),
        seeds(1),
        &expect!["the service `boards` has no instances; give it at least one"],
    );
    is_told(
        &Simulation::of([service(BOARDS, 1)]),
        seeds(1),
        &expect!["the simulation has no workload; say what customers do: `.workload(|draw, shape| …)`"],
    );
    is_told(
        &boards(BOARDS).workload(nothing),
        seeds(1),
        &expect!["the workload of seed 1 has no operations; return at least one, or ask for more by `.operations(n)`"],
    );
    is_told(
        &boards(BOARDS),
        seeds(0),
        &expect!["no seeds were asked for, so that nothing would be proved; say `seeds(100)`"],
    );
    is_told(&boards(BOARDS).customers(0), seeds(1), &expect!["0 customers are asked for; give 1 to 100"]);
    is_told(
        &boards(BOARDS).lasting(Duration::ZERO),
        seeds(1),
        &expect!["the simulation lasts 0ns; give it at least a second, so that something can happen"],
    );
    is_told(
        &boards(BOARDS).workload(|_, _| vec![Operation::get("boards", "/"), Operation::get("bords", "/")]),
        seeds(1),
        &expect!["operation 2 asks the service `bords`; there are: boards"],
    );
    is_told(
        &boards(BOARDS).workload(|_, _| vec![Operation::get("boards", "/").by(2)]),
        seeds(1),
        &expect![
            "operation 1 is done by customer 2, and there are 2, numbered from 0; draw one by `shape.customer(draw)`, or ask for more by `.customers(n)`"
        ],
    );
    is_told(
        &boards(BOARDS).workload(|_, _| vec![Operation::get("boards", "/").numbered(1).after(1)]),
        seeds(1),
        &expect![
            "the plan of seed 1 cannot be carried out: operation 1 waits for itself through its `after`; take that out"
        ],
    );
    is_told(
        &boards(BOARDS).always(said_once()).always(said_once()),
        seeds(1),
        &expect!["two promises or situations are called `said_once`; give one of them another name"],
    );
    is_told(
        &boards(BOARDS).always(promise("lane_order", "of its own").events((), |(), _| Ok(()))),
        seeds(1),
        &expect!["two promises or situations are called `lane_order`; give one of them another name"],
    );
    is_told(
        &boards(BOARDS).regressions("no/such/folder"),
        seeds(1),
        &expect![
            "no/such/folder cannot be read: No such file or directory (os error 2); a relative path begins in the package's folder"
        ],
    );
    is_told(
        &boards(BOARDS),
        plan("no-such-plan.json"),
        &expect![
            "no-such-plan.json cannot be read: No such file or directory (os error 2); a relative path begins in the package's folder"
        ],
    );
    let error = boards(BOARDS).sometimes(mark("conflikt")).try_check(seeds(1)).expect_err("there is no such mark");
    assert!(error.to_string().starts_with("the simulator knows no mark `conflikt`; there are: "), "{error}");
}

#[test]
fn what_passes_is_summed_up_and_the_same_again() {
    let simulation = boards(BOARDS)
        .always(said_once())
        .always(
            promise("boards_fill_up", "a board never holds more than was said")
                .states(BOARDS, |_, said| if *said > 6 { Err(format!("{said} things stand on it")) } else { Ok(()) }),
        )
        .eventually(promise("boards_agree", "in the end a board shows what the log has").at_the_end(
            (BTreeMap::<String, u64>::new(), Vec::new()),
            |(said, shown), seen| match seen {
                Seen::Event(event) if event.event_type.as_str() == "Said" => {
                    *said.entry(event.key.to_string().replace("board-", "/boards/")).or_default() += 1;
                }
                Seen::Answer(answer) if answer.at_the_end => shown.push((answer.path.clone(), answer.json::<u64>())),
                _ => {}
            },
            |(said, shown)| {
                assert_eq!(shown.len(), 2, "both were looked at");
                shown.iter().try_for_each(|(board, number)| {
                    let (number, in_log) = (number.clone()?, said.get(board).copied().unwrap_or_default());
                    if number == in_log { Ok(()) } else { Err(format!("{board} shows {number}, not {in_log}")) }
                })
            },
        ))
        .inspect(|_| (0..2).map(|board| Operation::get("boards", format!("/boards/{board}"))).collect())
        .sometimes(
            situation("a board was written on twice")
                .events((), |(), event| event.event_type.as_str() == "Said" && event.version.0 == 2),
        )
        .sometimes(mark("explicit expectation"));
    let checked = simulation.check(seeds(3));
    assert_eq!(checked.seeds, [1, 2, 3]);
    assert!(checked.succeeded >= 18 && checked.events > 18 && checked.steps > checked.events, "{checked}");
    assert!(checked.checks["said_once"] >= 18 && checked.checks["boards_agree"] == 3, "{:?}", checked.checks);
    assert!(checked.met.count("a board was written on twice") > 0);
    assert!(!checked.faults.is_empty(), "it was a swarm");
    assert_eq!(simulation.check(seeds(3)).fingerprint, checked.fingerprint);
    assert_ne!(simulation.check(seeds(2)).fingerprint, checked.fingerprint);
}

#[test]
fn what_never_happened_makes_a_check_inconclusive() {
    /// Has nothing to look at.
    struct Idle;
    impl Property for Idle {
        fn name(&self) -> &'static str {
            "idle"
        }
        fn sentence(&self) -> &'static str {
            "nothing is promised"
        }
        fn source(&self) -> &'static str {
            "this file"
        }
        fn observe(&mut self, _: &Record) -> Verdict {
            Ok(())
        }
        fn checks(&self) -> u64 {
            0
        }
    }
    let simulation = boards(BOARDS)
        .faults(Faults::calm())
        .always(|| Idle)
        .sometimes(situation("the boards burnt").events((), |(), event| event.event_type.as_str() == "Burnt"));
    is_told(
        &simulation,
        seeds(2),
        &expect![
            "inconclusive after 2 seeds: `the boards burnt` never happened, `idle` was never in a position to be broken; ask for more seeds, or let the workload come there more often"
        ],
    );
    assert!(matches!(simulation.try_check(seeds(2)), Err(CheckError::Inconclusive { seeds: 2, .. })));
}

/// The message without what changes with every change of an engine: numbers, and how many lines a story has.
fn redacted(message: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in message.lines() {
        let line = if line.starts_with("  step ") { "  step …" } else { line };
        let mut text = String::new();
        for c in line.chars() {
            let c = if c.is_ascii_digit() { '9' } else { c };
            if c != '9' || !text.ends_with('9') {
                text.push(c);
            }
        }
        if lines.last().is_none_or(|last| *last != text || text.is_empty()) {
            lines.push(text);
        }
    }
    lines.join("\n")
}

#[test]
fn a_broken_promise_panics_with_its_story() {
    let folder = scratch("story");
    let simulation = boards(ECHO).named("echo").faults(Faults::calm()).always(said_once()).save_plans_in(&folder);
    let panicked = panic::catch_unwind(panic::AssertUnwindSafe(|| simulation.check(seeds(3))));
    let panicked = panicked.expect_err("everything is said twice");
    let message = panicked.downcast_ref::<String>().expect("it is told in words");
    let message = message.replace(&folder.display().to_string(), "FOLDER");
    expect![[r#"

        BROKEN said_once: what is said once stands on its board once

        board-9 has it twice: as 9 and as 9 (at step 9, 9.9s, of seed 9)
          step …

        plan       9 operation, 9 faults, each of which it takes; 9 operations, 9 faults were drawn
                   operation 9: customer-9 asks boards at 9.9s: POST /boards/9

        again      DACAPO_SEED=9 cargo test a_broken_promise_panics_with_its_story
                   .check(plan("FOLDER/echo-said_once-seed-9.json"))
        keep it    copy that file into the folder that `.regressions(…)` names"#]]
    .assert_eq(&redacted(&message));
    assert!(message.contains("DACAPO_SEED=1 cargo test a_broken_promise_panics_with_its_story"), "{message}");
    assert!(message.contains("Said board-"), "the commit is told: {message}");
}

#[test]
fn a_saved_plan_breaks_the_same_promise_in_the_same_step_until_it_is_mended() {
    let folder = scratch("regressions");
    let simulation = |service| boards(service).always(said_once()).save_plans_in(&folder);
    let error = simulation(ECHO).limits(|limits| limits.failures_max = 9).try_check(seeds(3)).expect_err("it echoes");
    let failure = error.broken().expect("a promise is broken").clone();
    assert_eq!((failure.property.as_str(), failure.seed), ("said_once", 1));
    assert_eq!(failure.drawn.settings.limits.failures_max, 9, "the test has limits of its own");
    let file = failure.saved.clone().expect("it can be saved");

    let again = simulation(ECHO).try_check(plan(&file)).expect_err("it still echoes");
    let again = again.broken().expect("a promise is broken");
    assert_eq!((again.step, &again.message, again.fingerprint), (failure.step, &failure.message, failure.fingerprint));

    let kept = simulation(ECHO).regressions(&folder).try_check(seeds(3)).expect_err("it still echoes");
    assert_eq!(kept.broken().expect("a promise is broken").regression.as_deref(), Some(file.as_path()));
    assert!(kept.to_string().contains("it was mended once"), "{kept}");

    let mended = simulation(BOARDS).regressions(&folder).check(seeds(1));
    assert_eq!((mended.regressions, mended.seeds.len()), (1, 1));
    assert!(simulation(BOARDS).check(plan(&file)).seeds.is_empty());
    let stranger = simulation(BOARDS).named("other").try_check(plan(&file)).expect_err("it is for another").to_string();
    assert!(stranger.contains("the plan is for the scenario \"simulation\", not for \"other\""), "{stranger}");
    assert!(stranger.contains("said_once-seed-1.json cannot be carried out"), "{stranger}");
}

#[test]
fn a_service_that_depends_on_more_than_its_input_is_found_out() {
    let counting = Boards { counts: Some(Arc::default()), ..BOARDS };
    let error = boards(counting).faults(Faults::calm()).try_check(seeds(1)).expect_err("it counts over runs");
    assert!(matches!(error, CheckError::NotDeterministic(_)), "{error}");
    let message = error.to_string();
    for words in ["seed 1 ran in two ways", "one run goes on with:", "the other with:", "  step "] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_property_of_a_users_own_is_made_for_each_run() {
    /// Counts answers that somebody got.
    #[derive(Default)]
    struct Answers(u64);
    impl Property for Answers {
        fn name(&self) -> &'static str {
            "few_answers"
        }
        fn sentence(&self) -> &'static str {
            "nobody gets more answers than there are operations"
        }
        fn source(&self) -> &'static str {
            "this file"
        }
        fn observe(&mut self, record: &Record) -> Verdict {
            self.0 += u64::from(matches!(record.what, What::OperationAnswered { .. }));
            assert!(self.0 <= 6, "it was not made anew");
            Ok(())
        }
        fn checks(&self) -> u64 {
            self.0
        }
    }
    let checked = boards(BOARDS).always(Answers::default).faults(Faults::network()).check(seeds(3));
    assert!(checked.checks["few_answers"] > 6, "{:?}", checked.checks);
}

#[test]
fn two_checks_at_once_wait_for_each_other() {
    let drawn = Arc::new(Mutex::new(String::new()));
    thread::scope(|scope| {
        for who in ['a', 'b'] {
            let drawn = Arc::clone(&drawn);
            scope.spawn(move || {
                let watched = boards(BOARDS).faults(Faults::calm()).workload(move |_, _| {
                    drawn.lock().expect("nobody panicked").push(who);
                    vec![Operation::post("boards", "/boards/1")]
                });
                watched.check(seeds(4));
            });
        }
    });
    let drawn = drawn.lock().expect("nobody panicked").clone();
    assert!(["aaaabbbb", "bbbbaaaa"].contains(&drawn.as_str()), "{drawn}");
}

/// Run by [`the_environment_overrides_the_seeds`] in a process of its own.
#[test]
fn seeds_that_the_environment_may_override() {
    let checked = boards(BOARDS)
        .faults(Faults::calm())
        .sometimes(situation("six operations in one run").events(0, |said, event| {
            *said += u32::from(event.event_type.as_str() == "Said");
            *said == 6
        }))
        .check(seeds(2));
    println!("seeds {:?}", checked.seeds);
    assert!(!checked.seeds.is_empty());
}

#[test]
fn the_environment_overrides_the_seeds() {
    let run = |variable: &str, value: &str| {
        let mut command = Command::new(std::env::current_exe().expect("a program has a place"));
        command.args(["--exact", "seeds_that_the_environment_may_override", "--nocapture", "--test-threads", "2"]);
        let output = command.env(variable, value).output().expect("it can be started");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert!(run("DACAPO_SEED", "0x10").contains("seeds [16]"));
    assert!(run("DACAPO_SEEDS", "3").contains("seeds [1, 2, 3]"));
    let said = run("DACAPO_SEEDS", "few");
    assert!(said.contains("DACAPO_SEEDS: \"few\" is no number of seeds"), "{said}");
}
