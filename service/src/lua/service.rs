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
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dacapo_core::{Event, EventType, Key, Position, ServiceName, digest::digest_of, trace::Check};

use super::{
    api::LATER,
    checks::{self, Warned},
    gathered::Gathered,
    ground::Ground,
    limits::LuaLimits,
    memo::{After, Memo},
    run::{Doing, Run},
    script::{Script, ScriptError},
    sent_from::SentFrom,
    state::LuaState,
    store::{Change, Live, Snapshot, StateStore},
    vm::{Ended, Vm},
};
use crate::service::{Context, Inconsistent, Interrupt, Request, Response, Route, Service};

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
    pub(super) settings: LuaSettings,
    pub(super) name: ServiceName,
    pub(super) vm: Vm,
    warned: Mutex<Warned>,
    pub(super) gathered: Mutex<Gathered>,
    pub(super) memo: Mutex<Memo>,
    /// What listeners wrote that nothing rebuilds, until their completion is committed.
    pending: Mutex<BTreeMap<Position, BTreeMap<String, Live>>>,
    store: Option<Arc<dyn StateStore>>,
}

/// Completions under way that wrote what nothing rebuilds.
const PENDING_MAX: usize = 1_024;

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
            memo: Mutex::default(),
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

    /// Whether a call may be about an event of this type, and will be shown the state without it.
    fn is_handled(&self, event_type: &EventType) -> bool {
        let registered = &self.vm.registered;
        self.settings.compares
            || registered.listeners.contains_key(event_type)
            || registered.receipts.contains_key(event_type)
    }

    /// Its timers, how often each is due, and where it is set.
    pub(super) fn timers(&self) -> Vec<(String, Duration, String)> {
        let timers = self.vm.registered.timers.iter();
        timers.map(|(name, (every, handler))| (name.clone(), *every, handler.line.clone())).collect()
    }

    /// Holds a call against the rebuild handler, and against itself.
    fn compare(&self, event: &Event, ground: &Ground, first: &Run, context: &mut Context<'_, LuaState>) {
        if !self.settings.compares {
            let event_type = event.event_type.as_str();
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.is_due(event_type)
                && let Some(words) = checks::against_rebuild(self, event, ground, first)
                && warned.is_news(event_type)
            {
                tracing::warn!(target: "lua", script = self.script.file(), "{words}");
            }
            return;
        }
        let rebuilt = checks::against_rebuild(self, event, ground, first);
        let again = self.listen(event, ground, context);
        let again = checks::against_again(first, &again);
        checks::record(
            context,
            event.position,
            [(Check::RebuildHandler, rebuilt), (Check::SecondCall, again), (Check::Errors, None)],
        );
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
        let writes = run.writes.iter().map(|(key, written)| (key.clone(), written.value.clone().into())).collect();
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

impl Clone for LuaService {
    fn clone(&self) -> Self {
        Self::load(&self.script, &self.settings).expect("a script that was loaded once loads again")
    }
}

impl fmt::Debug for LuaService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuaService")
            .field("script", &self.script.file())
            .field("name", &self.name)
            .finish_non_exhaustive()
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
        if let Some(After(after)) = self.remembered(event, state.value.as_ref()) {
            state.step(event, after, self.is_handled(&event.event_type));
            return;
        }
        let Some((called, looked_elsewhere)) = self.rebuild_own(state.value.as_ref(), event) else { return };
        self.remember(event, state.value.as_ref(), &called, looked_elsewhere);
        if let (Err(Ended::Failed(sentence)), false) = (&called.result, looked_elsewhere) {
            tracing::error!(target: "lua", script = self.script.file(), %key, "{sentence}");
            state.broken = Some(sentence.as_str().into());
            return;
        }
        if let Some(written) = called.run.writes.get(key.as_str()) {
            state.step(event, written.value.clone(), self.is_handled(&event.event_type));
        }
    }

    fn handle(&self, event: &Event, context: &mut Context<'_, LuaState>) -> Result<(), Interrupt> {
        let registered = &self.vm.registered;
        let (listened, received) = (&registered.listeners, &registered.receipts);
        if !listened.contains_key(&event.event_type) && !received.contains_key(&event.event_type) {
            // A rebuild handler alone has nothing to decide; whether it works is asked where everything is asked.
            if self.settings.compares && registered.rebuilds.contains_key(&event.event_type) {
                context.unguarded();
                context.must_have_seen(event.position);
                let ground = self.ground(event, context)?;
                let flaw = checks::of_rebuild(self, event, &ground);
                checks::record(context, event.position, [(Check::Errors, flaw)]);
            }
            return Ok(());
        }
        context.unguarded();
        if self.gathered().has_foreign() {
            // What the lane's earlier events gathered must be seen, and this one told apart.
            context.must_have_seen(event.position);
        }
        let ground = self.ground(event, context)?;
        let run =
            self.listen(event, &ground, context).inspect_err(|error| self.tell(error, event.position, context))?;
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
        // A digest walks all that was written; only a simulation looks at it.
        let is_told = self.settings.compares && !change.values.is_empty();
        let digest = is_told.then(|| digest_of(0, &change.values));
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
