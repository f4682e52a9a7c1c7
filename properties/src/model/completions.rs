//! Answers to deliveries, and what may be committed because of them.

use dacapo_core::{
    Event, Guard, Key, NewEvent, Position, ServiceName, Version,
    bus::{Admin, ConnId},
    store::{Commit, Completion, Ended, LaneChange},
    wire::{Complete, Completed, Conflict, Fenced, Rejected, Token},
};

use super::{Broken, Judged, Log, Mark, Model, Speaker, judge, must};

/// A `complete` that arrived in this life of the bus.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact that was seen or not, and they do not exclude each other"
)]
pub(super) struct Completing {
    pub(super) conn: ConnId,
    service: Option<ServiceName>,
    position: Position,
    token: Token,
    events: Vec<NewEvent>,
    guards: Vec<Guard>,
    /// The end of the log when it arrived.
    since: Position,
    /// The event had been completed, durably, when it arrived.
    already: bool,
    /// An earlier event of its lane was undone when it arrived.
    behind: bool,
    /// A commit holds it.
    matched: bool,
    /// Something came that may have answered it, or something else that was said on the connection.
    pub(super) perhaps: bool,
    pub(super) answered: bool,
}

impl Completing {
    fn speaker(&self, log: &Log) -> Option<Speaker> {
        let event: &Event = log.event(self.position)?;
        Some(Speaker::Completion(self.service.clone()?, Box::new(event.clone())))
    }

    fn is_produced(&self, log: &Log, completion: &Completion) -> bool {
        let Some(speaker) = self.speaker(log) else { return false };
        let fits = |(event, position): (&NewEvent, &Position)| {
            log.event(*position).is_some_and(|logged| speaker.same(log, &self.events, event, logged))
        };
        self.events.len() == completion.produced.len()
            && self.events.iter().zip(&completion.produced).all(fits)
            && completion.produced.windows(2).all(|pair| pair[0].next() == pair[1])
    }
}

impl Model {
    pub(super) fn complete(&mut self, conn: ConnId, complete: &Complete) {
        let service =
            self.connections.get(&conn).and_then(|connection| Some(connection.hello.as_ref()?.service.clone()));
        let already = service.as_ref().and_then(|service| self.log.ended(service, complete.position));
        let event = self.log.event(complete.position);
        let first = service.as_ref().zip(event).and_then(|(service, event)| {
            self.log.undone(service).find(|undone| undone.key == event.key).map(|undone| undone.position)
        });
        self.completes.push(Completing {
            conn,
            behind: first.is_some_and(|first| first < complete.position),
            already: already.is_some_and(|completion| completion.ended == Ended::Completed),
            service,
            position: complete.position,
            token: complete.token,
            events: complete.events.clone(),
            guards: complete.guards.clone(),
            since: self.log.position(),
            matched: false,
            perhaps: false,
            answered: false,
        });
    }

    /// Every completion of a commit was asked for under the newest token, in the lane's order.
    pub(super) fn completions_justified(&mut self, commit: &Commit, after: &Log) -> Judged {
        for completion in &commit.completions {
            match completion.ended {
                Ended::Skipped => self.skip_justified(completion, commit, after)?,
                Ended::Completed => self.completion_justified(completion, after)?,
            }
        }
        Ok(())
    }

