//! Seeds, as people write them.
//!
//! A seed is a 64-bit number. It parses as decimal (`42`), as hexadecimal with a prefix (`0x2a`), or as a full git
//! commit hash of 40 hexadecimal digits, so that a pipeline can say "a fresh seed for each commit" without arithmetic.
//! A hash is folded: its first 16 digits, the next 16 and the last 8, each read as a number, are combined by
//! exclusive or.

/// Why a text is no seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no seed; give a whole number below 2^64 (42), hexadecimal (0x2a), or a commit hash of 40 digits")]
pub struct NoSeed(String);

/// Reads a seed.
pub fn parse(text: &str) -> Result<u64, NoSeed> {
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let digits_only = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = if let Some(digits) = text.strip_prefix("0x") {
        if digits.starts_with('+') { None } else { hex(digits) }
    } else if text.len() == 40 && digits_only {
        match (hex(&text[..16]), hex(&text[16..32]), hex(&text[32..])) {
            (Some(first), Some(second), Some(last)) => Some(first ^ second ^ last),
            _ => None,
        }
    } else if text.starts_with('+') {
        None
    } else {
        text.parse().ok()
    };
    number.ok_or_else(|| NoSeed(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_parse_as_decimal_hexadecimal_and_commit_hash() {
        assert_eq!(parse("42"), Ok(42));
        assert_eq!(parse("0x2a"), Ok(42));
        assert_eq!(parse("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse("00000000000000010000000000000002000000ff"), Ok(1 ^ 2 ^ 0xff));
    }

    #[test]
    fn what_is_no_seed_is_told_what_is_one() {
        for text in ["", "x", "-1", "+1", "0x", "0x+1", "18446744073709551616", "abc123", "1.5"] {
            let error = parse(text).expect_err(text);
            assert!(error.to_string().contains("hexadecimal"), "{error}");
        }
    }
}
