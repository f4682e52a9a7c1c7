//! The calls that a script's functions get: their arguments, and what is made of what they return.

use std::collections::BTreeSet;

use dacapo_core::{CorrelationId, Event, Key, WallTime, digest::digest_of};
use mlua::{IntoLuaMulti as _, Lua, MultiValue, Value as LuaValue};
use serde_json::{Value, json};

use super::{
    LuaService, LuaState,
    ground::Ground,
    machine::TIMER,
    registered::Handler,
    run::{Doing, Run, Sent},
    value,
    vm::{Called, Ended, Look},
};
use crate::service::{Context, Inconsistent, Interrupt, Method, Request, Response, Route};

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

impl LuaService {
    /// Makes one call that is about an event.
    pub(super) fn call_about(
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

    /// Calls what listens to an event: the listener, and the receipt listener if this service sent it.
    pub(super) fn listen(
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

    pub(super) fn answer(
        &self,
        request: &Request,
        context: &mut Context<'_, LuaState>,
    ) -> Result<(Response, Left), Interrupt> {
        let registered = &self.vm.registered;
        if let Some(timer) = request.route.strip_prefix(TIMER) {
            let Some((every, handler)) = registered.timers.get(timer) else {
                return Ok((Response::error(404, "there is no such timer"), Left::default()));
            };
            // The time is that of the span, whenever the call is made.
            let span: u64 = request.idempotency_key.as_deref().and_then(|key| key.parse().ok()).unwrap_or_default();
            let time = WallTime(span.saturating_mul(every.as_micros() as u64));
            let run = Run::new(Doing::Answering, digest_of(0, &(timer, span)), time);
            let called =
                self.vm.invoke(run, &mut |asked| self.look_at(context, None, asked), &handler.function, |lua| {
                    timer.into_lua_multi(lua)
                });
            called.result.map_err(|ended| match interrupt_of(ended) {
                Interrupt::Failed(sentence) => Interrupt::Failed(format!("{sentence} (in the timer {timer})")),
                other => other,
            })?;
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
                let what =
                    format!("{} as its status; return one such as HTTP_OK, then a table or nil", other.type_name());
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
    pub(super) fn hear(
        &self,
        inconsistent: &Inconsistent<'_>,
        context: &mut Context<'_, LuaState>,
    ) -> Result<Left, Interrupt> {
        let mut left = Left::default();
        for event in inconsistent.events {
            let Some(handler) = self.vm.registered.receipts.get(&event.event_type) else { continue };
            let mut run = Run::new(Doing::Answering, digest_of(0, event.id.as_str()), context.now().wall);
            run.idempotency_key.clone_from(&inconsistent.request.idempotency_key);
            let called =
                self.vm.invoke(run, &mut |asked| self.look_at(context, None, asked), &handler.function, |lua| {
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
