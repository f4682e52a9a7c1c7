//! A run as rows: one for each record that is worth one, folds for the quieter ones between, and what stretches over rows.

use std::collections::{BTreeMap, BTreeSet};

use dacapo_core::{
    Key, NodeName, Position, Timestamp, narrate,
    trace::{Frame, Record, What},
    wire::{FromBus, ToBus},
};

use super::{
    Fate, Knew, Message, Owner, Run,
    messages::{messages, receiver},
    owners::owners,
};

/// A pause longer than this is told, in microseconds.
const PAUSE_US: u64 = 150_000;

/// What kind of thing a row is; the picture's classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// A frame was sent.
    Sent,
    /// A frame arrived.
    Received,
    /// A process began or ended.
    Life,
    /// A commit was handed over, became durable or failed.
    Commit,
    /// A customer asked or was answered.
    Operation,
    /// A handler began or ended.
    Handler,
    /// An event went into a state.
    State,
    /// A rebuild began or ended.
    Rebuild,
    /// A fault began or ended.
    Fault,
    /// Everything else.
    Other,
    /// Several quieter records.
    Fold,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its record's step; a fold's first.
    pub step: u64,
    /// A fold's last step; the same step for other rows.
    pub through: u64,
    /// When.
    pub at: Timestamp,
    /// The time since the row before, if that was long.
    pub pause_us: Option<u64>,
    /// Whose doing.
    pub node: NodeName,
    /// What kind.
    pub kind: RowKind,
    /// In words.
    pub text: String,
    /// It belongs to the violation.
    pub story: bool,
}

/// A stretch of a node's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Whose.
    pub node: NodeName,
    /// From this step.
    pub from: u64,
    /// Up to this step.
    pub to: u64,
}

/// Something that is open between two steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// At this node.
    pub node: NodeName,
    /// From this step.
    pub from: u64,
    /// Up to this step.
    pub to: u64,
    /// `delivery`, `rebuild`, `commit` or `operation`: the picture's classes.
    pub class: &'static str,
    /// In words.
    pub text: String,
}

/// A run as rows.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// In order.
    pub rows: Vec<Row>,
    /// Frames between nodes.
    pub messages: Vec<Message>,
    /// When processes lived.
    pub lives: Vec<Life>,
    /// What was open.
    pub open: Vec<Open>,
    /// When faults were on: number, first step, last step.
    pub faults: Vec<(u32, u64, u64)>,
    /// Deliveries that had been made before: the step of the sending, and that of the first one.
    pub again: BTreeMap<u64, u64>,
    /// Who owned the keys that the violation is about.
    pub owners: Vec<Owner>,
}

impl Rows {
    /// A run as rows; with `quiet`, the quieter records have rows too.
    pub fn of(run: &Run, quiet: bool) -> Self {
        let last = run.records.last().map_or(0, |record| record.step);
        let mut rows = Self { messages: messages(&run.records), ..Self::default() };
        rows.stretches(&run.records, last);
        let story: BTreeSet<u64> = run
            .manifest
            .violation
            .iter()
            .flat_map(|violation| violation.steps.iter().copied().chain([violation.step]))
            .collect();
        let faults: BTreeMap<u32, &str> =
            run.manifest.faults.iter().map(|fault| (fault.id, fault.text.as_str())).collect();
        let lost: BTreeSet<u64> =
            rows.messages.iter().filter(|message| message.fate == Fate::Lost).map(|message| message.sent).collect();
        // A receipt is as quiet as its sending; one that was lost never is.
        let mut fold: Vec<&Record> = Vec::new();
        let mut before = Timestamp::ZERO;
        for record in run.records.iter() {
            let is_loud = quiet || story.contains(&record.step) || lost.contains(&record.step) || loud(&record.what);
            if !is_loud {
                fold.push(record);
                continue;
            }
            rows.close(&mut fold, &mut before);
            let pause = record.at.0.saturating_sub(before.0);
            before = record.at;
            rows.rows.push(Row {
                step: record.step,
                through: record.step,
                at: record.at,
                pause_us: Some(pause).filter(|pause| *pause >= PAUSE_US),
                node: record.node.clone(),
                kind: kind(&record.what),
                text: words(record, &faults),
                story: story.contains(&record.step),
            });
        }
        rows.close(&mut fold, &mut before);
        let steps: Vec<u64> = story.into_iter().collect();
        rows.owned(&run.records, &Knew::keys_of(&run.records, &steps));
        rows
    }

    /// Tells of the owners of these keys instead.
    pub fn owned(&mut self, records: &[Record], keys: &[Key]) {
        self.owners = owners(records, &self.messages, keys);
    }

    fn close(&mut self, fold: &mut Vec<&Record>, before: &mut Timestamp) {
        let (Some(first), Some(last)) = (fold.first(), fold.last()) else { return };
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for record in fold.iter() {
            *counts.entry(quiet_name(&record.what)).or_default() += 1;
        }
        let told: Vec<String> = counts.iter().map(|(name, number)| format!("{number} × {name}")).collect();
        let pause = first.at.0.saturating_sub(before.0);
        *before = last.at;
        self.rows.push(Row {
            step: first.step,
            through: last.step,
            at: first.at,
            pause_us: Some(pause).filter(|pause| *pause >= PAUSE_US),
            node: first.node.clone(),
            kind: RowKind::Fold,
            text: told.join(", "),
            story: false,
        });
        fold.clear();
    }

