//! The rebuilds that are being played: each must bring every event of its types once, in order, across the seam
//! between the past and the present.

use std::{collections::BTreeMap, hash::Hash as _};

use dacapo_core::{
    EventType, NodeName, Position,
    digest::StableHasher,
    trace::{Frame, Record, What},
    wire::{Events, FromBus, ToBus},
};

use crate::{kinds::Kinds, known::Known, log::Log, property::Moment};

/// A stream that an instance asked for.
#[derive(Debug, Clone)]
struct Stream {
    begun: Moment,
    /// Everything up to here was sent or passed over.
    sent: Position,
    last: Moment,
    types: Vec<EventType>,
    follow: bool,
}

/// What is wrong with a page, and the moments that belong to it.
pub(crate) type Flaw = (String, Vec<Moment>);

/// The streams of all connections of all buses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams {
    by_node: BTreeMap<NodeName, BTreeMap<(u64, u64), Stream>>,
    pages: u64,
}

impl Streams {
    /// The records that tell of streams.
    pub(crate) const KINDS: Kinds = Kinds::REBUILD
        .and(Kinds::CREDIT)
        .and(Kinds::EVENTS)
        .and(Kinds::REBUILT)
        .and(Kinds::ERROR)
        .and(Kinds::DISCONNECTED)
        .and(Kinds::STARTED)
        .and(Kinds::RECOVERED);

    /// How many pages were held against the log.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Adds the streams to a digest, without their times.
    pub(crate) fn memory(&self, to: &mut StableHasher) {
        for (node, streams) in &self.by_node {
            for (id, Stream { begun: _, sent, last: _, types, follow }) in streams {
                (node, id, sent, types, follow).hash(to);
            }
        }
    }

    /// Takes a record in; answers what is wrong with it, if it is a page of a stream.
    pub(crate) fn observe(&mut self, known: &Known, record: &Record) -> Option<Flaw> {
        match &record.what {
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                self.asked(record, *connection, frame);
                None
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => match &**frame {
                FromBus::Events(page) => self.page(known.log(), record, *connection, page),
                FromBus::Rebuilt(rebuilt) => {
                    let id = (*connection, rebuilt.request);
                    let stream = self.by_node.get_mut(&record.node)?.get(&id)?;
                    let (sent, last, ends) = (stream.sent, stream.last, !stream.follow);
                    if ends {
                        self.end(&record.node, id);
                    }
                    let flaw = || {
                        format!(
                            "says that it was played up to position {}, but it has come to {sent}",
                            rebuilt.position
                        )
                    };
                    (rebuilt.position != sent).then(|| (flaw(), vec![last]))
                }
                FromBus::Error(error) => {
                    // Such as: it is a stream too many.
                    self.end(&record.node, (*connection, error.request?));
                    None
                }
                _ => None,
            },
            What::Disconnected { connection } => {
                let streams = self.by_node.get_mut(&record.node)?;
                streams.retain(|(of, _), _| of != connection);
                None
            }
            What::Started { .. } | What::Recovered { .. } => {
                self.by_node.remove(&record.node);
                None
            }
            _ => None,
        }
    }

    fn end(&mut self, bus: &NodeName, id: (u64, u64)) {
        if let Some(streams) = self.by_node.get_mut(bus) {
            streams.remove(&id);
        }
    }

    fn asked(&mut self, record: &Record, connection: u64, frame: &ToBus) {
        match frame {
            ToBus::Rebuild(rebuild) => {
                let now = Moment::from(record);
                let (types, follow) = (rebuild.types.clone(), rebuild.follow);
                let streams = self.by_node.entry(record.node.clone()).or_default();
                let stream = Stream { begun: now, sent: rebuild.after, last: now, types, follow };
                streams.entry((connection, rebuild.request)).or_insert(stream);
            }
            ToBus::Credit(credit) if credit.credit == 0 => {
                if let Some(request) = credit.request {
                    self.end(&record.node, (connection, request));
                }
            }
            _ => {}
        }
    }

    fn page(&mut self, log: &Log, record: &Record, connection: u64, page: &Events) -> Option<Flaw> {
        let stream = self.by_node.get_mut(&record.node)?.get_mut(&(connection, page.request))?;
        self.pages += 1;
        let (sent, last) = (stream.sent, stream.last);
        stream.last = Moment::from(record);
        stream.sent = page.position;
        if page.position < sent {
            return Some((format!("went back from position {sent} to position {}", page.position), vec![last]));
        }
        let expected = log.entries()[sent.0.min(log.end().0) as usize..page.position.0.min(log.end().0) as usize]
            .iter()
            .filter(|entry| stream.types.is_empty() || stream.types.contains(&entry.event.event_type))
            .map(|entry| entry.event.position);
        let brought: Vec<Position> = page.events.iter().map(|event| event.position).collect();
        if expected.clone().eq(brought.iter().copied()) {
            return None;
        }
        let moments = vec![stream.begun, last];
        let missing = expected.clone().find(|position| !brought.contains(position));
        let flaw = if let Some(position) = missing {
            format!("left out position {position}")
        } else {
            let surplus = brought.iter().enumerate().find(|(index, position)| {
                **position <= sent || **position > page.position || brought[..*index].contains(position)
            });
            let position = surplus.map_or(page.position, |(_, position)| *position);
            format!("brought position {position} twice or out of turn")
        };
        Some((format!("{flaw} in its page from position {sent} to position {}", page.position), moments))
    }
}
