//! Fetches what users have put on the web. Whoever writes a message chooses the URL, so the [`guard`](super::guard) looks at it, at
//! every address that its host has, and at every place that it redirects to; the connection goes to the very address that was
//! looked at. What comes is limited in size and time, and must not be slower than a trickle.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portway_bridges::api::{Condition, Content, Failure, Sentence};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::gcm::{FileKey, TAG};
use super::guard::{self, Allow, Refused, Target};
use super::spool::{PIECE, Spool};
use crate::observe::Metrics;
use crate::observe::metrics::MediaOutcome;

/// How many files are fetched at once at most.
const FETCHES: usize = 8;

/// How often a place may lead to another one.
const REDIRECTS: usize = 5;

/// How many addresses of a host are tried.
const ADDRESSES: usize = 4;

/// How long each step may take, and how fast it must be.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For a connection, with TLS, to one address.
    pub connect: Duration,
    /// For the first byte of the answer.
    pub answer: Duration,
    /// For the next byte of the file.
    pub silence: Duration,
    /// For all of it.
    pub whole: Duration,
    /// How many bytes a second must come on average, once `silence` is over.
    pub rate: u64,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), answer: seconds(30), silence: seconds(30), whole: seconds(1800), rate: 1024 }
    }
}

/// Finds the addresses of a host.
pub type Resolve = Arc<dyn Fn(&str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Fetches. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher(Arc<Parts>);

/// The parts of [`Fetcher`].
pub struct Parts {
    /// What may be reached although it is private.
    pub allow: Allow,
    /// The largest file in bytes.
    pub largest: u64,
    /// Where files wait whose size is not known before.
    pub folder: PathBuf,
    /// Finds addresses.
    pub resolve: Resolve,
    /// How long everything may take.
    pub pace: Pace,
    /// The metrics.
    pub metrics: Metrics,
    /// Whom TLS trusts. `None`: nobody, nothing encrypted can be fetched.
    pub tls: Option<TlsConnector>,
    turns: Arc<Semaphore>,
}

impl Parts {
    /// As the program does it: names are looked up by the system, and whom the system trusts is trusted.
    #[must_use]
    pub fn system(allow: Allow, largest: u64, folder: &Path, metrics: Metrics) -> Self {
        let resolve: Resolve = Arc::new(|host: &str| {
            let host = host.to_owned();
            async move { Ok(tokio::net::lookup_host((host.as_str(), 0)).await?.map(|found| found.ip()).collect()) }
                .boxed()
        });
        let tls = connector();
        let turns = Arc::new(Semaphore::new(FETCHES));
        Self { allow, largest, folder: folder.to_owned(), resolve, pace: Pace::default(), metrics, tls, turns }
    }
}

fn connector() -> Option<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().ok()?.with_root_certificates(roots);
    Some(TlsConnector::from(Arc::new(config.with_no_client_auth())))
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("the server answers {0}")]
    Status(StatusCode),
    #[error("it comes compressed, which was not asked for")]
    Encoded,
    #[error("its key is none, or not its own")]
    Key,
    #[error("it cannot be had now: {0}")]
    Now(String),
}

impl Trouble {
    fn failure(self) -> Failure {
        let detail = self.to_string();
        let permanent = |condition, key: &str| Failure::permanent(condition, Sentence::new(key), detail.clone());
        match self {
            Self::Refused(_) | Self::Encoded => permanent(Condition::PolicyViolation, "core.file-not-fetched"),
            Self::TooLarge(most) => Failure::permanent(
                Condition::PolicyViolation,
                Sentence::new("core.file-too-large").with("most", (most >> 20).to_string()),
                detail,
            ),
            Self::Key => permanent(Condition::NotAcceptable, "core.file-bad-key"),
            Self::Status(status) if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) => {
                Failure::temporary(detail)
            }
            Self::Status(_) => permanent(Condition::ItemNotFound, "core.no-file"),
            Self::Now(_) => Failure::temporary(detail),
        }
    }
}

