//! One file's bytes: what processes see, and how it differs from what would be left without power.
//!
//! The view is what the system shows to every process. Operations since the last sync are kept in order, each with the
//! bytes that it replaced, so that a sync costs nothing (they are forgotten) and a power cut takes them back and does
//! again those that had reached the platter. After a failed sync the system believes pages to be written that are not;
//! these are kept with what the platter holds until somebody writes to them again.

use std::{collections::BTreeMap, ops::Range};

/// What a disk replaces whole.
pub(super) const SECTOR: usize = 512;

/// What the system's cache keeps track of.
const PAGE: usize = 4_096;

/// What a power cut leaves of an operation that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It had reached the platter.
    Written,
    /// It had not.
    Lost,
    /// Each of its sectors has a fate of its own.
    Torn,
}

/// What a power cut leaves of a sector of a torn write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectorLeft {
    /// The new bytes.
    New,
    /// The old bytes.
    Old,
    /// Neither: noise that depends on this number.
    Noise(u64),
}

/// Says what a power cut leaves. Operations of a file are counted from the last sync.
pub(super) trait Fate {
    /// Of an operation; only writes can be torn.
    fn operation(&mut self, index: usize, is_write: bool) -> Left;
    /// Of a sector of a torn write.
    fn sector(&mut self, index: usize, sector: usize) -> SectorLeft;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    /// The file's size became `end`.
    Resize,
}

/// Something that was not synced.
#[derive(Debug, Clone, Copy)]
struct Operation {
    kind: Kind,
    start: usize,
    end: usize,
    size_before: usize,
    /// Where the bytes that it replaced begin in `replaced`; they end where the next one's begin.
    replaced_at: usize,
}

/// One file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    view: Vec<u8>,
    operations: Vec<Operation>,
    replaced: Vec<u8>,
    /// Pages that the system believes to be written and that are not, with what the platter holds.
    stale: BTreeMap<usize, Vec<u8>>,
}

impl Content {
    /// A file that is on the platter as it is seen.
    pub(super) fn durable(view: Vec<u8>) -> Self {
        Self { view, ..Self::default() }
    }

    pub(super) fn view(&self) -> &[u8] {
        &self.view
    }

    pub(super) fn size(&self) -> usize {
        self.view.len()
    }

