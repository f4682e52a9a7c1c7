//! Batches on their way, and their receipts.
//!
//! A receipt is judged against the log as it was at some moment between the batch's arrival and the receipt: the
//! model does not know when the bus decided, but a true answer was true at one of them.

use dacapo_core::{
    Event, Guard, NewEvent, Position, Receipt, Refusal,
    bus::ConnId,
    store::Commit,
    wire::{Error, Publish, Receipts},
};

use super::{Broken, Judged, Log, Mark, Model, Speaker, judge, judge::Allowed, must};

/// A batch that arrived in this life of the bus.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Publishing {
    pub(super) conn: ConnId,
    pub(super) request: u64,
    speaker: Speaker,
    events: Vec<NewEvent>,
    guards: Vec<Guard>,
    /// Counts arrivals.
    arrival: u64,
    /// The end of the log when it arrived.
    since: Position,
    /// It surely came after `throttled` and before `resume`.
    turned_away: bool,
    /// It perhaps did.
    after_throttled: bool,
    /// Where its first event stands, once a commit holds it.
    matched: Option<Position>,
    /// It was told that it was accepted here.
    accepted: Option<Position>,
    pub(super) answered: bool,
}

impl Publishing {
    fn fits(&self, log: &Log, position: Position) -> bool {
        self.events.iter().enumerate().all(|(index, event)| {
            let logged = log.event(Position(position.0 + index as u64));
            logged.is_some_and(|logged| self.speaker.same(log, &self.events, event, logged))
        })
    }

    fn is_ordered_with(&self, other: &Self) -> bool {
        let shares_key = |event: &NewEvent| other.events.iter().any(|theirs| theirs.key == event.key);
        self.conn == other.conn || self.events.iter().any(shares_key)
    }
}

impl Model {
    pub(super) fn publish(&mut self, conn: ConnId, publish: &Publish) {
        let Some(connection) = self.connections.get(&conn) else { return };
        let speaker = match &connection.hello {
            Some(hello) => Speaker::Service(hello.service.clone()),
            None => Speaker::Publisher,
        };
        let unanswered = |other: &&Publishing| !other.answered && other.events == publish.events;
        if self.publishes.iter().any(|other| unanswered(&other)) {
            self.marks.reach(Mark::DuplicateUnderWay);
        }
        self.publishes.push(Publishing {
            conn,
            request: publish.request,
            speaker,
            events: publish.events.clone(),
            guards: publish.guards.clone(),
            arrival: self.arrivals,
            since: self.log.position(),
            // While a commit is under way, a `resume` may be held behind it.
            turned_away: connection.throttled && self.under_way.is_none(),
            after_throttled: connection.throttled,
            matched: None,
            accepted: None,
            answered: false,
        });
    }

    /// Every event of a commit belongs to a batch that somebody sent, to a completion, or to the bus.
    pub(super) fn batches_justified(&mut self, commit: &Commit, after: &Log) -> Judged {
        let produced: Vec<Position> =
            commit.completions.iter().flat_map(|completion| completion.produced.iter().copied()).collect();
        let (mut index, mut batches, mut largest) = (0, 0, 0);
        while let Some(event) = commit.events.get(index) {
            if produced.contains(&event.position) {
                index += 1;
            } else if event.key.is_reserved() {
                system_event_is_whole(event)?;
                index += 1;
            } else {
                let events = self.batch_justified(event, after)?;
                index += events;
                batches += 1;
                largest = largest.max(events);
            }
        }
        let largest = commit.completions.iter().map(|completion| completion.produced.len()).max().max(Some(largest));
        let of_users = commit.events.iter().filter(|event| !event.key.is_reserved()).count();
        // The batch that fills a commit may overfill it: it is whole or not at all.
        let limit = self.limits.commit_events_max + largest.unwrap_or_default();
        must!(of_users <= limit, "bounded", "{of_users} events are in one commit");
        if batches > 1 {
            self.marks.reach(Mark::GroupCommit);
        }
        Ok(())
    }

