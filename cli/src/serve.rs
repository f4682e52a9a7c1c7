//! `dacapo serve`: the production bus.

use dacapo_backends::server::{
    ServerConfig, Trigger,
    spans::{Collector, Spans, export},
};
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
    let collector = arguments.otlp.as_deref().map(collector).transpose()?;
    let store = production::open(&arguments.db)?;
    logging::start();
    let interrupt = Interrupt::listen()?;
    production::runtime()?.block_on(async {
        let listener = production::listen(arguments.listen).await?;
        // Port 0 means any: only the listener knows which.
        let address = listener.local_addr()?;
        let (trigger, shutdown) = Trigger::new();
        let spans = collector.map(|collector| {
            let (spans, exported) = Spans::channel();
            tokio::spawn(export(exported, collector));
            spans
        });
        let config = ServerConfig { limits, spans, cors_origins: arguments.cors.clone(), ..ServerConfig::default() };
        let db = arguments.db.display().to_string();
        terminal.object("listening", &Listening { bus: format!("http://{address}"), db: db.clone() });
        terminal.line(format_args!("{} http://{address}  on {db}  (Ctrl-C ends)", strong("bus")));
        let mut serving = std::pin::pin!(production::serve(listener, store, config, shutdown));
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

fn collector(url: &str) -> anyhow::Result<Collector> {
    Collector::of(url).ok_or_else(|| {
        Usage::error(format!("{url:?} is no collector; give its OTLP over plain HTTP, such as http://127.0.0.1:4318"))
    })
}
