//! A Matrix client.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::{Result, until};

/// One HTTP request with a JSON body; the status and the JSON of the answer.
///
/// # Errors
/// There is no answer.
pub async fn http(method: &str, uri: &str, token: Option<&str>, body: Option<&Value>) -> Result<(u16, Value)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = http::Request::builder().method(method).uri(uri).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = request.body(Full::new(bytes)).map_err(|error| error.to_string())?;
    let answer = client.request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

/// One HTTP request with bytes; the status and the bytes of the answer.
///
/// # Errors
/// There is no answer.
pub async fn transfer(method: &str, uri: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<(u16, Vec<u8>)> {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, bytes.to_vec()))
}

/// A person on Matrix, logged in.
pub struct Matrix {
    base: String,
    token: String,
    /// Their id.
    pub id: String,
    since: Option<String>,
    /// Every message that they have seen: room, sender, body, event id.
    pub seen: Vec<(String, String, String, String)>,
    known: BTreeSet<String>,
    /// Every event that they have seen, of whatever type and also their own, with its room; what is not stored as well.
    pub events: Vec<Value>,
    /// Rooms they were asked into, and by whom.
    pub invites: Vec<(String, String)>,
}

impl Matrix {
    /// Registers a new account.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn register(port: u16, name: &str) -> Result<Self> {
        let base = format!("http://127.0.0.1:{port}/_matrix/client/v3");
        let body = json!({ "username": name, "password": "secret", "auth": { "type": "m.login.dummy" } });
        let (status, answer) =
            until("registration", async || http("POST", &format!("{base}/register"), None, Some(&body)).await.ok())
                .await?;
        let text = |key: &str| answer[key].as_str().map(str::to_owned);
        let (Some(token), Some(id)) = (text("access_token"), text("user_id")) else {
            return Err(format!("the homeserver does not register {name}: {status} {answer}"));
        };
        Ok(Self {
            base,
            token,
            id,
            since: None,
            seen: Vec::new(),
            known: BTreeSet::new(),
            events: Vec::new(),
            invites: Vec::new(),
        })
    }

    /// One request; an answer that is no success is an error.
    ///
    /// # Errors
    /// The homeserver refuses or does not answer.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = http(method, &format!("{}{path}", self.base), Some(&self.token), body).await?;
        if (200..300).contains(&status) { Ok(answer) } else { Err(format!("{method} {path}: {status} {answer}")) }
    }

    /// Uploads a file; returns its `mxc:` URI.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn upload(&self, media_type: &str, bytes: Vec<u8>) -> Result<String> {
        let uri = format!("{}/upload", self.base.replace("/client/v3", "/media/v3"));
        let bearer = format!("Bearer {}", self.token);
        let headers = [("content-type", media_type), ("authorization", &bearer)];
        let (_, answer) = transfer("POST", &uri, &headers, bytes).await?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
        Ok(answer["content_uri"].as_str().ok_or_else(|| format!("no upload: {answer}"))?.to_owned())
    }

    /// The bytes of a file of this homeserver.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn download(&self, uri: &str) -> Result<Vec<u8>> {
        let name = uri.strip_prefix("mxc://").ok_or_else(|| format!("{uri} is no mxc: URI"))?;
        let path = format!("{}/media/download/{name}", self.base.replace("/client/v3", "/client/v1"));
        let bearer = format!("Bearer {}", self.token);
        let (status, bytes) = transfer("GET", &path, &[("authorization", &bearer)], Vec::new()).await?;
        if status == 200 { Ok(bytes) } else { Err(format!("{uri}: {status}")) }
    }

    /// Uploads a picture and shows it in the profile; returns its `mxc:` URI.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn show_face(&self, media_type: &str, bytes: Vec<u8>) -> Result<String> {
        let uri = self.upload(media_type, bytes).await?;
        let path = format!("/profile/{}/avatar_url", encode(&self.id));
        self.ask("PUT", &path, Some(&json!({ "avatar_url": uri }))).await?;
        Ok(uri)
    }

    /// Makes a public room with an alias; returns its id.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn make_room(&self, alias: &str) -> Result<String> {
        let body = json!({ "preset": "public_chat", "room_alias_name": alias, "name": alias, "topic": "a topic" });
        let answer = self.ask("POST", "/createRoom", Some(&body)).await?;
        answer["room_id"].as_str().map(str::to_owned).ok_or_else(|| "no room id".to_owned())
    }

    /// Asks somebody into a new chat of two; returns its room.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn start_chat(&self, with: &str) -> Result<String> {
        let body = json!({ "preset": "trusted_private_chat", "is_direct": true, "invite": [with] });
        let answer = self.ask("POST", "/createRoom", Some(&body)).await?;
        answer["room_id"].as_str().map(str::to_owned).ok_or_else(|| "no room id".to_owned())
    }

    /// Joins a room.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn join(&self, room: &str) -> Result<()> {
        self.ask("POST", &format!("/join/{}", encode(room)), Some(&json!({}))).await.map(|_| ())
    }

    /// Says something; returns its event id. A homeserver that is away is asked again under the same transaction id.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn say(&self, room: &str, body: &str) -> Result<String> {
        let txn = format!("{:x}", rand::random::<u64>());
        let path = format!("/rooms/{}/send/m.room.message/{txn}", encode(room));
        let content = json!({ "msgtype": "m.text", "body": body });
        let answer =
            until("the homeserver takes a message", async || self.ask("PUT", &path, Some(&content)).await.ok()).await?;
        answer["event_id"].as_str().map(str::to_owned).ok_or_else(|| "no event id".to_owned())
    }

    /// Sends an event of any type; returns its id.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn send(&self, room: &str, type_: &str, content: &Value) -> Result<String> {
        let path = format!("/rooms/{}/send/{type_}/{:x}", encode(room), rand::random::<u64>());
        let answer = self.ask("PUT", &path, Some(content)).await?;
        answer["event_id"].as_str().map(str::to_owned).ok_or_else(|| "no event id".to_owned())
    }

    /// Redacts an event.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn redact(&self, room: &str, event: &str) -> Result<()> {
        let path = format!("/rooms/{}/redact/{}/{:x}", encode(room), encode(event), rand::random::<u64>());
        self.ask("PUT", &path, Some(&json!({}))).await.map(|_| ())
    }

    /// Waits for an event that is wanted, also among those that were seen already.
    ///
    /// # Errors
    /// It does not come; the error has the latest events.
    pub async fn event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let this = &mut *self;
        let found = until(what, async || {
            if let Some(found) = this.events.iter().find(|event| wanted(event)) {
                return Some(found.clone());
            }
            let _ = this.sync().await;
            this.events.iter().find(|event| wanted(event)).cloned()
        })
        .await;
        found.map_err(|error| {
            let latest: Vec<String> = self.events.iter().rev().take(6).map(Value::to_string).collect();
            format!("{error}; the latest: {latest:#?}")
        })
    }

    /// Takes in what is new.
    ///
    /// # Errors
    /// The homeserver does not answer.
    pub async fn sync(&mut self) -> Result<()> {
        let filter = encode(r#"{"room":{"timeline":{"limit":5000}},"presence":{"types":[]}}"#);
        let since = self.since.as_ref().map(|since| format!("&since={since}")).unwrap_or_default();
        let answer = self.ask("GET", &format!("/sync?timeout=200&filter={filter}{since}"), None).await?;
        for (room, state) in answer["rooms"]["invite"].as_object().into_iter().flatten() {
            for event in state["invite_state"]["events"].as_array().into_iter().flatten() {
                if event["type"] == "m.room.member" && event["state_key"] == self.id.as_str() {
                    let by = event["sender"].as_str().unwrap_or_default().to_owned();
                    if !self.invites.iter().any(|(known, _)| known == room) {
                        self.invites.push((room.clone(), by));
                    }
                }
            }
        }
        for (room, joined) in answer["rooms"]["join"].as_object().into_iter().flatten() {
            for part in ["timeline", "ephemeral"] {
                for event in joined[part]["events"].as_array().into_iter().flatten() {
                    let mut event = event.clone();
                    event["room_id"] = Value::String(room.clone());
                    self.events.push(event);
                }
            }
            for event in joined["timeline"]["events"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let id = text(&event["event_id"]);
                if event["type"] == "m.room.message" && self.known.insert(id.clone()) {
                    self.seen.push((room.clone(), text(&event["sender"]), text(&event["content"]["body"]), id));
                }
            }
        }
        self.since = answer["next_batch"].as_str().map(str::to_owned);
        Ok(())
    }

    /// Waits until somebody asks this person in, and joins. Returns the room.
    ///
    /// # Errors
    /// Nobody does.
    pub async fn accept_invite(&mut self, from: &str) -> Result<String> {
        let what = format!("an invitation by {from}");
        let from = from.to_owned();
        let this = &mut *self;
        let room = until(&what, async || {
            let _ = this.sync().await;
            this.invites.iter().find(|(_, by)| *by == from).map(|(room, _)| room.clone())
        })
        .await?;
        self.join(&room).await?;
        Ok(room)
    }

    /// Waits for a message by somebody; returns its room and event id.
    ///
    /// # Errors
    /// It does not come.
    pub async fn wait(&mut self, from: &str, body: &str) -> Result<(String, String)> {
        let what = format!("“{body}” by {from} on Matrix");
        let this = &mut *self;
        until(&what, async || {
            let _ = this.sync().await;
            let found = this.seen.iter().find(|(_, sender, said, _)| sender == from && said == body);
            found.map(|(room, _, _, id)| (room.clone(), id.clone()))
        })
        .await
    }
}

/// A path segment or query value.
#[must_use]
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
