//! The places at which hooks are asked: one for each thing that the bus does to the outside.

use dacapo_core::{
    bus::Output,
    hooks::{Identity, Point},
    names::Position,
    wire::FromBus,
};

/// The point before this output; none for what does not leave the process.
///
/// | output | name | identity |
/// |---|---|---|
/// | commit | `bus commit` | its sequence |
/// | look-up, read | `bus look up`, `bus read` | its number |
/// | term check | `bus check term` | none |
/// | answer to an administrator | `bus answer` | none |
/// | frame | `bus send <kind>` | see [`of_frame`] |
pub fn of(output: &Output) -> Option<Point> {
    let (name, identity) = match output {
        Output::Send { frame, .. } => return Some(of_frame(frame)),
        Output::Commit(commit) => ("bus commit", Identity::Sequence(commit.sequence)),
        Output::LookUp { id, .. } => ("bus look up", Identity::Sequence(*id)),
        Output::Read { id, .. } => ("bus read", Identity::Sequence(*id)),
        Output::CheckTerm => ("bus check term", Identity::None),
        Output::Answer { .. } => ("bus answer", Identity::None),
        Output::Close { .. } | Output::Record(_) | Output::Stop { .. } => return None,
    };
    Some(Point { name, identity })
}

/// The point before a frame: answers are known by the request's number, what concerns a delivery by the event's
/// position and the attempt (0 where the frame does not tell it).
pub fn of_frame(frame: &FromBus) -> Point {
    let delivery = |position: Position, attempt: u32| Identity::Delivery(position, attempt);
    let (name, identity) = match frame {
        FromBus::Welcome(welcome) => ("bus send welcome", Identity::Request(welcome.session)),
        FromBus::Receipts(receipts) => ("bus send receipts", Identity::Request(receipts.request)),
        FromBus::Deliver(deliver) => ("bus send deliver", delivery(deliver.event.position, deliver.token.attempt)),
        FromBus::Completed(completed) => ("bus send completed", delivery(completed.position, 0)),
        FromBus::Conflict(conflict) => ("bus send conflict", delivery(conflict.position, conflict.token.attempt)),
        FromBus::Fenced(fenced) => ("bus send fenced", delivery(fenced.position, fenced.token.attempt)),
        FromBus::Rejected(rejected) => ("bus send rejected", delivery(rejected.position, rejected.token.attempt)),
        FromBus::Events(page) => ("bus send events", Identity::Request(page.request)),
        FromBus::Rebuilt(rebuilt) => ("bus send rebuilt", Identity::Request(rebuilt.request)),
        FromBus::Resume(_) => ("bus send resume", Identity::None),
        FromBus::Pong(pong) => ("bus send pong", Identity::Request(pong.nonce)),
        FromBus::Error(error) => ("bus send error", error.request.map_or(Identity::None, Identity::Request)),
        FromBus::Closing(_) => ("bus send closing", Identity::None),
    };
    Point { name, identity }
}

#[cfg(test)]
mod tests {
    use dacapo_core::wire::{Pong, Receipts};

    use super::*;

    #[test]
    fn every_kind_of_frame_has_a_point_that_is_named_after_it() {
        let frames = [FromBus::from(Pong { nonce: 3 }), FromBus::from(Receipts { request: 7, receipts: Vec::new() })];
        for frame in frames {
            assert_eq!(of_frame(&frame).name, format!("bus send {}", frame.kind()));
        }
        assert_eq!(of_frame(&Pong { nonce: 3 }.into()).identity, Identity::Request(3));
    }
}
