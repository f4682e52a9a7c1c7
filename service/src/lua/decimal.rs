//! `decimal`: money as whole numbers of its smallest unit, so that no penny is lost to binary fractions.

use mlua::{Error, Lua, Table};

fn wrong<T>(sentence: String) -> mlua::Result<T> {
    Err(Error::RuntimeError(sentence))
}

/// The table of the helpers.
pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set(
        "parse",
        lua.create_function(|_, (text, places): (String, Option<u32>)| {
            parse(&text, places.unwrap_or(2)).or_else(wrong)
        })?,
    )?;
    table.set(
        "text",
        lua.create_function(|_, (units, places): (i64, Option<u32>)| Ok(text(units, places.unwrap_or(2))))?,
    )?;
    table.set(
        "share",
        lua.create_function(|_, (units, part, of): (i64, i64, i64)| share(units, part, of).or_else(wrong))?,
    )?;
    Ok(table)
}

/// `parse("12.34", 2)` is 1234; more places than asked for are refused and not rounded.
fn parse(text: &str, places: u32) -> Result<i64, String> {
    let refuse =
        || format!("decimal.parse: {text:?} is no amount with at most {places} places; write one such as 12.34");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > places as usize || !all_digits(whole) || !all_digits(fraction) {
        return Err(refuse());
    }
    let units: i128 = format!("{whole}{fraction:0<width$}", width = places as usize).parse().map_err(|_| refuse())?;
    i64::try_from(if negative { -units } else { units }).map_err(|_| refuse())
}

/// `text(1234, 2)` is "12.34".
fn text(units: i64, places: u32) -> String {
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = places as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places as usize);
    let sign = if units < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// `share(units, 10, 100)` is a tenth, the half of a unit rounded to the even neighbour.
fn share(units: i64, part: i64, of: i64) -> Result<i64, String> {
    if of <= 0 {
        return Err(format!("decimal.share: there is no share of {of} parts; divide by a positive number"));
    }
    let (product, of) = (i128::from(units) * i128::from(part), i128::from(of));
    let (quotient, rest) = (product.div_euclid(of), product.rem_euclid(of));
    let up = 2 * rest > of || (2 * rest == of && quotient % 2 != 0);
    i64::try_from(quotient + i128::from(up))
        .map_err(|_| "decimal.share: the share is too large; divide first".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_come_and_go_without_losing_a_penny() {
        for (amount, units) in [("0", 0), ("12.34", 1234), ("0.05", 5), ("-0.05", -5), ("12", 1200), ("12.3", 1230)] {
            assert_eq!(parse(amount, 2), Ok(units));
            assert_eq!(parse(&text(units, 2), 2), Ok(units));
        }
        assert_eq!((text(7, 0), text(-1234, 2)), ("7".to_owned(), "-12.34".to_owned()));
        for refused in ["", ".5", "1.234", "1,5", "1e3", "--1", "99999999999999999999"] {
            assert!(parse(refused, 2).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_half_of_a_penny_goes_to_the_even_neighbour() {
        assert_eq!([5, 15, 25, -5, -15].map(|pence| share(pence, 1, 10).unwrap()), [0, 2, 2, 0, -2]);
        assert_eq!(share(10_050, 10, 100), Ok(1005));
        assert!(share(1, 1, 0).is_err());
    }
}
