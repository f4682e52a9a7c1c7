//! A digest of all that a bus will ever act upon, for engines that branch: two buses with the same digest answer the
//! same inputs alike.
//!
//! What is only counted is left out, so that more states meet: times are told from now, commits from the last durable
//! one, reads and look-ups by their rank. What a cache would forget first counts only in a cache that is half full:
//! below that, nothing is forgotten.
//!
//! Every struct is taken apart by all of its fields, so that a new one is not forgotten here.

use std::hash::{Hash, Hasher};

use super::{
    Bus, Output,
    gather::{Gather, Outbox},
    judge::{Inbox, Waiting},
    knowledge::Knowledge,
    reads::OpenRead,
    service::{Instance, Lane, LaneReading, Service},
    sessions::Conn,
};
use crate::{digest::StableHasher, limits::Limits, store::Commit, time::Timestamp};

/// What numbers are told from.
struct Base<'a> {
    now: Timestamp,
    /// The last durable commit.
    sequence: u64,
    /// Numbers of open reads, in order.
    reads: Vec<u64>,
    limits: &'a Limits,
}

impl Base<'_> {
    /// How long until then; what is over is over.
    fn until(&self, at: Timestamp) -> u64 {
        at.0.saturating_sub(self.now.0)
    }

    /// How many commits after the durable one.
    fn ahead(&self, sequence: u64) -> u64 {
        sequence.saturating_sub(self.sequence)
    }

    /// Which of the open reads; one that is no longer open was let go of.
    fn rank(&self, read: u64) -> Option<usize> {
        self.reads.binary_search(&read).ok()
    }
}

impl Bus {
    /// A digest of the state, without absolute time. Equal digests mean equal answers to equal inputs, but for the
    /// numbers of sessions and terms, which are part of it.
    pub fn digest(&self) -> u64 {
        let Self {
            config,
            term,
            now,
            stopped,
            draining,
            outbox,
            gather,
            knowledge,
            inbox,
            conns,
            throttled,
            streams,
            services,
            open_keys: _, // Follows from the lanes.
            reads,
            read_number: _,
            session,
            system_events,
            timers,
            dirty,
            apart,
            sizes_told: _, // For people.
        } = self;
        let base = Base {
            now: now.monotonic,
            sequence: knowledge.durable_sequence,
            reads: reads.keys().copied().collect(),
            limits: &config.limits,
        };
        let mut hasher = StableHasher::new(0);
        let to = &mut hasher;
        (term, stopped, draining, session, system_events, throttled, dirty, apart).hash(to);
        outbox_digest(outbox, &base, to);
        gather_digest(gather, &base, to);
        let tight = knowledge_digest(knowledge, &base, to);
        inbox_digest(inbox, tight, &base, to);
        for (id, conn) in conns {
            let Conn { instance, heard, reads } = conn;
            (id, instance, reads, base.now.since(*heard)).hash(to);
        }
        for ((conn, request), stream) in streams {
            (conn, request).hash(to);
            stream.hash_with(|read| base.rank(read), to);
        }
        for service in services.values() {
            service_digest(service, &base, to);
        }
        for OpenRead { purpose, since } in reads.values() {
            purpose.hash(to);
            if tight {
                (base.sequence - since).hash(to);
            }
        }
        for (at, timer) in timers.iter() {
            (base.until(*at), timer).hash(to);
        }
        hasher.finish()
    }
}

fn outbox_digest(outbox: &Outbox, base: &Base<'_>, to: &mut StableHasher) {
    let Outbox { ready, held } = outbox;
    ready.len().hash(to);
    for output in ready {
        output_digest(output, base, to);
    }
    for (barrier, output) in held {
        base.ahead(*barrier).hash(to);
        output_digest(output, base, to);
    }
}

fn output_digest(output: &Output, base: &Base<'_>, to: &mut StableHasher) {
    match output {
        Output::Commit(commit) => commit_digest(commit, base, to),
        Output::LookUp { id: _, look_up } => (1, look_up).hash(to),
        Output::Read { id, read } => (2, base.rank(*id), read).hash(to),
        other => (3, other).hash(to),
    }
}

