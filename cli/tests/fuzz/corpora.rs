//! What is right, for each target: nonsense is made of it, by this suite's driver and by cargo-fuzz.

use std::{collections::BTreeSet, fs, path::Path};

use dacapo_backends::SqliteStore;
use dacapo_core::{
    Attributes, CorrelationId, Data, Event, EventId, EventType, Key, Position, Source, Version, WallTime,
    access::Secret,
    store::{Commit, Store as _},
    trace,
};
use dacapo_sim::{Plan, Profile, RunOptions, recorder::Keep};

/// Texts, each an example of its own.
pub(crate) type Corpus = Vec<Vec<u8>>;

fn of(texts: &[&str]) -> Corpus {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The examples of the protocol's document.
pub(crate) fn frames() -> Corpus {
    let protocol = include_str!("../../../docs/PROTOCOL.md");
    let frames = protocol.lines().filter(|line| line.starts_with("{\"kind\""));
    let mut examples: Corpus = frames.map(|frame| frame.as_bytes().to_vec()).collect();
    let both = format!("[{},{}]", String::from_utf8_lossy(&examples[0]), String::from_utf8_lossy(&examples[1]));
    examples.push(both.into_bytes());
    examples
}

pub(crate) fn filters() -> Corpus {
    of(&[
        "key:acc-* type:Debit,Credit",
        "-source:teller \"the rent\"",
        "after:12.5s before:20s",
        "time:2026-03-01..2026-03-02",
        "status:redelivered,parked corr:4f2a cause:9c1b",
        "data.pence>500 (a or b)",
    ])
}

/// The bus's own JSON, and CloudEvents in binary, structured and batched mode.
pub(crate) fn publishes() -> Corpus {
    of(&[
        r#"{"id":"a","type":"T","key":"k/1","source":"s","expectation":3,"data":{"pence":5}}"#,
        r#"[{"id":"a","type":"T","key":"k","source":"s"},{"id":"b","type":"T","key":"k","source":"s"}]"#,
        r#"{"events":[{"id":"a","type":"T","key":"k","source":"s","attributes":{"x":"y"}}],"guards":[{"key":"g","version":2}]}"#,
        "ce-specversion: 1.0\nce-id: a\nce-source: /s\nce-type: T\nce-subject: k\nce-time: 2026-03-01T12:00:00.25+01:00\n\
         ce-expectedversion: any\ncontent-type: application/json\n\n{\"pence\":5}",
        "ce-specversion: 1.0\nce-id: %C3%A9\nce-source: s\nce-type: T\ncontent-type: text/plain\n\nwords",
        "content-type: application/cloudevents+json; charset=utf-8\n\n{\"specversion\":\"1.0\",\"id\":\"a\",\"source\":\"/s\",\
         \"type\":\"T\",\"partitionkey\":\"k\",\"correlationid\":\"c\",\"data\":[1,true,null],\"other\":5}",
        "content-type: application/cloudevents-batch+json\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\
         \n\n[{\"specversion\":\"1.0\",\"id\":\"a\",\"source\":\"/s\",\"type\":\"T\"}]",
    ])
}

/// Whole requests, as they are written to a connection.
pub(crate) fn requests() -> Corpus {
    let ask = |line: &str, headers: &str, body: &str| {
        format!("{line} HTTP/1.1\r\nhost: bus\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: dacapo.v1+json\r\n";
    let bearer = format!("authorization: Bearer {}\r\n", Secret::of([7; 32]).reveal());
    let mut all: Corpus = vec![
        ask("GET /v1/events?type=A,B&key=k%2F1&limit=5&cursor=3&order=down", &bearer, ""),
        ask("GET /v1/events?follow=true", "accept: text/event-stream\r\nlast-event-id: 3\r\n", ""),
        ask("GET /v1/events/1", "accept: application/cloudevents+json\r\nif-none-match: \"x\"\r\n", ""),
        ask("GET /v1/keys?prefix=acc-", "", ""),
        ask("GET /v1/keys/acc-1", "", ""),
        ask("GET /v1/services/accounts/lanes", "", ""),
        ask("GET /v1/services/accounts/lanes/acc-1/why", "", ""),
        ask("POST /v1/services/accounts/lanes/acc-1/retry", "", "{}"),
        ask("POST /v1/services/accounts/lanes/acc-1/skip", "", r#"{"position":1,"reason":"x"}"#),
        ask("PUT /v1/services/accounts/types", "", r#"{"types":["A"],"from":"beginning"}"#),
        ask("POST /v1/tokens", "", r#"{"name":"ops","hash":"7f","rights":{"administer":true}}"#),
        ask("DELETE /v1/tokens/ops", "", ""),
        ask("OPTIONS /v1/events", "origin: https://a.example\r\naccess-control-request-method: POST\r\n", ""),
        ask("GET /metrics", "", ""),
        ask("GET /openapi.json", "", ""),
        ask("GET /v1/bus", upgrade, ""),
        b"POST /v1/events HTTP/1.1\r\nhost: bus\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n0\r\n\r\n"
            .to_vec(),
    ];
    for publish in publishes() {
        let publish = String::from_utf8(publish).expect("is text");
        let (headers, body) = publish.split_once("\n\n").unwrap_or(("", &publish));
        let headers: Vec<String> = headers.lines().map(|line| format!("{line}\r\n")).collect();
        all.push(ask("POST /v1/events", &headers.concat(), body));
    }
    all
}

pub(crate) fn tokens() -> Corpus {
    vec![Secret::of([0xA7; 32]).reveal().as_bytes().to_vec(), b"dacapo_".to_vec(), b"Bearer x".to_vec()]
}

/// Plans as campaigns draw them.
pub(crate) fn plans() -> Corpus {
    (1..=3).map(|seed| plan_of(seed).to_json().into_bytes()).collect()
}

fn plan_of(seed: u64) -> Plan {
    let profile = Profile::named("swarm").expect("is one");
    Plan::draw(&dacapo_bank::bank(), seed, &profile)
}

/// The beginnings of a run's trace, and records of each kind by themselves.
pub(crate) fn traces() -> Corpus {
    let options = RunOptions { keep: Keep::All, ..RunOptions::default() };
    let ran = dacapo_sim::run(&dacapo_bank::bank(), &plan_of(1), &options).expect("can be carried out");
    let lines: Vec<String> = ran.records.iter().map(trace::encode).collect();
    let mut all = of(&[&lines[..20].join("\n"), &lines[..200].join("\n")]);
    let mut kinds = BTreeSet::new();
    for (line, record) in lines.iter().zip(&ran.records) {
        let what = format!("{:?}", record.what);
        if kinds.insert(what.split([' ', '(', '{']).next().map(str::to_owned)) {
            all.push(line.clone().into_bytes());
        }
    }
    all
}

/// The file of a small store.
pub(crate) fn stores(directory: &Path) -> Corpus {
    let path = directory.join("right.db");
    let mut store = SqliteStore::open(&path).expect("opens");
    let term = store.recover().expect("recovers").term;
    let event = |position: u64| Event {
        position: Position(position),
        id: EventId::of(format!("e-{position}")),
        event_type: EventType::of("Deposited"),
        key: Key::of("acc-1"),
        version: Version(position),
        correlation: CorrelationId::of("c"),
        causation: None,
        time: WallTime(position),
        source: Source::of("teller"),
        data: Data::of(&position),
        attributes: Attributes::default(),
    };
    let events = (1..=20).map(|position| event(position).into()).collect();
    store.commit(&Commit { sequence: 1, term, events, ..Commit::default() }).expect("commits");
    store.recover().expect("brings the log into the file");
    drop(store);
    vec![fs::read(&path).expect("can be read")]
}
