//! PostgreSQL as an event store: one table, unique by key and version, and a cursor for each half of the keys.
//!
//! A cursor goes by (transaction, position) and only up to the oldest transaction that still runs, for positions alone
//! become visible out of order, and events would be skipped. A consumer's transaction holds its cursor from reading to
//! acknowledging; what handling produced is inserted in it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use postgres::{Client as Connection, NoTls, Statement, error::SqlState};

use crate::{
    contract::{Behind, Client, Consumer, Delivery, Event, Failure, Peer, Place, Publisher, Receipt, Source},
    server,
};

const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = on
synchronous_commit = on
wal_sync_method = fdatasync
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 4GB
";
const TABLES: &str = "
CREATE TABLE events (
    position bigserial PRIMARY KEY, transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    source int NOT NULL, key text NOT NULL, version bigint NOT NULL, body text NOT NULL, UNIQUE (key, version));
CREATE INDEX ON events (source, transaction, position);
CREATE TABLE cursors (source int PRIMARY KEY, transaction xid8 NOT NULL, position bigint NOT NULL);
INSERT INTO cursors VALUES (0, '0', 0), (1, '0', 0), (2, '0', 0);
";
const INSERT: &str = "INSERT INTO events (source, key, version, body) VALUES ($1, $2, $3, $4)";
const CURSOR: &str = "SELECT transaction::text, position FROM cursors WHERE source = $1 FOR UPDATE";
const NEXT: &str = "
SELECT transaction::text, position, body FROM events
WHERE source = $1 AND (transaction, position) > ($2::text::xid8, $3)
  AND transaction < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY events.transaction, position LIMIT $4";
/// Touches no row if another consumer has come further.
const ADVANCE: &str = "
UPDATE cursors SET transaction = $2::text::xid8, position = $3
WHERE source = $1 AND (transaction, position) < ($2::text::xid8, $3)";
/// The user under whom the server runs if this is run by root, whom it refuses.
const USER: &str = "postgres";

pub(crate) struct Postgres;

impl Peer for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn version(&self) -> Option<String> {
        let text = server::run(Command::new(binary("postgres")?).arg("--version")).ok()?;
        Some(text.split_whitespace().nth(2)?.to_owned())
    }

    fn how_to_get(&self) -> &'static str {
        "apt-get install postgresql"
    }

    fn note(&self) -> &'static str {
        "an event that fails holds up its half of the keys: the cursor stands; it is acknowledged by the batch, and an effect is in \
         the cursor's transaction"
    }

    fn failures(&self) -> &'static [Failure] {
        &[Failure::Nack]
    }

    fn initialise(&self, place: &Place) -> Result<()> {
        let data = place.directory.join("data");
        give(&place.directory)?;
        server::run(
            command("initdb")?
                .args(["--auth=trust", "--username=compare", "--encoding=UTF8", "--no-locale", "--pgdata"])
                .arg(&data),
        )?;
        let path = data.join("postgresql.conf");
        let defaults = fs::read_to_string(&path)?;
        fs::write(&path, defaults + CONFIGURATION)?;
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = command("postgres")?;
        command.arg("-D").arg(place.directory.join("data")).args(["-p", &place.port().to_string()]);
        Ok(vec![command])
    }

    fn client(&self, port: u16) -> Result<Box<dyn Client>> {
        connect(port)?;
        Ok(Box::new(Clients { port }))
    }
}

/// Debian keeps the server's programs apart from PATH, by version.
fn binary(name: &str) -> Option<std::path::PathBuf> {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path()).collect();
    versions.sort();
    versions.iter().rev().map(|version| version.join("bin").join(name)).find(|path| path.exists())
}

fn command(name: &str) -> Result<Command> {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(binary(name).context("PostgreSQL is not installed")?);
    if let Some((user, group)) = owner()? {
        command.uid(user).gid(group);
    }
    Ok(command)
}

fn give(directory: &Path) -> Result<()> {
    if let Some((user, group)) = owner()? {
        std::os::unix::fs::chown(directory, Some(user), Some(group))?;
    }
    Ok(())
}

/// Whose the server must be: nobody in particular, unless this is run by root.
fn owner() -> Result<Option<(u32, u32)>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.split(':').next() == Some(USER)).context("there is no user postgres")?;
    let fields: Vec<&str> = line.split(':').collect();
    Ok(Some((fields[2].parse()?, fields[3].parse()?)))
}

