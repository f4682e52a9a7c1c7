//! RabbitMQ with a quorum queue for each half of the keys, publisher confirms, and one active consumer for each queue.
//!
//! There is no compare-and-swap, and no way to acknowledge and publish as one: what handling produced is published and
//! confirmed first, for otherwise a crash would lose it.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery as Message,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, QueueDeclareOptions,
    },
    publisher_confirm::Confirmation,
    types::{AMQPValue, FieldTable},
};
use tokio::runtime::Runtime;

use crate::contract::{Behind, Client, Consumer, Delivery, Event, Failure, Peer, Place, Publisher, Receipt, Source};

/// Where Debian keeps the scripts that do not change the user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// Without a limit a refused message goes to the end of its queue, with one near its head. It is 4.x's default.
const DELIVERY_LIMIT: i32 = 20;
/// How long a consumer waits for something new.
const WAIT: Duration = Duration::from_millis(50);

pub(crate) struct RabbitMq;

impl Peer for RabbitMq {
    fn name(&self) -> &'static str {
        "RabbitMQ"
    }

    fn version(&self) -> Option<String> {
        // The programs have to start a node to tell; the package's folder has it in its name.
        let mut names = fs::read_dir("/usr/lib/rabbitmq/lib").ok()?.flatten().map(|entry| entry.file_name());
        names.find_map(|name| Some(name.to_str()?.strip_prefix("rabbitmq_server-")?.to_owned()))
    }

    fn how_to_get(&self) -> &'static str {
        "apt-get install rabbitmq-server"
    }

    fn compares(&self) -> bool {
        false
    }

    fn note(&self) -> &'static str {
        "no compare-and-swap; nothing acknowledges and publishes as one; a silent consumer is noticed after half an hour, so \
         that a time-out was not tried"
    }

    fn failures(&self) -> &'static [Failure] {
        // A consumer that says nothing is only noticed after half an hour.
        &[Failure::Nack]
    }

    fn initialise(&self, place: &Place) -> Result<()> {
        let configuration = format!("listeners.tcp.1 = 127.0.0.1:{}\nlog.console = true\n", place.port());
        fs::write(place.directory.join("rabbitmq.conf"), configuration)?;
        fs::write(place.directory.join("enabled_plugins"), "[].\n")?;
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Command>> {
        let [_, names, distribution] = place.ports.map(|port| port.to_string());
        // Nodes find each other by it, and a node without it starts one that would outlive it.
        let mut names_server = Command::new("epmd");
        names_server.args(["-address", "127.0.0.1", "-port", &names]);
        let mut node = Command::new(PathBuf::from(SCRIPTS).join("rabbitmq-server"));
        node.env("HOME", &place.directory)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", names)
            .env("RABBITMQ_NODENAME", "compare@localhost")
            .env("RABBITMQ_DIST_PORT", distribution)
            .env("RABBITMQ_CONFIG_FILE", place.directory.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", place.directory.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", place.directory.join("mnesia"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
        Ok(vec![names_server, node])
    }

    fn client(&self, port: u16) -> Result<Box<dyn Client>> {
        Ok(Box::new(Clients { connection: connect(port)? }))
    }
}

/// What waits for lapin's own thread.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("the system has a thread left")
    })
}

fn connect(port: u16) -> Result<Connection> {
    let address = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
    Ok(runtime().block_on(Connection::connect(&address, ConnectionProperties::default()))?)
}

/// One connection with a channel for each publisher and consumer, as its manual has it.
struct Clients {
    connection: Connection,
}

fn queue(source: Source) -> String {
    match source {
        Source::Half(half) => format!("events-{half}"),
        Source::Effects => "effects".to_owned(),
    }
}

impl Client for Clients {
    fn prepare(&self) -> Result<()> {
        runtime().block_on(async {
            let channel = self.connection.create_channel().await?;
            for source in [Source::Half(0), Source::Half(1), Source::Effects] {
                let mut arguments = FieldTable::default();
                arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
                arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
                arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
                let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
                channel.queue_declare(&queue(source), options, arguments).await?;
            }
            Ok(())
        })
    }

    fn publisher(&self) -> Result<Box<dyn Publisher>> {
        Ok(Box::new(Writer { channel: runtime().block_on(confirming(&self.connection))? }))
    }

    fn consumer(&self, source: Source, window: u32) -> Result<Box<dyn Consumer>> {
        runtime().block_on(async {
            let effects = confirming(&self.connection).await?;
            let channel = self.connection.create_channel().await?;
            channel.basic_qos(window as u16, BasicQosOptions::default()).await?;
            let messages = channel
                .basic_consume(&queue(source), "", BasicConsumeOptions::default(), FieldTable::default())
                .await?;
            Ok(Box::new(Reader { channel, effects, messages, window }) as Box<dyn Consumer>)
        })
    }
}

async fn confirming(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn publish(channel: &Channel, event: &Event, source: Source) -> Result<()> {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let body = event.body();
    let sent =
        channel.basic_publish("", &queue(source), BasicPublishOptions::default(), body.as_bytes(), properties).await?;
    ensure!(matches!(sent.await?, Confirmation::Ack(_)), "a publish was not confirmed");
    Ok(())
}

struct Writer {
    channel: Channel,
}

impl Publisher for Writer {
    fn publish(&mut self, event: &Event) -> Result<Receipt> {
        runtime().block_on(publish(&self.channel, event, Source::Half(event.half())))?;
        Ok(Receipt::Accepted)
    }
}

struct Reader {
    channel: Channel,
    /// Where effects are published and confirmed.
    effects: Channel,
    messages: lapin::Consumer,
    window: u32,
}

fn delivery(message: &Message) -> Result<Delivery> {
    let event = Event::of_body(std::str::from_utf8(&message.data)?)?;
    Ok(Delivery { event, tag: message.delivery_tag.to_string() })
}

impl Consumer for Reader {
    fn receive(&mut self) -> Result<Vec<Delivery>> {
        runtime().block_on(async {
            let Ok(first) = tokio::time::timeout(WAIT, self.messages.next()).await else { return Ok(Vec::new()) };
            let mut deliveries = vec![delivery(&first.context("the queue ended")??)?];
            while deliveries.len() < self.window as usize
                && let Some(Some(next)) = self.messages.next().now_or_never()
            {
                deliveries.push(delivery(&next?)?);
            }
            Ok(deliveries)
        })
    }

    fn acknowledge(&mut self, deliveries: &[Delivery]) -> Result<()> {
        let Some(last) = deliveries.last() else { return Ok(()) };
        // Everything up to the last: a `receive` is the oldest that is open.
        let options = BasicAckOptions { multiple: deliveries.len() > 1 };
        Ok(runtime().block_on(self.channel.basic_ack(last.tag.parse()?, options))?)
    }

    fn answer(&mut self, delivery: &Delivery, effect: &Event) -> Result<()> {
        runtime().block_on(publish(&self.effects, effect, Source::Effects))?;
        self.acknowledge(std::slice::from_ref(delivery))
    }

    fn refuse(&mut self, delivery: &Delivery, _failure: Failure) -> Result<Behind> {
        let options = BasicNackOptions { multiple: false, requeue: true };
        runtime().block_on(self.channel.basic_nack(delivery.tag.parse()?, options))?;
        Ok(Behind::Handed)
    }

    fn settle(&mut self) -> Result<()> {
        // Answered after what was sent before it on the channel.
        Ok(runtime().block_on(self.channel.basic_qos(self.window as u16, BasicQosOptions::default()))?)
    }
}