    fn completion_justified(&mut self, completion: &Completion, after: &Log) -> Judged {
        let Some(index) = self.newest(&completion.service, completion.position) else {
            let what = format!("{completion:?} is committed, and nobody was handed the event");
            return Err(Broken { rule: "completes_once", what });
        };
        let delivery = self.deliveries[index].clone();
        must!(
            delivery.token.epoch == completion.epoch
                && delivery.token.attempt == completion.attempt
                && completion.instance.as_ref() == Some(&delivery.instance),
            "completes_once",
            "{completion:?} is committed, the newest delivery is {delivery:?}"
        );
        let first = completion.produced.first().map(|position| position.0 - 1);
        let moments = first.map_or(self.log.position().0..=after.position().0, |first| first..=first);
        let holds = |complete: &Completing| {
            complete.speaker(after).is_some_and(|speaker| {
                let judged = |end| judge(after, Position(end), &speaker, &complete.events, &complete.guards);
                moments.clone().any(|end| judged(end).accepted)
            })
        };
        let fitting = self.completes.iter_mut().filter(|complete| {
            complete.conn == delivery.conn
                && complete.position == delivery.position
                && complete.token == delivery.token
                && !complete.answered
                && complete.is_produced(after, completion)
                && holds(complete)
        });
        let Some(asked) = fitting.min_by_key(|complete| complete.perhaps) else {
            let what =
                format!("{completion:?} is committed, and no completion that waits asked for it and holds there");
            return Err(Broken { rule: "completes_once", what });
        };
        asked.matched = true;
        let types = after.services().get(&completion.service).map(|record| &record.types);
        if types == Some(&delivery.types) {
            let earlier = after.undone(&completion.service).find(|event| event.key == completion.key);
            must!(
                earlier.is_none_or(|event| event.version > completion.version),
                "lane_order",
                "{completion:?} is committed before {earlier:?}"
            );
        }
        if !completion.produced.is_empty() {
            self.marks.reach(Mark::CompletedWithEvents);
        }
        Ok(())
    }

    fn skip_justified(&mut self, completion: &Completion, commit: &Commit, after: &Log) -> Judged {
        if completion.key.is_reserved() {
            return self.passed_over(completion);
        }
        let asked = self.asked.iter().any(|asked| {
            !asked.answered
                && matches!(&asked.admin, Admin::Skip { service, key }
                    if *service == completion.service && *key == completion.key)
        });
        must!(asked, "skip is asked for", "{completion:?} is committed and nobody asked");
        let lane = self.log.lane(&completion.service, &completion.key);
        let parks = commit.lanes.iter().any(|change| {
            matches!(change, LaneChange::Put(lane)
                if lane.parked.is_some() && lane.service == completion.service && lane.key == completion.key)
        });
        must!(
            parks || lane.is_some_and(|lane| lane.parked.is_some()),
            "skip is of parked lanes",
            "{completion:?} is committed, {lane:?}"
        );
        // What the service takes may change in the same commit, before or after.
        let first_by = |types: &Log| {
            let mut undone = self.log.events().iter().filter(|event| {
                event.key == completion.key
                    && types.takes(&completion.service, event)
                    && self.log.ended(&completion.service, event.position).is_none()
            });
            undone.next().map(|event| event.position)
        };
        let first = [first_by(&self.log), first_by(after)];
        must!(
            first.contains(&Some(completion.position)),
            "lane_order",
            "{completion:?} is skipped, the first undone is {first:?}"
        );
        self.marks.reach(Mark::Skipped);
        Ok(())
    }

    /// A system event that nobody could handle: parking it would make another one.
    fn passed_over(&mut self, completion: &Completion) -> Judged {
        let delivered = self.delivered.get(&(completion.service.clone(), completion.position));
        let enough = self.limits.failures_max.min(self.limits.disconnects_max);
        must!(
            delivered.is_some_and(|count| *count >= enough),
            "parking",
            "{completion:?} is passed over after {delivered:?} deliveries"
        );
        self.marks.reach(Mark::PassedOver);
        Ok(())
    }

    /// All completions under the same token.
    fn same(&self, complete: &Completing) -> impl Iterator<Item = &Completing> {
        let (position, token) = (complete.position, complete.token);
        self.completes.iter().filter(move |other| other.position == position && other.token == token)
    }

