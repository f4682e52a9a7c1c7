//! Requests from outside: run a route, put what it emits into the log, answer once that is durable.
//!
//! A request that emits takes effect once per idempotency key, for ever: its batch carries one `RequestAnswered` event
//! with the answer, which must be the first event of a key that is derived from service, route, caller and idempotency
//! key. Of two batches for the same request, at the same instance or at two, the bus takes one; the other one is
//! `inconsistent` (or, if it is the very same, a `duplicate`), and its sender finds the answer on that key. So nothing
//! has to be remembered here, and an answer that got lost is read from the log.
//!
//! A refusal that rests on states is kept just the same, with guards on what it rests on: a copy of the request that
//! arrives late must not take effect after its sender was told "insufficient funds", and a repeated request must not be
//! told so because its first run, whose answer was on its way meanwhile, has spent them. What the handler says of the
//! request alone (a field is missing) it says again; what it says of itself (500 and above) may be asked again.
//!
//! An answer that is not kept rests on states that were compared with the bus after the request came.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    Event, EventType, Key, NewEvent, Position, Receipt, Timestamp,
    marks::instance as marks,
    planted::Bug,
    wire::{Events, Head, Publish, Read, ReadWhat},
};
use serde::{Deserialize, Serialize};

use super::{
    Instance, Output, Purpose, Waiter,
    context::{Emitted, Ran},
    decision::Batch,
    ids::Asker,
    states::Moment,
};
use crate::service::{Inconsistent, Interrupt, Method, Request, Response, Service};

/// Look-ups asked of the bus at once; further ones wait their turn here. With the reads of states they stay below what
/// a bus lets one connection ask by default.
const LOOK_UPS_OPEN_MAX: usize = 64;

/// The type of the event that keeps a request's answer.
pub const REQUEST_ANSWERED: &str = "RequestAnswered";

/// What a `RequestAnswered` event says.
#[derive(Debug, Serialize, Deserialize)]
struct RequestAnswered {
    /// Of the request's content: another content under the same key is told apart.
    hash: String,
    status: u16,
    body: String,
}

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Hash)]
enum Phase {
    /// The log is asked whether it was answered before.
    LookUp { asked: bool },
    /// The route runs, or waits for states or the view.
    Run,
    /// Its batch is to be sent, or sent and not answered.
    Publish { batch: Batch, response: Response, sent: bool },
}

#[derive(Debug, Clone)]
struct Open {
    request: Request,
    asker: Option<Asker>,
    came: Moment,
    deadline: Timestamp,
    phase: Phase,
    /// The events that were inconsistent, if the service hears of them, and what the route has answered.
    refused: Option<(Vec<NewEvent>, Response)>,
    /// How far the states must be before the route runs again.
    heads: Vec<Head>,
    /// The states that its last run read or lacked.
    needs: BTreeSet<Key>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    open: BTreeMap<u64, Open>,
    /// The bus said `throttled`: nothing is published until `resume`.
    throttled: bool,
    /// Look-ups that are asked.
    look_ups: usize,
    /// Requests whose look-up waits for its turn.
    queue: BTreeSet<u64>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.open.contains_key(&id)
    }

    fn end(&mut self, id: u64) {
        self.open.remove(&id);
        self.queue.remove(&id);
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.look_ups <= LOOK_UPS_OPEN_MAX, "{} look-ups are open", self.look_ups);
        assert!(self.queue.iter().all(|id| self.open.contains_key(id)), "a request that has ended waits its turn");
        assert!(
            self.queue.is_empty() || self.look_ups > 0,
            "look-ups wait, and none is open whose end would wake them"
        );
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        self.open.values().map(|open| open.deadline).min()
    }

    pub(super) fn needs(&self) -> impl Iterator<Item = &Key> {
        self.open.values().flat_map(|open| &open.needs)
    }

    /// What is open, for a digest: numbers and absolute times are left out.
    pub(super) fn content(&self) -> Vec<impl std::hash::Hash + '_> {
        self.open.values().map(|open| (&open.request, &open.phase)).collect()
    }
}

