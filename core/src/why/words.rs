//! The words: one sentence for what waits, one for why, one for what to do.

use std::time::Duration;

use super::{Cause, Ground, LaneFacts, Live, OpenFacts, Why};
use crate::{bus::InstanceStatus, names::Version};

/// Says why.
pub fn explain(facts: &LaneFacts, ground: &Ground) -> Why {
    let (cause, sentence, help) = cause(facts, ground);
    let why = match waiting(ground) {
        Some(waiting) => format!("{sentence} {waiting}"),
        None => sentence,
    };
    Why {
        service: facts.service.clone(),
        key: facts.key.clone(),
        cause,
        why,
        help,
        next_version: ground.waiting.first().map(|event| event.version).or(facts.next_version),
        waiting: ground.waiting.len(),
        more: ground.more,
        failures: facts.failures,
    }
}

/// What waits: the event that the lane stands at, and how many stand behind it.
fn waiting(ground: &Ground) -> Option<String> {
    let first = ground.waiting.first()?;
    let behind = match (ground.waiting.len() - 1, ground.more) {
        (0, false) => "Nothing stands behind it.".to_owned(),
        (1, false) => "One later event of the key stands behind it.".to_owned(),
        (count, more) => {
            format!("{}{count} later events of the key stand behind it.", if more { "More than " } else { "" })
        }
    };
    Some(format!(
        "The lane's first event that is not done is {} ({}, version {}, position {}). {behind}",
        first.id, first.event_type, first.version, first.position
    ))
}

fn cause(facts: &LaneFacts, ground: &Ground) -> (Cause, String, String) {
    let LaneFacts { service, key, .. } = facts;
    if ground.head.version == Version::ZERO {
        let why = format!("The key {key} has no event, so {service} has nothing to do on it.");
        return (Cause::NoEvents, why, "Check the key's spelling: GET /v1/keys lists all of them.".to_owned());
    }
    if let Some(reason) = &facts.parked {
        let failures = times(facts.failures);
        let why = format!(
            "The lane {key} of {service} is parked: its first event failed {failures}, the last time because: {reason}. \
             Nothing of the lane is delivered, and no other lane is held up by it."
        );
        let help = "Mend what makes the handler fail, then retry the lane; or skip its first event, which is for ever \
                    (POST /v1/services/{service}/lanes/{key}/retry or …/skip)."
            .replace("{service}", service.as_str())
            .replace("{key}", key.as_str());
        return (Cause::Parked, why, help);
    }
    if ground.waiting.is_empty() {
        return nothing_waits(facts, ground);
    }
    match &facts.live {
        Some(live) => of_live(facts, live, ground),
        None => of_file(facts),
    }
}

fn nothing_waits(facts: &LaneFacts, ground: &Ground) -> (Cause, String, String) {
    let LaneFacts { service, key, types, .. } = facts;
    let on_key: Vec<&str> = ground.head.by_type.iter().map(|(event_type, _)| event_type.as_str()).collect();
    let taken = types.iter().filter(|taken| on_key.contains(&taken.event_type.as_str())).collect::<Vec<_>>();
    if taken.is_empty() {
        let takes: Vec<&str> = types.iter().map(|taken| taken.event_type.as_str()).collect();
        let why = format!(
            "{service} takes no type that the key {key} has events of: the key has {}, the service takes {}.",
            list(&on_key),
            list(&takes)
        );
        let help =
            "If it should take them, change its types (PUT /v1/services/{service}/types), from now on or from the \
                    beginning."
                .replace("{service}", service.as_str());
        return (Cause::NotSubscribed, why, help);
    }
    let later: Vec<String> = taken
        .iter()
        .filter(|taken| taken.since.0 > 0)
        .map(|taken| format!("{} only after position {}", taken.event_type, taken.since))
        .collect();
    let since = if later.is_empty() { String::new() } else { format!(" It takes {}.", later.join(", ")) };
    let why = format!(
        "The lane {key} of {service} is idle and complete: every event of it that the service takes is done, up to the \
         key's head, version {}.{since}",
        ground.head.version
    );
    (Cause::Idle, why, "Nothing is to be done.".to_owned())
}

