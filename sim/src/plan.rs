//! A plan: what customers do and what goes wrong, as data.
//!
//! It is drawn from a seed before the run, saved with every failure, and can be edited, shrunk and carried out without
//! the seed's drawing. What is drawn *during* a run depends on the plan's seed and on identities alone
//! ([`stateless`](crate::draw::stateless)), so that taking an item out re-times no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dacapo_core::{Limits, NodeName, Term, planted::Bug, store::Commit};
use dacapo_properties::{Operation, Scenario};
use serde::{Deserialize, Serialize};

use crate::{
    cast::Cast,
    disk::older,
    draw::Stream,
    fault::{Family, Fault, Harm, Trigger},
    profile::{Profile, Sizes},
    swarm,
};

/// The version of the plan's JSON form.
pub const VERSION: u32 = 1;

/// Which store is under the bus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// The embedded default, in memory.
    #[default]
    Sqlite,
    /// Plain maps.
    Memory,
    /// The embedded default, on a simulated disk.
    Disk,
}

/// What must come of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expects {
    /// Every property holds to the end.
    #[default]
    Survival,
    /// A fault may take away what no store can do without. If it does, somebody must notice: the store refuses, or
    /// `shown_is_durable` is seen broken at a recovery. Liveness is waived. A run in which nothing was lost passes too.
    Detection,
}

/// How many instances of each service are left when all is healed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survivors {
    /// All standing ones.
    #[default]
    All,
    /// One: the others stay away.
    One,
}

/// In so many runs the bus demands tokens.
const GUARDED_PERMILLE: u32 = 125;

/// The same where a stranger comes who means it no good.
const GUARDED_FOR_STRANGER_PERMILLE: u32 = 400;

/// In so many runs on a disk the store's file is of a former schema.
const OLDER_PERMILLE: u32 = 300;

/// Everything about a run that is neither an operation nor a fault. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many customers there are.
    pub customers: u32,
    /// When all faults end.
    pub duration_us: u64,
    /// The grain of the full stack's network: what is sent takes at least this long and arrives at a whole multiple of it.
    pub tick_us: u64,
    /// A link's latency is drawn for each pair of hosts from this range.
    pub latency_us: (u64, u64),
    /// Which store.
    pub store: StoreKind,
    /// How long a commit takes.
    pub commit_us: (u64, u64),
    /// How long a look-up or a read takes.
    pub read_us: (u64, u64),
    /// The bus's limits.
    pub limits: Limits,
    /// Deliveries that an instance asks for at once.
    pub credit: u32,
    /// States that an instance keeps.
    pub states_max: usize,
    /// How long a service lets a request wait for the bus.
    pub request_deadline_us: u64,
    /// An instance's first wait before it connects again.
    pub reconnect_first_us: u64,
    /// An instance's longest wait before it connects again.
    pub reconnect_max_us: u64,
    /// How often an instance's life begins with a rebuild, in thousandths.
    pub rebuild_permille: u32,
    /// How often an instance compares all heads with its states.
    pub reconcile_every_us: u64,
    /// How long a customer waits for one answer.
    pub attempt_deadline_us: u64,
    /// A customer's wait after an attempt of unknown outcome; it doubles with each up to eight times this.
    pub retry_us: u64,
    /// How long a process that ended by itself stays down.
    pub restart_us: (u64, u64),
    /// Who is left when all is healed.
    pub survivors: Survivors,
    /// Whether the bus demands tokens.
    #[serde(default)]
    pub guarded: bool,
    /// The run begins with a file of this former schema, in which something is. Of a store on a disk alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<i32>,
}

impl Settings {
    /// The limits of a simulated bus: short waits, so that minutes of trouble fit into seconds.
    pub fn limits() -> Limits {
        Limits {
            heartbeat_deadline: Duration::from_millis(900),
            grace: Duration::from_millis(300),
            delivery_deadline: Duration::from_millis(1_500),
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_millis(800),
            failures_max: 5,
            disconnects_max: 40,
            ..Limits::default()
        }
    }

    /// Settings that no run needs to be told of: every size at its default, no rebuilds at the start, all instances left
    /// at the end, and times without a spread. What is shrunk goes towards these.
    pub fn plain() -> Self {
        Self {
            latency_us: (1_000, 1_000),
            commit_us: (1_000, 1_000),
            read_us: (500, 500),
            limits: Self::limits(),
            credit: 64,
            states_max: 1_024,
            rebuild_permille: 0,
            survivors: Survivors::All,
            guarded: false,
            older: None,
            ..Self::draw(&mut Stream::new(0, "settings"), &Profile::calm())
        }
    }

