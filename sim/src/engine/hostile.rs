//! What a stranger says who means the bus no good, as frames that both engines can carry.
//!
//! Where the bus demands tokens he shows none, an unknown one, one that was revoked, or his own, which allows next to
//! nothing; then he tries what it does not say. Where it demands none everyone may do everything, so that he keeps to what
//! nobody is allowed: answers to deliveries that are not his, frames out of turn, floods, and questions whose answers he
//! does not read. What all this may lead to is for the properties to say, which must not notice that he is there.

use dacapo_core::{
    EventId, EventType, Expectation, InstanceName, Key, NewEvent, Position, ServiceName, Source, Term,
    access::Secret,
    event::Data,
    wire::{
        Bye, Complete, Credit, Extend, Hello, Nack, Ping, Publish, Read, ReadWhat, Ready, Rebuild, Start, ToBus, Token,
    },
};

use super::setup;

/// How many frames a flood has.
const FLOOD: u64 = 60;
/// How often he asks for the whole log whose answer he does not read.
const UNREAD: u64 = 24;

/// What he shows when he comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Nothing,
    /// His own token.
    Own,
    /// One that nobody made.
    Unknown,
    /// One that counts no more.
    Revoked,
}

impl Shows {
    pub(crate) fn secret(self) -> Option<Secret> {
        match self {
            Self::Nothing => None,
            Self::Own => Some(setup::secret(setup::STRANGER)),
            Self::Unknown => Some(setup::secret("nobody")),
            Self::Revoked => Some(setup::secret(setup::REVOKED)),
        }
    }

    /// Whether a bus that demands tokens lets nobody in who shows this.
    pub(crate) fn is_refused_at_the_door(self) -> bool {
        matches!(self, Self::Unknown | Self::Revoked)
    }
}

/// One connection of his.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) shows: Shows,
    /// In this order, at once; nothing: he only holds the connection.
    pub(crate) says: Vec<ToBus>,
    /// He reads what he is told.
    pub(crate) reads: bool,
}

impl Visit {
    /// Of this number in his life, drawn from a number.
    pub(crate) fn of(drawn: u64, number: u64, guarded: bool) -> Self {
        // Now and then what his token allows, so that the others are seen to be told from it.
        if number % 4 == 1 {
            let says = vec![publish(drawn, number, "Rumour", "rumour-1")];
            return Self { shows: Shows::Own, says, reads: true };
        }
        let shows = match (guarded, (drawn >> 8) % 6) {
            (false, _) | (true, 0 | 1) => Shows::Nothing,
            (true, 2) => Shows::Unknown,
            (true, 3) => Shows::Revoked,
            (true, _) => Shows::Own,
        };
        let kinds = if guarded { 10 } else { 6 };
        let says = match drawn % kinds {
            0 => Vec::new(),
            1 => forged(drawn, number),
            2 => out_of_turn(number),
            3 => (0..FLOOD).map(|nonce| Ping { nonce }.into()).collect(),
            4 => (0..UNREAD).map(rebuild).collect(),
            5 => (0..UNREAD).map(|request| read(request, "heirloom-1")).collect(),
            6 => vec![hello()],
            7 => vec![publish(drawn, number, "Rumour", "acc-1")],
            8 => vec![publish(drawn, number, "ConfirmedCredit", "rumour-1")],
            _ => (0..FLOOD).map(|n| publish(drawn ^ n, number, "ConfirmedCredit", "acc-alice-1")).collect(),
        };
        Self { shows, says, reads: !matches!(drawn % kinds, 4 | 5) }
    }
}

/// Another's name, under which he would be given deliveries.
fn hello() -> ToBus {
    Hello {
        service: ServiceName::of("accounts"),
        instance: InstanceName::of("accounts-0"),
        incarnation: 1,
        types: Vec::new(),
        start: Start::Beginning,
        credit: 8,
        bearer: None,
    }
    .into()
}

/// Answers to a delivery that he never had, whose token he guesses.
fn forged(drawn: u64, number: u64) -> Vec<ToBus> {
    let position = Position(1 + (drawn >> 16) % 60);
    let token = Token {
        term: Term(1 + (drawn >> 24) % 3),
        session: 1 + (drawn >> 32) % 12,
        epoch: 1 + (drawn >> 40) % 2,
        attempt: 1,
    };
    let events = vec![event(drawn, number, "Rumour", "rumour-2")];
    vec![
        Complete { position, token, events, guards: Vec::new() }.into(),
        Complete { position, token, events: Vec::new(), guards: Vec::new() }.into(),
        Nack { position, token, reason: "because".to_owned() }.into(),
        Extend { position, token }.into(),
    ]
}

/// What only an instance says, before and after a `bye`.
fn out_of_turn(number: u64) -> Vec<ToBus> {
    let credit = Credit { request: Some(number), credit: u32::MAX };
    vec![
        Ready {}.into(),
        credit.into(),
        Credit { request: None, credit: 5 }.into(),
        Bye {}.into(),
        read(number, "rumour-1"),
        Ready {}.into(),
    ]
}

fn rebuild(request: u64) -> ToBus {
    Rebuild { request, after: Position::ZERO, types: Vec::new(), follow: true, credit: 64 }.into()
}

fn read(request: u64, key: &str) -> ToBus {
    let what = if request.is_multiple_of(2) {
        ReadWhat::Keys { after: None }
    } else {
        ReadWhat::Key { key: Key::of(key), after: dacapo_core::Version::ZERO, types: Vec::new() }
    };
    Read { request, what }.into()
}

fn publish(drawn: u64, number: u64, event_type: &str, key: &str) -> ToBus {
    let events = vec![event(drawn, number, event_type, key)];
    Publish { request: number, events, guards: Vec::new() }.into()
}

fn event(drawn: u64, number: u64, event_type: &str, key: &str) -> NewEvent {
    NewEvent {
        id: EventId::of(format!("{key}-{number}-{drawn:x}")),
        event_type: EventType::of(event_type),
        key: Key::of(key),
        expectation: Expectation::Any,
        correlation: None,
        causation: None,
        source: Some(Source::of("stranger")),
        data: Data::null(),
        attributes: dacapo_core::Attributes::default(),
    }
}
