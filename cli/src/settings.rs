//! The limits of a production bus: the defaults, then a TOML file, then `--set key=value`.
//!
//! The names and their reasons stand in `dacapo_core::limits`; a name that is none of them is refused, since a limit
//! that silently does not count is worse than none.

use std::{fs, path::Path};

use anyhow::Context as _;
use dacapo_core::Limits;
use toml::{Table, Value};

use crate::exit::Usage;

/// Reads the limits.
pub(crate) fn limits(config: Option<&Path>, set: &[String]) -> anyhow::Result<Limits> {
    let mut table = match config {
        None => Table::new(),
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| Usage::error(format!("cannot read {}: {error}; give a TOML file", path.display())))?;
            text.parse::<Table>()
                .map_err(|error| Usage::error(error.to_string()))
                .with_context(|| format!("{} is no TOML; mend it there", path.display()))?
        }
    };
    for setting in set {
        let (key, value) = setting.split_once('=').ok_or_else(|| {
            Usage::error(format!("--set {setting} has no value; write --set key=value, such as --set failures_max=5"))
        })?;
        table.insert(key.trim().to_owned(), value_of(value.trim()));
    }
    let limits: Limits = table.try_into().map_err(|error: toml::de::Error| {
        Usage::error(format!(
            "{}; the limits are numbers (durations in milliseconds), named as in dacapo_core::limits::Limits",
            error.message()
        ))
    })?;
    Ok(limits)
}

fn value_of(text: &str) -> Value {
    text.replace('_', "").parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn set(settings: &[&str]) -> Result<Limits, String> {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        limits(None, &settings).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn settings_go_over_the_defaults() {
        let limits = set(&["grace=500", "heads_max=1_000"]).expect("both are limits");
        assert_eq!(limits.grace, Duration::from_millis(500));
        assert_eq!(limits.heads_max, 1_000);
        assert_eq!(limits.failures_max, Limits::default().failures_max);
    }

    #[test]
    fn settings_go_over_the_file() {
        let path = std::env::temp_dir().join(format!("dacapo-limits-{}.toml", std::process::id()));
        fs::write(&path, "grace = 700\nfailures_max = 3\n").expect("writes");
        let limits = limits(Some(&path), &["grace=900".to_owned()]).expect("both are limits");
        assert_eq!((limits.grace, limits.failures_max), (Duration::from_millis(900), 3));
        fs::remove_file(&path).expect("can be removed");
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        assert!(set(&["graces=1"]).expect_err("no such limit").contains("graces"));
        assert!(set(&["grace"]).expect_err("no value").contains("--set key=value"));
        assert!(set(&["grace=long"]).expect_err("no number").contains("milliseconds"));
        assert!(set(&["failures_max=-1"]).is_err());
    }
}
