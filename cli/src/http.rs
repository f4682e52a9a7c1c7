//! One HTTP request at a time, to our own servers. Nothing is kept open and nothing is tried again: the callers know
//! what a repetition means.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
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
    let exchange = async {
        let (response, _connection) = ask(stream, authority, method, path, headers, body).await?;
        let status = response.status().as_u16();
        Ok(Reply { status, body: text(response.into_body(), authority).await? })
    };
    timeout(DEADLINE, exchange)
        .await
        .with_context(|| format!("{authority} did not answer within {} s", DEADLINE.as_secs()))?
}

/// Writes an answer's body into a file, however long it takes, and returns the value of one of its headers.
pub(crate) async fn download(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    header: &str,
    to: &mut std::fs::File,
) -> anyhow::Result<String> {
    let (response, _connection) = ask(stream, authority, "GET", path, headers, String::new()).await?;
    let status = response.status().as_u16();
    let value = response.headers().get(header).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = response.into_body();
    if status != 200 {
        bail!("{authority} answered {status}: {}", text(body, authority).await?);
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.with_context(|| format!("the answer of {authority} broke off"))?;
        if let Ok(piece) = frame.into_data() {
            to.write_all(&piece)?;
        }
    }
    value.with_context(|| format!("what listens at {authority} is no bus of ours"))
}

/// Sends a request; the answer's head, and the connection that its body comes over while this is held.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> anyhow::Result<(Response<Incoming>, JoinSet<hyper::Result<()>>)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut held = JoinSet::new();
    held.spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", authority);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    Ok((response, held))
}

async fn text(body: Incoming, authority: &str) -> anyhow::Result<String> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned()),
        Err(error) => bail!("the answer of {authority} broke off: {error}"),
    }
}

/// A text as one segment of a path, or one value of a query.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    percent_encode(text, &mut encoded);
    encoded
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
