//! From an HTTP path and query to a route of the service and its parameters. Pure functions; no HTTP library.

use std::collections::BTreeMap;

use crate::service::{Method, Response, Route};

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Routed {
    /// This route, with what stood in its `{…}`.
    To(Route, BTreeMap<String, String>),
    /// The path exists, with these methods.
    OtherMethods(Vec<Method>),
    /// There is no such path.
    Nowhere,
    /// The path is no text.
    Malformed,
}

/// Why a request reaches no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The path exists, with these methods.
    OtherMethods(Vec<Method>),
    /// Anything else, with its answer.
    Answer(Response),
}

/// The route of a request and its parameters: what stood in the path's `{…}`, and the query's fields.
pub fn resolve(
    routes: &[Route],
    method: Option<Method>,
    path: &str,
    query: &str,
) -> Result<(Route, BTreeMap<String, String>), Refused> {
    let refuse = |status: u16, sentence: &str| Err(Refused::Answer(Response::error(status, sentence)));
    let (route, path_parameters) = match route(routes, method, path) {
        Routed::To(route, parameters) => (route, parameters),
        Routed::OtherMethods(methods) => return Err(Refused::OtherMethods(methods)),
        Routed::Malformed => return refuse(400, "the path is not UTF-8 with valid percent-escapes; encode it"),
        Routed::Nowhere => {
            let known: Vec<String> =
                routes.iter().map(|route| format!("{} {}", method_name(route.method), route.path)).collect();
            return refuse(404, &format!("there is no such route; there are: {}", known.join(", ")));
        }
    };
    let Some(mut parameters) = query_of(query) else {
        return refuse(400, "the query is not UTF-8 with valid percent-escapes; encode it");
    };
    parameters.extend(path_parameters);
    Ok((route, parameters))
}

/// The method's name on the wire.
pub const fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    }
}

/// The answer to a request with another method than these.
pub fn other_methods(methods: &[Method]) -> Response {
    Response::error(405, &format!("this path takes: {}", list(methods)))
}

/// The methods as one text.
pub(super) fn list(methods: &[Method]) -> String {
    methods.iter().map(|method| method_name(*method)).collect::<Vec<_>>().join(", ")
}

/// Finds the route; of two that match, the first wins.
fn route(routes: &[Route], method: Option<Method>, path: &str) -> Routed {
    let Some(segments) = segments_of(path) else { return Routed::Malformed };
    let mut methods = Vec::new();
    for route in routes {
        let Some(parameters) = matched(route.path, &segments) else { continue };
        if Some(route.method) == method {
            return Routed::To(route.clone(), parameters);
        }
        methods.push(route.method);
    }
    if methods.is_empty() { Routed::Nowhere } else { Routed::OtherMethods(methods) }
}

fn segments_of(path: &str) -> Option<Vec<String>> {
    path.trim_matches('/').split('/').map(|segment| decode(segment, false)).collect()
}

fn matched(template: &str, segments: &[String]) -> Option<BTreeMap<String, String>> {
    let template: Vec<&str> = template.trim_matches('/').split('/').collect();
    if template.len() != segments.len() {
        return None;
    }
    let mut parameters = BTreeMap::new();
    for (part, segment) in template.into_iter().zip(segments) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => {
                parameters.insert(name.to_owned(), segment.clone());
            }
            None if part == segment => {}
            _ => return None,
        }
    }
    Some(parameters)
}

/// The fields of a query; the first of a name wins. None if it is no text.
fn query_of(query: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    for field in query.split('&').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        fields.entry(decode(name, true)?).or_insert(decode(value, true)?);
    }
    Some(fields)
}

/// Undoes percent-encoding; in a query `+` is a space. None if the result is no UTF-8, or an escape is cut short.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Vec<Route> {
        vec![
            Route { method: Method::Get, path: "/accounts" },
            Route { method: Method::Post, path: "/accounts" },
            Route { method: Method::Get, path: "/accounts/{id}/statement" },
        ]
    }

    #[test]
    fn paths_lead_to_routes_with_decoded_parameters() {
        let to = route(&routes(), Some(Method::Get), "/accounts/acc%2F3%20%C3%A9/statement");
        let parameters = BTreeMap::from([("id".to_owned(), "acc/3 é".to_owned())]);
        assert_eq!(to, Routed::To(routes()[2].clone(), parameters));
        assert_eq!(route(&routes(), Some(Method::Get), "/accounts//statement"), Routed::Nowhere);
        assert_eq!(route(&routes(), Some(Method::Get), "/nothing"), Routed::Nowhere);
        assert_eq!(route(&routes(), Some(Method::Get), "/accounts/%zz"), Routed::Malformed);
        assert_eq!(route(&routes(), Some(Method::Get), "/accounts/%ff"), Routed::Malformed);
        assert_eq!(
            route(&routes(), Some(Method::Delete), "/accounts"),
            Routed::OtherMethods(vec![Method::Get, Method::Post])
        );
        assert_eq!(route(&routes(), None, "/accounts/x/statement"), Routed::OtherMethods(vec![Method::Get]));
    }

    #[test]
    fn queries_are_forms() {
        let fields = query_of("a=1+2&b=%26&a=3&c").expect("is text");
        let expected = [("a", "1 2"), ("b", "&"), ("c", "")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(query_of("a=%"), None);
    }
}
