//! What became of something that was asked for.

use dacapo_bank::{
    events::Reason,
    ids::{AccountId, TransactionId},
    money::Pence,
};
use dacapo_core::Position;
use dacapo_reporting::words;
use serde::Serialize;

/// What became of it, with a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It happened.
    Accepted {
        /// What happened.
        sentence: String,
        /// Where in the log: whoever has followed it up to here sees it.
        position: Position,
    },
    /// It did not happen, and will not.
    Rejected {
        /// For programs.
        reason: String,
        /// Why, and what to do.
        sentence: String,
    },
    /// Nobody knows yet.
    Pending {
        /// What is known.
        sentence: String,
        /// The payment that the live channel will tell about. None: it is not even known whether the request has
        /// arrived, and it should be sent again as it was, which cannot make it happen twice.
        #[serde(skip_serializing_if = "Option::is_none")]
        payment: Option<TransactionId>,
    },
}

impl Outcome {
    /// It was refused for this reason.
    pub fn rejected(reason: &str, sentence: impl Into<String>) -> Self {
        Self::Rejected { reason: reason.to_owned(), sentence: sentence.into() }
    }

    /// For people.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Accepted { sentence, .. } | Self::Rejected { sentence, .. } | Self::Pending { sentence, .. } => {
                sentence
            }
        }
    }

    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Rejected { .. } => "rejected",
            Self::Pending { .. } => "pending",
        }
    }
}

/// Why a transfer was rejected, in words that tell nothing of what the other account holds.
pub fn sentence(reason: Reason, from: &AccountId, to: &AccountId) -> String {
    match reason {
        Reason::UnknownSender => format!("There is no account {from} to pay from. Choose one of yours."),
        Reason::UnknownRecipient => format!("There is no account {to}. Check the name that you were given."),
        Reason::InsufficientFunds => format!("There is not enough money in {from}. Send less, or pay in first."),
        Reason::BalanceTooLarge => format!("{to} cannot take that much. Send less."),
        Reason::SelfTransfer => "An account cannot pay itself. Choose another recipient.".to_owned(),
        Reason::NoMoney => "Nothing cannot be sent. Send at least a penny.".to_owned(),
    }
}

/// `£1,234.50`. The page's script has the same, and a test in the browser compares them.
pub fn pounds(pence: Pence) -> String {
    format!("£{}.{:02}", words::grouped(pence.get() / 100), pence.get() % 100)
}

/// Reads what people write: `12`, `12.5`, `£1,234.50`.
pub fn amount(text: &str) -> Result<Pence, String> {
    let told = || format!("“{}” is no amount. Write it like 12.50.", text.trim());
    let plain: String = text.trim().trim_start_matches('£').trim().replace(',', "");
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || whole.len() > 15 || part.len() > 2 || !digits(whole) || !digits(part) {
        return Err(told());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| told())? };
    let part: u64 = format!("{part:0<2}").parse().map_err(|_| told())?;
    let pence = Pence::new(whole * 100 + part)
        .map_err(|_| format!("That is more than the bank can count. Choose at most {}.", pounds(Pence::MAX)))?;
    if pence.is_zero() {
        return Err("Nothing cannot be moved. Choose at least a penny.".to_owned());
    }
    Ok(pence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, pence) in
            [("12", 1_200), ("12.5", 1_250), (" £1,234.50 ", 123_450), ("0.01", 1), (".5", 50), ("7.", 700)]
        {
            assert_eq!(amount(text).map(Pence::get), Ok(pence), "{text}");
        }
        for text in ["", "£", ".", "0", "0.00", "-1", "1.234", "twelve", "1e3", "99999999999999999999"] {
            assert!(amount(text).is_err(), "{text}");
        }
        assert!(amount("10000000000000.01").is_err_and(|sentence| sentence.contains("more than the bank can count")));
    }

    #[test]
    fn pounds_have_their_groups_and_both_places() {
        for (pence, text) in [(0, "£0.00"), (5, "£0.05"), (99_999, "£999.99"), (123_456_789, "£1,234,567.89")] {
            assert_eq!(pounds(Pence::new(pence).unwrap()), text);
        }
    }

    #[test]
    fn a_rejection_tells_nothing_of_the_other_account() {
        let (from, to) = (AccountId::new("a").unwrap(), AccountId::new("b").unwrap());
        assert!(!sentence(Reason::BalanceTooLarge, &from, &to).chars().any(|c| c.is_ascii_digit()));
    }
}
