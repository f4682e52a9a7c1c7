//! What each transition does: the clients' side.

use std::time::Duration;

use dacapo_core::{
    CorrelationId, Data, EventId, EventType, Expectation, Guard, InstanceName, Key, NewEvent, Position, ServiceName,
    Source, Version,
    bus::{Admin, ConnId, Input},
    wire::{Bye, Complete, Credit, Extend, Hello, Nack, Publish, Read, ReadWhat, Ready, Rebuild, Start, Token},
};
use dacapo_properties::model::{Judged, Speaker};

use crate::{
    transition::{Choice, Demand, Flaw, GuardChoice, Id, Pick, Transition},
    world::{INSTANCES, World},
};

pub(crate) fn key(index: u8) -> Key {
    Key::of(["a", "b", "c"][usize::from(index) % 3])
}

pub(crate) fn event_type(index: u8) -> EventType {
    EventType::of(["A", "B", "C"][usize::from(index) % 3])
}

pub(crate) fn service(index: u8) -> ServiceName {
    ServiceName::of(["alpha", "beta"][usize::from(index) % 2])
}

/// The types that a service begins with: they overlap in B.
fn first_types(index: u8, system: bool) -> Vec<EventType> {
    if index.is_multiple_of(2) {
        return vec![event_type(0), event_type(1)];
    }
    let of_the_bus = ["$OwnerLeft", "$Parked", "$Skipped"].into_iter().filter(|_| system);
    [event_type(1), event_type(2)].into_iter().chain(of_the_bus.map(EventType::of)).collect()
}

impl World {
    pub(crate) fn act(&mut self, transition: &Transition) -> Judged {
        use Transition as T;
        match transition {
            T::Settle => self.settle(),
            T::Commit { say } => self.commit_applied(*say),
            T::LookUp { pick, late } => self.look_up_answered(*pick, *late),
            T::Read { pick, late } => self.read_answered(*pick, *late),
            T::Term => self.term_told(),
            T::Advance { ms, silent, late } => {
                if !silent {
                    self.ping_all()?;
                }
                self.advance(Duration::from_millis(u64::from(*ms)), *late)
            }
            T::Join { slot, credit } => {
                self.connect(usize::from(*slot) % INSTANCES)?;
                self.hello(*slot, false, *credit, false)?;
                self.said(*slot, Ready {})
            }
            T::Publish { slot, events, guards, flaw } => self.publish(*slot, events, guards, *flaw),
            T::Resend { slot, pick } => self.resend(*slot, *pick),
            T::Complete { pick, events, guards, flaw } => self.complete(*pick, events, guards, *flaw),
            T::Nack { pick } => match self.picked(*pick) {
                Some((conn, position, token)) => {
                    self.frame(conn, Nack { position, token, reason: "does not work".to_owned() })
                }
                None => Ok(()),
            },
            T::Extend { pick } => match self.picked(*pick) {
                Some((conn, position, token)) => self.frame(conn, Extend { position, token }),
                None => Ok(()),
            },
            T::Credit { slot, credit } => self.said(*slot, Credit { request: None, credit: u32::from(*credit) }),
            T::Disconnect { slot } => match self.conn(*slot) {
                Some(conn) => self.feed(Input::Disconnected { conn }),
                None => Ok(()),
            },
            T::Bye { slot } => self.said(*slot, Bye {}),
            T::Connect { slot } => self.connect(usize::from(*slot)),
            T::Hello { slot, reborn, wrong_types, credit, now } => {
                if *reborn {
                    self.incarnations[usize::from(*slot) % INSTANCES] += 1;
                }
                self.hello_as(*slot, *wrong_types, *credit, *now)
            }
            T::Ready { slot } => self.said(*slot, Ready {}),
            T::ReadKey { slot, key: k, after, event_type: t } => {
                let types = t.iter().map(|t| event_type(*t)).collect();
                let what = ReadWhat::Key { key: key(*k), after: Version(u64::from(*after)), types };
                let request = self.next_request();
                self.said(*slot, Read { request, what })
            }
            T::ReadKeys { slot, after } => {
                let request = self.next_request();
                self.said(*slot, Read { request, what: ReadWhat::Keys { after: after.map(key) } })
            }
            T::Rebuild { slot, after, event_type: t, follow, credit } => {
                let types = t.iter().map(|t| event_type(*t)).collect();
                let after = Position(u64::from(*after).min(self.model.log().position().0));
                let request = self.next_request();
                self.said(*slot, Rebuild { request, after, types, follow: *follow, credit: u32::from(*credit) })
            }
            T::StreamCredit { pick, credit } => self.stream_credit(*pick, *credit),
            T::Retry { service: s, key: k } => self.admin(Admin::Retry { service: service(*s), key: key(*k) }),
            T::Skip { service: s, key: k } => self.admin(Admin::Skip { service: service(*s), key: key(*k) }),
            T::ChangeTypes { service: s, types, beginning } => {
                let of_users = (0..3).filter(|bit| types & (1 << bit) != 0).map(event_type);
                // The bus's own events can be taken like any other.
                let of_the_bus = (types & 8 != 0).then(|| EventType::of("$OwnerLeft"));
                let types = of_users.chain(of_the_bus).collect();
                let start = if *beginning { Start::Beginning } else { Start::Now };
                self.admin(Admin::ChangeTypes { service: service(*s), types, start })
            }
            T::Services => self.admin(Admin::Services),
            T::Lanes { service: s, parked, limit } => {
                let limit = usize::from(*limit);
                self.admin(Admin::Lanes { service: service(*s), parked: *parked, after: None, limit })
            }
            T::CommitFails { how } => self.commit_fails(*how),
            T::StoreFails { pick } => self.store_fails(*pick),
            T::Usurp => {
                self.model.usurp();
                Ok(())
            }
            T::ClockJumps { to } => {
                self.clock_jumps(*to);
                Ok(())
            }
            T::Crash { after, applied } => self.crash_after(*after, *applied),
        }
    }

