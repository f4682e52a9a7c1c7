//! Whether a script keeps to its part of the contract: a listener is a transaction, and a rebuild handler does to the state
//! what the listener does.
//!
//! Neither can be seen from outside before it is too late, so each call is made again on the same ground, and held
//! against the rebuild handler for the same event.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use dacapo_core::{
    Event, Position,
    trace::{Check, What},
};
use serde_json::Value;

use super::{
    LuaService,
    calls::Left,
    ground::Ground,
    run::{Run, Sent, Written},
    state::LuaState,
    vm::Ended,
};
use crate::service::{Context, Interrupt, Response};

type Writes = BTreeMap<String, Written>;

/// Which calls are looked into in production, and what was warned of already: once for each type is enough.
#[derive(Debug, Default)]
pub(super) struct Warned {
    /// Calls by type.
    calls: BTreeMap<String, u64>,
    told: BTreeSet<String>,
}

impl Warned {
    /// Whether this call is looked into: the first ones of a type, and now and then one.
    pub(super) fn is_due(&mut self, what: &str) -> bool {
        const FIRST: u64 = 32;
        const ONE_OF: u64 = 256;
        let calls = match self.calls.get_mut(what) {
            Some(calls) => calls,
            None => self.calls.entry(what.to_owned()).or_default(),
        };
        *calls += 1;
        *calls <= FIRST || calls.is_multiple_of(ONE_OF)
    }

    pub(super) fn is_news(&mut self, what: &str) -> bool {
        self.told.insert(what.to_owned())
    }
}

fn shown(value: Option<&Arc<Value>>) -> String {
    const CHARS_MAX: usize = 200;
    let text = value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    if text.chars().count() > CHARS_MAX {
        format!("{}…", text.chars().take(CHARS_MAX).collect::<String>())
    } else {
        text
    }
}

/// How the rebuild handler fails; none if it does not.
pub(super) fn of_rebuild(service: &LuaService, event: &Event, ground: &Ground) -> Option<String> {
    let base = |key: &str| if key == ground.key { ground.own.clone() } else { service.gathered_value(ground, key) };
    match service.rebuild(event, &mut |asked| Ok(base(asked)))?.result {
        Err(Ended::Failed(sentence)) => Some(format!("{sentence} (in the rebuild handler for {})", event.event_type)),
        _ => None,
    }
}

/// What the rebuild handler makes otherwise than the listener did; none if they agree.
pub(super) fn against_rebuild(service: &LuaService, event: &Event, ground: &Ground, run: &Run) -> Option<String> {
    // Who writes in the rebuild handler alone has said it once.
    let (first, Written { value, line }) = run.writes.first_key_value()?;
    let base = |key: &str| if key == ground.key { ground.own.clone() } else { service.gathered_value(ground, key) };
    let Some(called) = service.rebuild(event, &mut |asked| Ok(base(asked))) else {
        return Some(format!(
            "{line}: the listener for {} writes {first} = {}, and no rebuild handler does: after a rebuild it is not \
             there; add bus:add_rebuild_handler({:?}, …)",
            event.event_type,
            shown(value.as_ref()),
            event.event_type.as_str(),
        ));
    };
    if let Err(Ended::Failed(sentence)) = &called.result {
        return Some(format!("{sentence} (in the rebuild handler for {})", event.event_type));
    }
    let rebuilt = called.run.writes;
    let after = |writes: &Writes, key: &String| match writes.get(key) {
        Some(written) => written.value.clone(),
        None => base(key),
    };
    let keys: BTreeSet<&String> = run.writes.keys().chain(rebuilt.keys()).collect();
    let key = keys.into_iter().find(|key| after(&run.writes, key) != after(&rebuilt, key))?;
    let told = |who: &str, writes: &Writes| match writes.get(key) {
        Some(written) => format!("{who} makes it {} ({})", shown(written.value.as_ref()), written.line),
        None => format!("{who} leaves it as it is"),
    };
    Some(format!(
        "{key} was {} before {} {}: {}, {}; let one function be both",
        shown(base(key).as_ref()),
        event.event_type,
        event.id,
        told("the listener", &run.writes),
        told("the rebuild handler", &rebuilt),
    ))
}

/// What a second call on the same ground does otherwise than the first; none if it does the same.
pub(super) fn against_again(first: &Run, again: &Result<Run, Interrupt>) -> Option<String> {
    let again = match again {
        Ok(run) => run,
        Err(Interrupt::Failed(sentence)) => return Some(format!("{sentence} (when it was called again)")),
        Err(_) => return None,
    };
    let mut words = sends_again(&first.sends, &again.sends).unwrap_or_default();
    if words.is_empty() && first.writes != again.writes {
        let keys: BTreeSet<&String> = first.writes.keys().chain(again.writes.keys()).collect();
        let key = keys.into_iter().find(|key| first.writes.get(*key) != again.writes.get(*key))?;
        let value = |run: &Run| shown(run.writes.get(key).and_then(|written| written.value.as_ref()));
        let line = first.writes.get(key).or_else(|| again.writes.get(key)).map_or("", |written| written.line.as_str());
        let _ = write!(words, "{line}: wrote {key} = {}, and when it was called again {}", value(first), value(again));
    }
    (!words.is_empty()).then(|| words + OUTLIVES)
}

/// The same of a route.
pub(super) fn answer_again(
    route: &str,
    first: &(Response, Left),
    again: &Result<(Response, Left), Interrupt>,
) -> Option<String> {
    let again = match again {
        Ok(answered) => answered,
        Err(Interrupt::Failed(sentence)) => return Some(format!("{sentence} (when it was called again)")),
        Err(_) => return None,
    };
    let words = sends_again(&first.1.sends, &again.1.sends).or_else(|| {
        let shown = |response: &Response| format!("{} {}", response.status, response.body);
        let (one, other) = (shown(&first.0), shown(&again.0));
        (one != other).then(|| format!("{route} answered {one}, and when it was called again {other}"))
    });
    words.map(|words| words + OUTLIVES)
}

/// What is wrong with a script whose second call does something else.
const OUTLIVES: &str = ": a variable of the script outlives the call; keep what must last in redis";

fn sends_again(first: &[Sent], again: &[Sent]) -> Option<String> {
    for (one, other) in first.iter().zip(again) {
        if one != other {
            return Some(format!(
                "{}: sent {} {} on {}, and when it was called again on the same ground {} {} on {}",
                one.line,
                one.event_type,
                one.data.as_str(),
                one.key,
                other.event_type,
                other.data.as_str(),
                other.key
            ));
        }
    }
    let longer = if first.len() > again.len() { first } else { again };
    let line = &longer.get(first.len().min(again.len()))?.line;
    Some(format!("{line}: sent {} events, and when it was called again {}", first.len(), again.len()))
}

/// Tells the trace what was asked and found.
pub(super) fn record(
    context: &mut Context<'_, LuaState>,
    position: Position,
    found: impl IntoIterator<Item = (Check, Option<String>)>,
) {
    for (check, flaw) in found {
        context.record(What::HandlerChecked { position, check, flaw });
    }
}
