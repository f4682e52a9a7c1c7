//! What the bank's payloads mean to the viewer, as it could stand in a file of `--money`.

use dacapo_reporting::declared::{Change, Declared, Transfer};

/// The bank's.
pub(crate) fn bank() -> Declared {
    let change = |event_type: &str, outside: &str| Change {
        event_type: event_type.to_owned(),
        amount: "pence".to_owned(),
        why: "why".to_owned(),
        outside: outside.to_owned(),
    };
    Declared {
        unit: "pence".to_owned(),
        account_key: "acc-".to_owned(),
        transfers: vec![Transfer {
            event_type: "AcceptedTransaction".to_owned(),
            amount: "pence".to_owned(),
            from: "from".to_owned(),
            to: "to".to_owned(),
        }],
        credits: vec![change("ConfirmedCredit", "deposit")],
        debits: vec![change("ConfirmedDebit", "withdrawal")],
    }
}

#[cfg(test)]
mod tests {
    use dacapo_bank::events::{AcceptedTransaction, ConfirmedCredit, ConfirmedDebit, Fact, Why};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_help_shows_it_as_it_could_stand_in_a_file() {
        let (_, text) = crate::view::HELP.split_once("keys\n").expect("JSON follows");
        assert_eq!(serde_json::from_str::<Declared>(text).expect("is one"), bank());
    }

    #[test]
    fn it_names_the_banks_types_and_fields() {
        let declared = bank();
        assert_eq!(declared.transfers[0].event_type, AcceptedTransaction::TYPE);
        assert_eq!(declared.credits[0].event_type, ConfirmedCredit::TYPE);
        assert_eq!(declared.debits[0].event_type, ConfirmedDebit::TYPE);
        for (why, outside) in
            [(Why::Deposit, &declared.credits[0].outside), (Why::Withdrawal, &declared.debits[0].outside)]
        {
            assert_eq!(json!(why), json!(outside));
        }
    }
}
