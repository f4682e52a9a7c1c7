//! The bank on the real bus: machines only, on a loop that jumps from one thing to the next, over a store of a few
//! lines. No faults but delays, so that decisions meet; what the simulator adds to this is everything that can fail.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use dacapo_bank::bank;
use dacapo_core::{
    Event, InstanceName, Key, NodeName, Now, Position, ServiceName, Timestamp, Version, WallTime,
    bus::{self, Bus, ConnId},
    digest::digest_of,
    store::{Commit, Found, KeyHead, LookUp, Page, Read, Recovered, Taken, Undone},
    trace::{Record, What},
    wire::{FromBus, ToBus},
};
use dacapo_properties::{Operation, Property, Scenario, scenario::Draw};
use dacapo_service::{Input, InstanceConfig, Machine, Method, Output, Request, Response};

/// A source of chance that is the same on every run.
struct Chance {
    seed: u64,
    drawn: u64,
}

impl Draw for Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.drawn += 1;
        digest_of(self.seed, &self.drawn) % n
    }
}

/// A log and what is done, in vectors and maps.
#[derive(Default)]
struct ToyStore {
    events: Vec<Arc<Event>>,
    heads: BTreeMap<Key, KeyHead>,
    completed: BTreeMap<(ServiceName, Position), Vec<dacapo_core::wire::Produced>>,
}

impl ToyStore {
    fn end(&self) -> Position {
        Position(self.events.len() as u64)
    }

    fn commit(&mut self, commit: &Commit) {
        for event in &commit.events {
            assert_eq!(event.position, self.end().next());
            let head = self.heads.entry(event.key.clone()).or_default();
            *head = std::mem::take(head).advanced(event);
            self.events.push(Arc::clone(event));
        }
        for completion in &commit.completions {
            let produced = completion.produced.iter().map(|position| {
                let event = &self.events[position.0 as usize - 1];
                let (id, key) = (event.id.clone(), event.key.clone());
                dacapo_core::wire::Produced { id, key, version: event.version, position: *position, time: event.time }
            });
            let produced = produced.collect();
            let before = self.completed.insert((completion.service.clone(), completion.position), produced);
            assert!(before.is_none(), "completed twice: {completion:?}");
        }
    }

    fn look_up(&self, asked: &LookUp) -> Found {
        Found {
            read_at: self.end(),
            ids: self
                .events
                .iter()
                .filter(|event| asked.ids.contains(&event.id))
                .map(|event| (event.id.clone(), Arc::clone(event)))
                .collect(),
            heads: asked
                .heads
                .iter()
                .map(|key| (key.clone(), self.heads.get(key).cloned().unwrap_or_default()))
                .collect(),
            completions: asked
                .completions
                .iter()
                .filter_map(|done| Some((done.clone(), self.completed.get(done)?.clone())))
                .collect(),
        }
    }

    fn undone(&self, service: &ServiceName, types: &[Taken], event: &Arc<Event>) -> Option<Undone> {
        let taken = |event: &Event| types.iter().any(|taken| taken.event_type == event.event_type);
        let counts = types.iter().any(|taken| taken.event_type == event.event_type && event.position > taken.since);
        if !counts || self.completed.contains_key(&(service.clone(), event.position)) {
            return None;
        }
        let before = self.events.iter().filter(|other| other.key == event.key && other.version < event.version);
        let previous = before.filter(|other| taken(other)).map(|other| other.version).max().unwrap_or(Version::ZERO);
        Some(Undone { event: Arc::clone(event), previous })
    }

