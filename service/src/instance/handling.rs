//! Handling deliveries: bring the event into its key's state, run the handler, complete, and take the bus's answer.

use dacapo_core::{
    Event, Key, NewEvent, Position, Timestamp, Version,
    marks::instance as marks,
    planted::Bug,
    trace::{How, What},
    wire::{Complete, Completed, Conflict, Deliver, Extend, Fenced, Nack, Produced, Rejected, Token},
};

use super::{
    Instance, Waiter, context::Ran, decision::Batch, deliveries::Delivery, ids, session::Session, states::Moment,
};
use crate::service::{HandlerFault, Interrupt, Service};

/// Completions under way, as a multiple of the credit, beyond which handlers wait: the bus takes a completion's credit
/// back when it gathers it, and answers only when it is durable.
const DECIDED_PER_CREDIT: usize = 4;

/// Deliveries that are not answered, as a multiple of the credit: those within it, and, after a pause, as many whose
/// deadline passed and which the bus has given to others without this instance knowing yet.
pub(super) const OPEN_PER_CREDIT: usize = 2;

/// A nack's reason is for people; more than this nobody reads.
const REASON_CHARS_MAX: usize = 512;

impl<S: Service> Instance<S> {
    pub(super) fn delivered(&mut self, deliver: Deliver) {
        let position = deliver.event.position;
        if self.deliveries.get(position).is_some_and(|open| open.token >= deliver.token) {
            return;
        }
        let Some(session) = self.line.session() else { return };
        let (credit, half) = (session.welcome.credit, session.delivery_deadline() / 2);
        let replaces = self.deliveries.get(position).is_some_and(|open| open.decided.is_none());
        if !replaces && self.deliveries.unanswered() >= OPEN_PER_CREDIT * credit as usize {
            // The bus does not keep to the credit; only a new session can put that right.
            return self.hang_up(false);
        }
        let key = deliver.event.key.clone();
        self.deliveries.insert(Delivery {
            token: deliver.token,
            previous: deliver.previous,
            event: deliver.event,
            came: Moment { input: self.input, at: self.now.monotonic },
            wake_at: self.now.monotonic + half,
            decided: None,
            of_former_session: false,
            heads: Vec::new(),
            needs: [key].into(),
        });
        self.runnable.push_back(Waiter::Delivery(position));
    }

    /// Handles a delivery if it is its turn and its ground is there; else something will wake it.
    pub(super) fn step_delivery(&mut self, position: Position) {
        let Some(open) = self.deliveries.get(position) else { return };
        if open.decided.is_some() || self.deliveries.first_of(&open.event.key) != Some(position) {
            return;
        }
        let Some(session) = self.line.session() else { return };
        if self.deliveries.decided() >= DECIDED_PER_CREDIT * (session.welcome.credit.max(1) as usize) {
            self.mark(marks::HANDLERS_WAITED);
            return self.deliveries.hold(position);
        }
        let (event, previous, token) = (open.event.clone(), open.previous, open.token);
        let heads = open.heads.clone();
        let waiter = Waiter::Delivery(position);
        if !self.bring_in(&event, previous, waiter) {
            return;
        }
        // A state that is not in memory is fetched when the handler asks for it.
        let behind = heads.iter().filter(|head| self.states.version(&head.key).is_some_and(|v| v < head.version));
        let behind: Vec<Key> = behind.map(|head| head.key.clone()).collect();
        if !behind.is_empty() {
            return behind.iter().for_each(|key| self.fetches.want(key, Some(waiter)));
        }
        self.handle(&event, token);
    }

    /// Whether the delivered event is in its key's state; if there is a gap before it, the key is fetched.
    fn bring_in(&mut self, event: &Event, previous: Version, waiter: Waiter) -> bool {
        let version = self.states.version(&event.key);
        if version.is_some_and(|version| version >= event.version) {
            self.states.touch(&event.key);
        } else if version.unwrap_or_default() >= previous {
            self.apply(event, How::Delivered);
        } else {
            if version.is_some() {
                self.mark(marks::GAP_SHOWN);
            }
            self.fetches.want(&event.key, Some(waiter));
            return false;
        }
        true
    }

