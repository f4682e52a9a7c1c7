//! The long-running verbs from start to end: what they say, what others see of them, how they end.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use support::{Running, Scratch, code, run, stderr, stdout};

fn post(bus: &str, path: &str, body: &str) -> String {
    let authority = bus.strip_prefix("http://").expect("is a link");
    let mut stream = TcpStream::connect(authority).expect("the bus listens");
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .expect("can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("is answered");
    answer
}

fn published(bus: &str, id: &str, key: &str) {
    let event =
        format!(r#"{{"id":"{id}","type":"Noted","key":"{key}","source":"test","data":{{"text":"for the rent"}}}}"#);
    let answer = post(bus, "/v1/events", &format!(r#"{{"events":[{event}]}}"#));
    assert!(answer.contains("accepted"), "{answer}");
}

#[test]
fn what_is_published_over_http_is_seen_by_everyone_and_outlives_the_bus() {
    let scratch = Scratch::new("serve");
    let mut serving = Running::start(scratch.path(), &["serve", "--db", "bus.db", "--listen", "127.0.0.1:0"]);
    let listening = serving.line();
    assert_eq!(listening["kind"], "listening");
    let bus = listening["bus"].as_str().expect("says where").to_owned();
    while !post(&bus, "/v1/events", "{}").contains(" 400 ") {}
    published(&bus, "e-1", "note-1");
    published(&bus, "e-2", "note-2");

    let mut following = Running::start(scratch.path(), &["events", "--bus", &bus, "key:note-*", "--follow"]);
    assert_eq!((following.line()["id"].as_str(), following.line()["id"].as_str()), (Some("e-1"), Some("e-2")));
    published(&bus, "e-3", "note-3");
    published(&bus, "e-4", "other-1");
    published(&bus, "e-5", "note-5");
    assert_eq!((following.line()["id"].as_str(), following.line()["id"].as_str()), (Some("e-3"), Some("e-5")));
    assert_eq!(following.end(), Some(0), "following ends when it is asked to");

    let from_bus = stdout(&run(scratch.path(), &["events", "--bus", &bus, "-n", "3"]));
    let from_file = stdout(&run(scratch.path(), &["events", "--db", "bus.db", "-n", "3"]));
    assert_eq!(from_bus, from_file, "a running bus and its file say the same");
    assert_eq!(from_file.lines().count(), 3);
    assert_eq!(serving.end(), Some(0), "a bus ends when it is asked to");

    let found = run(scratch.path(), &["events", "--db", "bus.db", "key:note-*", "-key:note-2", "\"the rent\""]);
    assert_eq!(stdout(&found).lines().count(), 3, "{found:?}");
    assert!(stderr(&found).contains("3 events"), "{found:?}");
    let gone = run(scratch.path(), &["events", "--bus", &bus]);
    assert_eq!(code(&gone), 70);
    assert!(stderr(&gone).contains("is the bus running there?"), "{gone:?}");
}

#[test]
fn the_demo_works_and_its_log_tells_what_caused_what() {
    let scratch = Scratch::new("demo");
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--service-port", "0", "--time", "4s"];
    let mut demo = Running::start(scratch.path(), &arguments);
    let listening = demo.line();
    assert_eq!(listening["services"].as_array().map(Vec::len), Some(4), "three services, and nectar: {listening}");
    assert_eq!(demo.wait(), Some(0), "it ends by itself when its time is over");
    let tree =
        stdout(&run(scratch.path(), &["events", "--db", "demo.db", "--tree", "type:Account*,Pending*,Confirmed*"]));
    assert!(tree.contains("└─ ") && tree.contains("AccountCreated"), "{tree}");
    let opened = run(scratch.path(), &["events", "--db", "demo.db", "type:AccountCreated", "--json"]);
    assert_eq!(stdout(&opened).lines().count(), 8, "four customers opened two accounts each: {opened:?}");
}
