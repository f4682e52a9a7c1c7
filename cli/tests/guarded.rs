//! A bus that others can reach: refused without a guard, and reached with a token over TLS, of which no log tells.

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use support::{Scratch, code, dacapo, run, stderr, stdout};

/// A bus with its log in a file.
struct Bus {
    child: Child,
    url: String,
}

impl Bus {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let log = fs::File::create(directory.join("log")).expect("can be made");
        let mut child = dacapo(directory)
            .args(["serve", "--json", "--db", "bus.db", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("is piped")).read_line(&mut line).expect("can be read");
        let told: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, url: told["bus"].as_str().expect("says where").to_owned() }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and a certificate of it for this machine.
fn certificates(directory: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().expect("draws");
    let mut authority = CertificateParams::new(Vec::new()).expect("has no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(directory.join("ca.pem"), authority.self_signed(&key).expect("signs").pem()).expect("writes");
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().expect("draws");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).expect("are names").signed_by(&key, &issuer).expect("signs");
    fs::write(directory.join("bus.pem"), certificate.pem()).expect("writes");
    fs::write(directory.join("bus.key"), key.serialize_pem()).expect("writes");
}

#[test]
fn a_bus_that_others_can_reach_does_not_start_without_a_guard() {
    let scratch = Scratch::new("unguarded");
    for (arguments, sentence) in [
        (&["--listen", "0.0.0.0:0"][..], "--auth"),
        (&["--listen", "[::]:0", "--insecure-plain-text"], "--auth"),
        (&["--listen", "0.0.0.0:0", "--auth"], "--insecure-plain-text"),
        (&["--listen", "127.0.0.1:0", "--auth"], "dacapo token new"),
        (&["--tls-cert", "none.pem", "--tls-key", "none.key"], "none.pem"),
    ] {
        let refused = run(scratch.path(), &[&["serve", "--db", "bus.db"], arguments].concat());
        assert_eq!(code(&refused), 2, "{arguments:?}: {refused:?}");
        assert!(stderr(&refused).contains(sentence), "{arguments:?}: {refused:?}");
    }
    let unnamed = run(scratch.path(), &["serve"]);
    assert!(code(&unnamed) == 2 && stderr(&unnamed).contains("--db"), "{unnamed:?}");
}

#[test]
fn tokens_are_made_used_and_revoked_over_tls_and_no_log_tells_them() {
    let scratch = Scratch::new("guarded");
    let here = scratch.path();
    certificates(here);
    let made = run(here, &["token", "new", "ops", "--administer", "--db", "bus.db", "--output", "ops.token"]);
    assert_eq!(code(&made), 0, "{made:?}");
    let ops = fs::read_to_string(here.join("ops.token")).expect("was written");
    let mut bus = Bus::start(here, &["--auth", "--tls-cert", "bus.pem", "--tls-key", "bus.key"]);
    assert!(bus.url.starts_with("https://"), "{}", bus.url);
    let at = ["--bus", &bus.url, "--tls-ca", "ca.pem", "--token-file", "ops.token"];

    let made = run(here, &[&["token", "new", "load", "--publish", "*@*", "--service", "bench-*"], &at[..]].concat());
    let load = stdout(&made).trim().to_owned();
    assert_eq!(load.len(), 71, "{made:?}");
    fs::write(here.join("load.token"), &load).expect("writes");
    let loaded = run(
        here,
        &[
            "bench",
            "--bus",
            &bus.url,
            "--tls-ca",
            "ca.pem",
            "--token-file",
            "load.token",
            "--publishers",
            "2",
            "--time",
            "300ms",
            "--warm-up",
            "100ms",
        ],
    );
    assert_eq!(code(&loaded), 0, "publishers and instances are let in over wss: {loaded:?}");

    let stranger = run(here, &["events", "--bus", &bus.url, "--tls-ca", "ca.pem"]);
    assert!(stderr(&stranger).contains("401") && code(&stranger) == 70, "{stranger:?}");
    let untrusting = run(here, &["events", "--bus", &bus.url, "--token-file", "ops.token"]);
    assert_ne!(code(&untrusting), 0, "the system does not trust our authority: {untrusting:?}");
    let plain = run(here, &["events", "--bus", &bus.url.replace("https", "http"), "--token-file", "ops.token"]);
    assert_ne!(code(&plain), 0, "{plain:?}");

    let listed = stdout(&run(here, &[&["token", "list"], &at[..]].concat()));
    assert!(listed.contains("ops") && listed.contains("administer") && listed.contains("service bench-*"), "{listed}");
    let revoked = run(here, &[&["token", "revoke", "load"], &at[..]].concat());
    assert_eq!(code(&revoked), 0, "{revoked:?}");
    let refused = run(here, &["events", "--bus", &bus.url, "--tls-ca", "ca.pem", "--token-file", "load.token"]);
    assert!(stderr(&refused).contains("unknown or was revoked"), "without a restart: {refused:?}");
    let audit = stdout(&run(here, &[&["events", "key:$token/load"], &at[..]].concat()));
    assert!(
        audit.contains("$TokenMade") && audit.contains("$TokenRevoked") && audit.contains("\"by\":\"ops\""),
        "{audit}"
    );

    bus.child.kill().expect("runs");
    bus.child.wait().expect("ends");
    let log = fs::read_to_string(here.join("log")).expect("was written");
    assert!(log.contains("the bus has recovered"), "{log}");
    let store = fs::read(here.join("bus.db")).expect("is there");
    for secret in [ops.trim(), &load] {
        let digits = secret.trim_start_matches("dacapo_");
        assert!(!log.contains(digits), "a token stands in the log");
        assert!(!store.windows(digits.len()).any(|window| window == digits.as_bytes()), "a token stands in the store");
    }
}

/// Libraries below the bus write down whole messages, where they are let.
#[test]
fn a_token_that_is_shown_in_a_frame_is_in_no_log_at_any_level() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::{
        client_async,
        tungstenite::{Message, client::IntoClientRequest as _},
    };

