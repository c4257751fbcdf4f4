//! Media and pictures of profiles (client-server API v1.11, section "Content repository").

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};

use super::routes::{Stub, Who, refuse};
use super::{Shared, StubHomeserver, remember};

/// How much is sent at once of what is only zeros.
const PIECE: u64 = 64 << 10;

/// The largest upload whose bytes are kept; of larger ones only the size is looked at.
const REMEMBERED_UPLOAD: u64 = 16 << 20;

/// The routes behind `/_matrix`.
pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/client/v1/media/{kind}/{server}/{id}", get(fetch))
        .route("/media/v3/{kind}/{server}/{id}", get(fetch))
        .route("/media/v3/upload", post(upload).layer(DefaultBodyLimit::disable()))
        .route("/client/v1/media/config", get(config))
        .route("/client/v3/profile/{user}/avatar_url", put(set_picture))
}

async fn fetch(State(shared): Stub, Path((kind, server, id)): Path<(String, String, String)>) -> Response {
    if !["thumbnail", "download"].contains(&kind.as_str()) {
        return refuse(404, "M_UNRECOGNIZED", "Unrecognized request");
    }
    let name = format!("{server}/{id}");
    if let Some(size) = shared.world().zeros.get(&name).copied() {
        let piece = Bytes::from_static(&[0; PIECE as usize]);
        let pieces = (0..size.div_ceil(PIECE)).map(move |n| piece.slice(..(size - n * PIECE).min(PIECE) as usize));
        let body = Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, std::io::Error>)));
        return ([(header::CONTENT_LENGTH, size.to_string())], body).into_response();
    }
    let found = shared.world().media.iter().find(|(known, ..)| *known == name).cloned();
    match found {
        Some((_, media_type, bytes)) => (StatusCode::OK, [(header::CONTENT_TYPE, media_type)], bytes).into_response(),
        None => refuse(404, "M_NOT_FOUND", "Not found"),
    }
}

async fn upload(State(shared): Stub, headers: HeaderMap, body: Body) -> Response {
    let mut bytes = Vec::new();
    let mut size = 0;
    let mut body = body.into_data_stream();
    while let Some(piece) = futures::StreamExt::next(&mut body).await {
        let Ok(piece) = piece else { return refuse(400, "M_UNKNOWN", "The upload broke off") };
        size += piece.len() as u64;
        if size <= REMEMBERED_UPLOAD {
            bytes.extend_from_slice(&piece);
        }
    }
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if said != Some(size) {
        return refuse(400, "M_UNKNOWN", "Request must specify a Content-Length");
    }
    if size > REMEMBERED_UPLOAD {
        bytes.clear();
    }
    let body = bytes;
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let uri = store(&shared, media_type, body);
    axum::Json(json!({ "content_uri": uri })).into_response()
}

async fn config(State(shared): Stub) -> Response {
    let largest = shared.world().largest_upload;
    axum::Json(largest.map_or_else(|| json!({}), |largest| json!({ "m.upload.size": largest }))).into_response()
}

async fn set_picture(
    State(shared): Stub,
    Path(user): Path<String>,
    axum::Extension(asker): Who,
    body: Bytes,
) -> Response {
    if user != asker.0 {
        return refuse(400, "M_UNKNOWN", "Cannot set another user's avatar_url");
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    world.rooms.renamed(&user);
    world.pictures.insert(user, body["avatar_url"].as_str().unwrap_or_default().to_owned());
    axum::Json(json!({})).into_response()
}

fn store(shared: &Shared, media_type: &str, bytes: Vec<u8>) -> String {
    let mut world = shared.world();
    let name = format!("{}/{}", shared.options.server_name, world.fresh('m'));
    remember(&mut world.media, (name.clone(), media_type.to_owned(), bytes));
    format!("mxc://{name}")
}

impl StubHomeserver {
    /// Says from now on that no larger file is taken, in bytes.
    pub fn largest_upload(&self, bytes: u64) {
        self.shared.world().largest_upload = Some(bytes);
    }

    /// Has media of so many zeros, which take no memory; returns the `mxc:` URI.
    #[must_use]
    pub fn add_zeros(&self, bytes: u64) -> String {
        let mut world = self.shared.world();
        let name = format!("{}/{}", self.shared.options.server_name, world.fresh('m'));
        world.zeros.insert(name.clone(), bytes);
        format!("mxc://{name}")
    }

    /// Keeps media; returns the `mxc:` URI.
    #[must_use]
    pub fn add_media(&self, media_type: &str, bytes: Vec<u8>) -> String {
        store(&self.shared, media_type, bytes)
    }

    /// The media behind a URI: type and bytes.
    #[must_use]
    pub fn media(&self, uri: &str) -> Option<(String, Vec<u8>)> {
        let name = uri.strip_prefix("mxc://")?;
        let world = self.shared.world();
        let found = world.media.iter().find(|(known, ..)| known == name)?;
        Some((found.1.clone(), found.2.clone()))
    }

    /// Sets the picture of somebody's profile.
    pub fn set_picture(&self, user: &str, uri: &str) {
        self.shared.world().pictures.insert(user.to_owned(), uri.to_owned());
    }

    /// The picture of somebody's profile.
    #[must_use]
    pub fn picture(&self, user: &str) -> Option<String> {
        self.shared.world().pictures.get(user).cloned()
    }
}