    /// Completions of a connection that have no answer, those first that surely have none.
    fn waiting(&self, conn: ConnId, position: Position, token: Option<Token>) -> Vec<usize> {
        let fits = |complete: &Completing| {
            complete.conn == conn
                && complete.position == position
                && !complete.answered
                && token.is_none_or(|token| complete.token == token)
        };
        let mut all: Vec<usize> = (0..self.completes.len()).filter(|index| fits(&self.completes[*index])).collect();
        all.sort_by_key(|index| self.completes[*index].perhaps);
        all
    }

    pub(super) fn completed(&mut self, conn: ConnId, completed: &Completed) -> Judged {
        let waiting = self.waiting(conn, completed.position, None);
        let best = waiting.iter().copied().find(|index| self.completes[*index].matched != completed.already);
        let Some(index) = best.or(waiting.first().copied()) else {
            return Err(Broken { rule: "answers", what: format!("{conn:?} did not ask for {completed:?}") });
        };
        self.completes[index].answered = true;
        let complete = &self.completes[index];
        let ended = complete.service.as_ref().and_then(|service| self.log.ended(service, completed.position));
        let Some(ended) = ended else {
            return Err(Broken { rule: "shown_is_durable", what: format!("{completed:?} answers {complete:?}") });
        };
        must!(
            completed.produced == self.log.produced(ended),
            "shown_is_durable",
            "{completed:?} is told, the log holds {ended:?}"
        );
        if completed.already {
            self.marks.reach(Mark::CompletedAlready);
        } else {
            let matched = self.same(complete).any(|complete| complete.matched);
            must!(matched, "completes_once", "{completed:?} answers {complete:?}, which entered no commit");
        }
        Ok(())
    }

    /// Whether a completion ran into these heads at some moment since it arrived.
    fn may_conflict(&self, index: usize, heads: &[(Key, Version)]) -> bool {
        let complete = &self.completes[index];
        let Some(speaker) = complete.speaker(&self.log) else { return false };
        let mut keys: Vec<&Key> = complete.guards.iter().map(|guard| &guard.key).collect();
        keys.extend(complete.events.iter().map(|event| &event.key));
        keys.sort();
        keys.dedup();
        (complete.since.0..=self.log.position().0).map(Position).any(|end| {
            let truth = keys.iter().map(|key| ((*key).clone(), self.log.head(key, end).0));
            truth.eq(heads.iter().cloned())
                && !judge(&self.log, end, &speaker, &complete.events, &complete.guards).inconsistent.is_empty()
        })
    }

    /// Whether a completion broke this rule at some moment since it arrived.
    fn may_reject(&self, index: usize, rejected: &Rejected) -> bool {
        let complete = &self.completes[index];
        let Some(speaker) = complete.speaker(&self.log) else { return false };
        (complete.since.0..=self.log.position().0).map(Position).any(|end| {
            let allowed = judge(&self.log, end, &speaker, &complete.events, &complete.guards);
            allowed.refused.contains(&rejected.reason) || allowed.duplicate.is_some_and(|known| !known.is_empty())
        })
    }

    pub(super) fn conflict(&mut self, conn: ConnId, conflict: &Conflict) -> Judged {
        let mut heads: Vec<(Key, Version)> =
            conflict.heads.iter().map(|head| (head.key.clone(), head.version)).collect();
        heads.sort();
        let waiting = self.waiting(conn, conflict.position, Some(conflict.token));
        let Some(index) = waiting.iter().copied().find(|index| self.may_conflict(*index, &heads)) else {
            let waiting: Vec<_> = waiting.iter().map(|index| &self.completes[*index]).collect();
            let what = format!("{conflict:?} answers one of {waiting:?}; at no moment was that so");
            return Err(Broken { rule: "receipts are true", what });
        };
        self.completes[index].answered = true;
        self.marks.reach(Mark::Conflict);
        if let Some(delivery) = self.under(conn, conflict.position, conflict.token) {
            let now = self.quiet_at;
            let delivery = &mut self.deliveries[delivery];
            delivery.conflict = heads;
            delivery.renewed = delivery.renewed.max(now);
        }
        Ok(())
    }

