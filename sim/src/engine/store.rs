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
    store::{BackedUp, Commit, LaneChange, LookUp, Reader, Recovered, Store, StoreError},
};

use crate::{
    disk::{
        BACKUP, Cut, Disk, Omissions, Trouble, UNFINISHED,
        expected::{Difference, Expected},
        restored,
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
    /// How often it has reached [`BACKUP_WRITE`](crate::fault::points::BACKUP_WRITE).
    pub(crate) backup_writes: u64,
    /// What the files show that may not be.
    pub(crate) broken: Option<Accusation>,
}

/// What must hold of the store's files, in a sentence, and how it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accusation {
    pub(crate) property: &'static str,
    pub(crate) sentence: &'static str,
    pub(crate) message: String,
}

/// What must hold of the files around a backup; what is in it is judged by a promise of the bus.
pub(crate) fn no_backup(message: String) -> Accusation {
    let sentence = "a backup changes nothing of its store, leaves nothing behind when it fails, and what bears its name \
                    can be restored";
    Accusation { property: "backups_are_whole", sentence, message }
}

/// A store of a former schema is not what it was any more.
fn not_brought_forward(message: String) -> Accusation {
    let sentence = "a store of a former schema is brought forward whole, however often that is cut short";
    Accusation { property: "older_stores_are_kept", sentence, message }
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
    /// What is wrong with the disk, as the faults have it now, and with a backup besides.
    trouble: Trouble,
    now_us: u64,
    backup_trouble: Option<Trouble>,
    backup_dies_at: Option<u64>,
    backing_up: bool,
    broken: Option<Accusation>,
    /// What is in the file of a former schema that the run began with, until a bus has found it so.
    older: Option<Expected>,
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
            if let Some(schema) = plan.settings.older {
                Disk::with_older_store(chance, omissions, schema)
            } else if chance.happens("fresh disk", &0, 125) {
                Disk::new(chance, omissions)
            } else {
                Disk::with_store(chance, omissions)
            }
        });
        let older = plan.older_content().map(|content| {
            let mut expected = Expected::default();
            expected.apply(&content);
            expected
        });
        let began = older.clone();
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
            trouble: Trouble::default(),
            now_us: 0,
            backup_trouble: None,
            backup_dies_at: None,
            backing_up: false,
            broken: None,
            older,
            expected: (plan.expects() == Expects::Detection).then(|| began.unwrap_or_default()),
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
        self.trouble = Trouble { room, ..faults.trouble.clone() };
        self.backup_trouble.clone_from(&faults.backup);
        self.backup_dies_at = faults.backup_dies_at;
        self.now_us = now_us;
        disk.set_trouble(self.trouble.clone(), now_us);
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
            backup_writes: if std::mem::take(&mut self.backing_up) { met.writes } else { 0 },
            broken: self.broken.take(),
        }
    }

    /// Makes a backup beside the store, on a connection of its own and in troubles of its own. What it does to the files
    /// is looked at.
    pub(crate) fn back_up(&mut self) -> Result<BackedUp, StoreError> {
        self.calls += 1;
        self.begin(digest_of(self.life, &("back up", self.calls)));
        let Some(disk) = &self.disk else {
            return Err(StoreError::NotAStore("a store in memory has no backup".to_owned()));
        };
        let own = self.backup_trouble.clone().unwrap_or_default();
        let dies_at = [self.trouble.dies_at_write, self.backup_dies_at].into_iter().flatten().min();
        disk.set_trouble(
            Trouble {
                room: [self.trouble.room, own.room].into_iter().flatten().min(),
                syncs_fail_permille: self.trouble.syncs_fail_permille + own.syncs_fail_permille,
                reads_fail_permille: self.trouble.reads_fail_permille + own.reads_fail_permille,
                dies_at_write: dies_at,
                ..self.trouble.clone()
            },
            self.now_us,
        );
        self.backing_up = true;
        let before = disk.store_files();
        let reader = match &self.store {
            Some(store) => store.reader(),
            None => Err(StoreError::Io("no bus has opened the store".to_owned())),
        };
        // Where the store cannot even be opened, none has begun, and what an earlier one left when it was cut short stays.
        let begun = reader.is_ok();
        let made = reader.and_then(|mut reader| reader.back_up(None, None));
        let broken = if disk.store_files() != before {
            Some("a backup changed the store that it was made of".to_owned())
        } else if disk.is_frozen() {
            self.marks.push(crate::marks::BACKUP_CUT);
            None
        } else {
            let left = UNFINISHED.iter().chain(made.is_err().then_some(&BACKUP));
            let left = left.filter(|_| begun).find(|name| disk.file(name).is_some());
            self.marks.push(if made.is_ok() { crate::marks::BACKUP_MADE } else { crate::marks::BACKUP_FAILED });
            left.map(|name| format!("a backup left {name} behind, and said: {made:?}"))
        };
        self.broken = self.broken.take().or(broken.map(no_backup));
        made
    }

    /// The bytes of a backup that was made, which has no name any more.
    pub(crate) fn take_backup(&mut self) -> Option<Vec<u8>> {
        let disk = self.disk.as_ref()?;
        let content = disk.file(BACKUP);
        disk.remove(BACKUP);
        content
    }

    /// After a power cut: what bears a backup's name is one.
    fn look_at_backup(&mut self) {
        let Some(copy) = self.disk.as_ref().and_then(|disk| disk.file(BACKUP)) else { return };
        self.marks.push(crate::marks::BACKUP_SURVIVED);
        if let Err(error) = restored::restore(&copy) {
            self.broken = Some(no_backup(format!("after a power cut {BACKUP} cannot be restored: {error}")));
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
        let recovered = self.open().and_then(Store::recover);
        if self.older.is_some() && self.disk.as_ref().is_some_and(Disk::is_frozen) {
            self.marks.push(crate::marks::MIGRATION_CUT);
        }
        let recovered = recovered.inspect_err(|error| self.hear(error))?;
        self.look_at_older(&recovered);
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

    /// The first bus that begins with a file of a former schema finds everything that was in it.
    fn look_at_older(&mut self, recovered: &Recovered) {
        if self.disk.as_ref().is_some_and(Disk::is_frozen) {
            return;
        }
        let (Some(older), Some(store)) = (self.older.take(), &mut self.store) else { return };
        match older.check_recovered(recovered).and_then(|()| older.check_all(&mut **store)) {
            Ok(()) => self.marks.push(crate::marks::MIGRATED),
            // A disk that cannot be read now can be read later.
            Err(Difference::Refused(_)) => self.older = Some(older),
            Err(Difference::Shorter(how) | Difference::Wrong(how)) => self.broken = Some(not_brought_forward(how)),
        }
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
            Ending::Power => {
                disk.cut(self.cut);
                self.look_at_backup();
            }
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
