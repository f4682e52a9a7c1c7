//! What caused what, as an indented tree.

use std::{collections::BTreeMap, sync::Arc};

use dacapo_core::{Event, EventId};

/// Draws a forest: an event stands under its cause, siblings in order of position. An event whose cause is not among the
/// given ones is a root, and says so.
pub(crate) fn draw(events: &[Arc<Event>], mut line: impl FnMut(&str)) {
    let by_id: BTreeMap<&EventId, &Arc<Event>> = events.iter().map(|event| (&event.id, event)).collect();
    let mut effects: BTreeMap<&EventId, Vec<&Arc<Event>>> = BTreeMap::new();
    let mut roots = Vec::new();
    for event in events {
        match &event.causation {
            // A cause is earlier than its effect; in a damaged log it might not be, and a cycle would never be drawn.
            Some(cause) if by_id.get(cause).is_some_and(|cause| cause.position < event.position) => {
                effects.entry(cause).or_default().push(event);
            }
            _ => roots.push(event),
        }
    }
    // (event, what its line begins with, what the lines below it begin with): a stack of our own, since a chain of causes
    // may be longer than ours.
    let mut stack: Vec<(&Arc<Event>, String, String)> =
        roots.into_iter().rev().map(|root| (root, String::new(), String::new())).collect();
    while let Some((event, own, below)) = stack.pop() {
        let since = match &event.causation {
            None => String::new(),
            Some(cause) => match by_id.get(cause) {
                Some(cause) => format!("  +{} ms", event.time.0.saturating_sub(cause.time.0) / 1_000),
                None => format!("  (its cause {cause} is not shown)"),
            },
        };
        line(&format!(
            "{own}{} {} {}@{}  {}{since}",
            event.position, event.event_type, event.key, event.version, event.source
        ));
        let children = effects.remove(&event.id).unwrap_or_default();
        let last = children.len().saturating_sub(1);
        for (index, child) in children.into_iter().enumerate().rev() {
            let (own, next) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            stack.push((child, format!("{below}{own}"), format!("{below}{next}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use dacapo_core::{CorrelationId, Data, EventType, Key, Position, Source, Version, WallTime};

    use super::*;

    fn event(position: u64, event_type: &str, key: &str, cause: Option<&str>) -> Arc<Event> {
        Arc::new(Event {
            position: Position(position),
            id: EventId::of(format!("e-{position}")),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            version: Version(1),
            correlation: CorrelationId::of("c"),
            causation: cause.map(EventId::of),
            time: WallTime(position * 5_000),
            source: Source::of("accounts"),
            data: Data::null(),
        })
    }

    #[test]
    fn effects_stand_under_their_cause() {
        let events = [
            event(1, "PendingTransaction", "trans-1", None),
            event(2, "AcceptedTransaction", "trans-1", Some("e-1")),
            event(3, "ConfirmedDebit", "acc-1", Some("e-1")),
            event(4, "Noticed", "user-1", Some("e-2")),
            event(5, "Stray", "acc-9", Some("gone")),
        ];
        let mut text = String::new();
        draw(&events, |line| {
            text.push_str(line);
            text.push('\n');
        });
        assert_eq!(
            text,
            "\
1 PendingTransaction trans-1@1  accounts
├─ 2 AcceptedTransaction trans-1@1  accounts  +5 ms
│  └─ 4 Noticed user-1@1  accounts  +10 ms
└─ 3 ConfirmedDebit acc-1@1  accounts  +10 ms
5 Stray acc-9@1  accounts  (its cause gone is not shown)
"
        );
    }
}
