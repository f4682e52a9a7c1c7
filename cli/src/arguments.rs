//! The command line: verbs first, few long flags. Help, man page and completions all come from these types.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use dacapo_service::lua::StateAt;
use dacapo_sim::{Engine, Engines};

use crate::{
    bench::BenchArguments,
    bugs::{self, BugsArguments},
    client::ClientArguments,
    exit,
    seed::Seed,
    settings::SettingArguments,
    surgery::arguments::{BlameArguments, ShrinkArguments},
    token::TokenArguments,
    verify::VerifyArguments,
};

/// An event bus for event-sourced services, and the simulator that they are tested in.
#[derive(Debug, Parser)]
#[command(name = "dacapo", version, max_term_width = 100, after_help = exit::HELP, subcommand_required = true)]
#[command(arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Answer in JSON Lines on stdout, each with a version and a kind; nothing else goes there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Explore seeds: run services under faults and judge every promise
    Sim(SimArguments),
    /// Run one seed, or one saved plan, again
    Replay(ReplayArguments),
    /// The smallest plan that still fails the same way
    Shrink(ShrinkArguments),
    /// The step of a failing run at which failure became inevitable
    Blame(BlameArguments),
    /// The local bug base: what failed so far, and whether it still does
    Bugs(BugsArguments),
    /// Try every order of a few events, and of what may go wrong with them
    Search(SearchArguments),
    /// Crash runs of the store: the real SQLite on a simulated disk, its power cut at every moment
    Crash(CrashArguments),
    /// The whole bank in one process: bus, services, customers at work
    Demo(DemoArguments),
    /// The production bus on a SQLite file
    Serve(ServeArguments),
    /// Whether a store is whole, and its log as it was written
    Verify(VerifyArguments),
    /// The tokens of a bus: who may do what
    Token(TokenArguments),
    /// Run a service in Lua against a bus
    Service(ServiceArguments),
    /// Begin something of your own
    New(NewArguments),
    /// Load a bus and check it, with what a sync costs beside the figures
    Bench(BenchArguments),
    /// Look into a store, or ask a running bus
    Events(EventsArguments),
    /// Why a lane stands still, in one paragraph, and what to do about it
    Why(WhyArguments),
    /// A copy of a store that is in use, compacted and checked
    Backup(BackupArguments),
    /// The viewer: what caused what, in a browser, of a store or of recorded runs
    View(ViewArguments),
    /// A run or a selection of events as one file: .html, .svg, .dot or .jsonl
    Export(ExportArguments),
    /// The first record in which two recorded runs differ
    Diff(DiffArguments),
    /// What there is: scenarios, profiles, properties, faults, marks, planted bugs
    List(ListArguments),
    /// Check this machine and this build
    Doctor(DoctorArguments),
    /// Write a completion script for a shell
    Completions(CompletionsArguments),
    /// Write the manual page
    Man,
    /// A worker of `sim`: takes orders on stdin
    #[command(hide = true)]
    Worker,
}

/// What runs a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// The event engine for breadth; every 10th seed (10, 20, …) on turmoil, so that each has about half of the time
    Both,
    /// The same machines in a loop that jumps from event to event: many more seeds in the same time
    Event,
    /// The full stack on a simulated network: server, WebSocket, HTTP
    Turmoil,
}

impl EngineName {
    /// The engines of a campaign.
    pub(crate) const fn engines(self) -> Engines {
        match self {
            Self::Both => Engines::Both,
            Self::Event => Engines::Event,
            Self::Turmoil => Engines::Turmoil,
        }
    }

    /// The one engine that is meant for this seed.
    pub(crate) const fn of(self, seed: u64) -> Engine {
        self.engines().of(seed)
    }
}

