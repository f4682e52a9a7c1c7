//! Promise 16: nobody does what his token does not say, and whoever has none that counts is told so.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash as _, Hasher as _},
};

use dacapo_core::{
    EventId, NewEvent, NodeName, Receipt, Refusal, Timestamp,
    access::Rights,
    digest::StableHasher,
    trace::{Frame, Record, What},
    wire::{ErrorCode, FromBus, ToBus},
};

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "tokens_are_obeyed",
    sentence: "where tokens are demanded, a connection is welcomed, read to, and has events accepted only as the rights of \
               the token that it showed say, and whoever speaks without one that counts is told why he is let go",
    source: "ARCHITECTURE.md, promise 16",
};

/// Judges [`PROMISE`]. How patterns of names are matched is worked out here once more, so that a mistake there is seen.
#[derive(Debug, Clone, Default)]
pub struct TokensAreObeyed {
    checks: u64,
    /// What each connection of a bus has shown, since when.
    shown: BTreeMap<(NodeName, u64), (Rights, Moment)>,
    /// Publishes that must be refused, by connection and request.
    forbidden: BTreeMap<(NodeName, u64, u64), Moment>,
    /// Connections that have shown no token that counts.
    nobodies: BTreeSet<(NodeName, u64)>,
    /// Who has spoken without a token that counts, and was not told yet what that means.
    owed: BTreeMap<(NodeName, u64), Moment>,
    refused_for_token: u64,
    refused_by_rights: u64,
    /// Ids that came in nothing but forbidden messages.
    tainted: BTreeMap<EventId, Moment>,
    /// Ids that came in a message that was allowed.
    allowed: BTreeSet<EventId>,
}