    fn read(&self, read: &Read) -> Page {
        let through = self.end();
        match read {
            Read::Undone { service, after, types, .. } => {
                let later = self.events.iter().filter(|event| event.position > *after);
                let events = later.filter_map(|event| self.undone(service, types, event)).collect();
                Page::Undone { events, through, more: false }
            }
            Read::Lane { service, key, after, through: until, types, .. } => {
                let lane = self
                    .events
                    .iter()
                    .filter(|event| event.key == *key && event.version > *after && event.position <= *until);
                let events = lane.filter_map(|event| self.undone(service, types, event)).collect();
                Page::Undone { events, through: through.min(*until), more: false }
            }
            Read::Key { key, after, types, .. } => {
                let of_key = self.events.iter().filter(|event| event.key == *key && event.version > *after);
                let wanted = of_key.filter(|event| types.is_empty() || types.contains(&event.event_type));
                let head = self.heads.get(key).map_or(Version::ZERO, |head| head.version);
                Page::Key { events: wanted.cloned().collect(), head, read_at: through, more: false }
            }
            Read::Log { after, types, .. } => {
                let later = self.events.iter().filter(|event| event.position > *after);
                let wanted = later.filter(|event| types.is_empty() || types.contains(&event.event_type));
                Page::Log { events: wanted.cloned().collect(), through, more: false }
            }
            Read::Keys { after, .. } => {
                let later = self.heads.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
                let heads = later.map(|(key, head)| (key.clone(), head.version)).collect();
                Page::Keys { heads, read_at: through, more: false }
            }
        }
    }
}

/// What will happen, to whom.
enum Happening {
    ToBus(bus::Input),
    ToInstance(usize, Input),
    Ask(Operation),
    Wake,
}

