//! `/live`, `/ready`, `/metrics`, and what `portway doctor` asks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;

use portway_bridges::api::Stop;

use super::{Health, Metrics};

/// What the pages are made of.
#[derive(Clone)]
pub struct Pages {
    /// The state of the parts.
    pub health: Health,
    /// The metrics.
    pub metrics: Metrics,
    /// Brings gauges up to date before they are read.
    pub refresh: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
    /// The address on which the listener is, as far as it is one.
    pub own: IpAddr,
    /// What the gateway finds over its connections, as `portway doctor --json` writes it. It keeps its answer for a while.
    pub doctor: Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>,
}

/// Serves the pages until the stop signal.
///
/// # Errors
/// An I/O error of the listener.
pub async fn serve(listener: TcpListener, pages: Pages, stop: Stop) -> std::io::Result<()> {
    let app = router(pages).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/doctor", get(doctor))
        .with_state(pages)
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

/// For this machine only, and not for whom a proxy on it stands in: it says what the set-up lacks.
async fn doctor(
    State(pages): State<Pages>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
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
    use super::*;

    #[tokio::test]
    async fn d15_the_doctor_speaks_to_this_machine_only() {
        let pages = Pages {
            health: Health::new([]),
            metrics: Metrics::default(),
            refresh: Arc::new(|| Box::pin(async {})),
            own: "192.0.2.7".parse().unwrap(),
            doctor: Arc::new(|| Box::pin(async { "[]".to_owned() })),
        };
        let ask = async |peer: &str, header: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(name) = header {
                headers.insert(name, "x".parse().unwrap());
            }
            let peer = ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1));
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
    }
}
