//! How large a workload is, and the two ways in which most are drawn.

use std::time::Duration;

use dacapo_properties::{Operation, scenario::Draw};

/// How large a workload is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Customers are numbered from 0 and each does one thing at a time.
    pub customers: u32,
    /// About how many operations they do.
    pub operations: usize,
    /// Within this time.
    pub lasting: Duration,
}

impl Shape {
    /// Somebody.
    pub fn customer(self, draw: &mut dyn Draw) -> u32 {
        draw.below(u64::from(self.customers)) as u32
    }

    /// Some time.
    pub fn time(self, draw: &mut dyn Draw) -> Duration {
        Duration::from_micros(draw.below(self.lasting.as_micros() as u64))
    }

    /// Independent operations: for each, a customer and a time are drawn, and `what` says what that customer does.
    pub fn operations(
        self,
        draw: &mut dyn Draw,
        mut what: impl FnMut(&mut dyn Draw, u32) -> Operation,
    ) -> Vec<Operation> {
        self.stories(draw, |draw, customer| vec![what(draw, customer)])
    }

    /// Stories: what one customer does from one time on, each operation only if the one before it succeeded. `what`
    /// says what happens in the story of that customer, and may say when; stories are drawn until there are enough
    /// operations.
    pub fn stories(
        self,
        draw: &mut dyn Draw,
        mut what: impl FnMut(&mut dyn Draw, u32) -> Vec<Operation>,
    ) -> Vec<Operation> {
        let mut operations: Vec<Operation> = Vec::new();
        // A story without operations counts as one, so that this ends whatever the closure does.
        let mut drawn = 0;
        while drawn < self.operations {
            let (customer, at) = (self.customer(draw), self.time(draw));
            let mut before = None;
            let story = what(draw, customer);
            drawn += story.len().max(1);
            for operation in story {
                let id = operations.len() as u64 + 1;
                let operation = operation.numbered(id).by(customer);
                let operation = if operation.at_us == 0 { operation.at(at) } else { operation };
                operations.push(match before {
                    Some(before) => operation.after(before),
                    None => operation,
                });
                before = Some(id);
            }
        }
        operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Stream;

    const SHAPE: Shape = Shape { customers: 3, operations: 20, lasting: Duration::from_secs(2) };

    #[test]
    fn a_story_is_told_by_one_customer_in_order() {
        let story = |_: &mut dyn Draw, customer| {
            let path = format!("/things/{customer}");
            vec![Operation::post("things", path.clone()), Operation::get("things", path)]
        };
        let drawn = SHAPE.stories(&mut Stream::new(1, "test"), story);
        assert_eq!(drawn.len(), 20);
        for pair in drawn.chunks(2) {
            assert_eq!((pair[0].customer, pair[0].at_us), (pair[1].customer, pair[1].at_us));
            assert_eq!((pair[0].after.as_slice(), pair[1].after.as_slice()), (&[][..], &[pair[0].id][..]));
            assert_eq!(pair[0].path, format!("/things/{}", pair[0].customer));
        }
        assert!((0..3).all(|customer| drawn.iter().any(|operation| operation.customer == customer)));
        assert!(drawn.iter().all(|operation| operation.at_us < 2_000_000));
    }

    #[test]
    fn a_story_of_nothing_ends_too() {
        assert_eq!(SHAPE.stories(&mut Stream::new(1, "test"), |_, _| Vec::new()), []);
    }
}
