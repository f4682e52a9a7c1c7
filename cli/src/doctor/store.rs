//! The store: whether it is one, is whole, and may be used by whoever asks, and by nobody else.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use dacapo_backends::SqliteReader;
use rustix::fs::{Access, access};

use super::{Finding, Health, disk::directory};
use crate::settings::Settings;

/// A file of at most so much is read whole; a larger one would keep the terminal waiting.
const CHECK_MIB_MAX: u64 = 256;

/// The bits by which others than owner and group may read or write.
const OTHERS: u32 = 0o006;

pub(super) fn store(settings: &Settings) -> Finding {
    let Some(db) = &settings.db else {
        return Finding::new(
            "store",
            Health::Mind,
            "no store is named; `serve` needs --db, DACAPO_DB, or `db` in the file",
        );
    };
    let shown = db.display();
    let Ok(metadata) = fs::metadata(db) else {
        return Finding::new("store", Health::Good, format!("{shown} is not there yet; `serve` will make it"));
    };
    let mib = metadata.len() >> 20;
    let mut reader = match SqliteReader::open_read_only(db) {
        Ok(reader) => reader,
        Err(error) => return Finding::new("store", Health::Bad, error.to_string()),
    };
    if mib > CHECK_MIB_MAX {
        let sentence = format!(
            "{shown} is a store of {mib} MiB, whose end is whole; `dacapo verify --db {shown}` reads all of it"
        );
        return Finding::new("store", Health::Good, sentence);
    }
    match reader.check() {
        Ok(()) => Finding::new(
            "store",
            Health::Good,
            format!("{shown} is a store of {mib} MiB, and every row of it is whole"),
        ),
        Err(error) => {
            let sentence = format!("{error}; keep the file as it is, and restore a backup");
            Finding::new("store", Health::Bad, sentence)
        }
    }
}

pub(super) fn permissions(settings: &Settings) -> Finding {
    let directory = directory(settings);
    if access(&directory, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let sentence = format!("this user may not make files in {}; the store needs that", directory.display());
        return Finding::new("permissions", Health::Bad, sentence);
    }
    if let Some(db) = settings.db.as_ref().filter(|db| db.exists())
        && access(db, Access::READ_OK | Access::WRITE_OK).is_err()
    {
        let sentence = format!("this user may not read and write {}; change its owner", db.display());
        return Finding::new("permissions", Health::Bad, sentence);
    }
    let secret: Vec<&PathBuf> = settings.db.iter().chain(settings.tls.as_ref().map(|(_, key)| key)).collect();
    let is_open = |path: &&&PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & OTHERS != 0);
    match secret.iter().find(is_open) {
        Some(path) => {
            let shown = path.display();
            let sentence = format!("every user of this machine may read {shown}; `chmod o-rwx {shown}` mends it");
            Finding::new("permissions", Health::Mind, sentence)
        }
        None => Finding::new("permissions", Health::Good, "this user may use the store, and not everybody else"),
    }
}
