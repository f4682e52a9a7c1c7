//! A script as a [`Service`]: the machine that runs it is the one that runs every other service.
//!
//! | of the script | of the service |
//! |---|---|
//! | rebuild handler | `apply`: live, hydrating and rebuilding alike, it alone makes the state |
//! | listener, receipt listener | `handle`: shown the state with everything but its own event in it |
//! | route, timer | `request` |
//!
//! What a listener writes is seen by itself until it returns, and then replaced by what the rebuild handler makes of the
//! same event; that both are the same is checked, always in a simulation and now and then in production.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dacapo_core::{
    CorrelationId, Event, EventType, Expectation, Key, Position, ServiceName, Version, digest::digest_of, trace::Check,
};
use mlua::{IntoLuaMulti as _, Lua, MultiValue, Value as LuaValue};
use serde_json::{Value, json};

use super::{
    api::{EVENTS_OF, KEYS_OF, LATER},
    checks::{self, Warned},
    gathered::Gathered,
    glob,
    limits::LuaLimits,
    machine::TIMER,
    registered::Handler,
    run::{Doing, Run, Sent},
    script::{Script, ScriptError},
    sent_from::SentFrom,
    state::LuaState,
    store::{Change, Snapshot, StateStore},
    value,
    vm::{Called, Ended, Look, Vm},
};
use crate::service::{Context, Inconsistent, Interrupt, Method, Request, Response, Route, Service};

/// How a script is run.
#[derive(Debug, Clone, Default)]
pub struct LuaSettings {
    /// What one call may use up.
    pub limits: LuaLimits,
    /// Whether every call is made twice and held against the rebuild handler: in a simulation.
    pub compares: bool,
    /// Remembers, where calls are compared, which line sent what.
    pub sent_from: SentFrom,
}

/// A service in Lua. Its clones begin with fresh variables, as other processes would.
pub struct LuaService {
    script: Script,
    settings: LuaSettings,
    name: ServiceName,
    vm: Vm,
    warned: Mutex<Warned>,
    gathered: Mutex<Gathered>,
    /// What listeners wrote that nothing rebuilds, until their completion is committed.
    pending: Mutex<BTreeMap<Position, BTreeMap<String, Option<Arc<Value>>>>>,
    store: Option<Arc<dyn StateStore>>,
}

/// Completions under way that wrote what nothing rebuilds.
const PENDING_MAX: usize = 1_024;

/// What a call wants of the bus.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Left {
    pub(super) sends: Vec<Sent>,
    pub(super) guards: BTreeSet<Key>,
}

impl From<Run> for Left {
    fn from(run: Run) -> Self {
        Self { sends: run.sends, guards: run.guards }
    }
}

/// What a call finds there: every event's effect but that of the one it is about.
pub(super) struct Ground {
    pub(super) key: String,
    pub(super) own: Option<Arc<Value>>,
    pub(super) overlay: BTreeMap<String, Option<Arc<Value>>>,
}

impl LuaService {
    /// Loads a script.
    pub fn load(script: &Script, settings: &LuaSettings) -> Result<Self, ScriptError> {
        let vm = Vm::load(script, &settings.limits)?;
        let Some(name) = vm.registered.name.clone() else {
            return Err(ScriptError::Nameless(script.file().to_owned()));
        };
        if vm.registered.is_idle() {
            return Err(ScriptError::Idle(script.file().to_owned()));
        }
        Ok(Self {
            script: script.clone(),
            settings: settings.clone(),
            name,
            vm,
            warned: Mutex::default(),
            gathered: Mutex::default(),
            pending: Mutex::default(),
            store: None,
        })
    }

    /// The same, going on from what a store has kept, and keeping what changes there.
    #[must_use]
    pub fn kept_in(mut self, snapshot: Snapshot, store: Arc<dyn StateStore>) -> Self {
        self.gathered = Mutex::new(Gathered::of(snapshot));
        self.store = Some(store);
        self
    }

