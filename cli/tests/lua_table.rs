//! The interface of scripts, row by row, as somebody uses it who has the table and nothing else: on a real bus and its file.

#[path = "lua/process.rs"]
mod process;
mod support;

use std::{collections::BTreeMap, fs};

use process::{Bus, Service, bus, service};
use serde_json::{Value, json};
use support::Scratch;
use tokio_tungstenite::tungstenite::http::StatusCode;

const LEDGER: &str = include_str!("lua/ledger.lua");

/// What the script is asked for, with an instance of it and its bus.
fn with_ledger(test: &str, story: impl FnOnce(&Scratch, &Bus, Service)) {
    let scratch = Scratch::new(test);
    fs::write(scratch.path().join("ledger.lua"), LEDGER).expect("can be written");
    let bus = bus(scratch.path());
    let ledger = service(scratch.path(), &bus, "ledger.lua", &[]);
    story(&scratch, &bus, ledger);
}

fn statement(ledger: &Service, account: &str, entries: usize) -> Value {
    let path = format!("/account/{account}/statement");
    ledger
        .until("GET", &path, |_, body| body["account"]["entries"].as_array().is_some_and(|list| list.len() == entries))
}

/// The only event of a key, when it is there.
fn the_event(bus: &Bus, key: &str) -> Value {
    bus.until(key, |events| !events.is_empty()).pop().expect("one was waited for")
}

