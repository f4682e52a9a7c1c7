//! Virtual connections: what TCP makes of a network that is slow, cut, held, or gone.
//!
//! Each way of a connection is a queue of parcels, of which only the first is in the heap of events: what is behind it
//! cannot overtake it. A parcel that meets a cut or a host that is gone is sent again after a back-off that doubles, as TCP
//! does, so that it arrives after the healing if both ends still live; one that reaches a machine which does not know
//! the connection is answered with a reset. A killed process takes leave of its peers, since its system does; a host
//! that dies silently does not.

use std::collections::VecDeque;

use dacapo_core::{
    access::Secret,
    bus::Admin,
    digest::digest_of,
    hashed::Hashed,
    wire::{FromBus, ToBus},
};
use dacapo_service::{Method, Response};

use super::{
    queue::{ConnectionId, Event, HostId},
    stage::{Reachable, Stage},
};
use crate::engine::faults;

/// The first wait before a lost parcel is sent again; it doubles.
const RESEND_FIRST_US: u64 = 200_000;
/// The longest wait. TCP's own is two minutes; hardly anybody here would live to see that.
const RESEND_MAX_US: u64 = 1_000_000;
/// One parcel in so many travels along the slow tail.
const SLOW_TAIL_ONE_IN: u64 = 1_000;
/// How much longer that takes at most.
const SLOW_TAIL_US: u64 = 60_000;
/// What the two systems hold for a peer that does not read: its receive buffer and the sender's send buffer. Little, so
/// that the queue behind them fills with the little that a run sends.
pub(super) const WINDOW_BYTES: usize = 4 << 10;

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From who opened it.
    Out,
    /// To who opened it.
    Back,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Self::Out => Self::Back,
            Self::Back => Self::Out,
        }
    }
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// Frames, between an instance and the bus.
    Frames,
    /// One request and its answer.
    Http,
}

/// A request of HTTP.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// Of a customer to a service.
    Service {
        method: Method,
        path: String,
        body: String,
        idempotency_key: String,
        caller: String,
        at_least: Option<dacapo_core::Position>,
    },
    /// Of an administrator to the bus.
    Bus(Admin),
    /// Of whoever reads the log.
    Log,
}

/// What travels.
#[derive(Debug)]
enum Parcel {
    Syn,
    SynAck,
    Refused,
    /// From HTTP to frames.
    Upgrade,
    Upgraded,
    Unavailable,
    ToBus(Hashed<ToBus>),
    FromBus(Hashed<FromBus>, usize),
    Request(Box<Asked>),
    Response(Box<Response>),
    Close,
    Reset,
}

/// What a process hears of a connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// Somebody wants to speak frames.
    Upgrade,
    /// The connection that it wanted is open.
    Opened,
    /// There will be none, for this reason.
    Refused(&'static str),
    ToBus(Hashed<ToBus>),
    /// With its size.
    FromBus(Hashed<FromBus>, usize),
    Request(Box<Asked>),
    Response(Box<Response>),
    /// The peer closed it, or it broke.
    Ended,
}

#[derive(Debug)]
struct End {
    host: HostId,
    life: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Direction {
    travelling: VecDeque<(u64, Parcel)>,
    last_us: u64,
    sent: u64,
    /// Since when the first has been waiting for the link to open.
    stalled_us: Option<u64>,
    /// It did not only wait: it was lost.
    was_cut: bool,
    /// How often the first was sent again because nobody was there.
    resent: u32,
    /// Bytes that the receiver has not read.
    unread: usize,
    /// Nothing that is sent this way arrives, and nobody says so.
    swallowed: bool,
    /// Its sender is gone and sends nothing again.
    orphaned: bool,
}

#[derive(Debug)]
struct Connection {
    speech: Speech,
    identity: u64,
    /// The token that whoever opened it shows with its first words.
    shown: Option<Secret>,
    ends: [End; 2],
    ways: [Direction; 2],
}

/// Sender and receiver of a way, as places in `ends`.
fn ends_of(way: Way) -> (usize, usize) {
    match way {
        Way::Out => (0, 1),
        Way::Back => (1, 0),
    }
}

impl Connection {
    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.closed) && self.ways.iter().all(|way| way.travelling.is_empty())
    }
}

