//! Which receipt belongs to which sending.
//!
//! Records say who sent what on which of its connections, and who received what on which of its own; the two ends number
//! connections apart. They are matched by the `hello` that opened them, then frame by frame, in order. A sending without
//! a receipt was lost, or is still on its way when the run ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dacapo_core::{
    NodeName,
    digest::digest_of,
    trace::{Frame, Record, What},
};

/// What became of a frame that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrived.
    Received {
        /// At this step.
        step: u64,
    },
    /// It never did, though what was sent later on that connection may have.
    Lost,
    /// The run ended before.
    OnItsWay,
}

/// A frame on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The step at which it was sent.
    pub sent: u64,
    /// Who sent it.
    pub from: NodeName,
    /// Who received it, or was to.
    pub to: Option<NodeName>,
    /// What became of it.
    pub fate: Fate,
}

/// Who received what was sent at a step, or was to. The messages are in the order of their sending.
pub(super) fn receiver(messages: &[Message], sent: u64) -> Option<&NodeName> {
    let index = messages.binary_search_by_key(&sent, |message| message.sent).ok()?;
    messages[index].to.as_ref()
}

/// An end of a connection.
type End = (NodeName, u64);

/// A frame that was sent and has not arrived.
struct Sent {
    step: u64,
    digest: u64,
}

#[derive(Default)]
struct Matching {
    /// By the end that sent them.
    open: BTreeMap<End, VecDeque<Sent>>,
    /// The other end.
    links: BTreeMap<End, End>,
    /// By step of the sending.
    received: BTreeMap<u64, u64>,
}

/// All frames that were sent, in order.
pub fn messages(records: &[Record]) -> Vec<Message> {
    let mut matching = Matching::default();
    let mut sent: Vec<(u64, End)> = Vec::new();
    let mut last_link: BTreeMap<End, NodeName> = BTreeMap::new();
    for record in records {
        match &record.what {
            What::Started { .. } | What::Stopped { .. } => matching.forget(&record.node),
            What::FrameSent { connection, frame } => {
                let end = (record.node.clone(), *connection);
                let digest = digest_of(0, frame);
                matching.open.entry(end.clone()).or_default().push_back(Sent { step: record.step, digest });
                sent.push((record.step, end));
            }
            What::FrameReceived { connection, frame } => {
                let end = (record.node.clone(), *connection);
                if let Some((other, step)) = matching.take(&end, digest_of(0, frame), is_hello(frame)) {
                    matching.received.insert(step, record.step);
                    last_link.insert(other.clone(), end.0.clone());
                    last_link.insert(end, other.0);
                }
            }
            What::Disconnected { connection } => {
                matching.open.remove(&(record.node.clone(), *connection));
            }
            _ => {}
        }
    }
    // What is still open when the records end may be on its way; what was sent before something that arrived is lost.
    let open: BTreeSet<u64> = matching.open.values().flatten().map(|sent| sent.step).collect();
    sent.into_iter()
        .map(|(step, end)| {
            let fate = match matching.received.get(&step) {
                Some(received) => Fate::Received { step: *received },
                None if open.contains(&step) => Fate::OnItsWay,
                None => Fate::Lost,
            };
            let to = match fate {
                Fate::Received { step } => usize::try_from(step - 1)
                    .ok()
                    .and_then(|index| records.get(index))
                    .map(|record| record.node.clone()),
                _ => last_link.get(&end).cloned(),
            };
            Message { sent: step, from: end.0, to, fate }
        })
        .collect()
}

fn is_hello(frame: &Frame) -> bool {
    matches!(frame, Frame::ToBus(frame) if frame.kind() == "hello")
}

impl Matching {
    /// A process that begins or ends has no connections.
    fn forget(&mut self, node: &NodeName) {
        self.links.retain(|end, other| end.0 != *node && other.0 != *node);
        // What others sent to it is gone with it, and so is what it sent and nobody has read; but parcels that travel may
        // still arrive, so that they are kept until their connection ends.
    }

    /// The sending that arrives at this end now.
    fn take(&mut self, end: &End, digest: u64, hello: bool) -> Option<(End, u64)> {
        let known = self.links.get(end).cloned().filter(|other| !hello && self.place(other, digest).is_some());
        let other = known.or_else(|| {
            // A new connection, or one whose hello was not seen: the oldest sending like this by somebody else.
            let fits = |(other, _): &(&End, &VecDeque<Sent>)| other.0 != end.0 && self.place(other, digest).is_some();
            let step = |(other, open): &(&End, &VecDeque<Sent>)| {
                self.place(other, digest).and_then(|place| open.get(place)).map(|sent| sent.step)
            };
            self.open.iter().filter(fits).min_by_key(step).map(|(other, _)| other.clone())
        })?;
        let place = self.place(&other, digest)?;
        let open = self.open.get_mut(&other)?;
        let step = open.get(place)?.step;
        // What stands before it in the same direction was lost.
        open.drain(..=place);
        self.links.insert(end.clone(), other.clone());
        self.links.insert(other.clone(), end.clone());
        Some((other, step))
    }

    fn place(&self, end: &End, digest: u64) -> Option<usize> {
        self.open.get(end)?.iter().position(|sent| sent.digest == digest)
    }
}

#[cfg(test)]
mod tests {
    use dacapo_core::{
        Timestamp,
        wire::{FromBus, Ping, Pong, ToBus},
    };

    use super::*;

    fn record(step: u64, node: &str, what: What) -> Record {
        Record { step, at: Timestamp(step), node: NodeName::of(node), what }
    }

    fn ping(nonce: u64) -> Frame {
        Frame::from(ToBus::from(Ping { nonce }))
    }

    fn pong(nonce: u64) -> Frame {
        Frame::from(FromBus::from(Pong { nonce }))
    }

    #[test]
    fn frames_are_matched_in_order_and_what_is_missing_was_lost() {
        let sent = |connection, frame| What::FrameSent { connection, frame };
        let received = |connection, frame| What::FrameReceived { connection, frame };
        let records = [
            record(1, "a", sent(1, ping(1))),
            record(2, "b", sent(1, ping(1))),
            record(3, "bus", received(7, ping(1))),
            record(4, "bus", received(8, ping(1))),
            record(5, "a", sent(1, ping(2))),
            record(6, "a", sent(1, ping(3))),
            record(7, "bus", received(7, ping(3))),
            record(8, "bus", sent(8, pong(1))),
            record(9, "b", received(1, pong(1))),
            record(10, "bus", sent(7, pong(3))),
        ];
        let told: Vec<(u64, Option<String>, Fate)> = messages(&records)
            .into_iter()
            .map(|message| (message.sent, message.to.map(|node| node.to_string()), message.fate))
            .collect();
        let to = |name: &str| Some(name.to_owned());
        assert_eq!(
            told,
            [
                (1, to("bus"), Fate::Received { step: 3 }),
                (2, to("bus"), Fate::Received { step: 4 }),
                (5, to("bus"), Fate::Lost),
                (6, to("bus"), Fate::Received { step: 7 }),
                (8, to("b"), Fate::Received { step: 9 }),
                (10, to("a"), Fate::OnItsWay),
            ]
        );
    }
}
