//! How the bus's promises are judged: each is an [`Observer`] beside one [`Known`] that all of them share.
//!
//! A [`Property`] stands alone, an observer leans on what is gathered once. [`bus_properties`] makes the first of the
//! second; the [`Judge`](crate::Judge) needs no such wrapping, and no lock.

use std::sync::{Arc, Mutex, PoisonError};

use dacapo_core::{Limits, Timestamp, digest::StableHasher, trace::Record};

use crate::{
    always, eventually,
    kinds::Kinds,
    known::Known,
    property::{Promise, Property, Verdict},
};

/// A copy of an observer, for engines that branch; every observer that is `Clone` has it.
pub trait BoxedClone {
    /// The copy.
    fn boxed_clone(&self) -> Box<dyn Observer>;
}

impl<T: Observer + Clone + 'static> BoxedClone for T {
    fn boxed_clone(&self) -> Box<dyn Observer> {
        Box::new(self.clone())
    }
}

/// A promise of the bus, judged from the records and what is known from the earlier ones.
pub trait Observer: Send + BoxedClone {
    /// What is promised.
    fn promise(&self) -> &'static Promise;
    /// The records that it has to see; the others change nothing for it.
    fn looks_at(&self) -> Kinds {
        Kinds::ALL
    }
    /// Looks at one record, which `known` has already taken in.
    fn observe(&mut self, known: &Known, record: &Record) -> Verdict;
    /// Looks back at the end of a run.
    fn finish(&mut self, known: &Known) -> Verdict {
        let _ = known;
        Ok(())
    }
    /// Adds to a digest all that it remembers and may yet judge by, besides what [`Known::memory`] adds; steps, counts
    /// and absolute times stay out. Two observers with the same memory give the same verdicts on the same further
    /// records: an engine that branches may then look at one of them only.
    fn memory(&self, known: &Known, now: Timestamp, to: &mut StableHasher);
    /// How often it was in a position to fail.
    fn checks(&self) -> u64;
    /// Interesting situations, and how often each happened; their names are those of [`crate::SITUATIONS`].
    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        vec![]
    }
}

/// Every promise of the bus, in the order of their numbers: the safety ones, then liveness.
pub const PROMISES: &[&Promise] = &[
    &always::shown_is_durable::PROMISE,
    &always::versions_are_gap_free::PROMISE,
    &always::expectations_hold::PROMISE,
    &always::publishing_is_idempotent::PROMISE,
    &always::lane_order::PROMISE,
    &always::one_owner_per_lane::PROMISE,
    &always::completes_once::PROMISE,
    &always::no_duplicate_processing::PROMISE,
    &always::rebuild_equals_live::PROMISE,
    &always::cause_precedes_effect::PROMISE,
    &always::bounded::PROMISE,
    &always::lanes_are_independent::PROMISE,
    &always::deadlines_are_kept::PROMISE,
    &always::tokens_are_obeyed::PROMISE,
    &always::backups_hold_the_log::PROMISE,
    &always::full_disk_is_answered::PROMISE,
    &always::ending_is_orderly::PROMISE,
    &eventually::everything_is_done::PROMISE,
    &eventually::every_request_is_answered::PROMISE,
];

/// The observers of [`PROMISES`], in that order.
pub fn bus_observers(limits: &Limits) -> Vec<Box<dyn Observer>> {
    vec![
        Box::new(always::ShownIsDurable::default()),
        Box::new(always::VersionsAreGapFree::default()),
        Box::new(always::ExpectationsHold::default()),
        Box::new(always::PublishingIsIdempotent::default()),
        Box::new(always::LaneOrder::new(limits)),
        Box::new(always::OneOwnerPerLane::default()),
        Box::new(always::CompletesOnce::default()),
        Box::new(always::NoDuplicateProcessing::default()),
        Box::new(always::RebuildEqualsLive::default()),
        Box::new(always::CausePrecedesEffect::default()),
        Box::new(always::Bounded::new(limits)),
        Box::new(always::LanesAreIndependent::new(limits)),
        Box::new(always::DeadlinesAreKept::default()),
        Box::new(always::TokensAreObeyed::default()),
        Box::new(always::BackupsHoldTheLog::default()),
        Box::new(always::FullDiskIsAnswered::default()),
        Box::new(always::EndingIsOrderly::default()),
        Box::new(eventually::EverythingIsDone::default()),
        Box::new(eventually::EveryRequestIsAnswered::default()),
    ]
}

/// The promises of the bus as properties that share what they know.
pub fn bus_properties(limits: &Limits) -> Vec<Box<dyn Property>> {
    let known = Arc::new(Mutex::new(Known::default()));
    bus_observers(limits)
        .into_iter()
        .map(|observer| Box::new(Sharing { known: Arc::clone(&known), observer }) as Box<dyn Property>)
        .collect()
}

struct Sharing {
    known: Arc<Mutex<Known>>,
    observer: Box<dyn Observer>,
}

impl Property for Sharing {
    fn name(&self) -> &'static str {
        self.observer.promise().name
    }

    fn sentence(&self) -> &'static str {
        self.observer.promise().sentence
    }

    fn source(&self) -> &'static str {
        self.observer.promise().source
    }

    fn observe(&mut self, record: &Record) -> Verdict {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.observe(record);
        self.observer.observe(&known, record)
    }

    fn finish(&mut self) -> Verdict {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.observer.finish(&known)
    }

    fn checks(&self) -> u64 {
        self.observer.checks()
    }

    fn sometimes(&self) -> Vec<(&'static str, u64)> {
        self.observer.sometimes()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_promise_has_an_observer_a_file_and_a_sentence() {
        let promised: Vec<&str> = PROMISES.iter().map(|promise| promise.name).collect();
        let observed: Vec<&str> =
            bus_observers(&Limits::default()).iter().map(|observer| observer.promise().name).collect();
        assert_eq!(promised, observed, "in the order of their numbers");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        // 12 and 13 are the bank's.
        let numbers: Vec<usize> = (1..=11).chain([14, 15, 16, 17, 18, 19]).collect();
        for (index, promise) in PROMISES.iter().enumerate() {
            let (folder, written) = match numbers.get(index) {
                Some(number) => ("always", format!("ARCHITECTURE.md, promise {number}")),
                None => ("eventually", "ARCHITECTURE.md, liveness".to_owned()),
            };
            assert_eq!(promise.source, written, "{}", promise.name);
            let file = source.join(folder).join(promise.name).with_extension("rs");
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(text.contains("pub const PROMISE: Promise"), "{}", file.display());
            assert!(promise.sentence.split_whitespace().count() > 5, "{} has a sentence", promise.name);
        }
    }

    #[test]
    fn no_file_of_a_property_is_without_a_promise() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let named: BTreeSet<String> = PROMISES.iter().map(|promise| format!("{}.rs", promise.name)).collect();
        let files = ["always", "eventually"].iter().flat_map(|folder| {
            fs::read_dir(source.join(folder))
                .expect("the folder is there")
                .map(|file| file.expect("it can be listed").file_name().to_string_lossy().into_owned())
        });
        let files: BTreeSet<String> = files.filter(|file| file != "mod.rs").collect();
        assert_eq!(files, named);
    }
}
