//! Who is connected, as whom, and with how much credit.

use std::time::Duration;

use dacapo_core::{
    Position, ServiceName, Timestamp,
    bus::{Admin, ConnId},
    store::ServiceRecord,
    wire::{Credit, Error, ErrorCode, Hello, Welcome},
};

use super::{Broken, Judged, Mark, Model, changes::begins_right, must};

/// A connection as both ends must see it.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact that was seen or not, and they do not exclude each other"
)]
pub struct Connection {
    /// What it introduced itself as.
    pub hello: Option<Hello>,
    /// Its session, once it was welcomed.
    pub session: Option<u64>,
    /// It said `ready`.
    pub ready: bool,
    /// How many deliveries may be open at once.
    pub credit: u32,
    /// The most that it was while a delivery that is not sent yet may have been decided.
    pub(super) credit_high: u32,
    pub(super) credit_said: bool,
    /// It said `bye`, or a newer connection took over or took its place: its deliveries may move.
    pub(super) leaving: bool,
    /// A newer connection of the same instance was welcomed.
    pub(super) superseded: bool,
    /// The hello was refused.
    pub(super) refused: bool,
    /// The bus closed it.
    pub closed: bool,
    /// It ended, and the bus was told.
    pub gone: bool,
    /// Its publishes are turned away.
    pub throttled: bool,
    pub(super) heard: Timestamp,
    /// The end of the log when it said hello.
    since: Position,
    /// When it was closed or ended.
    ended: Option<Timestamp>,
}

impl Connection {
    /// Whether it can still be spoken to.
    pub fn lives(&self) -> bool {
        !self.closed && !self.gone && !self.superseded
    }

    /// Whether its hello has no answer.
    pub(super) fn waits(&self) -> bool {
        self.hello.is_some() && self.session.is_none() && !self.refused && !self.leaving
    }

    pub(super) fn quiet(&mut self) {
        self.credit_high = self.credit;
    }

    /// Whether its hello registers a service like this.
    pub(super) fn may_register(&self, record: &ServiceRecord) -> bool {
        self.hello.as_ref().is_some_and(|hello| {
            hello.service == record.name
                && record.types.iter().map(|taken| &taken.event_type).all(|taken| hello.types.contains(taken))
                && begins_right(record, hello.start, self.since)
        })
    }

    /// Whether it ended just now and may come back to what it had open.
    pub(super) fn may_come_back(&self, now: Timestamp, grace: Duration) -> bool {
        self.gone && !self.closed && !self.leaving && self.ended.is_some_and(|ended| now < ended + grace)
    }

    fn is_of(&self, hello: &Hello) -> bool {
        self.hello.as_ref().is_some_and(|own| own.service == hello.service && own.instance == hello.instance)
    }
}

impl Model {
    pub(super) fn connected(&mut self, conn: ConnId) {
        self.connections.insert(conn, Connection { heard: self.now, ..Connection::default() });
    }

