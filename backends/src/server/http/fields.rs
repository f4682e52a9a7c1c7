//! The fields of a URL's query. A field that the route does not know is an error, and never ignored in silence: a
//! misspelt filter would answer another question.

use std::{collections::BTreeMap, fmt::Write as _};

use axum::{
    extract::Query,
    http::{HeaderValue, Uri},
};
use dacapo_core::{limits, names::NameError};

use super::error::HttpError;

/// Fields by name, each with its values in order.
#[derive(Debug)]
pub(super) struct Fields(BTreeMap<String, Vec<String>>);

impl Fields {
    /// Reads a query whose fields are among `known`.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, HttpError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|rejection| HttpError::bad(rejection.body_text(), "percent-encode the fields of the query"))?;
        let mut fields = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in pairs {
            if !known.contains(&&*name) {
                let help = match known {
                    [] => "this route takes no fields".to_owned(),
                    known => format!("known are: {}", known.join(", ")),
                };
                return Err(HttpError::bad(format!("there is no field {name:?}"), help));
            }
            fields.entry(name).or_default().push(value);
        }
        Ok(Self(fields))
    }

    /// The field's only value.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, HttpError> {
        match self.0.get(name).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(HttpError::bad(format!("the field {name:?} stands twice"), "give it once")),
        }
    }

    /// A name, such as a key.
    pub(super) fn name<T: TryFrom<String, Error = NameError>>(&self, name: &str) -> Result<Option<T>, HttpError> {
        self.text(name)?.map(|text| of_name(name, text)).transpose()
    }

    /// Names; the field may stand several times, and each may hold several with commas.
    pub(super) fn names<T: TryFrom<String, Error = NameError>>(&self, name: &str) -> Result<Vec<T>, HttpError> {
        let values = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
        values.iter().flat_map(|value| value.split(',')).map(|text| of_name(name, text)).collect()
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, HttpError> {
        self.text(name)?.map(|text| of_number(name, text)).transpose()
    }

    /// `true` or `false`; absent is false.
    pub(super) fn flag(&self, name: &str) -> Result<bool, HttpError> {
        match self.text(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(HttpError::bad(format!("{name}={other:?} is no flag"), "say true or false")),
        }
    }

    /// `limit`, from 1 to the most that a page may hold; 100 if it is not given.
    pub(super) fn limit(&self) -> Result<usize, HttpError> {
        let limit = self.number("limit")?.unwrap_or(100);
        match usize::try_from(limit) {
            Ok(limit) if (1..=limits::PAGE_EVENTS_MAX).contains(&limit) => Ok(limit),
            _ => Err(HttpError::bad(
                format!("limit={limit} is out of range"),
                format!("ask for 1 to {} at once, then go on with the cursor", limits::PAGE_EVENTS_MAX),
            )),
        }
    }

    /// A `Link` to the same question with one field changed: the next page.
    pub(super) fn link_to(&self, path: &str, changed: &str, value: &str) -> Option<HeaderValue> {
        let mut link = format!("<{path}?{changed}={}", percent_encoded(value));
        for (name, values) in self.0.iter().filter(|(name, _)| *name != changed) {
            for value in values {
                // Writing to a text cannot fail.
                let _ = write!(link, "&{name}={}", percent_encoded(value));
            }
        }
        link.push_str(">; rel=\"next\"");
        HeaderValue::try_from(link).ok()
    }

    /// Whether the field was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            // Writing to a text cannot fail.
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

fn of_name<T: TryFrom<String, Error = NameError>>(name: &str, text: &str) -> Result<T, HttpError> {
    T::try_from(text.to_owned()).map_err(|error| HttpError::bad(error.to_string(), format!("see the field {name:?}")))
}

/// A whole number.
pub(super) fn of_number(name: &str, text: &str) -> Result<u64, HttpError> {
    text.parse().map_err(|_| HttpError::bad(format!("{name}={text:?} is no whole number"), "give a number from 0 on"))
}

#[cfg(test)]
mod tests {
    use dacapo_core::names::{EventType, Key};

    use super::*;

    fn fields(query: &str) -> Result<Fields, HttpError> {
        let uri = format!("/v1/events?{query}").parse().expect("is a URI");
        Fields::of(&uri, &["key", "type", "limit", "follow"])
    }

    #[test]
    fn an_unknown_field_is_refused_and_the_known_ones_are_named() {
        let error = fields("kye=acc-3").expect_err("is misspelt");
        assert_eq!(error, HttpError::bad("there is no field \"kye\"", "known are: key, type, limit, follow"));
    }

    #[test]
    fn fields_are_decoded_and_checked() {
        let given = fields("key=a%2Fb&type=A,B&type=C&limit=5&follow=true").expect("is right");
        assert_eq!(given.name::<Key>("key").expect("is a key"), Some(Key::of("a/b")));
        assert_eq!(given.names::<EventType>("type").expect("are types").len(), 3);
        assert_eq!(given.limit().expect("is in range"), 5);
        assert!(given.flag("follow").expect("is a flag"));
        assert!(fields("key=a&key=b").expect("parses").text("key").is_err(), "given twice");
        assert!(fields("key=").expect("parses").name::<Key>("key").is_err(), "empty");
        assert!(fields("limit=0").expect("parses").limit().is_err());
        assert!(fields("limit=-1").expect("parses").limit().is_err());
        assert!(fields("limit=1000000").expect("parses").limit().is_err());
    }
}
