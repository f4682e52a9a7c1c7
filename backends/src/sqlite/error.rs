//! What SQLite says, in the store's words.

use dacapo_core::store::StoreError;
use rusqlite::{Error, ErrorCode};

/// Maps an error to what it means for the bus. Whatever is not known to have written nothing is [`StoreError::Io`].
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn map(error: Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::Violation(error.to_string()),
        Some(ErrorCode::DiskFull) => StoreError::Full(error.to_string()),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged(error.to_string()),
        Some(ErrorCode::NotADatabase) => StoreError::Damaged(format!("{error}: its first page is overwritten")),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Io(format!("another process holds a lock on the file ({error})"))
        }
        Some(_) => StoreError::Io(error.to_string()),
        None => match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
            | Error::QueryReturnedNoRows => StoreError::Damaged(format!("a row has another shape ({error})")),
            _ => StoreError::Io(error.to_string()),
        },
    }
}
