//! The files of the networks over HTTP: `/media/<token>/<name>`, as browsers and XMPP clients ask for them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use portway_bridges::api::Adapter;

use super::cache::{Cache, Key, NoFile};
use super::links::{self, Links, Ticket};
use super::range::{self, Wanted};
use crate::clock::Clock;
use crate::observe::Metrics;
use crate::observe::metrics::MediaOutcome;

/// For how long a client keeps a file at most, in seconds. The file behind a URL never changes.
const KEEP: i64 = 7 * 86_400;

/// Nothing runs, and nothing is loaded but what a browser needs to show a picture or a film that is opened by itself.
const POLICY: &str = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'";

/// What the pages are made of. Cheap to clone.
#[derive(Clone)]
pub struct Media(Arc<Parts>);

/// The parts of [`Media`].
pub struct Parts {
    /// Reads URLs.
    pub links: Links,
    /// The files.
    pub cache: Cache,
    /// The networks, by their ids.
    pub adapters: HashMap<String, Arc<dyn Adapter>>,
    /// The time.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
}

impl Media {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The pages.
    pub fn router(self) -> Router {
        Router::new().route(&format!("{}/{{token}}/{{name}}", links::PATH), get(file)).with_state(self)
    }
}

async fn file(
    State(media): State<Media>,
    path: Result<Path<(String, String)>, PathRejection>,
    method: Method,
    asked: HeaderMap,
) -> Response {
    let parts = &media.0;
    let now = parts.clock.now();
    // A path that cannot be read is a wrong one.
    let ticket = path.ok().and_then(|Path((token, _name))| parts.links.read(&token, now));
    let found = ticket.and_then(|ticket| {
        let adapter = parts.adapters.get(&ticket.network)?.clone();
        Some((ticket, adapter))
    });
    let Some((ticket, adapter)) = found else {
        parts.metrics.media(MediaOutcome::Unknown);
        return refusal(StatusCode::NOT_FOUND);
    };
    let key = Key::new(&ticket.network, ticket.source.as_str());
    let tag = format!("\"{}\"", &key.hex()[..32]);
    let mut headers = shown_as(ticket.media_type.as_deref());
    let keep = ((ticket.expires.0 - now.0) / 1000).clamp(0, KEEP);
    set(&mut headers, header::CACHE_CONTROL, &format!("private, max-age={keep}, immutable"));
    set(&mut headers, header::ETAG, &tag);
    let field = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok());
    if field(header::IF_NONE_MATCH)
        .is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag || one.trim() == "*"))
    {
        return answer(StatusCode::NOT_MODIFIED, headers, Body::empty());
    }
    let Ticket { event, source, .. } = ticket;
    let opened = parts.cache.read(key, move || Box::pin(async move { adapter.open(event, &source).await })).await;
    let reader = match opened {
        Ok(reader) => reader,
        Err(why) => return refusal_of(why),
    };
    set(&mut headers, header::ACCEPT_RANGES, "bytes");
    let size = reader.size();
    // Part of another version would be no use (RFC 9110, section 13.1.5).
    let range = field(header::RANGE).filter(|_| field(header::IF_RANGE).is_none_or(|one| one == tag));
    let (status, first, end) = match size.map(|size| (size, range::wanted(range, size))) {
        Some((size, Wanted::Nothing)) => {
            set(&mut headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return answer(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::empty());
        }
        Some((size, Wanted::Part(first, last))) => {
            set(&mut headers, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            (StatusCode::PARTIAL_CONTENT, first, Some(last + 1))
        }
        Some((size, Wanted::Whole)) => (StatusCode::OK, 0, Some(size)),
        None => (StatusCode::OK, 0, None),
    };
    if let Some(end) = end {
        set(&mut headers, header::CONTENT_LENGTH, &(end - first).to_string());
    }
    let body = if method == Method::HEAD { Body::empty() } else { Body::from_stream(reader.bytes(first, end)) };
    answer(status, headers, body)
}

/// How a file may be shown: pictures, sound and moving pictures as themselves, everything else only as something to save, and
/// nothing as a page of ours. What it is was said by its sender, and is not guessed.
fn shown_as(media_type: Option<&str>) -> HeaderMap {
    let proper = |text: &&str| {
        let mut parts = text.split('/');
        let token = |part: Option<&str>| {
            part.is_some_and(|part| {
                !part.is_empty()
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
            })
        };
        text.len() < 128 && token(parts.next()) && token(parts.next()) && parts.next().is_none()
    };
    // Parameters (codecs, charset) are not passed on.
    let media_type = media_type.and_then(|text| text.split(';').next()).map(|text| text.trim().to_ascii_lowercase());
    let media_type = media_type.as_deref().filter(proper).unwrap_or("application/octet-stream");
    let harmless = ["image/", "video/", "audio/"].iter().any(|kind| media_type.starts_with(kind))
        && !media_type.contains("svg")
        && !media_type.contains("xml");
    let mut headers = HeaderMap::new();
    set(&mut headers, header::CONTENT_TYPE, media_type);
    set(&mut headers, header::CONTENT_DISPOSITION, if harmless { "inline" } else { "attachment" });
    set(&mut headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut headers, header::CONTENT_SECURITY_POLICY, POLICY);
    set(&mut headers, header::REFERRER_POLICY, "no-referrer");
    // Clients that are web pages read it with a script; the URL is the permission.
    set(&mut headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(&mut headers, HeaderName::from_static("cross-origin-resource-policy"), "cross-origin");
    headers
}

fn refusal_of(why: NoFile) -> Response {
    match why {
        NoFile::Gone | NoFile::TooLarge => refusal(StatusCode::NOT_FOUND),
        NoFile::Unreachable => refusal(StatusCode::BAD_GATEWAY),
        NoFile::Busy => {
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE);
            set(response.headers_mut(), header::RETRY_AFTER, "10");
            response
        }
    }
}

fn refusal(status: StatusCode) -> Response {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::CACHE_CONTROL, "no-store");
    answer(status, headers, Body::empty())
}

fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
