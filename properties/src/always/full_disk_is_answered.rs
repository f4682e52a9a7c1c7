//! Promise 18: a full disk keeps nobody waiting, and lets nothing in. A commit that ran out of room at its very end may come
//! back at the next recovery, which is not letting something in.

use std::{collections::BTreeMap, hash::Hash as _};

use dacapo_core::{
    NodeName, Receipt, Refusal, Timestamp,
    digest::StableHasher,
    trace::{Frame, Record, What},
    wire::{FromBus, ToBus},
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
    name: "full_disk_is_answered",
    sentence: "while a disk has no room for a bus to begin, every publish is answered with `throttled`, nothing is \
               delivered, and nothing enters the log",
    source: "ARCHITECTURE.md, promise 18",
};

/// Judges [`PROMISE`].
#[derive(Debug, Clone, Default)]
pub struct FullDiskIsAnswered {
    /// The nodes whose disk is full, since when.
    full: BTreeMap<NodeName, Moment>,
    /// Publishes that such a node has heard and not answered, by connection and request.
    waiting: BTreeMap<(NodeName, u64, u64), Moment>,
    throttled: u64,
    recovered: u64,
    checks: u64,
}

impl Observer for FullDiskIsAnswered {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::FULL
            .and(Kinds::RECOVERED)
            .and(Kinds::STARTED)
            .and(Kinds::STOPPED)
            .and(Kinds::DISCONNECTED)
            .and(Kinds::PUBLISH)
            .and(Kinds::RECEIPTS)
            .and(Kinds::DELIVER)
            .and(Kinds::COMMIT_SUBMITTED)
    }

    fn observe(&mut self, _known: &Known, record: &Record) -> Verdict {
        let node = &record.node;
        match &record.what {
            What::Full {} => {
                self.full.entry(node.clone()).or_insert(record.into());
                Ok(())
            }
            What::Recovered { .. } => {
                self.checks += 1;
                self.recovered += u64::from(self.full.contains_key(node));
                self.begins_anew(node);
                Ok(())
            }
            What::Started { .. } | What::Stopped { .. } => {
                self.begins_anew(node);
                Ok(())
            }
            What::Disconnected { connection } => self.parted(record, *connection),
            _ if !self.full.contains_key(node) => Ok(()),
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                if let ToBus::Publish(publish) = &**frame {
                    self.waiting.insert((node.clone(), *connection, publish.request), record.into());
                }
                Ok(())
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => self.said(record, *connection, frame),
            What::CommitSubmitted { .. } => {
                let since = self.full[node];
                let message =
                    format!("{node} handed a commit to its store while there was no room for a bus ({since})");
                PROMISE.broken(record, message, &[since])
            }
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, _now: Timestamp, to: &mut StableHasher) {
        for node in self.full.keys() {
            node.hash(to);
        }
        for waiting in self.waiting.keys() {
            waiting.hash(to);
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![
            (sometimes::THROTTLED_BY_A_FULL_DISK, self.throttled),
            (sometimes::RECOVERED_FROM_A_FULL_DISK, self.recovered),
        ]
    }
}

impl FullDiskIsAnswered {
    fn begins_anew(&mut self, node: &NodeName) {
        self.full.remove(node);
        self.waiting.retain(|(of, ..), _| of != node);
    }

    /// Whoever was heard was answered before he was let go.
    fn parted(&mut self, record: &Record, connection: u64) -> Verdict {
        let of = |key: &&(NodeName, u64, u64)| key.0 == record.node && key.1 == connection;
        let Some(waits) = self.waiting.keys().find(of).cloned() else { return Ok(()) };
        let since = self.waiting.remove(&waits).unwrap_or_default();
        let message =
            format!("the publish {} ({since}) got no answer from {}, whose disk is full", waits.2, record.node);
        PROMISE.broken(record, message, &[since])
    }

    fn said(&mut self, record: &Record, connection: u64, frame: &FromBus) -> Verdict {
        match frame {
            FromBus::Receipts(receipts) => {
                self.checks += 1;
                self.waiting.remove(&(record.node.clone(), connection, receipts.request));
                // What no token allows is refused at the door, whether the disk is full or not.
                let is_answer = |receipt: &Receipt| {
                    matches!(receipt, Receipt::Throttled | Receipt::Refused { reason: Refusal::Forbidden, .. })
                };
                if receipts.receipts.iter().all(is_answer) {
                    self.throttled += u64::from(receipts.receipts.contains(&Receipt::Throttled));
                    return Ok(());
                }
                let message = format!(
                    "with a full disk {} answered the publish {} as if there were room",
                    record.node, receipts.request
                );
                PROMISE.broken(record, message, &[])
            }
            FromBus::Deliver(_) => {
                PROMISE.broken(record, format!("{} delivered something with a full disk", record.node), &[])
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use dacapo_core::wire::{Publish, Receipts};

    use super::*;
    use crate::testing::{Run, accepted, new_event};

    fn heard(request: u64) -> What {
        let frame = ToBus::from(Publish { request, events: vec![new_event("e", "acc-1")], guards: vec![] });
        What::FrameReceived { connection: 1, frame: frame.into() }
    }

    fn said(request: u64, receipt: Receipt) -> What {
        let frame = FromBus::from(Receipts { request, receipts: vec![receipt] });
        What::FrameSent { connection: 1, frame: frame.into() }
    }

    fn run(records: impl IntoIterator<Item = What>) -> Run {
        let mut run = Run::new();
        run.node("bus", What::Full {});
        for what in records {
            run.node("bus", what);
        }
        run
    }

    #[test]
    fn who_is_throttled_at_once_has_his_answer() {
        let parted = What::Disconnected { connection: 1 };
        run([heard(1), said(1, Receipt::Throttled), parted]).holds(FullDiskIsAnswered::default());
    }

    #[test]
    fn a_publish_that_is_taken_refused_or_forgotten_is_seen() {
        run([heard(1), said(1, accepted(1, 1))]).fails(FullDiskIsAnswered::default(), "as if there were room");
        let refused = |reason| Receipt::Refused { reason, message: String::new() };
        run([heard(1), said(1, refused(Refusal::Forbidden))]).holds(FullDiskIsAnswered::default());
        run([heard(1), said(1, refused(Refusal::EmptyBatch))])
            .fails(FullDiskIsAnswered::default(), "as if there were room");
        let parted = What::Disconnected { connection: 1 };
        run([heard(1), parted]).fails(FullDiskIsAnswered::default(), "got no answer");
    }

    #[test]
    fn after_a_recovery_everything_is_as_ever() {
        let recovered = dacapo_core::store::Recovered::default();
        let recovered = What::Recovered { recovered: Box::new(recovered) };
        run([recovered, heard(1), said(1, accepted(1, 1))]).holds(FullDiskIsAnswered::default());
    }
}
