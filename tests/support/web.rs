//! A web server on loopback, and a client that shows everything of an answer.
#![allow(dead_code, reason = "each user of this module needs another part of it")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Files = Arc<Mutex<HashMap<String, (String, Vec<u8>)>>>;

/// An upload service: what was put there can be fetched.
pub struct Web {
    files: Files,
    port: u16,
}

impl Web {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let files = Files::default();
        let app = Router::new()
            .route("/zeros/{count}", axum::routing::get(zeros))
            .route("/{name}", axum::routing::get(file))
            .with_state(files.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { files, port }
    }

    /// Puts a file there; returns its URL.
    pub fn put(&self, name: &str, media_type: &str, bytes: &[u8]) -> String {
        self.files.lock().expect("no panic").insert(name.to_owned(), (media_type.to_owned(), bytes.to_vec()));
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// The URL of a file of so many MiB of zeros.
    pub fn zeros(&self, mib: u64) -> String {
        format!("http://127.0.0.1:{}/zeros/{mib}", self.port)
    }
}

async fn file(State(files): State<Files>, Path(name): Path<String>) -> Response {
    match files.lock().expect("no panic").get(&name).cloned() {
        Some((media_type, bytes)) => ([(header::CONTENT_TYPE, media_type)], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn zeros(Path(mib): Path<u64>) -> Response {
    let pieces = futures::stream::iter(0..mib * 16).map(|_| Ok::<_, std::io::Error>(vec![0; 64 << 10]));
    ([(header::CONTENT_LENGTH, (mib << 20).to_string())], Body::from_stream(pieces)).into_response()
}

/// An answer, as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of its head.
    pub fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Asks for a path with these lines in the head.
pub async fn ask(port: u16, method: &str, path: &str, lines: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the HTTP listener");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("it answers");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// Reads all of an answer without keeping it; how many bytes it has, head and all.
pub async fn count(port: u16, path: &str) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the HTTP listener");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.expect("it answers")
}
