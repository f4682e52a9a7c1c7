//! One HTTP request at a time, to our own servers. Nothing is kept open and nothing is tried again: the callers know
//! what a repetition means.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// Longer than any answer of ours takes; a server that is stuck must not hold the terminal.
const DEADLINE: Duration = Duration::from_secs(30);
/// A page of the largest events, with room for their frames.
const BODY_BYTES_MAX: usize = 64 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
}

/// `http://host:port` without anything behind, as `host:port`.
pub(crate) fn authority(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("http://")?.trim_end_matches('/');
    let port_is_number =
        authority.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    (port_is_number && !authority.contains('/')).then_some(authority)
}

/// Sends one request and reads the whole answer.
pub(crate) async fn send(
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> anyhow::Result<Reply> {
    let stream = TcpStream::connect(authority)
        .await
        .with_context(|| format!("cannot reach {authority}; is the bus running there?"))?;
    send_over(stream, authority, method, path, headers, body).await
}

/// The same on a stream that is open.
pub(crate) async fn send_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> anyhow::Result<Reply> {
    timeout(DEADLINE, exchange(stream, authority, method, path, headers, body))
        .await
        .with_context(|| format!("{authority} did not answer within {} s", DEADLINE.as_secs()))?
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> anyhow::Result<Reply> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", authority);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    let status = response.status().as_u16();
    let bytes = match Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => bail!("the answer of {authority} broke off: {error}"),
    };
    connection.abort();
    Ok(Reply { status, body: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Appends a text so that it can stand in a path or a query.
pub(crate) fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            // Writing to a text cannot fail.
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        assert_eq!(authority("http://127.0.0.1:7171"), Some("127.0.0.1:7171"));
        assert_eq!(authority("http://localhost:7171/"), Some("localhost:7171"));
        for url in ["127.0.0.1:7171", "https://x:1", "http://x", "http://:1", "http://x:y", "http://x:1/path"] {
            assert_eq!(authority(url), None, "{url}");
        }
    }
}