#[test]
fn every_row_of_the_table_does_what_it_says() {
    with_ledger("lua-table", |scratch, bus, mut ledger| {
        let credit = |amount: &str| {
            ledger.ask("POST", "/account/acc1/credit", &format!(r#"{{"amount": {amount}, "correlation": "salary"}}"#))
        };
        let (status, answer) = credit("10.25");
        assert_eq!((status, &answer["method"]), (201, &json!("POST")));
        assert_eq!(credit("2").0, 201);
        let said = statement(&ledger, "acc1", 2);
        assert_eq!(said["account"]["balance"], json!(12.25));
        assert_eq!((&said["latest"]["key"], &said["entries"]), (&json!("acc1"), &json!(2)));
        assert_eq!((&said["accounts"], &said["one"]), (&json!(["acc1"]), &json!(["acc1"])));
        let text: Value = serde_json::from_str(said["text"].as_str().expect("a text")).expect("JSON");
        assert_eq!(text, said["account"], "encoded is what is decoded");
        // What was sent is in the log, kind and all, under the correlation that was given; 2 is no float.
        let log = bus.events("acc1");
        assert_eq!(log[0]["data"], json!({"amount": 10.25}));
        assert_eq!(
            (log[1]["data"].to_string(), &log[1]["correlation"]),
            (r#"{"amount":2}"#.to_owned(), &json!("salary"))
        );
        let at = said["account"]["entries"][0]["at"].as_u64().expect("a time");
        assert_eq!(at, log[0]["time"].as_u64().expect("a time") / 1_000, "milliseconds");

        // A listener's answer belongs to what it answers, and so does a receipt.
        assert_eq!(
            ledger.ask("POST", "/account/acc1/debit", r#"{"id": "d1", "amount": 2.25}"#),
            (202, json!({"left": 10.0}))
        );
        let (debit, note, heard) = (&bus.events("acc1")[2], the_event(bus, "note-d1"), the_event(bus, "heard-d1"));
        assert_eq!(note["data"].to_string(), r#"{"float":1.0,"integer":1,"list":[1,2.5],"text":"1","truth":true}"#);
        assert_eq!(heard["data"], json!({"status": "success", "type": "Debited", "key": "acc1", "amount": 2.25}));
        for answer in [&note, &heard] {
            assert_eq!((&answer["correlation"], &answer["causation"]), (&debit["correlation"], &debit["id"]));
        }
        assert_ne!(debit["correlation"], json!("salary"), "a route that gives none gets a new one");
        assert_eq!(
            ledger.ask("POST", "/account/acc1/debit", r#"{"id": "d2", "amount": 99}"#),
            (402, json!({"held": 10.0}))
        );
        assert_eq!(ledger.ask("POST", "/account/acc2/debit", r#"{"id": "d3", "amount": 1}"#), (404, Value::Null));

        // Gone with its state, made again from the log, and nothing was sent on the way.
        let before = statement(&ledger, "acc1", 3);
        ledger.running.kill();
        for file in fs::read_dir(scratch.path()).expect("is there").flatten() {
            if file.file_name().to_string_lossy().contains(".state.db") {
                fs::remove_file(file.path()).expect("can be removed");
            }
        }
        let ledger = service(scratch.path(), bus, "ledger.lua", &[]);
        assert_eq!(statement(&ledger, "acc1", 3), before);
        assert_eq!(ledger.ask("DELETE", "/account/acc1", "").0, 204);
        ledger.until("GET", "/account/acc1/statement", |status, _| status == 404);
        ledger.until("GET", "/closed", |_, body| *body == json!({"sent": false, "was_there": true}));
        assert_eq!(bus.events("never"), Vec::<Value>::new());
    });
}

#[test]
fn an_explicit_send_that_meets_newer_ground_reaches_the_receipt_listener_and_an_implicit_one_is_taken() {
    with_ledger("lua-receipt", |_, bus, ledger| {
        assert_eq!(ledger.ask("POST", "/account/acc1/credit", r#"{"amount": 10}"#).0, 201);
        statement(&ledger, "acc1", 1);
        // Of a type that the script does not take: its state of the key is older than the key, which nobody tells it.
        let foreign = r#"{"id": "foreign-1", "type": "Audited", "key": "acc1", "source": "auditor"}"#;
        assert_eq!(bus.ask("POST", "/v1/events", foreign).0, 200);
        assert_eq!(
            ledger.ask("POST", "/account/acc1/debit", r#"{"id": "d1", "amount": 4}"#),
            (202, json!({"left": 6.0}))
        );
        let heard = the_event(bus, "heard-d1");
        assert_eq!(heard["data"], json!({"status": "inconsistent", "type": "Debited", "key": "acc1", "amount": 4}));
        let types = |key: &str| bus.events(key).iter().map(|event| event["type"].clone()).collect::<Vec<_>>();
        assert_eq!(types("acc1"), ["Credited", "Audited"], "what was refused is not in the log");
        assert_eq!(bus.ask("POST", "/v1/events", &foreign.replace("foreign-1", "foreign-2")).0, 200);
        assert_eq!(ledger.ask("POST", "/account/acc1/credit", r#"{"amount": 1.5}"#).0, 201);
        assert_eq!(types("acc1"), ["Credited", "Audited", "Audited", "Credited"], "implicit is whatever has happened");
        // It has heard of the newer ground, on which it decides now.
        assert_eq!(ledger.ask("POST", "/account/acc1/debit", r#"{"id": "d2", "amount": 4}"#).0, 202);
        bus.until("acc1", |events| events.last().is_some_and(|event| event["type"] == "Debited"));
    });
}

#[test]
fn every_status_has_its_name_and_what_goes_wrong_is_told_in_json() {
    with_ledger("lua-statuses", |_, _, ledger| {
        let statuses: BTreeMap<String, u16> = (100..=511)
            .filter_map(|status| {
                let reason = StatusCode::from_u16(status).expect("a status").canonical_reason()?;
                let letters = reason.replace('\'', "").replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
                Some((letters.to_uppercase(), status))
            })
            .collect();
        assert!(statuses.len() > 55 && statuses["IM_A_TEAPOT"] == 418, "{statuses:?}");
        let names: Vec<&String> = statuses.keys().collect();
        assert_eq!(ledger.ask("POST", "/named", &json!(names).to_string()), (200, json!(statuses)));

        assert_eq!(ledger.ask("GET", "/health_check", "").0, 200);
        for (method, path, body, status, words) in [
            ("POST", "/account/acc1/credit", "{", 400, "JSON"),
            ("POST", "/account/acc1/credit", &"x".repeat((1 << 20) + 1), 413, ""),
            ("GET", "/broken", "", 500, "ledger.lua:"),
            ("GET", "/nowhere", "", 404, ""),
        ] {
            let (told, answer) = ledger.ask(method, path, body);
            assert_eq!(told, status, "{method} {path}: {answer}");
            let sentence = answer["error"].as_str().unwrap_or_else(|| panic!("{method} {path}: {answer} is no error"));
            assert!(sentence.contains(words) && !sentence.is_empty(), "{method} {path}: {sentence}");
        }
    });
}
