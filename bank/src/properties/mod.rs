//! What must hold of the bank, judged from the log and the trace alone.
//!
//! Nothing here calls the services' code: payloads are read as plain JSON, balances are added up again, in signed
//! numbers that can show what the services could not even write down.
//!
//! | property | kind | what it watches |
//! |---|---|---|
//! | [`NoOverdraft`] | always | every prefix of the log |
//! | [`MoneyIsConserved`] | always | every commit |
//! | [`AnswersAgreeWithLog`] | always | every answer to a customer |
//! | [`TransfersAreDecided`] | eventually | transfers that were ordered |
//! | [`AccountsAreOpened`] | eventually | accounts that were asked for |
//! | [`ReadModelsAgree`] | eventually | what is shown when all is healed and done |

mod accounts_are_opened;
mod answers_agree_with_log;
mod money_is_conserved;
mod no_overdraft;
mod read_models_agree;
pub(crate) mod reading;
#[cfg(test)]
mod story;
mod transfers_are_decided;

pub use accounts_are_opened::AccountsAreOpened;
pub use answers_agree_with_log::AnswersAgreeWithLog;
use dacapo_properties::Property;
pub use money_is_conserved::MoneyIsConserved;
pub use no_overdraft::NoOverdraft;
pub use read_models_agree::ReadModelsAgree;
pub use transfers_are_decided::TransfersAreDecided;

/// All of them, fresh.
pub fn all() -> Vec<Box<dyn Property>> {
    vec![
        Box::<NoOverdraft>::default(),
        Box::<MoneyIsConserved>::default(),
        Box::<AnswersAgreeWithLog>::default(),
        Box::<TransfersAreDecided>::default(),
        Box::<AccountsAreOpened>::default(),
        Box::<ReadModelsAgree>::default(),
    ]
}
