//! Prometheus's text format.

use std::fmt::Write as _;

use super::histogram::Histogram;

/// A page of metrics that grows.
pub(super) struct Page(String);

impl Page {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(16 << 10))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn header(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn line(&mut self, name: &str, value: u64) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// A line with one label, whose value may be any text.
    pub(super) fn labelled(&mut self, name: &str, label: &str, of: &str, value: u64) {
        let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.header(name, help, "gauge");
        self.line(name, value);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.header(name, help, "counter");
        self.line(name, value);
    }

    /// A histogram of whole numbers, told in a unit of which `per` of them make one.
    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram, per: u64) {
        self.header(name, help, "histogram");
        let (buckets, count, sum) = histogram.read();
        let in_unit = |size: u64| size as f64 / per as f64;
        for (bound, count) in buckets {
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{}\"}} {count}", in_unit(bound));
        }
        let _ = writeln!(self.0, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {count}", in_unit(sum));
    }
}
