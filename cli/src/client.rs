//! How a verb reaches a running bus: the address, and the token that it shows.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use dacapo_core::access::Secret;
use serde::de::DeserializeOwned;

use crate::{
    exit::Usage,
    http::{self, Reply, authority},
};

/// Holds a token, where none is given as a file.
pub(crate) const TOKEN_VARIABLE: &str = "DACAPO_TOKEN";

/// What is the same for every verb that talks to a bus.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClientArguments {
    /// A file that holds the token to show to the bus; if left out, the variable DACAPO_TOKEN is looked at
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
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
}

/// A running bus, asked over HTTP.
pub(crate) struct Bus {
    authority: String,
    secret: Option<Secret>,
}

impl Bus {
    /// The one at this `http://host:port`.
    pub(crate) fn of(url: &str, arguments: &ClientArguments) -> anyhow::Result<Self> {
        let authority = authority(url).ok_or_else(|| {
            Usage::error(format!("{url:?} is no address of a bus; give something like http://127.0.0.1:7171"))
        })?;
        Ok(Self { authority: authority.to_owned(), secret: arguments.secret()? })
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(&self, method: &str, path: &str, body: String) -> anyhow::Result<Reply> {
        let bearer = self.secret.as_ref().map(|secret| format!("Bearer {}", secret.reveal()));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        http::send(&self.authority, method, path, &headers, body).await
    }

    /// The same, where anything but success is an error that says what the bus said.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: String) -> anyhow::Result<T> {
        let reply = self.send(method, path, body).await?;
        if reply.status != 200 {
            bail!("the bus at {} answered {}: {}", self.authority, reply.status, said(&reply.body));
        }
        serde_json::from_str(&reply.body)
            .with_context(|| format!("what listens at {} is no bus of ours", self.authority))
    }
}

/// The sentences of an error, or all of what came.
fn said(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match (value["error"].as_str(), value["help"].as_str()) {
        (Some(error), Some(help)) => format!("{error}; {help}"),
        _ => body.to_owned(),
    }
}
