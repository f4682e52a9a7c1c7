//! What each mark needs to be in reach. One that is not listed is in reach of every campaign.

use super::{BUS_ENDS, Needs, SEPARATIONS, ZOMBIES};
use crate::fault::Family;

/// Whatever makes an instance leave, or a new one come.
const COMINGS_AND_GOINGS: &[Family] = &[
    Family::CrashInstance,
    Family::CrashLoop,
    Family::StateDestroyed,
    Family::ScaleOut,
    Family::ScaleIn,
    Family::GracefulRestart,
    Family::Isolate,
    Family::Partition,
];

/// Whatever makes a delivery fail.
const FAILURES: &[Family] = &[
    Family::FailingHandler,
    Family::PoisonEvent,
    Family::CompletionLost,
    Family::CompletionLate,
    Family::MuteInstance,
];

/// Whatever keeps an answer to a delivery back for longer than its deadline.
const LATE_ANSWERS: &[Family] = &[Family::CompletionLost, Family::CompletionLate, Family::MuteInstance];

/// Whatever makes a connection look dead to one of its ends.
const SILENCES: &[Family] = &[
    Family::Partition,
    Family::PartitionOneWay,
    Family::Isolate,
    Family::Hold,
    Family::Pause,
    Family::CrashInstance,
    Family::CrashBus,
];

/// Whatever breaks a connection whose instance comes back soon.
const SHORT_BREAKS: &[Family] = &[Family::Reset, Family::Hold, Family::Partition, Family::Isolate];

/// Whatever makes the store, or the way to it, slow.
const SLOWNESS: &[Family] = &[Family::SlowStore, Family::SlowDisk, Family::CompletionLate, Family::SlowHandler];

/// Whatever makes an instance play the past while customers go on.
const REBUILDS: &[Family] = &[
    Family::StateDestroyed,
    Family::RebuildsTogether,
    Family::RebuildCutShort,
    Family::CrashInstance,
    Family::ScaleOut,
];

/// Whatever makes a customer repeat a request whose first attempt took effect.
const REPEATED_REQUESTS: &[Family] = &[
    Family::CrashInstance,
    Family::CrashCustomer,
    Family::InstanceAtPoint,
    Family::StateDestroyed,
    Family::DuplicateAttempt,
    Family::Partition,
    Family::PartitionOneWay,
    Family::Isolate,
    Family::Reset,
    Family::Hold,
];

/// By its name.
pub(super) fn of(mark: &str) -> Needs {
    match mark {
        "duplicate receipt"
        | "completed already"
        | "outcome unknown"
        | "redelivery"
        | "owner moved"
        | "healed with a backlog"
        | "redelivered"
        | "completed_already"
        | "duplicate"
        | "a completion of a former session was asked again"
        | "instance_away"
        | "a delivery showed a gap in a state" => Needs::OneOf(SEPARATIONS),
        "fenced completion" | "completion_fenced" | "a fenced delivery was dropped" => Needs::OneOf(ZOMBIES),
        "lane parked" | "lane retried" | "parked" | "retried" => Needs::OneOf(&[Family::PoisonEvent]),
        "event skipped" | "skipped" => Needs::In("bank", &[Family::PoisonEvent]),
        "bus recovered" | "recovered with lanes behind" | "recovered_with_lanes_behind" => Needs::OneOf(BUS_ENDS),
        "nacked" => Needs::OneOf(&[Family::FailingHandler, Family::PoisonEvent]),
        "backed_off" | "delivered beside a failed lane" => Needs::OneOf(FAILURES),
        "deadline_passed" | "a completion that was not answered was asked again" => Needs::OneOf(LATE_ANSWERS),
        "owner_left" | "idle_lanes_moved" => Needs::OneOf(COMINGS_AND_GOINGS),
        "silent_connection_closed" => Needs::OneOf(SILENCES),
        "reconnected_within_grace" => Needs::OneOf(SHORT_BREAKS),
        "session_superseded" => Needs::Rare(SILENCES),
        "extended" => Needs::OneOf(SLOWNESS),
        "handlers waited for answers to completions" => Needs::Rare(SLOWNESS),
        "rebuild_meets_live" => Needs::Rare(REBUILDS),
        "a request was answered from the log" => Needs::OneOf(REPEATED_REQUESTS),
        "a rebuild that was cut short went on" => Needs::Rare(BUS_ENDS),
        "parked_by_disconnects" => Needs::Rare(&[Family::CrashLoop, Family::CrashInstance, Family::CrashAtPoint]),
        "answered before the end" => Needs::OneOf(&[Family::GracefulRestart]),
        "refused for its token" | "refused by rights" => Needs::OneOf(&[Family::HostileClient]),
        "throttled by a full disk" | "recovered from a full disk" => Needs::OneOf(&[Family::DiskFull]),
        "backup restored" => Needs::OneOf(&[Family::Backup]),
        "backup restored behind the log" => Needs::Rare(&[Family::Backup]),
        "types_changed" => Needs::OutOfReach("no fault changes a service's types"),
        "system_event_skipped" => Needs::OutOfReach("the scenarios' services take no system events"),
        "completion_rejected" => Needs::OutOfReach("the scenarios' handlers produce nothing that breaks a rule"),
        "conflict_without_progress" => Needs::OutOfReach("a handler that runs again demands what the log says"),
        "refused" => Needs::OutOfReach("the scenarios' services publish nothing that breaks a rule"),
        _ => Needs::Nothing,
    }
}