fn connect(port: u16) -> Result<Connection> {
    Ok(Connection::connect(&format!("host=127.0.0.1 port={port} user=compare dbname=postgres"), NoTls)?)
}

struct Clients {
    port: u16,
}

fn number(source: Source) -> i32 {
    match source {
        Source::Half(half) => half as i32,
        Source::Effects => 2,
    }
}

impl Client for Clients {
    fn prepare(&self) -> Result<()> {
        Ok(connect(self.port)?.batch_execute(TABLES)?)
    }

    fn publisher(&self) -> Result<Box<dyn Publisher>> {
        let mut connection = connect(self.port)?;
        let insert = connection.prepare(INSERT)?;
        Ok(Box::new(Writer { connection, insert }))
    }

    fn consumer(&self, source: Source, window: u32) -> Result<Box<dyn Consumer>> {
        let mut connection = connect(self.port)?;
        let [insert, cursor, next, advance] = [INSERT, CURSOR, NEXT, ADVANCE].map(|text| connection.prepare(text));
        Ok(Box::new(Reader {
            source: number(source),
            window: i64::from(window),
            insert: insert?,
            cursor: cursor?,
            next: next?,
            advance: advance?,
            connection,
            open: false,
        }))
    }
}

struct Writer {
    connection: Connection,
    insert: Statement,
}

impl Publisher for Writer {
    fn publish(&mut self, event: &Event) -> Result<Receipt> {
        let source = number(Source::Half(event.half()));
        let inserted =
            self.connection.execute(&self.insert, &[&source, &event.key, &(event.version as i64), &event.body()]);
        match inserted {
            Ok(_) => Ok(Receipt::Accepted),
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(Receipt::Stale),
            Err(error) => Err(error.into()),
        }
    }
}

struct Reader {
    connection: Connection,
    source: i32,
    window: i64,
    insert: Statement,
    cursor: Statement,
    next: Statement,
    advance: Statement,
    /// A transaction holds the cursor.
    open: bool,
}

impl Reader {
    fn advance_to(&mut self, delivery: &Delivery) -> Result<()> {
        let (transaction, position) = delivery.tag.split_once(' ').context("a tag of another system")?;
        let position: i64 = position.parse()?;
        let rows = self.connection.execute(&self.advance, &[&self.source, &transaction, &position])?;
        ensure!(rows == 1, "another consumer has handled this already");
        Ok(())
    }

    fn end(&mut self, how: &str) -> Result<()> {
        if std::mem::take(&mut self.open) {
            self.connection.batch_execute(how)?;
        }
        Ok(())
    }

    /// For who answers one by one: the cursor is still this consumer's after each commit.
    fn begin(&mut self) -> Result<(String, i64)> {
        if !self.open {
            self.connection.batch_execute("BEGIN")?;
            self.open = true;
        }
        let row = self.connection.query_one(&self.cursor, &[&self.source])?;
        Ok((row.get(0), row.get(1)))
    }
}

impl Consumer for Reader {
    fn receive(&mut self) -> Result<Vec<Delivery>> {
        self.end("ROLLBACK")?;
        let (transaction, position) = self.begin()?;
        let rows = self.connection.query(&self.next, &[&self.source, &transaction, &position, &self.window])?;
        if rows.is_empty() {
            self.end("ROLLBACK")?;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        rows.iter()
            .map(|row| {
                let (transaction, position, body): (&str, i64, &str) = (row.get(0), row.get(1), row.get(2));
                Ok(Delivery { event: Event::of_body(body)?, tag: format!("{transaction} {position}") })
            })
            .collect()
    }

    fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<()> {
        let Some(last) = deliveries.last() else { return Ok(()) };
        self.begin()?;
        self.advance_to(last)?;
        self.end("COMMIT")
    }

    fn answer(&mut self, delivery: &Delivery, effect: &Event) -> Result<()> {
        self.begin()?;
        let source = number(Source::Effects);
        self.connection.execute(&self.insert, &[&source, &effect.key, &(effect.version as i64), &effect.body()])?;
        self.advance_to(delivery)?;
        self.end("COMMIT")
    }

    fn refuse(&mut self, _delivery: &Delivery, _failure: Failure) -> Result<Behind> {
        // The cursor stands before it; what came behind it is read again.
        self.end("ROLLBACK")?;
        Ok(Behind::Withdrawn)
    }
}
