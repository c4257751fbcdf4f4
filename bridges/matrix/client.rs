//! Requests to the homeserver (client-server API), as ghosts.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
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
        let mut uri = format!("{}{path}", self.base);
        if let Some(user) = user {
            uri.push(if path.contains('?') { '&' } else { '?' });
            uri.push_str("user_id=");
            uri.push_str(&percent(user));
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let answer = self.exchange(method, uri, "application/json", bytes, LARGEST).await?;
        let answer = answer.ok_or_else(|| MatrixError::Unreachable("the answer is too large".to_owned()))?;
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    /// Fetches media as the bot; `None` where there would be more than `limit` bytes.
    pub async fn fetch(&self, path: &str, limit: usize) -> Result<Option<Bytes>, MatrixError> {
        self.exchange(Method::GET, format!("{}{path}", self.base), "application/json", Bytes::new(), limit).await
    }

    /// Uploads media as `user`; `path` has a query already.
    pub async fn upload(&self, path: &str, user: &str, media_type: &str, bytes: Bytes) -> Result<Value, MatrixError> {
        let uri = format!("{}{path}&user_id={}", self.base, percent(user));
        let answer = self.exchange(Method::POST, uri, media_type, bytes, LARGEST).await?;
        Ok(serde_json::from_slice(&answer.unwrap_or_default()).unwrap_or(Value::Null))
    }

    /// One request; the body of a success, or `None` where it is larger than `limit` bytes.
    async fn exchange(
        &self,
        method: Method,
        uri: String,
        media_type: &str,
        body: Bytes,
        limit: usize,
    ) -> Result<Option<Bytes>, MatrixError> {
        let unreachable = |error: String| MatrixError::Unreachable(error);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, self.token.clone())
            .header(header::CONTENT_TYPE, media_type)
            .body(Full::new(body))
            .map_err(|error| unreachable(error.to_string()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| unreachable(chain(&error)))?;
            let status = response.status().as_u16();
            let retry = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let body = match Limited::new(response.into_body(), limit).collect().await {
                Ok(body) => Some(body.to_bytes()),
                Err(error) if error.is::<LengthLimitError>() => None,
                Err(error) => return Err(unreachable(error.to_string())),
            };
            Ok((status, retry.map(Duration::from_secs), body))
        };
        let (status, retry_header, body) =
            tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| unreachable("it took too long".to_owned()))??;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let value: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or(Value::Null);
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
