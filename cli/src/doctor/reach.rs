//! Who can reach the bus, and what guards it: the port, the certificate, the tokens.

use std::{
    net::{TcpListener, TcpStream, ToSocketAddrs as _},
    time::Duration,
};

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

/// How long a collector may take to be reached.
const COLLECTOR_WITHIN: Duration = Duration::from_secs(1);

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

pub(super) fn pages(settings: &Settings) -> Finding {
    let is_origin = |origin: &&String| {
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        authority.is_some_and(|authority| !authority.is_empty() && !authority.contains(['/', '*', ' ']))
    };
    if settings.cors.is_empty() {
        return Finding::new("pages", Health::Good, "no page of another origin may ask");
    }
    if let Some(none) = settings.cors.iter().find(|origin| !is_origin(origin)) {
        let sentence =
            format!("{none:?} is no origin, and no page will have it; write it like https://console.example");
        return Finding::new("pages", Health::Bad, sentence);
    }
    let sentence = format!("pages of {} may ask, with the rights of whoever looks at them", settings.cors.join(", "));
    Finding::new("pages", if settings.auth { Health::Good } else { Health::Mind }, sentence)
}

pub(super) fn collector(settings: &Settings) -> Finding {
    let Some(url) = &settings.otlp else {
        return Finding::new("collector", Health::Good, "spans go nowhere");
    };
    if let Err(error) = serve::collector(url) {
        return Finding::new("collector", Health::Bad, error.to_string());
    }
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let reached = authority
        .to_socket_addrs()
        .is_ok_and(|mut addresses| addresses.any(|at| TcpStream::connect_timeout(&at, COLLECTOR_WITHIN).is_ok()));
    if reached {
        Finding::new("collector", Health::Good, format!("{url} answers"))
    } else {
        let sentence = format!("{url} is not reached; spans are dropped until it is, and nothing else suffers");
        Finding::new("collector", Health::Mind, sentence)
    }
}