    /// Its script.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Calls the listener for an event where there is no state, and tells how many events it would send.
    pub fn rehearse(&self, event: &Event) -> Result<usize, String> {
        let Some(handler) = self.vm.registered.listeners.get(&event.event_type) else { return Ok(0) };
        let called = self.call_about(event, Doing::Listening, handler, &mut |_| Ok(None), None);
        match called.result {
            Ok(_) => Ok(called.run.sends.len()),
            Err(Ended::Failed(sentence)) => Err(sentence),
            Err(Ended::Interrupt(interrupt)) => Err(format!("{}: {interrupt:?}", handler.line)),
        }
    }

    /// Its timers, and how often each is due.
    pub(super) fn timers(&self) -> Vec<(String, Duration)> {
        self.vm.registered.timers.iter().map(|(name, (every, _))| (name.clone(), *every)).collect()
    }

    /// The state of Lua that it runs in.
    pub(super) fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Makes one call that is about an event.
    fn call_about(
        &self,
        event: &Event,
        doing: Doing,
        handler: &Handler,
        look: &mut Look<'_>,
        status: Option<&'static str>,
    ) -> Called<MultiValue> {
        let mut run = Run::new(doing, digest_of(0, event.id.as_str()), event.time);
        run.correlation = Some(event.correlation.clone());
        self.vm.invoke(run, look, &handler.function, |lua| arguments_of(lua, event, status))
    }

    /// What the rebuild handler makes of an event, where it finds these values.
    pub(super) fn rebuild(&self, event: &Event, look: &mut Look<'_>) -> Option<Called<MultiValue>> {
        let handler = self.vm.registered.rebuilds.get(&event.event_type)?;
        Some(self.call_about(event, Doing::Rebuilding, handler, look, None))
    }

