//! Numbers, times and addresses as people read them.

use std::fmt::Write as _;

use dacapo_core::WallTime;

use crate::calendar;

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2 events`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// `340 µs`, `12.4 ms`, `3.21 s`, `4 min 5 s`, `2 h 3 min`.
pub fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{}.{} ms", us / 1_000, us / 100 % 10),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..60_000_000 => format!("{}.{:02} s", us / 1_000_000, us / 10_000 % 100),
        60_000_000..3_600_000_000 => format!("{} min {} s", us / 60_000_000, us / 1_000_000 % 60),
        _ => format!("{} h {} min", us / 3_600_000_000, us / 60_000_000 % 60),
    }
}

/// A span with its sign: `+12 ms`, `−3 ms` where a clock was set back.
pub fn signed(us: i64) -> String {
    format!("{}{}", if us < 0 { "−" } else { "+" }, span(us.unsigned_abs()))
}

/// The day and the time of it: `2026-11-21` and `08:15:30.250`.
pub fn day_and_clock(time: WallTime) -> (String, String) {
    let text = calendar::show(time);
    match text.trim_end_matches('Z').split_once('T') {
        Some((day, clock)) => (day.to_owned(), clock.to_owned()),
        None => (text, String::new()),
    }
}

/// At most so many characters, the last one being `…` if there were more.
pub fn clipped(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A long name by its beginning and its end, which is where names of one kind differ.
pub fn shortened(text: &str, chars_max: usize) -> String {
    let all = text.chars().count();
    if all <= chars_max {
        return text.to_owned();
    }
    let tail = chars_max / 2;
    text.chars().take(chars_max - tail - 1).chain(['…']).chain(text.chars().skip(all - tail)).collect()
}

/// A text as one part of an address.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            // Writing to a text cannot fail.
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// The reverse of [`encoded`]; a `+` is a space where forms write addresses. None if it is not UTF-8.
pub fn decoded(text: &str, form: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push((high * 16 + low) as u8);
            }
            b'+' if form => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0, 12, 123, 1_234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
        assert_eq!([1, 2].map(|number| count(number, "seed", "seeds")), ["1 seed", "2 seeds"]);
    }

    #[test]
    fn spans_have_a_unit_that_fits() {
        for (us, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_250, "1.2 ms"),
            (12_400, "12 ms"),
            (3_214_000, "3.21 s"),
            (245_000_000, "4 min 5 s"),
            (7_380_000_000, "2 h 3 min"),
        ] {
            assert_eq!(span(us), text);
        }
        assert_eq!((signed(5_000), signed(-5_000)), ("+5.0 ms".to_owned(), "−5.0 ms".to_owned()));
    }

    #[test]
    fn addresses_go_there_and_back() {
        for text in ["acc-7", "acc 7/ä", "$service/x?&=#%", "a+b"] {
            assert_eq!(decoded(&encoded(text), true).as_deref(), Some(text));
        }
        assert_eq!(decoded("a+b", true).as_deref(), Some("a b"));
        assert_eq!(decoded("a+b", false).as_deref(), Some("a+b"));
        for broken in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decoded(broken, false), None, "{broken}");
        }
    }

    #[test]
    fn long_texts_are_clipped_with_a_sign() {
        assert_eq!(clipped("abcdef", 6), "abcdef");
        assert_eq!(clipped("abcdefg", 6), "abcde…");
        assert_eq!(shortened("abcdefgh", 6), "ab…fgh");
        assert_eq!(shortened("abcdef", 6), "abcdef");
    }
}
