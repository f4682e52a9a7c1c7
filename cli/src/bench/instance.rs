//! An instance of a service that completes whatever it gets.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use anyhow::bail;
use dacapo_core::{
    EventType, InstanceName, Position, ServiceName,
    wire::{Bye, Complete, Deliver, FromBus, Hello, Ping, Ready, Start},
};

use super::{arguments::BenchArguments, connection::Connection, ledger::Ledger, publisher::EVENT_TYPE};
use dacapo_service::driver::BusConnect;

/// Shorter than any deadline of a heartbeat that makes sense.
const HEARTBEAT: Duration = Duration::from_secs(1);

struct Instance {
    connection: Connection,
    ledger: Rc<Ledger>,
    service: u32,
    /// Deliveries whose completion is under way.
    open: BTreeMap<Position, Deliver>,
}

/// Connects and registers; what is returned completes events until nobody waits for anything any more.
pub(super) async fn start(
    bus: &BusConnect,
    arguments: &BenchArguments,
    ledger: &Rc<Ledger>,
    service: u32,
    number: u32,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let mut connection = Connection::open(bus, arguments.client.secret()?.as_ref()).await?;
    connection.put(Hello {
        service: ServiceName::of(format!("bench-{}-{service}", std::process::id())),
        instance: InstanceName::of(format!("bench-{service}-{number}")),
        incarnation: u64::from(std::process::id()),
        types: vec![EventType::of(EVENT_TYPE)],
        start: Start::Now,
        credit: arguments.credit,
        bearer: None,
    });
    connection.put(Ready {});
    connection.send().await?;
    let welcome = connection.receive().await?;
    if !matches!(welcome.first(), Some(FromBus::Welcome(_))) {
        bail!("the bus answered a hello with {welcome:?}");
    }
    let instance = Instance { connection, ledger: Rc::clone(ledger), service, open: BTreeMap::new() };
    Ok(instance.run())
}

impl Instance {
    async fn run(mut self) -> anyhow::Result<()> {
        let ledger = Rc::clone(&self.ledger);
        let mut closed = std::pin::pin!(ledger.closed());
        loop {
            let frames = tokio::select! {
                biased;
                () = &mut closed => {
                    self.connection.put(Bye {});
                    return self.connection.send().await;
                }
                frames = self.connection.receive() => frames?,
                () = tokio::time::sleep(HEARTBEAT) => {
                    self.connection.put(Ping { nonce: 0 });
                    Vec::new()
                }
            };
            for frame in frames {
                self.hear(frame);
            }
            self.connection.send().await?;
        }
    }

    fn hear(&mut self, frame: FromBus) {
        match frame {
            FromBus::Deliver(deliver) => {
                if deliver.token.attempt > 1 || self.open.contains_key(&deliver.event.position) {
                    self.ledger.delivered_again();
                }
                let position = deliver.event.position;
                self.connection.put(Complete {
                    position,
                    token: deliver.token,
                    events: Vec::new(),
                    guards: Vec::new(),
                });
                self.open.insert(position, deliver);
            }
            FromBus::Completed(completed) => {
                let Some(deliver) = self.open.remove(&completed.position) else { return };
                if completed.already {
                    return;
                }
                let event = &deliver.event;
                let sent_us = serde_json::from_str(event.data.as_str()).map_or(0, |(sent, _): (u64, String)| sent);
                self.ledger.completed(self.service, &event.key, event.version, sent_us);
            }
            FromBus::Fenced(fenced) => drop(self.open.remove(&fenced.position)),
            FromBus::Conflict(conflict) => {
                self.ledger.fault(format!("a completion without events met a conflict at {}", conflict.position));
            }
            FromBus::Rejected(rejected) => {
                self.ledger
                    .fault(format!("the completion at {} was rejected: {}", rejected.position, rejected.message));
            }
            _ => {}
        }
    }
}
