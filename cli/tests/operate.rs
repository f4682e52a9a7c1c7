//! Operating a bus that is at work: restarting it, backing it up, asking why a lane stands still.

mod support;
#[path = "support/traffic.rs"]
mod traffic;

use std::{path::Path, time::Duration};

use dacapo_backends::{SqliteReader, SqliteStore};
use dacapo_core::{
    Position,
    store::{Completion, Query, Reader as _, Store as _},
};
use support::{Scratch, code, run, stderr, stdout};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use traffic::{PATIENCE, Server, Traffic, judge};

/// On a thread that may wait, while the traffic goes on.
#[expect(clippy::disallowed_methods, reason = "real processes are waited for, and nothing is simulated")]
fn aside<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(wait)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_is_asked_to_end_and_started_again_delivers_nothing_twice() {
    let scratch = Scratch::new("graceful");
    let mut traffic = Traffic::start();
    for _ in 0..4 {
        let server = Server::start(scratch.path());
        traffic.meet(&server);
        sleep(Duration::from_millis(350)).await;
        let ended = aside(move || server.end()).await.expect("does not panic");
        assert_eq!(ended, Some(0), "it ends by itself, and well");
        traffic.lose();
    }
    let server = Server::start(scratch.path());
    traffic.meet(&server);
    let (accepted, auditor) = traffic.finish().await;
    drop(server);
    judge(&scratch.path().join("kill.db"), &accepted);
    assert!(accepted.len() > 100, "there was traffic: {}", accepted.len());
    assert_eq!(auditor.delivered_again, 0, "what was delivered before the end was answered before it");
    assert_eq!(auditor.already, 0, "and every answer arrived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_under_load_is_a_prefix_of_the_log_with_its_completions() {
    let scratch = Scratch::new("backup");
    let (db, bus) = (scratch.path().join("kill.db"), |server: &Server| format!("http://{}", server.address));
    let mut traffic = Traffic::start();
    let server = Server::start(scratch.path());
    traffic.meet(&server);
    sleep(Duration::from_millis(500)).await;
    let url = bus(&server);
    let directory = scratch.path().to_owned();
    let made = aside(move || {
        let of_file = run(&directory, &["backup", "--db", "kill.db", "-o", "by-file.db", "--json"]);
        let of_bus = run(&directory, &["backup", "--bus", &url, "-o", "by-bus.db", "--json"]);
        let again = run(&directory, &["backup", "--bus", &url, "-o", "by-file.db"]);
        let never = run(&directory, &["backup", "--db", "kill.db", "-o", "by-bus.db"]);
        (of_file, of_bus, again, never)
    });
    let (of_file, of_bus, again, never) = made.await.expect("does not panic");
    sleep(Duration::from_millis(200)).await;
    let (accepted, _) = traffic.finish().await;
    drop(server);
    judge(&db, &accepted);
    for refused in [again, never] {
        assert_eq!(code(&refused), 2, "{}", stderr(&refused));
        assert!(stderr(&refused).contains("overwrites nothing"), "{}", stderr(&refused));
    }
    for (name, output) in [("by-file.db", of_file), ("by-bus.db", of_bus)] {
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let told: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("is a line");
        let position = told["position"].as_u64().expect("tells where it ends");
        assert!(position > 0 && position < end_of(&db).0, "made in the midst: {told}");
        is_prefix(&scratch.path().join(name), &db, Position(position));
    }
    let left: Vec<_> = std::fs::read_dir(scratch.path())
        .expect("can be listed")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("partial") || name.ends_with("-backup"))
        .collect();
    assert!(left.is_empty(), "nothing is left behind: {left:?}");
}

fn end_of(path: &Path) -> Position {
    let mut reader = SqliteReader::open_read_only(path).expect("is a store");
    reader.standing().expect("can be read").end
}

