//! Logs of the long-running verbs, on stderr, so that stdout stays for what was asked for. `RUST_LOG` chooses.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Logs from here on: `info` and worse, or what `RUST_LOG` says.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
