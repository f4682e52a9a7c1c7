//! `dacapo token`: making, listing and revoking the tokens of a bus.
//!
//! A running bus is asked, and does it at once. Where none runs, the store's file is written itself: that is how the first
//! token comes about, and how one gets in again who has lost his. A secret is drawn here and shown once; the bus gets its
//! hash.

mod offline;

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use dacapo_backends::clock::SystemClock;
use dacapo_core::{
    NameError, TokenName, WallTime,
    access::{Glob, PublishRight, RightError, Rights, Secret},
    hooks::Clock as _,
};
use dacapo_reporting::calendar;
use serde::{Deserialize, Serialize};

use crate::{
    client::{Bus, ClientArguments},
    exit::{Exit, Usage},
    production,
    terminal::{Terminal, faint, strong},
};
use offline::Offline;
pub(crate) use offline::somebody_administers;

/// `token`
#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    /// What to do
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token; it is shown once
    New(NewArguments),
    /// The tokens that there are, and what they allow
    List(PlaceArguments),
    /// Let a token count no more, from now on
    Revoke(RevokeArguments),
}

/// Where the tokens are.
#[derive(Debug, Args)]
struct PlaceArguments {
    /// A store, while no bus runs on it
    #[arg(long, value_name = "FILE", conflicts_with = "bus", required_unless_present = "bus")]
    db: Option<PathBuf>,
    /// A running bus, such as `http://127.0.0.1:7171`
    #[arg(long, value_name = "URL")]
    bus: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Args)]
struct NewArguments {
    /// What it is called, in lists and in the audit trail
    #[arg(value_name = "NAME", value_parser = token_name)]
    name: TokenName,
    /// It may publish events of these types on these keys, such as 'Deposited@acc-*'; may be given again
    #[arg(long, value_name = "TYPES@KEYS", value_parser = publish_right)]
    publish: Vec<PublishRight>,
    /// It may be an instance of these services: take their deliveries, complete them, and read; may be given again
    #[arg(long, value_name = "SERVICES", value_parser = glob)]
    service: Vec<Glob>,
    /// It may read the log, keys, services, lanes and metrics
    #[arg(long)]
    read: bool,
    /// It may retry and skip lanes, change types, make and revoke tokens; and read
    #[arg(long)]
    administer: bool,
    /// It counts no more after so long: 12h, 90d
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Duration>,
    /// Write it into this new file, which nobody else may read, instead of showing it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Args)]
struct RevokeArguments {
    /// What it is called
    #[arg(value_name = "NAME", value_parser = token_name)]
    name: TokenName,
    #[command(flatten)]
    place: PlaceArguments,
}

fn token_name(text: &str) -> Result<TokenName, NameError> {
    TokenName::new(text.to_owned())
}

fn publish_right(text: &str) -> Result<PublishRight, RightError> {
    text.parse()
}

fn glob(text: &str) -> Result<Glob, NameError> {
    Glob::new(text)
}

/// As other durations, and in days.
fn lifetime(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        _ => crate::arguments::duration(text).map_err(|error| error.replace("or h", "h or d")),
    }
}

/// A token in a list.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    name: TokenName,
    rights: Rights,
    made: WallTime,
    expires: Option<WallTime>,
    revoked: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    name: &'a TokenName,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
    expires: Option<WallTime>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a TokenName,
}

/// Does what the command line says.
pub(crate) fn run(terminal: &Terminal, arguments: &TokenArguments) -> anyhow::Result<Exit> {
    match &arguments.what {
        What::New(arguments) => make(terminal, arguments),
        What::List(arguments) => list(terminal, arguments),
        What::Revoke(arguments) => revoke(terminal, arguments),
    }
}

