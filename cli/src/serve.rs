//! `dacapo serve`: the production bus.

use dacapo_backends::server::Trigger;
use serde::Serialize;

use crate::{
    arguments::ServeArguments,
    exit::Exit,
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
    let store = production::open(&arguments.db)?;
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
        let mut serving = std::pin::pin!(production::serve(listener, store, limits, shutdown));
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