    /// What stretches over several records.
    fn stretches(&mut self, records: &[Record], last: u64) {
        let mut lives: BTreeMap<NodeName, u64> = BTreeMap::new();
        let mut faults: BTreeMap<u32, u64> = BTreeMap::new();
        let mut open: BTreeMap<(NodeName, &'static str, u64), (u64, String)> = BTreeMap::new();
        let mut delivered: BTreeMap<(NodeName, Position), u64> = BTreeMap::new();
        for record in records {
            let (node, step) = (&record.node, record.step);
            let mut begin = |class: &'static str, id: u64, text: String| {
                open.insert((node.clone(), class, id), (step, text));
            };
            let mut end: Option<(&'static str, u64)> = None;
            match &record.what {
                What::Started { .. } => {
                    lives.insert(node.clone(), step);
                }
                What::Stopped { .. } => {
                    if let Some(from) = lives.remove(node) {
                        self.lives.push(Life { node: node.clone(), from, to: step });
                    }
                    let gone: Vec<_> =
                        open.keys().filter(|(own, class, _)| own == node && *class != "operation").cloned().collect();
                    for key in gone {
                        self.end(&mut open, key, step);
                    }
                }
                What::FaultBegun { fault } => {
                    faults.entry(*fault).or_insert(step);
                }
                What::FaultEnded { fault } => {
                    if let Some(from) = faults.remove(fault) {
                        self.faults.push((*fault, from, step));
                    }
                }
                What::CommitSubmitted { sequence, events, .. } => {
                    begin(
                        "commit",
                        *sequence,
                        format!("commit {sequence} of {events} events is on its way to the disk"),
                    );
                }
                What::CommitDurable { commit } => end = Some(("commit", commit.sequence)),
                What::CommitFailed { sequence, .. } => end = Some(("commit", *sequence)),
                What::OperationSent { operation, method, path, .. } => {
                    begin("operation", *operation, format!("operation {operation}: {method} {path}"));
                }
                What::OperationAnswered { operation, .. } | What::OperationUnknown { operation, .. } => {
                    end = Some(("operation", *operation));
                }
                What::RebuildBegun { request, after, .. } => {
                    begin("rebuild", *request, format!("rebuild after {after}"));
                }
                What::RebuildEnded { request, .. } => end = Some(("rebuild", *request)),
                What::FrameReceived { frame: Frame::FromBus(frame), .. } => {
                    if let FromBus::Deliver(deliver) = &**frame {
                        begin(
                            "delivery",
                            deliver.event.position.0,
                            format!("holds {} {}", deliver.event.position, deliver.event.event_type),
                        );
                    }
                }
                What::FrameSent { frame: Frame::FromBus(frame), .. } => {
                    if let FromBus::Deliver(deliver) = &**frame {
                        // To whichever instance: the message tells to whom, and services are apart by their instances' names.
                        let service = receiver(&self.messages, step).map_or_else(|| NodeName::of("nobody"), service_of);
                        match delivered.get(&(service.clone(), deliver.event.position)) {
                            Some(first) => drop(self.again.insert(step, *first)),
                            None => drop(delivered.insert((service, deliver.event.position), step)),
                        }
                    }
                }
                What::FrameSent { frame: Frame::ToBus(frame), .. } => match &**frame {
                    ToBus::Complete(complete) => end = Some(("delivery", complete.position.0)),
                    ToBus::Nack(nack) => end = Some(("delivery", nack.position.0)),
                    _ => {}
                },
                _ => {}
            }
            if let Some((class, id)) = end {
                self.end(&mut open, (node.clone(), class, id), step);
            }
        }
        for (node, from) in lives {
            self.lives.push(Life { node, from, to: last });
        }
        for (fault, from) in faults {
            self.faults.push((fault, from, last));
        }
        let rest: Vec<_> = open.keys().cloned().collect();
        for key in rest {
            self.end(&mut open, key, last);
        }
        self.faults.sort_unstable_by_key(|(fault, from, _)| (*from, *fault));
        self.open.sort_by_key(|open| (open.from, open.to));
    }

    fn end(
        &mut self,
        open: &mut BTreeMap<(NodeName, &'static str, u64), (u64, String)>,
        key: (NodeName, &'static str, u64),
        to: u64,
    ) {
        if let Some((from, text)) = open.remove(&key) {
            let (node, class, _) = key;
            self.open.push(Open { node, from, to, class, text });
        }
    }
}

/// The service of an instance's node: its name without the number.
pub(super) fn service_of(node: &NodeName) -> NodeName {
    match node.as_str().rsplit_once('-') {
        Some((service, _)) if !service.is_empty() => NodeName::of(service),
        _ => node.clone(),
    }
}

/// The nodes as columns: customers, then instances, then the bus. The simulator's own records have none.
pub fn lanes(records: &[Record]) -> Vec<NodeName> {
    let mut nodes: Vec<NodeName> = records
        .iter()
        .filter(|record| !is_of_simulator(record))
        .map(|record| record.node.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let asks: BTreeSet<&NodeName> = records
        .iter()
        .filter(|record| matches!(record.what, What::OperationSent { .. } | What::OperationSkipped { .. }))
        .map(|record| &record.node)
        .collect();
    let commits: BTreeSet<&NodeName> = records
        .iter()
        .filter(|record| matches!(record.what, What::CommitSubmitted { .. } | What::Recovered { .. }))
        .map(|record| &record.node)
        .collect();
    nodes.sort_by_key(|node| (!asks.contains(node), commits.contains(node), node.clone()));
    nodes
}

fn is_of_simulator(record: &Record) -> bool {
    matches!(
        record.what,
        What::FaultBegun { .. }
            | What::FaultEnded { .. }
            | What::FaultNeverFired { .. }
            | What::Healed { .. }
            | What::Mark { .. }
    )
}

/// Whether a record has a row of its own.
fn loud(what: &What) -> bool {
    match what {
        What::FrameSent { frame, .. } | What::FrameReceived { frame, .. } => match frame {
            Frame::ToBus(frame) => matches!(
                &**frame,
                ToBus::Hello(_) | ToBus::Publish(_) | ToBus::Complete(_) | ToBus::Nack(_) | ToBus::Bye(_)
            ),
            Frame::FromBus(frame) => !matches!(
                &**frame,
                FromBus::Pong(_) | FromBus::Events(_) | FromBus::Welcome(_) | FromBus::Rebuilt(_) | FromBus::Resume(_)
            ),
        },
        What::Connected { .. }
        | What::Showed { .. }
        | What::Sizes { .. }
        | What::Mark { .. }
        | What::Viewed { .. }
        | What::Forgotten { .. }
        | What::FaultNeverFired { .. }
        | What::HandlerBegun { .. }
        | What::HandlerEnded { .. }
        | What::CommitSubmitted { .. } => false,
        What::Applied { how, .. } => {
            !matches!(how, dacapo_core::trace::How::Rebuilt | dacapo_core::trace::How::Hydrated)
        }
        What::CommitDurable { commit } => !commit.events.is_empty() || !commit.completions.is_empty(),
        _ => true,
    }
}

fn quiet_name(what: &What) -> &'static str {
    match what {
        What::FrameSent { .. } => "frame sent",
        What::FrameReceived { .. } => "received",
        What::Connected { .. } | What::Showed { .. } => "connection",
        What::Sizes { .. } => "sizes told",
        What::Mark { .. } => "mark",
        What::Viewed { .. } => "view brought up",
        What::Forgotten { .. } => "state forgotten",
        What::HandlerBegun { .. } | What::HandlerEnded { .. } | What::HandlerChecked { .. } => "handler",
        What::CommitSubmitted { .. } => "commit handed over",
        What::CommitDurable { .. } => "empty commit",
        What::Applied { .. } => "state brought up",
        What::FaultNeverFired { .. } => "fault that never fired",
        _ => "other",
    }
}

fn kind(what: &What) -> RowKind {
    match what {
        What::FrameSent { .. } => RowKind::Sent,
        What::FrameReceived { .. } => RowKind::Received,
        What::Started { .. }
        | What::Stopped { .. }
        | What::Draining {}
        | What::Full {}
        | What::Restored { .. }
        | What::Recovered { .. }
        | What::Connected { .. }
        | What::Showed { .. }
        | What::Disconnected { .. } => RowKind::Life,
        What::Found { .. } | What::CommitSubmitted { .. } | What::CommitDurable { .. } | What::CommitFailed { .. } => {
            RowKind::Commit
        }
        What::OperationSent { .. }
        | What::OperationAnswered { .. }
        | What::OperationUnknown { .. }
        | What::OperationSkipped { .. } => RowKind::Operation,
        What::HandlerBegun { .. } | What::HandlerEnded { .. } | What::HandlerChecked { .. } => RowKind::Handler,
        What::Applied { .. } | What::Forgotten { .. } | What::Viewed { .. } => RowKind::State,
        What::RebuildBegun { .. } | What::RebuildEnded { .. } => RowKind::Rebuild,
        What::FaultBegun { .. } | What::FaultEnded { .. } | What::FaultNeverFired { .. } | What::Healed { .. } => {
            RowKind::Fault
        }
        What::Sizes { .. } | What::Mark { .. } => RowKind::Other,
    }
}

/// The record in words; a fault with what it is.
fn words(record: &Record, faults: &BTreeMap<u32, &str>) -> String {
    let text = |fault: &u32| faults.get(fault).copied().unwrap_or("not in the plan");
    match &record.what {
        What::FaultBegun { fault } => format!("fault #{fault} begins: {}", text(fault)),
        What::FaultEnded { fault } => format!("fault #{fault} ends: {}", text(fault)),
        _ => narrate::line(record).text,
    }
}
