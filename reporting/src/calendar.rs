//! Wall times as people read them: RFC 3339 in UTC.
//!
//! Events bear microseconds since 1970. Only showing and parsing them happens here; nothing is decided by a date.

use dacapo_core::WallTime;

const MICROS_PER_SECOND: u64 = 1_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// `2026-11-21T08:15:30.250Z`, to the millisecond.
pub fn show(time: WallTime) -> String {
    let seconds = time.0 / MICROS_PER_SECOND;
    let (year, month, day) = date_of_day(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let millis = time.0 / 1_000 % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Reads `2026-11-21`, or `2026-11-21T08:15:30Z` with an optional fraction of a second.
pub fn parse(text: &str) -> Option<WallTime> {
    let (date, clock) = match text.split_once('T') {
        Some((date, clock)) => (date, Some(clock.strip_suffix('Z')?)),
        None => (text, None),
    };
    let (year, month, day) = three(date, '-')?;
    let seconds_of_day = match clock {
        None => 0,
        Some(clock) => {
            let (hour, minute, second) = three(clock.split('.').next()?, ':')?;
            if hour > 23 || minute > 59 || second > 59 {
                return None;
            }
            hour * 3_600 + minute * 60 + second
        }
    };
    let micros = match clock.and_then(|clock| clock.split_once('.')) {
        None => 0,
        Some((_, fraction)) if fraction.len() <= 6 && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{fraction:0<6}").parse::<u64>().ok()?
        }
        Some(_) => return None,
    };
    let day_number = day_of_date(year, month, day)?;
    Some(WallTime((day_number * SECONDS_PER_DAY + seconds_of_day) * MICROS_PER_SECOND + micros))
}

fn three(text: &str, separator: char) -> Option<(u64, u64, u64)> {
    let mut parts = text.split(separator).map(|part| {
        let digits = !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse::<u64>().ok() } else { None }
    });
    let three = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(three)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before the first of January of a year, counted from 1970.
fn days_before_year(year: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
}

fn day_of_date(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    let before_month: u64 = (1..month).map(|month| days_of_month(year, month)).sum();
    Some(days_before_year(year) + before_month + day - 1)
}

fn date_of_day(day_number: u64) -> (u64, u64, u64) {
    // At most one year too late, since a year has at least 365 days.
    let mut year = 1970 + day_number / 365;
    while days_before_year(year) > day_number {
        year -= 1;
    }
    let mut day = day_number - days_before_year(year);
    let mut month = 1;
    while day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_and_read_back() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999_000, "2024-02-29T23:59:59.999Z"),
            (1_795_162_530_250_000, "2026-11-20T08:15:30.250Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(show(WallTime(micros)), text);
            assert_eq!(parse(text), Some(WallTime(micros)), "{text}");
        }
        assert_eq!(parse("1970-01-02"), Some(WallTime(86_400_000_000)));
    }

    #[test]
    fn every_day_of_four_centuries_goes_there_and_back() {
        for day_number in 0..146_097 {
            let (year, month, day) = date_of_day(day_number);
            assert_eq!(day_of_date(year, month, day), Some(day_number));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "yesterday", "2026-13-01", "2026-02-29", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "1969-01-01"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
