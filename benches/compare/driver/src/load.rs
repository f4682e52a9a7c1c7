//! The figures: publishers that each wait for their receipt, then consumers that acknowledge what was published; and then
//! both at once, as systems run.

use std::{
    collections::BTreeMap,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::contract::{Client, Consumer, Delivery, Event, HALVES, Publisher, Receipt, Source, WINDOW};

pub(crate) const PUBLISHERS: u32 = 32;
/// Keys that only one publisher writes to.
const KEYS: u64 = 100;
/// Before publishing is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// So long, and at most a quarter of what was published, is consumed with one delivery open.
const ONE_OPEN: Duration = Duration::from_millis(1_500);
/// Consuming ends then, even if something is left.
const CONSUMING: Duration = Duration::from_secs(15);
/// With nothing new for so long, nothing more comes.
pub(crate) const QUIET: Duration = Duration::from_millis(4_500);

/// How long things took.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are constants that fit together"))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(time.as_micros() as u64);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// In milliseconds.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// What one turn of one system measured.
pub(crate) struct Turn {
    pub(crate) published_per_s: f64,
    /// With one delivery open at each consumer.
    pub(crate) one_open_per_s: f64,
    pub(crate) consumed_per_s: f64,
    /// Acknowledged while others were published.
    pub(crate) at_once_per_s: f64,
    pub(crate) latencies: Latencies,
    /// Events that came before an earlier one of their key, though nothing failed.
    pub(crate) out_of_order: u64,
    /// Medians of a sync, in milliseconds, before and after.
    pub(crate) sync_ms: [f64; 2],
}

/// Publishes for so long, consumes what was published, and then does both at once for as long again.
pub(crate) fn turn(client: &dyn Client, time: Duration) -> Result<Turn> {
    let (published, latencies, in_all) = publish(client, "load", Span::from_now(time))?;
    let of_one = consume(client, 1, in_all / 4, ONE_OPEN)?;
    let consumed = consume(client, WINDOW, in_all - of_one.events, CONSUMING)?;
    let published_per_s = published as f64 / time.as_secs_f64();
    let (one_open_per_s, consumed_per_s) = (of_one.per_s, consumed.per_s);
    let (at_once, early) = at_once(client, Span::from_now(time))?;
    let at_once_per_s = at_once as f64 / time.as_secs_f64();
    let out_of_order = of_one.out_of_order + consumed.out_of_order + early;
    let sync_ms = [0.0; 2];
    Ok(Turn { published_per_s, one_open_per_s, consumed_per_s, at_once_per_s, latencies, out_of_order, sync_ms })
}

/// When things are measured: after the warm-up.
#[derive(Debug, Clone, Copy)]
struct Span {
    begun: Instant,
    end: Instant,
}

impl Span {
    fn from_now(time: Duration) -> Self {
        let begun = Instant::now() + Duration::from_millis(50) + WARM_UP;
        Self { begun, end: begun + time }
    }

    fn holds(self, moment: Instant) -> bool {
        self.begun <= moment && moment <= self.end
    }
}

/// How many were published while it was measured, how long each took, and how many were published at all.
fn publish(client: &dyn Client, name: &str, span: Span) -> Result<(u64, Latencies, u64)> {
    let publishers = (0..PUBLISHERS).map(|_| client.publisher()).collect::<Result<Vec<_>>>()?;
    let each = |number: usize, mut publisher: Box<dyn Publisher>| -> Result<(Latencies, u64, u64)> {
        let (mut latencies, mut published, mut in_all) = (Latencies::new(), 0, 0);
        loop {
            let event = Event::new(format!("{name}-{number}-{}", in_all % KEYS), in_all / KEYS + 1);
            let since = Instant::now();
            if since >= span.end {
                return Ok((latencies, published, in_all));
            }
            let receipt = publisher.publish(&event)?;
            ensure!(receipt == Receipt::Accepted, "{event:?} was refused, though nobody else writes to its key");
            in_all += 1;
            let now = Instant::now();
            if span.holds(since) && span.holds(now) {
                latencies.record(now - since);
                published += 1;
            }
        }
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = publishers
            .into_iter()
            .enumerate()
            .map(|(number, publisher)| scope.spawn(move || each(number, publisher)))
            .collect();
        threads.into_iter().map(joined).collect()
    });
    let (mut latencies, mut published, mut in_all) = (Latencies::new(), 0, 0);
    for result in results {
        let (taken, measured, all) = result.context("publishing failed")?;
        latencies.add(&taken);
        published += measured;
        in_all += all;
    }
    Ok((published, latencies, in_all))
}

