//! The store of a run. It outlives the bus: it is the disk, and what SQLite makes of it.
//!
//! A call takes effect when it is made; engines let its answer come after a drawn time, and a crash in between loses
//! the answer and not the deed. Around each call an engine says what is wrong with the disk ([`RunStore::prepare`])
//! and asks what the call has met ([`RunStore::passed`]).
//!
//! A commit that failed is in doubt: nobody can say what is on the platter. The next recovery shows it, and if the
//! commit is there after all, [`Passed::proved`] tells it before the bus begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dacapo_backends::{MemoryStore, SqliteStore, sqlite::Options};
use dacapo_core::{
    digest::digest_of,
    planted::{Bug, Planted},
    store::{Commit, LaneChange, LookUp, Reader, Recovered, Store, StoreError},
};

use crate::{
    disk::{
        Cut, Disk, Omissions, Trouble,
        expected::{Difference, Expected},
    },
    engine::{chance::Chance, disk_faults::DiskFaults},
    plan::{Expects, Plan, StoreKind},
};

/// How a life of the bus ends, as its disk sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process was killed: what it had written is still in the system's hands.
    Process,
    /// The machine lost its power: what was not synced may be gone.
    Power,
    /// The process ended as it should, and closed its files.
    Orderly,
}

/// What came of a commit.
#[derive(Debug)]
pub(crate) struct Committed {
    /// It is in the store, whatever the bus is told.
    pub(crate) durable: bool,
    /// What the bus is told.
    pub(crate) told: Result<(), StoreError>,
}

/// What calls of the store have met on the disk.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// How often the bus's host has reached [`DISK_WRITE`](crate::fault::points::DISK_WRITE).
    pub(crate) writes: u64,
    /// How often it has reached [`DISK_SYNC`](crate::fault::points::DISK_SYNC).
    pub(crate) syncs: u64,
    /// How much longer the call took, in microseconds.
    pub(crate) extra_us: u64,
    /// Commits of unknown outcome that turned out to be in the log.
    pub(crate) proved: Vec<Arc<Commit>>,
    /// Marks that were reached.
    pub(crate) marks: Vec<&'static str>,
}

/// The store of a run.
pub(crate) struct RunStore {
    kind: StoreKind,
    /// None until the first life of the bus opens it, and between the lives of a bus on a disk. Before the disk, so that
    /// it is dropped first.
    store: Option<Box<dyn Store>>,
    reader: Option<Box<dyn Reader>>,
    disk: Option<Disk>,
    options: Options,
    /// Questions are answered on a connection of their own.
    reads_apart: bool,
    /// Of the bus.
    life: u64,
    /// Calls within this life that nothing else tells apart.
    calls: u64,
    cut: Cut,
    /// How large the disk is while a fault says that it is full.
    capacities: BTreeMap<u32, u64>,
    rotten: BTreeSet<u32>,
    doubtful: Option<Arc<Commit>>,
    proved: Vec<Arc<Commit>>,
    marks: Vec<&'static str>,
    /// What was made durable, as long as nothing of it was seen to be gone; only where the disk may lose something.
    expected: Option<Expected>,
}

