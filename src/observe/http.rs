//! `/live`, `/ready`, `/metrics` and what `portway doctor` asks, and the files of the networks beside them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use portway_bridges::api::Stop;

use super::{Health, Metrics};
use crate::media::Media;

/// How many connections there are at most; further ones wait.
const CONNECTIONS: usize = 512;

/// How long a connection may stand still: nothing is asked, or what we send is not taken.
const STILL: Duration = Duration::from_secs(120);

/// How long answers may go on after the stop signal.
const GRACE: Duration = Duration::from_secs(2);

/// What the pages are made of.
#[derive(Clone)]
pub struct Pages {
    /// The state of the parts.
    pub health: Health,
    /// The metrics.
    pub metrics: Metrics,
    /// Brings gauges up to date before they are read.
    pub refresh: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
    /// Files.
    pub media: Media,
    /// The address on which the listener is, as far as it is one.
    pub own: IpAddr,
    /// What the gateway finds over its connections, as `portway doctor --json` writes it. It keeps its answer for a while.
    pub doctor: Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>,
}

/// Serves the pages until the stop signal.
///
/// # Errors
/// An I/O error of the listener.
pub async fn serve(listener: TcpListener, pages: Pages, stop: Stop) -> io::Result<()> {
    let listener = Patient { listener, places: Arc::new(Semaphore::new(CONNECTIONS)) };
    let stopping = stop.clone();
    let app = router(pages).into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await });
    tokio::select! {
        served = serving.into_future() => served,
        // Whoever reads a large file now will ask for the rest of it.
        () = async { stopping.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

fn router(pages: Pages) -> Router {
    let media = pages.media.clone().router();
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/doctor", get(doctor))
        .with_state(pages)
        .merge(media)
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    if pages.health.ready() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", pages.health.missing().join(", ")))
    }
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    (pages.refresh)().await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], pages.metrics.render())
}

/// A listener that takes as many connections as there are places for, and gives up those that stand still.
struct Patient {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for Patient {
    type Io = Moving<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.ok();
        let (stream, from) = axum::serve::Listener::accept(&mut self.listener).await;
        (Moving::new(stream, STILL, place), from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Patient>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Patient>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A socket that ends with an error when it has stood still for too long, in both directions.
struct Moving<S> {
    stream: S,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Moving<S> {
    fn new(stream: S, patience: Duration, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { stream, patience, deadline: Box::pin(tokio::time::sleep(patience)), _place: place }
    }

    fn moved(&mut self) {
        self.deadline.as_mut().reset(Instant::now() + self.patience);
    }

    /// What a side that is not ready says: whether it is over.
    fn still<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Moving<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.still(context),
            moved => {
                self.moved();
                moved
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Moving<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.still(context),
            moved => {
                self.moved();
                moved
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.still(context),
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// For this machine only, and not for whom a proxy on it stands in: it says what the set-up lacks.
async fn doctor(
    State(pages): State<Pages>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Response {
    let passed_on = ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name));
    // Where the listener is on an address of its own, this machine comes from that one.
    let here = peer.ip().to_canonical().is_loopback() || peer.ip() == pages.own;
    if passed_on || !here {
        return (StatusCode::FORBIDDEN, "for this machine only\n").into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], (pages.doctor)().await).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::Clock;
    use crate::media::{Cache, Links, serve};

    #[tokio::test(start_paused = true)]
    async fn f4_a_reader_that_takes_nothing_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let mut ours = Moving::new(ours, STILL, None);
        let start = Instant::now();
        // As long as something moves it is waited for.
        for _ in 0..5 {
            ours.write_all(b"0123456789").await.expect("it is taken");
            let reads = async {
                tokio::time::sleep(STILL / 2).await;
                theirs.read_exact(&mut [0; 10]).await
            };
            let (more, read) = tokio::join!(ours.write_all(b"x"), reads);
            assert!(more.is_ok() && read.is_ok());
            theirs.read_exact(&mut [0]).await.expect("it was written");
        }
        assert!(start.elapsed() > STILL);
        ours.write_all(b"0123456789").await.expect("there is room");
        let error = ours.write_all(b"more").await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (ours, _theirs) = tokio::io::duplex(10);
        let silent = Moving::new(ours, STILL, None).read(&mut [0]).await;
        assert_eq!(silent.expect_err("nobody asks").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn d15_the_doctor_speaks_to_this_machine_only() {
        let folder = std::env::temp_dir().join(format!("portway-pages-{}", std::process::id()));
        let metrics = Metrics::default();
        let media = Media::new(serve::Parts {
            links: Links::new("https://files.example", &[7; 32], Duration::from_secs(86_400), 1),
            cache: Cache::open(&folder, 1, 1, metrics.clone(), Stop::new()).unwrap(),
            adapters: Default::default(),
            clock: Clock::system(),
            metrics: metrics.clone(),
        });
        let pages = Pages {
            media,
            health: Health::new([]),
            metrics,
            refresh: Arc::new(|| Box::pin(async {})),
            own: "192.0.2.7".parse().unwrap(),
            doctor: Arc::new(|| Box::pin(async { "[]".to_owned() })),
        };
        let ask = async |peer: &str, header: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(name) = header {
                headers.insert(name, "x".parse().unwrap());
            }
            let peer = ConnectInfo(Peer(SocketAddr::new(peer.parse().unwrap(), 1)));
            doctor(State(pages.clone()), peer, headers).await.status().as_u16()
        };
        for own in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "192.0.2.7"] {
            assert_eq!(ask(own, Some("accept")).await, 200, "{own}");
        }
        for other in ["192.0.2.1", "10.0.0.1", "::", "::ffff:192.0.2.1", "2001:db8::1"] {
            assert_eq!(ask(other, None).await, 403, "{other}");
        }
        for header in ["forwarded", "x-forwarded-for"] {
            assert_eq!(ask("127.0.0.1", Some(header)).await, 403, "{header}");
        }
        let _ = std::fs::remove_dir_all(folder);
    }
}