    pub(super) fn disconnected(&mut self, conn: ConnId) {
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.gone = true;
            connection.ended.get_or_insert(now);
        }
    }

    pub(super) fn heard(&mut self, conn: ConnId) {
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.heard = now;
        }
    }

    pub(super) fn hello(&mut self, conn: ConnId, hello: &Hello) {
        let since = self.log.position();
        for (other, connection) in &mut self.connections {
            let same = connection.hello.as_ref().is_some_and(|own| own.incarnation == hello.incarnation);
            if *other == conn && connection.hello.is_none() {
                connection.hello = Some(hello.clone());
                connection.since = since;
            } else if *other != conn && connection.is_of(hello) && (same || connection.gone) {
                connection.leaving = true;
            }
        }
    }

    pub(super) fn ready(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.ready = true;
        }
    }

    pub(super) fn bye(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.leaving = true;
        }
    }

    pub(super) fn credit(&mut self, conn: ConnId, credit: &Credit) {
        if credit.request.is_some() {
            return self.stream_credit(conn, credit);
        }
        let credit_max = self.limits.credit_max;
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.credit_said = true;
            connection.credit = credit.credit.min(credit_max);
            connection.credit_high = connection.credit_high.max(connection.credit);
        }
    }

    pub(super) fn welcomed(&mut self, conn: ConnId, welcome: &Welcome) -> Judged {
        must!(welcome.term == self.term, "terms", "{conn:?} was welcomed under {}", welcome.term);
        must!(
            welcome.position <= self.log.position(),
            "shown_is_durable",
            "{conn:?} was told {}, the log ends at {}",
            welcome.position,
            self.log.position()
        );
        let sessions = self.connections.values().filter_map(|connection| connection.session);
        let repeated = sessions.into_iter().any(|session| session == welcome.session);
        must!(!repeated, "one_owner_per_lane", "session {} was given twice", welcome.session);
        let Some(hello) = self.connections[&conn].hello.clone() else {
            return Err(Broken { rule: "answers", what: format!("{conn:?} said no hello and was welcomed") });
        };
        must!(self.connections[&conn].session.is_none(), "answers", "{conn:?} was welcomed twice");
        let Some(record) = self.log.services().get(&hello.service) else {
            return Err(Broken {
                rule: "shown_is_durable",
                what: format!("{conn:?} was welcomed; {} is not durable", hello.service),
            });
        };
        let mut declared = hello.types.clone();
        declared.sort();
        declared.dedup();
        let same = record.types.iter().map(|taken| &taken.event_type).eq(declared.iter());
        let changed = self
            .asked
            .iter()
            .any(|asked| matches!(&asked.admin, Admin::ChangeTypes { service, .. } if *service == hello.service));
        // What was right when it was decided may have been changed in the same commit; the bus closes it then.
        must!(same || changed, "types", "{conn:?} declared {declared:?}, the service takes {:?}", record.types);
        must!(
            welcome.credit <= hello.credit && welcome.credit <= self.limits.credit_max,
            "bounded",
            "{conn:?} was granted {}",
            welcome.credit
        );
        for (other, connection) in &mut self.connections {
            if *other != conn && connection.is_of(&hello) && connection.session.is_some() {
                connection.superseded = true;
            }
        }
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.session = Some(welcome.session);
            // What was said after the hello counts more, even if it was said before the welcome came.
            if !connection.credit_said {
                connection.credit = welcome.credit;
            }
            connection.credit_high = connection.credit_high.max(welcome.credit);
        }
        Ok(())
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.closed = true;
            connection.ended.get_or_insert(now);
        }
    }

    /// Whether instances of a service are there, all of them could take deliveries, and none may come back to lanes
    /// that wait for it.
    pub(super) fn hands_are_free(&self, service: &ServiceName) -> bool {
        let of_service = |connection: &&Connection| {
            connection.hello.as_ref().is_some_and(|hello| hello.service == *service) && !connection.refused
        };
        let (mut living, mut free) = (0, 0);
        for connection in self.connections.values().filter(of_service) {
            if connection.lives() {
                living += 1;
                free += usize::from(connection.session.is_some() && connection.ready && connection.credit > 0);
            } else if connection.ended.is_some_and(|ended| self.now <= ended + self.limits.grace) {
                return false;
            }
        }
        living > 0 && living == free
    }

    /// An error frame: it answers what it names, or else the hello.
    pub(super) fn erred(&mut self, conn: ConnId, error: &Error) -> Judged {
        must!(!error.message.is_empty() && !error.help.is_empty(), "errors say what to do", "{error:?}");
        match error.code {
            ErrorCode::TypesDiffer => self.marks.reach(Mark::TypesDiffer),
            ErrorCode::InstanceAlive => self.marks.reach(Mark::InstanceAlive),
            ErrorCode::Superseded => self.marks.reach(Mark::Superseded),
            ErrorCode::Silent => self.marks.reach(Mark::Silent),
            _ => {}
        }
        if let Some(request) = error.request {
            return self.request_erred(conn, request, error);
        }
        if error.code == ErrorCode::OutOfTurn && self.out_of_turn(conn) {
            return Ok(());
        }
        if let Some(connection) = self.connections.get_mut(&conn)
            && connection.waits()
        {
            connection.refused = true;
        }
        Ok(())
    }
}