impl RunStore {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self::drawing_from(plan, &Chance::new(plan.seed, None))
    }

    /// The same with a chance that may branch off.
    pub(crate) fn drawing_from(plan: &Plan, chance: &Chance) -> Self {
        let planted = plan.bug.map_or(Planted::NONE, Planted::bug);
        let omissions =
            Omissions { log_syncs: planted.is(Bug::WalUnsynced), directory_syncs: planted.is(Bug::DirectoryUnsynced) };
        let disk = (plan.settings.store == StoreKind::Disk).then(|| {
            if chance.happens("fresh disk", &0, 125) {
                Disk::new(chance, omissions)
            } else {
                Disk::with_store(chance, omissions)
            }
        });
        let checkpoint_pages = [4_096, 256, 32, 8][chance.between("checkpoint pages", &0, (0, 3)) as usize];
        // An honest disk must hold without looking, and looking takes long.
        let check_kib_max = match plan.expects() {
            Expects::Detection => Options::default().check_kib_max,
            Expects::Survival => 0,
        };
        Self {
            kind: plan.settings.store,
            store: None,
            reader: None,
            disk,
            // Rot under an open file, in an index that is read again, is not noticed before the next opening.
            reads_apart: !plan.rots() && chance.happens("reads apart", &0, 250),
            // So little that what is certainly new is looked up now and then.
            options: Options { checkpoint_pages, check_kib_max, ids_kib: 1, ..Options::default() },
            life: 1,
            calls: 0,
            cut: Cut::default(),
            capacities: BTreeMap::new(),
            rotten: BTreeSet::new(),
            doubtful: None,
            proved: Vec::new(),
            marks: Vec::new(),
            expected: (plan.expects() == Expects::Detection).then(Expected::default),
        }
    }

    fn open(&mut self) -> Result<&mut dyn Store, StoreError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => match (self.kind, &self.disk) {
                (StoreKind::Disk, Some(disk)) => Box::new(disk.open(&self.options)?) as Box<dyn Store>,
                (StoreKind::Memory, _) => Box::new(MemoryStore::new()),
                _ => Box::new(SqliteStore::open_in_memory()?),
            },
        };
        Ok(&mut **self.store.insert(store))
    }

    /// What is wrong with the disk from here on. Before each call, and before the end of a life.
    pub(crate) fn prepare(&mut self, faults: &DiskFaults, now_us: u64) {
        let Some(disk) = &self.disk else { return };
        self.cut = faults.cut;
        let mut room = None;
        if !faults.full.is_empty() {
            let size = disk.size();
            for (fault, left) in &faults.full {
                let capacity = *self.capacities.entry(*fault).or_insert(size + left);
                let left = capacity.saturating_sub(size);
                room = Some(room.map_or(left, |room: u64| room.min(left)));
            }
        }
        disk.set_trouble(Trouble { room, ..faults.trouble.clone() }, now_us);
        for (fault, bits) in &faults.rotten {
            if self.rotten.insert(*fault) {
                for bit in 0..*bits {
                    disk.rot(digest_of(u64::from(*fault), &bit));
                }
            }
        }
    }

    /// What the calls since the last time have met.
    pub(crate) fn passed(&mut self) -> Passed {
        let met = self.disk.as_ref().map(Disk::take_met).unwrap_or_default();
        let marks = [
            (met.lies, crate::marks::SYNC_LIED),
            (met.failed_syncs, crate::marks::SYNC_FAILED),
            (met.failed_reads, crate::marks::READ_FAILED),
            (met.refused_writes, crate::marks::DISK_WAS_FULL),
        ];
        self.marks.extend(marks.into_iter().filter(|(count, _)| *count > 0).map(|(_, mark)| mark));
        Passed {
            writes: met.writes,
            syncs: met.syncs,
            extra_us: met.extra_us,
            proved: std::mem::take(&mut self.proved),
            marks: std::mem::take(&mut self.marks),
        }
    }

    fn begin(&mut self, context: u64) {
        if let Some(disk) = &self.disk {
            disk.begin(context);
        }
    }

    /// A bus begins.
    pub(crate) fn recover(&mut self) -> Result<Recovered, StoreError> {
        self.calls += 1;
        self.begin(digest_of(self.life, &("recover", self.calls)));
        let recovered = self.open().and_then(Store::recover).inspect_err(|error| self.hear(error))?;
        if let Some(commit) = self.doubtful.take() {
            let store = self.open()?;
            match is_in(&commit, &recovered, store) {
                Ok(true) => {
                    self.marks.push(crate::marks::DOUBT_PROVED);
                    self.proved.push(commit);
                }
                Ok(false) => self.marks.push(crate::marks::DOUBT_DISPROVED),
                Err(error) => {
                    self.doubtful = Some(commit);
                    return Err(error);
                }
            }
        }
        self.compare(&recovered);
        Ok(recovered)
    }

    /// The store refuses what is damaged.
    fn hear(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Damaged(_) | StoreError::NotAStore(_)) {
            self.marks.push(crate::marks::DAMAGE_REFUSED);
        }
    }

    /// Where a disk may lose something: whether it has. The harness says so for itself, and then it is for the store or
    /// the properties to have noticed.
    fn compare(&mut self, recovered: &Recovered) {
        let Some(mut expected) = self.expected.take() else { return };
        for commit in &self.proved {
            expected.apply(commit);
        }
        let Some(store) = &mut self.store else { return };
        let compared = expected.check_recovered(recovered).and_then(|()| expected.check_all(&mut **store));
        match compared {
            Ok(()) => self.expected = Some(expected),
            Err(Difference::Refused(error)) => {
                self.hear(&error);
                self.expected = Some(expected);
            }
            Err(Difference::Shorter(_)) => self.marks.push(crate::marks::DISK_LOST),
            Err(Difference::Wrong(_)) => {
                self.marks.extend([crate::marks::DISK_LOST, crate::marks::DAMAGE_SERVED]);
            }
        }
    }

    /// Makes a commit. `fails` is a planned failure: whether it is made all the same.
    pub(crate) fn commit(&mut self, commit: &Commit, fails: Option<bool>) -> Committed {
        let failure = || Err(StoreError::Io("the medium failed, as planned".to_owned()));
        if fails == Some(false) {
            return Committed { durable: false, told: failure() };
        }
        self.begin(digest_of(commit.term.0, &commit.sequence));
        let made = self.open().and_then(|store| store.commit(commit));
        if matches!(made, Err(StoreError::Io(_) | StoreError::Full(_))) && self.doubtful.is_none() {
            self.doubtful = Some(Arc::new(commit.clone()));
        }
        let durable = made.is_ok();
        match &made {
            Ok(()) => {
                if let Some(expected) = &mut self.expected {
                    expected.apply(commit);
                }
            }
            Err(error) => self.hear(error),
        }
        Committed { durable, told: if durable && fails.is_some() { failure() } else { made } }
    }

    /// Asks the store.
    pub(crate) fn ask<T>(
        &mut self,
        question: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.calls += 1;
        self.begin(digest_of(self.life, &("ask", self.calls)));
        let answer = self.reader().and_then(question);
        answer.inspect_err(|error| self.hear(error))
    }

    /// Who answers questions: a connection of its own in some runs, as in production, else the one that writes.
    fn reader(&mut self) -> Result<&mut dyn Reader, StoreError> {
        if !self.reads_apart {
            return Ok(self.open()?);
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open()?.reader()?,
        };
        Ok(&mut **self.reader.insert(reader))
    }

    /// A life of the bus is over.
    pub(crate) fn end(&mut self, ending: Ending) {
        // A store in memory has nothing to lose.
        let Some(disk) = &self.disk else { return };
        self.life += 1;
        self.calls = 0;
        disk.begin(digest_of(self.life, "end"));
        match ending {
            // SQLite writes when it is closed: it must find a dead disk.
            Ending::Process => disk.kill(),
            Ending::Power => disk.cut(self.cut),
            Ending::Orderly if disk.is_frozen() => disk.kill(),
            Ending::Orderly => {
                // Nobody would hear that the machine died of this; a cut at a time strikes as well.
                disk.disarm();
                (self.reader, self.store) = (None, None);
            }
        }
        (self.reader, self.store) = (None, None);
        if ending == Ending::Orderly
            && let Some(disk) = &self.disk
        {
            disk.kill();
        }
    }
}

