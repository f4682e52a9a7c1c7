//! The marks of the machines: places of their code that a campaign should reach, each with the risk if it never does.
//!
//! This is the one list of them. A machine can name no mark that is not in it, and a test looks that none is in it that no
//! machine names. What each needs to be in reach (an engine, faults, a scenario) is the simulator's affair.

/// A place that a campaign should reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its name in records.
    pub name: &'static str,
    /// What could be broken without anyone noticing.
    pub risk: &'static str,
}

macro_rules! marks {
    ($($(#[$room_doc:meta])* $room:ident { $($constant:ident = $name:literal: $risk:literal;)* })*) => {
        $(
            $(#[$room_doc])*
            pub mod $room {
                use super::Mark;

                $(
                    #[doc = concat!("If never: ", $risk, ".")]
                    pub const $constant: Mark = Mark { name: $name, risk: $risk };
                )*

                /// All of them.
                pub const ALL: &[Mark] = &[$($constant),*];
            }
        )*
    };
}

marks! {
    /// Of the bus.
    bus {
        REDELIVERED = "redelivered": "an event that was handed out once might never be handed out again";
        DEADLINE_PASSED = "deadline_passed": "a hung owner might keep its delivery for ever";
        BACKED_OFF = "backed_off": "a failing event might be delivered again at once, and again, without a pause";
        PARKED = "parked": "a poison event might be delivered for ever";
        PARKED_BY_DISCONNECTS = "parked_by_disconnects": "an event that kills whoever handles it might kill for ever";
        RETRIED = "retried": "a parked lane might never come back";
        SKIPPED = "skipped": "a parked event might never be passed over";
        SYSTEM_EVENT_SKIPPED = "system_event_skipped": "a system event that cannot be handled might make further ones";
        COMPLETED_ALREADY = "completed_already": "a completion whose answer was lost might take effect twice";
        COMPLETION_FENCED = "completion_fenced": "a late owner might still write";
        COMPLETION_REJECTED = "completion_rejected": "a completion that breaks a rule might be taken";
        CONFLICT = "conflict_answered": "a decision on stale ground might be committed";
        CONFLICT_WITHOUT_PROGRESS = "conflict_without_progress": "a handler that demands what the log denies might run for ever";
        NACKED = "nacked": "a handler that fails might go unheard";
        EXTENDED = "extended": "an owner that needs long might lose its delivery";
        INSTANCE_AWAY = "instance_away": "lanes might stick to an instance that is gone";
        SILENT_CONNECTION_CLOSED = "silent_connection_closed": "a dead connection might be taken for a living one";
        RECONNECTED_WITHIN_GRACE = "reconnected_within_grace": "a short break might move every lane";
        SESSION_SUPERSEDED = "session_superseded": "two connections of one instance might both count";
        SERVICE_REGISTERED = "service_registered": "a service might begin unnoticed";
        TYPES_CHANGED = "types_changed": "a service that takes other types might miss some, or get some twice";
        IDLE_LANES_MOVED = "idle_lanes_moved": "an instance that joins might have nothing to do";
        OWNER_LEFT = "owner_left": "the lanes of an instance that left might stand still";
        THROTTLED = "publish_throttled": "a full bus might drop instead of pushing back";
        RESUMED = "resumed": "a throttled publisher might wait for ever";
        DUPLICATE = "duplicate": "a publish that is sent again might enter the log twice";
        INCONSISTENT = "inconsistent": "expectations of publishers might not be looked at";
        REFUSED = "refused": "what breaks a rule might enter the log";
        COMMIT_FULL = "commit_full": "a commit might grow without limit, or what finds no room in it be forgotten";
        LOOK_UP_OVERTAKEN = "look_up_overtaken": "an answer of the store might be taken for newer than it is";
        HEAD_ASKED_OF_STORE = "head_asked_of_store": "a head that was let go from memory might be taken for a key without events";
        REBUILD_BEGUN = "rebuild_begun": "nothing was ever played again";
        REBUILD_MEETS_LIVE = "rebuild_meets_live": "the seam between a rebuild and the present might lose or repeat an event";
        REBUILD_FINISHED = "rebuild_finished": "a rebuild might never end";
        STREAM_FELL_BEHIND = "stream_fell_behind": "a follower without credit might miss what it was not ready for";
        LANE_SPILLED = "lane_spilled": "one lane might take all the memory";
        SPILLED_LANE_READ = "spilled_lane_read": "a lane that waits in the log might be forgotten there";
        SLOW_LANE_LISTED = "slow_lane_listed": "a slow lane might hold the frontier, and recovery, back";
        LISTED_LANE_DRAINED = "listed_lane_drained": "a lane behind might never catch up";
        SERVICE_WINDOW_FULL = "service_window_full": "a service that is far behind might take all the memory";
        SERVICE_CATCHES_UP = "service_catches_up": "a service that is behind might never see what is in the log";
        RECOVERED_WITH_LANES_BEHIND = "recovered_with_lanes_behind": "a lane behind might be forgotten by a restart";
    }
    /// Of a service instance.
    instance {
        GAP_SHOWN = "a delivery showed a gap in a state": "a state that missed an event might be handled all the same";
        COMPLETION_ASKED_AFTER_SESSION = "a completion of a former session was asked again": "a completion whose answer was lost with its connection might be done twice, or never";
        COMPLETION_ASKED_AGAIN = "a completion that was not answered was asked again": "a completion that was lost on a connection that lives might hold its lane for ever";
        CONFLICT_HANDLED_AGAIN = "a completion met a conflict and was handled again": "a decision on stale ground might be sent again as it is";
        FENCED_DROPPED = "a fenced delivery was dropped": "an owner that was replaced might go on handling";
        HANDLERS_WAITED = "handlers waited for answers to completions": "completions under way might pile up without limit";
        REBUILD_WENT_ON = "a rebuild that was cut short went on": "a rebuild that is interrupted might begin from the start for ever, or leave a hole";
        RECONCILED = "reconcile found a state that nobody had told of its head": "the last event of a key might be lost unnoticed";
        REQUEST_FROM_LOG = "a request was answered from the log": "a request that is repeated might be carried out twice";
        REQUEST_RUN_AGAIN = "a request met newer ground and was run again": "a route might decide on stale ground";
        REQUEST_THROTTLED = "a request was throttled": "a full bus might make requests fail for good";
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Mark> {
    bus::ALL.iter().chain(instance::ALL)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_two_marks_share_a_name() {
        let names: Vec<&str> = super::all().map(|mark| mark.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }
}