fn make(terminal: &Terminal, arguments: &NewArguments) -> anyhow::Result<Exit> {
    let NewArguments { name, publish, service, read, administer, expires, output, place } = arguments;
    let rights = Rights { publish: publish.clone(), services: service.clone(), read: *read, administer: *administer };
    if rights.is_empty() {
        let sentence = "a token that allows nothing is of no use; give --publish, --service, --read or --administer";
        return Err(Usage::error(sentence));
    }
    let now = SystemClock::new().now().wall;
    let expires = expires.map(|lifetime| WallTime(now.0 + lifetime.as_micros() as u64));
    let secret = draw()?;
    // Before it counts: a file that cannot be written would leave a token that nobody holds.
    let file = output.as_deref().map(|path| new_file(path).map(|file| (path, file))).transpose()?;
    match place.place()? {
        Place::Running(bus) => {
            let body = serde_json::json!({ "name": name, "hash": secret.hash(), "rights": rights, "expires": expires });
            let _: serde_json::Value =
                production::runtime()?.block_on(bus.ask("POST", "/v1/tokens", body.to_string()))?;
        }
        Place::File(mut store) => store.make(name, secret.hash(), rights.clone(), expires)?,
    }
    if let Some((path, mut file)) = file {
        writeln!(file, "{}", secret.reveal()).and_then(|()| file.sync_all()).with_context(|| {
            format!("the token {name} counts, and cannot be written to {}; revoke it", path.display())
        })?;
    }
    let token = output.is_none().then(|| secret.reveal());
    terminal.object("token", &Made { name, token, file: output.as_deref(), expires });
    match (token, output) {
        (Some(token), _) => terminal.line(token),
        (None, Some(path)) => terminal.line(format_args!("{} {name} is in {}", strong("token"), path.display())),
        (None, None) => {}
    }
    if !service.is_empty() && publish.is_empty() {
        terminal.note("it may not publish: a service whose handlers produce events needs --publish as well");
    }
    if token.is_some() {
        terminal.note("it is not shown again; keep it where nobody else reads it");
    }
    Ok(Exit::Passed)
}

fn list(terminal: &Terminal, arguments: &PlaceArguments) -> anyhow::Result<Exit> {
    #[derive(Deserialize)]
    struct Tokens {
        tokens: Vec<Listed>,
    }
    let tokens = match arguments.place()? {
        Place::Running(bus) => {
            production::runtime()?.block_on(bus.ask::<Tokens>("GET", "/v1/tokens", String::new()))?.tokens
        }
        Place::File(store) => store.list(),
    };
    let now = SystemClock::new().now().wall;
    for token in &tokens {
        terminal.object("token", token);
        let until = match token.expires {
            _ if token.revoked => "revoked".to_owned(),
            Some(expires) if expires <= now => format!("expired {}", calendar::show(expires)),
            Some(expires) => format!("until {}", calendar::show(expires)),
            None => "no expiry".to_owned(),
        };
        terminal.line(format_args!("{:<20} {:<28} {}", token.name.to_string(), until, token.rights));
    }
    if tokens.is_empty() {
        terminal.note(faint("there are no tokens; `dacapo token new` makes one"));
    }
    Ok(Exit::Passed)
}

fn revoke(terminal: &Terminal, arguments: &RevokeArguments) -> anyhow::Result<Exit> {
    let name = &arguments.name;
    match arguments.place.place()? {
        Place::Running(bus) => {
            let mut path = "/v1/tokens/".to_owned();
            crate::http::percent_encode(name.as_str(), &mut path);
            let _: serde_json::Value = production::runtime()?.block_on(bus.ask("DELETE", &path, String::new()))?;
        }
        Place::File(mut store) => store.revoke(name)?,
    }
    terminal.object("revoked", &Named { name });
    terminal.line(format_args!("{name} counts no more"));
    Ok(Exit::Passed)
}

/// Where the tokens are.
enum Place {
    Running(Bus),
    File(Box<Offline>),
}

impl PlaceArguments {
    fn place(&self) -> anyhow::Result<Place> {
        match (&self.bus, &self.db) {
            (Some(url), _) => Ok(Place::Running(Bus::of(url, &self.client)?)),
            (None, Some(path)) => Ok(Place::File(Box::new(Offline::open(path)?))),
            (None, None) => Err(Usage::error("give --db or --bus")),
        }
    }
}

/// From the system's source of secrets.
fn draw() -> anyhow::Result<Secret> {
    let mut random = [0; 32];
    let mut filled = 0;
    while filled < random.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut random[filled..], flags)
            .context("the system has no randomness to draw a secret from")?;
    }
    Ok(Secret::of(random))
}

/// A file that is not there yet, and that nobody else may read.
fn new_file(path: &Path) -> anyhow::Result<std::fs::File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Usage::error(format!("cannot make {}: {error}; give a new file", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_may_be_days() {
        assert_eq!(lifetime("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(lifetime("12h"), Ok(Duration::from_secs(12 * 3_600)));
        assert!(lifetime("a year").expect_err("is none").contains("h or d"));
    }

    #[test]
    fn no_two_secrets_are_alike() {
        assert_ne!(draw().expect("draws"), draw().expect("draws"));
    }
}
