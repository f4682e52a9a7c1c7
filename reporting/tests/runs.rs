//! Recorded runs: written, read back, compared, exported.

mod support;

use std::sync::Arc;

use dacapo_core::{
    CorrelationId, Data, Event, EventId, EventType, Expectation, Key, NewEvent, NodeName, Position, Receipt, Source,
    Term, Timestamp, Version, WallTime,
    store::Commit,
    trace::{Frame, Record, What},
    wire::{Complete, Conflict, Deliver, FromBus, Publish, Receipts, ToBus, Token},
};
use dacapo_reporting::{
    export,
    run::{self, Beside, Knew, Manifest, Moment, RowKind, Rows, Run, Violation, conflicts, divergence},
    site::{Shown, Site},
};
use support::{Scratch, declared, get, page};

fn event(position: u64, version: u64, pence: u64) -> Arc<Event> {
    Arc::new(Event {
        position: Position(position),
        id: EventId::of(format!("e-{position}")),
        event_type: EventType::of("ConfirmedCredit"),
        key: Key::of("acc-alice"),
        version: Version(version),
        correlation: CorrelationId::of("c-1"),
        causation: None,
        time: WallTime(position * 1_000),
        source: Source::of("accounts"),
        data: Data::of(&serde_json::json!({"why": "deposit", "pence": pence})),
        attributes: dacapo_core::Attributes::default(),
    })
}

/// Records of so many commits, each delivered to an instance; one delivery is lost, and comes again.
fn records(commits: u64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut put = |node: &str, at: u64, what: What| {
        let step = records.len() as u64 + 1;
        records.push(Record { step, at: Timestamp(at), node: NodeName::of(node), what });
    };
    put("bus", 0, What::Started { incarnation: 1 });
    put("accounts-0", 0, What::Started { incarnation: 2 });
    put("simulator", 0, What::FaultBegun { fault: 101 });
    for number in 1..=commits {
        let at = number * 10_000;
        let event = event(number, number, 5);
        let commit = Commit { sequence: number, term: Term(1), events: vec![Arc::clone(&event)], ..Commit::default() };
        put("bus", at, What::CommitSubmitted { sequence: number, events: 1, completions: 0 });
        put("bus", at + 1_000, What::CommitDurable { commit: Arc::new(commit) });
        let deliver = |attempt: u32| {
            let token = Token { term: Term(1), session: 1, epoch: 1, attempt };
            Frame::from(FromBus::from(Deliver { token, previous: Version(number - 1), event: Arc::clone(&event) }))
        };
        if number == 2 {
            put("bus", at + 1_500, What::FrameSent { connection: 1, frame: deliver(1) });
        }
        let frame = deliver(1 + u32::from(number == 2));
        put("bus", at + 2_000, What::FrameSent { connection: 1, frame: frame.clone() });
        put("accounts-0", at + 4_000, What::FrameReceived { connection: 3, frame });
        put(
            "accounts-0",
            at + 4_000,
            What::Applied {
                service: "accounts".to_owned().try_into().expect("a name"),
                instance: "accounts-0".to_owned().try_into().expect("a name"),
                incarnation: 2,
                code: 1,
                key: Key::of("acc-alice"),
                position: Position(number),
                version: Version(number),
                after: Version(number - 1),
                digest: number,
                how: dacapo_core::trace::How::Delivered,
            },
        );
        let token = Token { term: Term(1), session: 1, epoch: 1, attempt: 1 };
        let complete = Complete { position: Position(number), token, events: Vec::new(), guards: Vec::new() };
        put("accounts-0", at + 4_000, What::FrameSent { connection: 3, frame: Frame::from(ToBus::from(complete)) });
    }
    records
}

