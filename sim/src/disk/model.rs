//! The machine that a store runs on: its files, who has them open, and what goes wrong with them.
//!
//! It does what a POSIX system does below SQLite's own layer for it, and claims nothing more: a write is seen by all and
//! durable to nobody until the file is synced; a new file needs its directory synced as well. It is plain data and holds
//! no pointer; SQLite comes in through [`ffi`](super::ffi).

use std::collections::BTreeMap;

use crate::engine::chance::Chance;

use super::{
    content::{Content, Fate, Left, SECTOR, SectorLeft},
    directory::{Directory, Inode},
    locks::{Held, Level, Slot},
    trouble::{Cut, Draws, Met, Trouble},
};

/// Why a call did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The process that opened the file is dead, or the machine has no power.
    Dead,
    /// The medium cannot be read here.
    ReadFailed,
    /// Whether it was written is unknown.
    SyncFailed,
    /// There is no room.
    Full,
    /// There is no such file.
    Missing,
    /// A file has the name already.
    Taken,
    /// Another one holds a lock.
    Busy,
}

/// An open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    slot: usize,
    /// The life of the machine's process that opened it.
    life: u64,
}

#[derive(Debug, Clone)]
struct Open {
    inode: Inode,
    held: Held,
    /// The first sync also syncs the directory.
    syncs_directory: bool,
    is_log: bool,
}

/// What is planted in the store's handling of its files, for the harness's own test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Omissions {
    /// The write-ahead log is never synced.
    pub(crate) log_syncs: bool,
    /// The directory is never synced.
    pub(crate) directory_syncs: bool,
}

