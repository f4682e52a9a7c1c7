//! Whether everything adds up, read from the log of the running bus.
//!
//! The bank's own properties judge it: no overdraft at any point of the log, and money that is conserved. They see the log
//! alone and share no code with the services. What they cannot see is added here: that no request took effect twice. An
//! audit goes on where the last one ended, so that it costs what has happened since.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use dacapo_bank::properties::{MoneyIsConserved, NoOverdraft};
use dacapo_core::{
    Event, Key, NodeName, Position, Timestamp,
    store::Commit,
    trace::{Record, What},
};
use dacapo_properties::Property;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::{
    http,
    terminal::{Terminal, bad, count, good, grouped},
};

/// What the audit looks at.
const TYPES: &str =
    "AccountCreated,PendingTransaction,AcceptedTransaction,RejectedTransaction,ConfirmedDebit,ConfirmedCredit";
/// A page of the log.
const LIMIT: usize = 1_000;
/// What is remembered of requests, and of orders that were decided: what happened twice within so many is found. A demo that
/// runs for days must not grow by what it looked at.
const REMEMBERED_MAX: usize = 20_000;
/// How long orders may stay undecided once everything is well: longer than the largest back-off and grace together.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The audit of one log.
pub(super) struct Audit {
    bus: String,
    position: Position,
    properties: Vec<Box<dyn Property>>,
    /// Orders without a decision.
    pending: BTreeSet<Key>,
    balances: BTreeMap<Key, i128>,
    /// The latest requests that have moved money, with the key.
    requests: BTreeSet<(Key, String)>,
    /// The same, oldest first.
    requests_by_age: VecDeque<(Key, String)>,
    accepted: u64,
    rejected: u64,
    events: u64,
    /// What is wrong, in sentences.
    wrong: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Arc<Event>>,
    next: Option<Position>,
}

#[derive(Serialize)]
struct Concluded<'a> {
    sentence: &'a str,
    sound: bool,
}

#[derive(Deserialize)]
struct Moved {
    pence: u64,
    request: Option<String>,
}

impl Audit {
    /// Of the log of the bus at this `host:port`, from its beginning.
    pub(super) fn new(bus: String) -> Self {
        Self {
            bus,
            position: Position::ZERO,
            properties: vec![
                Box::<NoOverdraft>::default(),
                Box::new(MoneyIsConserved::with_cashback().remembering(REMEMBERED_MAX)),
            ],
            pending: BTreeSet::new(),
            balances: BTreeMap::new(),
            requests: BTreeSet::new(),
            requests_by_age: VecDeque::new(),
            accepted: 0,
            rejected: 0,
            events: 0,
            wrong: Vec::new(),
        }
    }

    /// Reads on to the end of the log.
    pub(super) async fn go_on(&mut self) -> anyhow::Result<()> {
        // The events of one commit that end a page may go on in the next one.
        let mut open: Vec<Arc<Event>> = Vec::new();
        loop {
            let path = format!("/v1/events?type={TYPES}&limit={LIMIT}&cursor={}", self.position);
            let reply = http::send(&self.bus, "GET", &path, &[], String::new()).await?;
            ensure!(reply.status == 200, "the bus does not show its log: {}", reply.body);
            let page: Page = serde_json::from_str(&reply.body).context("the bus shows what is no page of its log")?;
            for event in page.events {
                self.position = event.position;
                if open.last().is_some_and(|last| !is_one_commit(last, &event)) {
                    self.judge(std::mem::take(&mut open));
                }
                open.push(event);
            }
            match page.next {
                Some(next) => self.position = self.position.max(next),
                None => break,
            }
        }
        if !open.is_empty() {
            self.judge(open);
        }
        Ok(())
    }

