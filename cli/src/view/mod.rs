//! `dacapo view`: the viewer in a browser.

mod money;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dacapo_reporting::{
    declared::Declared,
    server::{self, ViewError},
    site::Shown,
};
use serde::Serialize;

pub(crate) use money::bank;

use crate::{
    arguments::ViewArguments,
    exit::{Exit, Usage},
    interrupt::Interrupt,
    production,
    terminal::{Terminal, strong},
};

/// Looked for when nothing is named.
const STORES: [&str; 2] = ["dacapo.db", "demo.db"];

#[derive(Serialize)]
struct Viewing<'a> {
    viewer: String,
    of: &'a str,
}

/// Shows it until Ctrl-C.
pub(crate) fn run(terminal: &Terminal, arguments: &ViewArguments) -> anyhow::Result<Exit> {
    let path = match &arguments.what {
        Some(path) => path.clone(),
        None => STORES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            Usage::error("there is neither dacapo.db nor demo.db here; name a store, or a directory of recorded runs")
        })?,
    };
    let declared = declared(arguments.money.as_deref())?;
    let shown = Shown { store: Some(path.clone()), beside: false, declared: Some(declared) };
    let interrupt = Interrupt::listen()?;
    production::runtime()?.block_on(async {
        let listener = production::listen(arguments.listen).await?;
        let address = listener.local_addr()?;
        let of = path.display().to_string();
        let routes = server::router(shown, arguments.host.clone()).map_err(told)?;
        terminal.object("viewing", &Viewing { viewer: format!("http://{address}/"), of: &of });
        terminal.line(format_args!("{} http://{address}/  of {of}  (Ctrl-C ends)", strong("viewer")));
        tokio::select! {
            biased;
            result = server::serve(listener, routes) => result.map_err(told)?,
            () = interrupt.wait() => {}
        }
        Ok(Exit::Passed)
    })
}

/// What cannot be opened is the caller's to mend.
fn told(error: ViewError) -> anyhow::Error {
    match error {
        ViewError::Store(dacapo_core::store::StoreError::NotAStore(sentence)) => Usage::error(sentence),
        error => anyhow::Error::new(error),
    }
}

/// What payloads mean: the bank's, unless a file says otherwise.
pub(crate) fn declared(file: Option<&Path>) -> anyhow::Result<Declared> {
    let Some(file) = file else { return Ok(bank()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| {
        Usage::error(format!("{} does not say what payloads mean: {error}; see `dacapo view --help`", file.display()))
    })
}
