//! State stores: what is kept is what comes back, by whom and when it is thrown away. The Redis one is tried where a
//! `redis-server` is installed.
#![cfg(feature = "lua")]

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use dacapo_core::{Key, Position, Version};
use dacapo_service::lua::{Change, Live, Snapshot, StateAt};
use serde_json::{Value, json};

fn value(value: Value) -> Arc<Value> {
    Arc::new(value)
}

fn change(position: u64, key: &str, version: u64, values: &[(&str, Option<Arc<Value>>)]) -> Change {
    Change {
        position: Position(position),
        version: Some((Key::of(key), Version(version))),
        values: values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        ..Change::default()
    }
}

/// What a service might leave behind.
fn changes() -> Vec<Change> {
    let mut all = vec![
        change(3, "acc-a", 1, &[("acc-a", Some(value(json!({"pence": 5})))), ("moves", Some(value(json!(1))))]),
        change(4, "acc-b", 1, &[("acc-b", Some(value(json!({"pence": 1.5}))))]),
        change(9, "acc-b", 2, &[("acc-b", None), ("moves", Some(value(json!(2))))]),
    ];
    all[0].foreign = vec!["moves".to_owned()];
    all[1].live = vec![("seen".to_owned(), Some(Live::Set(value(json!(7))))), ("gone".to_owned(), Some(Live::Deleted))];
    all[2].live = vec![("gone".to_owned(), None), ("none".to_owned(), Some(Live::Deleted))];
    all.extend((10..2_000).map(|n| change(n, "acc-c", n - 9, &[("acc-c", Some(value(json!({"pence": n}))))])));
    all
}

/// Opens, keeps, and opens again.
fn keeps_what_it_is_given(place: &StateAt) {
    let open = |code| place.open("purses", "purses-1", code).expect("can be opened").expect("keeps something");
    let mut expected = Snapshot::default();
    let first = open(1);
    assert_eq!(first.snapshot, expected, "nothing is there yet");
    for change in changes() {
        expected.take(change.clone());
        first.store.save(change);
    }
    // Whoever ends waits until it is written.
    drop(first);
    let second = open(1);
    assert_eq!(second.snapshot, expected);
    drop(second);
    let third = open(2);
    assert_eq!(third.snapshot, Snapshot::default(), "what another code has made is thrown away");
    drop(third);
    assert_eq!(open(1).snapshot, Snapshot::default());
}

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dacapo-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_keeps_a_state_for_its_instance_and_its_code() {
    let folder = Folder::new("state-file");
    keeps_what_it_is_given(&StateAt::Sqlite(folder.0.join("state.db")));
}

#[test]
fn two_processes_cannot_have_one_file() {
    let folder = Folder::new("state-twice");
    let place = StateAt::Sqlite(folder.0.join("state.db"));
    let first = place.open("purses", "purses-1", 1).expect("can be opened").expect("keeps something");
    first.store.save(changes().remove(0));
    let error = place.open("purses", "purses-2", 1).err().expect("it is taken").to_string();
    assert!(error.contains("end whoever has it open"), "{error}");
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_redis_server_keeps_a_state_for_its_instance_and_its_code() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("has one").port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    let Ok(server) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        println!("skipped: there is no redis-server here; install Debian's package redis-server");
        return;
    };
    let server = Server(server);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {}
    keeps_what_it_is_given(&StateAt::Redis(format!("redis://127.0.0.1:{port}")));
    drop(server);
}

#[test]
fn a_place_is_written_as_on_the_command_line() {
    for place in ["memory", "sqlite:state.db", "redis://127.0.0.1:6379/0"] {
        assert_eq!(place.parse::<StateAt>().expect("is one").to_string(), place);
    }
    for wrong in ["", "sqlite:", "state.db", "postgres://x"] {
        assert!(wrong.parse::<StateAt>().is_err(), "{wrong}");
    }
}
