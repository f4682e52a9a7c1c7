//! A path in words: what was chosen, what the bus was told, and what it said.

use dacapo_core::{
    EventId, Key, Receipt,
    bus::{AdminAnswer, ConnId, Output},
    store::{Commit, LaneChange},
    wire::FromBus,
};

use super::{
    peers::{self, PUBLISHER, READER},
    step::Step,
};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What happened.
    pub sentence: String,
    /// What came of it, in order.
    pub then: Vec<String>,
}

/// Listens, if it was asked to.
#[derive(Debug, Clone, Default)]
pub(super) struct Story(Option<Vec<Told>>);

impl Story {
    /// Listens from here on.
    pub(super) fn listen(&mut self) {
        self.0 = Some(Vec::new());
    }

    /// What was heard.
    pub(super) fn into_told(self) -> Vec<Told> {
        self.0.unwrap_or_default()
    }

    /// A step begins.
    pub(super) fn begin(&mut self, step: &Step) {
        if let Some(told) = &mut self.0 {
            told.push(Told { sentence: step.to_string(), then: Vec::new() });
        }
    }

    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(last) = self.0.as_mut().and_then(|told| told.last_mut()) {
            last.then.push(line());
        }
    }

    /// A sentence that stands by itself.
    pub(super) fn chapter(&mut self, sentence: impl FnOnce() -> String) {
        if let Some(told) = &mut self.0 {
            told.push(Told { sentence: sentence(), then: Vec::new() });
        }
    }

    pub(super) fn durable(&mut self, commit: &Commit) {
        self.say(|| format!("durable: {}", contents(commit)));
    }

    pub(super) fn output(&mut self, output: &Output) {
        self.say(|| match output {
            Output::Send { conn, frame } => format!("the bus to {}: {}", who(*conn), frame_told(frame)),
            Output::Answer { answer, .. } => match answer {
                AdminAnswer::Done(position) => format!("the bus to the administrator: done, at position {position}"),
                AdminAnswer::Error(error) => format!("the bus to the administrator: {}", error.message),
                AdminAnswer::Services(_) | AdminAnswer::Lanes(_) | AdminAnswer::Lane(_) => {
                    "the bus answers the administrator".to_owned()
                }
            },
            Output::Close { conn } => format!("the bus closes the connection of {}", who(*conn)),
            Output::Commit(commit) => format!("the bus hands the store a commit: {}", contents(commit)),
            Output::LookUp { look_up, .. } => {
                let keys: Vec<&str> = look_up.heads.iter().map(Key::as_str).collect();
                let ids: Vec<&str> = look_up.ids.iter().map(EventId::as_str).collect();
                format!("the bus asks the store about {}", [ids, keys].concat().join(", "))
            }
            Output::Read { .. } => "the bus asks the store for a page".to_owned(),
            Output::CheckTerm => "the bus asks the store for its term".to_owned(),
            Output::Record(_) => "a record".to_owned(),
            Output::Stop { reason } => format!("the bus stops: {reason}"),
        });
    }
}

fn who(conn: ConnId) -> String {
    match conn {
        PUBLISHER => "the publisher".to_owned(),
        READER => "the reader of the log".to_owned(),
        ConnId(number) => peers::instance_name((number / 100).saturating_sub(1) as usize).to_string(),
    }
}

fn contents(commit: &Commit) -> String {
    let mut parts: Vec<String> = commit
        .events
        .iter()
        .map(|event| match event.event_type.as_str() {
            system if system.starts_with('$') => format!("{system} at position {}", event.position),
            _ => format!("{} as version {} of {} at position {}", event.id, event.version, event.key, event.position),
        })
        .collect();
    parts.extend(commit.completions.iter().map(|it| format!("the completion of version {} of {}", it.version, it.key)));
    parts.extend(commit.frontiers.iter().map(|(_, frontier)| format!("the frontier at {frontier}")));
    parts.extend(commit.lanes.iter().map(|change| match change {
        LaneChange::Put(lane) => {
            let parked = if lane.parked.is_some() { ", parked" } else { "" };
            format!(
                "lane {} behind from version {} on, {} failures{parked}",
                lane.key, lane.next_version, lane.failures
            )
        }
        LaneChange::Remove { key, .. } => format!("lane {key} no longer behind"),
    }));
    if parts.is_empty() { "the service".to_owned() } else { parts.join("; ") }
}

fn frame_told(frame: &FromBus) -> String {
    match frame {
        FromBus::Receipts(receipts) => {
            let each = receipts.receipts.iter().map(|receipt| match receipt {
                Receipt::Accepted { position, version, .. } => format!("accepted as version {version} at {position}"),
                Receipt::Duplicate { position, version, .. } => format!("duplicate of version {version} at {position}"),
                Receipt::Inconsistent { key, head, .. } => format!("inconsistent, the head of {key} is {head}"),
                Receipt::Refused { message, .. } => format!("refused: {message}"),
                Receipt::Throttled => "throttled".to_owned(),
            });
            format!("event {} is {}", receipts.request, each.collect::<Vec<_>>().join(", "))
        }
        FromBus::Deliver(deliver) => format!(
            "deliver version {} of {} (attempt {}, epoch {})",
            deliver.event.version, deliver.event.key, deliver.token.attempt, deliver.token.epoch
        ),
        FromBus::Completed(completed) => {
            let already = if completed.already { " already" } else { "" };
            format!("the event at position {} is completed{already}", completed.position)
        }
        FromBus::Events(page) => {
            let positions: Vec<String> = page.events.iter().map(|event| event.position.to_string()).collect();
            format!("a page up to position {} with positions {}", page.position, positions.join(", "))
        }
        FromBus::Fenced(fenced) => format!("fenced: the delivery of position {} is no longer yours", fenced.position),
        FromBus::Error(error) => format!("error: {}", error.message),
        other => other.kind().to_owned(),
    }
}