    /// Reads as far as the file goes; how much that was.
    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let Some(rest) = self.view.get(offset..) else { return 0 };
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        count
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        let size_before = self.view.len();
        let end = offset + data.len();
        let (start, whole_end) = if self.stale.is_empty() { (offset, end) } else { self.refresh(offset..end) };
        let replaced_at = self.replaced.len();
        if start < size_before {
            self.keep(start, whole_end.min(size_before));
        }
        if end <= size_before {
            self.view[offset..end].copy_from_slice(data);
        } else if offset < size_before {
            let (inside, beyond) = data.split_at(size_before - offset);
            self.view[offset..].copy_from_slice(inside);
            self.view.extend_from_slice(beyond);
        } else {
            self.view.resize(offset, 0);
            self.view.extend_from_slice(data);
        }
        self.operations.push(Operation { kind: Kind::Write, start, end: whole_end.max(end), size_before, replaced_at });
    }

    /// Remembers the platter's bytes of a range that is about to change: the view's, except where they are stale.
    fn keep(&mut self, start: usize, end: usize) {
        let at = self.replaced.len();
        self.replaced.extend_from_slice(&self.view[start..end]);
        while let Some((page, bytes)) = self.stale.range(start / PAGE..end.div_ceil(PAGE)).next() {
            let (page, first) = (*page, *page * PAGE);
            let count = bytes.len().min(end.saturating_sub(first));
            self.replaced[at + first - start..at + first - start + count].copy_from_slice(&bytes[..count]);
            self.stale.remove(&page);
        }
    }

    /// A write to a page that is stale makes the system write the whole page: the range grows to where such pages begin
    /// and end. Pages that are not stale are written as far as they change.
    fn refresh(&self, range: Range<usize>) -> (usize, usize) {
        let (first, last) = (range.start / PAGE, range.end.saturating_sub(1) / PAGE);
        let start = if self.stale.contains_key(&first) { first * PAGE } else { range.start };
        let end = if self.stale.contains_key(&last) { (last + 1) * PAGE } else { range.end };
        (start, end.min(self.view.len()).max(range.end))
    }

    pub(super) fn resize(&mut self, size: usize) {
        let size_before = self.view.len();
        if size == size_before {
            return;
        }
        let replaced_at = self.replaced.len();
        if size < size_before {
            // A page that is cut in the middle loses its tail and stays stale.
            self.replaced.extend_from_slice(&self.view[size..]);
            self.stale.retain(|page, _| page * PAGE < size);
            for (page, bytes) in &mut self.stale {
                bytes.truncate(size - page * PAGE);
            }
        }
        self.view.resize(size, 0);
        self.operations.push(Operation { kind: Kind::Resize, start: size, end: size, size_before, replaced_at });
    }

    /// Everything so far is on the platter, except what the system believes to be there already.
    pub(super) fn sync(&mut self) {
        self.operations.clear();
        self.replaced.clear();
    }

    /// The sync failed: some operations reached the platter, the others never will by themselves, and the system has
    /// forgotten which.
    pub(super) fn sync_failed(&mut self, mut reached: impl FnMut(usize) -> bool) {
        let view = self.view.clone();
        let operations = self.take_back();
        let mut given_up = Vec::new();
        for (index, (operation, new)) in operations.iter().enumerate() {
            if operation.kind == Kind::Resize || reached(index) {
                self.redo(operation, new);
            } else {
                // The size is known to the file system, which keeps it; the bytes are lost.
                if self.view.len() < operation.end {
                    self.view.resize(operation.end, 0);
                }
                given_up.push(operation.start / PAGE..operation.end.div_ceil(PAGE));
            }
        }
        let mut platter = std::mem::replace(&mut self.view, view);
        platter.resize(self.view.len(), 0);
        for page in given_up.into_iter().flatten() {
            let range = page * PAGE..((page + 1) * PAGE).min(self.view.len());
            if range.start < range.end && platter[range.clone()] != self.view[range.clone()] {
                self.stale.entry(page).or_insert_with(|| platter[range].to_vec());
            }
        }
    }

    /// The power is gone: what was not synced is kept, lost or torn.
    pub(super) fn cut(&mut self, fate: &mut dyn Fate) {
        let operations = self.take_back();
        for (index, (operation, new)) in operations.iter().enumerate() {
            match fate.operation(index, operation.kind == Kind::Write) {
                Left::Written => self.redo(operation, new),
                Left::Lost => {}
                Left::Torn => self.tear(operation, new, |sector| fate.sector(index, sector)),
            }
        }
        for (page, bytes) in std::mem::take(&mut self.stale) {
            let start = page * PAGE;
            let end = (start + bytes.len()).min(self.view.len());
            if start < end {
                self.view[start..end].copy_from_slice(&bytes[..end - start]);
            }
        }
    }

    /// Takes all operations back; each with the bytes that it had written.
    fn take_back(&mut self) -> Vec<(Operation, Vec<u8>)> {
        let mut taken = Vec::with_capacity(self.operations.len());
        while let Some(operation) = self.operations.pop() {
            let replaced = &self.replaced[operation.replaced_at..];
            let new = match operation.kind {
                Kind::Write => self.view[operation.start..operation.end].to_vec(),
                Kind::Resize => Vec::new(),
            };
            self.view.resize(operation.size_before, 0);
            self.view[operation.start.min(operation.size_before)..][..replaced.len()].copy_from_slice(replaced);
            self.replaced.truncate(operation.replaced_at);
            taken.push((operation, new));
        }
        taken.reverse();
        taken
    }

    fn redo(&mut self, operation: &Operation, new: &[u8]) {
        if self.view.len() < operation.end {
            self.view.resize(operation.end, 0);
        }
        match operation.kind {
            Kind::Write => self.view[operation.start..operation.end].copy_from_slice(new),
            Kind::Resize => self.view.truncate(operation.end),
        }
    }

    /// Sectors are whole: noise takes the bytes beside the write with it.
    fn tear(&mut self, operation: &Operation, new: &[u8], mut left: impl FnMut(usize) -> SectorLeft) {
        for sector in operation.start / SECTOR..operation.end.div_ceil(SECTOR) {
            let whole = sector * SECTOR..(sector + 1) * SECTOR;
            let (start, end) = (whole.start.max(operation.start), whole.end.min(operation.end));
            match left(sector) {
                SectorLeft::Old => {}
                SectorLeft::New => {
                    if self.view.len() < end {
                        self.view.resize(end, 0);
                    }
                    self.view[start..end].copy_from_slice(&new[start - operation.start..end - operation.start]);
                }
                SectorLeft::Noise(seed) => {
                    if self.view.len() < end {
                        self.view.resize(end, 0);
                    }
                    let last = whole.end.min(self.view.len());
                    fill(&mut self.view[whole.start..last], seed);
                }
            }
        }
    }

    /// Changes bits at rest: the view and the platter alike.
    pub(super) fn rot(&mut self, at: usize, mask: u8) {
        if let Some(byte) = self.view.get_mut(at) {
            *byte ^= mask;
        }
    }

    /// Whether anything would be at stake if the power went now.
    #[cfg(test)]
    fn is_synced(&self) -> bool {
        self.operations.is_empty() && self.stale.is_empty()
    }
}

