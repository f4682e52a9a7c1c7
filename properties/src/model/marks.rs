//! Which situations were reached. A suite that never saw a fenced completion has proved nothing about fencing.

use std::{collections::BTreeMap, fmt};

macro_rules! marks {
    ($($(#[$doc:meta])* $mark:ident,)*) => {
        /// A situation that a suite should reach.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark {
            $($(#[$doc])* $mark,)*
        }

        impl Mark {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$mark),*];
        }
    };
}

marks! {
    /// A batch was accepted.
    Accepted,
    /// One commit held the events of several batches.
    GroupCommit,
    /// A batch was in the log already.
    Duplicate,
    /// A batch was sent again while its first sending was under way.
    DuplicateUnderWay,
    /// An expectation or guard failed.
    Inconsistent,
    /// A rule was broken that depends on the log.
    RefusedByLog,
    /// A rule was broken that does not.
    RefusedAlways,
    /// A batch was turned away.
    Throttled,
    /// Publishing went on after that.
    Resumed,
    /// A completion was committed with events.
    CompletedWithEvents,
    /// A completion came after the event had ended.
    CompletedAlready,
    /// An expectation or guard of a completion failed.
    Conflict,
    /// A token no longer counted.
    Fenced,
    /// A completion broke a rule.
    Rejected,
    /// A completion came before that of an earlier delivery of its lane.
    OutOfTurn,
    /// An event was delivered again.
    Redelivered,
    /// An event was delivered again to another instance.
    OwnerMoved,
    /// An event was delivered again after a nack.
    NackRedelivered,
    /// An event was delivered again after its deadline.
    DeadlineMissed,
    /// Two deliveries of a lane were open at once.
    TwoOpenInLane,
    /// An instance came back within its grace and got its open delivery again.
    GraceKept,
    /// A newer connection of the same incarnation took over.
    Superseded,
    /// Another incarnation was refused while one lives.
    InstanceAlive,
    /// An instance with other types was refused.
    TypesDiffer,
    /// A silent connection was closed.
    Silent,
    /// A lane was put on the list of lanes behind.
    LaneBehind,
    /// A lane's events were read from the log by key.
    LaneDrained,
    /// A lane was taken off the list of lanes behind.
    LaneCaughtUp,
    /// A service's events were read from the log.
    ServiceCaughtUp,
    /// A lane was parked.
    Parked,
    /// A parked lane was delivered again.
    Retried,
    /// A parked lane's first event was passed over.
    Skipped,
    /// A system event that could not be handled was passed over.
    PassedOver,
    /// A service's types were changed.
    TypesChanged,
    /// The bus crashed while the commit under way was applied, unanswered.
    CrashApplied,
    /// The bus crashed and the commit under way was lost.
    CrashNotApplied,
    /// The bus crashed with outputs that were not carried out.
    CrashBetweenOutputs,
    /// A bus recovered lanes behind.
    RecoveredBehind,
    /// A commit failed.
    CommitFailed,
    /// A newer term stopped the bus.
    Usurped,
    /// The store could not answer a look-up or read.
    StoreFailed,
    /// A look-up or read was answered as of a position that newer commits had passed.
    AnsweredLate,
    /// A key was read.
    KeyRead,
    /// A read did not fit into a page.
    ReadContinued,
    /// A rebuild ran out of credit before it met the present.
    RebuildPaused,
    /// A rebuild met the present.
    Rebuilt,
    /// Live events followed on a rebuild.
    RebuildCrossed,
}

/// How often each situation was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<Mark, u64>);

impl Marks {
    /// Reached once more.
    pub fn reach(&mut self, mark: Mark) {
        *self.0.entry(mark).or_default() += 1;
    }

    /// How often it was reached.
    pub fn count(&self, mark: Mark) -> u64 {
        self.0.get(&mark).copied().unwrap_or_default()
    }

    /// Those that were never reached.
    pub fn missing(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| self.count(*mark) == 0).collect()
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (mark, count) in &other.0 {
            *self.0.entry(*mark).or_default() += count;
        }
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Mark::ALL.iter().try_for_each(|mark| writeln!(f, "{:>9}  {mark:?}", self.count(*mark)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_reached_is_missing() {
        let mut marks = Marks::default();
        marks.reach(Mark::Parked);
        let mut sum = marks.clone();
        sum.add(&marks);
        assert_eq!(sum.count(Mark::Parked), 2);
        assert!(!sum.missing().contains(&Mark::Parked));
        assert_eq!(sum.missing().len(), Mark::ALL.len() - 1);
    }
}