/// `sim`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct SimArguments {
    /// What to simulate; `dacapo list` names them
    #[arg(default_value = "bank")]
    pub(crate) scenario: String,
    /// Simulate the services in Lua of this folder instead: every script in it that registers one
    #[arg(long, value_name = "DIR", requires = "workload")]
    pub(crate) services: Option<PathBuf>,
    /// What customers ask of them, and what must hold, in Lua
    #[arg(long, value_name = "FILE.lua", requires = "services")]
    pub(crate) workload: Option<PathBuf>,
    /// How many seeds; 100 if left out, or one if a seed is named. With --until-covered: at most so many
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "time")]
    pub(crate) seeds: Option<u64>,
    /// The seed; with --seeds or --time the first one: decimal, 0x-hexadecimal, or a commit hash (its digits 1–16, 17–32 and 33–40, combined by xor)
    #[arg(long)]
    pub(crate) seed: Option<Seed>,
    /// Explore for so long instead: 90s, 15m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) time: Option<std::time::Duration>,
    /// Explore until every mark in reach was reached and no new shape of state was seen for so many seeds (50)
    #[arg(long, value_name = "SEEDS", num_args = 0..=1, default_missing_value = "50")]
    pub(crate) until_covered: Option<u64>,
    /// Which faults, and how strong; `dacapo list` names the profiles
    #[arg(long, default_value = "swarm")]
    pub(crate) profile: String,
    /// What runs the plans
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) engine: EngineName,
    /// Seeds at once; as many as there are cores if left out
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) jobs: Option<u64>,
    /// Go on after a failure
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Write the results, and the plan, the recorded run and the picture of each failure, into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Run every plan twice and compare
    #[arg(long)]
    pub(crate) verify: bool,
    /// Leave failing plans as they are; else the first one is shrunk before it is told
    #[arg(long)]
    pub(crate) no_shrink: bool,
    /// Shrink every failing plan, not only the first
    #[arg(long, conflicts_with = "no_shrink")]
    pub(crate) shrink_all: bool,
    /// Where failures are kept
    #[arg(long, value_name = "DIR", default_value = bugs::DIRECTORY)]
    pub(crate) bugs: PathBuf,
    /// Plant a bug, to see it found; needs a build with `--features planted-bugs`
    #[arg(long, value_name = "NAME")]
    pub(crate) bug: Option<String>,
}

/// `replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// A seed, a bug of `dacapo bugs list`, or the file of a saved plan
    #[arg(value_name = "SEED|BUG|FILE")]
    pub(crate) what: String,
    /// What to simulate, when a seed is given
    #[arg(long, default_value = "bank")]
    pub(crate) scenario: String,
    /// The profile that the seed was explored with
    #[arg(long, default_value = "swarm")]
    pub(crate) profile: String,
    /// What runs the plan; if left out: of a bug, what found it, else what a campaign with both runs its seed on
    #[arg(long, value_enum)]
    pub(crate) engine: Option<EngineName>,
    /// Show the trace up to this step, and judge no further
    #[arg(long, value_name = "STEP")]
    pub(crate) until: Option<u64>,
    /// Leave this fault of the plan out; may be given again
    #[arg(long, value_name = "N")]
    pub(crate) without_fault: Vec<u32>,
    /// Leave this operation of the plan out; those that wait for it are skipped. May be given again
    #[arg(long, value_name = "N")]
    pub(crate) without_operation: Vec<u64>,
    /// Of a bug, run the plan as it was found; else the smallest that is known
    #[arg(long)]
    pub(crate) as_found: bool,
    /// The bug base
    #[arg(long, value_name = "DIR", default_value = bugs::DIRECTORY)]
    pub(crate) bugs: PathBuf,
    /// Show every record; with a file name, write them there as JSON Lines instead
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) trace: Option<String>,
    /// Run it twice and compare
    #[arg(long)]
    pub(crate) verify: bool,
    /// Record the run and show it in the viewer
    #[arg(long, conflicts_with = "until")]
    pub(crate) view: bool,
    /// Plant a bug, to see it found; needs a build with `--features planted-bugs`
    #[arg(long, value_name = "NAME")]
    pub(crate) bug: Option<String>,
}

/// `search`
#[derive(Debug, Args)]
#[command(after_help = crate::search::HELP)]
pub(crate) struct SearchArguments {
    /// Events that are published
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) events: u8,
    /// Requests to a real service instead: its instances are the machines that are deployed
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["events", "nacks", "late", "retries", "rebuilds"], value_parser = clap::value_parser!(u8).range(0..=4))]
    pub(crate) requests: u8,
    /// Keys that they are about, in turn
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) keys: u8,
    /// Instances of the service that takes them
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(crate) instances: u8,
    /// Deliveries that may be open at each instance
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) credit: u8,
    /// Crashes of the bus, between any two of the things that it does
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) crashes: u8,
    /// Handlers that fail
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) nacks: u8,
    /// Time-outs that come
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) timeouts: u8,
    /// Connections that break, or instances that die
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) drops: u8,
    /// Events that are published again
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) repeats: u8,
    /// Answers to what was answered before, or taken back
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) late: u8,
    /// Commits that the store fails, although they may have happened
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) failed_commits: u8,
    /// Parked lanes that an administrator retries or skips
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u8,
    /// Readers to whom the log is played, and who follow it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) rebuilds: u8,
    /// Give up after so many states; about 100 bytes of memory each
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    pub(crate) states_max: u64,
    /// Plant a bug, to see it found; needs a build with `--features planted-bugs`
    #[arg(long, value_name = "NAME")]
    pub(crate) bug: Option<String>,
}