    /// Draws settings: sizes that make caches, pages and windows overflow in some runs.
    fn draw(stream: &mut Stream, profile: &Profile) -> Self {
        let mut limits = Self::limits();
        limits.lane_open_max = *stream.pick(&[1, 2, 4, 16]);
        limits.read_page_events = *stream.pick(&[512, 64, 8]);
        limits.heads_max = *stream.pick(&[131_072, 64, 8]);
        limits.recent_events_max = *stream.pick(&[16_384, 64, 8]);
        limits.service_pending_max = *stream.pick(&[16_384, 16, 4]);
        limits.lane_pending_max = *stream.pick(&[1_024, 2, 8]);
        limits.frontier_lag_max = *stream.pick(&[65_536, 8, 32]);
        limits.idle_lanes_max = *stream.pick(&[65_536, 4]);
        limits.commit_events_max = *stream.pick(&[1_024, 8, 2]);
        let latency_low = stream.between(500, 5_000);
        let commit_low = stream.between(500, 4_000);
        let mut settings = Self {
            customers: profile.customers,
            duration_us: profile.duration_us,
            tick_us: profile.tick_us,
            latency_us: (latency_low, latency_low + stream.between(0, 20_000)),
            store: StoreKind::Sqlite,
            commit_us: (commit_low, commit_low + stream.between(0, 20_000)),
            read_us: (500, 500 + stream.between(0, 5_000)),
            limits,
            credit: *stream.pick(&[64, 1, 4]),
            states_max: *stream.pick(&[1_024, 4, 16]),
            request_deadline_us: 1_000_000,
            reconnect_first_us: 50_000,
            reconnect_max_us: 400_000,
            rebuild_permille: *stream.pick(&[0, 300, 1_000]),
            reconcile_every_us: 2_000_000,
            attempt_deadline_us: 1_500_000,
            retry_us: 60_000,
            restart_us: (20_000, 300_000),
            survivors: *stream.pick(&[Survivors::All, Survivors::All, Survivors::One]),
            guarded: false,
            older: None,
        };
        // What came later is drawn last, so that it shifts nothing.
        settings.limits.publishes_waiting_max = *stream.pick(&[8_192, 8_192, 1, 3]);
        settings.limits.disconnects_max = *stream.pick(&[40, 40, 2]);
        settings.limits.send_queue_bytes_max = *stream.pick(&[16 << 20, 64 << 10]);
        // Slow reads are overtaken by commits.
        if stream.chance(250) {
            settings.read_us.1 += stream.between(5_000, 60_000);
        }
        settings.guarded = profile.sizes != Sizes::Roomy && stream.chance(GUARDED_PERMILLE);
        match profile.sizes {
            Sizes::Drawn => settings,
            Sizes::Roomy => settings.roomy(),
            Sizes::Tight => settings.tight(),
        }
    }

    /// The same with room for everything: each size that is drawn is at its default, and what is done every so often is
    /// done less often, since the run is longer.
    fn roomy(self) -> Self {
        let limits = Self::limits();
        Self {
            limits: Limits {
                lane_open_max: self.limits.lane_open_max,
                disconnects_max: self.limits.disconnects_max,
                heartbeat_deadline: limits.heartbeat_deadline * 2,
                ..limits
            },
            credit: 64,
            states_max: 1_024,
            reconcile_every_us: 10_000_000,
            ..self
        }
    }

    /// The same with caches that hold next to nothing of what a day brings, and what is done every so often done as seldom as
    /// in production.
    fn tight(self) -> Self {
        let limits = Limits {
            heartbeat_deadline: Limits::default().heartbeat_deadline,
            heads_max: 64,
            recent_events_max: 64,
            service_pending_max: 64,
            idle_lanes_max: 64,
            ..self.limits
        };
        Self { limits, states_max: 16, reconcile_every_us: 60_000_000, ..self }
    }
}

/// Which former schema the store of a run has, if one.
fn older_schema(seed: u64) -> Option<i32> {
    let mut stream = Stream::new(seed, "older store");
    stream.chance(OLDER_PERMILLE).then(|| stream.between(1, older::NEWEST as u64) as i32)
}

/// What customers do and what goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// What the run's stateless draws depend on; also what the plan was drawn from, if nobody changed it.
    pub seed: u64,
    /// The scenario's name.
    pub scenario: String,
    /// The profile's name.
    pub profile: String,
    /// Everything else about the run.
    pub settings: Settings,
    /// Which families of faults were switched on, and how many faults of each were drawn.
    pub mask: BTreeMap<Family, u32>,
    /// What customers do.
    pub operations: Vec<Operation>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// A planted bug, for the harness's own test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<Bug>,
}

