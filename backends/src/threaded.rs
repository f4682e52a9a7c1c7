//! Production's [`StorePort`]: blocking stores on threads of their own.
//!
//! One thread writes, for a store has one writer anyway. What the bus asks, what strangers ask and backups are read by
//! different threads, so that a flood of expensive queries never delays a look-up that a publish waits for.
//! The threads end when the port is dropped, which waits for what is under way. A thread that panics takes its callers
//! with it: a store that broke its own rules must not be asked again.

use std::{
    fmt,
    fs::{self, File},
    future::ready,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{Builder, JoinHandle},
};

use axum::body::Bytes;
use dacapo_core::{
    names::{Position, Term},
    store::{
        Answer, BackedUp, Commit, Completion, Found, Glance, LookUp, Page, Query, Read, Reader, Recovered, Store,
        StoreError,
    },
};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::oneshot;

use crate::port::{Pending, Pieces, Size, StorePort};

/// What is read at once of a backup that is sent.
const PIECE_BYTES: usize = 256 << 10;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A blocking store behind threads.
pub struct ThreadedStore {
    writer: Queue<dyn Store>,
    inside: Queue<dyn Reader>,
    outside: Queue<dyn Reader>,
    /// For what may take minutes.
    keeper: Queue<dyn Reader>,
    threads: Vec<JoinHandle<()>>,
    /// Where the store is, if that was told.
    path: Option<PathBuf>,
    /// What can be told without asking a thread.
    glance: Option<Arc<dyn Glance>>,
    /// The port is being dropped.
    ending: Arc<AtomicBool>,
}

/// A queue of jobs; `None` once the port is being dropped.
struct Queue<T: ?Sized>(Option<mpsc::Sender<Job<T>>>);

impl ThreadedStore {
    /// Starts the threads: one that writes, `readers` for the bus, and as many for questions from outside.
    pub fn start(store: impl Store + 'static, readers: usize) -> Result<Self, StoreError> {
        assert!(readers > 0, "a store that nobody can read serves no bus");
        let mut threads = Vec::with_capacity(2 + 2 * readers);
        let (inside, jobs) = queue();
        read_with(&store, "inside", jobs, readers, &mut threads)?;
        let (outside, jobs) = queue();
        read_with(&store, "outside", jobs, readers, &mut threads)?;
        let (keeper, jobs) = queue();
        read_with(&store, "keeper", jobs, 1, &mut threads)?;
        let glance = store.glance();
        let (writer, jobs) = queue::<dyn Store>();
        let mut store: Box<dyn Store> = Box::new(store);
        threads.push(spawn("dacapo-store-writer".to_owned(), move || {
            while let Ok(job) = jobs.recv() {
                job(&mut *store);
            }
        })?);
        Ok(Self { writer, inside, outside, keeper, threads, path: None, glance, ending: Arc::default() })
    }
}

impl ThreadedStore {
    /// Tells where the store is, so that its size can be told.
    #[must_use]
    pub fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }
}

fn queue<T: ?Sized>() -> (Queue<T>, mpsc::Receiver<Job<T>>) {
    let (sender, receiver) = mpsc::channel();
    (Queue(Some(sender)), receiver)
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|error| StoreError::Io(format!("a thread of the store cannot be started: {error}")))
}

fn read_with(
    store: &impl Store,
    whose: &str,
    jobs: mpsc::Receiver<Job<dyn Reader>>,
    readers: usize,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<(), StoreError> {
    let jobs = Arc::new(Mutex::new(jobs));
    for number in 0..readers {
        let mut reader = store.reader()?;
        let jobs = Arc::clone(&jobs);
        threads.push(spawn(format!("dacapo-store-{whose}-{number}"), move || {
            loop {
                // The lock is held while this thread waits and given back before it works: the others queue for it.
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                match job {
                    Ok(job) => job(&mut *reader),
                    Err(mpsc::RecvError) => return,
                }
            }
        })?);
    }
    Ok(())
}

impl<T: ?Sized + 'static> Queue<T> {
    fn ask<A: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> Result<A, StoreError> + Send + 'static,
    ) -> Pending<A> {
        let (answer, pending) = oneshot::channel();
        let job: Job<T> = Box::new(move |store| {
            // Nobody waits any more: the deed is done all the same.
            let _ = answer.send(work(store));
        });
        let queued = self.0.as_ref().is_some_and(|sender| sender.send(job).is_ok());
        Box::pin(async move {
            match pending.await {
                Ok(answer) if queued => answer,
                _ => panic!("a thread of the store has panicked; what the store holds is what it last made durable"),
            }
        })
    }
}