    fn judge(&mut self, events: Vec<Arc<Event>>) {
        let last = events.last().map_or(Position::ZERO, |event| event.position);
        for event in &events {
            self.events += 1;
            self.count(event);
        }
        let commit = Arc::new(Commit { events, ..Commit::default() });
        let what = What::CommitDurable { commit };
        let record = Record { step: last.0, at: Timestamp::ZERO, node: NodeName::of("bus"), what };
        for property in &mut self.properties {
            if let Err(violation) = property.observe(&record) {
                self.wrong.push(format!("{}: {}", violation.property, violation.message));
            }
        }
    }

    fn count(&mut self, event: &Event) {
        match event.event_type.as_str() {
            "PendingTransaction" => drop(self.pending.insert(event.key.clone())),
            "AcceptedTransaction" => {
                self.accepted += 1;
                self.pending.remove(&event.key);
            }
            "RejectedTransaction" => {
                self.rejected += 1;
                self.pending.remove(&event.key);
            }
            "ConfirmedDebit" => self.moved(event, -1),
            "ConfirmedCredit" => self.moved(event, 1),
            _ => {}
        }
    }

    fn moved(&mut self, event: &Event, sign: i128) {
        let Ok(Moved { pence, request }) = event.data.to() else { return };
        *self.balances.entry(event.key.clone()).or_default() += sign * i128::from(pence);
        let Some(request) = request.map(|request| (event.key.clone(), request)) else { return };
        if !self.requests.insert(request.clone()) {
            let (key, request) = request;
            self.wrong.push(format!("request {request} moved money on {key} twice, at {}", event.position));
            return;
        }
        self.requests_by_age.push_back(request);
        if self.requests.len() > REMEMBERED_MAX
            && let Some(oldest) = self.requests_by_age.pop_front()
        {
            self.requests.remove(&oldest);
        }
    }

    /// Waits until every order is decided, and says what the log comes to; whether all is right.
    pub(super) async fn conclude(&mut self, terminal: &Terminal) -> anyhow::Result<bool> {
        let settle = async {
            loop {
                self.go_on().await?;
                if self.pending.is_empty() {
                    return anyhow::Ok(());
                }
                sleep(LOOK_EVERY).await;
            }
        };
        if let Ok(result) = timeout(SETTLES_WITHIN, settle).await {
            result?;
        }
        let is_right = self.is_sound() && self.pending.is_empty();
        let sentence = self.sentence();
        let word = if is_right { good("audit") } else { bad("audit") };
        terminal.line(format_args!("{word} {sentence}"));
        terminal.object("audit", &Concluded { sentence: &sentence, sound: is_right });
        Ok(is_right)
    }

    /// Whether nothing is wrong.
    pub(super) fn is_sound(&self) -> bool {
        self.wrong.is_empty()
    }

    /// What was found, in a line.
    pub(super) fn sentence(&self) -> String {
        if let Some(wrong) = self.wrong.first() {
            return format!("{}: {wrong}", count(self.wrong.len() as u64, "thing is wrong", "things are wrong"));
        }
        let held: i128 = self.balances.values().sum();
        let moved: u64 = self.properties.iter().map(|property| property.checks()).sum();
        let pending = match self.pending.len() as u64 {
            0 => String::new(),
            pending => format!(", {} pending", grouped(pending)),
        };
        format!(
            "{} accepted, {} rejected{pending}; {} hold £{}.{:02}; no account below zero, no penny lost, nothing twice ({} of {})",
            grouped(self.accepted),
            grouped(self.rejected),
            count(self.balances.len() as u64, "account", "accounts"),
            grouped((held / 100) as u64),
            held % 100,
            count(moved, "check", "checks"),
            count(self.events, "event", "events"),
        )
    }
}

/// Whether two neighbours of the log came of one completion.
fn is_one_commit(one: &Event, next: &Event) -> bool {
    one.causation.is_some() && one.causation == next.causation && one.source == next.source
}

#[cfg(test)]
mod tests {
    use dacapo_core::{CorrelationId, Data, EventId, EventType, Source, Version, WallTime};
    use serde_json::{Value, json};

    use super::*;

