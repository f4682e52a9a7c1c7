//! Whose connection it is, and whether it may send a frame.

use std::sync::Arc;

use super::{Rights, SecretHash, Token, TokenBook};
use crate::{
    event::{NewEvent, Receipt, Refusal},
    names::TokenName,
    time::WallTime,
    trace::What,
    wire::{Error, ErrorCode, FromBus, Hello, Receipts, Rejected, ToBus},
};

/// Who speaks on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// Anyone: this bus demands no tokens.
    Anyone,
    /// Nobody yet: a token is demanded, and none was shown.
    Nobody,
    /// Whoever holds this token.
    Bearer(Arc<Token>),
}

/// Why something is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token was shown.
    #[error("this bus demands a token, and none was shown; send it as `Authorization: Bearer …`")]
    NoToken,
    /// The token that was shown is none of this bus, or was revoked.
    #[error("the token is unknown or was revoked; have an administrator make one with `dacapo token new`")]
    UnknownToken,
    /// It has expired.
    #[error("the token {name} has expired; have an administrator make another")]
    Expired {
        /// Its name.
        name: TokenName,
    },
    /// It does not allow this.
    #[error("the token {name} does not allow {what}; it allows: {rights}")]
    NotAllowed {
        /// Its name.
        name: TokenName,
        /// What was tried.
        what: String,
        /// What it allows.
        rights: String,
    },
}

impl Denied {
    /// Whether another token, or any, would have to be shown; else this one does not suffice.
    pub fn is_about_identity(&self) -> bool {
        !matches!(self, Self::NotAllowed { .. })
    }

    /// The error frame that says it.
    pub fn to_frame(&self, request: Option<u64>) -> Error {
        let (code, help) = if self.is_about_identity() {
            (ErrorCode::Unauthorized, "show a token that counts, at connecting or in the hello")
        } else {
            (ErrorCode::Forbidden, "use a token with that right, or have an administrator make one")
        };
        Error { code, message: self.to_string(), help: help.to_owned(), request }
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// The machine may hear it.
    Pass,
    /// The machine does not hear it; this is the answer.
    Answer(FromBus),
    /// The machine does not hear it; the connection ends with this error.
    End(Error),
}

impl Speaker {
    /// Who it is that shows a token of this hash, or none, to a bus that demands one.
    pub fn of(book: &TokenBook, shown: Option<&SecretHash>, now: WallTime) -> Result<Self, Denied> {
        let Some(hash) = shown else { return Ok(Self::Nobody) };
        let speaker = Self::Bearer(Arc::clone(book.find(hash).ok_or(Denied::UnknownToken)?));
        speaker.rights(now)?;
        Ok(speaker)
    }

    /// The name of the token, for records of who did something.
    pub fn name(&self) -> Option<&TokenName> {
        match self {
            Self::Bearer(token) => Some(&token.name),
            Self::Anyone | Self::Nobody => None,
        }
    }

    /// Whether its token still counts: it was neither revoked nor made anew since it was shown.
    pub fn is_current(&self, book: &TokenBook) -> bool {
        match self {
            Self::Bearer(shown) => {
                book.get(&shown.name).is_some_and(|token| !token.revoked && token.version == shown.version)
            }
            Self::Anyone | Self::Nobody => true,
        }
    }

    /// What it may do; none: everything. The wall clock decides whether a token has expired, since that is when its
    /// maker said so; a clock that jumps makes it count longer or shorter, as it would for a certificate.
    fn rights(&self, now: WallTime) -> Result<Option<(&TokenName, &Rights)>, Denied> {
        match self {
            Self::Anyone => Ok(None),
            Self::Nobody => Err(Denied::NoToken),
            Self::Bearer(token) if token.expires.is_some_and(|expires| expires <= now) => {
                Err(Denied::Expired { name: token.name.clone() })
            }
            Self::Bearer(token) => Ok(Some((&token.name, &token.rights))),
        }
    }