    let scratch = Scratch::new("logged");
    let here = scratch.path();
    let made = run(here, &["token", "new", "ops", "--administer", "--db", "bus.db", "--output", "ops.token"]);
    assert_eq!(code(&made), 0, "{made:?}");
    let secret = fs::read_to_string(here.join("ops.token")).expect("was written").trim().to_owned();
    let mut bus = Bus::start(here, &["--auth"]);
    // Which waits until the bus has recovered.
    let events = run(here, &["events", "--bus", &bus.url, "--token-file", "ops.token"]);
    assert_eq!(code(&events), 0, "{events:?}");
    let authority = bus.url.trim_start_matches("http://").to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("can be made");
    let answer = runtime.block_on(async {
        let mut request = format!("ws://{authority}/v1/bus").into_client_request().expect("is an address");
        let offered = format!("dacapo.v1+json, dacapo.bearer.{secret}");
        request.headers_mut().insert("sec-websocket-protocol", offered.parse().expect("is a header"));
        let stream = tokio::net::TcpStream::connect(&authority).await.expect("connects");
        let (mut socket, _) = client_async(request, stream).await.expect("is upgraded");
        let hello = serde_json::json!({
            "kind": "hello", "service": "s", "instance": "s-1", "incarnation": 1, "types": ["T"], "credit": 1,
            "bearer": secret,
        });
        socket.send(Message::Text(hello.to_string().into())).await.expect("is sent");
        socket.next().await.expect("is answered").expect("is a message").to_string()
    });
    assert!(answer.contains("the token ops does not allow"), "{answer}");
    bus.child.kill().expect("runs");
    bus.child.wait().expect("ends");
    let log = fs::read_to_string(here.join("log")).expect("was written");
    assert!(log.contains("the bus has recovered"), "{log}");
    assert!(!log.contains(secret.trim_start_matches("dacapo_")), "the token stands in the log");
}

#[test]
fn verify_finds_what_was_altered_and_a_head_that_does_not_fit() {
    let scratch = Scratch::new("verify");
    let here = scratch.path();
    for name in ["one", "two", "three"] {
        let made = run(here, &["token", "new", name, "--read", "--db", "bus.db"]);
        assert_eq!(code(&made), 0, "{made:?}");
    }
    let whole = run(here, &["verify", "--db", "bus.db"]);
    assert_eq!(code(&whole), 0, "{whole:?}");
    let head =
        stdout(&whole).lines().find_map(|line| line.strip_prefix("head ")).expect("tells the head").trim().to_owned();
    assert!(head.starts_with("3:"), "{head}");
    assert_eq!(code(&run(here, &["verify", "--db", "bus.db", "--expect", &head])), 0);
    let other = format!("2:{}", &head[2..]);
    let altered = run(here, &["verify", "--db", "bus.db", "--expect", &other]);
    assert!(code(&altered) == 1 && stdout(&altered).contains("at position 2"), "{altered:?}");
    assert_eq!(code(&run(here, &["verify", "--db", "bus.db", "--expect", "head"])), 2);
}

#[test]
fn doctor_shows_where_settings_come_from_and_what_is_wrong_with_them() {
    let scratch = Scratch::new("doctor");
    let here = scratch.path();
    fs::write(here.join("dacapo.toml"), "db = \"bus.db\"\nlisten = \"0.0.0.0:0\"\n[limits]\ngrace = 700\n")
        .expect("writes");
    let ill = run(here, &["doctor", "--config", "dacapo.toml", "--set", "failures_max=3"]);
    let told = stdout(&ill);
    assert_eq!(code(&ill), 70, "{ill:?}");
    assert!(told.contains("bad   guarded"), "{told}");
    let line = |name: &str| told.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("limits.grace").ends_with("dacapo.toml") && line("limits.failures_max").ends_with("--set"), "{told}");
    assert!(line("limits.heads_max").ends_with("default"), "{told}");
    assert!(line("  cors ").ends_with("default") && line("good  pages").contains("no page"), "{told}");
    fs::write(here.join("pages.toml"), "otlp = \"https://x\"\ncors = [\"*\"]\n").expect("writes");
    let pages = stdout(&run(here, &["doctor", "--config", "pages.toml", "--otlp", "http://127.0.0.1:1"]));
    assert!(pages.contains("bad   pages") && pages.contains("mind  collector"), "{pages}");
    certificates(here);
    let tls = run(here, &["doctor", "--db", "bus.db", "--tls-cert", "bus.pem", "--tls-key", "bus.key"]);
    assert!(stdout(&tls).contains("it counts until") && code(&tls) == 0, "{tls:?}");
}
