//! The filter language: `type:Transfer* key:acc-7 -source:users "free text"`.
//!
//! `-` (or `!`, where a shell or a parser of flags gets in the way) negates, `,` is or, a space is and, `*` stands for anything. What a store can answer by an index is handed to it
//! ([`Filter::query`]); the rest is sieved here ([`Filter::matches`]).

use std::{fmt, time::Duration};

use dacapo_core::{CorrelationId, Event, EventId, EventType, Key, NameError, Position, Source, WallTime, store::Query};

use crate::calendar;

/// For `dacapo events --help`.
pub(crate) const HELP: &str = "\
Filter:
  key:acc-7          the consistency key          corr:4f2a    the correlation
  type:Transfer*     the event's type             cause:9c1b   what this event caused
  source:accounts    who published it             id:9c1b      this event
  after:, before:    a position (120), a time since the log's first event (12.5s), or a date (2026-11-21,
                     2026-11-21T08:15:00Z); after a position or at a time, before either
  -term negates, a,b is or, a space is and, * stands for anything, \"free text\" looks into the payload";

/// A filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Filter {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    negated: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Field(Field, Vec<String>),
    After(Bound),
    Before(Bound),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Key,
    Type,
    Correlation,
    Causation,
    Source,
    Id,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Position(Position),
    Time(WallTime),
    /// Since the log's first event; becomes a time in [`Filter::resolve`].
    Since(Duration),
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoFilter {
    Field(String),
    Empty(String),
    Bound(String),
    Quote,
    Name(NameError),
}

impl fmt::Display for NoFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => write!(
                f,
                "there is no field {field:?} to filter by; there are key, type, corr, cause, source, id, after and before"
            ),
            Self::Empty(term) => write!(f, "{term:?} has no value; write something like key:acc-7"),
            Self::Bound(text) => write!(
                f,
                "{text:?} is no place in the log; give a position (120), a time since the first event (12.5s), or a date \
                 (2026-11-21T08:15:00Z)"
            ),
            Self::Quote => f.write_str("a quotation mark is not closed; add the other one"),
            Self::Name(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NoFilter {}

impl Filter {
    /// Reads the terms of the command line; each argument may hold several.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, NoFilter> {
        let mut terms = Vec::new();
        for argument in arguments {
            for word in words(argument)? {
                terms.push(term(&word)?);
            }
        }
        Ok(Self { terms })
    }

    /// Whether a bound counts from the log's first event.
    pub(crate) fn needs_first(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.what, What::After(Bound::Since(_)) | What::Before(Bound::Since(_))))
    }

    /// Turns times since the log's first event into times.
    pub(crate) fn resolve(&mut self, first: WallTime) {
        for term in &mut self.terms {
            if let What::After(bound) | What::Before(bound) = &mut term.what
                && let Bound::Since(since) = *bound
            {
                let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
                *bound = Bound::Time(WallTime(first.0.saturating_add(micros)));
            }
        }
    }

    /// What the store shall look for: it may find more than the filter wants, never less.
    pub(crate) fn query(&self) -> Result<Query, NoFilter> {
        let mut query = Query::default();
        for Term { what, .. } in self.terms.iter().filter(|term| !term.negated) {
            match what {
                What::Field(field, values) if values.iter().all(|value| !value.contains('*')) => {
                    put(&mut query, *field, values).map_err(NoFilter::Name)?;
                }
                What::After(Bound::Time(time)) => query.from = query.from.max(Some(*time)),
                What::Before(Bound::Time(time)) => {
                    query.until = Some(query.until.map_or(*time, |until| until.min(*time)));
                }
                What::Field(..) | What::After(_) | What::Before(_) | What::Text(_) => {}
            }
        }
        Ok(query)
    }

    /// Whether the event is wanted.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        self.terms.iter().all(|term| term.what.holds(event) != term.negated)
    }
}

/// One exact value goes into the query; several do so only for types, which a query takes several of.
fn put(query: &mut Query, field: Field, values: &[String]) -> Result<(), NameError> {
    match (field, values) {
        (Field::Type, values) if query.types.is_empty() => {
            query.types = values.iter().map(|value| EventType::new(value.clone())).collect::<Result<_, _>>()?;
        }
        (Field::Key, [value]) => query.key = Some(Key::new(value.clone())?),
        (Field::Correlation, [value]) => query.correlation = Some(CorrelationId::new(value.clone())?),
        (Field::Causation, [value]) => query.causation = Some(EventId::new(value.clone())?),
        (Field::Source, [value]) => query.source = Some(Source::new(value.clone())?),
        (Field::Id, [value]) => query.id = Some(EventId::new(value.clone())?),
        _ => {}
    }
    Ok(())
}

impl What {
    fn holds(&self, event: &Event) -> bool {
        match self {
            Self::Field(field, values) => {
                let text = match field {
                    Field::Key => event.key.as_str(),
                    Field::Type => event.event_type.as_str(),
                    Field::Correlation => event.correlation.as_str(),
                    Field::Causation => event.causation.as_ref().map_or("", EventId::as_str),
                    Field::Source => event.source.as_str(),
                    Field::Id => event.id.as_str(),
                };
                values.iter().any(|value| glob(value, text))
            }
            Self::After(Bound::Position(position)) => event.position > *position,
            Self::Before(Bound::Position(position)) => event.position < *position,
            Self::After(Bound::Time(time)) => event.time >= *time,
            Self::Before(Bound::Time(time)) => event.time < *time,
            // Resolved before any event is looked at.
            Self::After(Bound::Since(_)) | Self::Before(Bound::Since(_)) => false,
            Self::Text(text) => event.data.as_str().contains(text.as_str()),
        }
    }
}

