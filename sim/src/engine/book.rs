//! The book of operations: what customers still have to do. It lies outside the hosts, as on a customer's disk, so that
//! a customer that crashed goes on where it was.

use std::collections::BTreeMap;

use dacapo_properties::Operation;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Waiting,
    /// An attempt is under way, or one ended with an unknown outcome.
    Begun,
    Succeeded,
    Refused,
    Skipped,
}

#[derive(Debug, Clone)]
struct Entry {
    operation: Operation,
    status: Status,
    attempts: u32,
    in_flight: bool,
}

/// What a customer does next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Everything is done.
    Finished,
    /// Nothing can be done yet.
    Wait,
    /// Pass over an operation, because of another.
    Skip { operation: u64, because: u64 },
    /// Try this.
    Do(Operation),
}

/// All operations with what became of them.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: BTreeMap<u64, Entry>,
    /// What has not ended, by customer, in the order in which it is done.
    queues: BTreeMap<u32, Vec<u64>>,
}

impl Book {
    pub(crate) fn new(operations: &[Operation]) -> Self {
        let mut book = Self::default();
        for operation in operations {
            book.put(operation.clone());
        }
        book.sort();
        book
    }

    pub(crate) fn add(&mut self, operation: Operation) {
        self.put(operation);
        self.sort();
    }

    fn put(&mut self, operation: Operation) {
        let (id, customer) = (operation.id, operation.customer);
        let entry = Entry { operation, status: Status::Waiting, attempts: 0, in_flight: false };
        let former = self.entries.insert(id, entry);
        assert!(former.is_none(), "operation {id} is in the plan once");
        self.queues.entry(customer).or_default().push(id);
    }

    fn sort(&mut self) {
        for queue in self.queues.values_mut() {
            queue.sort_by_key(|id| (self.entries[id].operation.at_us, *id));
        }
    }

    /// What this customer does now: the first of its operations that has begun, or that may begin.
    pub(crate) fn next(&self, customer: u32, now_us: u64) -> Next {
        let queue = self.queues.get(&customer).map_or(&[][..], Vec::as_slice);
        if queue.is_empty() {
            return Next::Finished;
        }
        for entry in queue.iter().map(|id| &self.entries[id]) {
            if entry.status == Status::Begun {
                return Next::Do(entry.operation.clone());
            }
            if entry.operation.at_us > now_us {
                return Next::Wait;
            }
            let fate = |id: &u64| self.entries.get(id).map_or(Status::Skipped, |entry| entry.status);
            let after = &entry.operation.after;
            let hopeless = after.iter().find(|id| matches!(fate(id), Status::Skipped | Status::Refused));
            if let Some(because) = hopeless {
                return Next::Skip { operation: entry.operation.id, because: *because };
            }
            if after.iter().all(|id| fate(id) == Status::Succeeded) {
                return Next::Do(entry.operation.clone());
            }
        }
        Next::Wait
    }

    /// When the next operation of this customer may begin that is too early now.
    pub(crate) fn next_due_us(&self, customer: u32, now_us: u64) -> Option<u64> {
        let queue = self.queues.get(&customer).map_or(&[][..], Vec::as_slice);
        queue.iter().map(|id| self.entries[id].operation.at_us).find(|at_us| *at_us > now_us)
    }

    fn entry(&mut self, operation: u64) -> &mut Entry {
        match self.entries.get_mut(&operation) {
            Some(entry) => entry,
            None => panic!("operation {operation} is in the book"),
        }
    }

    /// An attempt begins: its number, from 1.
    pub(crate) fn begin(&mut self, operation: u64) -> u32 {
        let entry = self.entry(operation);
        entry.status = Status::Begun;
        entry.attempts += 1;
        entry.in_flight = true;
        entry.attempts
    }

    /// The attempt ended without an answer.
    pub(crate) fn unknown(&mut self, operation: u64) {
        self.entry(operation).in_flight = false;
    }

