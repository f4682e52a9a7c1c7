//! Promise 11: nothing grows without limit.
//!
//! What a machine says of its own sizes is held against its limits. What an instance was granted is counted from the
//! frames of each connection: a delivery is open from its sending until the instance answers or the bus takes it back.
//! Since the bus takes one back silently when its deadline has passed or the lane has failed, such a one no longer
//! counts; the count is a lower bound.

use std::{collections::BTreeMap, time::Duration};

use dacapo_core::{
    Key, Limits, NodeName, Position, Receipt, ServiceName, Timestamp,
    digest::StableHasher,
    store::LaneChange,
    trace::{Frame, Record, What},
    wire::{Completed, Deliver, Fenced, FromBus, ToBus, Welcome},
};
use std::hash::Hash as _;

use crate::{
    kinds::Kinds,
    known::Known,
    observer::Observer,
    property::{Moment, Promise, Verdict},
    sometimes,
};

/// What is promised.
pub const PROMISE: Promise = Promise {
    name: "bounded",
    sentence: "credits, queues, windows and memory stay within their limits",
    source: "ARCHITECTURE.md, promise 11",
};

/// The deliveries of one connection.
#[derive(Debug, Clone)]
struct Deliveries {
    service: ServiceName,
    /// The highest credit of this connection's life: a lower one may be on its way while deliveries leave.
    credit: u32,
    deadline: Duration,
    open: BTreeMap<Position, (Key, Moment)>,
}

/// Judges [`PROMISE`].
#[derive(Debug, Clone)]
pub struct Bounded {
    credit_max: u32,
    connections: BTreeMap<NodeName, BTreeMap<u64, Deliveries>>,
    throttled: u64,
    exhausted: u64,
    checks: u64,
}

