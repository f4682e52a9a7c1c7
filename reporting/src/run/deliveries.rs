//! What became of the deliveries of an event: a store knows how it ended, a trace also what was tried before.

use std::collections::BTreeMap;

use dacapo_core::{
    NodeName, Position, Timestamp,
    trace::{Frame, Record, What},
    wire::{FromBus, ToBus, Token},
};

use super::{Fate, messages};

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The step at which it was sent.
    pub step: u64,
    /// When.
    pub at: Timestamp,
    /// To whom; none if nobody can tell.
    pub to: Option<NodeName>,
    /// Its token.
    pub token: Token,
    /// Whether it arrived.
    pub arrived: bool,
    /// What came of it, each with its step: `complete`, `nack`, `conflict`, `fenced`, `completed`.
    pub answers: Vec<(u64, String)>,
}

/// The deliveries of an event, in order.
pub fn deliveries(records: &[Record], position: Position) -> Vec<Delivery> {
    let mut found: Vec<Delivery> = Vec::new();
    for record in records {
        let What::FrameSent { frame, .. } = &record.what else { continue };
        match frame {
            Frame::FromBus(frame) => match &**frame {
                FromBus::Deliver(deliver) if deliver.event.position == position => found.push(Delivery {
                    step: record.step,
                    at: record.at,
                    to: None,
                    token: deliver.token,
                    arrived: false,
                    answers: Vec::new(),
                }),
                FromBus::Conflict(conflict) if conflict.position == position => {
                    answer(&mut found, conflict.token, record.step, "conflict".to_owned());
                }
                FromBus::Fenced(fenced) if fenced.position == position => {
                    answer(&mut found, fenced.token, record.step, format!("fenced: {}", fenced.reason));
                }
                _ => {}
            },
            Frame::ToBus(frame) => match &**frame {
                ToBus::Complete(complete) if complete.position == position => {
                    answer(&mut found, complete.token, record.step, "complete".to_owned());
                }
                ToBus::Nack(nack) if nack.position == position => {
                    answer(&mut found, nack.token, record.step, format!("nack: {}", nack.reason));
                }
                _ => {}
            },
        }
    }
    let sent: BTreeMap<u64, (Option<NodeName>, Fate)> =
        messages(records).into_iter().map(|message| (message.sent, (message.to, message.fate))).collect();
    for delivery in &mut found {
        if let Some((to, fate)) = sent.get(&delivery.step) {
            delivery.to.clone_from(to);
            delivery.arrived = matches!(fate, Fate::Received { .. });
        }
    }
    found
}

/// Notes an answer at the last delivery with this token.
fn answer(found: &mut [Delivery], token: Token, step: u64, what: String) {
    if let Some(delivery) = found.iter_mut().rev().find(|delivery| delivery.token == token) {
        delivery.answers.push((step, what));
    }
}