    /// The attempt was answered.
    pub(crate) fn answered(&mut self, operation: u64, status: u16) {
        let entry = self.entry(operation);
        entry.in_flight = false;
        entry.status = if (200..300).contains(&status) { Status::Succeeded } else { Status::Refused };
        self.end(operation);
    }

    pub(crate) fn skip(&mut self, operation: u64) {
        self.entry(operation).status = Status::Skipped;
        self.end(operation);
    }

    /// What has ended stands in nobody's way.
    fn end(&mut self, operation: u64) {
        let customer = self.entry(operation).operation.customer;
        if let Some(queue) = self.queues.get_mut(&customer) {
            queue.retain(|id| *id != operation);
        }
    }

    /// The attempts that a customer's former life left under way.
    pub(crate) fn take_in_flight(&mut self, customer: u32) -> Vec<(u64, u32)> {
        let mut left = Vec::new();
        for entry in self.entries.values_mut() {
            if entry.operation.customer == customer && entry.in_flight {
                entry.in_flight = false;
                left.push((entry.operation.id, entry.attempts));
            }
        }
        left
    }

    /// How many have not ended.
    pub(crate) fn open(&self) -> u64 {
        self.queues.values().map(|queue| queue.len() as u64).sum()
    }

    /// The first few that have not ended.
    pub(crate) fn describe_open(&self, count: usize) -> String {
        let open = self.entries.values().filter(|entry| !is_ended(entry.status));
        let sentences: Vec<String> = open
            .take(count)
            .map(|entry| format!("operation {} has no answer after {} attempts", entry.operation.id, entry.attempts))
            .collect();
        sentences.join("; ")
    }

    /// How many succeeded, were refused, were skipped.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let count = |status| self.entries.values().filter(|entry| entry.status == status).count() as u64;
        (count(Status::Succeeded), count(Status::Refused), count(Status::Skipped))
    }
}

fn is_ended(status: Status) -> bool {
    matches!(status, Status::Succeeded | Status::Refused | Status::Skipped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dacapo_core::ServiceName;
    use dacapo_service::Method;

    fn operation(id: u64, at_us: u64, after: &[u64]) -> Operation {
        Operation {
            id,
            customer: 0,
            at_us,
            after: after.to_vec(),
            service: ServiceName::of("accounts"),
            method: Method::Post,
            path: "/accounts".to_owned(),
            body: String::new(),
        }
    }

    #[test]
    fn what_depends_on_a_refused_or_missing_operation_is_skipped() {
        let mut book = Book::new(&[operation(1, 0, &[]), operation(2, 0, &[1]), operation(3, 0, &[99])]);
        assert_eq!(book.next(0, 0), Next::Do(operation(1, 0, &[])));
        assert_eq!(book.begin(1), 1);
        book.answered(1, 409);
        assert_eq!(book.next(0, 0), Next::Skip { operation: 2, because: 1 });
        book.skip(2);
        assert_eq!(book.next(0, 0), Next::Skip { operation: 3, because: 99 });
        book.skip(3);
        assert_eq!(book.next(0, 0), Next::Finished);
        assert_eq!(book.counts(), (0, 1, 2));
    }

    #[test]
    fn a_customer_goes_on_with_what_it_began() {
        let mut book = Book::new(&[operation(1, 10, &[]), operation(2, 0, &[])]);
        assert_eq!(book.next(0, 5), Next::Do(operation(2, 0, &[])));
        book.begin(2);
        assert_eq!(book.take_in_flight(0), vec![(2, 1)], "it crashed");
        assert_eq!(book.next(0, 50), Next::Do(operation(2, 0, &[])), "the same one again");
        assert_eq!(book.begin(2), 2);
        book.answered(2, 201);
        assert_eq!((book.next(0, 5), book.next_due_us(0, 5)), (Next::Wait, Some(10)));
        assert_eq!((book.next(0, 10), book.next_due_us(0, 10)), (Next::Do(operation(1, 10, &[])), None));
        assert_eq!(book.next(1, 10), Next::Finished, "another customer has nothing to do");
    }
}
