//! How customers ask, whichever engine carries their requests.

use dacapo_core::{NodeName, bus::Admin};
use dacapo_properties::Operation;

use crate::{
    cast,
    engine::chance::Chance,
    liveness::{LogProgress, ParkedLane},
    plan::Settings,
};

/// Of what an administrator may pass over, so much is.
const SKIPS_PERMILLE: u32 = 500;

/// Which of these instances is asked: another at another attempt.
pub(crate) fn instance(chance: &Chance, operation: &Operation, attempt: u32, mut among: Vec<NodeName>) -> NodeName {
    if among.is_empty() {
        return cast::instance(&operation.service, 0);
    }
    let n = chance.number("which instance", &(operation.id, attempt)) % among.len() as u64;
    among.swap_remove(n as usize)
}

/// Which of these instances an attempt reaches that arrives twice.
pub(crate) fn second_instance(
    chance: &Chance,
    operation: &Operation,
    attempt: u32,
    mut among: Vec<NodeName>,
) -> NodeName {
    if among.is_empty() {
        return cast::instance(&operation.service, 0);
    }
    let n = chance.number("which second instance", &(operation.id, attempt)) % among.len() as u64;
    among.swap_remove(n as usize)
}

/// How long a customer waits after an attempt of unknown outcome.
pub(crate) fn back_off_us(settings: &Settings, chance: &Chance, operation: u64, attempt: u32) -> u64 {
    let high = settings.retry_us << attempt.min(3);
    chance.between("customer back-off", &(operation, attempt), (high / 2, high))
}

/// What an administrator does about the lanes that are parked: mostly retries, since what made them fail is mended; now
/// and then passes over what may be passed over.
pub(crate) fn mending(chance: &Chance, progress: &LogProgress) -> Vec<Admin> {
    let mend = |ParkedLane { service, key, skippable }: ParkedLane| {
        let skips = skippable.is_some_and(|first| {
            chance.happens("administrator skips", &(service.as_str(), key.as_str(), first.0), SKIPS_PERMILLE)
        });
        if skips { Admin::Skip { service, key } } else { Admin::Retry { service, key } }
    };
    progress.parked().into_iter().map(mend).collect()
}

/// The key under which an operation takes effect once.
pub(crate) fn idempotency_key(operation: u64) -> String {
    format!("op-{operation}")
}

/// Whether the answer settles the operation. After a time-out, a throttling or an error of the server nobody knows.
pub(crate) fn is_known(status: u16) -> bool {
    status < 500 && !matches!(status, 408 | 425 | 429)
}

/// Why an answer settles nothing, in words for the trace.
pub(crate) fn unsettled(from: &NodeName, status: u16, body: &str) -> String {
    format!("{from} answered {status}: {}", body.chars().take(200).collect::<String>())
}
