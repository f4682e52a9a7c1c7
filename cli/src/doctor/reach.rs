//! Who can reach the bus, and what guards it: the port, the certificate, the tokens.

use std::net::TcpListener;

use dacapo_backends::{
    SqliteReader,
    clock::SystemClock,
    tls::{Certificate, certificates, expiry},
};
use dacapo_core::{WallTime, hooks::Clock as _};
use dacapo_reporting::calendar;

use super::{Finding, Health};
use crate::{serve, settings::Settings, token};

/// Before a certificate expires by less than this, somebody should have renewed it.
const EXPIRY_DAYS_MIND: i64 = 14;

pub(super) fn guarded(settings: &Settings) -> Finding {
    match serve::check(settings) {
        Err(error) => Finding::new("guarded", Health::Bad, error.to_string()),
        Ok(()) if settings.listen.ip().is_loopback() => {
            Finding::new("guarded", Health::Good, format!("{} is reached from this machine alone", settings.listen))
        }
        Ok(()) if settings.tls.is_none() => {
            let sentence = format!("{} is reached in plain text: a proxy before it must do TLS", settings.listen);
            Finding::new("guarded", Health::Mind, sentence)
        }
        Ok(()) => Finding::new("guarded", Health::Good, format!("{} demands tokens, over TLS", settings.listen)),
    }
}

pub(super) fn tokens(settings: &Settings) -> Finding {
    if !settings.auth {
        return Finding::new("tokens", Health::Good, "none are demanded");
    }
    let Some(db) = settings.db.as_ref().filter(|db| db.exists()) else {
        let sentence = "tokens are demanded, and there is no store yet that knows any; `dacapo token new` makes one";
        return Finding::new("tokens", Health::Mind, sentence);
    };
    let now = SystemClock::new().now().wall;
    match SqliteReader::open_read_only(db).and_then(|mut reader| token::somebody_administers(&mut reader, now)) {
        Ok(true) => {
            Finding::new("tokens", Health::Good, "they are demanded, and somebody holds one that may administer")
        }
        Ok(false) => {
            let sentence = format!(
                "they are demanded, and none allows to administer; make one with \
                 `dacapo token new ops --administer --db {}`",
                db.display()
            );
            Finding::new("tokens", Health::Bad, sentence)
        }
        Err(error) => Finding::new("tokens", Health::Bad, error.to_string()),
    }
}

pub(super) fn port(settings: &Settings) -> Finding {
    match TcpListener::bind(settings.listen) {
        Ok(_) => Finding::new("port", Health::Good, format!("{} is free", settings.listen)),
        Err(error) => {
            let sentence = format!("{} cannot be had: {error}; a bus may be running there already", settings.listen);
            Finding::new("port", Health::Mind, sentence)
        }
    }
}

pub(super) fn certificate(settings: &Settings) -> Finding {
    let Some((chain, key)) = &settings.tls else {
        return Finding::new("certificate", Health::Good, "none is asked for");
    };
    let read = Certificate::read(chain, key).and_then(|_| certificates(chain));
    let expires = match read {
        Err(error) => return Finding::new("certificate", Health::Bad, error.to_string()),
        Ok(certificates) => certificates.iter().filter_map(expiry).min(),
    };
    let Some(expires) = expires else {
        let sentence = format!("{} does not say until when it counts", chain.display());
        return Finding::new("certificate", Health::Mind, sentence);
    };
    let now = (SystemClock::new().now().wall.0 / 1_000_000) as i64;
    let days = (expires - now).div_euclid(86_400);
    let until = calendar::show(WallTime(u64::try_from(expires).unwrap_or_default().saturating_mul(1_000_000)));
    let (health, sentence) = match days {
        ..0 => (Health::Bad, format!("it expired {until}; renew it")),
        0..EXPIRY_DAYS_MIND => (Health::Mind, format!("it counts until {until}, {days} days from now; renew it")),
        _ => (Health::Good, format!("it counts until {until}, {days} days from now")),
    };
    Finding::new("certificate", health, sentence)
}