struct World {
    now: u64,
    seed: u64,
    numbered: u64,
    coming: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    /// The last arrival by link, since a connection keeps its order.
    arrivals: BTreeMap<(usize, bool), u64>,
    bus: Bus,
    store: ToyStore,
    instances: Vec<(ServiceName, Box<dyn Machine>)>,
    asked: BTreeMap<u64, Operation>,
    answers: BTreeMap<u64, Response>,
    properties: Vec<Box<dyn Property>>,
    steps: u64,
    inspecting: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let scenario = bank();
        let mut instances = Vec::new();
        for spec in scenario.services() {
            for number in 1..=spec.instances {
                let name = InstanceName::of(format!("{}-{number}", spec.name));
                let config = InstanceConfig::new(name, instances.len() as u64 + 1);
                instances.push((spec.name.clone(), (spec.make)(config)));
            }
        }
        let recovered = Recovered { term: dacapo_core::Term(1), ..Recovered::default() };
        let mut world = Self {
            now: 0,
            seed,
            numbered: 0,
            coming: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            bus: Bus::new(bus::Config::default(), recovered, Now::default()),
            store: ToyStore::default(),
            instances,
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            properties: scenario.properties(),
            steps: 0,
            inspecting: false,
        };
        for index in 0..world.instances.len() {
            world.at(0, Happening::ToInstance(index, Input::Started));
        }
        world
    }

    fn at(&mut self, at_us: u64, happening: Happening) {
        self.numbered += 1;
        self.coming.push(Reverse((at_us.max(self.now), self.numbered)));
        self.happenings.insert(self.numbered, happening);
    }

    /// Over the network or through the disk: between 0.2 and 8 ms, and in order on each connection.
    fn later(&mut self, link: Option<(usize, bool)>, happening: Happening) {
        let mut at_us = self.now + 200 + digest_of(self.seed, &self.numbered) % 7_800;
        if let Some(link) = link {
            let last = self.arrivals.entry(link).or_default();
            at_us = at_us.max(*last);
            *last = at_us;
        }
        self.at(at_us, happening);
    }

    fn record(&mut self, what: What) {
        self.steps += 1;
        let record = Record { step: self.steps, at: Timestamp(self.now), node: NodeName::of("world"), what };
        for property in &mut self.properties {
            property.observe(&record).unwrap_or_else(|violation| panic!("{violation:#?}"));
        }
    }

    fn clock(&self) -> Now {
        Now { monotonic: Timestamp(self.now), wall: WallTime(self.now) }
    }

    /// Until nothing is left to do for a while.
    fn run_until(&mut self, end_us: u64) {
        while let Some(Reverse((at_us, number))) = self.coming.pop() {
            if at_us > end_us {
                self.coming.push(Reverse((at_us, number)));
                break;
            }
            self.now = at_us;
            match self.happenings.remove(&number) {
                Some(Happening::ToBus(input)) => self.bus_takes(input),
                Some(Happening::ToInstance(index, input)) => self.instance_takes(index, input),
                Some(Happening::Ask(operation)) => self.ask(operation),
                Some(Happening::Wake) | None => self.wake(),
            }
        }
        self.now = end_us;
    }

    fn wake(&mut self) {
        let now = Timestamp(self.now);
        if self.bus.poll_timeout().is_some_and(|due| due <= now) {
            self.bus_takes(bus::Input::Timeout);
        }
        for index in 0..self.instances.len() {
            if self.instances[index].1.poll_timeout().is_some_and(|due| due <= now) {
                self.instance_takes(index, Input::Timeout);
            }
        }
    }

    fn bus_takes(&mut self, input: bus::Input) {
        let now = self.clock();
        self.bus.handle_input(now, input);
        while let Some(output) = self.bus.poll_output() {
            match output {
                bus::Output::Send { conn, frame } => self.send_to_instance(conn, frame),
                bus::Output::Commit(commit) => {
                    self.store.commit(&commit);
                    let sequence = commit.sequence;
                    self.record(What::CommitDurable { commit });
                    self.later(None, Happening::ToBus(bus::Input::Committed { sequence }));
                }
                bus::Output::LookUp { id, look_up } => {
                    let found = Ok(self.store.look_up(&look_up));
                    self.later(None, Happening::ToBus(bus::Input::LookedUp { id, found }));
                }
                bus::Output::Read { id, read } => {
                    let page = Ok(self.store.read(&read));
                    self.later(None, Happening::ToBus(bus::Input::ReadDone { id, page }));
                }
                bus::Output::CheckTerm => {
                    self.later(None, Happening::ToBus(bus::Input::TermIs { term: Ok(dacapo_core::Term(1)) }));
                }
                bus::Output::Stop { reason } => panic!("the bus stopped: {reason}"),
                bus::Output::Close { conn } => panic!("the bus closed {conn:?}"),
                bus::Output::Answer { .. } | bus::Output::Record(_) => {}
            }
        }
        self.bus.check_invariants();
        if let Some(due) = self.bus.poll_timeout() {
            self.at(due.0, Happening::Wake);
        }
    }

    fn send_to_instance(&mut self, conn: ConnId, frame: FromBus) {
        let index = conn.0 as usize;
        self.later(Some((index, true)), Happening::ToInstance(index, Input::Frame(frame)));
    }

    fn send_to_bus(&mut self, index: usize, frame: ToBus) {
        let conn = ConnId(index as u64);
        self.later(Some((index, false)), Happening::ToBus(bus::Input::Frame { conn, frame }));
    }

    fn instance_takes(&mut self, index: usize, input: Input) {
        let now = self.clock();
        self.instances[index].1.handle_input(now, input);
        while let Some(output) = self.instances[index].1.poll_output() {
            match output {
                Output::Connect => {
                    let conn = ConnId(index as u64);
                    self.later(Some((index, false)), Happening::ToBus(bus::Input::Connected { conn }));
                    self.later(Some((index, true)), Happening::ToInstance(index, Input::Connected));
                }
                Output::Send(frame) => self.send_to_bus(index, frame),
                Output::Respond { id, response } => self.answered(id, response),
                Output::Close | Output::Exit => panic!("instance {index} gave up"),
                Output::Record(_) => {}
            }
        }
        self.instances[index].1.check_invariants();
        if let Some(due) = self.instances[index].1.poll_timeout() {
            self.at(due.0, Happening::Wake);
        }
    }

    /// A customer asks one of the service's instances.
    fn ask(&mut self, operation: Operation) {
        let number = self.numbered;
        let candidates: Vec<usize> =
            (0..self.instances.len()).filter(|index| self.instances[*index].0 == operation.service).collect();
        let index = candidates[(digest_of(self.seed, &("ask", number)) % candidates.len() as u64) as usize];
        let request = routed(&*self.instances[index].1, &operation, self.inspecting.then(|| self.store.end()));
        self.record(What::OperationSent {
            operation: operation.id,
            attempt: 1,
            service: operation.service.clone(),
            method: format!("{:?}", operation.method).to_uppercase(),
            path: operation.path.clone(),
            body: operation.body.clone(),
        });
        self.asked.insert(number, operation);
        self.later(None, Happening::ToInstance(index, Input::Request { id: number, request }));
    }

    fn answered(&mut self, id: u64, response: Response) {
        let operation = self.asked.remove(&id).expect("a request is answered once");
        self.record(What::OperationAnswered {
            operation: operation.id,
            attempt: 1,
            status: response.status,
            body: response.body.clone(),
        });
        if response.status == 503 {
            self.at(self.now + 20_000, Happening::Ask(operation));
        } else {
            self.answers.insert(operation.id, response);
        }
    }
}