    fn demand(&self, now: WallTime, what: &str, allows: impl Fn(&Rights) -> bool) -> Result<(), Denied> {
        match self.rights(now)? {
            Some((name, rights)) if !allows(rights) => {
                Err(Denied::NotAllowed { name: name.clone(), what: what.to_owned(), rights: rights.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Whether it may read the log and what the bus tells of itself.
    pub fn may_read(&self, now: WallTime) -> Result<(), Denied> {
        self.demand(now, "reading", Rights::may_read)
    }

    /// Whether it may administer.
    pub fn may_administer(&self, now: WallTime) -> Result<(), Denied> {
        self.demand(now, "administering", |rights| rights.administer)
    }

    /// Whether it may publish these events.
    pub fn may_publish(&self, now: WallTime, events: &[NewEvent]) -> Result<(), Denied> {
        let Some((_, rights)) = self.rights(now)? else { return Ok(()) };
        match events.iter().find(|event| !rights.may_publish(&event.event_type, &event.key)) {
            Some(event) => self.demand(now, &format!("publishing {} on {}", event.event_type, event.key), |_| false),
            None => Ok(()),
        }
    }

    /// Judges a frame before the machine hears of it. Who shows a token in a hello speaks with it from here on.
    pub fn hear(&mut self, book: &TokenBook, frame: &ToBus, now: WallTime) -> Judgement {
        if let (ToBus::Hello(Hello { bearer: Some(shown), .. }), false) = (frame, *self == Self::Anyone) {
            match Self::of(book, Some(&shown.hash()), now) {
                Ok(speaker) => *self = speaker,
                Err(denied) => return Judgement::End(denied.to_frame(None)),
            }
        }
        self.judge(frame, now)
    }

    /// What the trace says of it; nothing where no token is demanded.
    pub fn recorded(&self, connection: u64) -> Option<What> {
        let (token, rights) = match self {
            Self::Anyone => return None,
            Self::Nobody => (None, Rights::default()),
            Self::Bearer(token) => (Some(token.name.clone()), token.rights.clone()),
        };
        Some(What::Showed { connection, token, rights })
    }

    /// Judges a frame by what the speaker's token allows.
    pub fn judge(&self, frame: &ToBus, now: WallTime) -> Judgement {
        if let Err(denied) = self.rights(now) {
            return Judgement::End(denied.to_frame(None));
        }
        match frame {
            ToBus::Hello(hello) => {
                let what = format!("being an instance of {}", hello.service);
                match self.demand(now, &what, |rights| rights.may_be(&hello.service)) {
                    Ok(()) => Judgement::Pass,
                    Err(denied) => Judgement::End(denied.to_frame(None)),
                }
            }
            ToBus::Publish(publish) => match self.may_publish(now, &publish.events) {
                Ok(()) => Judgement::Pass,
                Err(denied) => {
                    let receipt = Receipt::Refused { reason: Refusal::Forbidden, message: denied.to_string() };
                    let receipts = vec![receipt; publish.events.len().max(1)];
                    Judgement::Answer(Receipts { request: publish.request, receipts }.into())
                }
            },
            ToBus::Complete(complete) => match self.may_publish(now, &complete.events) {
                Ok(()) => Judgement::Pass,
                Err(denied) => Judgement::Answer(
                    Rejected {
                        position: complete.position,
                        token: complete.token,
                        reason: Refusal::Forbidden,
                        message: denied.to_string(),
                    }
                    .into(),
                ),
            },
            ToBus::Read(read) => self.judge_read(read.request, now),
            ToBus::Rebuild(rebuild) => self.judge_read(rebuild.request, now),
            // They are about the connection itself, or about deliveries, which only an instance has.
            ToBus::Ready(_) | ToBus::Nack(_) | ToBus::Extend(_) | ToBus::Credit(_) | ToBus::Ping(_) | ToBus::Bye(_) => {
                Judgement::Pass
            }
        }
    }

    fn judge_read(&self, request: u64, now: WallTime) -> Judgement {
        match self.may_read(now) {
            Ok(()) => Judgement::Pass,
            Err(denied) => Judgement::Answer(denied.to_frame(Some(request)).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{Glob, Secret},
        event::{Data, Expectation},
        names::{EventId, EventType, InstanceName, Key, ServiceName, Version},
        wire::{Ping, Publish, Read, ReadWhat, Start},
    };

    const NOW: WallTime = WallTime(100);

    fn bearer(rights: Rights) -> Speaker {
        Speaker::Bearer(Arc::new(Token {
            name: TokenName::of("teller"),
            hash: Secret::of([7; 32]).hash(),
            rights,
            expires: Some(WallTime(200)),
            made: WallTime(1),
            revoked: false,
            version: Version(1),
        }))
    }

    fn publish(event_type: &'static str, key: &'static str) -> ToBus {
        let event = NewEvent {
            id: EventId::of("e-1"),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            expectation: Expectation::Any,
            correlation: None,
            causation: None,
            source: None,
            data: Data::null(),
        };
        Publish { request: 7, events: vec![event], guards: Vec::new() }.into()
    }

    fn hello(service: &'static str) -> ToBus {
        Hello {
            service: ServiceName::of(service),
            instance: InstanceName::of("one"),
            incarnation: 1,
            types: Vec::new(),
            start: Start::Now,
            credit: 1,
            bearer: None,
        }
        .into()
    }

    fn read() -> ToBus {
        Read { request: 3, what: ReadWhat::Key { key: Key::of("k"), after: Version::ZERO, types: Vec::new() } }.into()
    }

    #[test]
    fn every_frame_is_judged_by_what_the_token_allows() {
        let teller =
            bearer(Rights { publish: vec!["Deposited@acc-*".parse().expect("is a right")], ..Rights::default() });
        assert_eq!(teller.judge(&publish("Deposited", "acc-1"), NOW), Judgement::Pass);
        let Judgement::Answer(FromBus::Receipts(receipts)) = teller.judge(&publish("Deposited", "user-1"), NOW) else {
            panic!("a forbidden publish is answered with receipts");
        };
        let [Receipt::Refused { reason: Refusal::Forbidden, message }] = &receipts.receipts[..] else {
            panic!("one receipt for its one event: {receipts:?}");
        };
        assert!(message.contains("teller does not allow publishing Deposited on user-1"), "{message}");
        assert!(
            matches!(teller.judge(&hello("accounts"), NOW), Judgement::End(error) if error.code == ErrorCode::Forbidden)
        );
        let Judgement::Answer(FromBus::Error(error)) = teller.judge(&read(), NOW) else { panic!("reads are answered") };
        assert_eq!((error.code, error.request), (ErrorCode::Forbidden, Some(3)));
        assert_eq!(teller.judge(&Ping { nonce: 1 }.into(), NOW), Judgement::Pass);
        assert!(teller.may_administer(NOW).is_err());

        let accounts = bearer(Rights { services: vec![Glob::new("accounts").expect("fits")], ..Rights::default() });
        assert_eq!(accounts.judge(&hello("accounts"), NOW), Judgement::Pass);
        assert_eq!(accounts.judge(&read(), NOW), Judgement::Pass);
        assert!(matches!(accounts.judge(&hello("users"), NOW), Judgement::End(_)));
    }

    #[test]
    fn nothing_is_heard_of_who_shows_no_token_or_one_that_has_expired() {
        for frame in [publish("T", "k"), hello("s"), read(), Ping { nonce: 1 }.into()] {
            assert_eq!(Speaker::Anyone.judge(&frame, NOW), Judgement::Pass);
            assert!(
                matches!(Speaker::Nobody.judge(&frame, NOW), Judgement::End(error) if error.code == ErrorCode::Unauthorized)
            );
            let expired = bearer(Rights::all()).judge(&frame, WallTime(200));
            assert!(matches!(expired, Judgement::End(error) if error.message.contains("has expired")));
        }
        assert_eq!(Speaker::of(&TokenBook::default(), None, NOW), Ok(Speaker::Nobody));
        let unknown = Secret::of([1; 32]).hash();
        assert_eq!(Speaker::of(&TokenBook::default(), Some(&unknown), NOW), Err(Denied::UnknownToken));
    }
}