fn manifest(records: &[Record]) -> Manifest {
    let last = records.last().expect("some").step;
    let commit =
        records.iter().rev().find(|record| matches!(record.what, What::CommitDurable { .. })).expect("one").step;
    Manifest {
        version: run::VERSION,
        name: "seed 1".to_owned(),
        seed: 1,
        scenario: "bank".to_owned(),
        replay: "dacapo replay 1".to_owned(),
        commands: vec![("again".to_owned(), "dacapo replay 1".to_owned())],
        violation: Some(Violation {
            property: "no_gifts".to_owned(),
            sentence: "nobody is given money".to_owned(),
            message: "alice was".to_owned(),
            step: last,
            steps: vec![5, commit],
        }),
        faults: vec![run::Fault {
            id: 101,
            family: "crash".to_owned(),
            text: "crash of <accounts-0>".to_owned(),
            hosts: vec!["accounts-0".to_owned()],
            needed: Some(true),
            cut: vec![run::Way { from: vec!["accounts-0".to_owned()], to: vec!["bus".to_owned()] }],
            clock: Some("+2 s".to_owned()),
        }],
        blamed: Some(run::Blamed { step: 9, text: "from step 9 on, failure was all but inevitable".to_owned() }),
        ..Manifest::default()
    }
}

/// The same; the first event was published in vain before, and a completion of the third met a conflict.
fn with_conflicts(commits: u64) -> Vec<Record> {
    let bus = |what| Record { step: 0, at: Timestamp(0), node: NodeName::of("bus"), what };
    let published = NewEvent {
        id: EventId::of("e-1"),
        event_type: EventType::of("ConfirmedCredit"),
        key: Key::of("acc-alice"),
        expectation: Expectation::Version(Version(0)),
        correlation: None,
        causation: None,
        source: None,
        data: Data::of(&serde_json::json!({})),
        attributes: dacapo_core::Attributes::default(),
    };
    let publish = Publish { request: 7, events: vec![published], guards: Vec::new() };
    let stale = Receipt::Inconsistent { key: Key::of("acc-alice"), head: Version(1), id: None };
    let receipts = |connection| {
        let frame = Frame::from(FromBus::from(Receipts { request: 7, receipts: vec![stale.clone()] }));
        bus(What::FrameSent { connection, frame })
    };
    let token = Token { term: Term(1), session: 1, epoch: 1, attempt: 1 };
    let conflict = Conflict { position: Position(3), token, heads: Vec::new() };
    let mut all = records(commits);
    let early = [
        bus(What::FrameReceived { connection: 1, frame: Frame::from(ToBus::from(publish)) }),
        receipts(1),
        // Somebody else's request of the same number.
        receipts(2),
    ];
    all.splice(3..3, early);
    all.push(bus(What::FrameSent { connection: 1, frame: Frame::from(FromBus::from(conflict)) }));
    for (step, record) in (1..).zip(&mut all) {
        record.step = step;
    }
    all
}

fn recorded(scratch: &Scratch, name: &str, commits: u64) -> Run {
    let records = records(commits);
    run::write(&scratch.path(name), &manifest(&records), records).expect("is written")
}

#[test]
fn a_run_is_written_as_an_ordinary_store_with_its_trace_and_read_back() {
    let scratch = Scratch::new("run");
    let written = recorded(&scratch, "one", 4);
    let read = Run::open(&scratch.path("one")).expect("is read");
    assert_eq!((read.records.as_ref(), &read.manifest), (written.records.as_ref(), &written.manifest));
    assert_eq!(read.manifest.log_note, None);
    let mut site = support::site(&read.log());
    assert!(page(&mut site, "/key/acc-alice").contains("20 pence"), "its log is a store like any other");
    // In its place when recorded again.
    assert_eq!(recorded(&scratch, "one", 3).records.len(), 3 + 3 * 6 + 1);
    assert_eq!(run::list(&scratch.path("")).expect("is read").len(), 1);
}

#[test]
fn rows_tell_what_was_lost_and_what_came_again() {
    let scratch = Scratch::new("rows");
    let run = recorded(&scratch, "one", 4);
    let rows = Rows::of(&run, false);
    let lost: Vec<u64> =
        rows.messages.iter().filter(|message| message.fate == run::Fate::Lost).map(|message| message.sent).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(rows.again.values().copied().collect::<Vec<_>>(), lost, "the second delivery names the first");
    assert_eq!(rows.faults, [(101, 3, run.records.len() as u64)]);
    assert!(
        rows.open.iter().any(|open| open.class == "delivery") && rows.open.iter().any(|open| open.class == "commit")
    );
    let folded: u64 = rows.rows.iter().map(|row| row.through - row.step + 1).sum();
    assert_eq!(folded, run.records.len() as u64, "every record is in a row");
    assert!(Rows::of(&run, true).rows.iter().all(|row| row.kind != RowKind::Fold));
}

