//! The campaign's side of its workers: hands out seeds, gathers results.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use super::{Order, result::SeedResult};
use crate::seed::Seed;

/// How often a campaign looks up from waiting, to see Ctrl-C and its deadline.
pub(crate) const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// Workers, each with at most one seed in flight.
pub(crate) struct Pool {
    workers: Vec<Worker>,
    answers: Receiver<(usize, Option<SeedResult>)>,
    sender: Sender<(usize, Option<SeedResult>)>,
    order: Order,
}

struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    in_flight: Option<Seed>,
}

impl Pool {
    /// Starts so many workers of this very program.
    pub(crate) fn start(order: &Order, jobs: usize) -> anyhow::Result<Self> {
        let (sender, answers) = mpsc::channel();
        let mut pool = Self { workers: Vec::with_capacity(jobs), answers, sender, order: order.clone() };
        for index in 0..jobs {
            let worker = pool.spawn(index)?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    fn spawn(&self, index: usize) -> anyhow::Result<Worker> {
        let program =
            std::env::current_exe().context("cannot find this program's own file, to start workers from it")?;
        let mut child = Command::new(program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a worker process; try fewer with --jobs")?;
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            writeln!(stdin, "{}", serde_json::to_string(&self.order)?)
                .context("a worker ended before its first order")?;
        }
        let stdout = child.stdout.take().context("a worker has no stdout")?;
        let sender = self.sender.clone();
        thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    // A campaign that is over reads no more.
                    Ok(result) => drop(sender.send((index, Some(result)))),
                    Err(_) => break,
                }
            }
            drop(sender.send((index, None)));
        })?;
        Ok(Worker { child, stdin, in_flight: None })
    }

    /// A worker that waits for a seed.
    pub(crate) fn idle(&self) -> Option<usize> {
        self.workers.iter().position(|worker| worker.in_flight.is_none())
    }

    /// Hands out a seed.
    pub(crate) fn give(&mut self, index: usize, seed: Seed) -> anyhow::Result<()> {
        let worker = &mut self.workers[index];
        assert!(worker.in_flight.is_none(), "a worker has one seed at a time");
        worker.in_flight = Some(seed);
        // If it has died, its reader says so, and the seed is accounted for there.
        if let Some(stdin) = &mut worker.stdin {
            let _ = writeln!(stdin, "{}", serde_json::to_string(&seed)?).and_then(|()| stdin.flush());
        }
        Ok(())
    }

    /// Seeds that are being run.
    pub(crate) fn in_flight(&self) -> Vec<Seed> {
        self.workers.iter().filter_map(|worker| worker.in_flight).collect()
    }

    /// The next result, if one comes within [`LOOK_UP_EVERY`]. A worker that dies is replaced; the seed that it had
    /// counts as a failure of the harness.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<SeedResult>> {
        match self.answers.recv_timeout(LOOK_UP_EVERY) {
            Ok((index, Some(result))) => {
                self.workers[index].in_flight = None;
                Ok(Some(result))
            }
            Ok((index, None)) => {
                let status = self.workers[index].child.wait()?;
                let lost = self.workers[index].in_flight.take();
                self.workers[index] = self.spawn(index)?;
                let reason = format!("its worker process ended ({status}); what it said stands above");
                Ok(lost.map(|seed| SeedResult::harness(seed, self.order.engines.of(seed.0), reason)))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the pool holds a sender itself"),
        }
    }
}

impl Drop for Pool {
    /// Ends every worker; a run that nobody waits for may be stopped anywhere.
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.stdin = None;
            if worker.in_flight.is_some() {
                let _ = worker.child.kill();
            }
            let _ = worker.child.wait();
        }
    }
}
