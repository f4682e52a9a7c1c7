//! What is fed with nonsense: each takes any bytes, and must come back, without a panic, with an answer that is consistent in
//! itself. Shared by the driver of this suite and by the targets of cargo-fuzz in `fuzz/`.

#[path = "door.rs"]
mod door;

use std::{
    fs,
    path::{Path, PathBuf},
};

use dacapo_backends::{
    SqliteReader, SqliteStore,
    server::{structured, understood},
};
use dacapo_core::{
    CorrelationId, Event, Position, Source, Version, WallTime,
    access::{Secret, SecretError},
    event::NewEvent,
    narrate,
    store::{Query, Reader as _, Store as _},
    trace,
    wire::{FromBus, ToBus},
};
use dacapo_reporting::{
    ask::Ask,
    filter::Filter,
    run::{self, Manifest, Run},
    site::{Shown, Site},
};
use dacapo_sim::Plan;

pub(crate) use door::requests;

/// A text message of either direction: what is understood is understood again when it is said again.
pub(crate) fn frames(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(frames) = ToBus::decode(text) {
        for frame in frames {
            assert_eq!(ToBus::decode(&frame.encode()).as_deref(), Ok(&[frame][..]), "{text}");
        }
    }
    if let Ok(frames) = FromBus::decode(text) {
        for frame in frames {
            assert_eq!(FromBus::decode(&frame.encode()).as_deref(), Ok(&[frame][..]), "{text}");
        }
    }
}

/// A request to publish, headers first, then an empty line and the body: the bus's own JSON, and CloudEvents in their three
/// modes. What is understood and shown as a CloudEvent is understood again, and shown as the same.
pub(crate) fn publishes(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (head, body) = text.split_once("\n\n").unwrap_or(("", text));
    let headers: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    for event in understood(&headers, body.as_bytes()).unwrap_or_default() {
        let shown = structured(&accepted(event));
        let Ok(again) = understood(&[("content-type", "application/cloudevents+json")], shown.as_bytes()) else {
            // What a reference may not hold is written in three characters, which a name may not have room for.
            assert!(shown.contains('%'), "{text:?} is shown as {shown}, which is not understood");
            continue;
        };
        let again: Vec<String> = again.into_iter().map(|event| structured(&accepted(event))).collect();
        assert_eq!(again, [shown], "{text:?}");
    }
}

/// What somebody shows as a token: whether it is one or not, nothing that is logged repeats it.
pub(crate) fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<Secret>() {
        Ok(secret) => {
            assert_eq!(secret.reveal(), text);
            assert!(!format!("{secret:?} {:?}", secret.hash()).contains(text));
        }
        // The same sentence for everything, whatever was shown.
        Err(error) => assert_eq!(error.to_string(), SecretError.to_string()),
    }
}

/// As the bus would accept it.
fn accepted(event: NewEvent) -> Event {
    Event {
        position: Position(1),
        correlation: event.correlation.unwrap_or_else(|| CorrelationId::of(event.id.as_str().to_owned())),
        id: event.id,
        event_type: event.event_type,
        key: event.key,
        version: Version(1),
        causation: event.causation,
        time: WallTime(0),
        source: event.source.unwrap_or_else(|| Source::of("fuzz")),
        data: event.data,
        attributes: event.attributes,
    }
}

/// A filter of `dacapo events` and of the viewer: what is understood is understood again as it is shown.
pub(crate) fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(filter) = Filter::parse(&[text]) {
        let shown = filter.to_string();
        match Filter::parse(&[&shown]) {
            Ok(again) => assert_eq!(again.to_string(), shown, "{text}"),
            Err(error) => panic!("{text:?} is shown as {shown:?}, which is no filter: {error}"),
        }
    }
}

/// A plan's file, as `dacapo replay FILE` reads it: what is understood is written as it was read.
pub(crate) fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(plan) = Plan::from_json(text) {
        let written = plan.to_json();
        let again = Plan::from_json(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
        assert_eq!(again.to_json(), written);
        let _ = plan.check(&dacapo_bank::bank());
    }
}

/// A trace, as somebody may mail it with a recorded run: it is refused, or every page of it is made.
pub(crate) fn trace(bytes: &[u8], at: &Path) {
    for line in String::from_utf8_lossy(bytes).lines() {
        if let Ok(record) = trace::decode(line) {
            assert_eq!(trace::decode(&trace::encode(&record)).ok().as_ref(), Some(&record), "{line}");
            let _ = narrate::line(&record);
        }
    }
    let manifest = Manifest { version: run::VERSION, name: "fuzz".to_owned(), ..Manifest::default() };
    fs::create_dir_all(at.join("run")).expect("can be made");
    let manifest = serde_json::to_vec(&manifest).expect("is plain data");
    fs::write(at.join("run").join(run::MANIFEST), manifest).expect("can be written");
    fs::write(at.join("run").join(run::TRACE), bytes).expect("can be written");
    if Run::open(&at.join("run")).is_err() {
        return;
    }
    let shown = Shown { runs: Some(at.to_owned()), first: Some("run".to_owned()), ..Shown::default() };
    let mut site = Site::open(shown.into()).expect("there is no store to open");
    for page in ["/", "/runs", "/run/run", "/run/run?quiet=1", "/compare?a=run&b=run", "/run/run/events"] {
        let _ = site.answer(&Ask::parse(page).expect("is an address"));
    }
}

/// A store's file: it is refused, or read; and whatever is read is told in order.
pub(crate) fn store(bytes: &[u8], at: &Path) {
    for beside in ["-wal", "-shm", "-spare", "-spare-whole", "-mark"] {
        let mut path = at.as_os_str().to_owned();
        path.push(beside);
        // It may not be there.
        let _ = fs::remove_file(PathBuf::from(path));
    }
    fs::write(at, bytes).expect("can be written");
    if let Ok(mut reader) = SqliteReader::open_read_only(at) {
        let _ = reader.check();
        let _ = reader.verify_chain(None);
        let _ = reader.standing();
    }
    let Ok(mut store) = SqliteStore::open(at) else { return };
    let _ = store.recover();
    let mut cursor = None;
    for _ in 0..8 {
        let Ok(answer) = store.query(&Query { cursor, limit: 4, ..Query::default() }) else { return };
        let positions: Vec<Position> = answer.events.iter().map(|event| event.position).collect();
        assert!(positions.is_sorted(), "{positions:?}");
        cursor = answer.next;
        if cursor.is_none() {
            return;
        }
    }
}