    /// Says something on a slot's connection once it said `hello`; publishers need not.
    fn said(&mut self, slot: u8, frame: impl Into<dacapo_core::wire::ToBus>) -> Judged {
        let Some(conn) = self.conn(slot) else { return Ok(()) };
        let introduced = self.model.connections()[&conn].hello.is_some();
        if usize::from(slot) < INSTANCES && introduced { self.frame(conn, frame) } else { Ok(()) }
    }

    fn hello_as(&mut self, slot: u8, wrong_types: bool, credit: u8, now: bool) -> Judged {
        let Some(conn) = self.conn(slot) else { return Ok(()) };
        if self.model.connections()[&conn].hello.is_some() {
            return Ok(());
        }
        self.hello(slot, wrong_types, credit, now)
    }

    fn hello(&mut self, slot: u8, wrong_types: bool, credit: u8, now: bool) -> Judged {
        let slot = usize::from(slot) % INSTANCES;
        let Some(conn) = self.conn(slot as u8) else { return Ok(()) };
        let mut hello = self.introduction((slot / 3) as u8, credit);
        hello.instance = InstanceName::of(format!("i{}", slot % 3));
        hello.incarnation = self.incarnations[slot];
        if wrong_types {
            hello.types.pop();
            hello.types.push(EventType::of("Z"));
        }
        if now {
            hello.start = Start::Now;
        }
        self.frame(conn, hello)
    }

    /// A `hello` with the types that the service takes now.
    pub(crate) fn introduction(&self, of: u8, credit: u8) -> Hello {
        let record = self.model.log().services().get(&service(of));
        let types = record.map(|record| record.types.iter().map(|taken| taken.event_type.clone()).collect());
        Hello {
            service: service(of),
            instance: InstanceName::of("healthy"),
            incarnation: 1,
            types: types.unwrap_or_else(|| first_types(of, self.system)),
            start: Start::Beginning,
            credit: u32::from(credit),
            bearer: None,
        }
    }

