//! A consumer publishes an effect for each event and is killed again and again between this and its acknowledgement. Is
//! any effect there twice?
//!
//! The consumer is a process, this program's own, so that a kill is one; it does each completion in the way in which the
//! system does it best, as one act if it can.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Finding, at_random};
use crate::{
    contract::{Client, Event, HALVES, Peer, Source},
    load::{QUIET, drain, joined, publish_all},
    server::Server,
};

/// What the keys begin with.
const CAUSE: &str = "cause";
const KEYS: u64 = 64;
const VERSIONS: u64 = 40;
const KILLS: u32 = 12;
/// Deliveries that it has open: answered one by one, more of them would outlast their time on a slow disk.
const OPEN: u32 = 16;
/// From a consumer's first answer to its end.
const LIFE: Duration = Duration::from_millis(60);

pub(super) fn check(server: &Server<'_>) -> Result<Finding> {
    let client = server.client()?;
    publish_all(&*client, KEYS, VERSIONS, CAUSE)?;
    for _ in 0..KILLS {
        let mut consumer = start(server.peer(), server.port())?;
        let told = consumer.stdout.take().map(BufReader::new).and_then(|stdout| stdout.lines().next());
        thread::sleep(at_random(LIFE));
        consumer.kill()?;
        consumer.wait()?;
        ensure!(matches!(told, Some(Ok(_))), "a consumer ended before its first answer");
    }
    answer_all(&*client, &|| {}, Some(QUIET))?;
    let mut effects = BTreeMap::<String, u64>::new();
    // Other checks' events had theirs too, since some systems hand them to every new consumer.
    for effect in drain(&*client, Source::Effects)?.into_iter().filter(|effect| effect.key.starts_with(CAUSE)) {
        *effects.entry(effect.key).or_default() += 1;
    }
    let events = KEYS * VERSIONS;
    ensure!(effects.len() as u64 == events, "{} of {events} events had their effect", effects.len());
    let twice = effects.values().filter(|count| **count > 1).count();
    let told = format!("{twice} of {events}");
    Ok(if twice == 0 { Finding::Held(told) } else { Finding::Broken(told) })
}

fn start(peer: &dyn Peer, port: u16) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["consume-until-killed", peer.name(), &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a consumer")
}

/// The life of the consumer that is killed: it says when it has answered its first event.
pub(crate) fn consume_until_killed(peer: &dyn Peer, port: u16) -> Result<()> {
    let say = || {
        // Nobody hears it more than once.
        let _ = writeln!(std::io::stdout(), "answered");
    };
    answer_all(&*peer.client(port)?, &say, None)
}

/// Answers each event with its effect, for ever or until nothing more comes for so long.
fn answer_all(client: &dyn Client, answered: &(dyn Fn() + Sync), quiet: Option<Duration>) -> Result<()> {
    let half = |half| -> Result<()> {
        let mut consumer = client.consumer(Source::Half(half), OPEN)?;
        let mut last = Instant::now();
        while quiet.is_none_or(|quiet| last.elapsed() < quiet) {
            for delivery in consumer.receive()? {
                consumer.answer(&delivery, &Event::effect_of(&delivery.event))?;
                answered();
                last = Instant::now();
            }
        }
        consumer.settle()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..HALVES).map(|number| scope.spawn(move || half(number))).collect();
        threads.into_iter().try_for_each(joined)
    })
}