/// Why a plan cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not JSON of a plan.
    #[error("this is no plan: {0}; give a file that `dacapo sim` or `replay` has written")]
    Malformed(String),
    /// Of another version.
    #[error("the plan is of version {0}, this program reads version {VERSION}; use the program that wrote it")]
    Version(u32),
    /// For another scenario.
    #[error("the plan is for the scenario {found:?}, not for {given:?}; name the right scenario")]
    Scenario {
        /// The plan's.
        found: String,
        /// The one at hand.
        given: String,
    },
    /// Two items share an id.
    #[error("the plan has {what} {id} twice; give one of them another id")]
    Twice {
        /// `operation` or `fault`.
        what: &'static str,
        /// The id.
        id: u64,
    },
    /// An operation waits for itself.
    #[error("operation {0} waits for itself through its `after`; take that out")]
    Circle(u64),
    /// An operation asks a service, or is done by a customer, that the run does not have.
    #[error("operation {operation} names {name}, which this run does not have; change it or take the operation out")]
    Stranger {
        /// The operation.
        operation: u64,
        /// The service or customer.
        name: String,
    },
    /// A fault strikes a host that the run does not have.
    #[error("fault {fault} names the host {host}, which this run does not have; change it or take the fault out")]
    Host {
        /// The fault.
        fault: u32,
        /// The host.
        host: NodeName,
    },
    /// A number is out of range.
    #[error("the setting {setting} is {value}, which is out of its range; give {range}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Its value.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// It plants a bug that this program does not carry.
    #[error(
        "the plan plants the bug `{0}`, which this program does not carry; build it with `--features planted-bugs`"
    )]
    BugNotBuilt(Bug),
}

impl Plan {
    /// Draws the plan of a seed. Workload, settings, mask and each family of faults have streams of their own.
    pub fn draw(scenario: &dyn Scenario, seed: u64, profile: &Profile) -> Self {
        let mut settings = Settings::draw(&mut Stream::new(seed, "settings"), profile);
        let operations = scenario.workload(
            &mut Stream::new(seed, "workload"),
            profile.customers,
            profile.operations,
            profile.duration_us / 4 * 3,
        );
        // A stream of its own: no other draw depends on it.
        let on_disk = Stream::new(seed, "store").chance(profile.disk_permille);
        settings.store = if on_disk { StoreKind::Disk } else { StoreKind::Memory };
        let mut mask = swarm::mask(seed, profile);
        mask.retain(|family, _| on_disk || !family.is_of_disk());
        settings.older = on_disk.then(|| older_schema(seed)).flatten();
        mask.retain(|family, _| settings.older.is_some() || *family != Family::MigrationCutShort);
        // A bus that demands tokens is the better place for a stranger.
        settings.guarded |= mask.contains_key(&Family::HostileClient)
            && Stream::new(seed, "guarded for a stranger").chance(GUARDED_FOR_STRANGER_PERMILLE);
        let faults = swarm::faults(seed, &mask, &Cast::of(scenario, profile.customers), &settings);
        Self {
            version: VERSION,
            seed,
            scenario: scenario.name().to_owned(),
            profile: profile.name.clone(),
            settings,
            mask,
            operations,
            faults,
            bug: None,
        }
    }

    /// What must come of it.
    pub fn expects(&self) -> Expects {
        if self.faults.iter().any(|fault| fault.what.is_destructive()) { Expects::Detection } else { Expects::Survival }
    }

