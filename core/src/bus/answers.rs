//! Answers to deliveries: complete, nack, extend, and what the bus makes of them.
//!
//! A completion counts under the newest token alone. It waits in line with the publishes, since it carries events; a
//! nack and an extend carry none and count at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Bus, ConnId,
    batch::{Apart, Facts, Origin, Outcome},
    deliver::Ending,
    judge::Message,
};
use crate::{
    event::Refusal,
    marks::bus as marks,
    names::{InstanceName, Key, ServiceName},
    planted::Bug,
    store::Ended,
    wire::{Complete, Completed, Conflict, Extend, Fenced, Head, Nack, Rejected},
};

impl Bus {
    pub(super) fn complete(&mut self, conn: ConnId, complete: Complete) {
        let Some((service, instance)) = self.speaker(conn) else {
            let code = crate::wire::ErrorCode::OutOfTurn;
            self.error(conn, code, "complete needs a hello first", "say hello", None);
            return;
        };
        if let Some(open) = self.open_delivery(&service, &instance, &complete) {
            open.judging = true; // It is being answered: from here on its deadline does not count.
        }
        self.wait_for_judgement(conn, Message::Complete { service, instance, complete }, 0);
    }

    /// The open delivery that this answers: under its token, and by its owner. A token that another instance came by
    /// is worth nothing.
    fn open_delivery(
        &mut self,
        service: &ServiceName,
        instance: &InstanceName,
        complete: &Complete,
    ) -> Option<&mut super::service::Open> {
        // The key is not in the message, but the events before the open ones of its lane are few.
        let lanes = &mut self.services.get_mut(service)?.lanes;
        let key = self.open_keys.get(&(service.clone(), complete.position))?;
        let lane = lanes.get_mut(key).filter(|lane| lane.owner.as_ref() == Some(instance))?;
        let index = lane.pending.iter().take(lane.open.len()).position(|it| it.event.position == complete.position)?;
        lane.open.get_mut(index).filter(|open| open.token == complete.token)
    }

    pub(super) fn judge_complete(
        &mut self,
        conn: ConnId,
        service: &ServiceName,
        instance: InstanceName,
        complete: &Complete,
        facts: &Facts,
    ) {
        let Complete { position, token, .. } = *complete;
        if let Some(produced) = self.knowledge.done(service, position).or(facts.completed.as_ref()) {
            let produced = produced.to_vec();
            self.mark(marks::COMPLETED_ALREADY);
            self.send(conn, Completed { position, already: true, produced });
            return;
        }
        let Some(key) = self.completable(service, &instance, complete) else {
            self.mark(marks::COMPLETION_FENCED);
            let reason = "the delivery is no longer yours: its lane has moved, or it was delivered again".to_owned();
            self.send(conn, Fenced { position, token, reason });
            return;
        };
        let Some(lane) = self.lane_mut(service, &key) else { return };
        let first = &lane.pending[0];
        if first.event.position != position {
            let help = "complete a lane's deliveries in order";
            let message = "an earlier delivery of this lane is still open";
            self.error(conn, crate::wire::ErrorCode::OutOfTurn, message, help, None);
            if let Some(open) = self.open_delivery(service, &instance, complete) {
                open.judging = false;
            }
            return;
        }
        let origin = Origin {
            service: Some(service),
            cause: Some((first.event.id.clone(), first.event.correlation.clone())),
            is_bus: false,
        };
        let (epoch, attempt) = (token.epoch, token.attempt);
        if self.config.planted.is(Bug::CompletionApart) && !complete.events.is_empty() {
            let ending = Ending { ended: Ended::Completed, instance: Some(instance), epoch, attempt, produced: &[] };
            self.ended(service, &key, position, ending);
            self.send(conn, Completed { position, already: false, produced: Vec::new() });
            self.apart.push(Apart {
                service: service.clone(),
                cause: origin.cause.clone(),
                events: complete.events.clone(),
            });
            return;
        }
        match self.admit_batch(&complete.events, &complete.guards, facts, &origin) {
            Outcome::Accepted(produced) => {
                let ending =
                    Ending { ended: Ended::Completed, instance: Some(instance), epoch, attempt, produced: &produced };
                self.ended(service, &key, position, ending);
                self.send(conn, Completed { position, already: false, produced });
            }
            Outcome::Known(_) => {
                let message = "the ids of its events are in the log without this completion; ids are derived from the \
                               handled event, so another publisher has taken them: nack it and choose other ids";
                self.reject(conn, service, &instance, complete, Refusal::IdHasOtherContent, message.to_owned());
            }
            Outcome::Stale { .. } => self.conflict(conn, service, &instance, &key, complete, facts),
            Outcome::Refused(reason, message) => self.reject(conn, service, &instance, complete, reason, message),
        }
    }