fn commit_digest(commit: &Commit, base: &Base<'_>, to: &mut StableHasher) {
    let Commit { sequence, term, events, completions, services, frontiers, lanes } = commit;
    (base.ahead(*sequence), term, events, completions, services, frontiers, lanes).hash(to);
}

fn gather_digest(gather: &Gather, base: &Base<'_>, to: &mut StableHasher) {
    let Gather { commit, before, under_way } = gather;
    commit_digest(commit, base, to);
    before.hash(to);
    under_way.is_some().hash(to);
    if let Some((commit, before)) = under_way {
        commit_digest(commit, base, to);
        before.hash(to);
    }
}

/// Says whether a cache may have to forget something soon.
fn knowledge_digest(knowledge: &Knowledge, base: &Base<'_>, to: &mut StableHasher) -> bool {
    let Knowledge { position, durable, durable_sequence: _, heads, heads_by_age, recent, ids, done, done_by_age } =
        knowledge;
    (position, durable, heads.len(), ids.len(), done).hash(to);
    for (key, (head, _)) in heads {
        (key, head).hash(to);
    }
    // A position names its event, which the log has or will have.
    for (id, event) in ids {
        (id, event.position).hash(to);
    }
    let full = |len: usize, max: usize| len * 2 > max;
    let tight = full(heads.len(), base.limits.heads_max)
        || full(ids.len(), base.limits.recent_events_max)
        || full(done.len(), base.limits.recent_events_max);
    if tight {
        for (age, key) in heads_by_age {
            (base.ahead(*age), key).hash(to);
        }
        for (age, id) in recent {
            (base.ahead(*age), id).hash(to);
        }
        for (age, which) in done_by_age {
            (base.ahead(*age), which).hash(to);
        }
    }
    tight
}

fn inbox_digest(inbox: &Inbox, tight: bool, base: &Base<'_>, to: &mut StableHasher) {
    let Inbox { waiting, bytes, wanted, gathering, under_way } = inbox;
    (waiting.len(), bytes, wanted, under_way.is_some()).hash(to);
    for Waiting { conn, message, look_up, since, facts, bytes } in waiting {
        let awaits = look_up.map(|look_up| look_up == *gathering);
        (conn, message, awaits, facts, bytes).hash(to);
        if tight {
            (base.sequence - since).hash(to);
        }
    }
}

fn service_digest(service: &Service, base: &Base<'_>, to: &mut StableHasher) {
    let Service {
        name,
        types,
        head,
        frontier,
        loaded,
        reading,
        outstanding,
        lanes,
        idle,
        pending,
        instances,
        turn,
        unowned,
        epoch,
        system_events_skipped: _,
        sizes_told: _, // For people.
    } = service;
    (name, types, head, frontier, loaded, outstanding, pending, turn, unowned, epoch).hash(to);
    reading.as_ref().map(|(read, arriving)| (base.rank(*read), arriving)).hash(to);
    for (key, lane) in lanes {
        key.hash(to);
        lane_digest(lane, base, to);
    }
    idle.digest(base.limits.idle_lanes_max, to);
    for (name, instance) in instances {
        let Instance { incarnation, conn, session, ready, credit, open, queue, grace } = instance;
        (name, incarnation, conn, session, ready, credit, open, queue, grace.map(|at| base.until(at))).hash(to);
    }
}

fn lane_digest(lane: &Lane, base: &Base<'_>, to: &mut StableHasher) {
    let Lane {
        owner,
        epoch,
        pending,
        open,
        deadline,
        next_version,
        attempts,
        delivered,
        failures,
        disconnects,
        backoff,
        parked,
        listed,
        spilled,
        reading,
        queued,
    } = lane;
    (owner, epoch, next_version, attempts, delivered, failures, disconnects).hash(to);
    (parked, listed, spilled, queued, deadline.map(|at| base.until(at)), backoff.map(|at| base.until(at))).hash(to);
    (pending, open.len()).hash(to);
    for open in open {
        (open.token, open.held_by.map(|sequence| base.ahead(sequence)), open.judging, &open.conflict).hash(to);
    }
    reading.is_some().hash(to);
    if let Some(LaneReading { id, arriving, overflown }) = reading {
        (base.rank(*id), arriving, overflown).hash(to);
    }
}
