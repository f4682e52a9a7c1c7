//! Delta debugging over a list, whatever its items are.
//!
//! Chunks are taken out, large ones first, until no single item can go. It asks in batches, and takes the first candidate
//! of a batch that still fails, so that several threads may try a batch at once and the answer is the same. It assumes
//! nothing of the test: where failing is not monotone, what comes out is still minimal item by item, though perhaps not
//! the smallest of all.

/// Tries candidates in order: the index of the first that still fails; none if all pass. An error ends the search.
pub(super) type First<'a, T, E> = &'a mut dyn FnMut(&mut dyn Iterator<Item = Vec<T>>) -> Result<Option<usize>, E>;

/// Takes items out of a failing list until none can go. If the test gives up, `items` is what was reached by then.
pub(super) fn ddmin<T: Clone, E>(items: &mut Vec<T>, first: First<'_, T, E>) -> Result<(), E> {
    if items.is_empty() {
        return Ok(());
    }
    if first(&mut std::iter::once(Vec::new()))?.is_some() {
        items.clear();
        return Ok(());
    }
    let mut size = items.len().div_ceil(2);
    loop {
        let before = items.len();
        take_chunks_out(items, size, first)?;
        if size > 1 {
            size = size.min(items.len()).div_ceil(2).max(1);
        } else if items.len() == before {
            return Ok(());
        }
    }
}

/// One pass over the list: each chunk of this size is tried once, the later ones first.
fn take_chunks_out<T: Clone, E>(items: &mut Vec<T>, size: usize, first: First<'_, T, E>) -> Result<(), E> {
    assert!(size > 0, "a chunk holds something");
    // Whatever begins at or after this index was tried.
    let mut end = items.len();
    while end > 0 {
        let starts: Vec<usize> = (0..end).step_by(size).rev().collect();
        let without = |start: usize| {
            let mut rest = items[..start].to_vec();
            rest.extend_from_slice(&items[(start + size).min(end)..]);
            rest
        };
        let Some(found) = first(&mut starts.iter().map(|start| without(*start)))? else { return Ok(()) };
        *items = without(starts[found]);
        end = starts[found];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, convert::Infallible};

    use proptest::prelude::*;

    use super::*;

    /// Shrinks with a predicate; how often it was asked, too.
    fn shrunk(items: &[u32], fails: impl Fn(&[u32]) -> bool) -> (Vec<u32>, usize) {
        assert!(fails(items), "what is shrunk fails");
        let (mut list, mut asked) = (items.to_vec(), 0);
        let result: Result<(), Infallible> = ddmin(&mut list, &mut |candidates| {
            Ok(candidates.inspect(|_| asked += 1).position(|candidate| fails(&candidate)))
        });
        assert_eq!(result, Ok(()));
        assert!(fails(&list), "what comes out fails");
        (list, asked)
    }

    fn is_minimal(list: &[u32], fails: impl Fn(&[u32]) -> bool) -> bool {
        (0..list.len()).all(|index| {
            let mut rest = list.to_vec();
            rest.remove(index);
            !fails(&rest)
        })
    }

    proptest! {
        #[test]
        fn a_needed_set_is_what_is_left(length in 1_u32..120, picks in prop::collection::btree_set(0_u32..120, 0..6)) {
            let items: Vec<u32> = (0..length).collect();
            let needed: BTreeSet<u32> = picks.into_iter().filter(|pick| *pick < length).collect();
            let fails = |list: &[u32]| needed.iter().all(|item| list.contains(item));
            let (list, asked) = shrunk(&items, fails);
            prop_assert_eq!(list, needed.iter().copied().collect::<Vec<_>>());
            // Each needed item costs its way down to single items, twice over.
            let bound = 2 * (needed.len() + 1) * (length.ilog2() as usize + 3) + 2;
            prop_assert!(asked <= bound, "{asked} questions for {} of {length}", needed.len());
        }

        #[test]
        fn whatever_the_test_says_no_single_item_can_go(
            length in 1_usize..24,
            salt in any::<u64>(),
            permille in 50_u64..600,
        ) {
            // Failing is a coin that was thrown once for each subset: as far from monotone as can be.
            let items: Vec<u32> = (0..length as u32).collect();
            let fails = |list: &[u32]| {
                list.len() == length || dacapo_core::digest::digest_of(salt, list) % 1_000 < permille
            };
            let (list, _) = shrunk(&items, fails);
            prop_assert!(is_minimal(&list, fails), "{list:?}");
        }

        #[test]
        fn one_of_two_ways_to_fail_is_kept_whole(length in 8_u32..100) {
            // Either the first two or the last three; in between, an even number of items hides the failure.
            let items: Vec<u32> = (0..length).collect();
            let way = |list: &[u32], of: &[u32]| of.iter().all(|item| list.contains(item));
            let fails = |list: &[u32]| {
                list.len() as u32 == length
                    || way(list, &[0, 1])
                    || (way(list, &[length - 3, length - 2, length - 1]) && list.len() % 2 == 1)
            };
            let (list, _) = shrunk(&items, fails);
            prop_assert!(is_minimal(&list, fails), "{list:?}");
            prop_assert!(list.len() <= 3, "{list:?}");
        }

        #[test]
        fn trying_a_batch_at_once_changes_nothing(length in 1_u32..60, salt in any::<u64>()) {
            let items: Vec<u32> = (0..length).collect();
            let fails = |list: &[u32]| {
                list.len() as u32 == length || dacapo_core::digest::digest_of(salt, list) % 3 == 0
            };
            let one_by_one = shrunk(&items, fails).0;
            let mut list = items;
            let result: Result<(), Infallible> = ddmin(&mut list, &mut |candidates| {
                // Everything is tried, then the first is chosen.
                let tried: Vec<bool> = candidates.map(|candidate| fails(&candidate)).collect();
                Ok(tried.iter().position(|failed| *failed))
            });
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(list, one_by_one);
        }
    }

    #[test]
    fn what_was_reached_is_kept_when_the_test_gives_up() {
        let (mut list, mut left) = ((0..64).collect::<Vec<u32>>(), 5);
        let result = ddmin(&mut list, &mut |candidates| {
            for (index, candidate) in candidates.enumerate() {
                if left == 0 {
                    return Err("time is out");
                }
                left -= 1;
                if candidate.contains(&0) {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        });
        assert_eq!(result, Err("time is out"));
        assert!(list.contains(&0) && list.len() < 64, "{list:?}");
    }
}
