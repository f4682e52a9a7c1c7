//! `dacapo backup`: a copy of a store that is in use, checked like one that somebody restores.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use dacapo_backends::SqliteReader;
use dacapo_core::store::{BackedUp, Reader as _, StoreError};

use crate::{
    arguments::BackupArguments,
    client::Bus,
    exit::{Exit, Usage},
    terminal::{Terminal, count, strong},
};

/// Makes one.
pub(crate) fn run(terminal: &Terminal, arguments: &BackupArguments) -> anyhow::Result<Exit> {
    let to = &arguments.output;
    let rate = Some(arguments.rate << 20).filter(|rate| *rate > 0);
    let backed_up = match (&arguments.bus, &arguments.db) {
        (Some(url), _) => of_bus(&Bus::of(url, &arguments.client)?, to, rate)?,
        (None, Some(db)) => {
            let mut reader = SqliteReader::open_read_only(db).map_err(usage)?;
            reader.back_up(Some(to), rate).map_err(usage)?
        }
        (None, None) => bail!("clap demands --db or --bus"),
    };
    terminal.object("backed_up", &backed_up);
    terminal.line(format_args!(
        "{} {}: the log up to position {}, {}, {}, {} KiB; checked, and as good as the store was then",
        strong("backup"),
        backed_up.path.display(),
        backed_up.position,
        count(backed_up.completions, "completion", "completions"),
        count(backed_up.keys, "key", "keys"),
        backed_up.bytes >> 10,
    ));
    Ok(Exit::Passed)
}

fn usage(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::NotAStore(sentence) => Usage::error(sentence),
        error => anyhow::Error::new(error),
    }
}

/// Lets the bus make it, takes it over the wire, and checks what came.
fn of_bus(bus: &Bus, to: &Path, rate: Option<u64>) -> anyhow::Result<BackedUp> {
    if to.exists() {
        return Err(taken(to));
    }
    let partial = Partial::of(to);
    let path = rate.map_or_else(|| "/v1/backup".to_owned(), |rate| format!("/v1/backup?rate={rate}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut file = File::create_new(&partial.0).with_context(|| format!("cannot write {}", partial.0.display()))?;
    let told = runtime.block_on(bus.download(&path, "dacapo-backup", &mut file))?;
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    let told: BackedUp = serde_json::from_str(&told).context("what listens there does not tell what it sent")?;
    let mut reader = SqliteReader::open_read_only(&partial.0).map_err(usage)?;
    reader.check().context("what came over the wire is no whole store; try again")?;
    let standing = reader.standing()?;
    let lanes = standing.lanes.len() as u64;
    if (standing.end, standing.keys, lanes, bytes) != (told.position, told.keys, told.lanes, told.bytes) {
        bail!("what came over the wire is not what the bus says that it sent; try again");
    }
    reader.current_term()?;
    drop(reader);
    // A link fails where a renaming would overwrite.
    fs::hard_link(&partial.0, to).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => taken(to),
        _ => anyhow::Error::new(error).context(format!("cannot write {}", to.display())),
    })?;
    Ok(BackedUp { path: to.to_owned(), ..told })
}

fn taken(to: &Path) -> anyhow::Error {
    Usage::error(format!("{} is there already; a backup overwrites nothing: give another name", to.display()))
}

/// A file that is not finished; gone unless it got its name.
struct Partial(PathBuf);

impl Partial {
    fn of(to: &Path) -> Self {
        let mut name = to.as_os_str().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        Self(name.into())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is the backup's second name by now, or nobody wants it.
        let _ = fs::remove_file(&self.0);
    }
}