impl Observer for TokensAreObeyed {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::SHOWED
            .and(Kinds::PUBLISH)
            .and(Kinds::COMPLETE)
            .and(Kinds::WELCOME)
            .and(Kinds::RECEIPTS)
            .and(Kinds::EVENTS)
            .and(Kinds::DELIVER)
            .and(Kinds::HEARD)
            .and(Kinds::SAID)
            .and(Kinds::COMMIT_DURABLE)
            .and(Kinds::DISCONNECTED)
            .and(Kinds::STARTED)
            .and(Kinds::STOPPED)
    }

    fn observe(&mut self, _known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::Showed { connection, token, rights } => {
                let key = (record.node.clone(), *connection);
                if token.is_some() {
                    self.owed.remove(&key);
                    self.nobodies.remove(&key);
                } else {
                    self.nobodies.insert(key.clone());
                }
                self.shown.insert(key, (rights.clone(), record.into()));
                Ok(())
            }
            What::Disconnected { connection } => {
                let key = (record.node.clone(), *connection);
                self.shown.remove(&key);
                self.nobodies.remove(&key);
                self.forbidden.retain(|(node, of, _), _| (node, of) != (&key.0, &key.1));
                let Some(spoke) = self.owed.remove(&key) else { return Ok(()) };
                let message =
                    format!("connection {connection} spoke without a token ({spoke}) and was let go without a word");
                PROMISE.broken(record, message, &[spoke])
            }
            What::Started { .. } | What::Stopped { .. } => {
                self.shown.retain(|(node, _), _| *node != record.node);
                self.owed.retain(|(node, _), _| *node != record.node);
                self.nobodies.retain(|(node, _)| *node != record.node);
                self.forbidden.retain(|(node, ..), _| *node != record.node);
                Ok(())
            }
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                self.heard(record, *connection, frame);
                Ok(())
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => self.said(record, *connection, frame),
            What::CommitDurable { commit } => {
                for event in &commit.events {
                    if let Some(moment) = self.tainted.get(&event.id) {
                        let message = format!(
                            "{} ({} on {}) entered the log, and came only from where the token does not allow it ({moment})",
                            event.id, event.event_type, event.key
                        );
                        return PROMISE.broken(record, message, &[*moment]);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        for (connection, (rights, _)) in &self.shown {
            (connection, rights).hash(to);
        }
        to.write_u64(self.tainted.len() as u64);
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![
            (sometimes::REFUSED_FOR_ITS_TOKEN, self.refused_for_token),
            (sometimes::REFUSED_BY_RIGHTS, self.refused_by_rights),
        ]
    }
}

impl TokensAreObeyed {
    fn heard(&mut self, record: &Record, connection: u64, frame: &ToBus) {
        if self.shown.is_empty() {
            return;
        }
        let key = (record.node.clone(), connection);
        if self.nobodies.contains(&key) {
            self.owed.entry(key.clone()).or_insert(record.into());
        }
        let Some((rights, _)) = self.shown.get(&key) else { return };
        let (events, request): (&[NewEvent], Option<u64>) = match frame {
            ToBus::Publish(publish) => (&publish.events, Some(publish.request)),
            ToBus::Complete(complete) => (&complete.events, None),
            _ => return,
        };
        let moment = Moment::from(record);
        if events.iter().all(|event| may_publish(rights, event)) {
            for event in events {
                self.tainted.remove(&event.id);
                self.allowed.insert(event.id.clone());
            }
            return;
        }
        if let Some(request) = request {
            self.forbidden.insert((record.node.clone(), connection, request), moment);
        }
        for event in events.iter().filter(|event| !self.allowed.contains(&event.id)) {
            self.tainted.entry(event.id.clone()).or_insert(moment);
        }
    }

    fn said(&mut self, record: &Record, connection: u64, frame: &FromBus) -> Verdict {
        if self.shown.is_empty() {
            return Ok(());
        }
        let key = (record.node.clone(), connection);
        let Some((rights, since)) = self.shown.get(&key) else { return Ok(()) };
        self.checks += u64::from(self.owed.remove(&key).is_some());
        let is_forbidden = |receipt: &Receipt| matches!(receipt, Receipt::Refused { reason: Refusal::Forbidden, .. });
        match frame {
            FromBus::Error(error) if error.code == ErrorCode::Unauthorized => self.refused_for_token += 1,
            FromBus::Error(error) if error.code == ErrorCode::Forbidden => self.refused_by_rights += 1,
            FromBus::Rejected(rejected) if rejected.reason == Refusal::Forbidden => self.refused_by_rights += 1,
            FromBus::Receipts(receipts) if receipts.receipts.iter().any(is_forbidden) => self.refused_by_rights += 1,
            _ => {}
        }
        let broken = match frame {
            FromBus::Welcome(_) | FromBus::Deliver(_) if rights.services.is_empty() => "was treated as an instance",
            FromBus::Events(_) if !rights.read && !rights.administer && rights.services.is_empty() => "was read to",
            FromBus::Receipts(receipts) => {
                let forbidden = self.forbidden.get(&(key.0.clone(), connection, receipts.request));
                let is_let_in =
                    |receipt: &Receipt| matches!(receipt, Receipt::Accepted { .. } | Receipt::Duplicate { .. });
                if forbidden.is_some() && receipts.receipts.iter().any(is_let_in) { "had events accepted" } else { "" }
            }
            FromBus::Welcome(_) | FromBus::Deliver(_) | FromBus::Events(_) => "",
            _ => return Ok(()),
        };
        self.checks += 1;
        if broken.is_empty() {
            return Ok(());
        }
        let message =
            format!("connection {connection} {broken}, though the token that it showed ({since}) allows: {rights}");
        PROMISE.broken(record, message, &[*since])
    }
}

fn may_publish(rights: &Rights, event: &NewEvent) -> bool {
    let fits = |pattern: &dyn ToString, name: &str| fits(&pattern.to_string(), name);
    rights
        .publish
        .iter()
        .any(|right| fits(&right.types, event.event_type.as_str()) && fits(&right.keys, event.key.as_str()))
}

/// Between its stars, the pieces of a pattern stand in the name one after the other; the first begins it, the last ends it.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = rest.split('*').collect();
    let Some((last, middle)) = pieces.split_last() else { return true };
    for piece in middle {
        let Some((_, behind)) = name.split_once(piece) else { return false };
        name = behind;
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use dacapo_core::{
        Position, TokenName,
        access::Glob,
        wire::{Publish, Receipts},
    };

    use super::*;
    use crate::testing::{Run, accepted, event, new_event};

    fn showed(rights: Rights) -> What {
        What::Showed { connection: 1, token: Some(TokenName::of("stranger")), rights }
    }

    fn publish(key: &str) -> What {
        let frame = ToBus::from(Publish { request: 7, events: vec![new_event("e", key)], guards: vec![] });
        What::FrameReceived { connection: 1, frame: frame.into() }
    }

    fn receipts() -> What {
        let frame = FromBus::from(Receipts { request: 7, receipts: vec![accepted(1, 1)] });
        What::FrameSent { connection: 1, frame: frame.into() }
    }

    fn rights() -> Rights {
        Rights { publish: vec!["Deb*@rumour-*".parse().expect("is a right")], ..Rights::default() }
    }

    #[test]
    fn what_the_token_allows_holds() {
        let mut run = Run::new();
        run.node("bus", showed(rights()));
        run.node("bus", publish("rumour-1"));
        run.commit_events([event("e", "rumour-1", 1, 1)]);
        run.node("bus", receipts());
        run.holds(TokensAreObeyed::default());
    }

    #[test]
    fn a_forbidden_event_in_the_log_is_seen() {
        let mut run = Run::new();
        run.node("bus", showed(rights()));
        run.node("bus", publish("acc-1"));
        run.commit_events([event("e", "acc-1", 1, 1)]);
        run.fails(TokensAreObeyed::default(), "entered the log, and came only from where the token does not allow it");
    }

    #[test]
    fn a_receipt_for_what_is_forbidden_is_seen() {
        let mut run = Run::new();
        run.node("bus", showed(rights()));
        run.node("bus", publish("acc-1"));
        run.node("bus", receipts());
        run.fails(TokensAreObeyed::default(), "had events accepted");
    }

    #[test]
    fn reading_to_who_may_not_read_is_seen() {
        let page =
            dacapo_core::wire::Events { request: 1, events: vec![], heads: vec![], position: Position(1), more: false };
        let sent = |rights| {
            let mut run = Run::new();
            run.node("bus", showed(rights));
            run.node("bus", What::FrameSent { connection: 1, frame: FromBus::from(page.clone()).into() });
            run
        };
        sent(rights()).fails(TokensAreObeyed::default(), "was read to");
        sent(Rights { services: vec![Glob::all()], ..Rights::default() }).holds(TokensAreObeyed::default());
    }

    #[test]
    fn whoever_speaks_without_a_token_is_told_so_before_he_is_let_go() {
        let run = |told: bool| {
            let mut run = Run::new();
            run.node("bus", What::Showed { connection: 1, token: None, rights: Rights::default() });
            run.node("bus", publish("rumour-1"));
            if told {
                let error = dacapo_core::access::Denied::NoToken.to_frame(None);
                run.node("bus", What::FrameSent { connection: 1, frame: FromBus::from(error).into() });
            }
            run.node("bus", What::Disconnected { connection: 1 });
            run
        };
        run(true).holds(TokensAreObeyed::default());
        run(false).fails(TokensAreObeyed::default(), "was let go without a word");
    }

    #[test]
    fn patterns_are_matched_as_the_bus_does() {
        for (pattern, name) in
            [("a*b*c", "abbc"), ("*", "x"), ("a", "a"), ("a*", "b"), ("*b", "ab"), ("a*a", "a"), ("ab*ba", "aba")]
        {
            assert_eq!(fits(pattern, name), Glob::of(pattern).matches(name), "{pattern} {name}");
        }
    }
}
