//! The settings of a production bus, each with where it came from: a default, the configuration file, a variable of the
//! environment, a flag; the later one counts.
//!
//! A name that is none is refused, with the nearest one that is: a setting that silently does not count is worse than
//! none. No setting is a secret itself; what is one (a key, a token) is named by its file.

mod keys;
mod nearest;

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use dacapo_core::Limits;
use serde::Serialize;
use toml::{Table, Value};

use crate::exit::Usage;
use keys::{KEYS, Kind, LIMITS, variable};
use nearest::nearest;

/// The flags that set them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SettingArguments {
    /// The configuration file, in TOML; docs/CONFIGURATION.md is its manual
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The store; it is created if it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// Where to listen; 127.0.0.1:7171 if left out
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Demand a token of everyone; `dacapo token` makes them
    #[arg(long)]
    pub(crate) auth: bool,
    /// The certificates to show, in PEM, the bus's own first; they are read again when they change
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key that belongs to it, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS, because a proxy before this bus does it
    #[arg(long)]
    pub(crate) insecure_plain_text: bool,
    /// Where spans of sampled traces go: an OpenTelemetry collector's OTLP over HTTP, such as `http://127.0.0.1:4318`
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    /// An origin whose pages may ask this bus, such as `https://console.example`; may be given again. None by default
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors: Vec<String>,
    /// A name that a bus without --auth is asked under besides localhost, such as `bus.example`; may be given again
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// How much of the store each of six connections keeps in memory, in KiB; 8192 if left out
    #[arg(long, value_name = "KIB")]
    pub(crate) store_cache_kib: Option<u32>,
    /// One limit, over the file's; may be given again. Durations are in milliseconds
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// The command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Valued {
    /// Of the key, as TOML has it.
    pub(crate) value: Value,
    /// Where it came from.
    pub(crate) origin: Origin,
}

/// The settings as they count.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The store, if one is named.
    pub(crate) db: Option<PathBuf>,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Whether tokens are demanded.
    pub(crate) auth: bool,
    /// Certificate and key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Whether to listen beyond this machine without TLS.
    pub(crate) insecure_plain_text: bool,
    /// Where spans go.
    pub(crate) otlp: Option<String>,
    /// Origins whose pages may ask.
    pub(crate) cors: Vec<String>,
    /// What the bus may be called besides its addresses and `localhost`.
    pub(crate) hosts: Vec<String>,
    /// The page cache of the store's writer.
    pub(crate) store_cache_kib: u32,
    /// What the bus keeps and how long it waits.
    pub(crate) limits: Limits,
    /// All of them by name, those of limits as `limits.name`.
    pub(crate) shown: BTreeMap<String, Valued>,
}

/// The settings of this command line, in this environment.
pub(crate) fn read(arguments: &SettingArguments) -> anyhow::Result<Settings> {
    gather(arguments, &|name| std::env::var(name).ok())
}

