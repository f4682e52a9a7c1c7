//! Reaching the bus over TLS, or without it: which, is a matter of its address.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::connect::Connect;

/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why a bus cannot be reached over TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates that are to be trusted cannot be read.
    #[error("{path}: {why}; give a PEM file of the certificates that sign the bus's")]
    Roots {
        /// Where they should be.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// No file of the system's is where systems have them.
    #[error("this system's trusted certificates were not found; name a file of those that sign the bus's")]
    NoRoots,
    /// The host is no name that a certificate could bear.
    #[error("{host:?} is no name that a certificate could bear; give the name or the address that is in it")]
    Name {
        /// What was given.
        host: String,
    },
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Whose signatures are trusted.
#[derive(Debug, Clone, Default)]
pub enum TlsRoots {
    /// Those that the system trusts.
    #[default]
    System,
    /// Those in this PEM file, and no others.
    File(PathBuf),
}

impl TlsRoots {
    fn read(&self) -> Result<RootCertStore, TlsError> {
        let path = match self {
            Self::File(path) => path.as_path(),
            Self::System => SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists()).ok_or(TlsError::NoRoots)?,
        };
        let told = |why: String| TlsError::Roots { path: path.display().to_string(), why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| told(error.to_string()))? {
            let certificate = certificate.map_err(|error| told(error.to_string()))?;
            match (roots.add(certificate), self) {
                // A system trusts some that are too old for us.
                (Ok(()), _) | (Err(_), Self::System) => {}
                (Err(error), Self::File(_)) => return Err(told(error.to_string())),
            }
        }
        if roots.is_empty() { Err(told("it holds no certificate".to_owned())) } else { Ok(roots) }
    }
}

/// Reaches the bus over TCP, with TLS or without.
#[derive(Clone)]
pub struct BusConnect {
    address: String,
    tls: Option<(ServerName<'static>, TlsConnector)>,
}

impl BusConnect {
    /// The bus at this `host:port`, in plain text.
    pub fn plain(address: impl Into<String>) -> Self {
        Self { address: address.into(), tls: None }
    }

    /// The bus at this `host:port`, whose certificate bears the host and is signed by one of these.
    pub fn tls(address: impl Into<String>, roots: &TlsRoots) -> Result<Self, TlsError> {
        let address = address.into();
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| TlsError::Name { host })?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.read()?)
            .with_no_client_auth();
        Ok(Self { address, tls: Some((name, TlsConnector::from(Arc::new(config)))) })
    }
}

impl fmt::Debug for BusConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusConnect").field("address", &self.address).field("tls", &self.tls.is_some()).finish()
    }
}

impl Connect for BusConnect {
    type Io = BusStream;

    async fn connect(&self) -> io::Result<BusStream> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(BusStream::Plain(stream)),
            Some((name, connector)) => Ok(BusStream::Tls(Box::new(connector.connect(name.clone(), stream).await?))),
        }
    }

    fn host(&self) -> &str {
        &self.address
    }
}

/// A connection to the bus.
#[derive(Debug)]
pub enum BusStream {
    /// In plain text.
    Plain(TcpStream),
    /// In TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls the same of whichever it is.
macro_rules! whichever {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            BusStream::Plain($stream) => $call,
            BusStream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for BusStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        whichever!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for BusStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        whichever!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
