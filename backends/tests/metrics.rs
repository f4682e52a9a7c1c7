//! The metrics by what they say after known traffic; and that the manual and the dashboard name those that exist, no others.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::Server;
use dacapo_backends::{SqliteStore, server::ServerConfig, threaded::ThreadedStore};
use dacapo_core::wire::FromBus;
use serde_json::json;

const MANUAL: &str = include_str!("../../docs/OPERATING.md");
const DASHBOARD: &str = include_str!("../../ops/grafana-dashboard.json");

/// Samples by name and labels.
async fn samples(server: &Server) -> BTreeMap<String, f64> {
    let (status, page) = server.get("/metrics").await;
    assert_eq!(status, 200);
    let page = page.as_str().expect("is text");
    let mut told = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(told.insert(line.split(' ').next().expect("has a name")), "{line} is told twice");
    }
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} is no sample"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?} has no number")))
    };
    page.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// The names without what a histogram adds to them.
fn families(samples: &BTreeMap<String, f64>) -> BTreeSet<String> {
    let name = |sample: &String| {
        let name = sample.split('{').next().unwrap_or_default();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        of_histogram.unwrap_or(name).to_owned()
    };
    samples.keys().map(name).collect()
}

/// What looks like the name of a metric in a text.
fn named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let ours = |word: &&str| {
        (word.starts_with("dacapo_") && *word != "dacapo_")
            || (word.starts_with("process_") && word.ends_with("_bytes"))
    };
    words.filter(ours).map(ToOwned::to_owned).collect()
}

async fn a_server_with_a_service(store: SqliteStore) -> Server {
    // Nobody answers what is open at the end.
    let config = ServerConfig { drain_deadline: std::time::Duration::ZERO, ..ServerConfig::default() };
    let server = Server::on(store, config, std::sync::Arc::new(dacapo_core::hooks::NoHooks)).await;
    let mut socket = server.socket().await;
    let hello = json!({"kind": "hello", "service": "acc\"ounts", "instance": "one", "incarnation": 1, "types": ["Paid"], "credit": 4});
    socket.text(hello.to_string()).await;
    socket.text(json!({"kind": "ready"}).to_string()).await;
    let paid = |id: &str| json!({"id": id, "type": "Paid", "key": id, "source": "till"});
    server.post("/v1/events", &json!([paid("a"), paid("b")]).to_string()).await;
    server.post("/v1/events", &paid("a").to_string()).await;
    let (mut delivered, mut completed) = (0, 0);
    while completed == 0 || delivered < 2 {
        match socket.next().await.expect("the bus is there") {
            FromBus::Deliver(deliver) => {
                delivered += 1;
                if delivered == 1 {
                    let complete = json!({"kind": "complete", "position": deliver.event.position, "token": deliver.token, "events": []});
                    socket.text(complete.to_string()).await;
                }
            }
            FromBus::Completed(_) => completed += 1,
            _ => {}
        }
    }
    // The connection stays open until the server goes.
    tokio::spawn(async move { while socket.next().await.is_some() {} });
    server
}

#[tokio::test]
async fn metrics_say_what_happened_and_how_services_stand() {
    let server = a_server_with_a_service(SqliteStore::open_in_memory().expect("opens")).await;
    let samples = samples(&server).await;
    let is = |name: &str, value: f64| {
        let told = samples.get(name).unwrap_or_else(|| panic!("{name} is missing in {samples:?}"));
        assert!((told - value).abs() < 1e-9, "{name} is {told}, not {value}");
    };
    is("dacapo_ready", 1.0);
    is("dacapo_publishes_total", 2.0);
    is("dacapo_receipts_total{status=\"accepted\"}", 2.0);
    is("dacapo_receipts_total{status=\"duplicate\"}", 1.0);
    is("dacapo_deliveries_total", 2.0);
    is("dacapo_redeliveries_total", 0.0);
    is("dacapo_completions_total", 1.0);
    is("dacapo_connections", 1.0);
    // $ServiceRegistered, a and b.
    is("dacapo_position", 3.0);
    is("dacapo_events_total", 3.0);
    is("dacapo_commit_events_sum", 3.0);
    let service = |figure: &str| format!("dacapo_service_{figure}{{service=\"acc\\\"ounts\"}}");
    is(&service("deliveries_open"), 1.0);
    is(&service("instances_ready"), 1.0);
    is(&service("lag_events"), 1.0);
    is(&service("lanes_parked"), 0.0);
    let (count, all) = (
        samples["dacapo_commit_duration_seconds_count"],
        samples["dacapo_commit_duration_seconds_bucket{le=\"+Inf\"}"],
    );
    assert!(
        count >= 3.0 && (count - all).abs() < 1e-9,
        "registering, two publishes in one or two, a completion: {count}"
    );
    assert!(samples["dacapo_commit_duration_seconds_sum"] > 0.0);
    server.shut_down().await;
}

#[tokio::test]
async fn the_manual_names_every_metric_and_the_dashboard_no_other() {
    let server = a_server_with_a_service(SqliteStore::open_in_memory().expect("opens")).await;
    let mut exist = families(&samples(&server).await);
    server.shut_down().await;
    // A store in memory has no size on disk, and other systems than Linux do not tell the memory.
    exist.insert("dacapo_store_bytes".to_owned());
    exist.insert("process_resident_memory_bytes".to_owned());
    assert_eq!(named_in(MANUAL), exist, "docs/OPERATING.md on the left, what the bus tells on the right");

    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("has panels");
    let expressions: Vec<&str> = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().expect("a target has an expression"))
        .collect();
    assert!(expressions.len() > 20, "the dashboard shows something: {}", expressions.len());
    let mut shown = BTreeSet::new();
    for expression in expressions {
        for name in named_in(expression) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
            assert!(exist.contains(family), "{expression} asks for {name}, which does not exist");
            shown.insert(family.to_owned());
        }
    }
    let left_out: Vec<_> = exist.difference(&shown).map(String::as_str).collect();
    // Figures that say nothing without another one.
    assert_eq!(
        left_out,
        [
            "dacapo_denied_total",
            "dacapo_paced_total",
            "dacapo_position",
            "dacapo_service_system_events_skipped",
            "dacapo_spans_dropped_total",
            "dacapo_term",
            "dacapo_token_limits_total"
        ]
    );
}

#[tokio::test]
async fn a_store_in_a_file_tells_its_size() {
    let path = std::env::temp_dir().join(format!("dacapo-metrics-{}.db", std::process::id()));
    let store = ThreadedStore::start(SqliteStore::open(&path).expect("opens"), 1).expect("starts").at(&path);
    let size = dacapo_backends::port::StorePort::size(&store).expect("it is on disk");
    assert!(size.store_bytes >= 4_096, "{size:?}");
    drop(store);
    for end in ["", "-wal", "-shm", "-spare"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
}
