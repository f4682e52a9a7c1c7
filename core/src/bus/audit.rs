//! The audit trail: what administrators did, and who they were, as events of the bus's own.
//!
//! Acts of the machine (retry, skip, other types) write their event themselves. What is done outside of it (a token made, a
//! backup taken) is told to it as a [`SystemEvent`], and becomes an event in turn with what publishers send.

use super::{
    AdminAnswer, Bus, ConnId,
    admin::error,
    batch::{Facts, Origin, Outcome},
    judge::Message,
};
use crate::{
    event::NewEvent,
    names::{Source, TokenName},
    store::SystemEvent,
    wire::{ErrorCode, Publish},
};

impl Bus {
    /// Tells of an act outside of the machine. It is judged in turn with what publishers send, since it demands a head.
    pub(super) fn audit(&mut self, conn: ConnId, event: SystemEvent) {
        let SystemEvent { key, event_type, expectation, data } = event;
        debug_assert!(key.is_reserved() && event_type.is_reserved(), "{event_type} on {key} is the bus's own");
        let event = NewEvent {
            id: self.system_event_id(),
            event_type,
            key,
            expectation,
            correlation: None,
            causation: None,
            source: Some(Source::of("$bus")),
            data,
        };
        let bytes = event.data.as_str().len();
        let publish = Publish { request: 0, events: vec![event], guards: Vec::new() };
        self.wait_for_judgement(conn, Message::Audit { publish }, bytes);
    }

    pub(super) fn judge_audit(&mut self, conn: ConnId, publish: &Publish, facts: &Facts) {
        let origin = Origin { service: None, cause: None, is_bus: true };
        let answer = match self.admit_batch(&publish.events, &publish.guards, facts, &origin) {
            Outcome::Accepted(produced) | Outcome::Known(produced) => match produced.first() {
                Some(event) => AdminAnswer::Done(event.position),
                None => unreachable!("a batch of one is accepted as one"),
            },
            Outcome::Stale { key, .. } => {
                let message = format!("{key} has changed meanwhile");
                error(ErrorCode::OutOfTurn, message, "look at it again, and then decide")
            }
            Outcome::Refused(_, message) => error(ErrorCode::LimitReached, message, "use another name"),
        };
        self.answer(conn, answer);
    }
}

/// Where tokens are demanded, whose it was.
pub(super) fn say_who(data: &mut serde_json::Value, by: Option<&TokenName>) {
    if let Some(by) = by {
        data["by"] = by.as_str().into();
    }
}