impl<S: Service> Instance<S> {
    pub(super) fn requested(&mut self, id: u64, request: Request) {
        assert!(!self.requests.contains(id), "request {id} came twice");
        if self.requests.len() >= self.config.requests_max {
            return self.respond(id, Response::error(503, "too many requests are open; repeat the request later"));
        }
        let asker = Asker::of(&self.name, &request);
        // A GET has no effect to look up.
        let phase = match asker {
            Some(_) if request.method != Method::Get => Phase::LookUp { asked: false },
            _ => Phase::Run,
        };
        let came = Moment { input: self.input, at: self.now.monotonic };
        let deadline = self.now.monotonic + self.config.request_deadline;
        let (heads, needs) = (Vec::new(), BTreeSet::new());
        self.requests.open.insert(id, Open { request, asker, came, deadline, phase, refused: None, heads, needs });
        self.runnable.push_back(Waiter::Request(id));
    }

    pub(super) fn request_gone(&mut self, id: u64) {
        self.requests.end(id);
    }

    fn respond(&mut self, id: u64, response: Response) {
        self.requests.end(id);
        self.outputs.push_back(Output::Respond { id, response });
    }

    pub(super) fn answer_error(&mut self, id: u64, status: u16, sentence: &str) {
        if self.requests.contains(id) {
            self.respond(id, Response::error(status, sentence));
        }
    }

    pub(super) fn refuse_requests(&mut self, sentence: &str) {
        let ids: Vec<u64> = self.requests.open.keys().copied().collect();
        for id in ids {
            self.answer_error(id, 503, sentence);
        }
    }

    /// Does what can be done for a request now; else something will wake it.
    pub(super) fn step_request(&mut self, id: u64) {
        let up = self.line.is_up();
        let Some(open) = self.requests.open.get_mut(&id) else { return };
        match (&mut open.phase, &open.asker) {
            (Phase::LookUp { asked: false }, _) if self.requests.look_ups >= LOOK_UPS_OPEN_MAX => {
                self.requests.queue.insert(id);
            }
            (Phase::LookUp { asked }, Some(asker)) if up && !*asked => {
                *asked = true;
                self.requests.look_ups += 1;
                let key = asker.key.clone();
                let request = self.questions.ask(Purpose::Answer(id), self.now.monotonic);
                self.send(Read {
                    request,
                    what: ReadWhat::Key { key, after: dacapo_core::Version::ZERO, types: Vec::new() },
                });
            }
            (Phase::Publish { batch, sent, .. }, _) if up && !*sent && !self.requests.throttled => {
                *sent = true;
                let Batch { events, guards } = batch.clone();
                let request = self.questions.ask(Purpose::Publish(id), self.now.monotonic);
                self.send(Publish { request, events, guards });
            }
            (Phase::Run, _) => self.run_route(id),
            // It waits for an answer, for a session, or for `resume`.
            (Phase::LookUp { .. } | Phase::Publish { .. }, _) => {}
        }
    }

    fn run_route(&mut self, id: u64) {
        let Some(open) = self.requests.open.get(&id) else { return };
        let (request, came, heads) = (open.request.clone(), open.came, open.heads.clone());
        let behind = heads.iter().filter(|head| self.states.version(&head.key).is_some_and(|v| v < head.version));
        let behind: Vec<Key> = behind.map(|head| head.key.clone()).collect();
        if !behind.is_empty() {
            return behind.iter().for_each(|key| self.want(key, id));
        }
        let refused = self.requests.open.get(&id).and_then(|open| open.refused.clone());
        let hears = refused.is_some();
        let (result, mut ran) = self.run(|service, context| match refused {
            Some((events, response)) => {
                let inconsistent = Inconsistent { request: &request, events: &events };
                service.inconsistent(&inconsistent, context).map(|()| response)
            }
            None => service.request(&request, context),
        });
        ran.reads.keys().for_each(|key| self.states.touch(key));
        if let Some(open) = self.requests.open.get_mut(&id) {
            open.needs = ran.reads.keys().cloned().collect();
        }
        let response = match (ran.missing.clone(), result) {
            (Some(key), _) | (None, Err(Interrupt::Missing(key))) => return self.want(&key, id),
            (None, Err(Interrupt::Unread(key))) => return self.query(&key, Waiter::Request(id)),
            (None, Err(Interrupt::Behind)) => return self.view_moves(Waiter::Request(id)),
            (None, Err(Interrupt::Failed(reason))) => Response::error(500, &reason),
            (None, Ok(response)) => response,
        };
        self.queries.forget(&ran.queried);
        let at_least = ran.at_least.max(request.at_least.unwrap_or_default());
        if ran.viewed && !self.view_suffices(Waiter::Request(id), at_least) {
            return;
        }
        let records = std::mem::take(&mut ran.records);
        if response.status < 400 && !ran.emitted.is_empty() {
            self.record_all(records);
            return self.publish(id, ran, response);
        }
        // What was answered of events that were refused stands, even if nothing came in their place.
        if response.status < 500 && (hears || !ran.reads.is_empty()) && self.may_have_an_effect(id) {
            self.record_all(records);
            return self.publish(id, Ran { emitted: Vec::new(), unguarded: false, ..ran }, response);
        }
        let stale: Vec<Key> = ran.reads.into_keys().filter(|key| !self.is_fresh(key, came)).collect();
        if stale.is_empty() {
            self.record_all(records);
            self.respond(id, Response { position: None, ..response });
        }
        for key in stale {
            self.want(&key, id);
        }
    }

