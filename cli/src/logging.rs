//! Logs of the long-running verbs, on stderr, so that stdout stays for what was asked for. `RUST_LOG` chooses.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, filter::Directive};

/// Libraries that, asked for all they know, write down what passes through them, and so tokens too.
const TALKATIVE: &[&str] = &["tungstenite", "tokio_tungstenite", "hyper", "hyper_util", "rustls"];

/// Logs from here on: `info` and worse, or what `RUST_LOG` says, but nothing that could hold a secret.
pub(crate) fn start() {
    let asked = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let quiet = TALKATIVE.iter().filter_map(|library| format!("{library}=info").parse::<Directive>().ok());
    let filter = quiet.fold(asked, EnvFilter::add_directive);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
