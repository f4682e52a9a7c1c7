//! A state store in a Redis server. Values are kept as JSON texts under `dacapo:SERVICE:INSTANCE:state:KEY`, where others
//! may look at them; what is kept there is a cache of the log, as in every store.

use std::{collections::BTreeSet, sync::Arc};

use dacapo_core::{Key, Position, Version};
use redis::{Commands as _, Connection};
use serde_json::Value;

use super::{
    Change, Opened, Snapshot, StoreError,
    writer::{Keeper, Writer},
};

/// Keys that are asked for at once.
const PAGE: usize = 1_000;

/// Connects, and takes what is there. What another code has made is thrown away.
pub(super) fn open(url: &str, service: &str, instance: &str, code: u32) -> Result<Opened, StoreError> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_connection()?;
    let prefix = format!("dacapo:{service}:{instance}");
    let about = format!("{prefix}:about");
    let made_by: Option<u32> = connection.hget(&about, "code")?;
    let snapshot = if made_by == Some(code) {
        load(&mut connection, &prefix)?
    } else {
        forget(&mut connection, &prefix)?;
        let _: () = connection.hset(&about, "code", code)?;
        Snapshot::default()
    };
    Ok(Opened { snapshot, store: Arc::new(Writer::start(Server { client, connection: Some(connection), prefix })?) })
}

fn forget(connection: &mut Connection, prefix: &str) -> Result<(), StoreError> {
    let keys: BTreeSet<String> = connection.smembers(format!("{prefix}:keys"))?;
    let keys: Vec<String> = keys.into_iter().map(|key| format!("{prefix}:state:{key}")).collect();
    for page in keys.chunks(PAGE) {
        let _: () = connection.del(page)?;
    }
    let rest = ["about", "keys", "gathered", "versions", "live"].map(|name| format!("{prefix}:{name}"));
    let _: () = connection.del(&rest[..])?;
    Ok(())
}

fn load(connection: &mut Connection, prefix: &str) -> Result<Snapshot, StoreError> {
    let position: Option<u64> = connection.hget(format!("{prefix}:about"), "position")?;
    let mut snapshot = Snapshot { position: Position(position.unwrap_or_default()), ..Snapshot::default() };
    let keys: Vec<String> = connection.smembers(format!("{prefix}:keys"))?;
    for page in keys.chunks(PAGE) {
        let names: Vec<String> = page.iter().map(|key| format!("{prefix}:state:{key}")).collect();
        let texts: Vec<Option<String>> = connection.mget(&names)?;
        for (key, text) in page.iter().zip(texts) {
            // A server that forgets values by itself has no whole state to give.
            let Some(text) = text else {
                forget(connection, prefix)?;
                return Ok(Snapshot::default());
            };
            snapshot.values.insert(key.clone(), Arc::new(serde_json::from_str(&text)?));
        }
    }
    snapshot.foreign = connection.smembers(format!("{prefix}:gathered"))?;
    let versions: Vec<(String, u64)> = connection.hgetall(format!("{prefix}:versions"))?;
    for (key, version) in versions {
        snapshot.versions.insert(Key::new(key)?, Version(version));
    }
    let live: Vec<(String, String)> = connection.hgetall(format!("{prefix}:live"))?;
    for (key, text) in live {
        let value: Option<Value> = serde_json::from_str(&text)?;
        snapshot.live.insert(key, value.map(Arc::new).into());
    }
    Ok(snapshot)
}

struct Server {
    client: redis::Client,
    connection: Option<Connection>,
    prefix: String,
}

impl Keeper for Server {
    fn keep(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.get_connection()?,
        };
        let prefix = &self.prefix;
        let mut transaction = redis::pipe();
        transaction.atomic();
        for change in changes {
            for (key, value) in &change.values {
                let name = format!("{prefix}:state:{key}");
                if let Some(value) = value {
                    transaction.set(name, value.to_string()).ignore();
                    transaction.sadd(format!("{prefix}:keys"), key).ignore();
                } else {
                    transaction.del(name).ignore();
                    transaction.srem(format!("{prefix}:keys"), key).ignore();
                }
            }
            if !change.foreign.is_empty() {
                transaction.sadd(format!("{prefix}:gathered"), &change.foreign).ignore();
            }
            if let Some((key, version)) = &change.version {
                transaction.hset(format!("{prefix}:versions"), key.as_str(), version.0).ignore();
            }
            for (key, kept) in &change.live {
                let name = format!("{prefix}:live");
                match kept {
                    Some(live) => {
                        let text = live.value().map_or_else(|| "null".to_owned(), |value| value.to_string());
                        transaction.hset(name, key, text).ignore();
                    }
                    None => {
                        transaction.hdel(name, key).ignore();
                    }
                }
            }
            transaction.hset(format!("{prefix}:about"), "position", change.position.0).ignore();
        }
        let _: () = transaction.query(&mut connection)?;
        self.connection = Some(connection);
        Ok(())
    }
}