    /// The lane whose open delivery this completes, if the token is the newest.
    fn completable(&mut self, service: &ServiceName, instance: &InstanceName, complete: &Complete) -> Option<Key> {
        let key = self.open_keys.get(&(service.clone(), complete.position))?.clone();
        let accepts_old = self.config.planted.is(Bug::OldEpochAccepted);
        if self.open_delivery(service, instance, complete).is_some() || accepts_old {
            return Some(key);
        }
        None
    }

    fn reject(
        &mut self,
        conn: ConnId,
        service: &ServiceName,
        instance: &InstanceName,
        complete: &Complete,
        reason: Refusal,
        message: String,
    ) {
        self.mark(marks::COMPLETION_REJECTED);
        if let Some(open) = self.open_delivery(service, instance, complete) {
            open.judging = false;
        }
        self.send(conn, Rejected { position: complete.position, token: complete.token, reason, message });
    }

    /// The completion rested on stale ground: its instance handles the event again, unless nothing moved since the
    /// last time, which counts as a failure.
    fn conflict(
        &mut self,
        conn: ConnId,
        service: &ServiceName,
        instance: &InstanceName,
        key: &Key,
        complete: &Complete,
        facts: &Facts,
    ) {
        let keys: BTreeSet<&Key> = complete
            .events
            .iter()
            .map(|event| &event.key)
            .chain(complete.guards.iter().map(|guard| &guard.key))
            .collect();
        let heads: Vec<Head> =
            keys.iter().map(|key| Head { key: (*key).clone(), version: self.head_of(key, facts).version }).collect();
        let Some(open) = self.open_delivery(service, instance, complete) else { return };
        open.judging = false;
        let stuck = open.conflict.as_ref().is_some_and(|former| {
            let before: BTreeMap<_, _> = former.iter().map(|head| (&head.key, head.version)).collect();
            heads.iter().all(|head| before.get(&head.key).is_some_and(|version| *version >= head.version))
        });
        open.conflict = Some(heads.clone());
        if stuck {
            self.mark(marks::CONFLICT_WITHOUT_PROGRESS);
            let reason = "its handler ran into the same conflict twice: it demands what the log denies";
            let Complete { position, token, .. } = *complete;
            self.fail_lane(service, key, reason);
            self.send(conn, Fenced { position, token, reason: reason.to_owned() });
            return;
        }
        self.mark(marks::CONFLICT);
        let deadline = self.now.monotonic + self.config.limits.delivery_deadline;
        self.arm_deadline(service, key, Some(deadline));
        self.send(conn, Conflict { position: complete.position, token: complete.token, heads });
    }

    pub(super) fn nack(&mut self, conn: ConnId, nack: Nack) {
        let Nack { position, token, reason } = nack;
        let Some((service, key)) = self.answered(conn, position, token) else { return };
        if self.lane_mut(&service, &key).is_some_and(|lane| lane.pending[0].event.position != position) {
            let help = "nack a lane's first open delivery; those behind it come again by themselves";
            self.error(conn, crate::wire::ErrorCode::OutOfTurn, "an earlier delivery of this lane is open", help, None);
            return;
        }
        self.mark(marks::NACKED);
        self.fail_lane(&service, &key, &reason);
    }

    pub(super) fn extend(&mut self, conn: ConnId, extend: &Extend) {
        let Some((service, key)) = self.answered(conn, extend.position, extend.token) else { return };
        if self.lane_mut(&service, &key).is_none_or(|lane| lane.pending[0].event.position != extend.position) {
            return; // Behind the first its time has not begun; and the first must not gain any by it.
        }
        self.mark(marks::EXTENDED);
        let deadline = self.now.monotonic + self.config.limits.delivery_deadline;
        self.arm_deadline(&service, &key, Some(deadline));
    }

    /// The lane of the open delivery that a nack or extend speaks of; says `fenced` if it is not the speaker's.
    fn answered(
        &mut self,
        conn: ConnId,
        position: crate::names::Position,
        token: crate::wire::Token,
    ) -> Option<(ServiceName, Key)> {
        let Some((service, instance)) = self.speaker(conn) else {
            self.error(conn, crate::wire::ErrorCode::OutOfTurn, "this frame needs a hello first", "say hello", None);
            return None;
        };
        let as_completion = Complete { position, token, events: Vec::new(), guards: Vec::new() };
        match self.open_delivery(&service, &instance, &as_completion) {
            // What is being judged is answered by that judgement.
            Some(open) if open.judging => None,
            Some(_) => self.open_keys.get(&(service.clone(), position)).cloned().map(|key| (service, key)),
            None => {
                let reason =
                    "the delivery is no longer yours: its lane has moved, or it was delivered again".to_owned();
                self.send(conn, Fenced { position, token, reason });
                None
            }
        }
    }
}
