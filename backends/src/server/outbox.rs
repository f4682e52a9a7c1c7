//! What waits to be sent on one connection: bounded by bytes, so that a peer that does not read costs only itself.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use dacapo_core::{bus::AdminAnswer, event::Event, wire::FromBus};
use tokio::sync::Notify;

/// Something for the connection.
#[derive(Debug)]
pub(super) enum Item {
    Frame(FromBus),
    /// To an administrator's question, which only comes by HTTP.
    Answer(AdminAnswer),
}

/// The connection's peer does not read: what waits for it has reached the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// How a connection is to end, in WebSocket's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

/// Written by the driver, emptied by the connection.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    bytes_max: usize,
    changed: Notify,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<(Item, usize)>,
    bytes: usize,
    end: Option<End>,
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max, changed: Notify::new(), ended: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock; if it did, the queue would still be one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something behind what waits. After the end, nothing is put any more. A single item that is larger than
    /// the limit finds room in an empty queue.
    pub(super) fn push(&self, item: Item) -> Result<(), Full> {
        let bytes = weight(&item);
        let mut state = self.state();
        if state.end.is_some() {
            return Ok(());
        }
        if !state.items.is_empty() && state.bytes + bytes > self.bytes_max {
            return Err(Full);
        }
        state.bytes += bytes;
        state.items.push_back((item, bytes));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Ends the connection after what waits.
    pub(super) fn close(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.changed.notify_one();
        self.ended.notify_one();
    }

    /// Frees what waits, at once, and ends the connection after this item.
    pub(super) fn cut(&self, item: Item, end: End) {
        let mut state = self.state();
        state.bytes = weight(&item);
        state.items = VecDeque::from([(item, state.bytes)]);
        state.end.get_or_insert(end);
        drop(state);
        self.changed.notify_one();
        self.ended.notify_one();
    }

    /// The next items, at least one and about so many bytes; none when the connection is to end.
    pub(super) async fn next(&self, bytes_max: usize) -> Option<Vec<Item>> {
        loop {
            {
                let mut state = self.state();
                let mut batch = Vec::new();
                let mut bytes = 0;
                while let Some((_, next)) = state.items.front() {
                    if !batch.is_empty() && bytes + next > bytes_max {
                        break;
                    }
                    bytes += next;
                    batch.extend(state.items.pop_front().map(|(item, _)| item));
                }
                state.bytes = state.bytes.saturating_sub(bytes);
                if !batch.is_empty() {
                    return Some(batch);
                }
                if state.end.is_some() {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// How the connection is to end, if it is.
    pub(super) fn end(&self) -> Option<End> {
        self.state().end.clone()
    }

    /// Returns when the connection is to end.
    pub(super) async fn ended(&self) {
        while self.end().is_none() {
            self.ended.notified().await;
        }
    }
}

fn weight(item: &Item) -> usize {
    match item {
        Item::Frame(frame) => weight_of(frame),
        Item::Answer(_) => FRAME,
    }
}

const FRAME: usize = 256;
const EVENT: usize = 384;

/// About how many bytes a frame takes as JSON. Cheap, since the driver asks it for every frame: names are counted by
/// their usual size and payloads by their true one.
pub fn weight_of(frame: &FromBus) -> usize {
    let of = |event: &Event| EVENT + event.data.as_str().len();
    FRAME
        + match frame {
            FromBus::Deliver(deliver) => of(&deliver.event),
            FromBus::Events(page) => {
                page.events.iter().map(|event| of(event)).sum::<usize>() + page.heads.len() * FRAME
            }
            FromBus::Receipts(receipts) => receipts.receipts.len() * FRAME,
            FromBus::Completed(completed) => completed.produced.len() * EVENT,
            FromBus::Conflict(conflict) => conflict.heads.len() * FRAME,
            FromBus::Welcome(_)
            | FromBus::Fenced(_)
            | FromBus::Rejected(_)
            | FromBus::Rebuilt(_)
            | FromBus::Resume(_)
            | FromBus::Pong(_)
            | FromBus::Error(_)
            | FromBus::Closing(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use dacapo_core::wire::{Pong, Resume};

    use super::*;

    fn pong(nonce: u64) -> Item {
        Item::Frame(Pong { nonce }.into())
    }

    fn nonces(items: Option<Vec<Item>>) -> Option<Vec<u64>> {
        items.map(|items| {
            items
                .into_iter()
                .map(|item| match item {
                    Item::Frame(FromBus::Pong(pong)) => pong.nonce,
                    other => panic!("only pongs were sent: {other:?}"),
                })
                .collect()
        })
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_ready_at_once_goes_together_and_in_order() {
        let outbox = Outbox::new(10_000);
        for nonce in 1..=5 {
            outbox.push(pong(nonce)).expect("there is room");
        }
        assert_eq!(nonces(outbox.next(700).await), Some(vec![1, 2]), "256 bytes each");
        assert_eq!(nonces(outbox.next(usize::MAX).await), Some(vec![3, 4, 5]));
        outbox.push(pong(6)).expect("there is room");
        outbox.close(End { code: 1000, reason: "" });
        assert_eq!(nonces(outbox.next(1).await), Some(vec![6]), "what was pushed before the end is still sent");
        assert_eq!(nonces(outbox.next(1).await), None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_peer_that_does_not_read_loses_its_queue_and_nothing_else() {
        let outbox = Outbox::new(1_000);
        let mut pushed = 0;
        while outbox.push(pong(pushed)).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, 3, "1000 bytes hold three frames of 256");
        outbox.cut(pong(99), End { code: 1008, reason: "does not read" });
        assert_eq!(outbox.push(Item::Frame(Resume {}.into())), Ok(()), "ignored: the connection ends");
        assert_eq!(nonces(outbox.next(usize::MAX).await), Some(vec![99]));
        assert_eq!(nonces(outbox.next(usize::MAX).await), None);
        outbox.ended().await;
    }

    #[test]
    fn a_single_frame_above_the_limit_finds_room_in_an_empty_queue() {
        let outbox = Outbox::new(1);
        assert_eq!(outbox.push(pong(1)), Ok(()));
        assert_eq!(outbox.push(pong(2)), Err(Full));
    }
}
