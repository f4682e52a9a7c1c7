//! NATS JetStream with one stream, whose subjects are a half of the keys and the key, and a pull consumer for each half.
//!
//! Its server syncs now and then, not before it answers. From 2.10 on `sync_interval: always` changes that; before, the
//! store lies in a directory whose files the file system writes synchronously (`chattr +S`). Compare-and-swap is by the
//! sequence of the last message on the subject. Publishing what handling produced and acknowledging are two acts; the
//! message id makes the first one harmless to repeat for as long as the server remembers it.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::nats_wire::Connection;
use crate::{
    contract::{
        Behind, Client, Consumer, Delivery, Event, Failure, Peer, Place, Publisher, REDELIVERY, Receipt, Source,
    },
    server,
};

/// The server's own default, long against any consumer's restart here.
const REMEMBERED_NS: u64 = 120_000_000_000;
/// How long a pull waits.
const WAIT_NS: u64 = 50_000_000;
/// How long a consumer waits for the next message of a pull.
const PATIENCE: Duration = Duration::from_millis(200);
/// `wrong last sequence`
const WRONG_SEQUENCE: u64 = 10_071;

pub(crate) struct Nats;

impl Peer for Nats {
    fn name(&self) -> &'static str {
        "NATS"
    }

    fn version(&self) -> Option<String> {
        let text = server::run(Command::new("nats-server").arg("--version")).ok()?;
        text.split_whitespace().find_map(|word| word.strip_prefix('v')).map(str::to_owned)
    }

    fn how_to_get(&self) -> &'static str {
        "apt-get install nats-server"
    }

    fn note(&self) -> &'static str {
        "an effect is published under a message id that the server remembers for 2 minutes: a consumer that stays away for \
         longer doubles it; acknowledgements are not synced"
    }

    fn failures(&self) -> &'static [Failure] {
        &[Failure::Nack, Failure::Silence]
    }

    fn initialise(&self, place: &Place) -> Result<()> {
        let store = place.directory.join("store");
        fs::create_dir_all(&store)?;
        let version = self.version().context("NATS is not installed")?;
        let sync = if knows_sync_interval(&version) {
            "sync_interval: always"
        } else {
            server::run(Command::new("chattr").arg("+S").arg(&store))
                .context("without synchronous writes there is nothing to compare; try a TMPDIR on ext4")?;
            ""
        };
        let configuration = format!(
            "listen: 127.0.0.1:{}\njetstream {{\n store_dir: \"{}\"\n {sync}\n}}\n",
            place.port(),
            store.display()
        );
        Ok(fs::write(place.directory.join("nats.conf"), configuration)?)
    }

    fn commands(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = Command::new("nats-server");
        command.arg("--config").arg(place.directory.join("nats.conf"));
        Ok(vec![command])
    }

    fn client(&self, port: u16) -> Result<Box<dyn Client>> {
        // Answers once JetStream has recovered.
        asked(&mut Connection::open(port)?, "$JS.API.INFO", &json!({}))?;
        Ok(Box::new(Clients { port }))
    }
}

fn knows_sync_interval(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version >= (2, 10))
}

struct Clients {
    port: u16,
}

/// Streams, and what goes to them.
const STREAMS: [(&str, &str); 2] = [("EVENTS", "events.>"), ("EFFECTS", "effects.>")];

fn subject(event: &Event, source: Source) -> String {
    match source {
        Source::Half(half) => format!("events.{half}.{}", event.key),
        Source::Effects => format!("effects.{}", event.key),
    }
}

/// Asks JetStream for something that must not fail.
fn asked(connection: &mut Connection, subject: &str, request: &Value) -> Result<Value> {
    let answer = connection.request(subject, None, &request.to_string())?;
    let answer: Value = serde_json::from_slice(&answer.payload).with_context(|| format!("{subject}: no JetStream"))?;
    match answer.get("error") {
        Some(error) => bail!("{subject}: {error}"),
        None => Ok(answer),
    }
}

impl Client for Clients {
    fn prepare(&self) -> Result<()> {
        let mut connection = Connection::open(self.port)?;
        for (name, subjects) in STREAMS {
            let stream = json!({ "name": name, "subjects": [subjects], "retention": "limits", "storage": "file",
                "num_replicas": 1, "duplicate_window": REMEMBERED_NS });
            asked(&mut connection, &format!("$JS.API.STREAM.CREATE.{name}"), &stream)?;
        }
        Ok(())
    }

    fn publisher(&self) -> Result<Box<dyn Publisher>> {
        Ok(Box::new(Writer { connection: Connection::open(self.port)?, heads: BTreeMap::new() }))
    }

