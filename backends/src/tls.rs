//! TLS before the server: handshakes with a deadline, and certificates that can be renewed while it runs.
//!
//! The server itself takes any listener; this one wraps another. A handshake runs on a task of its own, so that one who
//! connects and says nothing holds up nobody, and there is a bound on how many are under way. What this module refuses to do:
//! authenticate clients by certificates (tokens do that), or speak anything older than TLS 1.2.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use axum::serve::Listener;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a handshake may take: as long as a peer may take for the headers of a request.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Handshakes under way at once. Each costs a task and some KiB; those beyond wait in the listener's queue.
const HANDSHAKES_MAX: usize = 1_024;

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("{path}: {why}; give a PEM file of {what}")]
    File {
        /// Which.
        path: String,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// They cannot be used together.
    #[error("the certificate and its key cannot be used: {0}; make sure that they belong together")]
    Pair(#[from] rustls::Error),
}

/// A certificate and its key, read from files, and read again when they change.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<(Arc<CertifiedKey>, Stamp)>,
}

/// When the files were last written.
type Stamp = (Option<SystemTime>, Option<SystemTime>);

impl Certificate {
    /// Reads them.
    pub fn read(chain: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let stamp = stamp(chain, key);
        let current = RwLock::new((load(chain, key)?, stamp));
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current }))
    }

    /// Reads them again if they have changed; whether they had. With an error the former ones stay in use.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let stamp = stamp(&self.chain, &self.key);
        let known = self.current.read().unwrap_or_else(PoisonError::into_inner).1;
        if stamp == known {
            return Ok(false);
        }
        let loaded = load(&self.chain, &self.key);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Files that cannot be used are told once, not at each look.
        current.1 = stamp;
        current.0 = loaded?;
        Ok(true)
    }

    /// Looks after the files for ever.
    pub async fn follow(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            match self.refresh() {
                Ok(true) => tracing::info!("the certificate has changed and is used from now on"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the changed certificate cannot be used; the former one stays"),
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).0))
    }
}

fn stamp(chain: &Path, key: &Path) -> Stamp {
    let written = |path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    (written(chain), written(key))
}

fn load(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let certificates = certificates(chain)?;
    let told = |why: rustls::pki_types::pem::Error| TlsError::File {
        path: key.display().to_string(),
        what: "a private key",
        why: why.to_string(),
    };
    let key = PrivateKeyDer::from_pem_file(key).map_err(told)?;
    Ok(Arc::new(CertifiedKey::from_der(certificates, key, &provider())?))
}

/// The certificates in a PEM file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let told = |why: String| TlsError::File { path: path.display().to_string(), what: "certificates", why };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| told(error.to_string()))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| told(error.to_string()))?;
    if all.is_empty() { Err(told("it holds no certificate".to_owned())) } else { Ok(all) }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// A listener whose connections have shaken hands.
pub struct TlsListener<L: Listener> {
    listener: L,
    acceptor: TlsAcceptor,
    #[expect(clippy::type_complexity, reason = "what an accepting task returns")]
    handshakes: JoinSet<Option<(TlsStream<L::Io>, L::Addr)>>,
}

impl<L: Listener> TlsListener<L> {
    /// Shakes hands on what comes from this listener, with this certificate.
    pub fn new(listener: L, certificate: Arc<Certificate>) -> Result<Self, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), handshakes: JoinSet::new() })
    }
}

