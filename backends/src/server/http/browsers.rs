//! What browsers are not let do for strangers.
//!
//! A browser sends what any page tells it to, from a machine that this bus may trust: a form or a socket needs no leave, and
//! only reading the answer does. So a page of another origin is refused whatever it asks, unless the configuration names its
//! origin. And where no token is demanded, a name that nobody gave this bus is refused: a stranger could have his own name
//! point here, and his page would then be of the same origin. What is no browser sends no `Origin`, and is not hindered.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::HttpError;
use crate::server::shared::Shared;

/// What a page may send and see besides what every page may.
const METHODS: &str = "GET, POST, PUT, DELETE";
const HEADERS: &str = "authorization, content-type, if-none-match, last-event-id, traceparent, ce-specversion, ce-id, \
                       ce-source, ce-type, ce-subject, ce-time, ce-partitionkey, ce-expectedversion, ce-correlationid, \
                       ce-causationid";
const EXPOSED: &str = "etag, link, retry-after, dacapo-backup";

/// Lets in what comes under a name of ours and from no foreign page. Answers a browser that asks first, and tells it that
/// a named origin may see the answer.
pub(super) async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if let Some(hosts) = &shared.config.hosts
        && !is_ours(text(request.headers(), header::HOST).unwrap_or_default(), hosts)
    {
        let error = "this bus is not known under that name";
        let help = "use its address, or name it in the bus's configuration (`hosts`, --host)";
        return HttpError::new(StatusCode::MISDIRECTED_REQUEST, error, help).into_response();
    }
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else { return next.run(request).await };
    let is_named = shared.config.cors_origins.iter().any(|named| named.as_bytes() == origin.as_bytes());
    if !is_named {
        if is_own(request.headers()) {
            return next.run(request).await;
        }
        let help = "name its origin in the bus's configuration (`cors`, --cors)";
        return HttpError::new(StatusCode::FORBIDDEN, "another origin's page may not ask this bus", help)
            .into_response();
    }
    let asks_first =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_first { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if asks_first {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether the page comes from where the request goes. The scheme is not compared: a proxy may do TLS.
fn is_own(headers: &HeaderMap) -> bool {
    let origin = text(headers, header::ORIGIN).and_then(|origin| Some(origin.split_once("://")?.1));
    let host = text(headers, header::HOST);
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// Whether a `Host` is an address, `localhost`, or a name that was given.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names_are_ours() {
        let hosts = ["bus.example".to_owned()];
        for ours in ["127.0.0.1:7171", "127.0.0.1", "[::1]:7171", "localhost:7171", "LOCALHOST", "Bus.Example:80"] {
            assert!(is_ours(ours, &hosts), "{ours}");
        }
        for foreign in
            ["", "evil.example", "evil.example:7171", "127.0.0.1.evil.example", "localhost.evil.example", ":1"]
        {
            assert!(!is_ours(foreign, &hosts), "{foreign}");
        }
    }

    #[test]
    fn a_page_is_our_own_if_it_comes_from_where_the_request_goes() {
        let own = |origin: &'static str, host: &'static str| {
            let origin = (header::ORIGIN, HeaderValue::from_static(origin));
            is_own(&HeaderMap::from_iter([origin, (header::HOST, HeaderValue::from_static(host))]))
        };
        assert!(own("http://127.0.0.1:7171", "127.0.0.1:7171"));
        assert!(own("https://bus.example", "Bus.example"), "a proxy does TLS");
        assert!(!own("http://127.0.0.1:8080", "127.0.0.1:7171"), "another port is another origin");
        assert!(!own("null", "127.0.0.1:7171"), "a page from a file");
    }
}
