//! Redis Streams with a consumer group for each half of the keys, and the append-only file synced before each answer.
//!
//! Compare-and-swap is a script; a completion with what it produced is one as well, so that both are in the file or
//! neither. There is no refusal: what is not acknowledged is claimed anew once it has been idle long enough.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use redis::{
    Connection, Script, Value,
    streams::{StreamAutoClaimReply, StreamId, StreamReadReply},
};

use crate::{
    contract::{
        Behind, Client, Consumer, Delivery, Event, Failure, Peer, Place, Publisher, REDELIVERY, Receipt, Source,
    },
    server,
};

const GROUP: &str = "compare";
/// Keys: the stream, the heads. Arguments: the key, the version, the body.
const PUBLISH: &str = "
if tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0) ~= ARGV[2] - 1 then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[1], '*', 'body', ARGV[3])
return 1";
/// Keys: the stream, the effects. Arguments: the group, the entry, the effect's body.
const ANSWER: &str = "
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 1 then redis.call('XADD', KEYS[2], '*', 'body', ARGV[3]) end";

pub(crate) struct Redis;

impl Peer for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn version(&self) -> Option<String> {
        let text = server::run(Command::new("redis-server").arg("--version")).ok()?;
        text.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
    }

    fn how_to_get(&self) -> &'static str {
        "apt-get install redis-server"
    }

    fn note(&self) -> &'static str {
        "no nack: what is not acknowledged is claimed after 2 s; acknowledgement and effect are one script"
    }

    fn failures(&self) -> &'static [Failure] {
        &[Failure::Silence]
    }

    fn initialise(&self, _place: &Place) -> Result<()> {
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Command>> {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &place.port().to_string(), "--dir"]).arg(&place.directory).args(
            ["--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no", "--save", ""],
        );
        Ok(vec![command])
    }

    fn client(&self, port: u16) -> Result<Box<dyn Client>> {
        let client = redis::Client::open(("127.0.0.1", port))?;
        // Answers with an error as long as the file is read.
        redis::cmd("XLEN").arg("effects").query::<u64>(&mut client.get_connection()?)?;
        Ok(Box::new(Clients { client }))
    }
}

struct Clients {
    client: redis::Client,
}

fn stream(source: Source) -> String {
    match source {
        Source::Half(half) => format!("events-{half}"),
        Source::Effects => "effects".to_owned(),
    }
}

impl Client for Clients {
    fn prepare(&self) -> Result<()> {
        let mut connection = self.client.get_connection()?;
        for source in [Source::Half(0), Source::Half(1), Source::Effects] {
            redis::cmd("XGROUP")
                .arg(&["CREATE", &stream(source), GROUP, "0", "MKSTREAM"])
                .query::<()>(&mut connection)?;
        }
        Ok(())
    }

    fn publisher(&self) -> Result<Box<dyn Publisher>> {
        Ok(Box::new(Writer { connection: self.client.get_connection()?, publish: Script::new(PUBLISH) }))
    }

    fn consumer(&self, source: Source, window: u32) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(Reader {
            connection: self.client.get_connection()?,
            stream: stream(source),
            window,
            answer: Script::new(ANSWER),
            own: Some("0".to_owned()),
            claimed: Instant::now(),
        }))
    }
}

struct Writer {
    connection: Connection,
    publish: Script,
}

impl Publisher for Writer {
    fn publish(&mut self, event: &Event) -> Result<Receipt> {
        let stream = stream(Source::Half(event.half()));
        let mut invocation = self.publish.prepare_invoke();
        let heads = format!("heads-{stream}");
        invocation.key(stream).key(heads).arg(&event.key).arg(event.version).arg(event.body());
        let accepted: bool = invocation.invoke(&mut self.connection)?;
        Ok(if accepted { Receipt::Accepted } else { Receipt::Stale })
    }
}

struct Reader {
    connection: Connection,
    stream: String,
    window: u32,
    answer: Script,
    /// While what a consumer of this name was handed before its restart is read again: after which entry.
    own: Option<String>,
    /// When what was idle was claimed last.
    claimed: Instant,
}

impl Reader {
    fn read(&mut self, after: &str) -> Result<Vec<StreamId>> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg(&["GROUP", GROUP, "consumer", "COUNT"]).arg(self.window).arg(&["BLOCK", "50", "STREAMS"]);
        let reply: Option<StreamReadReply> = command.arg(&self.stream).arg(after).query(&mut self.connection)?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }

    fn claim(&mut self) -> Result<Vec<StreamId>> {
        self.claimed = Instant::now();
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(&[self.stream.as_str(), GROUP, "consumer"]).arg(REDELIVERY.as_millis() as u64);
        let reply: StreamAutoClaimReply = command.arg(&["0", "COUNT"]).arg(self.window).query(&mut self.connection)?;
        Ok(reply.claimed)
    }

    fn next(&mut self) -> Result<Vec<StreamId>> {
        while let Some(after) = self.own.take() {
            let entries = self.read(&after)?;
            if let Some(last) = entries.last() {
                self.own = Some(last.id.clone());
                return Ok(entries);
            }
        }
        if self.claimed.elapsed() > Duration::from_millis(200) {
            let entries = self.claim()?;
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        self.read(">")
    }
}

impl Consumer for Reader {
    fn receive(&mut self) -> Result<Vec<Delivery>> {
        self.next()?
            .into_iter()
            .map(|entry| {
                let Some(Value::BulkString(body)) = entry.map.get("body") else {
                    anyhow::bail!("the entry {} has no body", entry.id)
                };
                let body = std::str::from_utf8(body).context("a body is text")?;
                Ok(Delivery { event: Event::of_body(body)?, tag: entry.id })
            })
            .collect()
    }

    fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<()> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("XACK");
        command.arg(&self.stream).arg(GROUP);
        for delivery in deliveries {
            command.arg(&delivery.tag);
        }
        Ok(command.query(&mut self.connection)?)
    }

    fn answer(&mut self, delivery: &Delivery, effect: &Event) -> Result<()> {
        let mut invocation = self.answer.prepare_invoke();
        invocation.key(&self.stream).key(stream(Source::Effects));
        invocation.arg(GROUP).arg(&delivery.tag).arg(effect.body());
        Ok(invocation.invoke(&mut self.connection)?)
    }

    fn refuse(&mut self, _delivery: &Delivery, _failure: Failure) -> Result<Behind> {
        Ok(Behind::Handed)
    }
}