/// What is read from and written to.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Ends a task when it is dropped.
struct Ends(tokio::task::JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Fetcher {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The largest file in bytes.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.0.largest
    }

    /// Fetches a file: `https:`, or `aesgcm:` with its key (XEP-0454), of which nothing is given out before all of it has
    /// been found true. The size of what is returned is always known.
    ///
    /// # Errors
    /// `Permanent` where the URL is refused, the file gone or too large, or the key wrong; `Temporary` where it may come later.
    pub async fn fetch(&self, url: &str) -> Result<Content, Failure> {
        let result = match url.trim().split_once("aesgcm://") {
            Some(("", rest)) => self.sealed(rest).await,
            _ => self.plain(url).await,
        };
        self.0.metrics.media(if result.is_ok() { MediaOutcome::Taken } else { MediaOutcome::Refused });
        result.map_err(Trouble::failure)
    }

    async fn plain(&self, url: &str) -> Result<Content, Trouble> {
        let content = self.get(url).await?;
        if content.size.is_some() {
            return Ok(content);
        }
        let (file, size) = self.spool(content.body).await?;
        Ok(Content { media_type: content.media_type, size: Some(size), body: read(file, size) })
    }

    /// `rest` is what is behind `aesgcm://`.
    async fn sealed(&self, rest: &str) -> Result<Content, Trouble> {
        let (place, fragment) = rest.split_once('#').ok_or(Trouble::Key)?;
        let key = FileKey::read(fragment.trim()).ok_or(Trouble::Key)?;
        let content = self.get(&format!("https://{place}")).await?;
        let (file, size) = self.spool(content.body).await?;
        let size = size.checked_sub(TAG).ok_or(Trouble::Key)?;
        let verified = key.verify(&file, size).await.map_err(|error| Trouble::Now(error.to_string()))?;
        if !verified {
            return Err(Trouble::Key);
        }
        // What the server says of it was said of the ciphertext.
        Ok(Content { media_type: None, size: Some(size), body: key.decipher(file, size) })
    }

    async fn spool(&self, mut body: BoxStream<'static, io::Result<Bytes>>) -> Result<(Spool, u64), Trouble> {
        let broken = |error: io::Error| trouble(&error, self.0.largest);
        let file = Spool::nameless(&self.0.folder).await.map_err(broken)?;
        let mut size = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(broken)?;
            let next = size + piece.len() as u64;
            file.write(size, piece).await.map_err(broken)?;
            size = next;
        }
        Ok((file, size))
    }

    /// Follows a URL to a file.
    async fn get(&self, url: &str) -> Result<Content, Trouble> {
        let turn = self.0.turns.clone().acquire_owned().await.map_err(|error| Trouble::Now(error.to_string()))?;
        let start = Instant::now();
        let mut target = guard::target(url, &self.0.allow)?;
        for _ in 0..=REDIRECTS {
            let (response, connection) = self.ask(&target).await?;
            let status = response.status();
            if status.is_success() {
                return self.content(response, connection, turn, start);
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Err(Trouble::Status(status));
            }
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let next = absolute(&target, location.ok_or(Trouble::Status(status))?);
            let next = guard::target(&next, &self.0.allow)?;
            if target.tls && !next.tls {
                return Err(Refused::Downgrade.into());
            }
            target = next;
        }
        Err(Refused::Redirects.into())
    }

    /// One request to one place.
    async fn ask(&self, target: &Target) -> Result<(Response<Incoming>, Ends), Trouble> {
        let now = |error: &dyn std::fmt::Display| Trouble::Now(error.to_string());
        let socket = self.connect(target).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| now(&error))?;
        let connection = Ends(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let request = Request::get(&target.path)
            .header(header::HOST, target.authority())
            .header(header::USER_AGENT, "Portway")
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Empty::<Bytes>::new())
            .map_err(|_| Trouble::Refused(Refused::NoUrl))?;
        let answer = tokio::time::timeout(self.0.pace.answer, sender.send_request(request)).await;
        let response = answer.map_err(|_| now(&"the server does not answer"))?.map_err(|error| now(&error))?;
        Ok((response, connection))
    }

    /// Connects to an address of the host. One that leads where it must not spoils all the others: an honest host has none.
    async fn connect(&self, target: &Target) -> Result<Box<dyn Socket>, Trouble> {
        let addresses = match target.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => {
                let found = tokio::time::timeout(self.0.pace.connect, (self.0.resolve)(&target.host)).await;
                found
                    .map_err(|_| Trouble::Now("its name cannot be looked up".to_owned()))?
                    .map_err(|error| Trouble::Now(error.to_string()))?
            }
        };
        if addresses.iter().any(|address| !target.may_reach(*address, &self.0.allow)) {
            return Err(Refused::Private.into());
        }
        let mut last = Trouble::Now("its name has no address".to_owned());
        for address in addresses.into_iter().take(ADDRESSES) {
            let attempt = self.connect_to(target, SocketAddr::new(address, target.port));
            match tokio::time::timeout(self.0.pace.connect, attempt).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => last = Trouble::Now(error.to_string()),
                Err(_) => last = Trouble::Now("it cannot be connected to".to_owned()),
            }
        }
        Err(last)
    }

    async fn connect_to(&self, target: &Target, address: SocketAddr) -> io::Result<Box<dyn Socket>> {
        let stream = TcpStream::connect(address).await?;
        if !target.tls {
            return Ok(Box::new(stream));
        }
        let tls = self.0.tls.as_ref().ok_or_else(|| io::Error::other("TLS cannot be set up"))?;
        let name = rustls::pki_types::ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }

    fn content(
        &self,
        response: Response<Incoming>,
        connection: Ends,
        turn: OwnedSemaphorePermit,
        start: Instant,
    ) -> Result<Content, Trouble> {
        let largest = self.0.largest;
        let headers = response.headers();
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        if text(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Err(Trouble::Encoded);
        }
        let size = text(header::CONTENT_LENGTH).and_then(|size| size.parse::<u64>().ok());
        if size.is_some_and(|size| size > largest) {
            return Err(Trouble::TooLarge(largest));
        }
        let media_type = text(header::CONTENT_TYPE).and_then(|text| text.split(';').next());
        let media_type = media_type.map(|text| text.trim().to_ascii_lowercase());
        let pace = self.0.pace;
        let state = (response.into_body(), connection, turn, 0_u64);
        let body = stream::try_unfold(state, move |(mut body, connection, turn, read)| async move {
            let left = (start + pace.whole).saturating_duration_since(Instant::now()).min(pace.silence);
            loop {
                let frame = tokio::time::timeout(left, body.frame()).await.map_err(|_| slow())?;
                let Some(frame) = frame else {
                    let whole = size.is_none_or(|size| size == read);
                    return if whole { Ok(None) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) };
                };
                let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else { continue };
                let read = read + piece.len() as u64;
                if read > size.unwrap_or(largest) {
                    return Err(io::Error::from(io::ErrorKind::FileTooLarge));
                }
                let since = start.elapsed();
                if since > pace.silence && read < pace.rate.saturating_mul(since.as_secs()) {
                    return Err(slow());
                }
                return Ok(Some((piece, (body, connection, turn, read))));
            }
        });
        Ok(Content { media_type, size, body: body.boxed() })
    }
}

fn slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it comes too slowly")
}

fn trouble(error: &io::Error, largest: u64) -> Trouble {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Trouble::TooLarge(largest),
        _ => Trouble::Now(error.to_string()),
    }
}

fn read(file: Spool, size: u64) -> BoxStream<'static, io::Result<Bytes>> {
    stream::try_unfold((file, 0), move |(file, at)| async move {
        let piece = file.read(at, (size - at).min(PIECE as u64)).await?;
        let next = at + piece.len() as u64;
        Ok((!piece.is_empty()).then_some((piece, (file, next))))
    })
    .boxed()
}

/// Where a redirection leads (RFC 3986, section 5.2, without the climbing of `..`, which the server does as well).
fn absolute(from: &Target, location: &str) -> String {
    let scheme = if from.tls { "https" } else { "http" };
    let location = location.trim();
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    if location.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':')) {
        return location.to_owned();
    }
    let path = from.path.split('?').next().unwrap_or("/");
    let path = match location.chars().next() {
        Some('/') => location.to_owned(),
        Some('?') => format!("{path}{location}"),
        _ => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    format!("{scheme}://{}{path}", from.authority())
}

#[cfg(test)]
mod tests;
