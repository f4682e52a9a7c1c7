//! Locks of files and of shared memory, as processes of one machine hold them.
//!
//! There is one disk for each run and a few handles on it, so whoever asks is compared with all others.

/// How far a file is locked; the numbers are SQLite's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    None = 0,
    Shared = 1,
    Reserved = 2,
    Pending = 3,
    Exclusive = 4,
}

impl Level {
    pub(super) fn of(number: i32) -> Self {
        match number {
            i32::MIN..=0 => Self::None,
            1 => Self::Shared,
            2 => Self::Reserved,
            3 => Self::Pending,
            4.. => Self::Exclusive,
        }
    }
}

/// What one handle holds of a file and of its shared memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) level: Level,
    /// A bit for each slot of the shared memory.
    pub(super) shared: u16,
    pub(super) exclusive: u16,
}

/// How a slot of shared memory is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Shared,
    Exclusive,
    Free,
}

impl Held {
    /// Takes the file up to a level, unless the others' locks forbid it.
    pub(super) fn lock(&mut self, wanted: Level, others: &[Self]) -> bool {
        let most = others.iter().map(|other| other.level).max().unwrap_or_default();
        if wanted <= self.level {
            return true;
        }
        let free = match wanted {
            Level::None => true,
            Level::Shared => most < Level::Pending,
            Level::Reserved | Level::Pending => most < Level::Reserved,
            Level::Exclusive => {
                if most >= Level::Reserved {
                    return false;
                }
                // No new readers from here on.
                self.level = Level::Pending;
                most == Level::None
            }
        };
        if free {
            self.level = wanted;
        }
        free
    }

    /// Takes or frees slots of the shared memory, unless the others' locks forbid it.
    pub(super) fn lock_slots(&mut self, mask: u16, slot: Slot, others: &[Self]) -> bool {
        let exclusive = others.iter().fold(0, |mask, other| mask | other.exclusive);
        let shared = others.iter().fold(0, |mask, other| mask | other.shared);
        match slot {
            Slot::Free => {
                self.shared &= !mask;
                self.exclusive &= !mask;
            }
            Slot::Shared if exclusive & mask != 0 => return false,
            Slot::Shared => self.shared |= mask,
            Slot::Exclusive if (exclusive | shared) & mask != 0 => return false,
            Slot::Exclusive => self.exclusive |= mask,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_waits_for_readers_and_lets_no_new_ones_in() {
        let (mut reader, mut writer, mut late) = (Held::default(), Held::default(), Held::default());
        assert!(reader.lock(Level::Shared, &[]));
        assert!(writer.lock(Level::Shared, &[reader]) && writer.lock(Level::Reserved, &[reader]));
        assert!(!writer.lock(Level::Exclusive, &[reader]));
        assert!(!late.lock(Level::Shared, &[reader, writer]), "one is waiting to write");
        reader.level = Level::None;
        assert!(writer.lock(Level::Exclusive, &[reader]));
    }

    #[test]
    fn slots_are_shared_or_exclusive() {
        let (mut one, mut other) = (Held::default(), Held::default());
        assert!(one.lock_slots(0b110, Slot::Shared, &[other]));
        assert!(other.lock_slots(0b010, Slot::Shared, &[one]));
        assert!(!other.lock_slots(0b100, Slot::Exclusive, &[one]));
        assert!(one.lock_slots(0b110, Slot::Free, &[other]));
        assert!(other.lock_slots(0b100, Slot::Exclusive, &[one]));
        assert!(!one.lock_slots(0b100, Slot::Shared, &[other]));
    }
}
