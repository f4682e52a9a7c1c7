//! What is fed with nonsense: each takes any bytes, and must come back, without a panic, with an answer that is consistent in
//! itself. Shared by the driver of this suite and by the targets of cargo-fuzz in `fuzz/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dacapo_backends::{SqliteReader, SqliteStore};
use dacapo_core::{
    Position,
    store::{Query, Reader as _, Store as _},
    wire::{FromBus, ToBus},
};
use dacapo_reporting::filter::Filter;

/// A text message of either direction: what is understood is understood again when it is said again.
pub fn frames(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(frames) = ToBus::decode(text) {
        for frame in frames {
            assert_eq!(ToBus::decode(&frame.encode()).as_deref(), Ok(&[frame][..]), "{text}");
        }
    }
    if let Ok(frames) = FromBus::decode(text) {
        for frame in frames {
            assert_eq!(FromBus::decode(&frame.encode()).as_deref(), Ok(&[frame][..]), "{text}");
        }
    }
}

/// A filter of `dacapo events`: what is understood is understood again as it is shown.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(filter) = Filter::parse(&[text]) {
        let shown = filter.to_string();
        match Filter::parse(&[&shown]) {
            Ok(again) => assert_eq!(again.to_string(), shown, "{text}"),
            Err(error) => panic!("{text:?} is shown as {shown:?}, which is no filter: {error}"),
        }
    }
}

/// A store's file: it is refused, or read; and whatever is read is told in order.
pub fn store(bytes: &[u8], at: &Path) {
    for beside in ["-wal", "-shm", "-spare", "-spare-whole", "-mark"] {
        let mut path = at.as_os_str().to_owned();
        path.push(beside);
        // It may not be there.
        let _ = fs::remove_file(PathBuf::from(path));
    }
    fs::write(at, bytes).expect("can be written");
    if let Ok(mut reader) = SqliteReader::open_read_only(at) {
        let _ = reader.check();
        let _ = reader.verify_chain(None);
        let _ = reader.standing();
    }
    let Ok(mut store) = SqliteStore::open(at) else { return };
    let _ = store.recover();
    let mut cursor = None;
    for _ in 0..8 {
        let Ok(answer) = store.query(&Query { cursor, limit: 4, ..Query::default() }) else { return };
        let positions: Vec<Position> = answer.events.iter().map(|event| event.position).collect();
        assert!(positions.is_sorted(), "{positions:?}");
        cursor = answer.next;
        if cursor.is_none() {
            return;
        }
    }
}
