//! Judges a run as its records pass: the promises of the bus and those of the scenario.

use dacapo_core::{Limits, trace::Record};
use serde::Serialize;

use crate::{
    kinds::Kinds,
    known::Known,
    observer::{Observer, bus_observers},
    property::{Property, Verdict, Violation},
};

/// What is said of one property after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The property's name.
    pub name: &'static str,
    /// Its sentence.
    pub sentence: &'static str,
    /// Where its rule is written.
    pub source: &'static str,
    /// How often it was in a position to fail.
    pub checks: u64,
    /// Interesting situations, and how often each happened.
    pub sometimes: Vec<(&'static str, u64)>,
}

/// All that must hold in a run. It feeds one [`Known`] and every observer; after the first violation it looks at
/// nothing more, since what is broken would be found broken again.
pub struct Judge {
    known: Known,
    observers: Vec<Box<dyn Observer>>,
    properties: Vec<Box<dyn Property>>,
    /// Who looks at a record of each kind.
    lookers: Vec<Lookers>,
    violation: Option<Box<Violation>>,
}

/// Who looks at records of one kind: places among the observers and among the scenario's properties.
#[derive(Debug, Clone, Default)]
struct Lookers {
    observers: Vec<usize>,
    properties: Vec<usize>,
}

impl Lookers {
    /// By the kinds' places.
    fn of(observers: &[Box<dyn Observer>], properties: &[Box<dyn Property>]) -> Vec<Self> {
        let by_kind = |kind: Kinds| Self {
            observers: (0..observers.len()).filter(|index| observers[*index].looks_at().holds(kind)).collect(),
            properties: (0..properties.len()).filter(|index| properties[*index].looks_at().holds(kind)).collect(),
        };
        Kinds::each().map(by_kind).collect()
    }
}

impl Judge {
    /// The promises of a bus with these limits, and the scenario's own properties.
    pub fn new(limits: &Limits, scenario: Vec<Box<dyn Property>>) -> Self {
        let (observers, properties) = (bus_observers(limits), scenario);
        let lookers = Lookers::of(&observers, &properties);
        Self { known: Known::default(), observers, properties, lookers, violation: None }
    }

    /// Looks at the next record. The first violation is told here, and afterwards only by [`violation`](Self::violation)
    /// and [`finish`](Self::finish).
    pub fn observe(&mut self, record: &Record) -> Verdict {
        if self.violation.is_some() {
            return Ok(());
        }
        self.known.observe(record);
        let verdict = self.judge(record);
        self.remember(verdict)
    }

    /// The run is over, at its planned end: what must come eventually has to be there. Tells the first violation,
    /// whenever it was.
    pub fn finish(&mut self) -> Verdict {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        let known = &self.known;
        let verdict = self
            .observers
            .iter_mut()
            .try_for_each(|observer| observer.finish(known))
            .and_then(|()| self.properties.iter_mut().try_for_each(|property| property.finish()));
        self.remember(verdict)
    }

    /// The first violation.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_deref()
    }

    /// What is known from the records so far.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Each property with its sentence, how often it was checked, and what situations it met.
    pub fn summary(&self) -> Vec<Judged> {
        let observed = self.observers.iter().map(|observer| Judged {
            name: observer.promise().name,
            sentence: observer.promise().sentence,
            source: observer.promise().source,
            checks: observer.checks(),
            sometimes: observer.sometimes(),
        });
        let own = self.properties.iter().map(|property| Judged {
            name: property.name(),
            sentence: property.sentence(),
            source: property.source(),
            checks: property.checks(),
            sometimes: property.sometimes(),
        });
        observed.chain(own).collect()
    }

    fn judge(&mut self, record: &Record) -> Verdict {
        let lookers = &self.lookers[Kinds::of(&record.what).place()];
        for index in &lookers.observers {
            self.observers[*index].observe(&self.known, record)?;
        }
        lookers.properties.iter().try_for_each(|index| self.properties[*index].observe(record))
    }

    fn remember(&mut self, verdict: Verdict) -> Verdict {
        if let Err(violation) = &verdict {
            self.violation = Some(violation.clone());
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use dacapo_core::Limits;

    use super::*;
    use crate::testing::{Run, accepted, completion, event, new_event};

    /// An event is published, delivered and completed.
    fn one_handled_event() -> Run {
        let mut run = Run::new();
        run.register("accounts", &["Debit"]);
        run.publish(1, 1, [new_event("a", "acc-1")]);
        run.commit_events([event("a", "acc-1", 1, 1)]);
        run.receipts(1, 1, [accepted(1, 1)]);
        run.hello(7, "accounts", "accounts-1", 1);
        run.deliver(7, 1, 1, 1);
        run.complete(7, 1, 1, 1, []);
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        run.completed(7, 1, false);
        run.healed();
        run
    }

    #[test]
    fn a_right_run_passes_every_property() {
        let run = one_handled_event();
        let mut judge = Judge::new(&Limits::default(), vec![]);
        for record in run.records() {
            judge.observe(record).expect("nothing is broken");
        }
        judge.finish().expect("everything is done");
        assert_eq!(judge.violation(), None);
        let summary = judge.summary();
        assert_eq!(summary.len(), crate::PROMISES.len());
        assert!(summary.iter().any(|judged| judged.name == "shown_is_durable" && judged.checks > 0));
    }

    #[test]
    fn properties_that_stand_alone_judge_as_the_judge_does() {
        let mut run = one_handled_event();
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        let mut properties = crate::bus_properties(&Limits::default());
        let mut alone = Vec::new();
        for record in run.records() {
            alone.extend(properties.iter_mut().filter_map(|property| property.observe(record).err()));
        }
        let mut judge = Judge::new(&Limits::default(), vec![]);
        let judged: Vec<_> = run.records().iter().filter_map(|record| judge.observe(record).err()).collect();
        assert_eq!(alone, judged);
        assert_eq!(judged.len(), 1, "{judged:?}");
        assert_eq!(judged[0].property, "completes_once");
    }

    #[test]
    fn the_first_violation_stays() {
        let mut run = one_handled_event();
        run.commit_completion(completion("accounts", 1, "acc-1", 1), []);
        let broken_at = run.records().len() as u64;
        run.commit_events([event("b", "acc-1", 7, 7)]);
        let mut judge = Judge::new(&Limits::default(), vec![]);
        let told = run.records().iter().filter(|record| judge.observe(record).is_err()).count();
        assert_eq!(told, 1);
        assert_eq!(judge.finish().expect_err("it is broken").step, broken_at);
        assert_eq!(judge.violation().map(|violation| violation.step), Some(broken_at));
    }
}
