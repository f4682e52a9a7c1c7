//! The end of a case: faults stop, one healthy instance of each service is left, and everything that is owed must
//! come within a bounded number of steps.

use std::time::Duration;

use dacapo_core::{
    ServiceName,
    bus::{Admin, ConnId, Input},
    wire::{Complete, Credit, Ready},
};
use dacapo_properties::model::{Broken, Connection, Judged};

use crate::{
    acts::service,
    world::{INSTANCES, SLOTS, World},
};

impl World {
    pub(crate) fn heal(&mut self) -> Judged {
        self.settle()?;
        if self.model.is_usurped() {
            // It checks its term at every heartbeat, and then a newer one takes over.
            self.advance(self.limits().heartbeat_deadline, false)?;
            self.settle()?;
            if self.model.is_usurped() {
                let what = "a bus whose term is old goes on for a heartbeat".to_owned();
                return Err(Broken { rule: "terms", what });
            }
        }
        self.answers_are_there()?;
        let healthy = self.only_the_healthy()?;
        self.catch_up(&healthy)?;
        self.answers_are_there()?;
        self.unpark()?;
        self.catch_up(&healthy)?;
        self.answers_are_there()?;
        self.still_takes_publishes()
    }

    /// Everything that was asked on a living connection is answered, and rebuilds with credit have met the present.
    fn answers_are_there(&mut self) -> Judged {
        let streams = self.model.streams().iter().filter(|stream| !stream.ended);
        for (conn, request) in streams.map(|stream| (stream.conn, stream.request)).collect::<Vec<_>>() {
            self.frame(conn, Credit { request: Some(request), credit: 1_000 })?;
        }
        self.settle()?;
        let unanswered = self.model.unanswered();
        if unanswered.is_empty() {
            return Ok(());
        }
        Err(Broken { rule: "every request gets its answer", what: unanswered.join("\n") })
    }

    /// Instances leave, or hang while they show that they live; and a healthy one of each service comes.
    fn only_the_healthy(&mut self) -> Result<Vec<ConnId>, Broken> {
        // One that is not ready, or has no credit, keeps its lanes for as long as it stays.
        let stays = |conn: &ConnId, connection: &Connection| {
            conn.0.is_multiple_of(2) && connection.lives() && connection.ready && connection.credit > 0
        };
        let leaves =
            self.model.connections().iter().filter(|(conn, connection)| {
                connection.hello.is_some() && !connection.gone && !stays(conn, connection)
            });
        for conn in leaves.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            self.feed(Input::Disconnected { conn })?;
        }
        self.settle()?;
        let mut healthy = vec![];
        for index in 0..2 {
            if self.model.log().services().contains_key(&service(index)) {
                let conn = self.connect_unseen()?;
                let hello = self.introduction(index, 2);
                self.frame(conn, hello)?;
                self.frame(conn, Ready {})?;
                healthy.push(conn);
            }
        }
        Ok(healthy)
    }

    /// The healthy instances complete everything that they get, until nothing is owed.
    fn catch_up(&mut self, healthy: &[ConnId]) -> Judged {
        let bound = 100 + 40 * self.model.owed().len();
        for _ in 0..bound {
            self.settle()?;
            if self.model.owed().is_empty() {
                return Ok(());
            }
            let deliveries = self.model.deliveries().iter().enumerate();
            let open = deliveries.filter(|(index, d)| healthy.contains(&d.conn) && self.model.seems_open(*index));
            let open: Vec<_> = open.map(|(_, delivery)| delivery.clone()).collect();
            for delivery in &open {
                let complete =
                    Complete { position: delivery.position, token: delivery.token, events: vec![], guards: vec![] };
                self.frame(delivery.conn, complete)?;
            }
            if open.is_empty() {
                self.ping_all()?;
                let longest = self.limits().heartbeat_deadline / 4;
                let idle = self.idle_time().unwrap_or(longest).clamp(Duration::from_millis(1), longest);
                self.advance(idle, false)?;
            }
        }
        let what = format!("after {bound} steps these are still owed: {:?}", self.model.owed());
        Err(Broken { rule: "liveness", what })
    }

    /// Every parked lane is delivered again, or its first event is passed over, by turns.
    fn unpark(&mut self) -> Judged {
        for round in 0..100 {
            let parked = self.model.log().lanes().values().find(|lane| lane.parked.is_some());
            let Some((service, key)) = parked.map(|lane| (lane.service.clone(), lane.key.clone())) else {
                return Ok(());
            };
            let before = self.model.log().lane(&service, &key).cloned();
            let order = if round % 2 == 0 {
                Admin::Retry { service: service.clone(), key: key.clone() }
            } else {
                Admin::Skip { service: service.clone(), key: key.clone() }
            };
            self.admin(order)?;
            self.settle()?;
            let after = self.model.log().lane(&service, &key).cloned();
            if before == after {
                let what = format!("the lane {key} of {service} stays as it was: {after:?}");
                return Err(Broken { rule: "retry and skip", what });
            }
        }
        let services: Vec<&ServiceName> = self.model.log().services().keys().collect();
        Err(Broken { rule: "retry and skip", what: format!("lanes of {services:?} stay parked") })
    }

    /// A fresh event of each publisher is accepted.
    fn still_takes_publishes(&mut self) -> Judged {
        for slot in INSTANCES..SLOTS {
            self.connect(slot)?;
            let before = self.model.log().position();
            let choices = [crate::transition::Choice {
                id: crate::transition::Id::Fresh,
                key: 0,
                event_type: 0,
                demand: crate::transition::Demand::Right,
                cause: None,
            }];
            self.act(&crate::transition::Transition::Publish {
                slot: slot as u8,
                events: choices.to_vec(),
                guards: vec![],
                flaw: None,
            })?;
            self.settle()?;
            if self.model.log().position() == before {
                let what = "a healed bus does not accept a fresh event".to_owned();
                return Err(Broken { rule: "liveness", what });
            }
        }
        Ok(())
    }
}