/// How many were acknowledged while it was measured and others were published, and how many of them came early.
fn at_once(client: &dyn Client, span: Span) -> Result<(u64, u64)> {
    let each = |mut consumer: Box<dyn Consumer>| -> Result<(u64, u64)> {
        let (mut heads, mut acknowledged) = (Heads::default(), 0);
        while Instant::now() < span.end {
            let deliveries = consumer.receive()?;
            heads.see(&deliveries);
            consumer.acknowledge(&deliveries)?;
            if span.holds(Instant::now()) {
                acknowledged += deliveries.len() as u64;
            }
        }
        consumer.settle()?;
        Ok((acknowledged, heads.out_of_order))
    };
    let consumers = (0..HALVES).map(|half| client.consumer(Source::Half(half), WINDOW)).collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let threads: Vec<_> = consumers.into_iter().map(|consumer| scope.spawn(|| each(consumer))).collect();
        publish(client, "both", span)?;
        let (mut acknowledged, mut out_of_order) = (0, 0);
        for thread in threads {
            let (of_one, early) = joined(thread).context("consuming while others publish failed")?;
            acknowledged += of_one;
            out_of_order += early;
        }
        Ok((acknowledged, out_of_order))
    })
}

/// What a consumer has seen of each key.
#[derive(Debug, Default)]
struct Heads {
    by_key: BTreeMap<String, u64>,
    /// Events that came before an earlier one of their key.
    out_of_order: u64,
}

impl Heads {
    fn see(&mut self, deliveries: &[Delivery]) {
        for Delivery { event, .. } in deliveries {
            match self.by_key.get_mut(&event.key) {
                Some(head) if event.version <= *head => self.out_of_order += 1,
                Some(head) => {
                    self.out_of_order += u64::from(event.version != *head + 1);
                    *head = event.version;
                }
                None => drop(self.by_key.insert(event.key.clone(), event.version)),
            }
        }
    }
}

struct Consumed {
    events: u64,
    per_s: f64,
    out_of_order: u64,
}

/// Consumes so many events, or for so long.
fn consume(client: &dyn Client, window: u32, expected: u64, limit: Duration) -> Result<Consumed> {
    let acknowledged = AtomicU64::new(0);
    let barrier = Barrier::new(HALVES as usize + 1);
    let each = |mut consumer: Box<dyn Consumer>| -> Result<(u64, Instant)> {
        let mut heads = Heads::default();
        barrier.wait();
        let since = Instant::now();
        let mut last = since;
        while acknowledged.load(SeqCst) < expected && since.elapsed() < limit && last.elapsed() < QUIET {
            let deliveries = consumer.receive()?;
            heads.see(&deliveries);
            consumer.acknowledge(&deliveries)?;
            acknowledged.fetch_add(deliveries.len() as u64, SeqCst);
            if !deliveries.is_empty() {
                last = Instant::now();
            }
        }
        consumer.settle()?;
        Ok((heads.out_of_order, if last.elapsed() < QUIET { Instant::now() } else { last }))
    };
    let consumers = (0..HALVES).map(|half| client.consumer(Source::Half(half), window)).collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let threads: Vec<_> = consumers.into_iter().map(|consumer| scope.spawn(|| each(consumer))).collect();
        barrier.wait();
        let begun = Instant::now();
        let (mut out_of_order, mut end) = (0, begun);
        for thread in threads {
            let (early, at) = joined(thread).context("consuming failed")?;
            out_of_order += early;
            end = end.max(at);
        }
        let events = acknowledged.load(SeqCst);
        Ok(Consumed { events, per_s: events as f64 / (end - begun).as_secs_f64(), out_of_order })
    })
}

/// Consumes everything there is, acknowledging it, until nothing more comes; what it was, in the order of arrival.
pub(crate) fn drain(client: &dyn Client, source: Source) -> Result<Vec<Event>> {
    let mut consumer = client.consumer(source, WINDOW)?;
    let (mut events, mut last) = (Vec::new(), Instant::now());
    while last.elapsed() < QUIET {
        let deliveries = consumer.receive()?;
        consumer.acknowledge(&deliveries)?;
        if !deliveries.is_empty() {
            last = Instant::now();
        }
        events.extend(deliveries.into_iter().map(|delivery| delivery.event));
    }
    consumer.settle()?;
    Ok(events)
}

/// Publishes these, shared out among as many publishers, each key by one of them; true: all were accepted.
pub(crate) fn publish_all(client: &dyn Client, keys: u64, versions: u64, name: &str) -> Result<()> {
    let publishers = (0..PUBLISHERS).map(|_| client.publisher()).collect::<Result<Vec<_>>>()?;
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = publishers
            .into_iter()
            .enumerate()
            .map(|(number, mut publisher)| {
                let failed = &failed;
                scope.spawn(move || -> Result<()> {
                    for version in 1..=versions {
                        for key in (0..keys).filter(|key| key % u64::from(PUBLISHERS) == number as u64) {
                            let receipt = publisher.publish(&Event::new(format!("{name}-{key}"), version))?;
                            failed.fetch_or(receipt != Receipt::Accepted, SeqCst);
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(joined)
    })?;
    ensure!(!failed.load(SeqCst), "a publish was refused, though nobody else writes to its key");
    Ok(())
}

/// What a thread returned; a panic in it is an error of the whole.
pub(crate) fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}
