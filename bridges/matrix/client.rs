//! Requests to the homeserver (client-server API), as ghosts.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::error::MatrixError;
use super::id::percent;

/// How long a request may take. Joining a big remote room takes long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer in bytes; the member list of a big room is large.
const LARGEST: usize = 32 << 20;

/// The homeserver, as we ask it. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: header::HeaderValue,
}

impl Client {
    /// A client; asks nothing yet.
    pub fn new(base: &str, token: &str) -> Self {
        let provider = rustls::crypto::ring::default_provider();
        let builder = HttpsConnectorBuilder::new();
        let tls = match builder.with_provider_and_native_roots(provider.clone()) {
            Ok(tls) => tls,
            // A machine without certificates can still reach a homeserver on its own loopback.
            Err(_) => HttpsConnectorBuilder::new()
                .with_provider_and_webpki_roots(provider)
                .expect("the provider supports the default protocol versions"),
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
        let http =
            HyperClient::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(connector);
        let mut value = header::HeaderValue::from_str(&format!("Bearer {token}"))
            .unwrap_or_else(|_| header::HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        Self { http, base: base.to_owned(), token: value }
    }

    /// One request as `user` (a ghost's full id) or as the bot. `path` starts with a slash and is encoded already.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        user: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, MatrixError> {
        let unreachable = |error: String| MatrixError::Unreachable(error);
        let mut uri = format!("{}{path}", self.base);
        if let Some(user) = user {
            uri.push(if path.contains('?') { '&' } else { '?' });
            uri.push_str("user_id=");
            uri.push_str(&percent(user));
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, self.token.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))
            .map_err(|error| unreachable(error.to_string()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| unreachable(chain(&error)))?;
            let status = response.status().as_u16();
            let retry = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let body = Limited::new(response.into_body(), LARGEST)
                .collect()
                .await
                .map_err(|error| unreachable(error.to_string()))?
                .to_bytes();
            Ok((status, retry.map(Duration::from_secs), body))
        };
        let (status, retry_header, body) =
            tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| unreachable("it took too long".to_owned()))??;
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let retry_after =
            value.get("retry_after_ms").and_then(Value::as_u64).map(Duration::from_millis).or(retry_header);
        Err(MatrixError::Refused { status, code: text("errcode"), error: text("error"), retry_after })
    }

    /// A request without a body.
    pub async fn get(&self, path: &str, user: Option<&str>) -> Result<Value, MatrixError> {
        self.request(Method::GET, path, user, None).await
    }

    /// A request with a body.
    pub async fn post(&self, path: &str, user: Option<&str>, body: &Value) -> Result<Value, MatrixError> {
        self.request(Method::POST, path, user, Some(body)).await
    }

    /// A request with a body that can be repeated without harm.
    pub async fn put(&self, path: &str, user: Option<&str>, body: &Value) -> Result<Value, MatrixError> {
        self.request(Method::PUT, path, user, Some(body)).await
    }
}

/// An error with its causes, without the URL (which has no secrets, but names people).
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
