//! Money: whole pence, never less than nothing, never more than a limit.
//!
//! There is no float and no sign here, so that neither rounding nor a negative amount can be written down. A sum that
//! would leave the range is an error that the caller must look at, never a wrapped number.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// An amount of money, or a balance: 0 to [`Pence::MAX`] pence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Pence(u64);

/// Why a number is no money, or a sum none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// More than [`Pence::MAX`].
    #[error("{0} pence are more than the limit of {max}; use a smaller amount", max = Pence::MAX.get())]
    TooLarge(u64),
    /// Below zero.
    #[error("{0} pence are less than nothing; use a whole number of at least 1")]
    Negative(i64),
    /// The sum is more than [`Pence::MAX`].
    #[error("{held} pence and {added} pence are more than the limit of {max}; use a smaller amount", max = Pence::MAX.get())]
    SumTooLarge {
        /// What was there.
        held: Pence,
        /// What should come on top.
        added: Pence,
    },
}

impl Pence {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// The most that an amount or a balance may be: ten trillion pounds. It is below 2^53, so that every JSON reader
    /// sees the exact number, and so far below 2^64 that the balances of thousands of accounts add up without overflow.
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// Checks the number against the limit.
    pub const fn new(pence: u64) -> Result<Self, MoneyError> {
        if pence > Self::MAX.0 { Err(MoneyError::TooLarge(pence)) } else { Ok(Self(pence)) }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, if it stays within the limit.
    pub fn plus(self, added: Self) -> Result<Self, MoneyError> {
        Self::new(self.0 + added.0).map_err(|_| MoneyError::SumTooLarge { held: self, added })
    }

    /// The rest, if there is enough.
    #[must_use]
    pub fn minus(self, taken: Self) -> Option<Self> {
        self.0.checked_sub(taken.0).map(Self)
    }
}

impl fmt::Display for Pence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Takes whole JSON numbers only: a text or a fraction is a mistake of the sender that must not be guessed right.
impl<'de> Deserialize<'de> for Pence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Pence;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of pence such as 100")
            }
            fn visit_u64<E: de::Error>(self, pence: u64) -> Result<Pence, E> {
                Pence::new(pence).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, pence: i64) -> Result<Pence, E> {
                match u64::try_from(pence) {
                    Ok(pence) => self.visit_u64(pence),
                    Err(_) => Err(E::custom(MoneyError::Negative(pence))),
                }
            }
            fn visit_f64<E: de::Error>(self, pence: f64) -> Result<Pence, E> {
                Err(E::custom(format_args!(
                    "{pence} is no whole number of pence up to {max}; use one such as 100",
                    max = Pence::MAX
                )))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pence, E> {
                Err(E::custom(format_args!("pence must be a number such as 100, not the text {text:?}")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        serde_json::from_str::<Pence>(json).expect_err("it is no money").to_string()
    }

    #[test]
    fn only_whole_numbers_within_the_limit_are_money() {
        assert_eq!(serde_json::from_str::<Pence>("0").ok(), Some(Pence::ZERO));
        assert_eq!(serde_json::from_str::<Pence>("1000000000000000").ok(), Some(Pence::MAX));
        assert!(refusal("1.5").starts_with("1.5 is no whole number of pence"));
        assert!(refusal("1e3").starts_with("1000 is no whole number of pence"));
        assert!(refusal("\"100\"").starts_with("pence must be a number such as 100, not the text"));
        assert!(refusal("-5").starts_with("-5 pence are less than nothing"));
        assert!(refusal("1000000000000001").starts_with("1000000000000001 pence are more than the limit"));
        assert!(refusal("99999999999999999999999").contains("is no whole number of pence"));
        assert!(refusal("null").contains("a whole number of pence such as 100"));
    }

    #[test]
    fn a_sum_beyond_the_limit_is_an_error_and_a_rest_below_nothing_is_none() {
        let one = Pence::new(1).unwrap();
        assert_eq!(Pence::MAX.plus(one), Err(MoneyError::SumTooLarge { held: Pence::MAX, added: one }));
        assert_eq!(Pence::ZERO.plus(Pence::MAX), Ok(Pence::MAX));
        assert_eq!(one.minus(one), Some(Pence::ZERO));
        assert_eq!(Pence::ZERO.minus(one), None);
        assert_eq!(Pence::new(u64::MAX), Err(MoneyError::TooLarge(u64::MAX)));
    }
}
