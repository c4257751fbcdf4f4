//! `/live`, `/ready` and `/metrics`.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::future::BoxFuture;
use std::sync::Arc;
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
}

/// Serves the pages until the stop signal.
///
/// # Errors
/// An I/O error of the listener.
pub async fn serve(listener: TcpListener, pages: Pages, stop: Stop) -> std::io::Result<()> {
    axum::serve(listener, router(pages)).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
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
