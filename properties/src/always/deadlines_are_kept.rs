//! Promise 15: a hung owner loses what it holds.
//!
//! Judged by the bus's own commits, since a paused bus sees no deadline pass: the deadline has passed twice over, so that
//! no clock's drift matters, and the bus has handed on four more commits since. It looks at its deadlines before it
//! takes anything else in, so the fourth must hold, or follow, the word that the delivery was taken back.
//!
//! Of the deliveries of a lane only the first has a deadline. An answer that waits to be judged stops it; `extend`,
//! `conflict` and the end of an earlier delivery begin it anew.

use std::{collections::BTreeMap, hash::Hash as _, time::Duration};

use dacapo_core::{
    InstanceName, Key, Position, ServiceName, Timestamp,
    digest::StableHasher,
    store::{Commit, LaneChange},
    trace::{Frame, Record, What},
    wire::{Deliver, FromBus, ToBus, Token},
};

use crate::{
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "deadlines_are_kept",
    sentence: "an owner that neither answers nor extends loses its delivery when the deadline has passed",
    source: "ARCHITECTURE.md, promise 15",
};

/// So many commits after the deadline the delivery must have been taken back.
const COMMITS_MAX: u32 = 4;

/// A delivery without an answer.
#[derive(Debug, Clone)]
struct Open {
    token: Token,
    instance: InstanceName,
    connection: u64,
    sent: Moment,
    /// Since when its deadline runs, at the latest.
    since: Moment,
    deadline: Duration,
    /// Its completion waits to be judged.
    judging: bool,
    /// Commits that were handed on after twice the deadline.
    late: u32,
}

impl Open {
    fn begin_anew(&mut self, now: Moment) {
        self.since = now;
        self.late = 0;
    }
}

type Lane = (ServiceName, Key);

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct DeadlinesAreKept {
    lanes: BTreeMap<Lane, BTreeMap<Position, Open>>,
    /// The lane of each open position, by service.
    keys: BTreeMap<(ServiceName, Position), Key>,
    /// Before this nothing is late.
    look_at_us: u64,
    checks: u64,
}

impl Observer for DeadlinesAreKept {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        let now = Moment::from(record);
        match &record.what {
            What::CommitSubmitted { .. } if now.at.0 >= self.look_at_us => return self.look(record),
            What::CommitDurable { commit } => self.committed(commit, now),
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => {
                self.sent(known, record, *connection, frame);
            }
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                self.received(known, record, *connection, frame);
            }
            // Instances number their connections too.
            What::Disconnected { connection } if known.connections().get(&record.node, *connection).is_some() => {
                self.retain(|_, open| open.connection != *connection);
            }
            What::Recovered { .. } => {
                self.lanes.clear();
                self.keys.clear();
            }
            _ => {}
        }
        Ok(())
    }

    fn memory(&self, _known: &Known, now: Timestamp, to: &mut StableHasher) {
        for (lane, opens) in &self.lanes {
            for (position, open) in opens {
                let Open { token, connection, since, deadline, judging, late, .. } = open;
                (lane, position, token, connection, now.since(since.at), deadline, judging, late).hash(to);
            }
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }
}

impl DeadlinesAreKept {
    fn retain(&mut self, keep: impl Fn(&Lane, &Open) -> bool) {
        let keys = &mut self.keys;
        self.lanes.retain(|lane, opens| {
            opens.retain(|position, open| {
                let stays = keep(lane, open);
                if !stays {
                    keys.remove(&(lane.0.clone(), *position));
                }
                stays
            });
            !opens.is_empty()
        });
    }

    /// The delivery of this position is over; the deadline of the next in its lane begins.
    fn end(&mut self, service: &ServiceName, position: Position, now: Moment) {
        let Some(key) = self.keys.remove(&(service.clone(), position)) else { return };
        let lane = (service.clone(), key);
        let Some(opens) = self.lanes.get_mut(&lane) else { return };
        opens.remove(&position);
        match opens.first_entry() {
            Some(mut first) => first.get_mut().begin_anew(now),
            None => drop(self.lanes.remove(&lane)),
        }
        self.checks += 1;
    }

    fn open(&mut self, service: &ServiceName, position: Position, token: Token) -> Option<&mut Open> {
        let key = self.keys.get(&(service.clone(), position))?.clone();
        self.lanes.get_mut(&(service.clone(), key))?.get_mut(&position).filter(|open| open.token == token)
    }

    fn delivered(&mut self, known: &Known, record: &Record, connection: u64, deliver: &Deliver) {
        let connections = known.connections();
        let Some(to) = connections.get(&record.node, connection) else { return };
        let (Some(who), Some(welcome)) = (&to.introduced, &to.welcome) else { return };
        let deadline = Duration::from_millis(welcome.delivery_deadline_ms);
        let now = Moment::from(record);
        let open = Open {
            token: deliver.token,
            instance: who.instance.clone(),
            connection,
            sent: now,
            since: now,
            deadline,
            judging: false,
            late: 0,
        };
        let (position, key) = (deliver.event.position, deliver.event.key.clone());
        self.keys.insert((who.service.clone(), position), key.clone());
        self.lanes.entry((who.service.clone(), key)).or_default().insert(position, open);
        self.look_at_us = self.look_at_us.min(now.at.0 + 2 * deadline.as_micros() as u64);
    }

