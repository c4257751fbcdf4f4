//! Where mail arrives: an address or a socket in the file system, how many may come at once, and the certificate.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::email::config::Place;
use crate::email::send::Io;

/// How many connections are served at once.
const CONNECTIONS: usize = 100;

/// How many of them may be from one address.
const FROM_ONE: usize = 20;

/// A listener of either sort.
pub enum Listener {
    Tcp(TcpListener),
    /// With the file, which goes when the listener goes.
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

/// Takes the socket's file away at the end.
pub struct SocketFile(std::path::PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens.
    pub async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Place::Unix(path) => {
                clear(path)?;
                let listener = UnixListener::bind(path)?;
                // The mail server in front is in our group; nobody else hands mail to us.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self::Unix { listener, _file: SocketFile(path.clone()) })
            }
        }
    }

    /// The address that it got.
    pub fn bound(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    /// The next connection, and the address of its peer where it has one.
    pub async fn accept(&self) -> io::Result<(Box<dyn Io>, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), Some(peer.ip().to_canonical())))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

/// Takes away the socket that an earlier run left. Anything else in its place stays, and so does a socket on which
/// somebody listens.
fn clear(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
            }
            std::fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something that is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Who is connected.
#[derive(Default)]
pub struct Places(Mutex<HashMap<Option<IpAddr>, usize>>);

/// A place that is taken; given back when dropped.
pub struct Taken {
    places: Arc<Places>,
    peer: Option<IpAddr>,
}

impl Places {
    /// A place for one more connection of this peer. The mail server in front has no address, or is one address that
    /// sends everything: `one_peer` lifts the limit for a single address.
    pub fn take(self: &Arc<Self>, peer: Option<IpAddr>, one_peer: bool) -> Option<Taken> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= CONNECTIONS {
            return None;
        }
        let count = counts.entry(peer).or_default();
        if !one_peer && *count >= FROM_ONE {
            return None;
        }
        *count += 1;
        Some(Taken { places: self.clone(), peer })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut counts = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// The acceptor of TLS with this certificate chain and key (PEM).
///
/// # Errors
/// What is wrong with which file.
pub fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let at = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).map_err(|error| at(cert, &error))?.collect();
    let chain = chain.map_err(|error| at(cert, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| at(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_no_client_auth();
    let config = config.with_single_cert(chain, secret).map_err(|error| at(cert, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_places() {
        let places = Arc::new(Places::default());
        let ip = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let held: Vec<Taken> = (0..FROM_ONE).map(|_| places.take(ip(1), false).unwrap()).collect();
        assert!(places.take(ip(1), false).is_none() && places.take(ip(1), true).is_some());
        let others: Vec<Taken> = (0..CONNECTIONS - FROM_ONE).map(|_| places.take(None, true).unwrap()).collect();
        assert!(places.take(ip(2), false).is_none());
        drop(others);
        drop(held);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
