//! A connection that publishes: so many unanswered publishes, each on keys that only it writes to.

use std::{collections::BTreeMap, rc::Rc};

use anyhow::bail;
use dacapo_core::{
    Data, EventId, EventType, Expectation, Key, NewEvent, Receipt, Source, Version,
    digest::digest_of,
    wire::{FromBus, Publish, Receipts},
};

use super::{
    arguments::{BenchArguments, Expect},
    connection::Connection,
    ledger::Ledger,
};
use dacapo_service::driver::BusConnect;

/// The type of what is published.
pub(super) const EVENT_TYPE: &str = "BenchPublished";

/// A publish that has no answer yet.
struct Open {
    sent_us: u64,
    events: Vec<NewEvent>,
    /// It demands what is past.
    stale: bool,
}

struct Publisher {
    connection: Connection,
    ledger: Rc<Ledger>,
    /// Differs between publishers, and between benches on one bus.
    name: String,
    keys: Vec<(Key, Version)>,
    expect: Expect,
    conflicts: u32,
    hot: u32,
    batch: u32,
    padding: String,
    next: u64,
    open: BTreeMap<u64, Open>,
    /// To be sent again once the bus says so.
    waiting: Vec<(u64, Open)>,
}

/// Connects; what is returned publishes until the load ends and everything has its answer.
pub(super) async fn start(
    bus: &BusConnect,
    arguments: &BenchArguments,
    ledger: &Rc<Ledger>,
    number: u32,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let name = format!("{}-{number}", run());
    let keys = (0..arguments.keys).map(|key| (Key::of(format!("bench-{name}-{key}")), Version::ZERO)).collect();
    let publisher = Publisher {
        connection: Connection::open(bus, arguments.client.secret()?.as_ref()).await?,
        ledger: Rc::clone(ledger),
        name,
        keys,
        expect: arguments.expect,
        conflicts: arguments.conflicts,
        hot: arguments.hot,
        batch: arguments.batch,
        padding: "x".repeat(arguments.payload as usize),
        next: 0,
        open: BTreeMap::new(),
        waiting: Vec::new(),
    };
    Ok(publisher.run(arguments.window as usize))
}

/// Names this bench among all that a store has seen.
fn run() -> String {
    use dacapo_core::hooks::Clock as _;
    let wall = dacapo_backends::clock::SystemClock::new().now().wall;
    format!("{:x}", digest_of(u64::from(std::process::id()), &wall.0) & 0xffff_ffff)
}

impl Publisher {
    async fn run(mut self, window: usize) -> anyhow::Result<()> {
        loop {
            while self.ledger.is_loading() && self.waiting.is_empty() && self.open.len() < window {
                self.publish();
            }
            self.connection.send().await?;
            if self.open.is_empty() && self.waiting.is_empty() {
                return Ok(());
            }
            for frame in self.connection.receive().await? {
                match frame {
                    FromBus::Receipts(receipts) => self.answered(&receipts)?,
                    FromBus::Resume(_) => self.resume(),
                    _ => {}
                }
            }
        }
    }

    fn publish(&mut self) {
        let request = self.next;
        self.next += 1;
        let draw = digest_of(request, &self.name);
        let stale = draw % 1_000 < u64::from(self.conflicts);
        let hot = (draw >> 10) % 1_000 < u64::from(self.hot);
        let at = if hot { 0 } else { (draw >> 20) as usize % self.keys.len() };
        let (key, head) = &mut self.keys[at];
        // Before the first event of a key nothing is past.
        let stale = stale && *head > Version::ZERO;
        let sent_us = self.ledger.now_us();
        let data = Data::of(&(sent_us, &self.padding));
        let events = (0..self.batch)
            .map(|n| {
                let expectation = match self.expect {
                    Expect::Any => Expectation::Any,
                    Expect::Version if stale => Expectation::Version(Version(head.0 - 1 + u64::from(n))),
                    Expect::Version => Expectation::Version(*head),
                };
                if !stale {
                    *head = head.next();
                }
                NewEvent {
                    // Time first, as in ULIDs and UUIDs of version 7: an index of such ids grows where the recent ones are.
                    id: EventId::of(format!("{sent_us:012x}-{}-{request}-{n}", self.name)),
                    event_type: EventType::of(EVENT_TYPE),
                    key: key.clone(),
                    expectation,
                    correlation: None,
                    causation: None,
                    source: Some(Source::of("bench")),
                    data: data.clone(),
                    attributes: dacapo_core::Attributes::default(),
                }
            })
            .collect();
        self.send(request, Open { sent_us, events, stale });
    }

    fn send(&mut self, request: u64, open: Open) {
        self.connection.put(Publish { request, events: open.events.clone(), guards: Vec::new() });
        self.open.insert(request, open);
    }

    fn answered(&mut self, receipts: &Receipts) -> anyhow::Result<()> {
        let Some(open) = self.open.remove(&receipts.request) else {
            bail!("the bus answered publish {} of {}, which has no question", receipts.request, self.name)
        };
        let events = open.events.len() as u64;
        match receipts.receipts.first() {
            Some(Receipt::Throttled) => {
                self.ledger.throttled();
                self.waiting.push((receipts.request, open));
            }
            Some(Receipt::Inconsistent { .. }) if open.stale => self.ledger.stale(events),
            Some(Receipt::Accepted { .. }) if !open.stale => self.ledger.accepted(open.sent_us, events),
            other => {
                let meant = if open.stale { "was stale" } else { "expected the true version" };
                self.ledger.fault(format!("publish {} of {} {meant} and got {other:?}", receipts.request, self.name));
            }
        }
        Ok(())
    }

    /// The bus has room again.
    fn resume(&mut self) {
        for (request, open) in std::mem::take(&mut self.waiting) {
            self.send(request, open);
        }
    }
}
