//! What a call finds at hand: everything that is known, but not the event that it is about.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
};

use dacapo_core::{Event, Expectation, Key, Version};
use mlua::MultiValue;
use serde_json::{Value, json};

use super::{
    LuaService, LuaState,
    api::{EVENTS_OF, KEYS_OF},
    calls::{Left, told},
    gathered::Gathered,
    glob,
    memo::After,
    run::{Doing, Sent, Written},
    store::Change,
    vm::{Called, Ended, Look},
};
use crate::service::{Context, Interrupt};

/// What a call finds there: every event's effect but that of the one it is about.
pub(super) struct Ground {
    pub(super) key: String,
    pub(super) own: Option<Arc<Value>>,
    pub(super) overlay: BTreeMap<String, Option<Arc<Value>>>,
}

impl LuaService {
    /// What the rebuild handler makes of an event, where it finds these values.
    pub(super) fn rebuild(&self, event: &Event, look: &mut Look<'_>) -> Option<Called<MultiValue>> {
        let handler = self.vm.registered.rebuilds.get(&event.event_type)?;
        Some(self.call_about(event, Doing::Rebuilding, handler, look, None))
    }

    /// The same for a key's own state: what other events make is not there.
    pub(super) fn rebuild_own(&self, value: Option<&Arc<Value>>, event: &Event) -> Option<(Called<MultiValue>, bool)> {
        let mut looked_elsewhere = false;
        let called = self.rebuild(event, &mut |asked| {
            if asked == event.key.as_str() {
                return Ok(value.cloned());
            }
            looked_elsewhere = true;
            Ok(None)
        })?;
        Some((called, looked_elsewhere))
    }

    /// A key's value with every event in it but this version's.
    pub(super) fn own_without(&self, state: &LuaState, version: Version) -> Option<Arc<Value>> {
        let Some((mut value, later)) = state.without(version) else { return state.value.clone() };
        for event in later {
            if let Some((called, _)) = self.rebuild_own(value.as_ref(), event)
                && let Some(written) = called.run.writes.get(event.key.as_str())
            {
                value.clone_from(&written.value);
            }
        }
        value
    }

    /// The ground on which an event is handled: everything that is known, but not the event itself.
    pub(super) fn ground(&self, event: &Event, context: &mut Context<'_, LuaState>) -> Result<Ground, Interrupt> {
        let state = context.state(&event.key)?;
        if let Some(why) = &state.broken {
            return Err(Interrupt::Failed(format!("the state of {} cannot be used: {why}", event.key)));
        }
        let folds = self.vm.registered.rebuilds.contains_key(&event.event_type);
        let own = if folds && state.has_forgotten(event.version) {
            self.folded_without(context.events(&event.key)?, event)
        } else {
            self.own_without(state, event.version)
        };
        let mut ground = Ground { key: event.key.as_str().to_owned(), own, overlay: BTreeMap::new() };
        let Some((before, later)) = self.gathered().before(event.position) else { return Ok(ground) };
        ground.overlay = before;
        for event in later {
            let called = self.rebuild(&event, &mut |asked| Ok(self.gathered_value(&ground, asked)));
            let writes = called.map(|called| called.run.writes).unwrap_or_default();
            for (key, written) in writes {
                if let Some(value) = ground.overlay.get_mut(&key) {
                    *value = written.value;
                }
            }
        }
        Ok(ground)
    }

    /// A key's value with all of these in it but one.
    pub(super) fn folded_without(&self, events: &[Arc<Event>], but: &Event) -> Option<Arc<Value>> {
        let mut value = None;
        for event in events.iter().filter(|event| event.version != but.version) {
            if let Some((called, _)) = self.rebuild_own(value.as_ref(), event)
                && let Some(written) = called.run.writes.get(event.key.as_str())
            {
                value.clone_from(&written.value);
            }
        }
        value
    }

    /// Takes the next event of the log into what gathers over keys.
    pub(super) fn gather(&self, event: &Event) -> Change {
        let own = self.gathered().value(event.key.as_str());
        if let Some(After(value)) = self.remembered(event, own.as_ref()) {
            let written = Written { value, line: String::new() };
            return self.gathered().take(event, [(event.key.as_str().to_owned(), written)].into());
        }
        let mut looked_elsewhere = false;
        let called = self.rebuild(event, &mut |asked| {
            looked_elsewhere |= asked != event.key.as_str();
            Ok(self.gathered().value(asked))
        });
        if let Some(called) = &called {
            self.remember(event, own.as_ref(), called, looked_elsewhere);
        }
        let writes = match called {
            Some(Called { result: Ok(_), run }) => run.writes,
            // What it would have made is missing from then on, at every instance alike.
            Some(Called { result: Err(Ended::Failed(sentence)), .. }) => {
                tracing::error!(target: "lua", key = %event.key, "{sentence}");
                BTreeMap::new()
            }
            _ => BTreeMap::new(),
        };
        self.gathered().take(event, writes)
    }

