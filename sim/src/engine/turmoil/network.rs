//! The network: connections between hosts as streams of parcels, each on its way for as long as its link takes.
//!
//! It behaves as TCP does where a process can tell: what is sent arrives in order or not at all; a peer that does not
//! read stops the writer after [`WINDOW_BYTES`]; a process that ends closes its connections, with a reset if it had not
//! read everything; a machine that is off says nothing; who sends to a connection that is no more gets a reset. Once a
//! parcel is lost in a cut link, nothing that its sender sends on that connection arrives any more: the connection is
//! silently dead, which is the worst that a partition can leave behind.
//!
//! It refuses to know the time, to wake itself, and to decide what a link does: time is passed in, whoever drives it asks
//! when something is [due](Network::due_us), and links are what the active faults make of them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use tokio::io::ReadBuf;

use super::{links::Links, stage::Life};
use crate::engine::faults::{FaultTable, Way};

/// Bytes that may be on the way or unread, one way, before the writer has to wait.
const WINDOW_BYTES: usize = 64 << 10;

/// A host's number, in the order in which hosts were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostId(pub(super) usize);

/// How a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reachable {
    /// Its process runs.
    Runs,
    /// Its process is gone, and the machine says so.
    Refuses,
    /// The machine is gone.
    Gone,
}

/// A connection's number. No two of a run share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(usize);

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Who opened it.
    Caller,
    /// Who accepted it.
    Listener,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Caller => Self::Listener,
            Self::Listener => Self::Caller,
        }
    }
}

/// An end of a connection, as a process holds it.
pub(super) type EndId = (ConnectionId, Side);

/// What travels.
#[derive(Debug)]
enum Parcel {
    /// May I?
    Open,
    /// You may.
    Opened,
    /// You may not.
    Refused,
    Bytes(Bytes),
    /// There is nothing more to come.
    End,
    /// There is no such connection here.
    Reset,
}

/// A parcel on its way. They arrive by time, and those of one time in the order in which they were sent.
#[derive(Debug)]
struct Flight {
    at_us: u64,
    number: u64,
    to: EndId,
    parcel: Parcel,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

/// How far an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Opening,
    Open,
    Refused,
    /// No process holds it any more.
    Gone,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct End {
    host: HostId,
    standing: Standing,
    /// What has arrived and is unread.
    inbox: VecDeque<Bytes>,
    /// The peer has ended.
    peer_ended: bool,
    reset: bool,
    /// This side has ended.
    said_last: bool,
    /// A parcel of this side was lost: no later one arrives.
    lost: bool,
    /// Bytes of this side that the other has not read.
    unread: usize,
    /// When the last parcel of this side arrives.
    last_us: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn new(host: HostId) -> Self {
        Self {
            host,
            standing: Standing::Opening,
            inbox: VecDeque::new(),
            peer_ended: false,
            reset: false,
            said_last: false,
            lost: false,
            unread: 0,
            last_us: 0,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct Connection {
    port: u16,
    caller: End,
    listener: End,
}

impl Connection {
    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Caller => &mut self.caller,
            Side::Listener => &mut self.listener,
        }
    }
}

#[derive(Debug)]
struct Listening {
    life: Arc<Life>,
    waiting: VecDeque<ConnectionId>,
    waker: Option<Waker>,
}

/// All connections, and what is on its way on them.
pub(super) struct Network {
    links: Links,
    tick_us: u64,
    reachable: Vec<Reachable>,
    listening: BTreeMap<(HostId, u16), Listening>,
    connections: Vec<Option<Box<Connection>>>,
    flying: BinaryHeap<Reverse<Flight>>,
    flights: u64,
    /// Has arrived where a link holds it back.
    held: Vec<Flight>,
    /// The fault table's count of changes when `held` was looked at.
    held_changes: u64,
}

/// Whatever acts on the network now: its time and its faults.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) now_us: u64,
    pub(super) faults: &'a FaultTable,
}

impl Network {
    pub(super) fn new(links: Links, hosts: usize, tick_us: u64) -> Self {
        Self {
            links,
            tick_us,
            reachable: vec![Reachable::Gone; hosts],
            listening: BTreeMap::new(),
            connections: Vec::new(),
            flying: BinaryHeap::new(),
            flights: 0,
            held: Vec::new(),
            held_changes: 0,
        }
    }

    pub(super) fn reachable(&self, host: HostId) -> Reachable {
        self.reachable[host.0]
    }

    pub(super) fn set_reachable(&mut self, host: HostId, reachable: Reachable) {
        self.reachable[host.0] = reachable;
    }

    /// One way, now.
    pub(super) fn latency_us(&mut self, faults: &FaultTable, from: HostId, to: HostId) -> u64 {
        self.links.link(faults, from, to).latency_us
    }

