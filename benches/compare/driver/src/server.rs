//! A server in a directory of its own on loopback, which ends, with all its processes and files, with its value.

use std::{
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::contract::{Client, Peer, Place};

/// The slowest takes some ten seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server<'a> {
    peer: &'a dyn Peer,
    place: Place,
    processes: Vec<Child>,
}

impl<'a> Server<'a> {
    /// Starts one on nothing and prepares it.
    pub(crate) fn start(peer: &'a dyn Peer) -> Result<Self> {
        let directory =
            std::env::temp_dir().join(format!("compare-{}-{}", peer.name().to_lowercase(), std::process::id()));
        // What a run that was killed under the same process number has left.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let place = Place { directory, ports: [free_port()?, free_port()?, free_port()?] };
        let mut server = Self { peer, place, processes: Vec::new() };
        peer.initialise(&server.place)?;
        server.run()?;
        server.client()?.prepare()?;
        Ok(server)
    }

    /// A client, as soon as the server is ready for one.
    pub(crate) fn client(&self) -> Result<Box<dyn Client>> {
        let since = Instant::now();
        loop {
            match self.peer.client(self.port()) {
                Ok(client) => return Ok(client),
                Err(error) if since.elapsed() > PATIENCE => {
                    return Err(error.context(format!("{} did not get ready:\n{}", self.peer.name(), self.log())));
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    pub(crate) fn peer(&self) -> &'a dyn Peer {
        self.peer
    }

    pub(crate) fn port(&self) -> u16 {
        self.place.port()
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.place.directory
    }

    /// SIGKILL for all its processes, then a start on what is left.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.kill();
        self.run()
    }

    /// SIGKILL for all its processes.
    pub(crate) fn kill(&mut self) {
        for process in self.processes.iter().rev() {
            let mut doomed = vec![process.id()];
            descendants(process.id(), &mut doomed);
            for pid in doomed {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    // One that has ended by itself is what is wanted.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
        for mut process in self.processes.drain(..) {
            let _ = process.wait();
        }
    }

    fn run(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        for mut command in self.peer.commands(&self.place)? {
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).process_group(0);
            let process = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
            self.processes.push(process);
        }
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.place.directory.join("log")
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.kill();
        // A process of it that is about to end may still write.
        for _ in 0..20 {
            if fs::remove_dir_all(&self.place.directory).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Runs a command to its end; its output is an error's text, and the answer.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        bail!("{command:?} failed: {text} {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The processes that came of one, which sessions and groups of their own do not hide.
fn descendants(parent: u32, found: &mut Vec<u32>) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for pid in processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // After the name, which may hold anything but is the last in parentheses: the state and the parent.
        let of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        if of == Some(parent) {
            found.push(pid);
            descendants(pid, found);
        }
    }
}