fn gather(arguments: &SettingArguments, environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Settings> {
    let mut values = Values::defaults()?;
    let file = arguments.config.clone().or_else(|| environment("DACAPO_CONFIG").map(PathBuf::from));
    if let Some(path) = file {
        values.take_file(&path)?;
    }
    values.take_environment(environment)?;
    values.take_flags(arguments)?;
    values.settle()
}

struct Values(BTreeMap<String, Valued>);

impl Values {
    fn defaults() -> anyhow::Result<Self> {
        let limits = Table::try_from(Limits::default()).context("limits are numbers")?;
        let limits = limits.into_iter().map(|(name, value)| (format!("{LIMITS}.{name}"), value));
        let keys = KEYS.iter().filter_map(|key| Some((key.name.to_owned(), key.kind.default()?)));
        let valued = |(name, value)| (name, Valued { value, origin: Origin::Default });
        Ok(Self(keys.chain(limits).map(valued).collect()))
    }

    /// Refuses a key that is none, and a value that does not fit.
    fn put(&mut self, name: &str, value: Value, origin: Origin) -> anyhow::Result<()> {
        let fits = match KEYS.iter().find(|key| key.name == name) {
            Some(key) => key.kind.fits(&value),
            None if self.0.contains_key(name) => value.is_integer(),
            None => return Err(self.unknown(name, &origin)),
        };
        if !fits {
            let kind = KEYS.iter().find(|key| key.name == name).map_or("a whole number", |key| key.kind.words());
            let help = if name.starts_with(LIMITS) { "; durations are in milliseconds" } else { "" };
            return Err(Usage::error(format!("{origin}: {name} = {value} is not {kind}{help}")));
        }
        self.0.insert(name.to_owned(), Valued { value, origin });
        Ok(())
    }

    fn unknown(&self, name: &str, origin: &Origin) -> anyhow::Error {
        let limit = format!("{LIMITS}.{name}");
        if self.0.contains_key(&limit) {
            return Usage::error(format!("{origin}: {name} is a limit; put it under [{LIMITS}]"));
        }
        let names = KEYS.iter().map(|key| key.name).chain(self.0.keys().map(String::as_str));
        let help = match nearest(name, names) {
            Some(near) => format!("did you mean {near}?"),
            None => "docs/CONFIGURATION.md names them all".to_owned(),
        };
        Usage::error(format!("{origin}: there is no setting {name}; {help}"))
    }

    fn take_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(path)
            .map_err(|error| Usage::error(format!("cannot read {}: {error}; give a TOML file", path.display())))?;
        self.take_text(&text, path)
    }

    fn take_text(&mut self, text: &str, path: &Path) -> anyhow::Result<()> {
        let table = text
            .parse::<Table>()
            .map_err(|error| Usage::error(error.to_string()))
            .with_context(|| format!("{} is no TOML; mend it there", path.display()))?;
        let origin = Origin::File(path.to_owned());
        for (name, value) in table {
            match value {
                Value::Table(limits) if name == LIMITS => {
                    for (limit, value) in limits {
                        self.put(&format!("{LIMITS}.{limit}"), value, origin.clone())?;
                    }
                }
                value => self.put(&name, value, origin.clone())?,
            }
        }
        Ok(())
    }

    fn take_environment(&mut self, environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<()> {
        let names: Vec<String> = KEYS.iter().map(|key| key.name.to_owned()).chain(self.0.keys().cloned()).collect();
        for name in names {
            let variable = variable(&name);
            if let Some(text) = environment(&variable) {
                self.put(&name, value_of(&name, &text), Origin::Variable(variable))?;
            }
        }
        Ok(())
    }

    fn take_flags(&mut self, arguments: &SettingArguments) -> anyhow::Result<()> {
        let SettingArguments { config: _, db, listen, auth, tls_cert, tls_key, insecure_plain_text, .. } = arguments;
        let SettingArguments { otlp, cors, hosts, store_cache_kib, set, .. } = arguments;
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let texts = [
            ("db", path(db)),
            ("listen", listen.map(|at| at.to_string())),
            ("tls_cert", path(tls_cert)),
            ("tls_key", path(tls_key)),
            ("otlp", otlp.clone()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                self.put(name, Value::String(text), Origin::Flag(format!("--{}", name.replace('_', "-"))))?;
            }
        }
        for (name, given) in [("auth", auth), ("insecure_plain_text", insecure_plain_text)] {
            if *given {
                self.put(name, Value::Boolean(true), Origin::Flag(format!("--{}", name.replace('_', "-"))))?;
            }
        }
        if let Some(kib) = store_cache_kib {
            self.put("store_cache_kib", Value::Integer(i64::from(*kib)), Origin::Flag("--store-cache-kib".to_owned()))?;
        }
        for (name, flag, texts) in [("cors", "--cors", cors), ("hosts", "--host", hosts)] {
            if !texts.is_empty() {
                let texts = texts.iter().cloned().map(Value::String).collect();
                self.put(name, Value::Array(texts), Origin::Flag(flag.to_owned()))?;
            }
        }
        for setting in set {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                let help = "write --set key=value, such as --set failures_max=5";
                Usage::error(format!("--set {setting} has no value; {help}"))
            })?;
            let name = format!("{LIMITS}.{}", name.trim());
            self.put(&name, value_of(&name, value.trim()), Origin::Flag("--set".to_owned()))?;
        }
        Ok(())
    }

    fn settle(self) -> anyhow::Result<Settings> {
        let text = |name: &str| self.0.get(name).and_then(|valued| valued.value.as_str());
        let flag = |name: &str| self.0.get(name).and_then(|valued| valued.value.as_bool()).unwrap_or_default();
        let listen = text("listen").unwrap_or_default();
        let listen = listen.parse().map_err(|_| {
            let origin = self.0.get("listen").map_or(&Origin::Default, |valued| &valued.origin);
            Usage::error(format!("{origin}: listen = {listen:?} is no address; give one such as 127.0.0.1:7171"))
        })?;
        let tls = match (text("tls_cert"), text("tls_key")) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => {
                return Err(Usage::error(
                    "a certificate needs its key, and a key its certificate; give both or neither",
                ));
            }
        };
        let texts = |name: &str| {
            let texts = self.0.get(name).and_then(|valued| valued.value.as_array()).into_iter().flatten();
            texts.filter_map(|text| Some(text.as_str()?.to_owned())).collect::<Vec<String>>()
        };
        let (db, auth, insecure_plain_text) =
            (text("db").map(PathBuf::from), flag("auth"), flag("insecure_plain_text"));
        let number = |name: &str| self.0.get(name).and_then(|valued| u32::try_from(valued.value.as_integer()?).ok());
        let store_cache_kib = number("store_cache_kib").unwrap_or_default();
        let (otlp, cors, hosts) = (text("otlp").map(str::to_owned), texts("cors"), texts("hosts"));
        let limits: Table = self
            .0
            .iter()
            .filter_map(|(name, valued)| {
                Some((name.strip_prefix(LIMITS)?.strip_prefix('.')?.to_owned(), valued.value.clone()))
            })
            .collect();
        let limits: Limits = limits.try_into().map_err(|error: toml::de::Error| {
            Usage::error(format!("{}; limits are whole numbers above zero", error.message()))
        })?;
        Ok(Settings {
            db,
            listen,
            auth,
            tls,
            insecure_plain_text,
            otlp,
            cors,
            hosts,
            store_cache_kib,
            limits,
            shown: self.0,
        })
    }
}

