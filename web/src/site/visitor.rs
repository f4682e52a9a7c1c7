//! Who asks: the cookie, the session that it opens, the address, and whether a form is theirs.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};
use dacapo_bank::ids::UserId;

use super::{Site, answers::Refused};
use crate::{secrets::Secret, teller::Fields};

/// The cookie's name.
pub(super) const COOKIE: &str = "dacapo_bank";

/// Somebody with a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) name: String,
}

/// Who asks.
pub(super) struct Visitor {
    /// The cookie's secret; made anew for somebody who has none.
    pub(super) secret: Secret,
    /// Whether the cookie has to be given.
    pub(super) is_new: bool,
    pub(super) user: Option<User>,
    pub(super) address: IpAddr,
    /// Whether the script asks.
    pub(super) wants_json: bool,
}

impl FromRequestParts<Arc<Site>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let accepts = parts.headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
        let wants_json = accepts.starts_with("application/json");
        let brought = cookie(&parts.headers);
        let mut user = None;
        if let Some(secret) = &brought {
            match site.vault.who(secret.kept()).await {
                Ok(found) => user = found.map(|(id, name)| User { id, name }),
                Err(error) => tracing::error!(%error, "nobody is known"),
            }
        }
        let is_new = brought.is_none();
        Ok(Self { secret: brought.unwrap_or_else(Secret::draw), is_new, user, address, wants_json })
    }
}

impl Visitor {
    /// The user, where only one may ask.
    pub(super) fn user(&self) -> Result<&User, Refused> {
        self.user.as_ref().ok_or(Refused::LogInFirst { wants_json: self.wants_json })
    }

    /// Whether the form was made for this visitor.
    pub(super) fn vouch(&self, fields: &Fields) -> Result<(), Refused> {
        let token = fields.get("token").map_or("", String::as_str);
        if self.secret.vouches_for(token) { Ok(()) } else { Err(Refused::StaleForm { wants_json: self.wants_json }) }
    }
}

fn cookie(headers: &HeaderMap) -> Option<Secret> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).and_then(|(_, value)| Secret::parse(value))
}

/// Gives the visitor the cookie: for this site alone, out of reach of scripts, not sent along by other sites' forms.
pub(super) fn give(response: &mut Response, secret: &Secret, is_secure: bool) {
    let age = crate::vault::SESSION.as_secs();
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}", secret.as_str());
    let value = HeaderValue::from_str(&text).expect("a cookie of ours is ASCII");
    response.headers_mut().append(header::SET_COOKIE, value);
}
