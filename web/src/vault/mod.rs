//! Names, passwords and sessions: what the backend keeps of its own, in a SQLite file of its own.
//!
//! None of it is an event. The log is for ever, is read by many and shown by a viewer; a password must be forgotten when it
//! is changed, and a session when it ends. Losing this file loses no money: the log knows the users and what they own.
//!
//! The file and the hashing have threads of their own, so that neither holds up a page. Sessions end by the wall clock,
//! since they outlive the process.

mod desk;
mod passwords;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use dacapo_bank::ids::UserId;
use dacapo_core::hooks::Clock;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::secrets::{Kept, Secret};
use desk::Desk;
use passwords::Hasher;

/// How long a session lasts.
pub const SESSION: Duration = Duration::from_secs(12 * 3_600);
/// Sessions of one user; a further one ends the oldest.
const SESSIONS_MAX: u32 = 16;
/// Threads that hash: a hash takes tens of milliseconds and 19 MiB, and half of the cores are others'.
const HASHERS: usize = 2;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS users (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, password TEXT NOT NULL, claim TEXT NOT NULL, is_made INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS sessions (
        kept BLOB PRIMARY KEY, user TEXT NOT NULL, until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS sessions_of ON sessions (user, until);";

/// Why the vault cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file.
    #[error("the file of names and passwords cannot be used: {0}; check its disk and its rights, or name another")]
    File(#[from] rusqlite::Error),
    /// Threads.
    #[error("the vault's threads cannot be started: {0}; free some resources and start again")]
    Threads(#[from] std::io::Error),
    /// The threads are gone: one of them has met a mistake of ours.
    #[error("the vault has stopped; start again")]
    Stopped,
    /// A hash could not be computed.
    #[error("a password cannot be hashed: {0}; free some memory")]
    Hash(String),
}

/// Somebody who may be asked for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// Their id at the bank.
    pub(crate) id: UserId,
    /// For people.
    pub(crate) name: String,
    /// The idempotency key under which the users service was, or will be, asked to make them a user.
    pub(crate) claim: String,
    /// Whether it has said that it did.
    pub(crate) is_made: bool,
}

/// The vault.
#[derive(Clone)]
pub struct Vault {
    desk: Desk,
    hasher: Hasher,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens the file, or makes a new one; without a path it is kept in memory.
    pub fn open(path: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Self, VaultError> {
        let connection = match path {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(SCHEMA)?;
        let desk = Desk::start(connection)?;
        let hasher = Hasher::start(HASHERS)?;
        Ok(Self { desk, hasher, clock })
    }

    fn now_us(&self) -> i64 {
        self.clock.now().wall.0 as i64
    }

    /// Takes a name for somebody who signs up; none if it is taken. A name whose user was never made is given away again to
    /// whoever knows its password.
    pub(crate) async fn sign_up(
        &self,
        id: &UserId,
        name: &str,
        password: String,
    ) -> Result<Option<Person>, VaultError> {
        let hash = self.hasher.hash(password.clone()).await?;
        let claim = Secret::draw().as_str().to_owned();
        let (row, told) = ((id.clone(), name.to_owned(), claim), id.clone());
        let is_new = self
            .desk
            .ask(move |connection| {
                let (id, name, claim) = row;
                connection.execute(
                    "INSERT INTO users (id, name, password, claim, is_made) VALUES (?1, ?2, ?3, ?4, 0)
                     ON CONFLICT (id) DO NOTHING",
                    params![id.as_str(), name, hash, claim],
                )
            })
            .await?;
        let person = self.check(&told, password).await?;
        Ok(person.filter(|person| is_new == 1 || !person.is_made))
    }

    /// The user of this name stands in the log now.
    pub(crate) async fn made(&self, id: &UserId) -> Result<(), VaultError> {
        let id = id.clone();
        let mark = move |connection: &Connection| {
            connection.execute("UPDATE users SET is_made = 1 WHERE id = ?1", [id.as_str()])
        };
        self.desk.ask(mark).await.map(drop)
    }

    /// The name was taken in the log by somebody who is not here; gives it back.
    pub(crate) async fn give_back(&self, person: &Person) -> Result<(), VaultError> {
        let (id, claim) = (person.id.clone(), person.claim.clone());
        let delete = move |connection: &Connection| {
            let sql = "DELETE FROM users WHERE id = ?1 AND claim = ?2 AND is_made = 0";
            connection.execute(sql, [id.as_str(), &claim])
        };
        self.desk.ask(delete).await.map(drop)
    }

    /// Whoever has this name and password. It takes as long for a name that nobody has.
    pub(crate) async fn check(&self, id: &UserId, password: String) -> Result<Option<Person>, VaultError> {
        let wanted = id.clone();
        let find = move |connection: &Connection| {
            let sql = "SELECT name, password, claim, is_made FROM users WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let row = statement.query_row([wanted.as_str()], |row| {
                let person = Person { id: wanted.clone(), name: row.get(0)?, claim: row.get(2)?, is_made: row.get(3)? };
                Ok((person, row.get::<_, String>(1)?))
            });
            row.optional()
        };
        let (person, hash) = self.desk.ask(find).await?.unzip();
        let is_right = self.hasher.check(password, hash).await?;
        Ok(person.filter(|_| is_right))
    }

    /// Begins a session.
    pub(crate) async fn begin(&self, id: &UserId) -> Result<Secret, VaultError> {
        let secret = Secret::draw();
        let (kept, id, now) = (secret.kept(), id.clone(), self.now_us());
        let until = now + SESSION.as_micros() as i64;
        let insert = move |connection: &Connection| {
            connection.execute("DELETE FROM sessions WHERE until <= ?1", [now])?;
            let oldest = "DELETE FROM sessions WHERE kept IN
                (SELECT kept FROM sessions WHERE user = ?1 ORDER BY until DESC LIMIT -1 OFFSET ?2)";
            connection.execute(oldest, params![id.as_str(), SESSIONS_MAX - 1])?;
            connection.execute("INSERT INTO sessions VALUES (?1, ?2, ?3)", params![kept, id.as_str(), until])
        };
        self.desk.ask(insert).await?;
        Ok(secret)
    }

    /// Whose session this is, with the name for people; none if it has ended.
    pub(crate) async fn who(&self, kept: Kept) -> Result<Option<(UserId, String)>, VaultError> {
        let now = self.now_us();
        let find = move |connection: &Connection| {
            let sql = "SELECT user, name FROM sessions JOIN users ON id = user WHERE kept = ?1 AND until > ?2";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row(params![kept, now], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).optional()
        };
        let found = self.desk.ask(find).await?;
        Ok(found.and_then(|(user, name)| Some((UserId::new(user).ok()?, name))))
    }

    /// Ends a session.
    pub(crate) async fn end(&self, kept: Kept) -> Result<(), VaultError> {
        let delete =
            move |connection: &Connection| connection.execute("DELETE FROM sessions WHERE kept = ?1", params![kept]);
        self.desk.ask(delete).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