impl StorePort for ThreadedStore {
    fn recover(&self) -> Pending<Recovered> {
        let keeper = self.keeper.0.clone();
        let ending = Arc::clone(&self.ending);
        self.writer.ask(move |store| {
            let recovered = store.recover()?;
            let warm_up: Job<dyn Reader> = Box::new(move |reader| {
                if let Err(error) = reader.warm_up(&|| !ending.load(Ordering::Relaxed)) {
                    tracing::warn!(%error, "the store could not be read ahead; answers take a little longer");
                }
            });
            // Nobody is there to do it if the port is being dropped.
            let _ = keeper.map(|keeper| keeper.send(warm_up));
            Ok(recovered)
        })
    }

    fn commit(&self, commit: Arc<Commit>) -> Pending<()> {
        self.writer.ask(move |store| store.commit(&commit))
    }

    fn look_up(&self, look_up: Arc<LookUp>) -> Pending<Found> {
        if let Some(found) = self.glance.as_ref().and_then(|glance| glance.look_up(&look_up)) {
            return Box::pin(ready(Ok(found)));
        }
        self.inside.ask(move |reader| reader.look_up(&look_up))
    }

    fn read(&self, read: Arc<Read>) -> Pending<Page> {
        self.inside.ask(move |reader| reader.read(&read))
    }

    fn query(&self, query: Query) -> Pending<Answer> {
        self.outside.ask(move |reader| reader.query(&query))
    }

    fn completions(&self, positions: Vec<Position>) -> Pending<Vec<Completion>> {
        self.outside.ask(move |reader| reader.completions(&positions))
    }

    fn current_term(&self) -> Pending<Term> {
        self.inside.ask(Reader::current_term)
    }

    fn size(&self) -> Option<Size> {
        let path = self.path.as_deref()?;
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        // The length alone: a file that is opened here and closed again would take SQLite's locks with it.
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        Some(Size { store_bytes: bytes(path), wal_bytes: bytes(Path::new(&wal)) })
    }

    fn back_up(&self, bytes_per_second: Option<u64>) -> Pending<BackedUp> {
        self.keeper.ask(move |reader| reader.back_up(None, bytes_per_second))
    }

    fn take_backup(&self, backed_up: &BackedUp) -> io::Result<Pieces> {
        let opened = File::open(&backed_up.path);
        fs::remove_file(&backed_up.path)?;
        Ok(stream::unfold(Some(opened?), |file| async { next_piece(file?).await }).boxed())
    }
}

/// Reads on, on a thread that may wait for a disk.
async fn next_piece(mut file: File) -> Option<(io::Result<Bytes>, Option<File>)> {
    #[expect(clippy::disallowed_methods, reason = "a store in a simulation is none of threads, and of no such file")]
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).map(|_| (piece, file))
    });
    match read.await {
        Ok(Ok((piece, _))) if piece.is_empty() => None,
        Ok(Ok((piece, file))) => Some((Ok(Bytes::from(piece)), Some(file))),
        Ok(Err(error)) => Some((Err(error), None)),
        // The runtime ends.
        Err(_) => None,
    }
}

impl Drop for ThreadedStore {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // The queues end first, or the threads would wait for ever; a file is closed when the port is gone.
        (self.writer.0, self.inside.0, self.outside.0, self.keeper.0) = (None, None, None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl fmt::Debug for ThreadedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadedStore").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use dacapo_core::store::ServiceRecord;

    use super::*;
    use crate::{MemoryStore, SqliteStore};

    fn commit(term: Term, sequence: u64) -> Arc<Commit> {
        let name = dacapo_core::ServiceName::of(format!("service-{sequence}"));
        let services = vec![ServiceRecord { name, types: Vec::new(), frontier: Position::ZERO }];
        Arc::new(Commit { sequence, term, services, ..Commit::default() })
    }

    #[tokio::test]
    async fn commits_take_effect_in_the_order_of_the_calls_though_nobody_waits() {
        let store = ThreadedStore::start(MemoryStore::new(), 2).expect("starts");
        let term = store.recover().await.expect("recovers").term;
        drop(store.commit(commit(term, 1)));
        drop(store.commit(commit(term, 2)));
        store.commit(commit(term, 3)).await.expect("commits");
        let recovered = store.recover().await.expect("recovers");
        assert_eq!(recovered.services.len(), 3);
        assert_eq!(store.current_term().await, Ok(recovered.term), "the readers see it");
        let fenced = store.commit(commit(term, 4)).await;
        assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "{fenced:?}");
    }

    #[tokio::test]
    async fn dropping_the_port_finishes_what_is_queued_and_closes_the_file() {
        let path = std::env::temp_dir().join(format!("dacapo-threaded-{}.db", std::process::id()));
        let remove = || {
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
            }
        };
        remove();
        let store = ThreadedStore::start(SqliteStore::open(&path).expect("opens"), 2).expect("starts");
        let term = store.recover().await.expect("recovers").term;
        for sequence in 1..=20 {
            drop(store.commit(commit(term, sequence)));
        }
        drop(store);
        let mut store = SqliteStore::open(&path).expect("opens again");
        assert_eq!(store.recover().expect("recovers").services.len(), 20);
        drop(store);
        remove();
    }
}
