//! What is to happen, by time; of two things at one time, what was put in first.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::net::Way;

/// A host's place in the run's list.
pub(super) type HostId = usize;
/// A connection's place in the run's list.
pub(super) type ConnectionId = usize;

/// Something that is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A fault begins, ends, or changes within.
    Faults,
    /// A process looks what is due.
    Wake(HostId),
    /// A host may start.
    Start(HostId),
    /// The first that travels this way of a connection arrives.
    Arrive(ConnectionId, Way),
    /// The store answers.
    Answer(usize),
    /// A phase of the run is over.
    Phase,
}

/// The events to come.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
}

impl Queue {
    pub(super) fn put(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse((at_us, self.sequence, event)));
    }

    /// The next event and its time.
    pub(super) fn take(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|Reverse((at_us, _, event))| (at_us, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_at_one_time_comes_in_the_order_of_its_making() {
        let mut queue = Queue::default();
        queue.put(5, Event::Wake(2));
        queue.put(5, Event::Faults);
        queue.put(3, Event::Phase);
        let order: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(order, [(3, Event::Phase), (5, Event::Wake(2)), (5, Event::Faults)]);
    }
}