    pub(crate) fn admin(&mut self, admin: Admin) -> Judged {
        let conn = self.connect_unseen()?;
        if self.model.connections().contains_key(&conn) {
            self.feed(Input::Admin { conn, admin, by: None })?;
        }
        Ok(())
    }

    fn stream_credit(&mut self, pick: u8, credit: u8) -> Judged {
        let streams = self.model.streams();
        let open: Vec<_> = streams.iter().filter(|stream| !stream.ended).map(|s| (s.conn, s.request)).collect();
        if open.is_empty() {
            return Ok(());
        }
        let (conn, request) = open[usize::from(pick) % open.len()];
        self.frame(conn, Credit { request: Some(request), credit: u32::from(credit) })
    }

    // Batches.

    fn publish(&mut self, slot: u8, choices: &[Choice], guards: &[GuardChoice], flaw: Option<Flaw>) -> Judged {
        let Some(conn) = self.conn(slot) else { return Ok(()) };
        let hello = self.model.connections()[&conn].hello.as_ref();
        let speaker = match hello {
            Some(hello) => Speaker::Service(hello.service.clone()),
            None if usize::from(slot) < INSTANCES => return Ok(()),
            None => Speaker::Publisher,
        };
        let (events, guards) = self.batch(&speaker, choices, guards, flaw);
        self.send_batch(conn, events, guards)
    }