#[test]
fn what_each_node_knew_of_a_key_is_told_step_by_step() {
    let records = records(3);
    let knew = Knew::of(&records, &Key::of("acc-alice"), Some(&declared()));
    let last = knew.changes.last().expect("some");
    assert_eq!((last.log.version, last.log.balance), (Version(3), Some(15)));
    assert_eq!(last.nodes[&NodeName::of("accounts-0")].balance, Some(15));
    let before = &knew.changes[knew.changes.len() - 2];
    assert_eq!(before.nodes[&NodeName::of("accounts-0")].version, Version(2), "the log is ahead of the instance");
}

#[test]
fn the_owner_of_a_key_is_who_the_bus_hands_its_events_to() {
    let scratch = Scratch::new("owners");
    let run = recorded(&scratch, "one", 3);
    let last = run.records.len() as u64;
    let rows = Rows::of(&run, false);
    let [owner] = rows.owners.as_slice() else { panic!("{:?}", rows.owners) };
    assert_eq!((owner.node.as_str(), owner.key.as_str(), owner.epoch), ("accounts-0", "acc-alice", 1));
    assert_eq!((owner.from, owner.to), (6, last), "from the first event that it was handed");
    let mut rows = rows;
    rows.owned(&run.records, &[Key::of("acc-bob")]);
    assert_eq!(rows.owners, []);
}

#[test]
fn a_node_at_a_step_has_what_it_had_and_knows_what_it_knew() {
    let scratch = Scratch::new("moment");
    let run = recorded(&scratch, "one", 3);
    let rows = Rows::of(&run, false);
    let node = NodeName::of("accounts-0");
    let moment = |step| Moment::of(&run.records, &rows, &node, step, Some(&declared()));
    assert_eq!((moment(1).alive_since, moment(1).last, moment(1).knew), (None, None, Vec::new()));
    // After the second commit, and before its event has arrived.
    let step = run.records.iter().filter(|it| matches!(it.what, What::CommitDurable { .. })).nth(1).expect("two").step;
    let behind = moment(step);
    let [(key, own, log)] = behind.knew.as_slice() else { panic!("{:?}", behind.knew) };
    assert_eq!((key.as_str(), own.version, own.balance), ("acc-alice", Version(1), Some(5)));
    assert_eq!((log.version, log.balance), (Version(2), Some(10)));
    assert_eq!(behind.alive_since, Some(2));
    let received = run.records.iter().rposition(|it| matches!(it.what, What::FrameReceived { .. })).expect("one");
    assert_eq!(moment(received as u64 + 1).open.len(), 1, "it holds what it has not completed");
}

#[test]
fn any_node_and_key_can_be_looked_at_on_the_page_of_a_run() {
    let scratch = Scratch::new("chosen");
    recorded(&scratch, "one", 4);
    let shown = Shown { runs: Some(scratch.path("")), declared: Some(declared()), ..Shown::default() };
    let mut site = Site::open(Arc::new(shown)).expect("opens");
    let shown = page(&mut site, "/run/one?step=12&node=accounts-0&key=acc-alice");
    for text in [
        "Alive since step 2",
        "<option value=\"accounts-0\" selected>",
        "<option value=\"acc-alice\">",
        "accounts-0 owns acc-alice, epoch 1",
        "&amp;key=acc-alice&amp;node=accounts-0#diagram",
        "accounts-0 to bus: nothing passes",
        "lost from here on",
        "+2 s",
    ] {
        assert!(shown.contains(text), "{text}");
    }
    assert_eq!(get(&mut site, "/run/one?node=nobody").status, 400);
    assert!(page(&mut site, "/run/one?step=1&key=acc-alice").contains("Nobody knew anything of it up to step 1"));
}