    fn event(position: u64, event_type: &str, key: &str, cause: &str, data: &Value) -> Arc<Event> {
        Arc::new(Event {
            position: Position(position),
            id: EventId::of(format!("e{position}")),
            event_type: EventType::of(event_type),
            key: Key::of(key),
            version: Version(position),
            correlation: CorrelationId::of("c"),
            causation: (!cause.is_empty()).then(|| EventId::of(cause)),
            time: WallTime::default(),
            source: Source::of("accounts"),
            data: Data::of(data),
            attributes: dacapo_core::Attributes::default(),
        })
    }

    /// Of a log in which two accounts were opened first.
    fn audited(log: Vec<Vec<Arc<Event>>>) -> Audit {
        let mut audit = Audit::new(String::new());
        for account in ["acc-a", "acc-b"] {
            audit.judge(vec![event(0, "AccountCreated", account, "", &json!({"user": "u", "name": "x"}))]);
        }
        for events in log {
            audit.judge(events);
        }
        audit
    }

    fn paid_in(position: u64, request: &str) -> Vec<Arc<Event>> {
        let data = json!({"why": "deposit", "pence": 500, "request": request});
        vec![event(position, "ConfirmedCredit", "acc-a", "", &data)]
    }

    #[test]
    fn a_deposit_that_happened_twice_is_found() {
        assert!(audited(vec![paid_in(1, "r1"), paid_in(2, "r2")]).is_sound());
        let audit = audited(vec![paid_in(1, "r1"), paid_in(2, "r1")]);
        assert!(!audit.is_sound() && audit.sentence().contains("twice"), "{}", audit.sentence());
    }

    #[test]
    fn an_audit_of_a_long_log_remembers_the_latest_requests_alone() {
        let mut audit = Audit::new(String::new());
        audit.judge(vec![event(0, "AccountCreated", "acc-a", "", &json!({"user": "u", "name": "x"}))]);
        for number in 1..=REMEMBERED_MAX as u64 + 100 {
            audit.judge(paid_in(number, &format!("r{number}")));
        }
        assert_eq!((audit.requests.len(), audit.requests_by_age.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        audit.judge(paid_in(90_000, "r101"));
        assert!(!audit.is_sound(), "the oldest that is remembered");
    }

    #[test]
    fn half_a_transfer_and_an_overdraft_are_found() {
        let order = json!({"from": "a", "to": "b", "pence": 300});
        let part = json!({"why": "transfer", "transaction": "t", "pence": 300});
        let ordered = || vec![event(2, "PendingTransaction", "trans-t", "", &order)];
        let accepted = || event(3, "AcceptedTransaction", "trans-t", "e2", &order);
        let debit = || event(4, "ConfirmedDebit", "acc-a", "e2", &part);
        let credit = || event(5, "ConfirmedCredit", "acc-b", "e2", &part);
        let whole = audited(vec![paid_in(1, "r"), ordered(), vec![accepted(), debit(), credit()]]);
        assert!(whole.is_sound() && whole.pending.is_empty(), "{}", whole.sentence());
        assert!(!audited(vec![paid_in(1, "r"), ordered()]).pending.is_empty());
        assert!(!audited(vec![paid_in(1, "r"), ordered(), vec![accepted(), debit()]]).is_sound());
        assert!(!audited(vec![ordered(), vec![accepted(), debit(), credit()]]).is_sound());
    }

    #[test]
    fn a_completion_s_events_are_judged_as_one_commit() {
        let one = event(1, "AcceptedTransaction", "trans-t", "e0", &json!({}));
        assert!(is_one_commit(&one, &event(2, "ConfirmedDebit", "acc-a", "e0", &json!({}))));
        assert!(!is_one_commit(&one, &event(2, "ConfirmedDebit", "acc-a", "e9", &json!({}))));
        let request = event(1, "ConfirmedCredit", "acc-a", "", &json!({}));
        assert!(!is_one_commit(&request, &event(2, "ConfirmedCredit", "acc-b", "", &json!({}))));
    }
}
