//! Processes that talk HTTP: a bus, and services in Lua on it.

#![allow(dead_code, reason = "each suite uses its own part of this")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::Running;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Longer than anything takes here, on a slow machine too.
const LOOKS: usize = 1_200;

/// A bus on a file.
pub(crate) struct Bus {
    _running: Running,
    pub(crate) url: String,
}

/// Starts one.
pub(crate) fn bus(directory: &Path) -> Bus {
    let mut running = Running::start(directory, &["serve", "--db", "bus.db", "--listen", "127.0.0.1:0"]);
    let url = running.line()["bus"].as_str().expect("says where").to_owned();
    Bus { _running: running, url }
}

/// An instance, and where its routes are.
pub(crate) struct Service {
    pub(crate) running: Running,
    http: String,
}

/// Starts one, and waits until it is connected.
pub(crate) fn service(directory: &Path, bus: &Bus, script: &str, more: &[&str]) -> Service {
    let arguments = [&["service", script, "--bus", &bus.url, "--listen", "127.0.0.1:0"], more].concat();
    let mut running = Running::start(directory, &arguments);
    let http =
        running.line()["http"].as_str().expect("says where").strip_prefix("http://").expect("is a link").to_owned();
    let service = Service { running, http };
    service.until("GET", "/health_check", |status, _| status == 200);
    service
}

impl Service {
    /// Asks one of its routes: the status, and the body as JSON.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        ask(&self.http, method, path, body)
    }

    /// Asks until it is so; others are at work meanwhile.
    #[track_caller]
    pub(crate) fn until(&self, method: &str, path: &str, is_so: impl Fn(u16, &Value) -> bool) -> Value {
        let mut last = (0, Value::Null);
        for _ in 0..LOOKS {
            last = self.ask(method, path, "");
            if is_so(last.0, &last.1) {
                return last.1;
            }
            thread::park_timeout(LOOK_EVERY);
        }
        panic!("{method} {path} still says {last:?}");
    }
}

impl Bus {
    /// Asks the bus itself.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let authority = self.url.split("//").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        ask(authority, method, path, body)
    }

    /// Looks at the events of a key until they are so; others are at work meanwhile.
    #[track_caller]
    pub(crate) fn until(&self, key: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..LOOKS {
            let events = self.events(key);
            if is_so(&events) {
                return events;
            }
            thread::park_timeout(LOOK_EVERY);
        }
        panic!("{key} still has {:?}", self.events(key));
    }

    /// The events of a key, oldest first.
    pub(crate) fn events(&self, key: &str) -> Vec<Value> {
        let (_, page) = self.ask("GET", &format!("/v1/events?key={key}&limit=1000"), "");
        page["events"].as_array().unwrap_or_else(|| panic!("{key}: {page}")).clone()
    }
}

/// One request; status 0 if nobody is there to answer it.
fn ask(authority: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let Ok(mut stream) = TcpStream::connect(authority) else { return (0, Value::Null) };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    // Whoever finds the body too large may answer and close before all of it is sent.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
