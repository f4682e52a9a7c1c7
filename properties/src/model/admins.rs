//! What an administrator asked, and what may be answered.

use dacapo_core::{
    Position, ServiceName,
    bus::{Admin, AdminAnswer, ConnId, LaneStatus, ServiceStatus},
    store::service_key,
};

use super::{Broken, Judged, Mark, Model, must};

/// A question or order that arrived in this life of the bus.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pub(super) conn: ConnId,
    pub(super) admin: Admin,
    /// The end of the log when it arrived.
    pub(super) since: Position,
    pub(super) answered: bool,
}

impl Model {
    pub(super) fn admin(&mut self, conn: ConnId, admin: &Admin) {
        self.asked.push(Asked { conn, admin: admin.clone(), since: self.log.position(), answered: false });
        match admin {
            Admin::Retry { service, key } | Admin::Skip { service, key } => {
                let log = &self.log;
                let of_lane = |position| log.event(position).is_some_and(|event| event.key == *key);
                self.nacked.retain(|(theirs, position), _| theirs != service || !of_lane(*position));
            }
            Admin::ChangeTypes { service, .. } => {
                let theirs = self.deliveries.iter_mut().filter(|delivery| delivery.service == *service);
                theirs.for_each(|delivery| delivery.holds = false);
                self.nacked.retain(|(theirs, _), _| theirs != service);
            }
            Admin::Services | Admin::Lanes { .. } | Admin::Audit(_) => {}
        }
    }

    pub(super) fn admin_answered(&mut self, conn: ConnId, answer: &AdminAnswer) -> Judged {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.conn == conn && !asked.answered) else {
            return Err(Broken { rule: "answers", what: format!("{conn:?} did not ask for {answer:?}") });
        };
        asked.answered = true;
        let asked = asked.clone();
        match (&asked.admin, answer) {
            (_, AdminAnswer::Error(error)) => {
                must!(!error.message.is_empty() && !error.help.is_empty(), "errors say what to do", "{error:?}");
                Ok(())
            }
            (Admin::Services, AdminAnswer::Services(services)) => self.services_are_true(services),
            (Admin::Lanes { service, limit, .. }, AdminAnswer::Lanes(lanes)) => {
                must!(lanes.len() <= *limit, "bounded", "{} lanes were told of {limit}", lanes.len());
                self.lanes_are_true(service, lanes)
            }
            (Admin::Retry { service, .. } | Admin::Skip { service, .. }, AdminAnswer::Done(position)) => {
                self.is_audited(&asked, service, *position)
            }
            (Admin::ChangeTypes { service, types, .. }, AdminAnswer::Done(position)) => {
                self.marks.reach(Mark::TypesChanged);
                let mut types = types.clone();
                types.sort();
                types.dedup();
                let record = self.log.services().get(service);
                let later =
                    self.asked.iter().any(|other| matches!(&other.admin, Admin::ChangeTypes { .. }) && *other != asked);
                must!(
                    later || record.is_some_and(|r| r.types.iter().map(|taken| &taken.event_type).eq(types.iter())),
                    "types",
                    "{answer:?} answers {asked:?}, the log holds {record:?}"
                );
                self.is_audited(&asked, service, *position)
            }
            _ => Err(Broken { rule: "answers", what: format!("{answer:?} answers {asked:?}") }),
        }
    }

    fn is_audited(&self, asked: &Asked, service: &ServiceName, position: Position) -> Judged {
        let event = self.log.event(position);
        must!(
            position > asked.since && event.is_some_and(|event| event.key == service_key(service)),
            "shown_is_durable",
            "{asked:?} is done at {position}, where the log holds {event:?}"
        );
        Ok(())
    }

    fn services_are_true(&self, services: &[ServiceStatus]) -> Judged {
        for service in services {
            must!(self.log.services().contains_key(&service.name), "shown_is_durable", "{service:?}");
            // A lane behind may be read beyond the service's window, so that it does not starve.
            let limit = self.limits.service_pending_max + service.lanes_behind * self.limits.lane_pending_max;
            must!(
                service.pending <= limit,
                "bounded",
                "{} has {} events in memory, the limit is {limit}",
                service.name,
                service.pending
            );
            must!(service.frontier <= self.log.position(), "shown_is_durable", "{service:?}");
            for instance in &service.instances {
                must!(
                    instance.open <= self.limits.credit_max as usize,
                    "bounded",
                    "{} has {} open",
                    instance.name,
                    instance.open
                );
            }
        }
        Ok(())
    }

    fn lanes_are_true(&self, service: &ServiceName, lanes: &[LaneStatus]) -> Judged {
        must!(lanes.is_sorted_by(|a, b| a.key < b.key), "sorted for people", "{lanes:?}");
        for lane in lanes {
            must!(lane.service == *service, "reads are true", "{lane:?}");
            must!(
                lane.pending <= self.limits.lane_pending_max,
                "bounded",
                "the lane {} has {} events in memory",
                lane.key,
                lane.pending
            );
            must!(lane.open <= self.limits.lane_open_max, "bounded", "the lane {} has {} open", lane.key, lane.open);
        }
        Ok(())
    }
}
