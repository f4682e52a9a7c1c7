//! The machine of a script: an [`Instance`] of its service, with what a script has beyond it.
//!
//! *Timers.* A timer is a request that the instance makes of itself, under an idempotency key that names the timer and the
//! span of time: however many instances there are, and however often they are restarted, each span takes effect once. It is
//! asked for when the span begins, when the instance does, and again for as long as nobody can say what came of it. What
//! fails has nobody to tell it to but the log of the process and, in a simulation, the trace.
//!
//! *Requests without an idempotency key* get one of their own. A caller that repeats such a request repeats its effect;
//! one that minds sends a key.

use std::{collections::BTreeMap, time::Duration};

use dacapo_core::{
    Now, Position, Timestamp,
    trace::{Check, What},
};

use super::{LuaService, registered::intern};
use crate::{
    instance::{Input, Instance, InstanceConfig, Machine, Output},
    service::{Method, Request, Response, Route},
};

/// How the route of a timer begins; no path does.
pub(super) const TIMER: &str = "timer ";

/// The status of "ask again": what came of a request is not known.
const UNKNOWN: u16 = 503;

/// How long it is waited before such a span is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Requests of the instance's own are numbered from here.
const OWN_FROM: u64 = 1 << 62;

#[derive(Clone)]
struct Timer {
    name: String,
    every: Duration,
    /// None before the machine has started.
    due: Option<Timestamp>,
    /// The request under way.
    asked: Option<u64>,
    /// Where the script sets it.
    line: String,
}

/// A script's instance.
#[derive(Clone)]
pub struct LuaMachine {
    instance: Instance<LuaService>,
    timers: Vec<Timer>,
    own: u64,
    incarnation: u64,
    /// Of the latest input.
    now: Timestamp,
    /// Whether a timer that fails is told to the trace.
    records: bool,
}

impl LuaMachine {
    /// An instance of a loaded script that has not started.
    pub fn new(service: LuaService, config: InstanceConfig) -> Self {
        let timer = |(name, every, line)| Timer { name, every, due: None, asked: None, line };
        let timers = service.timers().into_iter().map(timer).collect();
        let (incarnation, records) = (config.incarnation, config.record && service.settings.compares);
        let now = Timestamp(0);
        Self { instance: Instance::new(service, config), timers, own: OWN_FROM, incarnation, now, records }
    }

    fn tick(&mut self, now: Now) {
        let mut asked = Vec::new();
        for timer in &mut self.timers {
            let every_us = timer.every.as_micros() as u64;
            if timer.due.is_some_and(|due| due > now.monotonic) {
                continue;
            }
            let left_us = every_us - now.wall.0 % every_us;
            timer.due = Some(now.monotonic + Duration::from_micros(left_us));
            if timer.asked.is_some() {
                continue;
            }
            self.own += 1;
            timer.asked = Some(self.own);
            let time = now.wall.0 / every_us;
            asked.push((
                self.own,
                Request {
                    method: Method::Post,
                    route: intern(&format!("{TIMER}{}", timer.name)),
                    parameters: BTreeMap::new(),
                    idempotency_key: Some(format!("{time}")),
                    caller: None,
                    at_least: None,
                    body: String::new(),
                },
            ));
        }
        for (id, request) in asked {
            self.instance.handle_input(now, Input::Request { id, request });
        }
    }
}

impl LuaMachine {
    /// Takes the answer to a request of a timer; what the trace is told of it.
    fn beaten(&mut self, id: u64, response: &Response) -> Option<Output> {
        let timer = self.timers.iter_mut().find(|timer| timer.asked == Some(id))?;
        timer.asked = None;
        let Response { status, body, .. } = response;
        if *status == UNKNOWN {
            tracing::warn!(target: "lua", timer = timer.name, "asked again in {} s: {body}", AGAIN_AFTER.as_secs());
            let again = self.now + AGAIN_AFTER;
            timer.due = Some(timer.due.map_or(again, |due| due.min(again)));
            return None;
        }
        if *status < 400 {
            return None;
        }
        let Timer { name, line, .. } = timer;
        tracing::error!(target: "lua", timer = name, "{body}");
        let flaw = Some(format!("{line}: the timer {name} fails with {status}: {body}"));
        let record = What::HandlerChecked { position: Position::ZERO, check: Check::Errors, flaw };
        self.records.then_some(Output::Record(record))
    }
}

impl Machine for LuaMachine {
    fn handle_input(&mut self, now: Now, input: Input) {
        self.now = now.monotonic;
        let input = match input {
            Input::Request { id, mut request } => {
                let own = || format!("without-key-{:x}-{id}", self.incarnation);
                request.idempotency_key.get_or_insert_with(own);
                Input::Request { id, request }
            }
            other => other,
        };
        self.instance.handle_input(now, input);
        self.tick(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        loop {
            match self.instance.poll_output()? {
                Output::Respond { id, response } if id > OWN_FROM => {
                    if let Some(record) = self.beaten(id, &response) {
                        return Some(record);
                    }
                }
                output => return Some(output),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        // Before the instance has started, and after it has ended, it waits for nothing.
        let instance = self.instance.poll_timeout();
        let timers = self.timers.iter().filter_map(|timer| timer.due);
        instance.map(|due| timers.fold(due, Timestamp::min))
    }

    fn routes(&self) -> Vec<Route> {
        self.instance.routes()
    }

    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn check_invariants(&self) {
        self.instance.check_invariants();
    }

    fn digest(&self) -> u64 {
        self.instance.digest()
    }

    fn boxed_clone(&self) -> Box<dyn Machine> {
        Box::new(self.clone())
    }
}