    pub(super) fn fenced(&mut self, conn: ConnId, fenced: &Fenced) -> Judged {
        let all = self.waiting(conn, fenced.position, Some(fenced.token));
        let mut waiting = all.first().copied();
        if let Some(delivery) = self.under(conn, fenced.position, fenced.token) {
            let is_stuck = |index: &usize| self.is_stuck(delivery, *index);
            let stuck = all.iter().any(is_stuck);
            waiting = all.iter().copied().find(|index| !self.completes[*index].perhaps && is_stuck(index)).or(waiting);
            must!(
                stuck || !self.surely_open(delivery),
                "one_owner_per_lane",
                "{fenced:?} is told to the owner of {:?}",
                self.deliveries[delivery]
            );
            self.deliveries[delivery].holds = false;
            self.deliveries[delivery].failed |= stuck;
        }
        let told = (conn, fenced.position, fenced.token);
        let expired = self.under(conn, fenced.position, fenced.token).is_some_and(|index| self.is_expired(index));
        if let Some(index) = waiting
            && (expired || self.spoken.contains(&told))
        {
            self.completes[index].perhaps = true;
        } else if let Some(index) = waiting {
            self.completes[index].answered = true;
            let complete = &self.completes[index];
            must!(!complete.already, "order of judgement", "{fenced:?} answers {complete:?}");
            let alone = self.same(complete).count() == 1;
            must!(
                !complete.matched || !alone,
                "completes_once",
                "{fenced:?} answers {complete:?}, which entered a commit"
            );
            self.marks.reach(Mark::Fenced);
        }
        Ok(())
    }

    /// Whether a completion ran into a conflict whose heads did not grow since the last one: that counts as a nack.
    fn is_stuck(&self, delivery: usize, complete: usize) -> bool {
        let former = &self.deliveries[delivery].conflict;
        let complete = &self.completes[complete];
        let Some(speaker) = complete.speaker(&self.log) else { return false };
        let guards = complete.guards.iter().map(|guard| &guard.key);
        let keys: Vec<&Key> = guards.chain(complete.events.iter().map(|event| &event.key)).collect();
        (complete.since.0..=self.log.position().0).map(Position).any(|end| {
            let grew = |key: &&&Key| !former.iter().any(|(k, v)| k == **key && *v >= self.log.head(key, end).0);
            !judge(&self.log, end, &speaker, &complete.events, &complete.guards).inconsistent.is_empty()
                && !keys.iter().any(|key| grew(&key))
        })
    }

    /// An error without a request, which says that an earlier delivery of the lane comes first; whether a completion
    /// was answered by it.
    pub(super) fn out_of_turn(&mut self, conn: ConnId) -> bool {
        let waits = |complete: &&mut Completing| complete.conn == conn && !complete.answered && complete.behind;
        let mut found = false;
        for complete in self.completes.iter_mut().filter(waits) {
            // Or any other of them, or a nack: the error does not say.
            complete.perhaps = true;
            found = true;
        }
        if found {
            self.marks.reach(Mark::OutOfTurn);
        }
        found
    }

    pub(super) fn rejected(&mut self, conn: ConnId, rejected: &Rejected) -> Judged {
        let waiting = self.waiting(conn, rejected.position, Some(rejected.token));
        let Some(index) = waiting.iter().copied().find(|index| self.may_reject(*index, rejected)) else {
            let waiting: Vec<_> = waiting.iter().map(|index| &self.completes[*index]).collect();
            let what = format!("{rejected:?} answers one of {waiting:?}; at no moment was that so");
            return Err(Broken { rule: "receipts are true", what });
        };
        self.completes[index].answered = true;
        let complete = &self.completes[index];
        let alone = self.same(complete).count() == 1;
        must!(
            !complete.matched || !alone,
            "completes_once",
            "{rejected:?} answers {complete:?}, which entered a commit"
        );
        self.marks.reach(Mark::Rejected);
        Ok(())
    }
}
