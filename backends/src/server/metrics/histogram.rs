//! How often something was how large, in buckets that are fixed from the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts by size. Reading it while it is written to gives buckets of slightly different moments, which Prometheus bears.
#[derive(Debug)]
pub(in crate::server) struct Histogram {
    /// Upper bounds, inclusive, ascending.
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond.
    buckets: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.is_sorted(), "the bounds ascend");
        let buckets = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    pub(super) fn observe(&self, size: u64) {
        let index = self.bounds.partition_point(|bound| *bound < size);
        self.buckets[index].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(size, Ordering::Relaxed);
    }

    /// Each bound with how many were at most so large, then how many there were, then their sum.
    pub(super) fn read(&self) -> (Vec<(u64, u64)>, u64, u64) {
        let mut count = 0;
        let mut cumulated = Vec::with_capacity(self.bounds.len());
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            if let Some(bound) = self.bounds.get(index) {
                cumulated.push((*bound, count));
            }
        }
        (cumulated, count, self.sum.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_counts_in_its_bucket_and_all_larger_ones() {
        let histogram = Histogram::new(&[1, 10, 100]);
        for size in [1, 2, 10, 11, 1_000] {
            histogram.observe(size);
        }
        assert_eq!(histogram.read(), (vec![(1, 1), (10, 3), (100, 4)], 5, 1_024));
    }
}