    /// The same for a key's own state: what other events make is not there.
    fn rebuild_own(&self, value: Option<&Arc<Value>>, event: &Event) -> Option<(Called<MultiValue>, bool)> {
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
    fn ground(&self, event: &Event, context: &mut Context<'_, LuaState>) -> Result<Ground, Interrupt> {
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
        let called = self.rebuild(event, &mut |asked| Ok(self.gathered().value(asked)));
        let writes = match called {
            // A state that cannot be made is told where it is used: of its key, by the fold of the key.
            Some(Called { result: Ok(_), run }) => run.writes,
            _ => BTreeMap::new(),
        };
        self.gathered().take(event, writes)
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
    fn look_at(
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
                return Ok(live);
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
        let state = context.state(&key)?;
        match &state.broken {
            Some(why) => Err(Interrupt::Failed(format!("the state of {key} cannot be used: {why}"))),
            None => Ok(state.value.clone()),
        }
    }

    /// Calls what listens to an event: the listener, and the receipt listener if this service sent it.
    fn listen(
        &self,
        event: &Event,
        ground: &Ground,
        context: &mut Context<'_, LuaState>,
    ) -> Result<Run, Interrupt> {
        let registered = &self.vm.registered;
        let listener = registered.listeners.get(&event.event_type).map(|handler| (handler, None));
        let own = event.source.as_str() == self.name.as_str();
        let receipt = registered.receipts.get(&event.event_type).filter(|_| own).map(|it| (it, Some("success")));
        let mut gathered = Run::idle();
        for (handler, status) in listener.into_iter().chain(receipt) {
            let mut look = |asked: &str| {
                if let Some(written) = gathered.writes.get(asked) {
                    return Ok(written.value.clone());
                }
                self.look_at(context, Some(ground), asked)
            };
            let called = self.call_about(event, Doing::Listening, handler, &mut look, status);
            called.result.map_err(interrupt_of)?;
            gathered.writes.extend(called.run.writes);
            gathered.sends.extend(called.run.sends);
            gathered.guards.extend(called.run.guards);
        }
        Ok(gathered)
    }

    /// Puts what was sent into the batch: with the version that the state has, where that is demanded.
    fn send(&self, left: Left, context: &mut Context<'_, LuaState>) -> Result<(), Interrupt> {
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
    fn version(&self, key: &Key, context: &mut Context<'_, LuaState>) -> Result<Version, Interrupt> {
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

    fn answer(&self, request: &Request, context: &mut Context<'_, LuaState>) -> Result<(Response, Left), Interrupt> {
        let registered = &self.vm.registered;
        if let Some(timer) = request.route.strip_prefix(TIMER) {
            let Some((_, handler)) = registered.timers.get(timer) else {
                return Ok((Response::error(404, "there is no such timer"), Left::default()));
            };
            let run = Run::new(Doing::Answering, digest_of(0, &request.idempotency_key), context.now().wall);
            let called =
                self.vm.invoke(run, &mut |asked| self.look_at(context, None, asked), &handler.function, |lua| {
                    timer.into_lua_multi(lua)
                });
            called.result.map_err(interrupt_of)?;
            return Ok((Response { status: 200, body: String::new(), position: None }, called.run.into()));
        }
        let matches = |route: &Route| route.method == request.method && route.path == request.route;
        let Some((_, handler)) = registered.routes.iter().find(|(route, _)| matches(route)) else {
            return Ok((Response::error(404, "there is no such route"), Left::default()));
        };
        let data: Value = match request.body.trim() {
            "" => Value::Null,
            body => match serde_json::from_str(body) {
                Ok(data) => data,
                Err(error) => {
                    let sentence = format!("the body is no JSON: {error}; send one JSON value");
                    return Ok((Response::error(400, &sentence), Left::default()));
                }
            },
        };
        let seed = match &request.idempotency_key {
            Some(key) => digest_of(0, key),
            None => digest_of(0, request),
        };
        let mut run = Run::new(Doing::Answering, seed, context.now().wall);
        run.idempotency_key.clone_from(&request.idempotency_key);
        let called = self.vm.invoke(run, &mut |asked| self.look_at(context, None, asked), &handler.function, |lua| {
            let arguments = lua.create_table()?;
            for (name, text) in &request.parameters {
                arguments.raw_set(name.as_str(), text.as_str())?;
            }
            let method = match request.method {
                Method::Get => "GET",
                Method::Post => "POST",
                Method::Put => "PUT",
                Method::Delete => "DELETE",
            };
            (method, request.route, arguments, value::to_lua(lua, &data)?).into_lua_multi(lua)
        });
        let mut returned = called.result.map_err(interrupt_of)?;
        let status = returned.pop_front().unwrap_or(LuaValue::Nil);
        let body = returned.pop_front().unwrap_or(LuaValue::Nil);
        let wrong = |what: &str| Interrupt::Failed(format!("{}: the route returned {what}", handler.line));
        let status = match status {
            LuaValue::Integer(status @ 100..=599) => status as u16,
            other => {
                let what = format!("{} as its status; return one such as HTTP_OK, then a table or nil", other.type_name());
                return Err(wrong(&what));
            }
        };
        let body = match body {
            LuaValue::Nil => String::new(),
            body => value::of_lua(self.vm.lua(), &body)
                .map_err(|error| wrong(&format!("what is no answer: {}", super::vm::sentence(&error))))?
                .to_string(),
        };
        Ok((Response { status, body, position: None }, called.run.into()))
    }

    /// Calls the receipt listeners for events of a request that were inconsistent.
    fn hear(
        &self,
        inconsistent: &Inconsistent<'_>,
        context: &mut Context<'_, LuaState>,
    ) -> Result<Left, Interrupt> {
        let mut left = Left::default();
        for event in inconsistent.events {
            let Some(handler) = self.vm.registered.receipts.get(&event.event_type) else { continue };
            let mut run = Run::new(Doing::Answering, digest_of(0, event.id.as_str()), context.now().wall);
            run.idempotency_key.clone_from(&inconsistent.request.idempotency_key);
            let called = self.vm.invoke(run, &mut |asked| self.look_at(context, None, asked), &handler.function, |lua| {
                let data: Value = event.data.to().map_err(mlua::Error::external)?;
                let correlation = event.correlation.as_ref().map(CorrelationId::as_str);
                let (event_type, key) = (event.event_type.as_str(), event.key.as_str());
                ("inconsistent", event_type, key, correlation, value::to_lua(lua, &data)?).into_lua_multi(lua)
            });
            called.result.map_err(interrupt_of)?;
            left.sends.extend(called.run.sends);
            left.guards.extend(called.run.guards);
        }
        Ok(left)
    }

    /// Holds a call against the rebuild handler, and against itself.
    fn compare(&self, event: &Event, ground: &Ground, first: &Run, context: &mut Context<'_, LuaState>) {
        let rebuilt = checks::against_rebuild(self, event, ground, first);
        if !self.settings.compares {
            if let Some(words) = rebuilt
                && self.warned.lock().unwrap_or_else(PoisonError::into_inner).is_news(event.event_type.as_str())
            {
                tracing::warn!(target: "lua", script = self.script.file(), "{words}");
            }
            return;
        }
        let again = self.listen(event, ground, context);
        let again = checks::against_again(first, &again);
        checks::record(context, event.position, [
            (Check::RebuildHandler, rebuilt),
            (Check::SecondCall, again),
            (Check::Errors, None),
        ]);
    }

    /// Tells of a call that failed by itself.
    fn tell(&self, error: &Interrupt, position: Position, context: &mut Context<'_, LuaState>) {
        let Interrupt::Failed(sentence) = error else { return };
        if sentence.starts_with(LATER) {
            return;
        }
        tracing::error!(target: "lua", script = self.script.file(), "{sentence}");
        if self.settings.compares {
            checks::record(context, position, [(Check::Errors, Some(sentence.clone()))]);
        }
    }

    /// Keeps what nothing rebuilds until the completion is committed.
    fn keep(&self, event: &Event, run: &Run) {
        if run.writes.is_empty() || self.vm.registered.rebuilds.contains_key(&event.event_type) {
            return;
        }
        let writes = run.writes.iter().map(|(key, written)| (key.clone(), written.value.clone())).collect();
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.insert(event.position, writes);
        if pending.len() > PENDING_MAX {
            pending.pop_first();
        }
    }

    fn save(&self, change: Change) {
        if let Some(store) = &self.store {
            store.save(change);
        }
    }
}

/// An event as scripts see one that they have asked for.
pub(super) fn told(event: &Event) -> Value {
    json!({
        "id": event.id, "type": event.event_type, "key": event.key, "version": event.version.0,
        "position": event.position.0, "correlation": event.correlation, "causation": event.causation,
        "source": event.source, "data": event.data.to().unwrap_or(Value::Null), "timestamp": event.time.0 / 1_000,
    })
}

fn arguments_of(lua: &Lua, event: &Event, status: Option<&'static str>) -> mlua::Result<MultiValue> {
    let data: Value = event.data.to().map_err(|error| mlua::Error::RuntimeError(error.to_string()))?;
    let (event_type, key) = (event.event_type.as_str(), event.key.as_str());
    let (correlation, data) = (event.correlation.as_str(), value::to_lua(lua, &data)?);
    match status {
        Some(status) => (status, event_type, key, correlation, data).into_lua_multi(lua),
        None => (event_type, key, correlation, data, (event.time.0 / 1_000) as i64).into_lua_multi(lua),
    }
}

fn interrupt_of(ended: Ended) -> Interrupt {
    match ended {
        Ended::Interrupt(interrupt) => interrupt,
        Ended::Failed(sentence) => Interrupt::Failed(sentence),
    }
}

impl Clone for LuaService {
    fn clone(&self) -> Self {
        Self::load(&self.script, &self.settings).expect("a script that was loaded once loads again")
    }
}

impl fmt::Debug for LuaService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuaService").field("script", &self.script.file()).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Service for LuaService {
    type State = LuaState;

    fn name(&self) -> ServiceName {
        self.name.clone()
    }

    fn code(&self) -> u32 {
        self.script.code()
    }

    fn types(&self) -> Vec<EventType> {
        self.vm.registered.types()
    }

    fn apply(&self, key: &Key, state: &mut LuaState, event: &Event) {
        if state.broken.is_some() {
            return;
        }
        let Some((called, looked_elsewhere)) = self.rebuild_own(state.value.as_ref(), event) else { return };
        if let (Err(Ended::Failed(sentence)), false) = (&called.result, looked_elsewhere) {
            tracing::error!(target: "lua", script = self.script.file(), %key, "{sentence}");
            state.broken = Some(sentence.as_str().into());
            return;
        }
        if let Some(written) = called.run.writes.get(key.as_str()) {
            state.step(event, written.value.clone());
        }
    }

    fn handle(&self, event: &Event, context: &mut Context<'_, LuaState>) -> Result<(), Interrupt> {
        let registered = &self.vm.registered;
        let (listened, received) = (&registered.listeners, &registered.receipts);
        if !listened.contains_key(&event.event_type) && !received.contains_key(&event.event_type) {
            return Ok(());
        }
        context.unguarded();
        if self.gathered().has_foreign() {
            // What the lane's earlier events gathered must be seen, and this one told apart.
            context.must_have_seen(event.position);
        }
        let ground = self.ground(event, context)?;
        let run = self.listen(event, &ground, context).inspect_err(|error| self.tell(error, event.position, context))?;
        if self.settings.compares || !run.writes.is_empty() {
            self.compare(event, &ground, &run, context);
        }
        self.keep(event, &run);
        self.send(run.into(), context)
    }

    fn settled(&self, position: Position) {
        let writes = self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&position);
        if let Some(writes) = writes {
            let change = self.gathered().keep_live(writes);
            self.save(change);
        }
    }

    fn view_types(&self) -> Vec<EventType> {
        if self.vm.registered.rebuilds.is_empty() { Vec::new() } else { self.types() }
    }

    fn follow(&self, event: &Event) -> Option<u64> {
        let change = self.gather(event);
        let digest = (!change.values.is_empty()).then(|| digest_of(0, &change.values));
        self.save(change);
        digest
    }

    fn followed(&self) -> Position {
        self.gathered().position()
    }

    fn routes(&self) -> Vec<Route> {
        self.vm.registered.routes.iter().map(|(route, _)| route.clone()).collect()
    }

    fn request(&self, request: &Request, context: &mut Context<'_, LuaState>) -> Result<Response, Interrupt> {
        context.unguarded();
        let answered = self.answer(request, context).inspect_err(|error| self.tell(error, Position::ZERO, context))?;
        if self.settings.compares {
            let again = self.answer(request, context);
            let again = checks::answer_again(request.route, &answered, &again);
            checks::record(context, Position::ZERO, [(Check::SecondCall, again), (Check::Errors, None)]);
        }
        let (response, left) = answered;
        if response.status < 400 {
            self.send(left, context)?;
        }
        Ok(response)
    }
    fn hears_of(&self, event_type: &EventType) -> bool {
        self.vm.registered.receipts.contains_key(event_type)
    }

    fn inconsistent(
        &self,
        inconsistent: &Inconsistent<'_>,
        context: &mut Context<'_, LuaState>,
    ) -> Result<(), Interrupt> {
        context.unguarded();
        let left = self.hear(inconsistent, context).inspect_err(|error| self.tell(error, Position::ZERO, context))?;
        self.send(left, context)
    }
}
