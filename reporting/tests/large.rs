//! How long pages take on a long log. `DACAPO_EVENTS=10000000 cargo test --release -p dacapo-reporting --test large -- --nocapture`
//! measures what the README says; without it, the log is short and only the answers are looked at.

mod support;

use std::{env, fs, time::Duration};

use dacapo_backends::clock::SystemClock;
use dacapo_core::hooks::Clock as _;
use serde_json::json;
use support::{Book, Scratch, page, site};

/// Events of one commit.
const BATCH: u64 = 5_000;
/// Events of an ordinary correlation.
const CORRELATION: u64 = 5;
/// One correlation is as large as this, and one ten times and more.
const MIDDLING: u64 = 50;
const LARGE: u64 = 10_000;

fn write(path: &std::path::Path, events: u64) {
    let mut book = Book::new(path);
    let types = ["PendingTransaction", "AcceptedTransaction", "ConfirmedDebit", "ConfirmedCredit", "Noticed"];
    let (mut written, mut root) = (0, 0);
    let mut event = |book: &mut Book, cause: Option<u64>| {
        let kind = types[(written % CORRELATION) as usize];
        let key = match kind {
            "PendingTransaction" | "AcceptedTransaction" => format!("trans-{}", written / CORRELATION),
            "Noticed" => format!("notice-{}", written % 100_000),
            _ => format!("acc-{}", written.wrapping_mul(2_654_435_761) % 200_000),
        };
        let data = json!({"from": "alice", "to": "bob", "pence": written % 10_000, "reference": "for the rent"});
        let position = book.event(written * 100, kind, &key, "accounts", cause, &data);
        if kind != "Noticed" && kind != "AcceptedTransaction" {
            book.done("accounts", position, 1 + u32::from(written.is_multiple_of(1_000)), written * 100 + 1_500, &[]);
        }
        written += 1;
        if written.is_multiple_of(BATCH) {
            book.commit();
        }
        position
    };
    for size in [MIDDLING, LARGE.min(events / 4)] {
        let first = event(&mut book, None);
        for number in 1..size {
            event(&mut book, Some(if number.is_multiple_of(9) { first } else { first + number / 3 }));
        }
    }
    while book.position() < events {
        let cause = if book.position().is_multiple_of(CORRELATION) { None } else { Some(root) };
        let position = event(&mut book, cause);
        root = if cause.is_none() { position } else { root };
    }
    book.commit();
}

/// The memory that this process holds, in KiB; none where that cannot be told.
fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().trim_end_matches(" kB").trim().parse().ok()
}

#[test]
fn pages_take_the_same_however_long_the_log_is() {
    let events: u64 = env::var("DACAPO_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let scratch = Scratch::new("large");
    let path = env::var_os("DACAPO_STORE").map_or_else(|| scratch.path("large.db"), Into::into);
    if !path.exists() {
        write(&path, events);
    }
    let clock = SystemClock::new();
    let began = clock.now().monotonic;
    let mut site = site(&path);
    let mut took = |target: &str, least: &str| -> Duration {
        let began = clock.now().monotonic;
        let body = page(&mut site, target);
        let took = clock.now().monotonic.since(began);
        assert!(body.contains(least), "{target} says {least}");
        println!("{:>8.1} ms  {:>9} bytes  {target}", took.as_secs_f64() * 1e3, body.len());
        took
    };
    let overview = took("/", "Newest events");
    println!(
        "{:>8.1} ms  from opening the file to the first page",
        clock.now().monotonic.since(began).as_secs_f64() * 1e3
    );
    let middling = took("/correlation/c-1", ">50<");
    let middle = events / 2;
    let tables = [
        took("/events", "events"),
        took("/events?at=oldest", "events"),
        took(&format!("/events?before={middle}"), "events"),
        took(&format!("/events?q=type:ConfirmedDebit&before={middle}"), "ConfirmedDebit"),
        took("/events?q=key:acc-*+pence>9990", "events"),
        took("/events?q=%22nobody+says+this%22", "events"),
        took("/event/e-7", "Payload"),
        took("/key/acc-71522", "acc-71522"),
        took("/service/accounts", "Completed"),
    ];
    let large = took(&format!("/correlation/c-{}", MIDDLING + 1), "Events");
    let again = took("/", "Newest events");
    println!("{:?} KiB resident after all of them", resident_kib());
    // Wide bounds where the build is not optimised; the printed figures are what counts.
    let slack = if cfg!(debug_assertions) { 20 } else { 1 };
    assert!(overview.max(again) < Duration::from_millis(300 * slack), "{overview:?} {again:?}");
    assert!(middling < Duration::from_millis(50 * slack), "{middling:?}");
    assert!(tables.iter().all(|took| *took < Duration::from_millis(100 * slack)), "{tables:?}");
    assert!(large < Duration::from_millis(2_000 * slack), "{large:?}");
}