    fn batch_justified(&mut self, first: &Event, after: &Log) -> Result<usize, Broken> {
        let before = Position(first.position.0 - 1);
        let fitting = self.publishes.iter_mut().rev().filter(|publish| {
            !publish.answered
                && publish.matched.is_none()
                && publish.events.first().is_some_and(|event| event.id == first.id)
                && publish.fits(after, first.position)
                && judge(after, before, &publish.speaker, &publish.events, &publish.guards).accepted
        });
        // A shorter batch that begins with the same event may wait as well; of equal ones the first came first.
        let Some(publish) = fitting.max_by_key(|publish| publish.events.len()) else {
            let what = format!("{first:?} is committed, and no batch that waits begins with it and holds there");
            return Err(Broken { rule: "expectations_hold", what });
        };
        publish.matched = Some(first.position);
        Ok(publish.events.len())
    }

    pub(super) fn receipts(&mut self, conn: ConnId, receipts: &Receipts) -> Judged {
        let waits =
            |publish: &Publishing| publish.conn == conn && publish.request == receipts.request && !publish.answered;
        let Some(index) = self.publishes.iter().position(waits) else {
            return Err(Broken { rule: "answers", what: format!("{conn:?} did not ask for {receipts:?}") });
        };
        self.publishes[index].answered = true;
        let publish = &self.publishes[index];
        let count = publish.events.len().max(receipts.receipts.len().min(1));
        must!(receipts.receipts.len() == count, "answers", "{receipts:?} answers {publish:?}");
        if publish.turned_away {
            let throttled = receipts.receipts.iter().all(|receipt| *receipt == Receipt::Throttled);
            must!(throttled, "order after throttled", "{receipts:?} answers {publish:?}, which came before resume");
        }
        match receipts.receipts.first() {
            Some(Receipt::Accepted { position, .. }) => self.accepted(index, *position, &receipts.receipts),
            Some(Receipt::Duplicate { .. }) => self.duplicate(index, &receipts.receipts),
            Some(Receipt::Throttled) => self.throttled(index, &receipts.receipts),
            Some(Receipt::Inconsistent { .. } | Receipt::Refused { .. }) => self.turned_down(index, &receipts.receipts),
            None => {
                self.marks.reach(Mark::RefusedAlways);
                Ok(())
            }
        }
    }

    fn accepted(&mut self, index: usize, first: Position, receipts: &[Receipt]) -> Judged {
        if self.publishes[index].matched != Some(first) {
            // Two batches that say the same were under way, and the other one was taken for this one.
            let twin = self.publishes.iter().position(|other| {
                other.matched == Some(first) && other.accepted.is_none() && other.events == self.publishes[index].events
            });
            let Some(twin) = twin else {
                let what = format!("{receipts:?} answers {:?}", self.publishes[index]);
                return Err(Broken { rule: "shown_is_durable", what });
            };
            self.publishes[twin].matched = self.publishes[index].matched;
            self.publishes[index].matched = Some(first);
        }
        let publish = &self.publishes[index];
        for (offset, receipt) in receipts.iter().enumerate() {
            let event = self.log.event(Position(first.0 + offset as u64));
            let expected = event.map(|event| Receipt::Accepted {
                position: event.position,
                version: event.version,
                time: event.time,
            });
            must!(
                expected.as_ref() == Some(receipt) && publish.fits(&self.log, first),
                "shown_is_durable",
                "{receipt:?} answers {publish:?}; the log holds {event:?}"
            );
        }
        for other in self.publishes.iter().filter(|other| other.is_ordered_with(publish)) {
            let Some(theirs) = other.accepted else { continue };
            must!(
                (theirs < first) == (other.arrival < publish.arrival),
                "arrival order",
                "{publish:?} was accepted at {first}, {other:?} at {theirs}"
            );
        }
        self.publishes[index].accepted = Some(first);
        self.marks.reach(Mark::Accepted);
        Ok(())
    }

