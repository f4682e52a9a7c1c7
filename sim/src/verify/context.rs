//! What led to a record: the earlier ones about the same event, operation, connection, commit, key or node.
//!
//! The five records before a difference are mostly about something else. Whoever asks why an event was delivered
//! differently wants its publishing, its commit and its former deliveries, however long ago they were.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use dacapo_core::{
    Key, NodeName, Position,
    trace::{Frame, Record, What},
    wire::{FromBus, ToBus},
};
use dacapo_properties::Scenario;

use crate::{
    plan::{Plan, PlanError},
    recorder::Keep,
    run::{RunOptions, run},
};

/// Records kept of each subject.
const RECORDS_PER_SUBJECT: usize = 4;
/// A record is about its few most telling subjects; a commit may name hundreds.
const SUBJECTS_MAX: usize = 6;

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A customer's operation.
    Operation(u64),
    /// An event of the log.
    Event(Position),
    /// A commit of the bus, by its number.
    Commit(u64),
    /// A key.
    Key(Key),
    /// A fault of the plan.
    Fault(u32),
    /// A connection, as a node numbers it.
    Connection(NodeName, u64),
    /// Whatever a node did.
    Node(NodeName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(operation) => write!(f, "operation {operation}"),
            Self::Event(position) => write!(f, "the event at position {position}"),
            Self::Commit(sequence) => write!(f, "commit {sequence}"),
            Self::Key(key) => write!(f, "the key {key}"),
            Self::Fault(fault) => write!(f, "fault #{fault}"),
            Self::Connection(node, connection) => write!(f, "connection {connection} of {node}"),
            Self::Node(node) => write!(f, "{node}"),
        }
    }
}

/// The last records about one subject before a difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// What they are about.
    pub about: Subject,
    /// Oldest first.
    pub records: Vec<Record>,
}

/// Carries the plan out once more up to the difference, and gathers what the differing records are about.
pub(super) fn gather(
    scenario: &dyn Scenario,
    plan: &Plan,
    options: &RunOptions,
    one: Option<&Record>,
    other: Option<&Record>,
) -> Result<Vec<Context>, PlanError> {
    let Some(step) = one.or(other).map(|record| record.step) else { return Ok(Vec::new()) };
    let mut subjects: Vec<Subject> = Vec::new();
    for subject in one.into_iter().chain(other).flat_map(|record| of(record).into_iter().take(SUBJECTS_MAX)) {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    let wanted: BTreeSet<Subject> = subjects.iter().cloned().collect();
    let kept: Arc<Mutex<BTreeMap<Subject, VecDeque<Record>>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    let tap = move |record: &Record| {
        for subject in of(record).into_iter().filter(|subject| wanted.contains(subject)) {
            let mut kept = keeper.lock().unwrap_or_else(PoisonError::into_inner);
            let records = kept.entry(subject).or_default();
            if records.len() == RECORDS_PER_SUBJECT {
                records.pop_front();
            }
            records.push_back(record.clone());
        }
    };
    let until = Some(step - 1);
    let options = RunOptions { keep: Keep::None, until, tap: Some(Arc::new(tap)), ..options.clone() };
    run(scenario, plan, &options)?;
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let context = |about: Subject| kept.remove(&about).map(|records| Context { about, records: records.into() });
    Ok(subjects.into_iter().filter_map(context).collect())
}

/// What a record is about, the most telling first.
fn of(record: &Record) -> Vec<Subject> {
    let node = &record.node;
    let mut about = Vec::new();
    match &record.what {
        What::OperationSent { operation, .. }
        | What::OperationAnswered { operation, .. }
        | What::OperationUnknown { operation, .. }
        | What::OperationSkipped { operation, .. } => about.push(Subject::Operation(*operation)),
        What::FrameSent { connection, frame } | What::FrameReceived { connection, frame } => {
            of_frame(frame, &mut about);
            about.push(Subject::Connection(node.clone(), *connection));
        }
        What::Connected { connection } | What::Showed { connection, .. } | What::Disconnected { connection } => {
            about.push(Subject::Connection(node.clone(), *connection));
        }
        What::CommitSubmitted { sequence, .. } | What::CommitFailed { sequence, .. } => {
            about.push(Subject::Commit(*sequence));
        }
        What::CommitDurable { commit } => {
            about.push(Subject::Commit(commit.sequence));
            about.extend(commit.events.iter().map(|event| Subject::Event(event.position)));
            about.extend(commit.completions.iter().map(|completion| Subject::Event(completion.position)));
            about.extend(commit.events.iter().map(|event| Subject::Key(event.key.clone())));
        }
        What::HandlerBegun { position, .. }
        | What::HandlerEnded { position, .. }
        | What::HandlerChecked { position, .. }
        | What::Viewed { position, .. } => {
            about.push(Subject::Event(*position));
        }
        What::Applied { key, position, .. } => about.extend([Subject::Event(*position), Subject::Key(key.clone())]),
        What::Forgotten { key: Some(key), .. } => about.push(Subject::Key(key.clone())),
        What::FaultBegun { fault } | What::FaultEnded { fault } | What::FaultNeverFired { fault } => {
            about.push(Subject::Fault(*fault));
        }
        _ => {}
    }
    about.push(Subject::Node(node.clone()));
    about
}

fn of_frame(frame: &Frame, about: &mut Vec<Subject>) {
    match frame {
        Frame::ToBus(frame) => match &**frame {
            ToBus::Complete(complete) => about.push(Subject::Event(complete.position)),
            ToBus::Nack(nack) => about.push(Subject::Event(nack.position)),
            ToBus::Extend(extend) => about.push(Subject::Event(extend.position)),
            ToBus::Publish(publish) => {
                about.extend(publish.events.iter().map(|event| Subject::Key(event.key.clone())));
            }
            _ => {}
        },
        Frame::FromBus(frame) => match &**frame {
            FromBus::Deliver(deliver) => {
                about.extend([Subject::Event(deliver.event.position), Subject::Key(deliver.event.key.clone())]);
            }
            FromBus::Completed(completed) => about.push(Subject::Event(completed.position)),
            FromBus::Conflict(conflict) => about.push(Subject::Event(conflict.position)),
            FromBus::Fenced(fenced) => about.push(Subject::Event(fenced.position)),
            FromBus::Rejected(rejected) => about.push(Subject::Event(rejected.position)),
            _ => {}
        },
    }
}