fn routed(machine: &dyn Machine, operation: &Operation, at_least: Option<Position>) -> Request {
    let (path, _) = operation.path.split_once('?').unwrap_or((&operation.path, ""));
    let segments: Vec<&str> = path.split('/').collect();
    for route in machine.routes() {
        let pattern: Vec<&str> = route.path.split('/').collect();
        let fits = |(pattern, segment): (&&str, &&str)| pattern == segment || pattern.starts_with('{');
        if route.method == operation.method
            && pattern.len() == segments.len()
            && pattern.iter().zip(&segments).all(fits)
        {
            let named = pattern.iter().zip(&segments).filter(|(pattern, _)| pattern.starts_with('{'));
            return Request {
                method: route.method,
                route: route.path,
                parameters: named
                    .map(|(name, value)| (name.trim_matches(['{', '}']).to_owned(), (*value).to_owned()))
                    .collect(),
                idempotency_key: Some(format!("op-{}", operation.id)),
                caller: Some(format!("customer-{}", operation.customer)),
                at_least,
                body: operation.body.clone(),
            };
        }
    }
    panic!("no route takes {operation:?}");
}

/// Runs a plan and its inspections; the answers, and what the properties counted.
fn run(seed: u64) -> (World, Vec<Operation>) {
    let scenario = bank();
    let (duration, bound) = (Duration::from_secs(4).as_micros() as u64, Duration::from_secs(6).as_micros() as u64);
    let plan = scenario.workload(&mut Chance { seed, drawn: 0 }, 6, 200, duration);
    let mut world = World::new(seed);
    for operation in &plan {
        // Everything is asked at its time, so that what depends on something comes late enough.
        world.at(200_000 + operation.at_us, Happening::Ask(operation.clone()));
    }
    world.run_until(duration + bound);
    world.record(What::Healed { bound_us: bound });
    world.inspecting = true;
    let inspections = scenario.inspections(&plan, 10_000);
    for operation in &inspections {
        world.at(world.now, Happening::Ask(operation.clone()));
    }
    world.run_until(duration + 2 * bound);
    let unanswered: Vec<_> = plan.iter().chain(&inspections).filter(|o| !world.answers.contains_key(&o.id)).collect();
    assert!(unanswered.is_empty(), "seed {seed}: {unanswered:#?}");
    for property in &mut world.properties {
        property.finish().unwrap_or_else(|violation| panic!("seed {seed}: {violation:#?}"));
    }
    (world, plan)
}

#[test]
fn every_promise_of_the_bank_holds_and_every_situation_is_met() {
    let mut checks: BTreeMap<&str, u64> = BTreeMap::new();
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    let mut statuses: BTreeMap<(Method, u16), u64> = BTreeMap::new();
    for seed in 1..=8 {
        let (world, plan) = run(seed);
        for property in &world.properties {
            *checks.entry(property.name()).or_default() += property.checks();
            property.sometimes().into_iter().for_each(|(name, count)| *met.entry(name).or_default() += count);
        }
        for operation in &plan {
            *statuses.entry((operation.method, world.answers[&operation.id].status)).or_default() += 1;
        }
    }
    assert!(checks.len() == 6 && checks.values().all(|count| *count > 0), "{checks:?}");
    met.retain(|name, _| *name != "a request was granted after it had been repeated");
    assert!(met.values().all(|count| *count > 0), "{met:?}");
    for expected in [200, 201, 202, 404, 409, 422] {
        assert!(statuses.contains_key(&(Method::Post, expected)), "{expected}: {statuses:?}");
    }
    assert!(!statuses.contains_key(&(Method::Post, 500)), "{statuses:?}");
}
