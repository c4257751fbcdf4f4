//! The socket under a stream: TCP, and TLS around it where the server takes it (XEP-0114 itself has none; ejabberd,
//! Openfire and a proxy in front of Prosody speak it from the first byte).

use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::LinkConfig;
use super::error::{DownReason, TlsFault};

/// What is read from.
pub type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;

/// What is written to. Flush it: TLS keeps what fits in no whole record.
pub type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// How to speak TLS with the server. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    /// The name that the server's certificate must have.
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why TLS cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The text is neither a host name nor an address.
    #[error("“{0}” is neither a host name nor an address that a certificate could have")]
    Name(String),
    /// The system trusts nobody.
    #[error(
        "no trusted certificate was found ({0}): install the package ca-certificates, or set SSL_CERT_FILE or SSL_CERT_DIR"
    )]
    Roots(String),
    /// The library refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl Tls {
    /// TLS that trusts the certificates of the system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` where one of them
    /// is set, and expects a certificate for `name`: a host name or an IP address.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn system(name: &str) -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(found.certs);
        if good == 0 {
            let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(TlsError::Roots(if why.is_empty() { "the store is empty".to_owned() } else { why.join("; ") }));
        }
        Self::new(name, roots)
    }

    /// TLS 1.2 or 1.3 that trusts these certificates only.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn new(name: &str, roots: RootCertStore) -> Result<Self, TlsError> {
        let name = server_name(name).ok_or_else(|| TlsError::Name(name.to_owned()))?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Setup(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

/// The name as a certificate has it; `None` where no certificate could have it.
#[must_use]
pub fn server_name(text: &str) -> Option<ServerName<'static>> {
    let text = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    ServerName::try_from(text.to_owned()).ok()
}

/// Whether a host name or address means this machine, without asking anybody.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Opens the socket, and TLS in it where that is wanted.
pub async fn open(config: &LinkConfig) -> Result<(ReadHalf, WriteHalf), DownReason> {
    let place = || format!("{}:{}", config.host, config.port);
    let stream = TcpStream::connect((config.host.as_str(), config.port))
        .await
        .map_err(|error| DownReason::Connect(format!("{}: {error}", place())))?;
    stream.set_nodelay(true).map_err(|error| DownReason::Io(error.to_string()))?;
    let Some(tls) = &config.tls else {
        let (read, write) = stream.into_split();
        return Ok((Box::new(read), Box::new(write)));
    };
    let stream = tls
        .connector
        .connect(tls.name.clone(), stream)
        .await
        .map_err(|error| DownReason::Tls { fault: fault(&error), text: format!("{}: {error}", place()) })?;
    let (read, write) = tokio::io::split(stream);
    Ok((Box::new(read), Box::new(write)))
}

/// What is wrong, as far as the admin can do something about it.
fn fault(error: &std::io::Error) -> TlsFault {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            // A bad signature is that of another authority of the same name; the last one is what is said of a
            // certificate that is no authority and yet its own issuer.
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_) => {
                TlsFault::Untrusted
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::Name,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsFault::Expired,
            _ => TlsFault::Other,
        },
        Some(rustls::Error::InvalidMessage(_)) => TlsFault::NoTls,
        Some(_) => TlsFault::Other,
        // It hung up on our greeting: a plain component port does.
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => TlsFault::NoTls,
        None => TlsFault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l13_what_is_this_machine_and_what_is_not() {
        for host in ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST.", "xmpp.localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["10.0.0.1", "192.168.1.2", "::", "xmpp.example.org", "localhost.example.org", "", "127.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn l13_names_that_certificates_have() {
        for name in ["xmpp.example.org", "10.0.0.1", "::1", "[::1]", "localhost"] {
            assert!(server_name(name).is_some(), "{name}");
        }
        for name in ["", "a b", "böse", "-"] {
            assert!(server_name(name).is_none(), "{name}");
        }
        assert_eq!(Tls::new("a b", RootCertStore::empty()).err(), Some(TlsError::Name("a b".to_owned())));
    }
}
