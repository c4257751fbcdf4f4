//! Requests to the homeserver (client-server API), as ghosts.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::error::MatrixError;
use super::id::percent;
use crate::api::Content;

/// How long a request may take. Joining a big remote room takes long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer in bytes; the member list of a big room is large.
const LARGEST: usize = 32 << 20;

/// How long the upload of a file may take.
const UPLOAD: Duration = Duration::from_secs(3600);

/// What is sent: whole, or as it comes.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The homeserver, as we ask it. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, Body>,
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

    /// Opens media as the bot, to be read as it comes.
    pub async fn open(&self, path: &str) -> Result<Content, MatrixError> {
        let uri = format!("{}{path}", self.base);
        let asking = self.send(Method::GET, uri, "application/json", None, whole(Bytes::new()));
        let response = tokio::time::timeout(TIMEOUT, asking).await.map_err(|_| too_long())??;
        if !response.status().is_success() {
            return Err(self.answer(response, LARGEST).await.err().unwrap_or_else(too_long));
        }
        let field = |name: header::HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let media_type = field(header::CONTENT_TYPE).map(str::to_owned);
        let size = field(header::CONTENT_LENGTH).and_then(|size| size.parse().ok());
        let frames = BodyStream::new(response.into_body());
        let body = frames.filter_map(async |frame| match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(io::Error::other(error))),
        });
        Ok(Content { media_type, size, body: body.boxed() })
    }

    /// Uploads a file of `size` bytes as `user`, as it comes; `path` has a query already.
    pub async fn upload_stream(
        &self,
        path: &str,
        user: &str,
        media_type: &str,
        size: u64,
        body: BoxStream<'static, io::Result<Bytes>>,
    ) -> Result<Value, MatrixError> {
        let uri = format!("{}{path}&user_id={}", self.base, percent(user));
        let body = Body::new(StreamBody::new(body.map_ok(Frame::data)));
        let exchange = async {
            let response = self.send(Method::POST, uri, media_type, Some(size), body).await?;
            self.answer(response, LARGEST).await
        };
        let answer = tokio::time::timeout(UPLOAD, exchange).await.map_err(|_| too_long())??;
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
        let exchange = async {
            let response = self.send(method, uri, media_type, None, whole(body)).await?;
            self.answer(response, limit).await
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| too_long())?
    }

    async fn send(
        &self,
        method: Method,
        uri: String,
        media_type: &str,
        size: Option<u64>,
        body: Body,
    ) -> Result<http::Response<Incoming>, MatrixError> {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, self.token.clone())
            .header(header::CONTENT_TYPE, media_type);
        if let Some(size) = size {
            request = request.header(header::CONTENT_LENGTH, size);
        }
        let request = request.body(body).map_err(|error| MatrixError::Unreachable(error.to_string()))?;
        self.http.request(request).await.map_err(|error| MatrixError::Unreachable(chain(&error)))
    }

    /// Reads an answer.
    async fn answer(&self, response: http::Response<Incoming>, limit: usize) -> Result<Option<Bytes>, MatrixError> {
        let status = response.status().as_u16();
        let retry = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_header = retry.map(Duration::from_secs);
        let body = match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => Some(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => None,
            Err(error) => return Err(MatrixError::Unreachable(error.to_string())),
        };
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

fn whole(bytes: Bytes) -> Body {
    Body::new(Full::new(bytes).map_err(|never| match never {}))
}

fn too_long() -> MatrixError {
    MatrixError::Unreachable("it took too long".to_owned())
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