/// All connections of a run.
#[derive(Debug, Default)]
pub(super) struct Net {
    connections: Vec<Option<Box<Connection>>>,
    /// The open connections of each host; some may be over.
    of_host: Vec<Vec<ConnectionId>>,
    stalled: Vec<(ConnectionId, Way)>,
}

impl Net {
    pub(super) fn new(hosts: usize) -> Self {
        Self { connections: Vec::new(), of_host: vec![Vec::new(); hosts], stalled: Vec::new() }
    }

    fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id)?.as_deref_mut()
    }

    fn look(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id)?.as_deref()
    }

    fn settle(&mut self, id: ConnectionId) {
        if self.connections[id].as_ref().is_some_and(|connection| connection.is_over()) {
            self.connections[id] = None;
        }
    }

    /// Where in `ends` the host is.
    fn end_of(&self, id: ConnectionId, host: HostId) -> Option<usize> {
        let connection = self.look(id)?;
        (0..2).find(|end| connection.ends[*end].host == host)
    }

    /// Whoever opens this connection shows this token.
    pub(super) fn show(&mut self, id: ConnectionId, shown: Option<Secret>) {
        if let Some(connection) = self.get(id) {
            connection.shown = shown;
        }
    }

    /// The token that was shown with the connection's first words.
    pub(super) fn shown(&self, id: ConnectionId) -> Option<&Secret> {
        self.look(id)?.shown.as_ref()
    }

    /// The bytes that the host's peer has not read.
    pub(super) fn unread(&self, id: ConnectionId, host: HostId) -> usize {
        let Some(end) = self.end_of(id, host) else { return 0 };
        self.look(id).map_or(0, |connection| connection.ways[end].unread)
    }

    /// The host has read this much.
    pub(super) fn read(&mut self, id: ConnectionId, host: HostId, bytes: usize) {
        let Some(end) = self.end_of(id, host) else { return };
        if let Some(connection) = self.get(id) {
            let way = &mut connection.ways[1 - end];
            way.unread = way.unread.saturating_sub(bytes);
        }
    }
}

impl Stage {
    /// Begins to open a connection; [`Heard::Opened`] or [`Heard::Refused`] follows, or nothing.
    pub(super) fn connect(&mut self, from: HostId, to: HostId, speech: Speech, identity: u64) -> ConnectionId {
        let id = self.net.connections.len();
        let life = self.lives[from].number;
        let ends = [End { host: from, life, closed: false }, End { host: to, life: 0, closed: false }];
        let ways = [Direction::default(), Direction::default()];
        self.net.connections.push(Some(Box::new(Connection { speech, identity, shown: None, ends, ways })));
        self.net.of_host[from].push(id);
        self.post(id, Way::Out, Parcel::Syn);
        id
    }

    /// The server lets somebody speak frames, or not.
    pub(super) fn admit(&mut self, id: ConnectionId, admitted: bool) {
        self.post(id, Way::Back, if admitted { Parcel::Upgraded } else { Parcel::Unavailable });
        if !admitted && let Some(connection) = self.net.get(id) {
            connection.ends[1].closed = true;
        }
    }

    pub(super) fn send_to_bus(&mut self, id: ConnectionId, frame: Hashed<ToBus>) {
        self.post(id, Way::Out, Parcel::ToBus(frame));
    }

    pub(super) fn send_from_bus(&mut self, id: ConnectionId, frame: Hashed<FromBus>, bytes: usize) {
        if let Some(connection) = self.net.get(id) {
            connection.ways[1].unread += bytes;
        }
        self.post(id, Way::Back, Parcel::FromBus(frame, bytes));
    }

