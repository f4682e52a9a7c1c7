//! Records in words, a line each: for the story of a failure, in a test or on the command line.

use std::fmt::{self, Write as _};

use crate::{
    Receipt, Timestamp,
    store::Commit,
    trace::{Frame, Record, What},
    wire::{FromBus, ReadWhat, ToBus},
};

use serde::{Deserialize, Serialize};

/// Longer texts are cut; the whole record is in the trace file.
pub const TEXT_CHARS_MAX: usize = 160;

/// A record in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryLine {
    /// Its number.
    pub step: u64,
    /// When, in microseconds of the run.
    pub at_us: u64,
    /// Whose doing.
    pub node: String,
    /// What happened.
    pub text: String,
}

/// `  step 812   12.345s  accounts-1   completes …`
impl fmt::Display for StoryLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Timestamp(self.at_us).to_string();
        write!(f, "  step {:<6} {at:>9}  {:<16} {}", self.step, self.node, self.text)
    }
}

/// A record in words.
pub fn line(record: &Record) -> StoryLine {
    StoryLine {
        step: record.step,
        at_us: record.at.0,
        node: record.node.to_string(),
        text: shortened(&words(&record.what)),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn words(what: &What) -> String {
    match what {
        What::Started { incarnation } => format!("starts, incarnation {incarnation}"),
        What::Stopped { reason } => format!("stops: {reason}"),
        What::Draining {} => "is about to end, and delivers nothing more".to_owned(),
        What::Found { commit } => format!("finds {} events in its store, of an older build", commit.events.len()),
        What::Full {} => "finds no room on the disk, and throttles until there is some".to_owned(),
        What::Restored { recovered, .. } => {
            format!("a backup is restored, whose log ends at position {}", recovered.position)
        }
        What::OperationSent { operation, attempt, service, method, path, body } => {
            format!("asks {service} (operation {operation}, attempt {attempt}): {method} {path} {body}")
        }
        What::OperationAnswered { operation, status, body, .. } => {
            format!("is answered (operation {operation}): {status} {body}")
        }
        What::OperationUnknown { operation, error, .. } => {
            format!("does not learn what became of operation {operation}: {error}")
        }
        What::OperationSkipped { operation, because } => {
            format!("skips operation {operation}, since {because} is gone")
        }
        What::FrameSent { frame, .. } => format!("sends {}", frame_words(frame)),
        What::FrameReceived { frame, .. } => format!("receives {}", frame_words(frame)),
        What::Connected { connection } => format!("connection {connection} opens"),
        What::Showed { connection, token: Some(token), rights } => {
            format!("connection {connection} shows the token {token}, which allows: {rights}")
        }
        What::Showed { connection, token: None, .. } => format!("connection {connection} shows no token"),
        What::Disconnected { connection } => format!("connection {connection} ends"),
        What::CommitSubmitted { sequence, events, completions } => {
            format!("submits commit {sequence}: {events} events, {completions} completions")
        }
        What::CommitDurable { commit } => format!("commit {} is durable: {}", commit.sequence, commit_words(commit)),
        What::CommitFailed { sequence, error } => format!("commit {sequence} fails: {error}"),
        What::Recovered { recovered } => {
            format!("recovers with term {} at position {}", recovered.term, recovered.position)
        }
        What::HandlerBegun { service, position, token } => {
            format!("{service} handles {position}, attempt {}, epoch {}", token.attempt, token.epoch)
        }
        What::HandlerChecked { flaw: Some(flaw), .. } => flaw.clone(),
        What::HandlerChecked { position, .. } => format!("what handled {position} was looked into: it is well"),
        What::HandlerEnded { service, position, outcome, .. } => format!("{service} has handled {position}: {outcome}"),
        What::Applied { service, key, version, after, how, position, .. } => {
            format!("{service} applies {position} to {key}: version {after} becomes {version} ({how:?})").to_lowercase()
        }
        What::Forgotten { service, key, .. } => match key {
            Some(key) => format!("{service} forgets the state of {key}"),
            None => format!("{service} forgets all states"),
        },
        What::Viewed { service, position, .. } => format!("{service} takes {position} into its view"),
        What::RebuildBegun { after, .. } => format!("rebuild begins after {after}"),
        What::RebuildEnded { position, .. } => format!("rebuild meets the present at {position}"),
        What::Sizes { sizes } => sizes.iter().fold("holds".to_owned(), |mut text, (name, size, size_max)| {
            let _ = write!(text, " {name} {size}/{size_max}");
            text
        }),
        What::FaultBegun { fault } => format!("fault #{fault} begins"),
        What::FaultEnded { fault } => format!("fault #{fault} ends"),
        What::FaultNeverFired { fault } => format!("fault #{fault} never fired"),
        What::Healed { bound_us } => format!("all is healed; what must come has {} s", bound_us / 1_000_000),
        What::Mark { name } => format!("mark {name}"),
    }
}

fn commit_words(commit: &Commit) -> String {
    let mut parts: Vec<String> = commit
        .events
        .iter()
        .map(|event| format!("{} {} {}@{}", event.position, event.event_type, event.key, event.version))
        .collect();
    parts.extend(commit.completions.iter().map(|done| {
        format!(
            "{} {} of {} {}@{}",
            done.service,
            if done.instance.is_some() { "completes" } else { "skips" },
            done.position,
            done.key,
            done.version
        )
    }));
    if parts.is_empty() { "frontiers and lanes".to_owned() } else { parts.join(", ") }
}

fn frame_words(frame: &Frame) -> String {
    match frame {
        Frame::ToBus(frame) => to_bus_words(frame),
        Frame::FromBus(frame) => from_bus_words(frame),
    }
}

fn to_bus_words(frame: &ToBus) -> String {
    match frame {
        ToBus::Hello(hello) => {
            format!("hello of {}/{}, incarnation {}", hello.service, hello.instance, hello.incarnation)
        }
        ToBus::Publish(publish) => {
            let events: Vec<String> =
                publish.events.iter().map(|event| format!("{} on {}", event.event_type, event.key)).collect();
            format!("publish {}: {}", publish.request, events.join(", "))
        }
        ToBus::Complete(complete) => format!(
            "complete of {}, attempt {}, epoch {}, with {} events",
            complete.position,
            complete.token.attempt,
            complete.token.epoch,
            complete.events.len()
        ),
        ToBus::Nack(nack) => format!("nack of {}: {}", nack.position, nack.reason),
        ToBus::Extend(extend) => format!("extend of {}", extend.position),
        ToBus::Read(read) => match &read.what {
            ReadWhat::Key { key, after, .. } => format!("read {} of {key} after version {after}", read.request),
            ReadWhat::Keys { after: Some(after) } => format!("read {} of the keys after {after}", read.request),
            ReadWhat::Keys { after: None } => format!("read {} of the keys", read.request),
        },
        ToBus::Rebuild(rebuild) => format!("rebuild {} after {}", rebuild.request, rebuild.after),
        ToBus::Credit(credit) => match credit.request {
            Some(request) => format!("credit of {} for {request}", credit.credit),
            None => format!("credit of {}", credit.credit),
        },
        ToBus::Ping(ping) => format!("ping {}", ping.nonce),
        ToBus::Ready(_) => "ready".to_owned(),
        ToBus::Bye(_) => "bye".to_owned(),
    }
}

fn from_bus_words(frame: &FromBus) -> String {
    match frame {
        FromBus::Receipts(receipts) => {
            let receipts: Vec<String> = receipts.receipts.iter().map(receipt_words).collect();
            format!("receipts: {}", receipts.join(", "))
        }
        FromBus::Deliver(deliver) => {
            let event = &deliver.event;
            format!(
                "deliver of {} {} {}@{}, attempt {}, epoch {}",
                event.position, event.event_type, event.key, event.version, deliver.token.attempt, deliver.token.epoch
            )
        }
        FromBus::Completed(completed) => {
            let already = if completed.already { " already" } else { "" };
            format!("completed{already} of {}", completed.position)
        }
        FromBus::Conflict(conflict) => format!("conflict of {}", conflict.position),
        FromBus::Fenced(fenced) => format!("fenced of {}: {}", fenced.position, fenced.reason),
        FromBus::Welcome(welcome) => {
            format!("welcome with term {}, session {} at position {}", welcome.term, welcome.session, welcome.position)
        }
        FromBus::Pong(pong) => format!("pong {}", pong.nonce),
        FromBus::Rebuilt(rebuilt) => format!("rebuilt {} up to {}", rebuilt.request, rebuilt.position),
        FromBus::Events(events) => format!("{} events up to {}", events.events.len(), events.position),
        other => other.encode(),
    }
}

fn receipt_words(receipt: &Receipt) -> String {
    match receipt {
        Receipt::Accepted { position, version, .. } => format!("accepted at position {position} as version {version}"),
        Receipt::Duplicate { position, .. } => format!("duplicate of position {position}"),
        Receipt::Inconsistent { key, head, .. } => format!("inconsistent, since the head of {key} is {head}"),
        Receipt::Refused { message, .. } => format!("refused: {message}"),
        Receipt::Throttled => "throttled".to_owned(),
    }
}