    fn resend(&mut self, slot: u8, pick: u8) -> Judged {
        if self.sent.is_empty() {
            return Ok(());
        }
        let (events, guards) = self.sent[self.sent.len() - 1 - usize::from(pick) % self.sent.len()].clone();
        match self.conn(slot) {
            Some(conn) if usize::from(slot) >= INSTANCES || self.model.connections()[&conn].hello.is_some() => {
                self.send_batch(conn, events, guards)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn send_batch(&mut self, conn: ConnId, events: Vec<NewEvent>, guards: Vec<Guard>) -> Judged {
        let request = self.next_request();
        if !events.is_empty() {
            self.sent.push((events.clone(), guards.clone()));
        }
        self.frame(conn, Publish { request, events, guards })
    }

    fn complete(&mut self, pick: Pick, choices: &[Choice], guards: &[GuardChoice], flaw: Option<Flaw>) -> Judged {
        let Some((conn, position, token)) = self.picked(pick) else { return Ok(()) };
        let Some(event) = self.model.log().event(position).cloned() else { return Ok(()) };
        let service = self.model.connections()[&conn].hello.as_ref().map(|hello| hello.service.clone());
        let Some(service) = service else { return Ok(()) };
        let speaker = Speaker::Completion(service, Box::new((*event).clone()));
        let (events, guards) = self.batch(&speaker, choices, guards, flaw);
        self.frame(conn, Complete { position, token, events, guards })
    }

    /// A delivery, and the connection on which it is answered.
    fn picked(&self, pick: Pick) -> Option<(ConnId, Position, Token)> {
        let open: Vec<usize> =
            (0..self.model.deliveries().len()).filter(|index| self.model.seems_open(*index)).collect();
        let nth = |k: u8| {
            let index = *open.get(usize::from(k).checked_rem(open.len())?)?;
            Some(&self.model.deliveries()[index])
        };
        match pick {
            Pick::Open(k) => nth(k).map(|delivery| (delivery.conn, delivery.position, delivery.token)),
            Pick::Ever(k) => {
                let index = usize::from(k).checked_rem(self.received.len())?;
                let (slot, position, token) = self.received[index];
                let conn = self.conn(slot as u8)?;
                self.model.connections()[&conn].hello.as_ref()?;
                Some((conn, position, token))
            }
            Pick::Stolen(k) => {
                let delivery = nth(k)?;
                let mut others = self.model.connections().iter().filter(|(conn, connection)| {
                    **conn != delivery.conn
                        && connection.lives()
                        && connection.hello.as_ref().is_some_and(|hello| hello.service == delivery.service)
                });
                others.next().map(|(conn, _)| (*conn, delivery.position, delivery.token))
            }
        }
    }

    /// Makes choices into events: their demands are right, stale or ahead of the log as it is now.
    fn batch(
        &mut self,
        speaker: &Speaker,
        choices: &[Choice],
        guards: &[GuardChoice],
        flaw: Option<Flaw>,
    ) -> (Vec<NewEvent>, Vec<Guard>) {
        let mut events: Vec<NewEvent> = vec![];
        for choice in choices {
            let event = self.new_event(speaker, *choice, &events);
            if !events.iter().any(|other| other.id == event.id) {
                events.push(event);
            }
        }
        let head = |key: &Key| self.model.log().head(key, self.model.log().position()).0;
        let guards = guards.iter().map(|guard| {
            let key = key(guard.key);
            let version = if guard.right { head(&key) } else { Version(head(&key).0 + 1) };
            Guard { key, version }
        });
        let guards = guards.collect();
        spoil(&mut events, flaw);
        (events, guards)
    }

    fn new_event(&mut self, speaker: &Speaker, choice: Choice, earlier: &[NewEvent]) -> NewEvent {
        let known = |k: u8| {
            let all: Vec<&NewEvent> = self.sent.iter().flat_map(|(events, _)| events).collect();
            let index = all.len().checked_sub(1)?.checked_sub(usize::from(k) % all.len())?;
            Some(all[index].clone())
        };
        match choice.id {
            Id::Same(k) => {
                if let Some(event) = known(k) {
                    return event;
                }
            }
            Id::Changed(k) => {
                if let Some(event) = known(k) {
                    return NewEvent { data: Data::of(&1), ..event };
                }
            }
            Id::Fresh => {}
        }
        self.fresh += 1;
        let key = key(choice.key);
        let log = self.model.log();
        let head = log.head(&key, log.position()).0.0 + earlier.iter().filter(|event| event.key == key).count() as u64;
        let completing = matches!(speaker, Speaker::Completion(..));
        let cause = choice.cause.filter(|_| !completing).and_then(|k| {
            let index = usize::from(k).checked_rem(log.events().len())?;
            Some(log.events()[log.events().len() - 1 - index].clone())
        });
        NewEvent {
            id: EventId::of(format!("e{}", self.fresh)),
            event_type: event_type(choice.event_type),
            key,
            expectation: match choice.demand {
                Demand::Any => Expectation::Any,
                Demand::Right => Expectation::Version(Version(head)),
                Demand::Stale => Expectation::Version(Version(head.checked_sub(1).unwrap_or(7))),
                Demand::Ahead => Expectation::Version(Version(head + 1)),
            },
            correlation: cause.as_ref().map(|cause| cause.correlation.clone()),
            causation: cause.map(|cause| cause.id.clone()),
            source: (*speaker == Speaker::Publisher).then(|| Source::of("customer")),
            data: Data::of(&0),
        }
    }
}

fn spoil(events: &mut Vec<NewEvent>, flaw: Option<Flaw>) {
    let Some(flaw) = flaw else { return };
    let Some(last) = events.last_mut() else { return };
    match flaw {
        Flaw::Empty => events.clear(),
        Flaw::IdTwice => {
            let twice = last.clone();
            events.push(twice);
        }
        Flaw::ReservedKey => last.key = Key::of("$service/alpha"),
        Flaw::ReservedType => last.event_type = EventType::of("$Mine"),
        Flaw::WrongSource => {
            last.source = if last.source.is_some() { None } else { Some(Source::of("somebody")) };
        }
        Flaw::UnknownCause => last.causation = Some(EventId::of("nobody")),
        Flaw::OtherCorrelation => last.correlation = Some(CorrelationId::of("another")),
    }
}
