//! Times as people read and write them: RFC 3339, or microseconds since 1970 as in an event's `time`.

use dacapo_core::time::WallTime;

/// Reads a time; none if it is neither.
pub(super) fn parse(text: &str) -> Option<WallTime> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(WallTime);
    }
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Finer than microseconds is cut off.
    let micros: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let offset_minutes = match zone {
        "Z" | "z" => 0,
        zone => {
            let [hours, minutes] = numbers(&zone[1..], ':', [2, 2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = i64::try_from(hours * 60 + minutes).ok()?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    // 60 is a leap second.
    if !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    let seconds = i64::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second).ok()? - offset_minutes * 60;
    Some(WallTime(u64::try_from(seconds).ok()? * 1_000_000 + micros))
}

/// Numbers of these many digits, with a separator between.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days of the Gregorian calendar; none if there is no such day.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let length = |month: u64| match month {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || day == 0 || day > length(month) {
        return None;
    }
    let leap_days_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = (year - 1970) * 365 + leap_days_before(year) - leap_days_before(1970);
    Some(years + (1..month).map(length).sum::<u64>() + day - 1)
}

/// Writes a time as RFC 3339, in UTC and to the microsecond.
pub(super) fn show(time: WallTime) -> String {
    let (seconds, micros) = (time.0 / 1_000_000, time.0 % 1_000_000);
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while let Some(first_of_next) = days_since_1970(year + 1, 1, 1)
        && let Some(first) = days_since_1970(year, 1, 1)
        && days >= first_of_next - first
    {
        days -= first_of_next - first;
        year += 1;
    }
    let of_year = |month: u64| Some(days_since_1970(year, month, 1)? - days_since_1970(year, 1, 1)?);
    let month = (1..=12).rev().find(|month| of_year(*month).is_some_and(|first| first <= days)).unwrap_or(1);
    let day = days - of_year(month).unwrap_or_default() + 1;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "2000-02-29T12:00:00.000001Z",
            "2024-12-31T23:59:59.999999Z",
            "2026-03-01T00:00:00.250000Z",
        ] {
            assert_eq!(show(parse(text).expect("is a time")), text);
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let seconds = |seconds: u64| Some(WallTime(seconds * 1_000_000));
        assert_eq!(parse("1970-01-01T00:00:00Z"), seconds(0));
        assert_eq!(parse("2000-02-29T12:00:00Z"), seconds(951_825_600));
        assert_eq!(parse("2024-12-31T23:59:59+01:00"), seconds(1_735_685_999));
        assert_eq!(parse("2026-03-01T00:00:00.25Z"), Some(WallTime(1_772_323_200_250_000)));
        assert_eq!(parse("1772323200250000"), Some(WallTime(1_772_323_200_250_000)));
        for wrong in
            ["", "yesterday", "2025-02-29T00:00:00Z", "2025-13-01T00:00:00Z", "2025-01-01", "2025-01-01T00:00Z"]
        {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