    fn handle(&mut self, event: &Event, token: Token) {
        let position = event.position;
        self.record(What::HandlerBegun { service: self.name.clone(), position, token });
        let fault = self.config.handler_faults.as_ref().and_then(|faults| faults(event, token.attempt));
        let (result, ran) = match fault {
            Some(HandlerFault::Fail(reason)) => (Err(Interrupt::Failed(reason)), Ran::default()),
            None => self.run(|service, context| service.handle(event, context)),
        };
        let result = match ran.missing.clone() {
            Some(key) => Err(Interrupt::Missing(key)),
            None => result,
        };
        ran.reads.keys().for_each(|key| self.states.touch(key));
        let waiter = Waiter::Delivery(position);
        if let Some(open) = self.deliveries.get_mut(position) {
            open.needs.extend(ran.reads.keys().cloned());
        }
        let outcome = match result {
            Err(Interrupt::Missing(key)) => {
                if let Some(open) = self.deliveries.get_mut(position) {
                    open.needs.insert(key.clone());
                }
                self.fetches.want(&key, Some(waiter));
                "waits".to_owned()
            }
            _ if ran.viewed && !self.view_suffices(waiter, ran.at_least) => "waits".to_owned(),
            Err(Interrupt::Unread(key)) => {
                self.query(&key, waiter);
                "waits".to_owned()
            }
            Err(Interrupt::Behind) => {
                self.view_moves(waiter);
                "waits".to_owned()
            }
            Err(Interrupt::Failed(_)) if ran.unguarded && self.wants_fresher(event, &ran, waiter) => "waits".to_owned(),
            Err(Interrupt::Failed(reason)) => {
                self.nack(position, token, &reason);
                format!("failed: {reason}")
            }
            Ok(()) => {
                let ids = (0..).map(|ordinal| ids::produced(&self.name, &event.id, ordinal));
                match Batch::of(&ran, ids, self.config.planted).that_fits() {
                    Ok(Batch { events, guards }) => {
                        self.complete(Complete { position, token, events, guards });
                        "decided".to_owned()
                    }
                    Err(reason) => {
                        self.nack(position, token, &reason);
                        format!("failed: {reason}")
                    }
                }
            }
        };
        if outcome != "waits" {
            self.queries.forget(&ran.queried);
            // What was seen on ground that was not there yet is void.
            self.record_all(ran.records);
        }
        self.record(What::HandlerEnded { service: self.name.clone(), position, token, outcome });
    }

    /// Whether a handler without guards may have failed for want of what has happened since: then that is fetched. One with
    /// guards fails on what it read, and is told by the bus if that is old.
    fn wants_fresher(&mut self, event: &Event, ran: &Ran, waiter: Waiter) -> bool {
        let Some(came) = self.deliveries.get(event.position).map(|open| open.came) else { return false };
        let others = ran.reads.keys().filter(|key| **key != event.key);
        let stale: Vec<Key> = others.filter(|key| !self.is_fresh(key, came)).cloned().collect();
        for key in &stale {
            self.fetches.want(key, Some(waiter));
        }
        !stale.is_empty()
    }

    fn complete(&mut self, complete: Complete) {
        let ask_at = self.ask_at();
        self.deliveries.decide(complete.position, complete.clone(), ask_at);
        self.send(complete);
    }

    /// When to ask again what became of a completion: the bus would have taken the delivery back by then.
    fn ask_at(&self) -> Timestamp {
        let deadline = self.line.session().map(Session::delivery_deadline).unwrap_or_default();
        self.now.monotonic + deadline
    }

    fn nack(&mut self, position: Position, token: Token, reason: &str) {
        self.send(Nack { position, token, reason: reason.chars().take(REASON_CHARS_MAX).collect() });
        self.drop_delivery(position);
    }

    /// Ends a delivery that did not succeed, with what was delivered behind it.
    fn drop_delivery(&mut self, position: Position) {
        if let Some(ended) = self.deliveries.end(position) {
            self.deliveries.withdraw_behind(&ended);
            self.wake_lane(&ended.event.key);
        }
    }

    fn wake_lane(&mut self, key: &Key) {
        self.runnable.extend(self.deliveries.first_of(key).map(Waiter::Delivery));
        self.runnable.extend(self.deliveries.release_held());
    }

    /// On a new session: what became of the completions whose answer got lost?
    pub(super) fn ask_completions_again(&mut self) {
        let decided: Vec<Complete> = self.deliveries.iter().filter_map(|(_, open)| open.decided.clone()).collect();
        for complete in decided {
            self.complete(complete);
        }
    }

