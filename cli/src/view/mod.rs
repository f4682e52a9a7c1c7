//! `dacapo view`: the viewer in a browser.

pub(crate) mod diff;
pub(crate) mod export;
mod money;
pub(crate) mod record;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use dacapo_reporting::{
    declared::Declared,
    run::{self, Run},
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

/// For `--help`.
pub(crate) const HELP: &str = "\
Money: what --money reads, here for the bank; accounts are named by the rest of their keys
  {\"unit\": \"pence\", \"account_key\": \"acc-\",
   \"transfers\": [{\"type\": \"AcceptedTransaction\", \"amount\": \"pence\", \"from\": \"from\", \"to\": \"to\"}],
   \"credits\": [{\"type\": \"ConfirmedCredit\", \"amount\": \"pence\", \"why\": \"why\", \"outside\": \"deposit\"}],
   \"debits\": [{\"type\": \"ConfirmedDebit\", \"amount\": \"pence\", \"why\": \"why\", \"outside\": \"withdrawal\"}]}";

/// Looked for when nothing is named.
const STORES: [&str; 2] = ["dacapo.db", "demo.db"];
/// Where a run that was just recorded is shown: wherever there is room.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[derive(Serialize)]
struct Viewing<'a> {
    viewer: String,
    of: &'a str,
}

/// Shows it until Ctrl-C.
pub(crate) fn run(terminal: &Terminal, arguments: &ViewArguments) -> anyhow::Result<Exit> {
    let declared = declared(arguments.money.as_deref())?;
    let (shown, of) = shown(arguments.what.as_deref(), declared)?;
    serve(terminal, shown, &of, arguments.listen, arguments.host.clone())
}

/// Shows a recorded run until Ctrl-C.
pub(crate) fn show_run(terminal: &Terminal, path: &Path) -> anyhow::Result<Exit> {
    let (shown, of) = shown(Some(path), bank())?;
    serve(terminal, shown, &of, LISTEN, Vec::new())
}

fn serve(terminal: &Terminal, shown: Shown, of: &str, listen: SocketAddr, hosts: Vec<String>) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen()?;
    production::runtime()?.block_on(async {
        let listener = production::listen(listen).await?;
        let address = listener.local_addr()?;
        let routes = server::router(shown, hosts).map_err(told)?;
        terminal.object("viewing", &Viewing { viewer: format!("http://{address}/"), of });
        terminal.line(format_args!("{} http://{address}/  of {of}  (Ctrl-C ends)", strong("viewer")));
        tokio::select! {
            biased;
            result = server::serve(listener, routes) => result.map_err(told)?,
            () = interrupt.wait() => {}
        }
        Ok(Exit::Passed)
    })
}

/// Shows the store that this process writes to, besides whatever else it does. If the port is taken, any other will do: the
/// link is printed.
pub(crate) async fn spawn_beside(
    store: &Path,
    listen: SocketAddr,
) -> anyhow::Result<(tokio::task::JoinHandle<Result<(), ViewError>>, SocketAddr)> {
    let listener = match tokio::net::TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(_) => production::listen(SocketAddr::new(listen.ip(), 0)).await?,
    };
    let address = listener.local_addr()?;
    let runs = Some(PathBuf::from(record::DIRECTORY)).filter(|path| path.is_dir());
    let shown = Shown { store: Some(store.to_owned()), runs, declared: Some(bank()), ..Shown::default() };
    let routes = server::router(shown, Vec::new()).map_err(told)?;
    Ok((tokio::spawn(server::serve(listener, routes)), address))
}

/// What is meant: a store, a run, a directory of runs; and its name.
fn shown(what: Option<&Path>, declared: Declared) -> anyhow::Result<(Shown, String)> {
    let here = PathBuf::from(record::DIRECTORY);
    let runs = Some(here.clone()).filter(|path| path.is_dir());
    let shown = Shown { runs, declared: Some(declared), ..Shown::default() };
    let Some(what) = what else {
        let store = STORES.iter().map(PathBuf::from).find(|path| path.exists());
        let of = store.as_ref().unwrap_or(&here).display().to_string();
        if store.is_none() && shown.runs.is_none() {
            return Err(Usage::error(
                "there is neither dacapo.db nor demo.db here, nor a recorded run; name a store or a run",
            ));
        }
        return Ok((Shown { store, ..shown }, of));
    };
    let path = export::found(what)?;
    let of = path.display().to_string();
    if Run::is_at(&path) {
        let first = Some(run::id_of(&path));
        let whole = path.canonicalize().with_context(|| format!("cannot find {of}"))?;
        let runs = whole.parent().map(Path::to_owned);
        return Ok((Shown { runs, first, ..shown }, of));
    }
    if path.is_dir() {
        let some = run::list(&path).map_err(|error| Usage::error(error.to_string()))?;
        if some.is_empty() {
            return Err(Usage::error(format!(
                "no run is recorded in {of}; give a store's file, or a directory of runs"
            )));
        }
        return Ok((Shown { runs: Some(path), ..shown }, of));
    }
    Ok((Shown { store: Some(path), ..shown }, of))
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
