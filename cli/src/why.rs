//! `dacapo why`: why a lane stands still, asked of a running bus or, as far as it can know, of a store's file.

use anyhow::{Context as _, bail};
use dacapo_backends::SqliteReader;
use dacapo_core::{
    Key, NameError, ServiceName,
    store::StoreError,
    why::{self, LaneFacts, Why},
};

use crate::{
    arguments::WhyArguments,
    exit::{Exit, Usage},
    http::{self, authority, percent_encoded},
    terminal::{Terminal, strong},
};

/// Asks, and tells.
pub(crate) fn run(terminal: &Terminal, arguments: &WhyArguments) -> anyhow::Result<Exit> {
    let usage = |error: NameError| Usage::error(error.to_string());
    let service = ServiceName::new(arguments.service.as_str()).map_err(usage)?;
    let key = Key::new(arguments.key.as_str()).map_err(usage)?;
    let why = match &arguments.bus {
        Some(url) => {
            let authority = authority(url).ok_or_else(|| {
                Usage::error(format!("{url:?} is no address of a bus; give something like http://127.0.0.1:7171"))
            })?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(of_bus(authority, &service, &key))?
        }
        None => of_file(arguments.db.as_deref().context("clap demands --db or --bus")?, &service, key)?,
    };
    terminal.object("why", &why);
    terminal.line(&why.why);
    terminal.line(format_args!("{} {}", strong("What to do:"), why.help));
    Ok(Exit::Passed)
}

async fn of_bus(authority: &str, service: &ServiceName, key: &Key) -> anyhow::Result<Why> {
    let (service, key) = (percent_encoded(service.as_str()), percent_encoded(key.as_str()));
    let reply =
        http::send(authority, "GET", &format!("/v1/services/{service}/lanes/{key}/why"), &[], String::new()).await?;
    match reply.status {
        200 => {
            serde_json::from_str(&reply.body).with_context(|| format!("what listens at {authority} is no bus of ours"))
        }
        404 => Err(Usage::error(format!("the bus at {authority} does not know it: {}", reply.body))),
        status => bail!("the bus at {authority} answered {status}: {}", reply.body),
    }
}

fn of_file(path: &std::path::Path, name: &ServiceName, key: Key) -> anyhow::Result<Why> {
    let mut reader = SqliteReader::open_read_only(path).map_err(|error| match error {
        StoreError::NotAStore(sentence) => Usage::error(sentence),
        error => anyhow::Error::new(error),
    })?;
    let standing = reader.standing()?;
    let Some(record) = standing.services.into_iter().find(|service| service.name == *name) else {
        return Err(Usage::error(format!("{} knows no service {name}; check its spelling", path.display())));
    };
    let lane = standing.lanes.into_iter().find(|lane| lane.service == *name && lane.key == key);
    let facts = LaneFacts::of_records(record, key, lane);
    let ground = facts.ground(&mut reader)?;
    Ok(why::explain(&facts, &ground))
}