    pub(super) fn completed(&mut self, completed: &Completed) {
        let Some(ended) = self.deliveries.end(completed.position) else { return };
        if ended.of_former_session {
            self.mark(marks::COMPLETION_ASKED_AFTER_SESSION);
        }
        if ended.decided.is_some() {
            self.service.settled(completed.position);
        }
        if let Some(complete) = ended.decided.filter(|_| !completed.already) {
            self.adopt(&ended.event, complete.events, &completed.produced);
        }
        self.wake_lane(&ended.event.key);
    }

    /// What this instance decided is in the log: it goes into the states at once.
    fn adopt(&mut self, handled: &Event, sent: Vec<NewEvent>, produced: &[Produced]) {
        let as_sent = sent.len() == produced.len()
            && sent.iter().zip(produced).all(|(sent, produced)| sent.id == produced.id && sent.key == produced.key);
        if !as_sent {
            return;
        }
        for (sent, produced) in sent.into_iter().zip(produced) {
            self.apply_produced(&Event {
                position: produced.position,
                id: sent.id,
                event_type: sent.event_type,
                key: sent.key,
                version: produced.version,
                correlation: handled.correlation.clone(),
                causation: Some(handled.id.clone()),
                time: produced.time,
                source: self.name.clone().into(),
                data: sent.data,
                attributes: sent.attributes.caused_by(&handled.attributes),
            });
        }
    }

    /// An event of this instance's own, as the log has it. It goes into a state in memory if it is the next of its key;
    /// if something is between, hydration or deliveries bring both.
    pub(super) fn apply_produced(&mut self, event: &Event) {
        let Some(version) = self.states.version(&event.key) else { return };
        let taken = self.types.binary_search(&event.event_type).is_ok();
        if self.config.planted.is(Bug::DebitTwice) && taken {
            return self.service.apply(&event.key, &mut self.states.ensure(&event.key).state, event);
        }
        if version.next() != event.version {
            return;
        }
        if taken {
            self.apply(event, How::Produced);
        } else {
            self.states.advance(&event.key, event.version);
        }
    }

    /// An answer counts only for the delivery that it names, token and all.
    fn is_decided(&self, position: Position, token: Token) -> bool {
        self.deliveries.get(position).is_some_and(|open| open.token == token && open.decided.is_some())
    }

    pub(super) fn conflict(&mut self, conflict: Conflict) {
        if !self.is_decided(conflict.position, conflict.token) {
            return;
        }
        self.mark(marks::CONFLICT_HANDLED_AGAIN);
        let Some(Complete { position, token, events, guards }) =
            self.deliveries.reconsider(conflict.position, conflict.heads)
        else {
            return;
        };
        if self.config.planted.is(Bug::RetryWithAny) {
            let Batch { events, guards } = Batch { events, guards }.loosened();
            return self.complete(Complete { position, token, events, guards });
        }
        if let Some(half) = self.line.session().map(|session| session.delivery_deadline() / 2)
            && let Some(open) = self.deliveries.get_mut(conflict.position)
        {
            open.wake_at = self.now.monotonic + half;
        }
        self.runnable.push_back(Waiter::Delivery(conflict.position));
    }

    pub(super) fn fenced(&mut self, fenced: &Fenced) {
        if self.deliveries.get(fenced.position).is_some_and(|open| open.token == fenced.token) {
            self.mark(marks::FENCED_DROPPED);
            self.drop_delivery(fenced.position);
        }
    }

    pub(super) fn rejected(&mut self, rejected: &Rejected) {
        if self.is_decided(rejected.position, rejected.token) {
            self.nack(rejected.position, rejected.token, &rejected.message);
        }
    }

    /// Tells the bus of deliveries that take longer than half their deadline, and asks again for answers that are overdue.
    pub(super) fn tick_deliveries(&mut self) {
        let now = self.now.monotonic;
        let Some(half) = self.line.session().map(|session| session.delivery_deadline() / 2) else { return };
        let due: Vec<(Position, Token, Option<Complete>)> = self
            .deliveries
            .iter()
            .filter(|(_, open)| open.wake_at <= now)
            .map(|(position, open)| (*position, open.token, open.decided.clone()))
            .collect();
        for (position, token, decided) in due {
            if let Some(complete) = decided {
                self.mark(marks::COMPLETION_ASKED_AGAIN);
                self.complete(complete);
                continue;
            }
            if let Some(open) = self.deliveries.get_mut(position) {
                open.wake_at = now + half;
            }
            self.send(Extend { position, token });
        }
    }
}
