//! shim
use dacapo_core::trace::Record;
use dacapo_core::Limits;
use dacapo_properties::{Property, Verdict};

/// shim
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Judged {
    /// n
    pub name: &'static str,
    /// s
    pub sentence: &'static str,
    /// s
    pub source: &'static str,
    /// c
    pub checks: u64,
    /// s
    pub sometimes: Vec<(&'static str, u64)>,
}
/// shim
pub struct Judge(Vec<Box<dyn Property>>);
impl Judge {
    /// n
    pub fn new(_limits: &Limits, properties: Vec<Box<dyn Property>>) -> Self { Self(properties) }
    /// o
    pub fn observe(&mut self, record: &Record) -> Verdict { self.0.iter_mut().try_for_each(|p| p.observe(record)) }
    /// f
    pub fn finish(&mut self) -> Verdict { self.0.iter_mut().try_for_each(|p| p.finish()) }
    /// s
    pub fn summary(&self) -> Vec<Judged> {
        self.0.iter().map(|p| Judged { name: p.name(), sentence: p.sentence(), source: p.source(), checks: p.checks(), sometimes: vec![] }).collect()
    }
}
