//! `dacapo serve`: the production bus.

use dacapo_backends::{
    server::{
        self, ServerConfig, Tokens, Trigger,
        spans::{Collector, Spans, export},
    },
    tls::{Certificate, TlsListener},
};
use serde::Serialize;

use crate::{
    arguments::ServeArguments,
    exit::{Exit, Usage},
    interrupt::Interrupt,
    logging, production,
    settings::{self, Settings},
    terminal::{Terminal, strong},
};

#[derive(Serialize)]
struct Listening {
    bus: String,
    db: String,
}

/// Serves until Ctrl-C.
pub(crate) fn run(terminal: &Terminal, arguments: &ServeArguments) -> anyhow::Result<Exit> {
    let settings = settings::read(&arguments.settings)?;
    check(&settings)?;
    let db = settings.db.clone().ok_or_else(|| {
        Usage::error("no store is named; give --db FILE, DACAPO_DB, or `db` in the configuration file")
    })?;
    let certificate = match &settings.tls {
        Some((chain, key)) => Some(Certificate::read(chain, key).map_err(|error| Usage::error(error.to_string()))?),
        None => None,
    };
    let collector = settings.otlp.as_deref().map(collector).transpose()?;
    let tokens = if settings.auth { Tokens::Demanded } else { Tokens::Kept };
    let store = production::open(&db, settings.auth, settings.store_cache_kib)?;
    logging::start();
    let interrupt = Interrupt::listen()?;
    production::runtime()?.block_on(async {
        let listener = production::listen(settings.listen).await?;
        // Port 0 means any: only the listener knows which.
        let address = listener.local_addr()?;
        let (trigger, shutdown) = Trigger::new();
        let spans = collector.map(|collector| {
            let (spans, exported) = Spans::channel();
            tokio::spawn(export(exported, collector));
            spans
        });
        // Whoever shows a token has it from somewhere else than a browser that was led astray.
        let hosts = (!settings.auth).then_some(settings.hosts);
        let (limits, cors_origins) = (settings.limits, settings.cors);
        let config = ServerConfig { limits, tokens, spans, cors_origins, hosts, ..ServerConfig::default() };
        let db = db.display().to_string();
        let scheme = if certificate.is_some() { "https" } else { "http" };
        terminal.object("listening", &Listening { bus: format!("{scheme}://{address}"), db: db.clone() });
        terminal.line(format_args!("{} {scheme}://{address}  on {db}  (Ctrl-C ends)", strong("bus")));
        let plain = server::tcp(listener);
        let serving = async move {
            match certificate {
                None => production::serve(plain, store, config, shutdown).await,
                Some(certificate) => {
                    let following = std::sync::Arc::clone(&certificate);
                    let follow = tokio::spawn(async move { following.follow().await });
                    let listener = TlsListener::new(plain, certificate)?;
                    let served = production::serve(listener, store, config, shutdown).await;
                    follow.abort();
                    served
                }
            }
        };
        let mut serving = std::pin::pin!(serving);
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

/// An OpenTelemetry collector's address.
pub(crate) fn collector(url: &str) -> anyhow::Result<Collector> {
    Collector::of(url).ok_or_else(|| {
        Usage::error(format!("{url:?} is no collector; give its OTLP over plain HTTP, such as http://127.0.0.1:4318"))
    })
}

/// What others can reach must be guarded.
pub(crate) fn check(settings: &Settings) -> anyhow::Result<()> {
    let address = settings.listen;
    if address.ip().is_loopback() {
        return Ok(());
    }
    if !settings.auth {
        return Err(Usage::error(format!(
            "{address} can be reached from other machines, and anyone there could read and publish everything; add --auth \
             (`dacapo token new` makes tokens), or listen at 127.0.0.1"
        )));
    }
    if settings.tls.is_none() && !settings.insecure_plain_text {
        return Err(Usage::error(format!(
            "{address} can be reached from other machines, and tokens would go there in plain text; give --tls-cert and \
             --tls-key, or --insecure-plain-text if a proxy before this bus does TLS"
        )));
    }
    Ok(())
}