/// Noise: a run of splitmix64.
fn fill(bytes: &mut [u8], mut seed: u64) {
    for chunk in bytes.chunks_mut(8) {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let noise = (mixed ^ (mixed >> 31)).to_le_bytes();
        chunk.copy_from_slice(&noise[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same fate for everything.
    struct All(Left, SectorLeft);

    impl Fate for All {
        fn operation(&mut self, _index: usize, is_write: bool) -> Left {
            if self.0 == Left::Torn && !is_write { Left::Lost } else { self.0 }
        }

        fn sector(&mut self, _index: usize, _sector: usize) -> SectorLeft {
            self.1
        }
    }

    /// The fate of each operation in order.
    struct Each(Vec<Left>);

    impl Fate for Each {
        fn operation(&mut self, index: usize, _is_write: bool) -> Left {
            self.0[index]
        }

        fn sector(&mut self, _index: usize, sector: usize) -> SectorLeft {
            if sector.is_multiple_of(2) { SectorLeft::New } else { SectorLeft::Old }
        }
    }

    fn lost() -> All {
        All(Left::Lost, SectorLeft::Old)
    }

    #[test]
    fn what_was_synced_survives_and_what_was_not_may_be_lost() {
        let mut file = Content::default();
        file.write(0, b"durable");
        file.sync();
        file.write(3, b"ABCDEFG");
        file.write(20, b"beyond");
        assert_eq!(file.size(), 26);
        file.resize(2);
        file.write(1, b"xyz");
        file.cut(&mut lost());
        assert_eq!(file.view(), b"durable");
        assert!(file.is_synced());
    }

    #[test]
    fn a_power_cut_may_keep_everything() {
        let mut file = Content::durable(b"0123456789".to_vec());
        file.write(8, b"abcd");
        file.resize(11);
        file.write(0, b"zz");
        let seen = file.view().to_vec();
        file.cut(&mut All(Left::Written, SectorLeft::New));
        assert_eq!(file.view(), seen);
    }

    #[test]
    fn each_operation_has_a_fate_of_its_own() {
        let mut file = Content::durable(b"aaaaaaaa".to_vec());
        file.write(0, b"bbbb");
        file.write(2, b"cccc");
        file.resize(5);
        file.write(6, b"dd");
        file.cut(&mut Each(vec![Left::Written, Left::Lost, Left::Lost, Left::Written]));
        assert_eq!(file.view(), b"bbbbaadd");
    }

    #[test]
    fn a_torn_write_leaves_old_and_new_sectors_side_by_side() {
        let mut file = Content::durable(vec![1; 4 * SECTOR]);
        file.write(SECTOR / 2, &vec![2; 3 * SECTOR]);
        file.cut(&mut Each(vec![Left::Torn]));
        let of = |at: usize| file.view()[at];
        assert_eq!((of(0), of(SECTOR - 1)), (1, 2), "the first sector is new where it was written");
        assert_eq!(of(SECTOR), 1, "the second is old");
        assert_eq!(of(2 * SECTOR), 2);
        assert_eq!(of(3 * SECTOR), 1);
    }

    #[test]
    fn noise_takes_the_neighbours_within_the_sector_and_no_others() {
        let mut file = Content::durable(vec![1; 3 * SECTOR]);
        file.write(SECTOR + 10, b"x");
        file.cut(&mut All(Left::Torn, SectorLeft::Noise(7)));
        assert!(file.view()[..SECTOR].iter().all(|byte| *byte == 1));
        assert!(file.view()[2 * SECTOR..].iter().all(|byte| *byte == 1));
        let kept = file.view()[SECTOR..2 * SECTOR].iter().map(|byte| usize::from(*byte == 1)).sum::<usize>();
        assert!(kept < SECTOR / 4, "{kept} bytes of the torn sector are as they were");
    }

    #[test]
    fn a_failed_sync_is_not_mended_by_the_next_one() {
        let mut file = Content::durable(vec![1; 2 * PAGE]);
        file.write(0, &[2; 100]);
        file.write(PAGE, &[3; 100]);
        file.sync_failed(|index| index == 1);
        assert_eq!(file.view()[0], 2, "processes see what they wrote");
        file.sync();
        file.cut(&mut lost());
        assert_eq!(file.view()[0], 1, "the system had given it up");
        assert_eq!(file.view()[PAGE], 3);
    }

    #[test]
    fn writing_again_after_a_failed_sync_brings_the_whole_page_down() {
        let mut file = Content::durable(vec![1; 2 * PAGE]);
        file.write(0, &[2; 100]);
        file.sync_failed(|_| false);
        file.write(200, &[4; 1]);
        let mut cut = file.clone();
        cut.cut(&mut lost());
        assert_eq!(cut.view(), vec![1; 2 * PAGE], "not yet");
        file.sync();
        file.cut(&mut lost());
        assert_eq!((file.view()[0], file.view()[200]), (2, 4));
    }

    #[test]
    fn a_failed_sync_of_a_longer_file_leaves_zeros() {
        let mut file = Content::default();
        file.write(0, b"first");
        file.sync();
        file.write(5, &[9; 10]);
        file.sync_failed(|_| false);
        assert_eq!(file.size(), 15);
        file.cut(&mut lost());
        assert_eq!(file.view(), b"first\0\0\0\0\0\0\0\0\0\0");
    }
}
