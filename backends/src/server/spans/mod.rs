//! Spans of what the bus does, for events that belong to a sampled trace (W3C Trace Context, the attribute `traceparent`).
//!
//! Two are told: `publish`, from the decision about an event until it is durable, and `deliver`, from handing it to an owner
//! until that is answered. Both are children of the span that the event names. A span that finds the exporter busy is
//! dropped and counted: the bus waits for nobody here.

mod otlp;

use std::collections::BTreeMap;

use dacapo_core::{
    attributes::{TRACEPARENT, is_traceparent},
    bus::ConnId,
    digest::digest_of,
    event::Event,
    names::{Position, ServiceName},
    store::Commit,
    time::WallTime,
    wire::{Deliver, FromBus, ToBus},
};
use tokio::sync::mpsc;

pub use otlp::{Collector, export};

/// Spans that wait for the exporter at most.
const WAITING_MAX: usize = 4_096;

/// Where spans go.
#[derive(Debug, Clone)]
pub struct Spans(mpsc::Sender<Span>);

/// Where an exporter gets them.
#[derive(Debug)]
pub struct Exported(mpsc::Receiver<Span>);

impl Spans {
    /// Both ends.
    pub fn channel() -> (Self, Exported) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), Exported(receiver))
    }
}

/// Something that the bus did.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    /// 32 digits.
    trace: String,
    /// 16 digits.
    id: String,
    /// 16 digits.
    parent: String,
    name: &'static str,
    began: WallTime,
    ended: WallTime,
    failed: bool,
    attributes: Vec<(&'static str, String)>,
}

/// The trace and the span that an event names, if it is to be sampled.
fn sampled(event: &Event) -> Option<(&str, &str)> {
    let traceparent = event.attributes.get(TRACEPARENT).filter(|text| is_traceparent(text))?;
    let (trace, rest) = traceparent.get(3..)?.split_once('-')?;
    let (span, flags) = rest.split_once('-')?;
    let flags = u8::from_str_radix(flags.get(..2)?, 16).ok()?;
    (flags & 1 == 1).then_some((trace, span))
}

/// What the driver remembers between the beginning and the end of a span.
#[derive(Debug, Default)]
pub(super) struct Watch {
    spans: Option<Spans>,
    services: BTreeMap<ConnId, ServiceName>,
    /// Deliveries of sampled events that are open; as many as there are open deliveries at most.
    open: BTreeMap<(ConnId, Position), (Deliver, WallTime)>,
}

impl Watch {
    pub(super) fn new(spans: Option<Spans>) -> Self {
        Self { spans, ..Self::default() }
    }

    /// A frame came.
    pub(super) fn received(&mut self, conn: ConnId, frame: &ToBus) {
        if self.spans.is_some()
            && let ToBus::Hello(hello) = frame
        {
            self.services.insert(conn, hello.service.clone());
        }
    }

    /// A commit is durable. Returns how many spans were dropped.
    pub(super) fn committed(&mut self, commit: &Commit, now: WallTime) -> usize {
        let Some(spans) = &self.spans else { return 0 };
        let span = |event: &Event| Some(span(event, "publish", &(), event.time, now, false, sampled(event)?));
        let dropped = |span: Span| usize::from(spans.0.try_send(span).is_err());
        commit.events.iter().filter_map(|event| span(event)).map(dropped).sum()
    }

    /// A frame goes out. Returns how many spans were dropped.
    pub(super) fn sent(&mut self, conn: ConnId, frame: &FromBus, now: WallTime) -> usize {
        if self.spans.is_none() {
            return 0;
        }
        match frame {
            FromBus::Deliver(deliver) if sampled(&deliver.event).is_some() => {
                self.open.insert((conn, deliver.event.position), (deliver.clone(), now));
                0
            }
            FromBus::Completed(completed) => self.ended(conn, completed.position, false, now),
            FromBus::Fenced(fenced) => self.ended(conn, fenced.position, true, now),
            _ => 0,
        }
    }

    /// A connection is gone. Returns how many spans were dropped.
    pub(super) fn parted(&mut self, conn: ConnId, now: WallTime) -> usize {
        let of_conn = (conn, Position::ZERO)..=(conn, Position(u64::MAX));
        let open: Vec<Position> = self.open.range(of_conn).map(|((_, position), _)| *position).collect();
        let dropped = open.into_iter().map(|position| self.ended(conn, position, true, now)).sum();
        self.services.remove(&conn);
        dropped
    }

    fn ended(&mut self, conn: ConnId, position: Position, failed: bool, now: WallTime) -> usize {
        let (Some((deliver, began)), Some(spans)) = (self.open.remove(&(conn, position)), &self.spans) else {
            return 0;
        };
        let Some(parent) = sampled(&deliver.event) else { return 0 };
        let service = self.services.get(&conn);
        let which = (service, deliver.token.epoch, deliver.token.attempt);
        let mut span = span(&deliver.event, "deliver", &which, began, now, failed, parent);
        span.attributes.push(("dacapo.attempt", deliver.token.attempt.to_string()));
        if let Some(service) = service {
            span.attributes.push(("messaging.consumer.group.name", service.to_string()));
        }
        usize::from(spans.0.try_send(span).is_err())
    }
}

fn span(
    event: &Event,
    name: &'static str,
    which: &impl std::hash::Hash,
    began: WallTime,
    ended: WallTime,
    failed: bool,
    (trace, parent): (&str, &str),
) -> Span {
    // A digest that is zero would be no span.
    let id = digest_of(0, &(name, &event.id, which)).max(1);
    Span {
        trace: trace.to_owned(),
        id: format!("{id:016x}"),
        parent: parent.to_owned(),
        name,
        began,
        ended: ended.max(began),
        failed,
        attributes: vec![
            ("messaging.system", "dacapo".to_owned()),
            ("messaging.message.id", event.id.to_string()),
            ("messaging.destination.name", event.event_type.to_string()),
            ("dacapo.key", event.key.to_string()),
            ("dacapo.version", event.version.to_string()),
            ("dacapo.position", event.position.to_string()),
            ("dacapo.correlation", event.correlation.to_string()),
        ],
    }
}
