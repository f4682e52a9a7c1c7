//! Which events met a conflict: what they depended on had changed in the meantime.
//!
//! A completion that meets one is answered with the true heads, and the event is handled again under the same token; a publication
//! that meets one is told `inconsistent`, and whoever decided it decides again. Neither leaves anything in the log: what
//! entered it in the end looks as if it had done so at once. So only a trace can tell.

use std::collections::BTreeMap;

use dacapo_core::{
    EventId, Position, Receipt,
    trace::{Frame, Record, What},
    wire::{FromBus, ToBus},
};

/// How often each event met a conflict: completions of it, and publications of it before the one that was accepted.
pub fn conflicts(records: &[Record]) -> BTreeMap<Position, u64> {
    let mut found: BTreeMap<Position, u64> = BTreeMap::new();
    let mut asked: BTreeMap<(u64, u64), Vec<&EventId>> = BTreeMap::new();
    let mut in_vain: BTreeMap<&EventId, u64> = BTreeMap::new();
    for record in records {
        match &record.what {
            What::FrameReceived { connection, frame: Frame::ToBus(frame) } => {
                if let ToBus::Publish(publish) = &**frame {
                    let ids = publish.events.iter().map(|event| &event.id).collect();
                    asked.insert((*connection, publish.request), ids);
                }
            }
            What::FrameSent { connection, frame: Frame::FromBus(frame) } => match &**frame {
                FromBus::Conflict(conflict) => *found.entry(conflict.position).or_default() += 1,
                FromBus::Receipts(receipts) => {
                    let ids = asked.remove(&(*connection, receipts.request)).unwrap_or_default();
                    // A batch enters whole or not at all: the conflict is all of its events'.
                    if receipts.receipts.iter().any(|receipt| matches!(receipt, Receipt::Inconsistent { .. })) {
                        for id in ids {
                            *in_vain.entry(id).or_default() += 1;
                        }
                    }
                }
                _ => {}
            },
            What::CommitDurable { commit } => {
                for event in &commit.events {
                    if let Some(times) = in_vain.remove(&event.id) {
                        *found.entry(event.position).or_default() += times;
                    }
                }
            }
            _ => {}
        }
    }
    found
}