    /// When the next parcel arrives.
    pub(super) fn due_us(&self) -> Option<u64> {
        self.flying.peek().map(|Reverse(flight)| flight.at_us)
    }

    /// Lets everything arrive that is due, and what was held back until now.
    pub(super) fn arrive(&mut self, moment: Moment<'_>) {
        let changes = moment.faults.changes();
        if self.held_changes != changes {
            self.held_changes = changes;
            for flight in std::mem::take(&mut self.held) {
                self.hand_over(moment, flight);
            }
        }
        while self.due_us().is_some_and(|due_us| due_us <= moment.now_us) {
            if let Some(Reverse(flight)) = self.flying.pop() {
                self.hand_over(moment, flight);
            }
        }
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections[id.0].as_deref_mut()
    }

    fn end(&mut self, (id, side): EndId) -> Option<&mut End> {
        self.connection(id).map(|connection| connection.end(side))
    }

    /// Sends a parcel from one end to the other.
    fn send(&mut self, moment: Moment<'_>, (id, from): EndId, parcel: Parcel) {
        let Some(connection) = self.connections[id.0].as_deref_mut() else { return };
        let to_host = connection.end(from.other()).host;
        let end = connection.end(from);
        let link = self.links.link(moment.faults, end.host, to_host);
        end.lost |= link.way == Way::Cut;
        if end.lost {
            return;
        }
        let at_us = (moment.now_us + link.latency_us.max(1)).next_multiple_of(self.tick_us).max(end.last_us);
        end.last_us = at_us;
        self.flights += 1;
        self.flying.push(Reverse(Flight { at_us, number: self.flights, to: (id, from.other()), parcel }));
    }

    fn hand_over(&mut self, moment: Moment<'_>, flight: Flight) {
        let (id, side) = flight.to;
        let Some(connection) = self.connections[id.0].as_deref_mut() else { return };
        let to_host = connection.end(side).host;
        let sender = connection.end(side.other());
        match self.links.link(moment.faults, sender.host, to_host).way {
            Way::Cut => sender.lost = true,
            Way::Held if !sender.lost => return self.held.push(flight),
            Way::Held | Way::Open => {}
        }
        if sender.lost || self.reachable[to_host.0] == Reachable::Gone {
            return;
        }
        let end = connection.end(side);
        match (flight.parcel, end.standing) {
            (Parcel::Open, _) => self.knock(moment, id),
            (Parcel::Opened, Standing::Opening) => {
                end.standing = Standing::Open;
                end.wake();
            }
            (Parcel::Refused, _) => {
                end.standing = Standing::Refused;
                end.wake();
            }
            (Parcel::Bytes(bytes), Standing::Open) => {
                if !end.reset {
                    end.inbox.push_back(bytes);
                    end.wake();
                }
            }
            (Parcel::Bytes(_) | Parcel::Opened, _) => {
                // Nobody holds this end any more, and its machine says so.
                self.send(moment, (id, side), Parcel::Reset);
            }
            (Parcel::End, _) => {
                end.peer_ended = true;
                end.wake();
            }
            (Parcel::Reset, _) => {
                end.reset = true;
                end.wake();
            }
        }
    }

    /// A caller wants in.
    fn knock(&mut self, moment: Moment<'_>, id: ConnectionId) {
        let Some(connection) = self.connections[id.0].as_deref_mut() else { return };
        let at = (connection.listener.host, connection.port);
        match self.listening.get_mut(&at).filter(|listening| !listening.life.is_dead()) {
            Some(listening) => {
                connection.listener.standing = Standing::Open;
                listening.waiting.push_back(id);
                if let Some(waker) = listening.waker.take() {
                    waker.wake();
                }
                self.send(moment, (id, Side::Listener), Parcel::Opened);
            }
            None => self.send(moment, (id, Side::Listener), Parcel::Refused),
        }
    }

