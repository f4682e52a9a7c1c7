//! Binary mode: attributes as headers that begin with `ce-`, data as the body.

use std::{collections::BTreeMap, fmt::Write as _};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use dacapo_core::event::Event;

use super::{
    incoming::{CloudEvent, Unfit, data_of},
    is_json, outgoing,
};

const PREFIX: &str = "ce-";

pub(super) fn of_binary(headers: &HeaderMap, body: &[u8]) -> Result<CloudEvent, Unfit> {
    let mut texts = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
        let value =
            value.to_str().map_err(|_| Unfit::NoCloudEvent(format!("{PREFIX}{name} is not percent-encoded")))?;
        if texts.insert(name.to_owned(), decoded(value)?).is_some() {
            return Err(Unfit::NoCloudEvent(format!("{PREFIX}{name} stands twice")));
        }
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.is_empty() {
        texts.insert("datacontenttype".to_owned(), content_type.to_owned());
    }
    Ok(CloudEvent { texts, data: data_of(content_type, body)? })
}

/// An event in binary mode.
pub(in crate::server::http) fn to_binary(event: &Event) -> (HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::new();
    let mut content_type = "application/json".to_owned();
    for (name, value) in outgoing::attributes(event) {
        if name == "datacontenttype" {
            content_type = value;
            continue;
        }
        // Names are letters and digits, and what is encoded is visible ASCII.
        let name = HeaderName::try_from(format!("{PREFIX}{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(encoded(&value))) {
            headers.insert(name, value);
        }
    }
    let body = if is_json(&content_type) {
        event.data.as_str().as_bytes().to_vec()
    } else {
        // Text of another type is kept as a JSON string.
        event.data.to::<String>().map_or_else(|_| event.data.as_str().as_bytes().to_vec(), String::into_bytes)
    };
    if let Ok(value) = HeaderValue::try_from(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    (headers, body)
}

/// A header's value: space, double quote, percent and whatever is no visible ASCII is percent-encoded.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => drop(write!(encoded, "%{byte:02X}")),
            0x21..=0x7e => encoded.push(char::from(byte)),
            // Writing to a text cannot fail.
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

/// The text that a header's value stands for; a percent sign without two digits stands for itself.
fn decoded(value: &str) -> Result<String, Unfit> {
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let bytes = value.as_bytes();
    let digit = |index: usize| bytes.get(index).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut decoded, mut index) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(index) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(index + 1), digit(index + 2)) {
            decoded.push((high * 16 + low) as u8);
            index += 3;
        } else {
            decoded.push(*byte);
            index += 1;
        }
    }
    String::from_utf8(decoded).map_err(|_| Unfit::NoCloudEvent(format!("{value:?} is no UTF-8")))
}