    /// What the handler made of the event's key, if it was asked before.
    pub(super) fn remembered(&self, event: &Event, before: Option<&Arc<Value>>) -> Option<After> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner).after(event.position, before)
    }

    /// Keeps what the handler made of the event's key, if it minded nothing else.
    pub(super) fn remember(
        &self,
        event: &Event,
        before: Option<&Arc<Value>>,
        called: &Called<MultiValue>,
        looked_elsewhere: bool,
    ) {
        let writes = &called.run.writes;
        if self.settings.compares || looked_elsewhere || called.result.is_err() || writes.len() != 1 {
            return;
        }
        if let Some(written) = writes.get(event.key.as_str()) {
            let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
            memo.keep(event.position, before.cloned(), written.value.clone());
        }
    }

    pub(super) fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gathered_value(&self, ground: &Ground, asked: &str) -> Option<Arc<Value>> {
        match ground.overlay.get(asked) {
            Some(value) => value.clone(),
            None => self.gathered().value(asked),
        }
    }

    /// The value of any key, for a listener or route.
    pub(super) fn look_at(
        &self,
        context: &mut Context<'_, LuaState>,
        ground: Option<&Ground>,
        asked: &str,
    ) -> Result<Option<Arc<Value>>, Interrupt> {
        if let Some(key) = asked.strip_prefix(EVENTS_OF) {
            let Ok(key) = Key::new(key.to_owned()) else { return Ok(None) };
            let events: Vec<Value> = context.events(&key)?.iter().map(|event| told(event)).collect();
            return Ok(Some(Arc::new(Value::Array(events))));
        }
        context.viewing();
        if let Some(pattern) = asked.strip_prefix(KEYS_OF) {
            let gathered = self.gathered();
            let keys: BTreeSet<&String> = gathered.keys().filter(|key| glob::matches(pattern, key)).collect();
            return Ok(Some(Arc::new(json!(keys))));
        }
        {
            let gathered = self.gathered();
            if let Some(live) = gathered.live(asked) {
                return Ok(live.value());
            }
            if gathered.is_foreign(asked) {
                drop(gathered);
                context.viewed_values();
                return Ok(match ground {
                    Some(ground) => self.gathered_value(ground, asked),
                    None => self.gathered().value(asked),
                });
            }
        }
        if let Some(ground) = ground.filter(|ground| ground.key == asked) {
            return Ok(ground.own.clone());
        }
        let Ok(key) = Key::new(asked.to_owned()) else { return Ok(None) };
        let (_, folded) = context.version(&key)?;
        if self.gathered().version(&key) > folded {
            // The log, which is followed anyway, tells of what this state does not know yet.
            return Err(Interrupt::Missing(key));
        }
        let state = context.state(&key)?;
        match &state.broken {
            Some(why) => Err(Interrupt::Failed(format!("the state of {key} cannot be used: {why}"))),
            None => Ok(state.value.clone()),
        }
    }

    /// Puts what was sent into the batch: with the version that the state has, where that is demanded.
    pub(super) fn send(&self, left: Left, context: &mut Context<'_, LuaState>) -> Result<(), Interrupt> {
        let Left { sends, guards } = left;
        for key in guards {
            // The version is that of the key's own state; what was followed of it must be as new.
            self.version(&key, context)?;
            context.guard(&key)?;
        }
        let mut versions: BTreeMap<Key, Version> = BTreeMap::new();
        for sent in sends.iter().filter(|sent| !sent.implicit) {
            if !versions.contains_key(&sent.key) {
                versions.insert(sent.key.clone(), self.version(&sent.key, context)?);
            }
        }
        for Sent { event_type, key, correlation, data, line, .. } in sends {
            if self.settings.compares {
                self.settings.sent_from.note(&event_type, &key, &data, line);
            }
            let expectation = versions.get(&key).map_or(Expectation::Any, |version| Expectation::Version(*version));
            context.emit_as(event_type, key, data, expectation, correlation);
        }
        Ok(())
    }

    /// The version of a key that the state had. Where values were read that the log was followed for, they must be as new as
    /// the key's own state: it is this version that vouches for them.
    pub(super) fn version(&self, key: &Key, context: &mut Context<'_, LuaState>) -> Result<Version, Interrupt> {
        let (version, folded) = context.version(key)?;
        if context.has_viewed_values() {
            match self.gathered().version(key).cmp(&folded) {
                Ordering::Less => return Err(Interrupt::Behind),
                Ordering::Greater => return Err(Interrupt::Missing(key.clone())),
                Ordering::Equal => {}
            }
        }
        Ok(version)
    }
}