    fn sent(&mut self, known: &Known, record: &Record, connection: u64, frame: &FromBus) {
        let now = Moment::from(record);
        let (position, token) = match frame {
            FromBus::Deliver(deliver) => return self.delivered(known, record, connection, deliver),
            FromBus::Completed(completed) => (completed.position, None),
            FromBus::Fenced(fenced) => (fenced.position, Some(fenced.token)),
            FromBus::Conflict(conflict) => (conflict.position, Some(conflict.token)),
            FromBus::Rejected(rejected) => (rejected.position, Some(rejected.token)),
            _ => return,
        };
        let Some(who) = known.connections().introduced(&record.node, connection) else { return };
        match (frame, token) {
            (FromBus::Conflict(_) | FromBus::Rejected(_), Some(token)) => {
                if let Some(open) = self.open(&who.service, position, token) {
                    open.judging = false;
                    open.begin_anew(now);
                }
            }
            (_, Some(token)) if self.open(&who.service, position, token).is_none() => {}
            _ => self.end(&who.service, position, now),
        }
    }

    fn received(&mut self, known: &Known, record: &Record, connection: u64, frame: &ToBus) {
        let now = Moment::from(record);
        let Some(who) = known.connections().introduced(&record.node, connection) else { return };
        match frame {
            ToBus::Complete(complete) => {
                if let Some(open) = self.open(&who.service, complete.position, complete.token) {
                    open.judging = true;
                }
            }
            ToBus::Extend(extend) => {
                if let Some(open) = self.open(&who.service, extend.position, extend.token) {
                    open.begin_anew(now);
                }
            }
            ToBus::Nack(nack) if self.open(&who.service, nack.position, nack.token).is_some() => {
                self.end(&who.service, nack.position, now);
            }
            _ => {}
        }
    }

    fn committed(&mut self, commit: &Commit, now: Moment) {
        for completion in &commit.completions {
            self.end(&completion.service, completion.position, now);
        }
        for change in &commit.lanes {
            if let LaneChange::Put(put) = change
                && (put.failures > 0 || put.parked.is_some())
            {
                // It failed: whatever was open was taken back.
                self.retain(|(service, key), _| (service, key) != (&put.service, &put.key));
            }
        }
        for record in &commit.services {
            self.retain(|(service, _), _| *service != record.name);
        }
    }

    fn look(&mut self, record: &Record) -> Verdict {
        let now = Moment::from(record);
        let mut look_at_us = u64::MAX;
        for ((service, key), opens) in &mut self.lanes {
            let Some((position, first)) = opens.iter_mut().next() else { continue };
            let late_us = first.since.at.0 + 2 * first.deadline.as_micros() as u64;
            if first.judging || now.at.0 < late_us {
                look_at_us = look_at_us.min(late_us);
                continue;
            }
            look_at_us = now.at.0;
            first.late += 1;
            if first.late < COMMITS_MAX {
                continue;
            }
            let message = format!(
                "{} lets {} keep position {position} of the lane {key} of {service}: it was delivered at {} under a \
                 deadline of {} ms, nothing was heard of it since {}, and {} commits were handed on after twice that \
                 time",
                record.node,
                first.instance,
                first.sent,
                first.deadline.as_millis(),
                first.since,
                first.late,
            );
            return PROMISE.broken(record, message, &[first.sent, first.since]);
        }
        self.look_at_us = look_at_us;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, completion, event};

    /// One delivery under a deadline of 30 s.
    fn delivered() -> Run {
        let mut run = Run::new();
        run.recovered(1, 0);
        run.register("accounts", &["Debit"]);
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-1", 2, 2)]);
        run.hello(7, "accounts", "accounts-1", 1);
        run.deliver(7, 1, 1, 1);
        run.deliver(7, 2, 1, 1);
        run
    }

    fn commits(run: &mut Run, count: usize) {
        for _ in 0..count {
            run.submit();
            run.frontier("accounts", 0);
        }
    }

    #[test]
    fn a_delivery_that_is_kept_for_ever_is_seen() {
        let mut run = delivered();
        commits(&mut run, 9);
        run.wait_ms(60_000);
        commits(&mut run, 3);
        run.clone().passes(DeadlinesAreKept::default());
        commits(&mut run, 1);
        run.fails(DeadlinesAreKept::default(), "lets accounts-1 keep position 1 of the lane acc-1 of accounts");
    }

    #[test]
    fn a_paused_bus_that_then_fences_has_kept_the_deadline() {
        let mut run = delivered();
        run.wait_ms(600_000);
        commits(&mut run, 2);
        run.fenced(7, 1, 1, 1);
        run.lane_behind("accounts", "acc-1", 1, 1);
        commits(&mut run, 9);
        run.holds(DeadlinesAreKept::default());
    }

    #[test]
    fn who_answers_extends_or_goes_is_not_late() {
        let mut answered = delivered();
        answered.complete(7, 1, 1, 1, []);
        answered.wait_ms(90_000);
        commits(&mut answered, 9);
        answered.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        commits(&mut answered, 9);
        answered.clone().holds(DeadlinesAreKept::default());
        answered.wait_ms(90_000);
        commits(&mut answered, 9);
        answered.fails(DeadlinesAreKept::default(), "position 2 of the lane acc-1");

        let mut extended = delivered();
        extended.wait_ms(29_000);
        extended.extend(7, 1, 1, 1);
        extended.wait_ms(40_000);
        commits(&mut extended, 9);
        extended.passes(DeadlinesAreKept::default());

        let mut gone = delivered();
        gone.disconnected(7);
        gone.wait_ms(90_000);
        commits(&mut gone, 9);
        gone.passes(DeadlinesAreKept::default());
    }

    #[test]
    fn a_conflict_begins_the_deadline_anew() {
        let mut run = delivered();
        run.complete(7, 1, 1, 1, []);
        run.wait_ms(90_000);
        run.conflict(7, 1, 1, 1, &[]);
        commits(&mut run, 9);
        run.clone().passes(DeadlinesAreKept::default());
        run.wait_ms(61_000);
        commits(&mut run, 9);
        run.fails(DeadlinesAreKept::default(), "position 1");
    }
}
