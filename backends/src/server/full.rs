//! What a server says while its disk is full: nothing enters the log, and nobody is left without an answer.
//!
//! A bus whose commit found no space is gone, and another one cannot begin, since beginning is a commit too. Until there is
//! space, publishes are answered with `throttled`, instances are told why they cannot work, and questions about the log are
//! answered by the store as ever. Whoever was here is let go before the next bus begins, and comes back to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dacapo_core::{
    bus::{AdminAnswer, ConnId},
    event::Receipt,
    trace::{Frame, What},
    wire::{Closing, Error, ErrorCode, FromBus, Pong, Receipts, ToBus},
};
use tokio::{pin, sync::mpsc, time::sleep};

use super::{
    outbox::{End, Item, Outbox},
    shared::{Arrival, Shared},
    shutdown::Shutdown,
};

/// The one who answers meanwhile.
pub(super) struct Desk<'a> {
    shared: &'a Shared,
    conns: BTreeMap<ConnId, Arc<Outbox>>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, conns: BTreeMap::new() }
    }

    /// Answers for so long; whether to go on, which is not so if a shutdown was requested meanwhile.
    pub(super) async fn answer(
        &mut self,
        inbox: &mut mpsc::Receiver<Arrival>,
        time: Duration,
        shutdown: &mut Shutdown,
    ) -> bool {
        let over = sleep(time);
        pin!(over);
        loop {
            let arrival = tokio::select! {
                biased;
                () = shutdown.requested() => return false,
                () = &mut over => return true,
                Some(arrival) = inbox.recv() => arrival,
            };
            self.take(arrival);
        }
    }

    fn take(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Connected { conn, outbox, .. } => {
                self.shared.world.record(What::Connected { connection: conn.0 });
                self.conns.insert(conn, outbox);
            }
            Arrival::Frame { conn, mut frame, room } => {
                drop(room);
                if let ToBus::Hello(hello) = &mut frame {
                    // Nothing is answered here that a token would have to allow, and no record may hold one.
                    hello.bearer = None;
                }
                if self.conns.contains_key(&conn) {
                    self.shared.metrics.received(&frame);
                    if self.shared.world.hooks.recording() {
                        let frame = Frame::from(frame.clone());
                        self.shared.world.record(What::FrameReceived { connection: conn.0, frame });
                    }
                    self.judge(conn, &frame);
                }
            }
            Arrival::Admin { conn, .. } => {
                if let Some(outbox) = self.conns.get(&conn) {
                    // Whoever does not read has no answer to wait for.
                    let _ = outbox.push(Item::Answer(AdminAnswer::Error(full(None))));
                }
            }
            Arrival::Disconnected { conn } => {
                if self.conns.remove(&conn).is_some() {
                    self.shared.world.record(What::Disconnected { connection: conn.0 });
                }
            }
        }
    }

    fn judge(&mut self, conn: ConnId, frame: &ToBus) {
        match answer_while_full(frame) {
            Some(answer) => self.send(conn, answer),
            None => self.close(conn),
        }
    }

    fn send(&mut self, conn: ConnId, frame: impl Into<FromBus>) {
        let Some(outbox) = self.conns.get(&conn) else { return };
        let frame = frame.into();
        self.shared.metrics.sent(&frame);
        if self.shared.world.hooks.recording() {
            let frame = Frame::from(frame.clone());
            self.shared.world.record(What::FrameSent { connection: conn.0, frame });
        }
        if outbox.push(Item::Frame(frame)).is_err() {
            self.part(conn);
        }
    }

    fn close(&mut self, conn: ConnId) {
        self.send(conn, closing_while_full());
        self.part(conn);
    }

    fn part(&mut self, conn: ConnId) {
        if let Some(outbox) = self.conns.remove(&conn) {
            outbox.close(End { code: 1_001, reason: "closing" });
            self.shared.world.record(What::Disconnected { connection: conn.0 });
        }
    }

    /// Lets everyone go: a bus begins that knows none of them.
    pub(super) fn leave(mut self) {
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            self.close(conn);
        }
    }
}

/// What is said to a frame while the disk is full; none where the connection ends with [`closing_while_full`].
pub fn answer_while_full(frame: &ToBus) -> Option<FromBus> {
    Some(match frame {
        ToBus::Publish(publish) => {
            let receipts = vec![Receipt::Throttled; publish.events.len().max(1)];
            Receipts { request: publish.request, receipts }.into()
        }
        ToBus::Ping(ping) => Pong { nonce: ping.nonce }.into(),
        ToBus::Read(read) => full(Some(read.request)).into(),
        ToBus::Rebuild(rebuild) => full(Some(rebuild.request)).into(),
        // What an instance does ends in commits; a delivery of a bus that is gone is void.
        ToBus::Hello(_)
        | ToBus::Ready(_)
        | ToBus::Complete(_)
        | ToBus::Nack(_)
        | ToBus::Extend(_)
        | ToBus::Credit(_)
        | ToBus::Bye(_) => return None,
    })
}

/// What whoever is let go is told while the disk is full.
pub fn closing_while_full() -> Closing {
    Closing { reason: "the disk is full; come back when there is space".to_owned() }
}

fn full(request: Option<u64>) -> Error {
    Error {
        code: ErrorCode::Unavailable,
        message: "the disk is full, and no bus can begin".to_owned(),
        help: "free some space; the bus goes on by itself".to_owned(),
        request,
    }
}
