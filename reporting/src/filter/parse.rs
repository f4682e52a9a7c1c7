//! Reading a filter.

use dacapo_core::{Position, WallTime};

use super::{Bound, Comparison, Field, Filter, NoFilter, Status, Term, Value, What};
use crate::calendar;

impl Filter {
    /// Reads a filter; several texts are read as if a space stood between them.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, NoFilter> {
        let mut terms = Vec::new();
        for text in texts {
            for word in words(text.as_ref())? {
                terms.push(term(&word)?);
            }
        }
        Ok(Self { terms })
    }
}

/// A character of a word, and whether it stood between quotation marks.
type Letter = (char, bool);

/// Splits at spaces, except between quotation marks. Within these a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<Vec<Letter>>, NoFilter> {
    let mut words = Vec::new();
    let mut word: Vec<Letter> = Vec::new();
    let mut begun = false;
    let mut quoted = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                // Marks of its own, so that a quoted word is known as text even if nothing is in it.
                word.push(('"', false));
                begun = true;
            }
            '\\' if quoted => word.push((letters.next().ok_or(NoFilter::Quote)?, true)),
            letter if letter.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            letter => {
                word.push((letter, quoted));
                begun = true;
            }
        }
    }
    if quoted {
        return Err(NoFilter::Quote);
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

/// The text without the marks around it.
fn plain(letters: &[Letter]) -> String {
    letters.iter().filter(|(letter, quoted)| *quoted || *letter != '"').map(|(letter, _)| *letter).collect()
}

/// Its parts between commas that are not quoted, without empty ones.
fn alternatives(letters: &[Letter]) -> Vec<String> {
    letters.split(|letter| *letter == (',', false)).map(plain).filter(|part| !part.is_empty()).collect()
}

fn term(word: &[Letter]) -> Result<Term, NoFilter> {
    let (negated, body) = match word.first() {
        Some(('-' | '!', false)) => (true, &word[1..]),
        _ => (false, word),
    };
    Ok(Term { negated, what: what(word, body)? })
}

fn what(word: &[Letter], body: &[Letter]) -> Result<What, NoFilter> {
    let empty = || NoFilter::Empty(plain(word));
    if let Some(found) = payload(body)? {
        return Ok(found);
    }
    let colon = body.iter().position(|letter| *letter == (':', false));
    let begins_with_name = body.first().is_some_and(|letter| *letter != ('"', false));
    let Some(colon) = colon.filter(|_| begins_with_name) else {
        let text = plain(body);
        return if text.is_empty() { Err(empty()) } else { Ok(What::Text(text)) };
    };
    let (name, value) = (plain(&body[..colon]), &body[colon + 1..]);
    let parts = alternatives(value);
    if parts.is_empty() {
        return Err(empty());
    }
    if let Some(field) = Field::ALL.into_iter().find(|field| field.name() == name) {
        return Ok(What::Field(field, parts));
    }
    match name.as_str() {
        "service" => Ok(What::Service(parts)),
        "status" => parts.iter().map(|part| status(part)).collect::<Result<_, _>>().map(What::Status),
        "after" => bound(&plain(value)).map(What::After),
        "before" => bound(&plain(value)).map(What::Before),
        _ => Err(NoFilter::Field(name)),
    }
}

/// `path>number`, `path=text`; none if it is not of this shape.
fn payload(body: &[Letter]) -> Result<Option<What>, NoFilter> {
    let is_name = |letter: &Letter| !letter.1 && (letter.0.is_ascii_alphanumeric() || "_.".contains(letter.0));
    let end = body.iter().position(|letter| !is_name(letter)).unwrap_or(body.len());
    let sign: String =
        body[end..].iter().take(2).take_while(|(_, quoted)| !quoted).map(|(letter, _)| *letter).collect();
    let Some(comparison) = Comparison::ALL.into_iter().find(|one| end > 0 && sign.starts_with(one.sign())) else {
        return Ok(None);
    };
    let rest = &body[end + comparison.sign().len()..];
    let text = plain(rest);
    if text.is_empty() {
        return Err(NoFilter::Empty(plain(body)));
    }
    let is_quoted = rest.first() == Some(&('"', false));
    let number = text.parse::<f64>().ok().filter(|number| !is_quoted && number.is_finite());
    let value = match (number, comparison) {
        (Some(number), _) => Value::Number(number),
        (None, Comparison::Equal | Comparison::Different) => Value::Text(text),
        (None, _) => return Err(NoFilter::Number(plain(body))),
    };
    Ok(Some(What::Payload { path: plain(&body[..end]), comparison, value }))
}

fn status(text: &str) -> Result<Status, NoFilter> {
    Status::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| NoFilter::Status(text.to_owned()))
}

fn bound(text: &str) -> Result<Bound, NoFilter> {
    let position = || text.parse().ok().map(|position| Bound::Position(Position(position)));
    let time = || calendar::parse(text).map(Bound::Time);
    position().or_else(|| since(text).map(Bound::Since)).or_else(time).ok_or_else(|| NoFilter::Bound(text.to_owned()))
}

/// `12.5s` in microseconds, to the last digit.
fn since(text: &str) -> Option<u64> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let unit: u64 = match unit {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = if whole.is_empty() && !fraction.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let fraction = match fraction {
        "" => 0,
        digits if digits.len() <= 9 => digits.parse::<u64>().ok()?.checked_mul(unit)? / 10_u64.pow(digits.len() as u32),
        _ => return None,
    };
    whole.checked_mul(unit)?.checked_add(fraction)
}

/// A wall time as the language reads it back.
pub(super) fn written(time: WallTime) -> String {
    let text = calendar::show(time);
    match time.0 % 1_000 {
        0 => text,
        micros => text.replace('Z', &format!("{micros:03}Z")),
    }
}