/// What the simulated disk is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiskName {
    /// What it says that it has synced survives
    Honest,
    /// The same, and its syncs fail now and then; still nothing may be lost
    Failing,
    /// It says so and has not; what is lost must be noticed
    Lying,
    /// It loses bits at rest; they must be refused, never served
    Rot,
}

impl DiskName {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Failing => "failing",
            Self::Lying => "lying",
            Self::Rot => "rot",
        }
    }
}

/// `crash`
#[derive(Debug, Args)]
pub(crate) struct CrashArguments {
    /// How many runs; 10000 if left out, and 1 with --seed
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) runs: Option<u64>,
    /// The first seed: decimal, 0x-hexadecimal, or a commit hash
    #[arg(long)]
    pub(crate) seed: Option<Seed>,
    /// What the disk is like
    #[arg(long, value_enum, default_value = "honest")]
    pub(crate) disk: DiskName,
    /// Threads; as many as there are cores if left out
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) jobs: Option<u64>,
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// The store; a second demo goes on where the first one ended
    #[arg(long, value_name = "FILE", default_value = "demo.db")]
    pub(crate) db: PathBuf,
    /// Where the bank's page listens; another port is taken if this one is
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7777")]
    pub(crate) page: SocketAddr,
    /// Where the viewer listens; another port is taken if this one is
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7878")]
    pub(crate) viewer: SocketAddr,
    /// Where the bus listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7171")]
    pub(crate) listen: SocketAddr,
    /// The first port of the services; each takes the next one. 0: any free ones
    #[arg(long, value_name = "PORT", default_value_t = 7181)]
    pub(crate) service_port: u16,
    /// Customers at work; 0 for none
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) customers: u32,
    /// Let faults happen: instances killed, state destroyed, deliveries held up, connections cut
    #[arg(long)]
    pub(crate) chaos: bool,
    /// The same faults again, in the same order; a new seed if left out
    #[arg(long, value_name = "SEED", requires = "chaos")]
    pub(crate) chaos_seed: Option<Seed>,
    /// End by itself after so long: 90s, 15m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) time: Option<std::time::Duration>,
    /// States that each instance of a service keeps in memory; the others are folded again when they are needed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) states_max: Option<u32>,
    /// How much of the store each of six connections keeps in memory, in KiB; 8192 if left out
    #[arg(long, value_name = "KIB")]
    pub(crate) store_cache_kib: Option<u32>,
    /// One limit of the bus; may be given again. docs/CONFIGURATION.md names them
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) settings: SettingArguments,
}

/// `service`
#[derive(Debug, Args)]
pub(crate) struct ServiceArguments {
    /// The script; docs/LUA.md is its manual. Or one of the bank's services in Rust: bank:users, bank:accounts, bank:transactions
    #[arg(value_name = "FILE.lua")]
    pub(crate) script: PathBuf,
    /// The bus
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:7171")]
    pub(crate) bus: String,
    /// Where the script's routes are served; nowhere if left out
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The instance's name, unique within the service; the service's name with `-1` if left out
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// Where the state is kept: memory, sqlite:FILE, or a `redis://` address; a SQLite file beside the script, named like the instance, if left out
    #[arg(long, value_name = "PLACE")]
    pub(crate) state: Option<StateAt>,
    /// States that are kept in memory; the others are folded again when they are needed. 65536 if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) states_max: Option<u32>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// What `new` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewWhat {
    /// A service in Lua, with a workload and a promise
    Service,
}

/// `new`
#[derive(Debug, Args)]
pub(crate) struct NewArguments {
    /// What
    #[arg(value_enum)]
    pub(crate) what: NewWhat,
    /// Its name, and that of its folder
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `events`
#[derive(Debug, Args)]
#[command(after_help = dacapo_reporting::filter::HELP)]
pub(crate) struct EventsArguments {
    /// Which events; all conditions must hold
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// A store or a recorded run, read directly; the bus need not run
    #[arg(long, value_name = "FILE", conflicts_with = "bus", required_unless_present = "bus")]
    pub(crate) db: Option<PathBuf>,
    /// A running bus, such as `http://127.0.0.1:7171`
    #[arg(long, value_name = "URL")]
    pub(crate) bus: Option<String>,
    /// Draw what caused what
    #[arg(long, conflicts_with = "follow")]
    pub(crate) tree: bool,
    /// Go on with the events that come
    #[arg(long)]
    pub(crate) follow: bool,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// A store, read directly; a bus may be writing to it
    #[arg(long, value_name = "FILE", conflicts_with = "bus", required_unless_present = "bus")]
    pub(crate) db: Option<PathBuf>,
    /// A running bus, such as `http://127.0.0.1:7171`: it makes the backup beside its store, and sends it
    #[arg(long, value_name = "URL")]
    pub(crate) bus: Option<String>,
    /// How to reach it
    #[command(flatten)]
    pub(crate) client: ClientArguments,
    /// Where the backup goes; a file that is there is never overwritten
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// MiB written in a second at most, so that the bus keeps its disk; 0: as fast as it goes
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(0..=1 << 20))]
    pub(crate) rate: u64,
}

