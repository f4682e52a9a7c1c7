//! The shapes that a run's state took: what tells a campaign that it still sees something new.
//!
//! A shape is one coarse feature: how often a mark was reached (to the power of two), or how full something of a machine
//! was when it told its sizes (to the power of two, and whether it was at its limit). A whole state would be new in every
//! run, and would tell nothing; a single feature is new only while the campaign still gets somewhere. So many lanes, so
//! many of them behind, so many rebuilds in one run, a window that was full: each is a shape.

use std::collections::BTreeSet;

use dacapo_core::trace::{Record, What};
use serde::{Deserialize, Serialize};

use crate::marks::Reached;

/// One feature of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape(pub String, pub u8);

/// At its limit: above every power of two.
const FULL: u8 = 64;

/// The features of a run, or of a campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shapes(BTreeSet<Shape>);

impl Shapes {
    /// Looks at one record.
    pub(crate) fn observe(&mut self, record: &Record) {
        let What::Sizes { sizes } = &record.what else { return };
        for (name, size, limit) in sizes {
            let bucket = if size == limit { FULL } else { power(*size) };
            // Most have been seen before, and need no name of their own.
            if !self.0.iter().any(|shape| shape.1 == bucket && shape.0 == *name) {
                self.0.insert(Shape(name.clone(), bucket));
            }
        }
    }

    /// Takes what a run reached.
    pub(crate) fn take(&mut self, reached: &Reached) {
        self.0.extend(
            reached.counts().filter(|(_, count)| *count > 0).map(|(name, count)| Shape(name.to_owned(), power(count))),
        );
    }

    /// Adds another run's shapes; how many were new.
    pub fn add(&mut self, other: &Self) -> usize {
        let before = self.0.len();
        self.0.extend(other.0.iter().cloned());
        self.0.len() - before
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// 0, then 1 for 1, 2 for 2 and 3, 3 for 4 to 7, and so on.
fn power(n: u64) -> u8 {
    (u64::BITS - n.leading_zeros()) as u8
}

#[cfg(test)]
mod tests {
    use dacapo_core::{NodeName, Timestamp};

    use super::*;

    fn sizes(sizes: &[(&str, u64, u64)]) -> Record {
        let sizes = sizes.iter().map(|(name, size, limit)| ((*name).to_owned(), *size, *limit)).collect();
        Record { step: 1, at: Timestamp::ZERO, node: NodeName::of("bus"), what: What::Sizes { sizes } }
    }

    #[test]
    fn a_little_more_of_the_same_is_no_new_shape() {
        let mut seen = Shapes::default();
        for (record, new) in [
            (sizes(&[("heads", 4, 100)]), 1),
            (sizes(&[("heads", 7, 100)]), 0),
            (sizes(&[("heads", 8, 100), ("lanes", 0, 9)]), 2),
            (sizes(&[("heads", 100, 100)]), 1),
        ] {
            let mut shapes = Shapes::default();
            shapes.observe(&record);
            assert_eq!(seen.add(&shapes), new);
        }
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn powers_of_two_tell_counts_apart() {
        assert_eq!([0, 1, 2, 3, 4, 7, 8].map(power), [0, 1, 2, 2, 3, 3, 4]);
        assert_eq!(power(u64::MAX), FULL);
    }
}