    /// Whether a stranger will come.
    pub(crate) fn wants_stranger(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.what, Harm::Hostile {}))
    }

    /// Whether somebody will look after the store.
    pub(crate) fn wants_operator(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.what, Harm::Backup { .. } | Harm::DiskFull { .. }))
    }

    /// What the run begins with.
    pub(crate) fn older_content(&self) -> Option<Arc<Commit>> {
        let begins_older = self.settings.store == StoreKind::Disk && self.settings.older.is_some();
        begins_older.then(|| Arc::new(older::content(Term(1))))
    }

    /// Whether bits of the only copy may change, and a disk that lies is not to blame.
    pub(crate) fn rots(&self) -> bool {
        let any = |is: fn(&Harm) -> bool| self.faults.iter().any(|fault| is(&fault.what));
        any(|harm| matches!(harm, Harm::BitRot { .. })) && !any(|harm| matches!(harm, Harm::FsyncLies { .. }))
    }

    /// The same plan with a planted bug.
    #[must_use]
    pub fn with_bug(mut self, bug: Bug) -> Self {
        self.bug = Some(bug);
        self
    }

    /// The same plan without one fault.
    #[must_use]
    pub fn without_fault(mut self, id: u32) -> Self {
        self.faults.retain(|fault| fault.id != id);
        self
    }

    /// The same plan without one operation. Those that depend on it will be skipped.
    #[must_use]
    pub fn without_operation(mut self, id: u64) -> Self {
        self.operations.retain(|operation| operation.id != id);
        self
    }

    /// The plan as a JSON text for a file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| panic!("plans are plain data: {error}"))
    }

    /// Reads a plan's JSON text.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed = |error: serde_json::Error| PlanError::Malformed(error.to_string());
        let Versioned { version } = serde_json::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(PlanError::Version(version));
        }
        serde_json::from_str(text).map_err(malformed)
    }

    /// Checks that the plan can be carried out with this scenario.
    pub fn check(&self, scenario: &dyn Scenario) -> Result<(), PlanError> {
        if self.scenario != scenario.name() {
            return Err(PlanError::Scenario { found: self.scenario.clone(), given: scenario.name().to_owned() });
        }
        if let Some(bug) = self.bug
            && !dacapo_core::planted::BUILT_IN
        {
            return Err(PlanError::BugNotBuilt(bug));
        }
        self.check_settings()?;
        let cast = Cast::of(scenario, self.settings.customers);
        self.check_operations(&cast)?;
        self.check_faults(&cast)
    }

    fn check_settings(&self) -> Result<(), PlanError> {
        let settings = &self.settings;
        let ranges = [("latency_us", settings.latency_us), ("commit_us", settings.commit_us)];
        for (setting, (low, high)) in ranges.into_iter().chain([("read_us", settings.read_us)]) {
            if low > high {
                return Err(PlanError::Setting {
                    setting,
                    value: low,
                    range: "a lower end that is not above the upper",
                });
            }
        }
        if settings.tick_us < 1_000 || !settings.tick_us.is_multiple_of(1_000) || settings.tick_us > 100_000 {
            let range = "whole milliseconds from 1 to 100";
            return Err(PlanError::Setting { setting: "tick_us", value: settings.tick_us, range });
        }
        if let Some(schema) = settings.older
            && !(1..=older::NEWEST).contains(&schema)
        {
            let value = schema.unsigned_abs().into();
            return Err(PlanError::Setting { setting: "older", value, range: "a former schema, from 1" });
        }
        if settings.customers == 0 || settings.customers > 100 {
            let value = u64::from(settings.customers);
            return Err(PlanError::Setting { setting: "customers", value, range: "1 to 100" });
        }
        Ok(())
    }

    fn check_operations(&self, cast: &Cast) -> Result<(), PlanError> {
        let mut waits: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for operation in &self.operations {
            let stranger = |name: String| PlanError::Stranger { operation: operation.id, name };
            if waits.insert(operation.id, operation.after.iter().copied().collect()).is_some() {
                return Err(PlanError::Twice { what: "operation", id: operation.id });
            }
            if operation.customer >= cast.customers {
                return Err(stranger(format!("customer {}", operation.customer)));
            }
            if !cast.services.iter().any(|(service, _)| *service == operation.service) {
                return Err(stranger(format!("the service {}", operation.service)));
            }
        }
        // Take away whatever waits for nothing that is still there, until nothing changes; what is left is a circle.
        loop {
            let free: Vec<u64> = waits
                .iter()
                .filter(|(_, after)| !after.iter().any(|id| waits.contains_key(id)))
                .map(|(id, _)| *id)
                .collect();
            if free.is_empty() {
                return waits.keys().next().map_or(Ok(()), |id| Err(PlanError::Circle(*id)));
            }
            for id in free {
                waits.remove(&id);
            }
        }
    }

    fn check_faults(&self, cast: &Cast) -> Result<(), PlanError> {
        let mut hosts: BTreeSet<NodeName> = cast.hosts().into_iter().collect();
        let mut ids = BTreeSet::new();
        for fault in &self.faults {
            if !ids.insert(fault.id) {
                return Err(PlanError::Twice { what: "fault", id: u64::from(fault.id) });
            }
            if let Harm::ScaleOut { host, .. } = &fault.what
                && !hosts.insert(host.clone())
            {
                return Err(PlanError::Host { fault: fault.id, host: host.clone() });
            }
        }
        for fault in &self.faults {
            let at_host = match &fault.trigger {
                Trigger::At { .. } => None,
                Trigger::On { host, .. } => Some(host),
            };
            let mut named = fault.what.hosts().into_iter().chain(at_host);
            if let Some(host) = named.find(|host| !hosts.contains(*host)) {
                return Err(PlanError::Host { fault: fault.id, host: host.clone() });
            }
        }
        Ok(())
    }

    /// The extra instances that faults bring, in the order of the plan.
    pub(crate) fn extra_instances(&self) -> Vec<(dacapo_core::ServiceName, NodeName)> {
        let extra = |fault: &Fault| match &fault.what {
            Harm::ScaleOut { service, host } => Some((service.clone(), host.clone())),
            _ => None,
        };
        self.faults.iter().filter_map(extra).collect()
    }
}

/// The hosts that a campaign's plans may name, for those who make plans by hand.
pub fn hosts(scenario: &dyn Scenario, customers: u32) -> Vec<NodeName> {
    Cast::of(scenario, customers).hosts()
}