#[test]
fn two_runs_part_where_their_records_differ() {
    let (one, mut other) = (records(5), records(5));
    assert_eq!(divergence(&one, &other), None);
    other[7].at = Timestamp(1);
    assert_eq!(divergence(&one, &other), Some(7));
    assert_eq!(divergence(&one, &one[..9]), Some(9));
}

#[test]
fn the_log_of_a_run_knows_what_met_a_conflict() {
    let scratch = Scratch::new("conflicts");
    let records = with_conflicts(4);
    assert_eq!(conflicts(&records), [(Position(1), 1), (Position(3), 1)].into());
    let run = run::write(&scratch.path("one"), &manifest(&records), records).expect("is written");
    let shown = Shown { runs: Some(scratch.path("")), declared: Some(declared()), ..Shown::default() };
    let mut site = Site::open(Arc::new(shown)).expect("opens");
    let met = page(&mut site, "/in/one/events?q=status:conflict");
    assert!(met.contains("data-p=\"1\"") && met.contains("data-p=\"3\"") && met.contains("conflict ×1"));
    assert!(!met.contains("data-p=\"2\"") && !met.contains("data-p=\"4\""));
    let others = page(&mut site, "/in/one/events?q=-status:conflict");
    assert!(others.contains("data-p=\"2\"") && !others.contains("data-p=\"3\""));
    let of_both = page(&mut site, "/in/one/events?q=status:conflict,redelivered+after:2");
    assert!(of_both.contains("data-p=\"3\"") && !of_both.contains("data-p=\"1\""));
    assert!(page(&mut site, "/in/one/overview").contains("2 events met a conflict"));
    for target in ["/in/one/key/acc-alice", "/in/one/correlation/c-1", "/in/one/correlation/c-1?view=table"] {
        assert_eq!(page(&mut site, target).matches(">conflict ×1<").count(), 2, "{target}");
    }
    assert!(page(&mut site, "/in/one/correlation/c-1?as=jsonl&q=status:conflict").lines().count() == 2);

    // The same file without its trace.
    let mut site = support::site(&run.log());
    let refused = page(&mut site, "/events?q=status:conflict");
    assert!(refused.contains("a conflict leaves nothing in the log") && refused.contains("replay SEED --view"));
    assert!(page(&mut site, "/correlation/c-1?q=-status:conflict").contains("leaves nothing in the log"));
    assert_eq!(get(&mut site, "/correlation/c-1?as=jsonl&q=status:conflict").status, 400);
}