    pub(super) fn request(&mut self, id: ConnectionId, asked: Asked) {
        self.post(id, Way::Out, Parcel::Request(Box::new(asked)));
    }

    /// Answers a request, after which the server is done with the connection.
    pub(super) fn respond(&mut self, id: ConnectionId, response: Response) {
        self.post(id, Way::Back, Parcel::Response(Box::new(response)));
        if let Some(connection) = self.net.get(id) {
            connection.ends[1].closed = true;
        }
    }

    /// A process closes its end after what it has sent.
    pub(super) fn close(&mut self, id: ConnectionId, host: HostId) {
        let Some(end) = self.net.end_of(id, host) else { return };
        self.close_end(id, end);
    }

    fn close_end(&mut self, id: ConnectionId, end: usize) {
        let Some(connection) = self.net.get(id) else { return };
        if std::mem::replace(&mut connection.ends[end].closed, true) {
            return;
        }
        if !connection.ends[1 - end].closed {
            self.post(id, if end == 0 { Way::Out } else { Way::Back }, Parcel::Close);
        }
        self.net.settle(id);
    }

    /// A life is over. Its system closes its connections; if that is gone too, nobody hears a thing.
    pub(super) fn abandon(&mut self, host: HostId, silently: bool) {
        for id in std::mem::take(&mut self.net.of_host[host]) {
            let Some(end) = self.net.end_of(id, host) else { continue };
            if !silently {
                self.close_end(id, end);
            } else if let Some(connection) = self.net.get(id) {
                connection.ends[end].closed = true;
                connection.ways[end].orphaned = true;
                self.net.settle(id);
            }
        }
    }

    /// Breaks off all connections between two hosts: both ends hear of it at once, and what was under way is lost.
    pub(super) fn break_off(&mut self, a: HostId, b: HostId) -> Vec<(HostId, ConnectionId)> {
        let mut told = Vec::new();
        for id in self.between(a, b) {
            let Some(connection) = self.net.get(id) else { continue };
            for end in &mut connection.ends {
                if !std::mem::replace(&mut end.closed, true) && end.life > 0 {
                    told.push((end.host, id));
                }
            }
            connection.ways.iter_mut().for_each(|way| way.travelling.clear());
            self.net.settle(id);
        }
        told
    }

    /// All connections of a host with another end there. The other hears nothing of it, and what it sends is swallowed.
    pub(super) fn forget_at(&mut self, host: HostId, unaware: HostId) -> Vec<(HostId, ConnectionId)> {
        let mut told = Vec::new();
        for id in self.between(host, unaware) {
            let Some(end) = self.net.end_of(id, host) else { continue };
            let Some(connection) = self.net.get(id) else { continue };
            if connection.ends[1].life == 0 || connection.ends.iter().any(|end| end.closed) {
                continue;
            }
            connection.ends[end].closed = true;
            connection.ways[1 - end].swallowed = true;
            connection.ways.iter_mut().for_each(|way| way.travelling.clear());
            self.mark(unaware, crate::marks::HALF_OPEN);
            told.push((host, id));
        }
        told
    }

    fn between(&mut self, a: HostId, b: HostId) -> Vec<ConnectionId> {
        let mut found: Vec<ConnectionId> = self.net.of_host[a].clone();
        found.extend(&self.net.of_host[b]);
        found.sort_unstable();
        found.dedup();
        found.retain(|id| {
            self.net.get(*id).is_some_and(|connection| {
                let hosts = (connection.ends[0].host, connection.ends[1].host);
                hosts == (a, b) || hosts == (b, a)
            })
        });
        found
    }