/// `why`
#[derive(Debug, Args)]
pub(crate) struct WhyArguments {
    /// The service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: String,
    /// The key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,
    /// A store, read directly; the bus need not run, but then owners and open deliveries are unknown
    #[arg(long, value_name = "FILE", conflicts_with = "bus", required_unless_present = "bus")]
    pub(crate) db: Option<PathBuf>,
    /// A running bus, such as `http://127.0.0.1:7171`
    #[arg(long, value_name = "URL")]
    pub(crate) bus: Option<String>,
    /// How to reach it
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `view`
#[derive(Debug, Args)]
#[command(after_help = crate::view::HELP)]
pub(crate) struct ViewArguments {
    /// A store (the bus need not run), a recorded run, or a directory of runs; if left out, `dacapo.db` or `demo.db`, and the
    /// runs in .dacapo/runs
    #[arg(value_name = "DB|RUN|DIR")]
    pub(crate) what: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7878")]
    pub(crate) listen: SocketAddr,
    /// A name under which browsers may reach it, besides localhost and addresses in digits; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// What payloads mean, as JSON: which events move money; the bank's if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) money: Option<PathBuf>,
}

/// How a picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ThemeName {
    /// Dark on light
    Light,
    /// Light on dark
    Dark,
}

/// `diff`
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The directory of a recorded run, or its name below .dacapo/runs
    #[arg(value_name = "A")]
    pub(crate) one: PathBuf,
    /// The other one
    #[arg(value_name = "B")]
    pub(crate) other: PathBuf,
}

/// `export`
#[derive(Debug, Args)]
#[command(after_help = dacapo_reporting::filter::HELP)]
pub(crate) struct ExportArguments {
    /// The directory of a recorded run, its name below .dacapo/runs, or a store's file
    #[arg(value_name = "RUN|DB")]
    pub(crate) what: PathBuf,
    /// Which events, all conditions must hold; without one, a run is exported whole
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// The file; its end says what it is to be: .html, .svg, .dot or .jsonl
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Of a run, draw the last so many rows before its end or violation alone
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<usize>,
    /// Draw for light or for dark, whatever those who look at it prefer
    #[arg(long, value_enum)]
    pub(crate) theme: Option<ThemeName>,
    /// What payloads mean, as JSON; the bank's if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) money: Option<PathBuf>,
}

/// What `list` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// What can be simulated
    Scenarios,
    /// Which faults, and how strong
    Profiles,
    /// What must hold
    Properties,
    /// What can go wrong
    Faults,
    /// What a campaign should reach
    Marks,
    /// What the harness tests itself with
    Bugs,
}

/// `list`
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only these
    #[arg(value_enum)]
    pub(crate) subject: Option<Subject>,
}

/// `doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// The settings that `serve` shall have
    #[command(flatten)]
    pub(crate) settings: SettingArguments,
}

/// `completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

impl Arguments {
    /// Reads the command line of this process. A negated term of a filter (`-key:acc-7`, `-"rent"`) begins like a flag;
    /// its colon or quotation mark tells it from one, and it is handed on in the filter's other spelling (`!key:acc-7`).
    pub(crate) fn read() -> Self {
        let respelt = |argument: OsString| match argument.to_str().and_then(|text| text.strip_prefix('-')) {
            Some(term) if is_term(term) => OsString::from(format!("!{term}")),
            _ => argument,
        };
        Self::parse_from(std::env::args_os().map(respelt))
    }
}

fn is_term(text: &str) -> bool {
    let field = text.split(':').next().unwrap_or_default();
    text.starts_with('"') || (text.len() > field.len() && field.bytes().all(|byte| byte.is_ascii_lowercase()))
}

pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let help = || format!("{text:?} is no duration; give a number with ms, s, m or h, such as 90s");
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(help)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| help())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(help()),
    };
    number.checked_mul(millis).map(std::time::Duration::from_millis).ok_or_else(help)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_negated_term_is_no_flag_and_a_flag_no_term() {
        for term in ["key:acc-7", "type:Pending*", "\"the rent\""] {
            assert!(is_term(term), "{term}");
        }
        for flag in ["-tree", "n", "-db", "-bus=http://127.0.0.1:7171", "-set", ""] {
            assert!(!is_term(flag), "{flag}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("90s"), Ok(std::time::Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(std::time::Duration::from_secs(900)));
        for text in ["", "90", "s", "1.5h", "-1s", "9999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
