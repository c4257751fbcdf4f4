//! What the homeserver pushes (application service API). A transaction is committed before it is answered.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State as AxumState};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tracing::{debug, warn};

use super::adapter::State;
use super::from_matrix::{self, Transaction};
use crate::api::{Core, Fatal, Stop, Submission};

/// The largest transaction in bytes: a hundred events of the largest size take less than half of it.
const LARGEST: usize = 16 << 20;

#[derive(Clone)]
struct Service {
    state: Arc<State>,
    core: Core,
}

/// Binds the listener.
pub async fn bind(state: &State) -> Result<TcpListener, Fatal> {
    let address = state.config.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Fatal(format!("network.matrix.listen: cannot listen on {address}: {error}")))?;
    if let Ok(bound) = listener.local_addr() {
        let _ = state.bound.set(bound);
    }
    Ok(listener)
}

/// Serves until the stop signal.
pub async fn serve(state: Arc<State>, core: Core, listener: TcpListener, stop: Stop) {
    let app = router(Service { state, core });
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await }).await {
        warn!(%error, "the application service's listener failed");
    }
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/_matrix/app/v1/transactions/{txn}", put(transaction))
        .route("/transactions/{txn}", put(transaction))
        .route("/_matrix/app/v1/ping", post(ping))
        .route("/_matrix/app/v1/users/{user}", get(user))
        .route("/users/{user}", get(user))
        .route("/_matrix/app/v1/rooms/{alias}", get(room))
        .route("/rooms/{alias}", get(room))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "unknown path") })
        .layer(middleware::from_fn_with_state(service.clone(), authorised))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(service)
}

/// Lets requests with the homeserver's token through. Compared in constant time.
async fn authorised(
    AxumState(service): AxumState<Service>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| value.strip_prefix("Bearer "));
    let legacy = query.iter().find(|(key, _)| key == "access_token").map(|(_, value)| value.as_str());
    let Some(token) = bearer.or(legacy) else {
        return refuse(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", "no token");
    };
    if !bool::from(token.as_bytes().ct_eq(service.state.config.hs_token.as_bytes())) {
        return refuse(StatusCode::FORBIDDEN, "M_FORBIDDEN", "wrong token");
    }
    next.run(request).await
}

async fn transaction(AxumState(service): AxumState<Service>, Path(txn): Path<String>, body: Bytes) -> Response {
    let parsed: Transaction = match serde_json::from_slice(&body) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "M_NOT_JSON", &error.to_string()),
    };
    if !parsed.events.is_empty() {
        let once = Some(transaction_name(&txn, &parsed));
        let submission = Submission { once, inbox: vec![body.to_vec()], ..Submission::default() };
        match service.core.submit(submission).await {
            Ok(accepted) if accepted.repeated => debug!("a transaction came again"),
            Ok(_) => service.state.arrived.notify_one(),
            // The homeserver keeps it and comes again.
            Err(error) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", &error.to_string()),
        }
    }
    super::signals::signals(&service.state, &service.core, &parsed.signals()).await;
    ok()
}

/// By what a transaction is recognised: its id and its events. The id alone is not enough, because Synapse counts from 1
/// again after a restart that found nothing in its queue.
fn transaction_name(txn: &str, transaction: &Transaction) -> String {
    let mut hash = Sha256::new();
    for event in &transaction.events {
        hash.update(from_matrix::event_id(event).as_bytes());
        hash.update(b"\0");
    }
    let hash: String = hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("txn:{txn}:{hash}")
}

async fn ping() -> Response {
    ok()
}

/// Whether a user of our namespace exists: those do who may use the gateway.
async fn user(AxumState(service): AxumState<Service>, Path(id): Path<String>) -> Response {
    let Some(user) = service.state.ghosts.user(&id).filter(|user| service.core.allows(user)) else {
        return refuse(StatusCode::NOT_FOUND, "M_NOT_FOUND", "no such user");
    };
    match service.state.ghost(&user, None).await {
        Ok(_) => ok(),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", &error.to_string()),
    }
}

/// Whether an alias of our namespace exists: MUCs are not carried yet.
async fn room() -> Response {
    refuse(StatusCode::NOT_FOUND, "M_NOT_FOUND", "no such room")
}

fn ok() -> Response {
    (StatusCode::OK, axum::Json(json!({}))).into_response()
}

fn refuse(status: StatusCode, code: &str, error: &str) -> Response {
    (status, axum::Json::<Value>(json!({ "errcode": code, "error": error }))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request as HttpRequest;
    use tower::ServiceExt;

    use super::*;
    use crate::api::testkit::MemoryCore;
    use crate::matrix::config;

    async fn put_transaction(core: &MemoryCore, txn: &str, token: &str, body: &str) -> u16 {
        let raw = toml::from_str(config::EXAMPLE).unwrap();
        let state = Arc::new(State::new(config::read(&raw).unwrap()));
        let app = router(Service { state, core: core.core() });
        let request = HttpRequest::builder()
            .method("PUT")
            .uri(format!("/_matrix/app/v1/transactions/{txn}"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        app.oneshot(request).await.unwrap().status().as_u16()
    }

    const TOKEN: &str = "change me too";

    fn events(id: &str) -> String {
        format!(
            r#"{{"events":[{{"event_id":"{id}","type":"m.room.message","room_id":"!r","sender":"@a:b","content":{{}}}}]}}"#
        )
    }

    #[tokio::test]
    async fn a_transaction_is_committed_once_and_before_it_is_answered() {
        let core = MemoryCore::new(&["x.org"]);
        assert_eq!(put_transaction(&core, "1", TOKEN, &events("$1")).await, 200);
        assert_eq!(put_transaction(&core, "1", TOKEN, &events("$1")).await, 200);
        assert_eq!(core.core().inbox(None, 10).await.unwrap().len(), 1);
        // A homeserver that was restarted counts from the beginning.
        assert_eq!(put_transaction(&core, "1", TOKEN, &events("$2")).await, 200);
        assert_eq!(core.core().inbox(None, 10).await.unwrap().len(), 2);
        core.refuse(true);
        assert_eq!(put_transaction(&core, "2", TOKEN, &events("$3")).await, 503);
    }

    #[tokio::test]
    async fn what_is_wrong_is_refused() {
        let core = MemoryCore::new(&["x.org"]);
        for (token, body, status) in [
            ("wrong", events("$1"), 403),
            (TOKEN, "not json".to_owned(), 400),
            (TOKEN, "{\"events\":5}".to_owned(), 400),
            (TOKEN, "x".repeat(LARGEST + 1), 413),
        ] {
            assert_eq!(put_transaction(&core, "1", token, &body).await, status);
        }
        assert!(core.core().inbox(None, 10).await.unwrap().is_empty());
    }
}