/// By how much a file may grow at once. Only a length that has rotted asks for more.
const GROWTH_MAX: u64 = 1 << 28;

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct How {
    pub(super) create: bool,
    /// A rollback journal or a write-ahead log: its first sync also syncs the directory.
    pub(super) is_journal: bool,
    pub(super) is_log: bool,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Model {
    directory: Directory,
    files: BTreeMap<Inode, Content>,
    next_inode: u32,
    open: Vec<Option<Open>>,
    /// Counts the lives of the process; handles of former ones are dead.
    life: u64,
    /// It died in the midst of a call, and nobody has said yet how.
    is_frozen: bool,
    cuts: u64,
    draws: Draws,
    trouble: Trouble,
    met: Met,
    omissions: Omissions,
    /// The run's time, in microseconds.
    pub(super) now_us: u64,
}

impl Model {
    pub(super) fn new(chance: Chance, omissions: Omissions) -> Self {
        Self {
            directory: Directory::default(),
            files: BTreeMap::new(),
            next_inode: 1,
            open: Vec::new(),
            life: 1,
            is_frozen: false,
            cuts: 0,
            draws: Draws { chance, context: 0, count: 0 },
            trouble: Trouble::default(),
            met: Met::default(),
            omissions,
            now_us: 0,
        }
    }

    /// Begins with these files on the platter.
    pub(super) fn load(&mut self, files: &[(String, Vec<u8>)]) {
        for (name, bytes) in files {
            let inode = self.next_inode();
            self.directory.create(name, inode);
            self.files.insert(inode, Content::durable(bytes.clone()));
        }
        self.directory.sync();
    }

    /// The files as processes see them.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.directory.names().map(|(name, inode)| (name.to_owned(), self.files[&inode].view().to_vec())).collect()
    }

    pub(super) fn set_trouble(&mut self, trouble: Trouble, now_us: u64) {
        self.trouble = trouble;
        self.now_us = now_us;
    }

    /// The process is past the calls in whose midst it could have died.
    pub(super) fn disarm(&mut self) {
        self.trouble.dies_at_write = None;
        self.trouble.dies_at_sync = None;
    }

    /// What the next calls are part of.
    pub(super) fn begin(&mut self, context: u64) {
        self.draws.context = context;
        self.draws.count = 0;
    }

    pub(super) fn take_met(&mut self) -> Met {
        std::mem::take(&mut self.met)
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    pub(super) fn size(&self) -> u64 {
        self.directory.names().map(|(_, inode)| self.files[&inode].size() as u64).sum()
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// Whatever happens next to this file must not reach it: its process is about to be dropped.
    pub(super) fn end_life(&mut self) {
        self.life += 1;
        self.is_frozen = false;
        self.open.clear();
        self.forget_nameless();
    }

    /// The power goes, and the process with it.
    pub(super) fn cut(&mut self, cut: Cut) {
        self.cuts += 1;
        let (chance, number) = (self.draws.chance.clone(), self.cuts);
        let lost =
            |index: usize, name: &str| !chance.happens("entry lost", &(number, name, index), cut.entries_lost_permille);
        self.directory.cut(lost);
        for (inode, content) in &mut self.files {
            content.cut(&mut Drawn { chance: &chance, identity: (number, inode.0), cut });
        }
        self.directory.sync();
        self.end_life();
    }

    /// Bits rot at rest in a file, drawn by this identity; where that was.
    pub(super) fn rot(&mut self, identity: u64) -> Option<(String, usize)> {
        let chance = self.draws.chance.clone();
        let total = self.size();
        let mut at = chance.between("rot", &identity, (0, total.checked_sub(1)?));
        let mask = 1 << chance.between("rotten bit", &identity, (0, 7));
        for (name, inode) in self.directory.names() {
            let content = self.files.get_mut(&inode)?;
            let size = content.size() as u64;
            if at < size {
                content.rot(at as usize, mask);
                return Some((name.to_owned(), at as usize));
            }
            at -= size;
        }
        None
    }

    fn next_inode(&mut self) -> Inode {
        self.next_inode += 1;
        Inode(self.next_inode - 1)
    }

    fn forget_nameless(&mut self) {
        let (directory, open) = (&self.directory, &self.open);
        let is_open = |inode| open.iter().flatten().any(|open: &Open| open.inode == inode);
        self.files.retain(|inode, _| directory.may_name(*inode) || is_open(*inode));
    }

    pub(super) fn open(&mut self, name: &str, how: How) -> Result<Handle, Refused> {
        if self.is_frozen {
            return Err(Refused::Dead);
        }
        let inode = match self.directory.find(name) {
            Some(inode) => inode,
            None if how.create => {
                let inode = self.next_inode();
                self.directory.create(name, inode);
                self.files.insert(inode, Content::default());
                inode
            }
            None => return Err(Refused::Missing),
        };
        let syncs_directory = how.create && how.is_journal;
        let open = Open { inode, held: Held::default(), syncs_directory, is_log: how.is_log };
        let slot = if let Some(slot) = self.open.iter().position(Option::is_none) {
            slot
        } else {
            self.open.push(None);
            self.open.len() - 1
        };
        self.open[slot] = Some(open);
        Ok(Handle { slot, life: self.life })
    }

    pub(super) fn close(&mut self, handle: Handle) {
        if handle.life == self.life
            && let Some(open) = self.open.get_mut(handle.slot).and_then(Option::take)
            && !self.directory.may_name(open.inode)
        {
            self.forget_nameless();
        }
    }

    /// The open file, if whoever asks is alive.
    fn alive(&mut self, handle: Handle) -> Result<&mut Open, Refused> {
        if handle.life != self.life || self.is_frozen {
            return Err(Refused::Dead);
        }
        self.open.get_mut(handle.slot).and_then(Option::as_mut).ok_or(Refused::Dead)
    }

    fn content(&mut self, handle: Handle) -> Result<&mut Content, Refused> {
        let inode = self.alive(handle)?.inode;
        self.files.get_mut(&inode).ok_or(Refused::Dead)
    }

    /// How many bytes there were.
    pub(super) fn read(&mut self, handle: Handle, buffer: &mut [u8], offset: usize) -> Result<usize, Refused> {
        if self.trouble.reads_fail_permille > 0 {
            self.draws.count += 1;
            if self.draws.happens("read fails", self.trouble.reads_fail_permille) {
                self.met.failed_reads += 1;
                // What came before the bad place is there.
                let half = buffer.len() / 2;
                self.content(handle)?.read(&mut buffer[..half], offset);
                return Err(Refused::ReadFailed);
            }
        }
        Ok(self.content(handle)?.read(buffer, offset))
    }

    pub(super) fn write(&mut self, handle: Handle, data: &[u8], offset: usize) -> Result<(), Refused> {
        let room = self.trouble.room;
        let content = self.content(handle)?;
        let growth = (offset + data.len()).saturating_sub(content.size()) as u64;
        if let Some(room) = room {
            if growth > room {
                self.met.refused_writes += 1;
                return Err(Refused::Full);
            }
            self.trouble.room = Some(room - growth);
        }
        if growth > GROWTH_MAX {
            return Err(Refused::Full);
        }
        self.content(handle)?.write(offset, data);
        self.met.writes += 1;
        self.met.extra_us += self.trouble.write_us;
        if self.trouble.dies_at_write == Some(self.met.writes) {
            self.is_frozen = true;
            return Err(Refused::Dead);
        }
        Ok(())
    }

    pub(super) fn truncate(&mut self, handle: Handle, size: usize) -> Result<(), Refused> {
        if size.saturating_sub(self.content(handle)?.size()) as u64 > GROWTH_MAX {
            return Err(Refused::Full);
        }
        self.content(handle)?.resize(size);
        Ok(())
    }

    pub(super) fn sync(&mut self, handle: Handle) -> Result<(), Refused> {
        let is_log = self.alive(handle)?.is_log;
        self.met.syncs += 1;
        self.draws.count += 1;
        self.met.extra_us += self.trouble.sync_us;
        if self.trouble.stalls_permille > 0 && self.draws.happens("sync stalls", self.trouble.stalls_permille) {
            self.met.extra_us += self.trouble.stall_us;
        }
        if self.trouble.dies_at_sync == Some(self.met.syncs) {
            self.is_frozen = true;
            return Err(Refused::Dead);
        }
        if self.draws.happens("sync fails", self.trouble.syncs_fail_permille) {
            self.met.failed_syncs += 1;
            let draws = self.draws.clone();
            let identity = (draws.context, draws.count);
            let reached = |index| draws.chance.happens("reached before the sync failed", &(identity, index), 500);
            self.content(handle)?.sync_failed(reached);
            return Err(Refused::SyncFailed);
        }
        if self.draws.happens("sync lies", self.trouble.syncs_lie_permille) {
            self.met.lies += 1;
            return Ok(());
        }
        if !(is_log && self.omissions.log_syncs) {
            self.content(handle)?.sync();
        }
        let omits = self.omissions.directory_syncs;
        if std::mem::take(&mut self.alive(handle)?.syncs_directory) && !omits {
            self.directory.sync();
        }
        Ok(())
    }

    pub(super) fn file_size(&mut self, handle: Handle) -> Result<usize, Refused> {
        Ok(self.content(handle)?.size())
    }

    pub(super) fn delete(&mut self, name: &str, syncs_directory: bool) -> Result<(), Refused> {
        if self.is_frozen {
            return Err(Refused::Dead);
        }
        if !self.directory.delete(name) {
            return Err(Refused::Missing);
        }
        if syncs_directory { self.sync_directory() } else { Ok(()) }
    }

    /// Gives a file another name besides.
    pub(super) fn link(&mut self, name: &str, other: &str) -> Result<(), Refused> {
        if self.is_frozen {
            return Err(Refused::Dead);
        }
        let inode = self.directory.find(name).ok_or(Refused::Missing)?;
        if self.directory.find(other).is_some() {
            return Err(Refused::Taken);
        }
        self.directory.create(other, inode);
        Ok(())
    }

    /// Whether a file has this name, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.directory.find(name).is_some()
    }

    /// A file as processes see it.
    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        self.directory.find(name).map(|inode| self.files[&inode].view())
    }

    pub(super) fn sync_directory(&mut self) -> Result<(), Refused> {
        if self.is_frozen {
            return Err(Refused::Dead);
        }
        if !self.omissions.directory_syncs {
            self.directory.sync();
            self.forget_nameless();
        }
        Ok(())
    }

    /// An empty file counts as none, as SQLite's layer for POSIX has it.
    pub(super) fn exists(&self, name: &str) -> bool {
        self.directory.find(name).is_some_and(|inode| self.files[&inode].size() > 0)
    }

    fn others(&self, handle: Handle, inode: Inode) -> Vec<Held> {
        let others = self.open.iter().enumerate().filter(|(slot, _)| *slot != handle.slot);
        others.filter_map(|(_, open)| open.as_ref()).filter(|open| open.inode == inode).map(|open| open.held).collect()
    }

    pub(super) fn lock(&mut self, handle: Handle, level: Level) -> Result<(), Refused> {
        let inode = self.alive(handle)?.inode;
        let others = self.others(handle, inode);
        if self.alive(handle)?.held.lock(level, &others) { Ok(()) } else { Err(Refused::Busy) }
    }

    pub(super) fn unlock(&mut self, handle: Handle, level: Level) -> Result<(), Refused> {
        let held = &mut self.alive(handle)?.held;
        held.level = held.level.min(level);
        Ok(())
    }

    pub(super) fn is_reserved(&mut self, handle: Handle) -> Result<bool, Refused> {
        let (inode, mine) = {
            let open = self.alive(handle)?;
            (open.inode, open.held.level)
        };
        let most = self.others(handle, inode).iter().map(|other| other.level).max().unwrap_or_default();
        Ok(mine.max(most) >= Level::Reserved)
    }

    pub(super) fn lock_slots(&mut self, handle: Handle, mask: u16, slot: Slot) -> Result<(), Refused> {
        let inode = self.alive(handle)?.inode;
        let others = self.others(handle, inode);
        if self.alive(handle)?.held.lock_slots(mask, slot, &others) { Ok(()) } else { Err(Refused::Busy) }
    }

    /// Somebody waits: time passes for the caller.
    pub(super) fn sleep(&mut self, us: u64) {
        self.met.extra_us += us;
    }

    /// A number for SQLite's use, drawn from the run.
    pub(super) fn noise(&mut self) -> u64 {
        self.draws.count += 1;
        self.draws.chance.number("noise", &(self.draws.context, self.draws.count))
    }
}

/// What a power cut leaves, drawn by the cut's number, the file and the operation.
struct Drawn<'a> {
    chance: &'a Chance,
    identity: (u64, u32),
    cut: Cut,
}

impl Fate for Drawn<'_> {
    fn operation(&mut self, index: usize, is_write: bool) -> Left {
        let drawn = self.chance.between("unsynced", &(self.identity, index), (0, 999)) as u32;
        if drawn < self.cut.written_permille {
            Left::Written
        } else if drawn < self.cut.written_permille + self.cut.torn_permille {
            if is_write { Left::Torn } else { Left::Written }
        } else {
            Left::Lost
        }
    }

    fn sector(&mut self, index: usize, sector: usize) -> SectorLeft {
        let number = self.chance.number("torn sector", &(self.identity, index, sector));
        match number % 3 {
            0 => SectorLeft::New,
            1 => SectorLeft::Old,
            _ => SectorLeft::Noise(number),
        }
    }
}

/// The size of a sector that SQLite is told.
pub(super) const fn sector_size() -> i32 {
    SECTOR as i32
}
