//! Whose connection it is, and what its token allows.
//!
//! The rules are the core's ([`Speaker`], [`TokenBook`]); here they are asked in time. Tokens are read from the log at a
//! recovery and followed commit by commit: before anybody hears that a token was revoked, it counts no more, and the
//! connections that showed it are cut.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dacapo_core::{
    access::{Denied, Judgement, Secret, Speaker, TokenBook},
    event::Event,
    names::TokenName,
    store::{Query, StoreError},
    wire::ToBus,
};

use super::{
    config::Tokens,
    pace::{TokenPace, TokenShare, TooMany},
    shared::Shared,
};

/// The tokens of this bus.
#[derive(Debug, Default)]
pub(super) struct Access {
    book: Mutex<TokenBook>,
    paces: Mutex<BTreeMap<TokenName, Arc<TokenPace>>>,
}

impl Access {
    pub(super) fn book(&self) -> MutexGuard<'_, TokenBook> {
        // Nothing panics while it holds this lock; if it did, the book would still be one.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all tokens from the log.
    pub(super) async fn load(&self, shared: &Shared) -> Result<(), StoreError> {
        match &shared.config.tokens {
            Tokens::Ignored => return Ok(()),
            Tokens::Fixed(book) => {
                *self.book() = TokenBook::clone(book);
                return Ok(());
            }
            Tokens::Kept | Tokens::Demanded => {}
        }
        let mut book = TokenBook::default();
        let mut cursor = None;
        loop {
            let query = Query { cursor, types: TokenBook::types(), ..Query::default() };
            let answer = shared.port.query(query).await?;
            for event in &answer.events {
                book.apply(event);
            }
            cursor = answer.next;
            if cursor.is_none() {
                break;
            }
        }
        *self.book() = book;
        Ok(())
    }

    /// Follows the log; whether a token has changed.
    pub(super) fn learn(&self, events: &[Arc<Event>]) -> bool {
        let mut about_tokens = events.iter().filter(|event| event.key.is_reserved()).peekable();
        if about_tokens.peek().is_none() {
            return false;
        }
        let mut book = self.book();
        // Every one is taken in, not only the first that changes something.
        about_tokens.filter_map(|event| book.apply(event)).count() > 0
    }

    /// Who it is that shows this token, or none.
    pub(super) fn speaker(&self, shared: &Shared, shown: Option<&Secret>) -> Result<Speaker, Denied> {
        if matches!(shared.config.tokens, Tokens::Ignored | Tokens::Kept) {
            return Ok(Speaker::Anyone);
        }
        let hash = shown.map(Secret::hash);
        Speaker::of(&self.book(), hash.as_ref(), shared.world.clock.now().wall)
    }

    /// A share of what this speaker's token may have open; none if no token limits it.
    pub(super) fn share(&self, shared: &Shared, speaker: &Speaker) -> Result<Option<Arc<TokenShare>>, TooMany> {
        let Some(name) = speaker.name() else { return Ok(None) };
        let pace = {
            let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(paces.entry(name.clone()).or_insert_with(|| Arc::new(TokenPace::new(&shared.config.limits))))
        };
        let share = TokenShare::of(pace, shared.config.limits.connections_per_token_max).map(Arc::new).map(Some);
        share.inspect_err(|_| shared.metrics.token_limits.add(1))
    }

    /// Whether the speaker's token is still the one that counts.
    pub(super) fn is_current(&self, speaker: &Speaker) -> bool {
        speaker.is_current(&self.book())
    }

    /// Whether a speaker who reads for long may go on.
    pub(super) fn may_read(&self, shared: &Shared, speaker: &Speaker) -> bool {
        self.is_current(speaker) && speaker.may_read(shared.world.clock.now().wall).is_ok()
    }

    /// Judges a frame before the machine hears of it. A token in a hello is taken out, so that nobody records it.
    pub(super) fn judge(&self, shared: &Shared, speaker: &mut Speaker, frame: &mut ToBus) -> Judgement {
        let judgement = match speaker {
            Speaker::Anyone => Judgement::Pass,
            _ => speaker.hear(&self.book(), frame, shared.world.clock.now().wall),
        };
        if let ToBus::Hello(hello) = frame {
            hello.bearer = None;
        }
        judgement
    }
}