    fn may_have_an_effect(&self, id: u64) -> bool {
        self.requests.open.get(&id).is_some_and(|open| open.asker.is_some() && open.request.method != Method::Get)
    }

    fn want(&mut self, key: &Key, id: u64) {
        if let Some(open) = self.requests.open.get_mut(&id) {
            open.needs.insert(key.clone());
        }
        self.fetches.want(key, Some(Waiter::Request(id)));
    }

    /// Whether a state was compared with the bus recently enough for a request that came then.
    pub(super) fn is_fresh(&self, key: &Key, came: Moment) -> bool {
        let window = self.config.state_fresh_for;
        self.states.get(key).and_then(|entry| entry.compared).is_some_and(|compared| {
            compared.input >= came.input || (!window.is_zero() && compared.at + window >= came.at)
        })
    }

    fn publish(&mut self, id: u64, mut ran: Ran, response: Response) {
        let Some(asker) = self.requests.open.get(&id).and_then(|open| open.asker.clone()) else {
            let sentence = "this request changes something, so it needs an Idempotency-Key header: any text that you do \
                            not use for another request; repeat the request with the same one if its outcome is unknown";
            return self.respond(id, Response::error(400, sentence));
        };
        let answered =
            RequestAnswered { hash: asker.hash.clone(), status: response.status, body: response.body.clone() };
        ran.emitted.push(Emitted {
            event_type: EventType::of(REQUEST_ANSWERED),
            key: asker.key.clone(),
            data: dacapo_core::Data::of(&answered),
            first: true,
            as_said: None,
        });
        let ids = asker.batch(&self.name, &ran.emitted, &response, ran.emitted.len());
        let mut batch = match Batch::of(&ran, ids, self.config.planted).that_fits() {
            Ok(batch) => batch,
            Err(sentence) => return self.respond(id, Response::error(500, &sentence)),
        };
        for event in &mut batch.events {
            event.correlation.get_or_insert_with(|| asker.correlation.clone());
        }
        self.set_phase(id, Phase::Publish { batch, response, sent: false });
    }

    fn set_phase(&mut self, id: u64, phase: Phase) {
        if let Some(open) = self.requests.open.get_mut(&id) {
            open.phase = phase;
            self.runnable.push_back(Waiter::Request(id));
        }
    }

    /// What stands on a request's key: its answer, if it was answered before.
    pub(super) fn looked_up(&mut self, id: u64, page: &Events) {
        self.requests.look_ups -= 1;
        self.runnable.extend(self.requests.queue.pop_first().map(Waiter::Request));
        let Some(open) = self.requests.open.get(&id) else { return };
        let (Some(asker), Phase::LookUp { .. }) = (&open.asker, &open.phase) else { return };
        let Some(event) = page.events.first() else { return self.set_phase(id, Phase::Run) };
        let response = match event.data.to::<RequestAnswered>() {
            Ok(answered) if event.event_type.as_str() == REQUEST_ANSWERED && answered.hash == asker.hash => {
                self.mark(marks::REQUEST_FROM_LOG);
                Response { status: answered.status, body: answered.body, position: Some(event.position) }
            }
            Ok(_) if event.event_type.as_str() == REQUEST_ANSWERED => Response::error(
                422,
                "this Idempotency-Key was used with another request; use a new one for each different request",
            ),
            _ => Response::error(500, "a foreign event stands where the answer belongs; use another Idempotency-Key"),
        };
        self.respond(id, response);
    }

