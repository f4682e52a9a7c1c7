//! The recorder: gives every record its step, chains the fingerprint, and shows the record to the judge.
//!
//! It keeps no records unless it is asked to; a campaign hashes them as they pass. After the first violation it is
//! closed: the run is over, whatever the hosts still do within the tick.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use dacapo_core::{
    NodeName, Timestamp,
    trace::{Fingerprint, Record, What},
};
use dacapo_properties::{Judge, Judged, Violation};

use crate::{marks::Reached, shapes::Shapes};

/// Records between two checkpoints of the fingerprint.
pub const CHECKPOINT_RECORDS: u64 = 256;

/// Changes records before they are taken: for the harness's own test, which plants a leak and wants it found.
pub type Tamper = Arc<dyn Fn(&mut What) + Send + Sync>;

/// Sees each record as it passes, whatever is kept.
pub type Tap = Arc<dyn Fn(&Record) + Send + Sync>;

/// Which records are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// None.
    #[default]
    None,
    /// The last so many.
    Last(usize),
    /// Those after one step, up to and with another.
    Between {
        /// Not this one, but what comes after it.
        after: u64,
        /// The last one.
        through: u64,
    },
    /// All.
    All,
}

/// Takes the records of a run.
pub struct Recorder {
    step: u64,
    fingerprint: Fingerprint,
    checkpoints: Vec<Fingerprint>,
    keep: Keep,
    records: VecDeque<Record>,
    until: Option<u64>,
    judge: Judge,
    violation: Option<Box<Violation>>,
    reached: Reached,
    faults_begun: BTreeMap<u32, u64>,
    shapes: Shapes,
    tamper: Option<Tamper>,
    tap: Option<Tap>,
    closed: bool,
}

impl Recorder {
    /// A recorder before its first record. With `until` it closes after that step.
    pub fn new(judge: Judge, keep: Keep, until: Option<u64>, tamper: Option<Tamper>) -> Self {
        Self {
            step: 0,
            fingerprint: Fingerprint::default(),
            checkpoints: Vec::new(),
            keep,
            records: VecDeque::new(),
            until,
            judge,
            violation: None,
            reached: Reached::default(),
            faults_begun: BTreeMap::new(),
            shapes: Shapes::default(),
            tamper,
            tap: None,
            closed: until == Some(0),
        }
    }

    /// Shows each record to this, too.
    #[must_use]
    pub fn tapped_by(self, tap: Option<Tap>) -> Self {
        Self { tap, ..self }
    }

    /// Takes one record, unless the recorder is closed.
    pub fn record(&mut self, at: Timestamp, node: &NodeName, mut what: What) {
        if self.closed {
            return;
        }
        if let Some(tamper) = &self.tamper {
            tamper(&mut what);
        }
        self.step += 1;
        let record = Record { step: self.step, at, node: node.clone(), what };
        self.fingerprint = self.fingerprint.then(&record);
        if self.step.is_multiple_of(CHECKPOINT_RECORDS) {
            self.checkpoints.push(self.fingerprint);
        }
        self.reached.observe(&record);
        self.shapes.observe(&record);
        if let Some(tap) = &self.tap {
            tap(&record);
        }
        if let What::FaultBegun { fault } = &record.what {
            *self.faults_begun.entry(*fault).or_default() += 1;
        }
        let verdict = self.judge.observe(&record);
        self.store(record);
        if let Err(violation) = verdict {
            self.violation = Some(violation);
            self.closed = true;
        }
        if self.until == Some(self.step) {
            self.closed = true;
        }
    }

    fn store(&mut self, record: Record) {
        match self.keep {
            Keep::None => {}
            Keep::All => self.records.push_back(record),
            Keep::Between { after, through } => {
                if after < record.step && record.step <= through {
                    self.records.push_back(record);
                }
            }
            Keep::Last(count) => {
                if self.records.len() == count {
                    self.records.pop_front();
                }
                if count > 0 {
                    self.records.push_back(record);
                }
            }
        }
    }

    /// Lets the judge look back at the end of a run that was not stopped.
    pub fn finish(&mut self) {
        if !self.closed {
            self.violation = self.judge.finish().err();
            self.closed = true;
        }
    }

    /// Takes a violation that the engine saw, such as a panic.
    pub fn accuse(&mut self, violation: Violation) {
        if self.violation.is_none() {
            self.violation = Some(Box::new(violation));
        }
        self.closed = true;
    }

    /// Whether it takes no more records.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The number of the last record.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The first violation.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_deref()
    }

    /// What is left of it when the run is over.
    pub fn into_parts(mut self) -> Recorded {
        let judged = self.judge.summary();
        self.reached.take(&judged);
        self.shapes.take(&self.reached);
        Recorded {
            steps: self.step,
            fingerprint: self.fingerprint,
            checkpoints: self.checkpoints,
            records: self.records.into(),
            violation: self.violation,
            reached: self.reached,
            shapes: self.shapes,
            faults_begun: self.faults_begun,
            judged,
        }
    }
}

/// What a recorder knows at the end.
#[derive(Debug)]
pub struct Recorded {
    /// How many records there were.
    pub steps: u64,
    /// The chained hash over all of them.
    pub fingerprint: Fingerprint,
    /// The fingerprint after every [`CHECKPOINT_RECORDS`] records.
    pub checkpoints: Vec<Fingerprint>,
    /// What was kept.
    pub records: Vec<Record>,
    /// The first violation.
    pub violation: Option<Box<Violation>>,
    /// Marks.
    pub reached: Reached,
    /// What its state looked like.
    pub shapes: Shapes,
    /// Each fault that began, and how often.
    pub faults_begun: BTreeMap<u32, u64>,
    /// What the judge says of each property.
    pub judged: Vec<Judged>,
}
