//! The tokens that there are: the fold of the events on `$token/{name}`.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Rights, SecretHash};
use crate::{
    event::{Data, Event, Expectation},
    names::{EventType, Key, TokenName, Version},
    store::SystemEvent,
    time::WallTime,
};

/// What the keys of tokens begin with.
const KEY: &str = "$token/";
/// A token was made, or made again after it was revoked.
const MADE: &str = "$TokenMade";
/// A token counts no more.
const REVOKED: &str = "$TokenRevoked";

/// What the bus knows of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name.
    pub name: TokenName,
    /// What its secret hashes to.
    pub hash: SecretHash,
    /// What it allows.
    pub rights: Rights,
    /// From when on it counts no more; none: for ever.
    pub expires: Option<WallTime>,
    /// When it was made.
    pub made: WallTime,
    /// Whether it was revoked.
    pub revoked: bool,
    /// The version of its key.
    pub version: Version,
}

/// What `$TokenMade` says.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    hash: SecretHash,
    rights: Rights,
    #[serde(default)]
    expires: Option<WallTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// What `$TokenRevoked` says.
#[derive(Debug, Serialize, Deserialize)]
struct Revoked {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// The reserved key of a token.
pub fn token_key(name: &TokenName) -> Key {
    Key::of(format!("{KEY}{name}"))
}

/// The event by which a token is made. `head` is the version that its key has; 0 if there never was one of the name.
pub fn made(
    name: &TokenName,
    hash: SecretHash,
    rights: Rights,
    expires: Option<WallTime>,
    by: Option<String>,
    head: Version,
) -> SystemEvent {
    SystemEvent {
        key: token_key(name),
        event_type: EventType::of(MADE),
        expectation: Expectation::Version(head),
        data: Data::of(&Made { hash, rights, expires, by }),
    }
}

/// The event by which a token is revoked.
pub fn revoked(token: &Token, by: Option<String>) -> SystemEvent {
    SystemEvent {
        key: token_key(&token.name),
        event_type: EventType::of(REVOKED),
        expectation: Expectation::Version(token.version),
        data: Data::of(&Revoked { by }),
    }
}

/// All tokens, by name and by hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenBook {
    by_name: BTreeMap<TokenName, Arc<Token>>,
    by_hash: BTreeMap<SecretHash, TokenName>,
}

impl FromIterator<Token> for TokenBook {
    fn from_iter<I: IntoIterator<Item = Token>>(tokens: I) -> Self {
        let mut book = Self::default();
        for token in tokens {
            book.by_hash.insert(token.hash.clone(), token.name.clone());
            book.by_name.insert(token.name.clone(), Arc::new(token));
        }
        book
    }
}

impl TokenBook {
    /// The types of the events that it is made of.
    pub fn types() -> Vec<EventType> {
        vec![EventType::of(MADE), EventType::of(REVOKED)]
    }

    /// Takes an event of the log, in order; whose token it changed, if it is about one. An event that cannot be read
    /// changes a token to one that allows nothing.
    pub fn apply(&mut self, event: &Event) -> Option<TokenName> {
        let name = TokenName::new(event.key.as_str().strip_prefix(KEY)?).ok()?;
        if let Some(former) = self.by_name.get(&name) {
            self.by_hash.remove(&former.hash);
        }
        match (event.event_type.as_str(), event.data.to::<Made>()) {
            (MADE, Ok(Made { hash, rights, expires, .. })) => {
                self.by_hash.insert(hash.clone(), name.clone());
                let token = Token {
                    name: name.clone(),
                    hash,
                    rights,
                    expires,
                    made: event.time,
                    revoked: false,
                    version: event.version,
                };
                self.by_name.insert(name.clone(), Arc::new(token));
            }
            _ => {
                if let Some(token) = self.by_name.get_mut(&name).map(Arc::make_mut) {
                    token.revoked = true;
                    token.version = event.version;
                }
            }
        }
        Some(name)
    }

    /// The token of this hash, unless it was revoked. Whether it has expired is the caller's to see.
    pub fn find(&self, hash: &SecretHash) -> Option<&Arc<Token>> {
        self.by_name.get(self.by_hash.get(hash)?).filter(|token| !token.revoked)
    }

    /// The token of this name, revoked ones too.
    pub fn get(&self, name: &TokenName) -> Option<&Arc<Token>> {
        self.by_name.get(name)
    }

    /// All tokens by name, revoked ones too.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.by_name.values()
    }

    /// How many names there ever were.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there never was a token.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::Secret,
        names::{CorrelationId, EventId, Position, Source},
    };

    fn as_event(event: SystemEvent, version: u64) -> Event {
        Event {
            position: Position(version),
            id: EventId::of(format!("$bus/1/{version}")),
            event_type: event.event_type,
            key: event.key,
            version: Version(version),
            correlation: CorrelationId::of("c"),
            causation: None,
            time: WallTime(version),
            source: Source::of("$bus"),
            data: event.data,
        }
    }

    #[test]
    fn a_token_counts_from_its_making_to_its_revocation_and_may_be_made_again() {
        let (name, mut book) = (TokenName::of("teller"), TokenBook::default());
        let (one, other) = (Secret::of([1; 32]), Secret::of([2; 32]));
        let by = Some("ops".to_owned());
        let event = made(&name, one.hash(), Rights::all(), Some(WallTime(9)), by.clone(), Version::ZERO);
        assert_eq!(book.apply(&as_event(event, 1)), Some(name.clone()));
        let token = book.find(&one.hash()).expect("it was made").clone();
        assert_eq!((token.version, token.expires, token.revoked), (Version(1), Some(WallTime(9)), false));
        assert_eq!(book.find(&other.hash()), None);

        book.apply(&as_event(revoked(&token, by.clone()), 2));
        assert_eq!(book.find(&one.hash()), None);
        let token = book.get(&name).expect("its name is known").clone();
        assert!(token.revoked);

        book.apply(&as_event(made(&name, other.hash(), Rights::default(), None, by, token.version), 3));
        assert_eq!(book.find(&one.hash()), None, "the old secret stays void");
        assert!(book.find(&other.hash()).is_some());
        assert_eq!((book.len(), book.tokens().count()), (1, 1));
    }

    #[test]
    fn what_cannot_be_read_allows_nothing() {
        let (name, mut book, secret) = (TokenName::of("teller"), TokenBook::default(), Secret::of([1; 32]));
        book.apply(&as_event(made(&name, secret.hash(), Rights::all(), None, None, Version::ZERO), 1));
        let mut strange = as_event(made(&name, secret.hash(), Rights::all(), None, None, Version(1)), 2);
        strange.data = Data::of(&serde_json::json!({ "hash": "?", "rights": "all" }));
        book.apply(&strange);
        assert_eq!(book.find(&secret.hash()), None);
        let mut other = strange.clone();
        other.key = Key::of("$service/teller");
        assert_eq!(book.apply(&other), None, "other events of the bus are not about tokens");
    }

    #[test]
    fn what_stands_in_the_log_is_the_hash_and_never_the_secret() {
        let secret = Secret::of([0xA7; 32]);
        let event = made(&TokenName::of("t"), secret.hash(), Rights::all(), None, None, Version::ZERO);
        assert!(!event.data.as_str().contains("a7a7a7"), "{:?}", event.data);
        assert!(event.data.as_str().contains(&String::from(secret.hash())));
    }
}