    fn duplicate(&mut self, index: usize, receipts: &[Receipt]) -> Judged {
        let publish = &self.publishes[index];
        let allowed = judge(&self.log, self.log.position(), &publish.speaker, &publish.events, &publish.guards);
        let events = allowed.duplicate.iter().flatten().filter_map(|position| self.log.event(*position));
        let expected: Vec<_> = events.map(|event| Log::duplicate(event)).collect();
        must!(
            expected == receipts,
            "publishing_is_idempotent",
            "{receipts:?} answers {publish:?}; the log says {expected:?}"
        );
        self.marks.reach(Mark::Duplicate);
        Ok(())
    }

    fn throttled(&mut self, index: usize, receipts: &[Receipt]) -> Judged {
        let all = receipts.iter().all(|receipt| *receipt == Receipt::Throttled);
        must!(all, "a batch is whole", "{receipts:?}");
        let conn = self.publishes[index].conn;
        let waiting = self.publishes.iter().filter(|other| !other.answered).count()
            + self.completes.iter().filter(|complete| !complete.answered).count();
        must!(
            self.publishes[index].after_throttled || waiting >= self.limits.publishes_waiting_max,
            "throttled only when full",
            "{:?} was throttled while {waiting} wait",
            self.publishes[index]
        );
        for later in self.publishes.iter_mut().filter(|other| other.conn == conn && !other.answered) {
            later.after_throttled = true;
        }
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.throttled = true;
        }
        self.marks.reach(Mark::Throttled);
        Ok(())
    }

    fn turned_down(&mut self, index: usize, receipts: &[Receipt]) -> Judged {
        let publish = &self.publishes[index];
        let moments = publish.since.0..=self.log.position().0;
        let allowed: Vec<Allowed> = moments
            .map(|end| judge(&self.log, Position(end), &publish.speaker, &publish.events, &publish.guards))
            .collect();
        for receipt in receipts {
            let ok = match receipt {
                Receipt::Inconsistent { key, head, id } => allowed
                    .iter()
                    .any(|allowed| allowed.inconsistent.iter().any(|(k, h, i)| k == key && h == head && i == id)),
                Receipt::Refused { reason, message } => {
                    !message.is_empty() && allowed.iter().any(|allowed| allowed.refused.contains(reason))
                }
                _ => false,
            };
            must!(ok, "receipts are true", "{receipt:?} answers {publish:?}; allowed was {allowed:?}");
        }
        self.marks.reach(match &receipts[0] {
            Receipt::Inconsistent { .. } => Mark::Inconsistent,
            Receipt::Refused { reason, .. } => match reason {
                Refusal::BatchPartlyKnown
                | Refusal::IdHasOtherContent
                | Refusal::UnknownCause
                | Refusal::CauseOfOtherCorrelation => Mark::RefusedByLog,
                _ => Mark::RefusedAlways,
            },
            _ => return Ok(()),
        });
        Ok(())
    }

    pub(super) fn resumed(&mut self, conn: ConnId) -> Judged {
        if let Some(connection) = self.connections.get_mut(&conn) {
            must!(connection.throttled, "resume only after throttled", "{conn:?}");
            connection.throttled = false;
        }
        self.marks.reach(Mark::Resumed);
        Ok(())
    }

    /// An error that names a request: a read's, a stream's or, of a connection that may not publish, a batch's.
    pub(super) fn request_erred(&mut self, conn: ConnId, request: u64, error: &Error) -> Judged {
        if self.stream_erred(conn, request) {
            return Ok(());
        }
        let waits = |publish: &&mut Publishing| publish.conn == conn && publish.request == request && !publish.answered;
        let Some(publish) = self.publishes.iter_mut().find(waits) else {
            return Err(Broken { rule: "answers", what: format!("{conn:?} did not ask for {error:?}") });
        };
        publish.answered = true;
        let may = publish.events.is_empty() || self.connections[&conn].waits() || self.connections[&conn].refused;
        must!(may, "answers", "{error:?} answers a batch");
        Ok(())
    }
}

fn system_event_is_whole(event: &Event) -> Judged {
    let reserved = event.id.is_reserved() && event.event_type.is_reserved() && event.source.is_reserved();
    must!(reserved, "reserved names", "{event:?} stands on a reserved key");
    Ok(())
}