fn of_live(facts: &LaneFacts, live: &Live, ground: &Ground) -> (Cause, String, String) {
    let LaneFacts { service, key, .. } = facts;
    if let Some(open) = &live.open {
        return of_open(facts, live, open);
    }
    if let Some(left_ms) = live.backoff_ms {
        let why = format!(
            "The lane {key} of {service} backs off after {}: it is delivered again in {}. After {} failures it is parked.",
            failures(facts.failures),
            duration(left_ms),
            live.failures_max
        );
        let help = "See in the service's log why its handler fails; the lane goes on by itself once it does not.";
        return (Cause::BackingOff, why, help.to_owned());
    }
    let connected: Vec<&InstanceStatus> = live.instances.iter().filter(|instance| instance.connected).collect();
    if connected.is_empty() {
        let away = match live.instances.len() {
            0 => String::new(),
            count => format!(" ({count} went away and may come back within the grace)"),
        };
        let why = format!("No instance of {service} is connected{away}, so the lane {key} has nobody to go to.");
        return (Cause::NoInstance, why, format!("Start an instance of {service}."));
    }
    let ready: Vec<&&InstanceStatus> = connected.iter().filter(|instance| instance.ready).collect();
    if ready.is_empty() {
        let names: Vec<&str> = connected.iter().map(|instance| instance.name.as_str()).collect();
        let why = format!(
            "{} of {service} {} connected and {} not said `ready`: an instance that rebuilds its state takes no delivery.",
            list(&names),
            if names.len() == 1 { "is" } else { "are" },
            if names.len() == 1 { "has" } else { "have" },
        );
        let help = "Wait until the rebuild is over; if it does not end, see the instance's log.";
        return (Cause::Rebuilding, why, help.to_owned());
    }
    let first = ground.waiting.first().map(|event| event.position).unwrap_or_default();
    if facts.next_version.is_none() && first > live.loaded {
        let why = format!(
            "{service} has not come so far: it has looked at the log up to position {}, and the log ends at {}.",
            live.loaded, ground.end
        );
        let help = "Wait, or start more instances: the window of events in memory moves on as they are completed.";
        return (Cause::CatchingUp, why, help.to_owned());
    }
    let owner = live.owner.as_ref().and_then(|owner| connected.iter().find(|instance| instance.name == *owner));
    let full = |instance: &InstanceStatus| instance.open >= instance.credit as usize;
    if let Some(owner) = owner
        && full(owner)
    {
        let why = format!(
            "The lane {key} of {service} sticks to {}, which has {} open and no more credit.",
            owner.name,
            deliveries(owner.open)
        );
        let help = "Raise the instance's credit, or find out why it does not answer what it has.";
        return (Cause::NoCredit, why, help.to_owned());
    }
    if owner.is_none() && ready.iter().all(|instance| full(instance)) {
        let why = format!(
            "The lane {key} of {service} waits for an owner: every ready instance ({}) has as much open as its credit \
             allows.",
            ready.len()
        );
        return (Cause::NoCredit, why, "Raise the instances' credit, or start another one.".to_owned());
    }
    let why =
        format!("Nothing stands in the way of the lane {key} of {service}: its next event is about to be delivered.");
    (Cause::OnItsWay, why, "Ask again in a moment.".to_owned())
}

fn of_open(facts: &LaneFacts, live: &Live, open: &OpenFacts) -> (Cause, String, String) {
    let LaneFacts { service, key, .. } = facts;
    let owner = live.owner.as_ref().map_or("an instance that has left", |owner| owner.as_str());
    if open.in_the_bus {
        let why = format!(
            "The lane {key} of {service} waits for a commit: {owner} has its first event since {}, and the bus has it in hand.",
            duration(open.since_ms)
        );
        return (Cause::Committing, why, "Ask again in a moment; if it stays, see the disk's latency.".to_owned());
    }
    let deadline = match open.deadline_ms {
        Some(left_ms) => format!(" If it neither answers nor extends, it loses the lane in {}.", duration(left_ms)),
        None => String::new(),
    };
    if !open.conflict.is_empty() {
        let heads: Vec<String> = open.conflict.iter().map(|head| format!("{} at {}", head.key, head.version)).collect();
        let why = format!(
            "{owner} has the first event of the lane {key} of {service} since {}, and its last completion met other versions \
             than it expected ({}): it is to read up to them and handle the event again.{deadline}",
            duration(open.since_ms),
            heads.join(", ")
        );
        let help = "Others write what this handler reads. If it happens all the time, let it read less, or let one key \
                    gather what they write.";
        return (Cause::Conflict, why, help.to_owned());
    }
    let count = if open.count > 1 { format!(" ({} in a row)", deliveries(open.count)) } else { String::new() };
    let why = format!(
        "The lane {key} of {service} is delivered to {owner} since {}{count}, attempt {}, and not answered yet.{deadline}",
        duration(open.since_ms),
        open.attempt
    );
    (Cause::Delivered, why, format!("If it takes too long, see what {owner} is doing."))
}

fn of_file(facts: &LaneFacts) -> (Cause, String, String) {
    let LaneFacts { service, key, .. } = facts;
    let failed = match facts.failures {
        0 => String::new(),
        count => format!(" Its first event failed {} so far.", times(count)),
    };
    let why = format!(
        "The lane {key} of {service} is not parked, and not everything of it is done.{failed} A file does not tell who has \
         it: owners, open deliveries and back-offs are in the bus's memory only."
    );
    (Cause::NotInTheFile, why, "Ask the running bus: dacapo why --bus URL.".to_owned())
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn failures(count: u32) -> String {
    match count {
        1 => "1 failure".to_owned(),
        count => format!("{count} failures"),
    }
}

fn deliveries(count: usize) -> String {
    match count {
        1 => "1 delivery".to_owned(),
        count => format!("{count} deliveries"),
    }
}

/// `0.3 s`, `12 s`, `3 min`.
fn duration(ms: u64) -> String {
    let duration = Duration::from_millis(ms);
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        secs @ 10..180 => format!("{secs} s"),
        secs => format!("{} min", secs / 60),
    }
}
