//! The interesting situations that a campaign should meet, each with the risk if it never does.
//!
//! A promise that was never put to the test has not been kept, only not been broken. The observers count these.

/// A situation, and what nobody knows as long as it never happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Its name, as in [`Property::sometimes`](crate::Property::sometimes).
    pub name: &'static str,
    /// What could be broken without anyone noticing.
    pub risk: &'static str,
}

macro_rules! situations {
    ($($constant:ident = $name:literal: $risk:literal;)*) => {
        $(
            #[doc = $risk]
            pub(crate) const $constant: &str = $name;
        )*

        /// All of them.
        pub const SITUATIONS: &[Situation] = &[$(Situation { name: $name, risk: $risk }),*];
    };
}

situations! {
    DUPLICATE_RECEIPT = "duplicate receipt": "a publish that is sent again might enter the log twice";
    INCONSISTENT_RECEIPT = "inconsistent receipt": "expectations might not be looked at";
    CONFLICT = "conflict": "a completion on stale ground might be accepted";
    EXPLICIT_EXPECTATION = "explicit expectation": "nobody demanded anything of a head, so nothing was protected";
    GUARD = "guard": "what a handler only read might change under it";
    FENCED_COMPLETION = "fenced completion": "a late owner might still write";
    REDELIVERY = "redelivery": "an event whose owner is gone might be lost";
    OWNER_MOVED = "owner moved": "two instances might own a lane";
    LANE_PARKED = "lane parked": "a poison event might be delivered for ever";
    LANE_RETRIED = "lane retried": "a parked lane might never come back";
    EVENT_SKIPPED = "event skipped": "a skipped event might be delivered again, or hold its lane";
    COMPLETED_ALREADY = "completed already": "a completion whose answer was lost might take effect twice";
    BUS_RECOVERED = "bus recovered": "what was shown might not survive the bus";
    RECOVERED_WITH_LANES_BEHIND = "recovered with lanes behind": "a lane behind might be forgotten by a restart";
    HYDRATED = "hydrated": "a state brought up from the log might differ from one that was delivered";
    REBUILT = "rebuilt": "a state played again might differ from the live one";
    REBUILD_ENDED = "rebuild ended": "the seam between a rebuild and the present was not crossed";
    STATE_FORGOTTEN = "state forgotten": "an instance that lost its state might not notice";
    DIGEST_COMPARED = "digest compared": "no state was reached in two ways, so none could differ";
    THROTTLED = "throttled": "a full bus might drop instead of pushing back";
    CREDIT_EXHAUSTED = "credit exhausted": "a slow instance might be flooded";
    HEALED_WITH_BACKLOG = "healed with a backlog": "the bus had nothing left to catch up with when the faults ended";
    OUTCOME_UNKNOWN = "outcome unknown": "no customer had to ask again";
    BACKUP_RESTORED = "backup restored": "a backup that nobody restores proves nothing";
    RESTORED_BEHIND_THE_LOG = "backup restored behind the log": "nobody committed after a backup, so it was never of another moment than the log";
    THROTTLED_BY_A_FULL_DISK = "throttled by a full disk": "whoever publishes to a full disk might wait for ever, or be told that it was done";
    RECOVERED_FROM_A_FULL_DISK = "recovered from a full disk": "a bus that once found no room might never begin again";
    ANSWERED_BEFORE_THE_END = "answered before the end": "a bus that is asked to end might let nobody finish";
    REFUSED_FOR_ITS_TOKEN = "refused for its token": "a token that is missing, wrong or revoked might count";
    REFUSED_BY_RIGHTS = "refused by rights": "a token might allow what it does not say";
    DELIVERED_BESIDE_A_FAILED_LANE = "delivered beside a failed lane": "a failing lane might hold up all the others";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dacapo_core::Limits;

    use super::SITUATIONS;
    use crate::observer::bus_properties;

    #[test]
    fn every_situation_is_counted_by_exactly_one_property() {
        let properties = bus_properties(&Limits::default());
        let counted: Vec<&str> =
            properties.iter().flat_map(|property| property.sometimes()).map(|(name, _)| name).collect();
        let named: BTreeSet<&str> = SITUATIONS.iter().map(|situation| situation.name).collect();
        assert_eq!(counted.iter().copied().collect::<BTreeSet<_>>(), named);
        assert_eq!(counted.len(), named.len(), "none is counted twice");
    }
}
