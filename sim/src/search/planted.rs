//! Which planted bugs a search finds, and in which scope; of the others, why not.

use dacapo_core::planted::{Bug, Planted};

use super::scope::{Budget, Scope};

/// How a search comes to a planted bug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It shows in this scope.
    Within(Scope),
    /// It cannot, for this reason.
    Beyond(&'static str),
}

/// Where a planted bug shows: in a scope that has what its story needs, and little more.
pub fn reach(bug: Bug) -> Reach {
    let scope = |events, keys, instances, budget| Scope {
        events,
        keys,
        instances,
        budget,
        planted: Planted::bug(bug),
        ..Scope::default()
    };
    let none = Budget::default();
    Reach::Within(match bug {
        Bug::ReceiptBeforeCommit => scope(1, 1, 1, none),
        // What was produced follows in a commit of its own only if its key is known from an earlier one.
        Bug::CompletionApart => scope(2, 1, 1, none),
        Bug::RedeliveryUnordered => scope(2, 1, 1, Budget { nacks: 1, ..none }),
        Bug::NoDeadline | Bug::LastEventLost => scope(1, 1, 2, Budget { timeouts: 1, ..none }),
        Bug::OldEpochAccepted => scope(1, 1, 2, Budget { timeouts: 2, late: 1, ..none }),
        // The window is what a bus remembers of its own life: a crash empties it.
        Bug::IdWindow => scope(1, 1, 1, Budget { crashes: 1, repeats: 1, ..none }),
        Bug::RebuildOverlaps | Bug::RebuildOffByOne => scope(1, 1, 1, Budget { rebuilds: 1, ..none }),
        Bug::ParkedLaneLeaks => scope(2, 1, 1, Budget { nacks: 2, timeouts: 1, ..none }),
        Bug::BackoffBlocksOthers | Bug::CreditLostAfterNack => scope(2, 2, 1, Budget { nacks: 1, ..none }),
        Bug::HeadBeforeCommit => scope(1, 1, 1, Budget { failed_commits: 1, repeats: 1, ..none }),
        Bug::StickyLost => scope(1, 1, 2, Budget { drops: 1, timeouts: 1, ..none }),
        Bug::CursorBeforeCommit => scope(2, 2, 1, none),
        Bug::RetryWithAny => Scope { requests: 2, ..scope(0, 1, 2, none) },
        Bug::OverdraftUnguarded | Bug::DebitTwice => {
            return Reach::Beyond("it is a bug of the bank's accounts, and the search knows no bank");
        }
        _ => return Reach::Beyond("it is no bug of the bus or of an instance, which are all that a search has"),
    })
}
