//! How a verb reaches a running bus: its address, whom to trust, and the token that it shows.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use dacapo_backends::server::RECOVERING;
use dacapo_core::{access::Secret, wire};
use dacapo_service::driver::{BusConnect, Connect, TlsRoots};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::{
    exit::Usage,
    http::{self, Reply},
};

/// Holds a token, where none is given as a file.
pub(crate) const TOKEN_VARIABLE: &str = "DACAPO_TOKEN";

/// As long as an instance waits for a bus.
const CONNECT_DEADLINE: Duration = dacapo_service::driver::CONNECT_DEADLINE;

/// How often a bus that recovers is asked, and how long after the time before: ten seconds together.
const RECOVERY_LOOKS: u32 = 100;
const RECOVERY_LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is the same for every verb that talks to a bus.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClientArguments {
    /// A file that holds the token to show to the bus; if left out, the variable `DACAPO_TOKEN` is looked at
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust a bus whose certificate is signed by one of these, in PEM; if left out, those that the system trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
}

impl ClientArguments {
    /// The token to show, if there is one.
    pub(crate) fn secret(&self) -> anyhow::Result<Option<Secret>> {
        let (text, place) = match &self.token_file {
            Some(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|error| Usage::error(format!("cannot read the token in {}: {error}", path.display())))?;
                (text, path.display().to_string())
            }
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(text) if !text.trim().is_empty() => (text, TOKEN_VARIABLE.to_owned()),
                _ => return Ok(None),
            },
        };
        let secret = text.trim().parse().map_err(|error| Usage::error(format!("{place}: {error}")))?;
        Ok(Some(secret))
    }

    /// How to connect to the bus at this address: `ws://`, `http://` or nothing before `host:port` for plain text, `wss://`
    /// or `https://` for TLS.
    pub(crate) fn connector(&self, url: &str) -> anyhow::Result<BusConnect> {
        let (is_tls, authority) = parse(url).ok_or_else(|| {
            Usage::error(format!("{url:?} is no address of a bus; give something like http://127.0.0.1:7171"))
        })?;
        if !is_tls {
            return Ok(BusConnect::plain(authority));
        }
        let roots = self.tls_ca.clone().map_or(TlsRoots::System, TlsRoots::File);
        BusConnect::tls(authority, &roots).map_err(|error| Usage::error(error.to_string()))
    }
}

/// Whether it is TLS, and `host:port`.
fn parse(url: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let is_tls = match scheme {
        "http" | "ws" => false,
        "https" | "wss" => true,
        _ => return None,
    };
    let rest = rest.strip_suffix(wire::PATH).unwrap_or(rest);
    let authority = rest.trim_end_matches('/');
    let (host, port) = authority.rsplit_once(':')?;
    (!host.is_empty() && !authority.contains('/') && port.parse::<u16>().is_ok()).then_some((is_tls, authority))
}

/// A running bus, asked over HTTP.
pub(crate) struct Bus {
    connector: BusConnect,
    secret: Option<Secret>,
}

impl Bus {
    /// The one at this address.
    pub(crate) fn of(url: &str, arguments: &ClientArguments) -> anyhow::Result<Self> {
        Ok(Self { connector: arguments.connector(url)?, secret: arguments.secret()? })
    }

    /// Sends one request and reads the whole answer. A bus that recovers, as every one does when it starts, is waited for.
    pub(crate) async fn send(&self, method: &str, path: &str, body: String) -> anyhow::Result<Reply> {
        let bearer = self.bearer();
        let (host, headers) = (self.connector.host(), headers(bearer.as_deref()));
        let mut looks = 0..RECOVERY_LOOKS;
        loop {
            let reply = http::send_over(self.open().await?, host, method, path, &headers, body.clone()).await?;
            let recovers = reply.status == 503 && reply.body.contains(RECOVERING);
            if !recovers || looks.next().is_none() {
                return Ok(reply);
            }
            sleep(RECOVERY_LOOK_EVERY).await;
        }
    }

    /// Writes an answer's body into a file, however long it takes, and returns the value of one of its headers.
    pub(crate) async fn download(&self, path: &str, header: &str, to: &mut fs::File) -> anyhow::Result<String> {
        let bearer = self.bearer();
        http::download(self.open().await?, self.connector.host(), path, &headers(bearer.as_deref()), header, to).await
    }

    async fn open(&self) -> anyhow::Result<<BusConnect as Connect>::Io> {
        let host = self.connector.host();
        timeout(CONNECT_DEADLINE, self.connector.connect())
            .await
            .with_context(|| format!("{host} did not answer within {} s", CONNECT_DEADLINE.as_secs()))?
            .with_context(|| format!("cannot reach {host}; is the bus running there?"))
    }

    fn bearer(&self) -> Option<String> {
        self.secret.as_ref().map(|secret| format!("Bearer {}", secret.reveal()))
    }

    /// Sends one request, where anything but success is an error that says what the bus said.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: String) -> anyhow::Result<T> {
        let reply = self.send(method, path, body).await?;
        let host = self.connector.host();
        if reply.status != 200 {
            bail!("the bus at {host} answered {}: {}", reply.status, said(&reply.body));
        }
        serde_json::from_str(&reply.body).with_context(|| format!("what listens at {host} is no bus of ours"))
    }
}

fn headers(bearer: Option<&str>) -> Vec<(&str, &str)> {
    bearer.iter().map(|bearer| ("authorization", *bearer)).collect()
}

/// The sentences of an error, or all of what came.
fn said(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match (value["detail"].as_str(), value["help"].as_str()) {
        (Some(detail), Some(help)) => format!("{detail}; {help}"),
        _ => body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_whether_it_is_tls() {
        for url in ["http://127.0.0.1:7171", "ws://127.0.0.1:7171/v1/bus", "127.0.0.1:7171", "http://127.0.0.1:7171/"] {
            assert_eq!(parse(url), Some((false, "127.0.0.1:7171")), "{url}");
        }
        for url in ["https://bus.example:443", "wss://bus.example:443/v1/bus"] {
            assert_eq!(parse(url), Some((true, "bus.example:443")), "{url}");
        }
        for url in ["http://x", "http://:1", "http://x:y", "http://x:1/path", "ftp://x:1", ""] {
            assert_eq!(parse(url), None, "{url}");
        }
    }
}