impl Drop for RunStore {
    /// Nobody looks at the disk any more: SQLite need not bring its log into the file when it is closed.
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.kill();
        }
    }
}

/// Whether a commit of unknown outcome is in the store that has just recovered. Where the store would look the same
/// either way, it does not matter.
fn is_in(commit: &Commit, recovered: &Recovered, store: &mut dyn Store) -> Result<bool, StoreError> {
    if let Some(last) = commit.events.last() {
        return Ok(last.position <= recovered.position);
    }
    if let Some(first) = commit.completions.first() {
        let asked = (first.service.clone(), first.position);
        let look_up = LookUp { completions: vec![asked.clone()], ..LookUp::default() };
        return Ok(store.look_up(&look_up)?.completions.contains_key(&asked));
    }
    let service = |name| recovered.services.iter().find(|service| service.name == name);
    let services = commit.services.iter().all(|record| service(record.name.clone()) == Some(record));
    let frontiers = commit
        .frontiers
        .iter()
        .all(|(name, frontier)| service(name.clone()).is_some_and(|service| service.frontier >= *frontier));
    let lanes = commit.lanes.iter().all(|change| match change {
        LaneChange::Put(lane) => recovered.lanes.contains(lane),
        LaneChange::Remove { service, key } => {
            !recovered.lanes.iter().any(|lane| lane.service == *service && lane.key == *key)
        }
    });
    Ok(services && frontiers && lanes)
}
