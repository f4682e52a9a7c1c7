//! What must hold at every step: the bus's promises 1 to 11 and 14 to 19, one file each.

pub mod backups_hold_the_log;
pub mod bounded;
pub mod cause_precedes_effect;
pub mod completes_once;
pub mod deadlines_are_kept;
pub mod ending_is_orderly;
pub mod expectations_hold;
pub mod full_disk_is_answered;
pub mod lane_order;
pub mod lanes_are_independent;
pub mod no_duplicate_processing;
pub mod one_owner_per_lane;
pub mod publishing_is_idempotent;
pub mod rebuild_equals_live;
pub mod shown_is_durable;
pub mod tokens_are_obeyed;
pub mod versions_are_gap_free;

pub use backups_hold_the_log::BackupsHoldTheLog;
pub use bounded::Bounded;
pub use cause_precedes_effect::CausePrecedesEffect;
pub use completes_once::CompletesOnce;
pub use deadlines_are_kept::DeadlinesAreKept;
pub use ending_is_orderly::EndingIsOrderly;
pub use expectations_hold::ExpectationsHold;
pub use full_disk_is_answered::FullDiskIsAnswered;
pub use lane_order::LaneOrder;
pub use lanes_are_independent::LanesAreIndependent;
pub use no_duplicate_processing::NoDuplicateProcessing;
pub use one_owner_per_lane::OneOwnerPerLane;
pub use publishing_is_idempotent::PublishingIsIdempotent;
pub use rebuild_equals_live::RebuildEqualsLive;
pub use shown_is_durable::ShownIsDurable;
pub use tokens_are_obeyed::TokensAreObeyed;
pub use versions_are_gap_free::VersionsAreGapFree;