/// The backup's log is the beginning of the other one, and so are its completions; and a bus begins from it.
fn is_prefix(backup: &Path, whole: &Path, end: Position) {
    let mut whole = SqliteReader::open_read_only(whole).expect("is a store");
    let mut restored = SqliteStore::open(backup).expect("a backup is a store");
    restored.check().expect("and a sound one");
    let mut query = Query::default();
    let mut next = Position(1);
    while next <= end {
        let (copy, original) = (restored.query(&query).expect("reads"), whole.query(&query).expect("reads"));
        let original: Vec<_> = original.events.into_iter().filter(|event| event.position <= end).collect();
        assert_eq!(copy.events, original);
        let positions: Vec<Position> = original.iter().map(|event| event.position).collect();
        let copied = restored.completions(&positions).expect("reads");
        // A completion is in the commit of what it produced, and an audit comes of each.
        let in_time = |completion: &Completion| completion.produced.iter().all(|produced| *produced <= end);
        let mut done = whole.completions(&positions).expect("reads");
        done.retain(in_time);
        assert_eq!(copied, done, "the completions of {next} and the others of its page");
        next = positions.last().map_or(end, |last| *last).next();
        query.cursor = positions.last().copied();
    }
    let recovered = restored.recover().expect("a bus begins from it");
    assert_eq!(recovered.position, end);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_tells_who_has_the_event_and_what_a_file_can_know() {
    let scratch = Scratch::new("why");
    let server = Server::start(scratch.path());
    let url = format!("http://{}", server.address);
    let (bus, seen) = watch::channel(Some(server.address));
    let holding = tokio::spawn(traffic::hold_one(seen));
    let held = timeout(PATIENCE, holding).await.expect("is delivered").expect("does not panic");
    let directory = scratch.path().to_owned();
    let asked = aside(move || {
        let ask = |service: &str, key: &str, more: &[&str]| {
            let mut arguments = vec!["why", "--service", service, "--key", key];
            arguments.extend_from_slice(more);
            run(&directory, &arguments)
        };
        [
            ask("auditor", "acc 1", &["--bus", &url]),
            ask("auditor", "acc 1", &["--db", "kill.db"]),
            ask("nobody", "acc 1", &["--bus", &url]),
        ]
    });
    let [live, file, nobody] = asked.await.expect("does not panic");
    drop((held, server, bus));
    assert_eq!(code(&live), 0, "{}", stderr(&live));
    assert!(stdout(&live).contains("The lane acc 1 of auditor is delivered to auditor-1 since"), "{}", stdout(&live));
    assert!(stdout(&live).contains("held-1 (Paid, version 1, position 2)"), "{}", stdout(&live));
    assert!(stdout(&file).contains("A file does not tell who has it"), "{}{}", stdout(&file), stderr(&file));
    assert_eq!(code(&nobody), 2);
    assert!(stderr(&nobody).contains("there is no service nobody"), "{}", stderr(&nobody));
}

/// A small file system of its own, in a namespace of its own, so that nobody has to be root; none where the system forbids it.
fn on_a_small_disk(scratch: &Scratch) -> Option<(Server, std::path::PathBuf)> {
    let disk = scratch.path().join("disk");
    std::fs::create_dir_all(&disk).expect("can be made");
    let mount = format!("mount -t tmpfs -o size=3m tmpfs {0} && cd {0}", disk.display());
    let may = std::process::Command::new("unshare").args(["-Urm", "sh", "-c", &mount]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: no file system can be mounted here");
        return None;
    }
    let bus = env!("CARGO_BIN_EXE_dacapo");
    let serve = format!("{mount} && exec {bus} serve --db kill.db --listen 127.0.0.1:0 --json");
    let mut command = std::process::Command::new("unshare");
    command.args(["-Urm", "sh", "-c", &serve]).env("RUST_LOG", "error").stdin(std::process::Stdio::null());
    let server = Server::of(command);
    // What only the server's namespace has mounted can be reached through the server.
    let inside = std::path::PathBuf::from(format!("/proc/{}/root{}", server.pid(), disk.display()));
    Some((server, inside))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_with_throttled_while_reads_go_on_and_ends_by_itself() {
    let scratch = Scratch::new("full");
    let Some((server, disk)) = on_a_small_disk(&scratch) else { return };
    let publish = |number: u64, bytes: usize| {
        let event = serde_json::json!({
            "id": format!("e-{number}"), "type": "Paid", "key": "acc-1", "source": "till", "data": "x".repeat(bytes),
        });
        server.ask("POST", "/v1/events", &event.to_string())
    };
    let mut accepted = 0;
    let full = loop {
        let (status, body) = publish(accepted + 1, 60_000);
        match status {
            200 => accepted += 1,
            // A commit that failed ends its bus; whoever waited asks again.
            503 => {}
            _ => break (status, body),
        }
        assert!(accepted < 1_000, "the disk has 3 MiB");
        sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(full.0, 429, "{}", full.1);
    assert!(full.1.contains("\"throttled\""), "{}", full.1);
    let until = |path: &'static str, wanted: &'static str| {
        let server = &server;
        async move {
            for _ in 0..500 {
                let (_, body) = server.ask("GET", path, "");
                if body.contains(wanted) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
            panic!("{path} never says {wanted}: {:?}", server.ask("GET", path, ""));
        }
    };
    until("/readyz", "the disk is full").await;
    until("/metrics", "dacapo_disk_full 1").await;
    let (status, page) = server.ask("GET", "/v1/events?limit=1&order=desc", "");
    assert_eq!(status, 200, "reads go on: {page}");
    assert!(page.contains(&format!("\"position\":{accepted}}}")), "and show all that was accepted, {accepted}");

    // Somebody makes room: what filled the disk beside the store goes.
    assert!(disk.join("kill.db").exists(), "the disk is seen from outside");
    let remount = std::process::Command::new("nsenter")
        .args(["-t", &server.pid().to_string(), "-U", "-m", "mount", "-o", "remount,size=64m"])
        .arg(scratch.path().join("disk"))
        .output()
        .expect("nsenter comes with unshare");
    assert!(remount.status.success(), "{}", String::from_utf8_lossy(&remount.stderr));
    until("/readyz", "\"ready\"").await;
    let (status, body) = publish(accepted + 1, 10);
    assert_eq!(status, 200, "{body}");
    let receipts: serde_json::Value = serde_json::from_str(&body).expect("is JSON");
    let position = receipts["receipts"][0]["position"].as_u64().expect("is accepted");
    assert!(position > accepted, "what was accepted is still there");
    for number in 1..=accepted {
        let (status, body) = server.ask("GET", &format!("/v1/events/{number}"), "");
        assert!(status == 200 && body.contains(&format!("\"e-{number}\"")), "{number} was accepted: {status}");
    }
    let ended = aside(move || server.end()).await.expect("does not panic");
    assert_eq!(ended, Some(0));
}