    /// Listens on a port of a life's host. A dead life's listener gives way.
    pub(super) fn listen(&mut self, life: &Arc<Life>, port: u16) -> io::Result<()> {
        let at = (life.id, port);
        if self.listening.get(&at).is_some_and(|listening| !listening.life.is_dead()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let listening = Listening { life: Arc::clone(life), waiting: VecDeque::new(), waker: None };
        self.listening.insert(at, listening);
        Ok(())
    }

    /// Ends listening. Whoever knocked and was not let in is reset.
    pub(super) fn deafen(&mut self, moment: Moment<'_>, life: &Life, port: u16) {
        let at = (life.id, port);
        if self.listening.get(&at).is_none_or(|listening| listening.life.number != life.number) {
            return;
        }
        let waiting = self.listening.remove(&at).map(|listening| listening.waiting);
        for id in waiting.into_iter().flatten() {
            if let Some(end) = self.end((id, Side::Listener)) {
                end.standing = Standing::Gone;
            }
            if !life.is_silent() {
                self.send(moment, (id, Side::Listener), Parcel::Reset);
            }
            self.forget(id);
        }
    }

    /// The next connection on a port, with its caller's host.
    pub(super) fn poll_accept(
        &mut self,
        life: &Life,
        port: u16,
        context: &Context<'_>,
    ) -> Poll<(ConnectionId, HostId)> {
        let Some(listening) = self.listening.get_mut(&(life.id, port)) else { return Poll::Pending };
        if let Some(id) = listening.waiting.pop_front()
            && let Some(connection) = self.connections[id.0].as_deref_mut()
        {
            return Poll::Ready((id, connection.caller.host));
        }
        listening.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Begins to open a connection.
    pub(super) fn open(&mut self, moment: Moment<'_>, from: HostId, to: HostId, port: u16) -> ConnectionId {
        let id = ConnectionId(self.connections.len());
        let connection = Connection { port, caller: End::new(from), listener: End::new(to) };
        self.connections.push(Some(Box::new(connection)));
        self.send(moment, (id, Side::Caller), Parcel::Open);
        id
    }

    /// Whether the listener let the caller in.
    pub(super) fn poll_opened(&mut self, id: ConnectionId, context: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(end) = self.end((id, Side::Caller)) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match end.standing {
            _ if end.reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Standing::Open => Poll::Ready(Ok(())),
            Standing::Refused | Standing::Gone => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Standing::Opening => {
                end.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Reads into `room` what has arrived; nothing at the end.
    pub(super) fn poll_read(
        &mut self,
        (id, side): EndId,
        context: &Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(connection) = self.connection(id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let end = connection.end(side);
        let mut read = 0;
        while room.remaining() > 0
            && let Some(bytes) = end.inbox.front_mut()
        {
            let count = bytes.len().min(room.remaining());
            room.put_slice(&bytes[..count]);
            bytes.advance(count);
            read += count;
            if bytes.is_empty() {
                end.inbox.pop_front();
            }
        }
        if read == 0 {
            if end.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if end.peer_ended || room.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            end.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let writer = connection.end(side.other());
        writer.unread = writer.unread.saturating_sub(read);
        if let Some(waker) = writer.writer.take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends some of these bytes; how many.
    pub(super) fn poll_write(
        &mut self,
        moment: Moment<'_>,
        at: EndId,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(end) = self.end(at) else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        if end.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if end.said_last {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(WINDOW_BYTES - end.unread);
        if count == 0 && !bytes.is_empty() {
            end.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        end.unread += count;
        self.send(moment, at, Parcel::Bytes(Bytes::copy_from_slice(&bytes[..count])));
        Poll::Ready(Ok(count))
    }

    /// Says that nothing more comes from this side.
    pub(super) fn shut(&mut self, moment: Moment<'_>, at: EndId) {
        let Some(end) = self.end(at) else { return };
        if !end.said_last && !end.reset {
            end.said_last = true;
            self.send(moment, at, Parcel::End);
        }
    }

    /// A process lets go of its end. Without a word if it is `silent`.
    pub(super) fn close(&mut self, moment: Moment<'_>, at: EndId, silent: bool) {
        let Some(end) = self.end(at) else { return };
        let word = match end.standing {
            _ if silent || end.reset => None,
            Standing::Open if !end.inbox.is_empty() => Some(Parcel::Reset),
            Standing::Open if !end.said_last => Some(Parcel::End),
            _ => None,
        };
        end.standing = Standing::Gone;
        end.inbox.clear();
        end.reader = None;
        end.writer = None;
        if let Some(word) = word {
            self.send(moment, at, word);
        }
        self.forget(at.0);
    }

    fn forget(&mut self, id: ConnectionId) {
        let gone = |end: &End| matches!(end.standing, Standing::Gone | Standing::Refused);
        if self.connections[id.0].as_deref().is_some_and(|it| gone(&it.caller) && gone(&it.listener)) {
            self.connections[id.0] = None;
        }
    }

    /// Breaks off all connections between two hosts, at once and at both ends; what is on its way is lost.
    pub(super) fn break_off(&mut self, a: HostId, b: HostId) {
        for connection in self.connections.iter_mut().flatten() {
            let hosts = (connection.caller.host, connection.listener.host);
            if hosts == (a, b) || hosts == (b, a) {
                for side in [Side::Caller, Side::Listener] {
                    let end = connection.end(side);
                    end.reset = true;
                    end.lost = true;
                    end.inbox.clear();
                    end.wake();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