impl<L> Listener for TlsListener<L>
where
    L: Listener,
    L::Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    L::Addr: Send + 'static,
{
    type Io = TlsStream<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                biased;
                // One that failed, or took too long, is gone; its peer knows.
                Some(shaken) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = shaken {
                        return connection;
                    }
                }
                (io, address) = self.listener.accept(), if self.handshakes.len() < HANDSHAKES_MAX => {
                    let handshake = self.acceptor.accept(io);
                    self.handshakes.spawn(async move {
                        match timeout(HANDSHAKE_DEADLINE, handshake).await {
                            Ok(Ok(stream)) => Some((stream, address)),
                            Ok(Err(error)) => {
                                tracing::debug!(%error, "a TLS handshake failed");
                                None
                            }
                            Err(_) => None,
                        }
                    });
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// From when on a certificate counts no more, in seconds since 1970; none if it cannot be told.
///
/// Of X.509 this reads only the way to that one field, and checks nothing: it is for telling people in time.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (certificate, _) = element(certificate, 0x30)?;
    let (mut body, _) = element(certificate, 0x30)?;
    if let Some((_, rest)) = element(body, 0xA0) {
        body = rest; // The version.
    }
    for tag in [0x02, 0x30, 0x30] {
        body = element(body, tag)?.1; // Serial number, algorithm, issuer.
    }
    let (validity, _) = element(body, 0x30)?;
    let (_, _, after) = any_element(validity)?;
    let (tag, time, _) = any_element(after)?;
    let text = std::str::from_utf8(time).ok()?;
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let number = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let days = days_since_1970(year, number(0)?, number(2)?);
    Some(days * 86_400 + number(4)? * 3_600 + number(6)? * 60 + number(8)?)
}

/// The content of a DER element of this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any_element(bytes)?;
    (found == tag).then_some((content, rest))
}

fn any_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&length, bytes) = bytes.split_first()?;
    let (length, bytes) = if length < 0x80 {
        (usize::from(length), bytes)
    } else {
        let (digits, bytes) = bytes.split_at_checked(usize::from(length & 0x7F))?;
        (digits.iter().try_fold(0_usize, |sum, digit| sum.checked_mul(256)?.checked_add(usize::from(*digit)))?, bytes)
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Days of the Gregorian calendar, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expiry_is_read_where_the_certificate_has_it() {
        let key = rcgen::KeyPair::generate().expect("draws");
        for (year, month, day, expected) in [(2031, 2, 28, 1_930_003_200), (2099, 12, 31, 4_102_358_400)] {
            let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("is a name");
            parameters.not_after = rcgen::date_time_ymd(year, month, day);
            let certificate = parameters.self_signed(&key).expect("signs");
            assert_eq!(expiry(certificate.der()), Some(expected), "{year}-{month}-{day}");
        }
        assert_eq!(expiry(&CertificateDer::from(vec![0x30, 0x82, 0xFF])), None);
    }

    #[test]
    fn a_renewed_certificate_is_used_and_a_broken_one_leaves_the_former() {
        let directory = std::env::temp_dir().join(format!("dacapo-tls-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("can be made");
        let (chain, key) = (directory.join("bus.pem"), directory.join("bus.key"));
        let write = |pem: &str, of: &rcgen::KeyPair, written: u64| {
            fs::write(&key, of.serialize_pem()).expect("writes");
            fs::write(&chain, pem).expect("writes");
            // Files of the same moment cannot be told apart by it.
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(written);
            fs::File::options().write(true).open(&chain).and_then(|file| file.set_modified(time)).expect("is set");
        };
        let signed = |of: &rcgen::KeyPair| {
            let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("is a name");
            parameters.self_signed(of).expect("signs").pem()
        };
        let (one, other) = (rcgen::KeyPair::generate().expect("draws"), rcgen::KeyPair::generate().expect("draws"));
        write(&signed(&one), &one, 1_000);
        let certificate = Certificate::read(&chain, &key).expect("is one");
        let shown = || certificate.current.read().expect("nobody panics with it").0.cert[0].clone();
        let first = shown();
        assert!(!certificate.refresh().expect("nothing changed"));
        write("nonsense", &other, 2_000);
        assert!(certificate.refresh().is_err());
        assert_eq!(shown(), first);
        write(&signed(&other), &other, 3_000);
        assert!(certificate.refresh().expect("is one again"));
        assert_ne!(shown(), first);
        fs::remove_dir_all(&directory).expect("can be removed");
    }

    #[test]
    fn files_that_are_none_are_named() {
        let error =
            Certificate::read(Path::new("/nowhere/cert.pem"), Path::new("/nowhere/key.pem")).expect_err("no file");
        assert!(error.to_string().contains("/nowhere/cert.pem"), "{error}");
    }
}
