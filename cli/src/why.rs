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
    client::Bus,
    exit::{Exit, Usage},
    http::percent_encoded,
    terminal::{Terminal, strong},
};

/// Asks, and tells.
pub(crate) fn run(terminal: &Terminal, arguments: &WhyArguments) -> anyhow::Result<Exit> {
    let usage = |error: NameError| Usage::error(error.to_string());
    let service = ServiceName::new(arguments.service.as_str()).map_err(usage)?;
    let key = Key::new(arguments.key.as_str()).map_err(usage)?;
    let why = match &arguments.bus {
        Some(url) => {
            let bus = Bus::of(url, &arguments.client)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(of_bus(&bus, &service, &key))?
        }
        None => of_file(arguments.db.as_deref().context("clap demands --db or --bus")?, &service, key)?,
    };
    terminal.object("why", &why);
    terminal.line(&why.why);
    terminal.line(format_args!("{} {}", strong("What to do:"), why.help));
    Ok(Exit::Passed)
}

async fn of_bus(bus: &Bus, service: &ServiceName, key: &Key) -> anyhow::Result<Why> {
    let (service, key) = (percent_encoded(service.as_str()), percent_encoded(key.as_str()));
    let reply = bus.send("GET", &format!("/v1/services/{service}/lanes/{key}/why"), String::new()).await?;
    match reply.status {
        200 => serde_json::from_str(&reply.body).context("what listens there is no bus of ours"),
        404 => Err(Usage::error(format!("the bus does not know it: {}", reply.body))),
        status => bail!("the bus answered {status}: {}", reply.body),
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
