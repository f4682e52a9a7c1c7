//! The settings that there are, besides the limits, whose names and reasons stand in `dacapo_core::limits`.

use toml::Value;

/// The table of the limits.
pub(super) const LIMITS: &str = "limits";

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text; with its default, if it has one.
    Text(Option<&'static str>),
    /// Texts, none by default; in the environment with commas between them.
    Texts,
    /// true or false; false by default.
    Flag,
    /// A whole number above zero; with its default.
    Number(u32),
}

impl Kind {
    pub(super) fn default(self) -> Option<Value> {
        match self {
            Self::Text(default) => default.map(Value::from),
            Self::Texts => Some(Value::Array(Vec::new())),
            Self::Flag => Some(Value::Boolean(false)),
            Self::Number(default) => Some(Value::Integer(i64::from(default))),
        }
    }

    pub(super) fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text(_) => value.is_str(),
            Self::Texts => value.as_array().is_some_and(|texts| texts.iter().all(Value::is_str)),
            Self::Flag => value.is_bool(),
            Self::Number(_) => value.as_integer().is_some_and(|number| (1..=i64::from(u32::MAX)).contains(&number)),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Texts => "a list of texts",
            Self::Flag => "true or false",
            Self::Number(_) => "a whole number above zero",
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
    Key { name: "otlp", kind: Kind::Text(None) },
    Key { name: "cors", kind: Kind::Texts },
    Key { name: "hosts", kind: Kind::Texts },
    Key { name: "store_cache_kib", kind: Kind::Number(8 << 10) },
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
