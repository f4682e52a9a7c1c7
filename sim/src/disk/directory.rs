//! Names of files: what processes see, and what would be left without power.
//!
//! A file that was created and never entered into a synced directory is gone after a power cut, whatever was synced in
//! it; one that was deleted may be back.

use std::collections::BTreeMap;

/// A file, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode(pub(super) u32);

#[derive(Debug, Clone)]
struct Change {
    name: String,
    before: Option<Inode>,
    after: Option<Inode>,
}

/// The names on a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    entries: BTreeMap<String, Inode>,
    changes: Vec<Change>,
}

impl Directory {
    pub(super) fn find(&self, name: &str) -> Option<Inode> {
        self.entries.get(name).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Inode)> {
        self.entries.iter().map(|(name, inode)| (name.as_str(), *inode))
    }

    pub(super) fn create(&mut self, name: &str, inode: Inode) {
        let before = self.entries.insert(name.to_owned(), inode);
        self.changes.push(Change { name: name.to_owned(), before, after: Some(inode) });
    }

    /// Whether there was such a name.
    pub(super) fn delete(&mut self, name: &str) -> bool {
        let Some(before) = self.entries.remove(name) else { return false };
        self.changes.push(Change { name: name.to_owned(), before: Some(before), after: None });
        true
    }

    pub(super) fn sync(&mut self) {
        self.changes.clear();
    }

    /// The power is gone: `kept` says of each change that was not synced, by its number and name, whether it had
    /// reached the platter.
    pub(super) fn cut(&mut self, mut kept: impl FnMut(usize, &str) -> bool) {
        let changes = std::mem::take(&mut self.changes);
        for Change { name, before, .. } in changes.iter().rev() {
            self.set(name, *before);
        }
        for (index, Change { name, after, .. }) in changes.iter().enumerate() {
            if kept(index, name) {
                self.set(name, *after);
            }
        }
    }

    fn set(&mut self, name: &str, inode: Option<Inode>) {
        match inode {
            Some(inode) => drop(self.entries.insert(name.to_owned(), inode)),
            None => drop(self.entries.remove(name)),
        }
    }

    /// Whether a file has a name, or may have one again after a power cut.
    pub(super) fn may_name(&self, inode: Inode) -> bool {
        self.entries.values().any(|known| *known == inode)
            || self.changes.iter().any(|change| change.before == Some(inode) || change.after == Some(inode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_never_synced_may_be_gone_and_a_synced_one_is_not() {
        let mut directory = Directory::default();
        directory.create("a", Inode(1));
        directory.sync();
        directory.create("b", Inode(2));
        assert!(directory.delete("a"));
        assert!(directory.may_name(Inode(1)), "it may be back");
        directory.cut(|_, _| false);
        assert_eq!((directory.find("a"), directory.find("b")), (Some(Inode(1)), None));
    }

    #[test]
    fn each_change_has_a_fate_of_its_own() {
        let mut directory = Directory::default();
        directory.create("a", Inode(1));
        directory.delete("a");
        directory.create("a", Inode(2));
        directory.cut(|index, _| index < 2);
        assert_eq!(directory.find("a"), None, "created and deleted, and not created again");
        assert!(!directory.delete("a"));
    }
}