    pub(super) fn receipts(&mut self, id: u64, receipts: &[Receipt]) {
        let Some(open) = self.requests.open.get_mut(&id) else { return };
        let Phase::Publish { batch, response, sent } = &mut open.phase else { return };
        match receipts.first() {
            Some(Receipt::Accepted { .. } | Receipt::Duplicate { .. }) => {
                let (events, response) = (batch.events.clone(), response.clone());
                let position = self.adopt_receipts(events, receipts);
                self.respond(id, Response { position, ..response });
            }
            Some(Receipt::Inconsistent { .. }) if self.config.planted.is(Bug::RetryWithAny) => {
                *batch = batch.clone().loosened();
                *sent = false;
                self.runnable.push_back(Waiter::Request(id));
            }
            Some(Receipt::Inconsistent { key, head, .. }) => {
                let hears = |event: &NewEvent| self.service.hears_of(&event.event_type);
                if batch.events.iter().any(hears) {
                    // The last one is the answer's.
                    let events = batch.events[..batch.events.len().saturating_sub(1)].to_vec();
                    open.refused = Some((events, response.clone()));
                }
                open.heads = vec![Head { key: key.clone(), version: *head }];
                open.phase = Phase::LookUp { asked: false };
                self.runnable.push_back(Waiter::Request(id));
                self.mark(marks::REQUEST_RUN_AGAIN);
            }
            Some(Receipt::Throttled) => {
                *sent = false;
                self.requests.throttled = true;
                self.mark(marks::REQUEST_THROTTLED);
            }
            Some(Receipt::Refused { message, .. }) => {
                let sentence = format!("the bus refused the events: {message}");
                self.respond(id, Response::error(500, &sentence));
            }
            None => self.respond(id, Response::error(500, "the bus gave no receipt; repeat the request")),
        }
    }

    /// The batch is in the log: it goes into the states at once. Returns where it ends.
    fn adopt_receipts(&mut self, sent: Vec<NewEvent>, receipts: &[Receipt]) -> Option<Position> {
        let mut last = None;
        for (sent, receipt) in sent.into_iter().zip(receipts) {
            let (Receipt::Accepted { position, version, time } | Receipt::Duplicate { position, version, time }) =
                receipt
            else {
                continue;
            };
            last = last.max(Some(*position));
            let Some(correlation) = sent.correlation else { continue };
            self.apply_produced(&Event {
                position: *position,
                id: sent.id,
                event_type: sent.event_type,
                key: sent.key,
                version: *version,
                correlation,
                causation: None,
                time: *time,
                source: self.name.clone().into(),
                data: sent.data,
                attributes: sent.attributes,
            });
        }
        last
    }

    pub(super) fn resumed(&mut self) {
        self.requests.throttled = false;
        self.resume_requests();
    }

    /// Everything that waits to be sent may be sent now, in the order in which it came.
    pub(super) fn resume_requests(&mut self) {
        self.runnable.extend(self.requests.open.keys().copied().map(Waiter::Request));
    }

    pub(super) fn lose_requests_session(&mut self) {
        self.requests.throttled = false;
        self.requests.look_ups = 0;
        self.requests.queue.clear();
        for open in self.requests.open.values_mut() {
            match &mut open.phase {
                Phase::LookUp { asked } => *asked = false,
                Phase::Publish { sent, .. } => *sent = false,
                Phase::Run => {}
            }
        }
    }

    pub(super) fn tick_requests(&mut self) {
        let now = self.now.monotonic;
        let late = self.requests.open.iter().filter(|(_, open)| open.deadline <= now);
        let late: Vec<(u64, bool)> =
            late.map(|(id, open)| (*id, matches!(open.phase, Phase::Publish { .. }))).collect();
        for (id, published) in late {
            let sentence = if published {
                "the bus did not answer in time: the outcome is unknown; repeat the request with the same Idempotency-Key"
            } else {
                "the bus did not answer in time; repeat the request"
            };
            self.answer_error(id, 503, sentence);
        }
    }
}