    fn post(&mut self, id: ConnectionId, way: Way, parcel: Parcel) {
        let now_us = self.now_us;
        let Some(connection) = self.net.look(id) else { return };
        let (sender, receiver) = ends_of(way);
        let (from, to) = (connection.ends[sender].host, connection.ends[receiver].host);
        let (identity, number) = (connection.identity, connection.ways[sender].sent);
        let link = self.link(from, to);
        let mut at_us = now_us + link.us + self.jitter_us(link.standing_us, &(identity, sender, number));
        let mut resent = 0;
        while link.loss_permille > 0
            && resent < 8
            && self.chance.happens("parcel lost", &(identity, sender, number, resent), link.loss_permille)
        {
            at_us += (RESEND_FIRST_US << resent).min(RESEND_MAX_US);
            resent += 1;
        }
        if resent > 0 {
            self.mark(from, crate::marks::PARCEL_LOST);
        }
        let Some(connection) = self.net.get(id) else { return };
        let direction = &mut connection.ways[sender];
        direction.sent += 1;
        if direction.swallowed {
            return;
        }
        at_us = at_us.max(direction.last_us);
        direction.last_us = at_us;
        direction.travelling.push_back((at_us, parcel));
        if direction.travelling.len() == 1 {
            // Nothing is stalled that has nothing to wait with.
            self.queue.put(at_us, Event::Arrive(id, way));
        }
    }

    /// Up to a fifth of the standing latency, and now and then much more.
    fn jitter_us(&self, standing_us: u64, identity: &(u64, usize, u64)) -> u64 {
        let drawn = self.chance.number("parcel jitter", identity);
        if drawn.is_multiple_of(SLOW_TAIL_ONE_IN) {
            return (drawn >> 32) % SLOW_TAIL_US;
        }
        (drawn >> 32) % (standing_us / 5 + 1)
    }

    /// The first parcel of a way has come to where it can be heard, or not. Who hears what.
    pub(super) fn arrive(&mut self, id: ConnectionId, way: Way) -> Option<(HostId, Heard)> {
        let now_us = self.now_us;
        let (sender, receiver) = ends_of(way);
        let connection = self.net.look(id)?;
        let direction = &connection.ways[sender];
        if direction.stalled_us.is_some() || direction.travelling.front().is_none_or(|(at_us, _)| *at_us > now_us) {
            return None;
        }
        let (from, to) = (connection.ends[sender].host, connection.ends[receiver].host);
        let link_way = self.link(from, to).way;
        let passes = link_way == faults::Way::Open;
        let there = self.lives[to].reachable != Reachable::Gone;
        let connection = self.net.get(id)?;
        let direction = &mut connection.ways[sender];
        if (!passes || !there) && direction.orphaned {
            direction.travelling.clear();
            self.net.settle(id);
            return None;
        }
        if !passes {
            direction.stalled_us = Some(now_us);
            direction.was_cut = link_way == faults::Way::Cut;
            self.net.stalled.push((id, way));
            return None;
        }
        if !there {
            if connection.ends[sender].closed {
                direction.travelling.clear();
                self.net.settle(id);
                return None;
            }
            let wait_us = (RESEND_FIRST_US << direction.resent.min(8)).min(RESEND_MAX_US);
            direction.resent += 1;
            if let Some((at_us, _)) = direction.travelling.front_mut() {
                *at_us = now_us + wait_us;
                direction.last_us = direction.last_us.max(*at_us);
            }
            self.queue.put(now_us + wait_us, Event::Arrive(id, way));
            return None;
        }
        direction.resent = 0;
        let (_, parcel) = direction.travelling.pop_front()?;
        if let Some((at_us, _)) = direction.travelling.front() {
            self.queue.put((*at_us).max(now_us), Event::Arrive(id, way));
        }
        let heard = self.unpack(id, way, to, parcel);
        self.net.settle(id);
        heard.map(|heard| (to, heard))
    }

