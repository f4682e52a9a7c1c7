//! Writing a filter, such that reading it back gives the same.

use std::fmt;

use super::{Bound, Filter, Status, Term, Value, What, parse::written};

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("-")?;
        }
        match &self.what {
            What::Field(field, values) => write!(f, "{}:{}", field.name(), list(values)),
            What::Service(values) => write!(f, "service:{}", list(values)),
            What::Status(values) => {
                let names: Vec<&str> = values.iter().copied().map(Status::name).collect();
                write!(f, "status:{}", names.join(","))
            }
            What::After(bound) => write!(f, "after:{bound}"),
            What::Before(bound) => write!(f, "before:{bound}"),
            What::Payload { path, comparison, value } => write!(f, "{path}{}{value}", comparison.sign()),
            What::Text(text) => quoted(text).fmt(f),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => position.fmt(f),
            Self::Time(time) => f.write_str(&written(*time)),
            Self::Since(micros) => {
                let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
                write!(f, "{}s", text.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            // `=12` would be read as a number.
            Self::Text(text) if text.parse::<f64>().is_ok() => quoted(text).fmt(f),
            Self::Text(text) => value(text).fmt(f),
        }
    }
}

fn list(values: &[String]) -> String {
    values.iter().map(|text| value(text)).collect::<Vec<_>>().join(",")
}

/// A value as it is, if nothing in it means anything to the language.
fn value(text: &str) -> String {
    let is_plain = |letter: char| !letter.is_whitespace() && !matches!(letter, '"' | ',' | '\\' | '=');
    if text.chars().all(is_plain) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
