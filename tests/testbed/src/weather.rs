//! Bad weather, to order: a homeserver that answers 429 or 500 for a while, and a mail server that puts off recipients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Result;
use crate::mail::OUTSIDE;
use crate::process::free_port;

/// What stands between the gateway and the homeserver, and beside the outside mail server. Ends when it is dropped.
pub struct Weather {
    shared: Arc<Shared>,
    /// Where the gateway reaches the homeserver.
    pub homeserver: u16,
    /// Where the mail server asks about recipients (Postfix's policy protocol).
    pub policy: u16,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    /// The status that all requests get; 0: they are passed on.
    status: AtomicU16,
    /// Whether recipients in the outside domain are put off: 0 or 1.
    put_off: AtomicU16,
    refused: AtomicUsize,
    client: Client<HttpConnector, Body>,
    upstream: u16,
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Weather {
    /// Fair weather in front of a homeserver on this port.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(upstream: u16) -> Result<Self> {
        let (homeserver, policy) = (free_port()?, free_port()?);
        let shared = Arc::new(Shared {
            status: AtomicU16::new(0),
            put_off: AtomicU16::new(0),
            refused: AtomicUsize::new(0),
            client: Client::builder(TokioExecutor::new()).build_http(),
            upstream,
        });
        let bind = async |port| TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| error.to_string());
        let (front, questions) = (bind(homeserver).await?, bind(policy).await?);
        let app = axum::Router::new().fallback(pass).with_state(shared.clone());
        let tasks = [
            tokio::spawn(async move {
                let _ = axum::serve(front, app).await;
            }),
            tokio::spawn(answer_policy(questions, shared.clone())),
        ];
        Ok(Self { shared, homeserver, policy, tasks })
    }

    /// From now on the homeserver answers every request of the gateway with this status; `None`: as it is.
    pub fn homeserver_answers(&self, status: Option<u16>) {
        self.shared.status.store(status.unwrap_or(0), Ordering::SeqCst);
    }

    /// From now on the outside mail server puts off its recipients with 450, or not.
    pub fn mail_is_put_off(&self, yes: bool) {
        self.shared.put_off.store(u16::from(yes), Ordering::SeqCst);
    }

    /// How many requests and recipients were refused so far.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }
}

async fn pass(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let status = shared.status.load(Ordering::SeqCst);
    if let Ok(status) = StatusCode::from_u16(status) {
        shared.refused.fetch_add(1, Ordering::SeqCst);
        let body = if status == StatusCode::TOO_MANY_REQUESTS {
            json!({ "errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 300 })
        } else {
            json!({ "errcode": "M_UNKNOWN", "error": "Internal server error" })
        };
        return (status, axum::Json(body)).into_response();
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = format!("http://127.0.0.1:{}{path}", shared.upstream).parse::<Uri>() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    *request.uri_mut() = uri;
    match shared.client.request(request).await {
        Ok(response) => response.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Postfix's policy protocol: lines of `name=value`, an empty line, and the answer `action=…` with an empty line.
async fn answer_policy(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer_one(stream, shared.clone()));
    }
}

async fn answer_one(stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut outside = false;
    while let Some(line) = lines.next_line().await.ok()? {
        if let Some(recipient) = line.strip_prefix("recipient=") {
            outside = recipient.ends_with(OUTSIDE);
        }
        if line.is_empty() {
            let put_off = outside && shared.put_off.load(Ordering::SeqCst) == 1;
            let action = if put_off { "450 4.7.1 come back later" } else { "DUNNO" };
            shared.refused.fetch_add(usize::from(put_off), Ordering::SeqCst);
            write.write_all(format!("action={action}\n\n").as_bytes()).await.ok()?;
        }
    }
    None
}