#[test]
fn what_a_node_knew_is_laid_side_by_side_from_where_two_runs_part() {
    let scratch = Scratch::new("beside");
    let one = recorded(&scratch, "one", 4);
    // In the other one, the second event never reached the instance.
    let (mut fewer, mut commits) = (Vec::new(), 0);
    for record in records(4) {
        commits += u64::from(matches!(record.what, What::CommitDurable { .. }));
        if !(commits == 2 && matches!(record.what, What::Applied { .. } | What::FrameReceived { .. })) {
            fewer.push(Record { step: fewer.len() as u64 + 1, ..record });
        }
    }
    let other = run::write(&scratch.path("two"), &manifest(&fewer), fewer).expect("is written");
    let first = divergence(&one.records, &other.records).expect("they differ") as u64 + 1;
    let (key, node) = (Key::of("acc-alice"), NodeName::of("accounts-0"));
    let rows = Beside::of([&one.records, &other.records], &key, Some(&node), first, Some(&declared()));
    let versions = |row: &Beside| row.sides.map(|side| (side.log.version.0, side.node.map(|node| node.version.0)));
    assert_eq!((rows[0].step, versions(&rows[0])), (first, [(2, Some(1)), (2, Some(1))]), "they part in what came");
    assert!(rows[0].sides[0].knows_as(&rows[0].sides[1]));
    assert_eq!(versions(&rows[1]), [(2, Some(2)), (2, Some(1))], "and then in what was known");
    assert!(rows.windows(2).all(|pair| pair[0].step < pair[1].step));
    let last = rows.last().expect("some");
    assert_eq!(versions(last), [(4, Some(4)), (4, Some(4))]);

    let shown = Shown { runs: Some(scratch.path("")), declared: Some(declared()), ..Shown::default() };
    let mut site = Site::open(Arc::new(shown)).expect("opens");
    let of_itself = page(&mut site, "/compare?a=one&b=two");
    for text in [
        "What was known of <span class=\"mono\">acc-alice</span>",
        "<option value=\"accounts-0\" selected>",
        "It knows the same in both: 1 key.",
    ] {
        assert!(of_itself.contains(text), "{text}");
    }
    let later = page(&mut site, &format!("/compare?a=one&b=two&step={}&node=accounts-0&key=acc-alice", rows[1].step));
    assert!(later.contains("It knows different things of 1 key") && later.contains("differs</td>"));
    let first_link = format!("step={first}&amp;node=accounts-0&amp;key=acc-alice#first");
    assert!(later.contains(&first_link), "the way back, wherever one is");
    assert!(later.contains(&format!("step={}&amp;node=accounts-0&amp;key=acc-alice#state", rows[1].step + 1)));
    let of_the_bus = page(&mut site, "/compare?a=one&b=two&node=bus&key=");
    assert!(
        of_the_bus.contains("It knows the state of no key, in either run.") && !of_the_bus.contains("What was known")
    );
    assert_eq!(get(&mut site, "/compare?a=one&b=two&node=nobody").status, 400);
    assert_eq!(get(&mut site, "/compare?a=one&b=two&step=soon").status, 400);
    assert_eq!(page(&mut site, "/compare?a=one&b=two&step=18446744073709551615").matches("id=\"state\"").count(), 1);
}

#[test]
fn the_page_that_stands_alone_is_small_and_the_same_twice() {
    let scratch = Scratch::new("alone");
    let run = recorded(&scratch, "one", 2_000);
    assert!(run.records.len() > 10_000);
    let page = export::html::run(&run, Some(&declared())).expect("is made");
    assert_eq!(page, export::html::run(&Run::open(&run.path).expect("is read"), Some(&declared())).expect("is made"));
    assert!(
        page.len() < 1_000_000 * run.records.len() / 10_000,
        "{} bytes for {} records",
        page.len(),
        run.records.len()
    );
    assert!(page.contains("nobody is given money") && page.contains("crash of &lt;accounts-0&gt;"));
    assert!(!page.contains("src="), "it loads nothing");
}

#[test]
fn runs_have_pages_and_names_that_are_no_paths() {
    let scratch = Scratch::new("pages-of-runs");
    recorded(&scratch, "one", 40);
    recorded(&scratch, "two", 30);
    let shown = Shown { runs: Some(scratch.path("")), declared: Some(declared()), ..Shown::default() };
    let mut site = Site::open(Arc::new(shown)).expect("opens");
    assert_eq!(get(&mut site, "/").location.as_deref(), Some("/runs"));
    assert!(page(&mut site, "/runs").contains("no_gifts"));
    let shown = page(&mut site, "/run/one");
    for text in [
        "nobody is given money",
        "crash of &lt;accounts-0&gt;",
        "--without-fault 101",
        "class=\"violation\"",
        "What each node knew of",
    ] {
        assert!(shown.contains(text), "{text}");
    }
    assert!(page(&mut site, "/run/one?step=20&quiet=1").contains("data-step=\"20\""));
    assert!(page(&mut site, "/in/two/key/acc-alice").contains("150 pence"));
    assert!(
        page(&mut site, "/compare?a=one&b=two").contains("the first that differs")
            || page(&mut site, "/compare?a=one&b=two").contains("The stories")
    );
    for target in ["/run/..", "/run/%2E%2E", "/run/one%2F..%2Ftwo", "/in/../events", "/run/three"] {
        assert_eq!(get(&mut site, target).status, 404, "{target}");
    }
    for (kind, begins) in [("html", "<!DOCTYPE html>"), ("jsonl", "{\"step\":1"), ("svg", "<?xml")] {
        assert!(page(&mut site, &format!("/run/one?as={kind}")).starts_with(begins), "{kind}");
    }
}
