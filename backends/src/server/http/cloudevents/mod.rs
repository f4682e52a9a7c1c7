//! CloudEvents 1.0 over HTTP, in and out, in all three modes.
//!
//! | CloudEvents | an event's |
//! |---|---|
//! | `id`, `type`, `source` | id, type, source |
//! | `partitionkey`, else `subject`, else `source` | key |
//! | `correlationid`, `causationid`, `expectedversion` | correlation, causation, expectation |
//! | `keyversion`, `sequence`, `recordedtime` | version, position, time: the bus's own, set anew by each bus |
//! | `data` | data |
//! | `time`, `datacontenttype`, `dataschema`, `traceparent`, any other | an attribute of that name |
//!
//! Nothing of what came in is dropped without a word but what the bus sets itself. Data is JSON, or text of another type,
//! which is kept as a JSON string; bytes that are neither are refused.

mod binary;
mod incoming;
mod outgoing;
pub(super) mod socket;
#[cfg(test)]
mod tests;

use axum::http::{HeaderMap, HeaderValue, header};

pub(super) use incoming::Unfit;
pub use outgoing::structured;
pub(super) use {binary::to_binary, incoming::Incoming, outgoing::batch};

/// The media type of one event in structured mode.
pub(super) const STRUCTURED: &str = "application/cloudevents+json";
/// The media type of several.
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// Which answer somebody asks for by `Accept`; none: the bus's own JSON.
pub(super) fn accepted(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes)?;
    let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
    let wanted =
        |media: &str| accept.split(',').any(|range| range.split(';').next().is_some_and(|it| it.trim() == media));
    [BATCH, STRUCTURED].into_iter().find(|media| wanted(media))
}

/// The media type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether data of this type is JSON.
fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}