/// A text of the environment or the command line, as the kind that its key has.
fn value_of(name: &str, text: &str) -> Value {
    let is_limit = name.starts_with(LIMITS);
    match KEYS.iter().find(|key| key.name == name).map(|key| key.kind) {
        Some(Kind::Flag) => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Boolean),
        Some(Kind::Texts) => {
            let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
            Value::Array(texts.map(Value::from).collect())
        }
        Some(Kind::Number(_)) => number(text),
        None if is_limit => number(text),
        _ => Value::String(text.to_owned()),
    }
}

fn number(text: &str) -> Value {
    text.replace('_', "").parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn nowhere(_: &str) -> Option<String> {
        None
    }

    fn set(settings: &[&str]) -> Result<Settings, String> {
        let set = settings.iter().map(ToString::to_string).collect();
        gather(&SettingArguments { set, ..SettingArguments::default() }, &nowhere).map_err(|error| format!("{error:#}"))
    }

    fn of_file(test: &str, text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Settings, String> {
        let path = std::env::temp_dir().join(format!("dacapo-settings-{test}-{}.toml", std::process::id()));
        fs::write(&path, text).expect("writes");
        let arguments = SettingArguments {
            config: Some(path.clone()),
            set: vec!["grace=900".to_owned()],
            ..SettingArguments::default()
        };
        let settings = gather(&arguments, environment).map_err(|error| format!("{error:#}"));
        fs::remove_file(&path).expect("can be removed");
        settings
    }

    #[test]
    fn settings_go_over_the_defaults() {
        let limits = set(&["grace=500", "heads_max=1_000"]).expect("both are limits").limits;
        assert_eq!(limits.grace, Duration::from_millis(500));
        assert_eq!(limits.heads_max, 1_000);
        assert_eq!(limits.failures_max, Limits::default().failures_max);
    }

    #[test]
    fn flags_go_over_variables_and_variables_over_the_file() {
        let environment = |name: &str| match name {
            "DACAPO_LISTEN" => Some("127.0.0.1:9".to_owned()),
            "DACAPO_AUTH" => Some("true".to_owned()),
            "DACAPO_LIMITS_GRACE" => Some("800".to_owned()),
            _ => None,
        };
        let text = "db = \"bank.db\"\nlisten = \"127.0.0.1:8\"\n[limits]\ngrace = 700\nfailures_max = 3\n";
        let settings = of_file("order", text, &environment).expect("all are settings");
        assert_eq!((settings.db, settings.auth), (Some("bank.db".into()), true));
        assert_eq!(settings.listen.port(), 9, "of the environment");
        assert_eq!((settings.limits.grace, settings.limits.failures_max), (Duration::from_millis(900), 3));
        let origin = |name: &str| settings.shown[name].origin.to_string();
        assert_eq!((origin("listen"), origin("limits.grace")), ("DACAPO_LISTEN".to_owned(), "--set".to_owned()));
        assert!(origin("limits.failures_max").contains(".toml"));
        assert_eq!(origin("limits.heads_max"), "default");
    }

    #[test]
    fn where_spans_go_and_who_may_ask_are_settings_like_any_other() {
        let text = "otlp = \"http://127.0.0.1:1\"\ncors = [\"https://a.example\"]\nhosts = [\"bus.example\"]\n";
        let settings = of_file("lists", text, &nowhere).expect("all are settings");
        assert_eq!(settings.store_cache_kib, 8_192);
        assert_eq!(settings.otlp.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!((settings.cors, settings.hosts), (vec!["https://a.example".into()], vec!["bus.example".into()]));
        let environment = |name: &str| match name {
            "DACAPO_STORE_CACHE_KIB" => Some("1_024".to_owned()),
            "DACAPO_OTLP" => Some("http://127.0.0.1:2".to_owned()),
            "DACAPO_CORS" => Some("https://b.example, https://c.example".to_owned()),
            _ => None,
        };
        let settings = of_file("lists-over", text, &environment).expect("all are settings");
        assert_eq!(settings.otlp.as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(settings.store_cache_kib, 1_024);
        assert_eq!(settings.cors, ["https://b.example", "https://c.example"], "the list takes the other's place");
        let flags = SettingArguments {
            otlp: Some("http://127.0.0.1:3".to_owned()),
            cors: vec!["https://d.example".to_owned()],
            ..SettingArguments::default()
        };
        let settings = gather(&flags, &environment).expect("all are settings");
        assert_eq!((settings.otlp.as_deref(), settings.cors.len()), (Some("http://127.0.0.1:3"), 1));
        assert_eq!(settings.shown["cors"].origin.to_string(), "--cors");
        let refused = of_file("list", "cors = \"https://a.example\"", &nowhere).expect_err("is no list");
        assert!(refused.contains("a list of texts"), "{refused}");
    }

    #[test]
    fn a_configuration_that_resembles_a_right_one_is_read_or_refused_and_never_ends_the_process() {
        let right = "db = \"bank.db\"\nlisten = \"127.0.0.1:8\"\ncors = [\"https://a\"]\n[limits]\ngrace = 700\n";
        let read = |text: &str| {
            let mut values = Values::defaults().expect("limits are numbers");
            values.take_text(text, Path::new("here")).and_then(|()| values.settle()).is_ok()
        };
        assert!(read(right));
        let mut refused = 0;
        for at in 0..right.len() {
            for with in ["", "\"", "[", "]", "=", "\n", "-", "9999999999999999999", "\u{0}", "{", "é"] {
                refused += u32::from(!read(&format!("{}{with}{}", &right[..at], &right[at + 1..])));
            }
        }
        assert!(refused > 100, "{refused} were refused");
    }

    #[test]
    fn what_is_no_setting_is_refused_with_the_nearest_that_is() {
        let refused = |text: &str| of_file("unknown", text, &nowhere).expect_err("is refused");
        assert!(refused("lisen = \"127.0.0.1:8\"").contains("did you mean listen?"));
        assert!(refused("[limits]\ngarce = 5").contains("did you mean limits.grace?"));
        assert!(refused("grace = 5").contains("put it under [limits]"));
        assert!(refused("colour = 5").contains("docs/CONFIGURATION.md"));
        assert!(refused("listen = 5").contains("is not a text"));
        assert!(refused("listen = \"here\"").contains("is no address"));
        assert!(refused("auth = \"yes\"").contains("true or false"));
        assert!(refused("store_cache_kib = 0").contains("above zero"));
        assert!(refused("tls_cert = \"x.pem\"").contains("needs its key"));
        assert!(set(&["graces=1"]).expect_err("no such limit").contains("did you mean limits.grace?"));
        assert!(set(&["grace"]).expect_err("no value").contains("--set key=value"));
        assert!(set(&["grace=long"]).expect_err("no number").contains("milliseconds"));
        assert!(set(&["failures_max=-1"]).is_err());
    }
}
