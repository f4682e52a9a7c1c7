//! What is asked: a path in parts, and parameters.

use crate::words::decoded;

/// A request, as far as pages care.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// The parts of the path.
    pub path: Vec<String>,
    /// Names and values, in order.
    pub parameters: Vec<(String, String)>,
}

impl Ask {
    /// Reads `/event/e-1?x=y`; none if it is not UTF-8 below the percent signs.
    pub fn parse(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.split('/').filter(|part| !part.is_empty()).map(|part| decoded(part, false));
        let parameters = query.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decoded(name, true)?, decoded(value, true)?))
        });
        Some(Self { path: path.collect::<Option<_>>()?, parameters: parameters.collect::<Option<_>>()? })
    }

    /// A parameter's value, if it is given and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, value)| own == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters
            .iter()
            .filter(move |(own, value)| own == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_parameters_are_taken_apart() {
        let ask = Ask::parse("/event/a%2Fb?q=type%3AA+b&open=1&open=2&empty=").expect("is one");
        assert_eq!(ask.path, ["event", "a/b"]);
        assert_eq!(ask.get("q"), Some("type:A b"));
        assert_eq!(ask.all("open").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((ask.get("empty"), ask.get("none")), (None, None));
        assert_eq!(Ask::parse("/%ff"), None);
    }
}