impl Observer for Bounded {
    fn promise(&self) -> &'static Promise {
        &PROMISE
    }

    fn looks_at(&self) -> Kinds {
        Kinds::SIZES
            .and(Kinds::WELCOME)
            .and(Kinds::DELIVER)
            .and(Kinds::CONFLICT)
            .and(Kinds::COMPLETED)
            .and(Kinds::FENCED)
            .and(Kinds::RECEIPTS)
            .and(Kinds::COMPLETE)
            .and(Kinds::NACK)
            .and(Kinds::EXTEND)
            .and(Kinds::CREDIT)
            .and(Kinds::COMMIT_DURABLE)
            .and(Kinds::DISCONNECTED)
            .and(Kinds::STARTED)
    }

    fn observe(&mut self, known: &Known, record: &Record) -> Verdict {
        match &record.what {
            What::Sizes { sizes } => {
                self.checks += 1;
                let over = sizes.iter().find(|(_, size, limit)| size > limit);
                let Some((name, size, limit)) = over else { return Ok(()) };
                PROMISE.broken(
                    record,
                    format!("{}: {name} has grown to {size}, the limit is {limit}", record.node),
                    &[],
                )
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => {
                self.sent(known, record, *connection, frame)
            }
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                self.received(record, *connection, frame);
                Ok(())
            }
            What::CommitDurable { commit } => {
                for change in &commit.lanes {
                    if let LaneChange::Put(lane) = change
                        && (lane.failures > 0 || lane.parked.is_some())
                    {
                        self.withdrawn(&lane.service, &lane.key);
                    }
                }
                Ok(())
            }
            What::Disconnected { connection } => {
                if let Some(connections) = self.connections.get_mut(&record.node) {
                    connections.remove(connection);
                }
                Ok(())
            }
            What::Started { .. } => {
                self.connections.remove(&record.node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn memory(&self, _known: &Known, now: Timestamp, to: &mut StableHasher) {
        for (node, connections) in &self.connections {
            for (number, Deliveries { service, credit, deadline, open }) in connections {
                (node, number, service, credit, deadline).hash(to);
                for (position, (key, since)) in open {
                    (position, key, now.since(since.at)).hash(to);
                }
            }
        }
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![(sometimes::THROTTLED, self.throttled), (sometimes::CREDIT_EXHAUSTED, self.exhausted)]
    }
}

impl Bounded {
    /// For a bus with these limits.
    pub fn new(limits: &Limits) -> Self {
        let credit_max = limits.credit_max;
        Self { credit_max, connections: BTreeMap::new(), throttled: 0, exhausted: 0, checks: 0 }
    }

    fn connection(&mut self, bus: &NodeName, connection: u64) -> Option<&mut Deliveries> {
        self.connections.get_mut(bus)?.get_mut(&connection)
    }

    fn sent(&mut self, known: &Known, record: &Record, number: u64, frame: &FromBus) -> Verdict {
        match frame {
            FromBus::Welcome(welcome) => self.welcomed(known, record, number, welcome),
            FromBus::Deliver(deliver) => self.delivered(record, number, deliver),
            FromBus::Conflict(conflict) => {
                // The completion has closed it; the conflict opens it again.
                let key = known.log().at(conflict.position).map(|entry| entry.event.key.clone());
                if let (Some(connection), Some(key)) = (self.connection(&record.node, number), key) {
                    connection.open.insert(conflict.position, (key, Moment::from(record)));
                }
                Ok(())
            }
            FromBus::Completed(Completed { position, .. }) | FromBus::Fenced(Fenced { position, .. }) => {
                if let Some(connection) = self.connection(&record.node, number) {
                    connection.open.remove(position);
                }
                Ok(())
            }
            FromBus::Receipts(receipts) => {
                let throttled = receipts.receipts.contains(&Receipt::Throttled);
                self.throttled += u64::from(throttled);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn welcomed(&mut self, known: &Known, record: &Record, number: u64, welcome: &Welcome) -> Verdict {
        let Some(who) = known.connections().introduced(&record.node, number) else { return Ok(()) };
        self.checks += 1;
        // Who asks for none is granted one: an instance without credit could never work.
        let most = who.credit.max(1).min(self.credit_max);
        if welcome.credit > most {
            let message = format!(
                "{} granted {} a credit of {}, which had asked for {} where the limit is {}",
                record.node, who.instance, welcome.credit, who.credit, self.credit_max
            );
            return PROMISE.broken(record, message, &[]);
        }
        let deliveries = Deliveries {
            service: who.service.clone(),
            credit: welcome.credit,
            deadline: Duration::from_millis(welcome.delivery_deadline_ms),
            open: BTreeMap::new(),
        };
        self.connections.entry(record.node.clone()).or_default().insert(number, deliveries);
        Ok(())
    }

    fn delivered(&mut self, record: &Record, number: u64, deliver: &Deliver) -> Verdict {
        let Some(connections) = self.connections.get_mut(&record.node) else { return Ok(()) };
        let Some(service) = connections.get(&number).map(|connection| connection.service.clone()) else {
            return Ok(());
        };
        // A redelivery takes the event back from whoever had it.
        let others =
            connections.iter_mut().filter(|(other, deliveries)| **other != number && deliveries.service == service);
        others.for_each(|(_, deliveries)| drop(deliveries.open.remove(&deliver.event.position)));
        let Some(connection) = connections.get_mut(&number) else { return Ok(()) };
        let now = Moment::from(record);
        connection.open.insert(deliver.event.position, (deliver.event.key.clone(), now));
        self.checks += 1;
        let credit = connection.credit as usize;
        if connection.open.len() > credit {
            let deadline = connection.deadline;
            connection.open.retain(|_, (_, since)| now.at.since(since.at) * 2 < deadline);
        }
        self.exhausted += u64::from(connection.open.len() == credit);
        if connection.open.len() <= credit {
            return Ok(());
        }
        let oldest: Vec<Moment> = connection.open.values().map(|(_, since)| *since).collect();
        let message = format!(
            "{} delivered position {} on connection {number}, on which {} deliveries of {service} are open now; the \
             credit is {credit}",
            record.node,
            deliver.event.position,
            connection.open.len()
        );
        PROMISE.broken(record, message, &oldest)
    }

    fn received(&mut self, record: &Record, number: u64, frame: &ToBus) {
        let credit_max = self.credit_max;
        let Some(connection) = self.connection(&record.node, number) else { return };
        match frame {
            ToBus::Complete(complete) => drop(connection.open.remove(&complete.position)),
            ToBus::Nack(nack) => {
                // It withdraws the later open deliveries of its lane too.
                if let Some((key, _)) = connection.open.remove(&nack.position) {
                    connection.open.retain(|_, (other, _)| *other != key);
                }
            }
            ToBus::Extend(extend) => {
                if let Some((_, since)) = connection.open.get_mut(&extend.position) {
                    *since = Moment::from(record);
                }
            }
            ToBus::Credit(credit) if credit.request.is_none() => {
                connection.credit = connection.credit.max(credit.credit.min(credit_max));
            }
            _ => {}
        }
    }

    fn withdrawn(&mut self, service: &ServiceName, key: &Key) {
        let connections = self.connections.values_mut().flat_map(BTreeMap::values_mut);
        for connection in connections.filter(|connection| connection.service == *service) {
            connection.open.retain(|_, (other, _)| other != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Run, event};

    fn bounded() -> Bounded {
        Bounded::new(&Limits::default())
    }

    /// An instance with a credit of 2, and three events of three keys.
    fn three_lanes() -> Run {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        run.commit_events([event("a", "acc-1", 1, 1), event("b", "acc-2", 2, 1), event("c", "acc-3", 3, 1)]);
        run.hello_with_credit(7, "accounts", "accounts-1", 1, 2);
        run.deliver(7, 1, 1, 1);
        run.deliver(7, 2, 1, 1);
        run
    }

    #[test]
    fn deliveries_within_the_credit_hold() {
        let mut run = three_lanes();
        run.complete(7, 1, 1, 1, []);
        run.deliver(7, 3, 1, 1);
        assert_eq!(run.holds(bounded()), [("throttled", 0), ("credit exhausted", 2)]);
    }

    #[test]
    fn a_delivery_beyond_the_credit_is_seen() {
        let mut run = three_lanes();
        run.deliver(7, 3, 1, 1);
        run.fails(bounded(), "on which 3 deliveries of accounts are open now; the credit is 2");
    }

    #[test]
    fn a_conflict_keeps_its_delivery_open() {
        let mut run = three_lanes();
        run.complete(7, 1, 1, 1, []);
        run.conflict(7, 1, 1, 1, &[]);
        run.deliver(7, 3, 1, 1);
        run.fails(bounded(), "on which 3 deliveries");
    }

    #[test]
    fn credit_comes_back_with_a_nack_a_deadline_and_a_new_connection() {
        let mut nacked = three_lanes();
        nacked.nack(7, 1, 1, 1);
        nacked.deliver(7, 3, 1, 1);
        nacked.holds(bounded());
        let mut late = three_lanes();
        late.wait_ms(30_000);
        late.deliver(7, 3, 1, 1);
        late.holds(bounded());
        let mut anew = three_lanes();
        anew.hello_with_credit(8, "accounts", "accounts-1", 1, 2);
        anew.deliver(8, 3, 1, 1);
        anew.holds(bounded());
    }

    #[test]
    fn a_size_beyond_its_limit_is_seen() {
        let mut run = Run::new();
        run.sizes(&[("heads", 10, 10), ("publishes waiting", 11, 10)]);
        run.fails(bounded(), "bus: publishes waiting has grown to 11, the limit is 10");
    }
}