    fn unpack(&mut self, id: ConnectionId, way: Way, to: HostId, parcel: Parcel) -> Option<Heard> {
        if matches!(parcel, Parcel::Syn) {
            self.greet(id, to);
            return None;
        }
        let (sender, receiver) = ends_of(way);
        let connection = self.net.get(id)?;
        let end = &mut connection.ends[receiver];
        if end.closed {
            // A machine that does not know the connection says so to whoever goes on talking.
            let is_last = matches!(parcel, Parcel::Close | Parcel::Reset | Parcel::Refused | Parcel::Unavailable);
            if !is_last && !connection.ends[sender].closed {
                self.post(id, way.other(), Parcel::Reset);
            }
            return None;
        }
        Some(match parcel {
            Parcel::Syn => return None,
            Parcel::SynAck if connection.speech == Speech::Http => Heard::Opened,
            Parcel::SynAck => {
                self.post(id, Way::Out, Parcel::Upgrade);
                return None;
            }
            Parcel::Refused => {
                end.closed = true;
                connection.ends[sender].closed = true;
                Heard::Refused("it refuses connections")
            }
            Parcel::Unavailable => {
                end.closed = true;
                Heard::Refused("it answered 503")
            }
            Parcel::Upgrade => Heard::Upgrade,
            Parcel::Upgraded => Heard::Opened,
            Parcel::ToBus(frame) => Heard::ToBus(frame),
            Parcel::FromBus(frame, bytes) => Heard::FromBus(frame, bytes),
            Parcel::Request(asked) => Heard::Request(asked),
            Parcel::Response(response) => {
                // The last that is said: the client closes.
                end.closed = true;
                Heard::Response(response)
            }
            Parcel::Close | Parcel::Reset => {
                end.closed = true;
                Heard::Ended
            }
        })
    }

    /// Somebody wants a connection.
    fn greet(&mut self, id: ConnectionId, to: HostId) {
        let (refuses, life) = (self.view(to).refuses, self.lives[to].number);
        match (refuses, self.lives[to].reachable) {
            (Some(true), _) => {}
            (None, Reachable::Runs) => {
                let Some(connection) = self.net.get(id) else { return };
                connection.ends[1].life = life;
                self.net.of_host[to].push(id);
                self.post(id, Way::Back, Parcel::SynAck);
            }
            _ => self.post(id, Way::Back, Parcel::Refused),
        }
    }

    /// Lets go on what waited for a link that has opened.
    pub(super) fn resume_links(&mut self) {
        let now_us = self.now_us;
        for (id, way) in std::mem::take(&mut self.net.stalled) {
            let Some(connection) = self.net.look(id) else { continue };
            let (sender, receiver) = ends_of(way);
            let (from, to) = (connection.ends[sender].host, connection.ends[receiver].host);
            let link = self.link(from, to);
            let Some(connection) = self.net.get(id) else { continue };
            let direction = &mut connection.ways[sender];
            let Some(since_us) = direction.stalled_us else { continue };
            if link.way != faults::Way::Open {
                direction.was_cut |= link.way == faults::Way::Cut;
                self.net.stalled.push((id, way));
                continue;
            }
            direction.stalled_us = None;
            let at_us = if std::mem::take(&mut direction.was_cut) {
                next_resend_us(since_us, now_us) + link.us
            } else {
                now_us
            };
            if let Some((first_us, _)) = direction.travelling.front_mut() {
                *first_us = at_us;
                direction.last_us = direction.last_us.max(at_us);
                self.queue.put(at_us, Event::Arrive(id, way));
            }
        }
    }
}

/// When what was lost at one time is sent again, not before another.
fn next_resend_us(lost_us: u64, not_before_us: u64) -> u64 {
    let (mut at_us, mut wait_us) = (lost_us, RESEND_FIRST_US);
    while at_us < not_before_us {
        at_us += wait_us;
        wait_us = (wait_us * 2).min(RESEND_MAX_US);
    }
    at_us
}

/// An identity of a connection for draws.
pub(super) fn identity<I: std::hash::Hash>(of: &I) -> u64 {
    digest_of(0, of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_sent_again_after_waits_that_double() {
        assert_eq!(next_resend_us(100, 101), 200_100);
        assert_eq!(next_resend_us(100, 200_101), 600_100);
        assert_eq!(next_resend_us(0, 5_000_000), 5_400_000, "never more than a second apart");
    }
}
