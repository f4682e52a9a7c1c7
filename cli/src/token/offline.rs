//! Tokens of a store on which no bus runs. What is written is what a bus would have written.

use std::{path::Path, sync::Arc};

use dacapo_backends::{SqliteStore, clock::SystemClock, sqlite::Options};
use dacapo_core::{
    CorrelationId, Event, EventId, Expectation, Source, Term, TokenName, WallTime,
    access::{self, Rights, SecretHash, TokenBook},
    hooks::Clock as _,
    names::{Position, Version},
    store::{Commit, Query, Reader, Store as _, StoreError, SystemEvent},
};

use super::Listed;
use crate::exit::Usage;

/// Who did it, for the audit trail: whoever may write the file.
const BY: &str = "$file";

/// A store that nobody else has open.
pub(super) struct Offline {
    store: SqliteStore,
    term: Term,
    position: Position,
    book: TokenBook,
}

impl Offline {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let options = Options { alone: true, ..Options::default() };
        let mut store = SqliteStore::open_with(path, options).map_err(|error| match error {
            StoreError::NotAStore(sentence) => Usage::error(sentence),
            error => anyhow::Error::new(error),
        })?;
        // The term makes sure of it: whatever bus believed to have the store is refused from here on.
        let recovered = store.recover()?;
        let book = read(&mut store)?;
        Ok(Self { store, term: recovered.term, position: recovered.position, book })
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let listed = |token: &Arc<access::Token>| Listed {
            name: token.name.clone(),
            rights: token.rights.clone(),
            made: token.made,
            expires: token.expires,
            revoked: token.revoked,
        };
        self.book.tokens().map(listed).collect()
    }

    pub(super) fn make(
        &mut self,
        name: &TokenName,
        hash: SecretHash,
        rights: Rights,
        expires: Option<WallTime>,
    ) -> anyhow::Result<()> {
        let former = self.book.get(name);
        if former.is_some_and(|token| !token.revoked) {
            return Err(Usage::error(format!(
                "there is a token {name} already; revoke it first, or choose another name"
            )));
        }
        let head = former.map_or(Version::ZERO, |token| token.version);
        self.append(access::made(name, hash, rights, expires, Some(BY.to_owned()), head))
    }

    pub(super) fn revoke(&mut self, name: &TokenName) -> anyhow::Result<()> {
        match self.book.get(name).filter(|token| !token.revoked) {
            Some(token) => self.append(access::revoked(token, Some(BY.to_owned()))),
            None => Err(Usage::error(format!("there is no token {name} that counts; `dacapo token list` names them"))),
        }
    }

    fn append(&mut self, event: SystemEvent) -> anyhow::Result<()> {
        let SystemEvent { key, event_type, expectation, data } = event;
        let Expectation::Version(head) = expectation else {
            anyhow::bail!("an event about a token demands a version");
        };
        let id = EventId::of(format!("$bus/{}/1", self.term));
        let event = Event {
            position: self.position.next(),
            correlation: CorrelationId::of(id.as_str().to_owned()),
            id,
            event_type,
            key,
            version: head.next(),
            causation: None,
            time: SystemClock::new().now().wall,
            source: Source::of("$bus"),
            data,
            attributes: dacapo_core::Attributes::default(),
        };
        self.position = event.position;
        let commit = Commit { sequence: 1, term: self.term, events: vec![Arc::new(event)], ..Commit::default() };
        self.store.commit(&commit)?;
        Ok(())
    }
}

/// All tokens of a store.
fn read(store: &mut impl Reader) -> Result<TokenBook, StoreError> {
    let mut book = TokenBook::default();
    let mut cursor = None;
    loop {
        let answer = store.query(&Query { cursor, types: TokenBook::types(), ..Query::default() })?;
        for event in &answer.events {
            book.apply(event);
        }
        cursor = answer.next;
        if cursor.is_none() {
            return Ok(book);
        }
    }
}

/// Whether some token of this store allows to administer, now.
pub(crate) fn somebody_administers(store: &mut impl Reader, now: WallTime) -> Result<bool, StoreError> {
    let book = read(store)?;
    let counts = |token: &Arc<access::Token>| {
        !token.revoked && token.rights.administer && token.expires.is_none_or(|expires| expires > now)
    };
    Ok(book.tokens().any(counts))
}