/// Splits at spaces, except between quotation marks; a quoted word keeps its marks, so that it is known as text.
fn words(text: &str) -> Result<Vec<String>, NoFilter> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                word.push('"');
            }
            character if character.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            character => word.push(character),
        }
    }
    if quoted {
        return Err(NoFilter::Quote);
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

fn term(word: &str) -> Result<Term, NoFilter> {
    let (negated, body) = match word.strip_prefix(['-', '!']) {
        Some(body) => (true, body),
        None => (false, word),
    };
    let what = match body.split_once(':') {
        Some((field, value)) if !body.starts_with('"') => {
            let value = value.trim_matches('"');
            if value.is_empty() {
                return Err(NoFilter::Empty(word.to_owned()));
            }
            let field = match field {
                "key" => Field::Key,
                "type" => Field::Type,
                "corr" => Field::Correlation,
                "cause" => Field::Causation,
                "source" => Field::Source,
                "id" => Field::Id,
                "after" => return Ok(Term { negated, what: What::After(bound(value)?) }),
                "before" => return Ok(Term { negated, what: What::Before(bound(value)?) }),
                _ => return Err(NoFilter::Field(field.to_owned())),
            };
            What::Field(field, value.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect())
        }
        _ => match body.trim_matches('"') {
            "" => return Err(NoFilter::Empty(word.to_owned())),
            text => What::Text(text.to_owned()),
        },
    };
    Ok(Term { negated, what })
}

fn bound(text: &str) -> Result<Bound, NoFilter> {
    let since = || {
        let unit_at = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, unit) = text.split_at(unit_at);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok().map(Bound::Since)
    };
    let position = || text.parse().ok().map(|position| Bound::Position(Position(position)));
    let time = || calendar::parse(text).map(Bound::Time);
    position().or_else(since).or_else(time).ok_or_else(|| NoFilter::Bound(text.to_owned()))
}

/// Whether the text is as the pattern says; `*` stands for any characters, or none.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use dacapo_core::{Data, Version};

    use super::*;

    fn event() -> Event {
        Event {
            position: Position(12),
            id: EventId::of("e-12"),
            event_type: EventType::of("ConfirmedDebit"),
            key: Key::of("acc-7"),
            version: Version(3),
            correlation: CorrelationId::of("c-1"),
            causation: Some(EventId::of("e-9")),
            time: WallTime(20_000_000),
            source: Source::of("accounts"),
            data: Data::from_text(r#"{"pence": 100, "note": "for the rent"}"#).expect("is JSON"),
        }
    }

    fn filter(text: &str) -> Filter {
        Filter::parse(&[text.to_owned()]).expect(text)
    }

    #[test]
    fn terms_are_read_as_the_help_says() {
        let event = event();
        for text in [
            "",
            "key:acc-7",
            "key:acc-*",
            "type:Confirmed*,Accepted*",
            "type:*Debit source:accounts",
            "corr:c-1 cause:e-9 id:e-12",
            "-key:acc-8 -type:Pending*",
            "\"the rent\"",
            "rent",
            "-\"the moon\"",
            "after:11 before:13",
            "after:1970-01-01T00:00:20Z",
            "-before:12",
            "!key:acc-8 !type:Pending*",
        ] {
            assert!(filter(text).matches(&event), "{text}");
        }
        for text in ["key:acc", "-key:acc-7", "type:Pending*", "cause:e-8", "after:12", "before:12", "moon"] {
            assert!(!filter(text).matches(&event), "{text}");
        }
    }

    #[test]
    fn times_since_the_first_event_are_resolved() {
        let mut later = filter("after:12.5s before:20s");
        assert!(later.needs_first());
        later.resolve(WallTime(5_000_000));
        assert!(later.matches(&event()));
        assert_eq!(later.query().expect("is one").from, Some(WallTime(17_500_000)));
        let mut earlier = filter("after:12.5s");
        earlier.resolve(WallTime(10_000_000));
        assert!(!earlier.matches(&event()));
    }

    #[test]
    fn what_has_an_index_goes_to_the_store() {
        let query = filter("key:acc-7 type:A,B source:acc* -corr:x").query().expect("is one");
        assert_eq!(query.key, Some(Key::of("acc-7")));
        assert_eq!(query.types, [EventType::of("A"), EventType::of("B")]);
        assert_eq!((query.source, query.correlation), (None, None));
    }

    #[test]
    fn what_is_no_filter_is_told_why() {
        let error = |text: &str| Filter::parse(&[text.to_owned()]).expect_err(text).to_string();
        assert!(error("colour:red").contains("there are key, type"));
        assert!(error("key:").contains("no value"));
        assert!(error("after:soon").contains("position"));
        assert!(error("\"open").contains("not closed"));
    }

    #[test]
    fn globs_match_anywhere() {
        for (pattern, text) in [("*", ""), ("a*", "a"), ("*c", "abc"), ("a*b*c", "aXbYc"), ("a**c", "abc")] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*c", "ab"), ("a*b*b", "ab"), ("*a*", "b")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
