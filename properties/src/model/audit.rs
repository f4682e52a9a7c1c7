//! What must hold of the log by itself, whoever wrote it: judged anew from all events after every commit.

use dacapo_core::{Event, Position, ServiceName};

use super::{Judged, Log, must};

/// Everything that is at or before a frontier is ended or in a lane on the list of lanes behind, and such a lane's
/// record tells the truth.
pub(super) fn frontiers_hold(log: &Log) -> Judged {
    for (service, record) in log.services() {
        must!(record.frontier <= log.position(), "frontier", "{service} has {} beyond the log", record.frontier);
        for event in log.undone(service) {
            match log.lane(service, &event.key) {
                Some(lane) => must!(
                    event.version >= lane.next_version,
                    "frontier",
                    "{} is undone, yet the lane's record begins with {}",
                    shown(service, event),
                    lane.next_version
                ),
                None => must!(
                    event.position > record.frontier,
                    "frontier",
                    "{} is undone and in no lane behind, yet the frontier is {}",
                    shown(service, event),
                    record.frontier
                ),
            }
        }
    }
    Ok(())
}

/// An event with the service that it is for, in a message.
pub(super) fn shown(service: &ServiceName, event: &Event) -> String {
    format!("{service}'s {} ({}@{}, {})", event.position, event.key, event.version, event.id)
}

/// What liveness still owes: taken, not ended, and not in a parked lane.
pub(super) fn owed(log: &Log) -> Vec<(ServiceName, Position)> {
    let mut owed = vec![];
    for service in log.services().keys() {
        for event in log.undone(service) {
            if log.lane(service, &event.key).is_none_or(|lane| lane.parked.is_none()) {
                owed.push((service.clone(), event.position));
            }
        }
    }
    owed
}
