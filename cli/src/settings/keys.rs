//! The settings that there are, besides the limits, whose names and reasons stand in `dacapo_core::limits`.

use toml::Value;

/// The table of the limits.
pub(super) const LIMITS: &str = "limits";

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text; with its default, if it has one.
    Text(Option<&'static str>),
    /// true or false; false by default.
    Flag,
}

impl Kind {
    pub(super) fn default(self) -> Option<Value> {
        match self {
            Self::Text(default) => default.map(Value::from),
            Self::Flag => Some(Value::Boolean(false)),
        }
    }

    pub(super) fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text(_) => value.is_str(),
            Self::Flag => value.is_bool(),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Flag => "true or false",
        }
    }
}

/// A setting.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// All but the limits. docs/CONFIGURATION.md says what each is for.
pub(super) const KEYS: &[Key] = &[
    Key { name: "db", kind: Kind::Text(None) },
    Key { name: "listen", kind: Kind::Text(Some("127.0.0.1:7171")) },
    Key { name: "auth", kind: Kind::Flag },
    Key { name: "tls_cert", kind: Kind::Text(None) },
    Key { name: "tls_key", kind: Kind::Text(None) },
    Key { name: "insecure_plain_text", kind: Kind::Flag },
];

/// The variable of the environment that sets a key.
pub(super) fn variable(name: &str) -> String {
    format!("DACAPO_{}", name.to_uppercase().replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_setting_and_every_limit() {
        let manual = include_str!("../../../docs/CONFIGURATION.md");
        let limits = toml::Table::try_from(dacapo_core::Limits::default()).expect("limits are numbers");
        for name in KEYS.iter().map(|key| key.name).chain(limits.keys().map(String::as_str)) {
            assert!(manual.contains(&format!("| `{name}` |")), "docs/CONFIGURATION.md does not explain {name}");
        }
    }
}