    fn consumer(&self, source: Source, window: u32) -> Result<Box<dyn Consumer>> {
        let mut connection = Connection::open(self.port)?;
        let (stream, name, filter) = match source {
            Source::Half(half) => ("EVENTS", format!("half-{half}-{window}"), format!("events.{half}.>")),
            Source::Effects => ("EFFECTS", format!("effects-{window}"), "effects.>".to_owned()),
        };
        // Room for the batch whose acknowledgements are on their way; but one means one.
        let open = if window == 1 { 1 } else { window * 4 };
        let config = json!({ "durable_name": name, "ack_policy": "explicit", "deliver_policy": "all",
            "filter_subject": filter, "ack_wait": REDELIVERY.as_nanos() as u64, "max_ack_pending": open });
        let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{name}");
        asked(&mut connection, &subject, &json!({ "stream_name": stream, "config": config }))?;
        let reply = connection.inbox("pull");
        let request = json!({ "batch": window, "expires": WAIT_NS }).to_string();
        let pull = format!("PUB $JS.API.CONSUMER.MSG.NEXT.{stream}.{name} {reply} {}\r\n{request}\r\n", request.len());
        connection.waits_at_most(PATIENCE)?;
        Ok(Box::new(Reader { connection, pull, window }))
    }
}

/// Publishes and tells the sequence; none if it was not the one that was expected.
fn publish(connection: &mut Connection, subject: &str, header: (&str, &str), event: &Event) -> Result<Option<u64>> {
    let answer = connection.request(subject, Some(header), &event.body())?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    match answer.get("error") {
        None => Ok(Some(answer.get("seq").and_then(Value::as_u64).context("an answer without a sequence")?)),
        Some(error) if error.get("err_code").and_then(Value::as_u64) == Some(WRONG_SEQUENCE) => Ok(None),
        Some(error) => bail!("{subject}: {error}"),
    }
}

struct Writer {
    connection: Connection,
    /// The sequence of the last message of a key.
    heads: BTreeMap<String, u64>,
}

impl Publisher for Writer {
    fn publish(&mut self, event: &Event) -> Result<Receipt> {
        let expected = self.heads.get(&event.key).copied().unwrap_or(0).to_string();
        let subject = subject(event, Source::Half(event.half()));
        let header = ("Nats-Expected-Last-Subject-Sequence", expected.as_str());
        Ok(match publish(&mut self.connection, &subject, header, event)? {
            Some(sequence) => {
                self.heads.insert(event.key.clone(), sequence);
                Receipt::Accepted
            }
            None => Receipt::Stale,
        })
    }

    fn catch_up(&mut self, key: &str) -> Result<()> {
        let event = Event::new(key, 1);
        let request = json!({ "last_by_subj": subject(&event, Source::Half(event.half())) }).to_string();
        let answer = self.connection.request("$JS.API.STREAM.MSG.GET.EVENTS", None, &request)?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        // A key without a message is an error in its words, and no news here.
        if let Some(sequence) = answer.pointer("/message/seq").and_then(Value::as_u64) {
            self.heads.insert(key.to_owned(), sequence);
        }
        Ok(())
    }
}

struct Reader {
    connection: Connection,
    /// Asks for the next batch.
    pull: String,
    window: u32,
}

impl Reader {
    fn say(&mut self, deliveries: &[Delivery], what: &str) -> Result<()> {
        let lines: Vec<String> =
            deliveries.iter().map(|delivery| format!("PUB {} {}\r\n{what}\r\n", delivery.tag, what.len())).collect();
        self.connection.write(lines.concat().as_bytes())
    }
}

impl Consumer for Reader {
    fn receive(&mut self) -> Result<Vec<Delivery>> {
        self.connection.write(self.pull.as_bytes())?;
        let mut deliveries = Vec::new();
        while deliveries.len() < self.window as usize {
            // While others publish, a pull's end may come seconds late: what came until then is a batch.
            let Some(message) = self.connection.message()? else { break };
            if message.is_status {
                break;
            }
            let Some(tag) = message.reply else { continue };
            let event = Event::of_body(std::str::from_utf8(&message.payload)?)?;
            deliveries.push(Delivery { event, tag });
        }
        Ok(deliveries)
    }

    fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<()> {
        self.say(deliveries, "+ACK")
    }

    fn answer(&mut self, delivery: &Delivery, effect: &Event) -> Result<()> {
        let subject = subject(effect, Source::Effects);
        publish(&mut self.connection, &subject, ("Nats-Msg-Id", &effect.id()), effect)?;
        self.acknowledge(std::slice::from_ref(delivery))
    }

    fn refuse(&mut self, delivery: &Delivery, failure: Failure) -> Result<Behind> {
        if failure == Failure::Nack {
            self.say(std::slice::from_ref(delivery), "-NAK")?;
        }
        Ok(Behind::Handed)
    }

    fn settle(&mut self) -> Result<()> {
        self.connection.flush()
    }
}
