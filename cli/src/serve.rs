//! `dacapo serve`: the production bus.

use dacapo_backends::server::{Tokens, Trigger};
use serde::Serialize;

use crate::{
    arguments::ServeArguments,
    exit::{Exit, Usage},
    interrupt::Interrupt,
    logging, production, settings,
    terminal::{Terminal, strong},
};

#[derive(Serialize)]
struct Listening {
    bus: String,
    db: String,
}

/// Serves until Ctrl-C.
pub(crate) fn run(terminal: &Terminal, arguments: &ServeArguments) -> anyhow::Result<Exit> {
    let limits = settings::limits(arguments.config.as_deref(), &arguments.set)?;
    check(arguments)?;
    let tokens = if arguments.auth { Tokens::Demanded } else { Tokens::Kept };
    let store = production::open(&arguments.db, arguments.auth)?;
    logging::start();
    let interrupt = Interrupt::listen()?;
    production::runtime()?.block_on(async {
        let listener = production::listen(arguments.listen).await?;
        // Port 0 means any: only the listener knows which.
        let address = listener.local_addr()?;
        let (trigger, shutdown) = Trigger::new();
        let db = arguments.db.display().to_string();
        terminal.object("listening", &Listening { bus: format!("http://{address}"), db: db.clone() });
        terminal.line(format_args!("{} http://{address}  on {db}  (Ctrl-C ends)", strong("bus")));
        let mut serving = std::pin::pin!(production::serve(listener, store, limits, tokens, shutdown));
        tokio::select! {
            biased;
            result = &mut serving => result?,
            () = interrupt.wait() => {
                trigger.pull();
                serving.await?;
            }
        }
        Ok(Exit::Passed)
    })
}

/// What others can reach must be guarded.
fn check(arguments: &ServeArguments) -> anyhow::Result<()> {
    let address = arguments.listen;
    if address.ip().is_loopback() {
        return Ok(());
    }
    if !arguments.auth {
        return Err(Usage::error(format!(
            "{address} can be reached from other machines, and anyone there could read and publish everything; add --auth \
             (`dacapo token new` makes tokens), or listen at 127.0.0.1"
        )));
    }
    if !arguments.insecure_plain_text {
        return Err(Usage::error(format!(
            "{address} can be reached from other machines, and tokens would go there in plain text; give --tls-cert and \
             --tls-key, or --insecure-plain-text if a proxy before this bus does TLS"
        )));
    }
    Ok(())
}
