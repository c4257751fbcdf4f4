//! Files, on their way: opened for users of XMPP, with the encryption of an attachment taken off, and uploaded for people of
//! Matrix.

use std::io;

use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Bytes, BytesMut};
use ctr::Ctr128BE;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::adapter::State;
use super::error::MatrixError;
use super::file::{self, Uploaded};
use super::ghost::stored;
use super::id::percent;
use super::picture::read_mxc;
use super::to_matrix::{self, Wire};
use crate::api::{Condition, Content, EventId, Failure, File, Kind, Outbound, Sentence, Source};

/// After this many tries to get a file from where a user has put it, its link goes instead, so that the chat goes on.
const TRIES: u32 = 5;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PLAIN64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL64: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// How to take the encryption off an attachment ("Sending encrypted attachments").
struct Secret {
    cipher: Ctr128BE<Aes256>,
    hash: Vec<u8>,
}

impl Secret {
    fn read(words: &[&str]) -> Option<Self> {
        let [key, iv, hash] = words else { return None };
        let key = URL64.decode(key).ok()?;
        let (iv, hash) = (PLAIN64.decode(iv).ok()?, PLAIN64.decode(hash).ok()?);
        let cipher = Ctr128BE::<Aes256>::new_from_slices(&key, &iv).ok()?;
        (hash.len() == 32).then_some(Self { cipher, hash })
    }

    /// The bytes as they were before. The last piece comes only when all of them are found to be the ones that were sent.
    fn open(self, body: BoxStream<'static, io::Result<Bytes>>) -> BoxStream<'static, io::Result<Bytes>> {
        let state = (self, body.fuse(), Sha256::new(), None::<Bytes>);
        stream::try_unfold(state, |(mut secret, mut body, mut digest, mut held)| async move {
            loop {
                let Some(piece) = body.next().await else {
                    let whole = digest.clone().finalize().as_slice() == secret.hash.as_slice();
                    return match (whole, held.take()) {
                        (false, _) => Err(io::Error::other("an encrypted file is not the one that was sent")),
                        (true, Some(last)) => Ok(Some((last, (secret, body, digest, None)))),
                        (true, None) => Ok(None),
                    };
                };
                let piece = piece?;
                digest.update(&piece);
                let mut open = BytesMut::from(&piece[..]);
                secret.cipher.apply_keystream(&mut open);
                if let Some(ready) = held.replace(open.freeze()) {
                    return Ok(Some((ready, (secret, body, digest, held))));
                }
            }
        })
        .boxed()
    }
}

impl State {
    /// Opens a file of the homeserver with our token (authenticated media).
    pub async fn open(&self, source: &Source) -> Result<Content, Failure> {
        let gone = |detail: &str| Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-file"), detail);
        let words: Vec<&str> = source.as_str().split(' ').collect();
        let (server, media) = words.first().and_then(|uri| read_mxc(uri)).ok_or_else(|| gone("no such source"))?;
        let secret = match words.get(1..).unwrap_or_default() {
            [] => None,
            rest => Some(Secret::read(rest).ok_or_else(|| gone("a key that cannot be used"))?),
        };
        let name = format!("download/{}/{media}?timeout_ms=20000", percent(server));
        let answer = match self.client.open(&format!("/_matrix/client/v1/media/{name}")).await {
            Err(error) if error.is("M_UNRECOGNIZED") => self.client.open(&format!("/_matrix/media/v3/{name}")).await,
            answer => answer,
        };
        let content = answer.map_err(|error| error.failure())?;
        let Some(secret) = secret else { return Ok(content) };
        // What the homeserver knows of it is that it is encrypted.
        Ok(Content { media_type: None, size: content.size, body: secret.open(content.body) })
    }

    /// What a user's file is on Matrix: the file, uploaded once however often this is called, or else its link.
    pub async fn file(&self, out: &Outbound, file: &File, ghost: &str) -> Result<Vec<Wire>, Failure> {
        let core = self.core()?;
        let key = upload_key(out.id);
        let known = core.get(&key).await.map_err(|error| stored(&error))?;
        if let Some(uploaded) = known.and_then(|bytes| known_upload(&bytes)) {
            return Ok(wire(file, &uploaded));
        }
        let no_file =
            || Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-file"), "a file without a URL");
        let url = file.url.as_deref().ok_or_else(no_file)?;
        match self.take(file, url, ghost).await {
            Ok(uploaded) => {
                let note = json!({ "uri": uploaded.uri, "type": uploaded.media_type, "size": uploaded.size });
                core.put(&key, Some(note.to_string().into_bytes())).await.map_err(|error| stored(&error))?;
                Ok(wire(file, &uploaded))
            }
            // Its sender must know that nobody can get it; nor could anybody open an encrypted link.
            Err(failure @ Failure::Permanent { .. }) if gone(&failure) || url.starts_with("aesgcm:") => Err(failure),
            Err(failure @ Failure::Temporary { .. }) if out.attempt < TRIES => Err(failure),
            Err(failure) if url.starts_with("aesgcm:") => Err(Failure::permanent(
                Condition::RemoteServerTimeout,
                Sentence::new("core.file-unreachable"),
                failure.to_string(),
            )),
            Err(_) => {
                core.loss("file");
                Ok(to_matrix::events(&Kind::Text(file::as_link(file, url)), &self.ghosts))
            }
        }
    }

    /// The event has arrived: nothing needs to be known of its upload any more.
    pub async fn file_sent(&self, id: EventId) {
        if let Ok(core) = self.core() {
            // Left behind it does no harm.
            let _ = core.put(&upload_key(id), None).await;
        }
    }

    async fn take(&self, file: &File, url: &str, ghost: &str) -> Result<Uploaded, Failure> {
        let most = self.largest_upload().await?;
        let content = self.core()?.fetch(url).await?;
        let size = content.size.ok_or_else(|| Failure::temporary("a file of unknown size"))?;
        let too_large = || {
            let most = most.unwrap_or(size) >> 20;
            let sentence = Sentence::new("core.file-too-large").with("most", most.to_string());
            Failure::permanent(Condition::PolicyViolation, sentence, "the homeserver takes no file of this size")
        };
        if most.is_some_and(|most| size > most) {
            return Err(too_large());
        }
        let unknown = "application/octet-stream";
        let found = content.media_type.filter(|media_type| media_type != unknown);
        let media_type = file.media_type.clone().or(found).filter(|text| is_media_type(text));
        let media_type = media_type.unwrap_or_else(|| unknown.to_owned());
        let path = format!("/_matrix/media/v3/upload?filename={}", percent(&file.name));
        let answer = self.client.upload_stream(&path, ghost, &media_type, size, content.body).await;
        let answer = match answer {
            Err(error) if error.is("M_TOO_LARGE") => return Err(too_large()),
            answer => answer.map_err(|error| error.failure())?,
        };
        let uri = answer["content_uri"].as_str().filter(|uri| read_mxc(uri).is_some());
        let uri = uri.ok_or_else(|| Failure::temporary("the homeserver names no URI for an upload"))?.to_owned();
        Ok(Uploaded { uri, media_type, size })
    }

    /// The largest file that the homeserver takes, where it says.
    async fn largest_upload(&self) -> Result<Option<u64>, Failure> {
        let answer = match self.client.get("/_matrix/client/v1/media/config", None).await {
            Err(error) if error.is("M_UNRECOGNIZED") => self.client.get("/_matrix/media/v3/config", None).await,
            answer => answer,
        };
        match answer {
            Ok(config) => Ok(config["m.upload.size"].as_u64()),
            // Asking is a courtesy: what is too large is refused all the same.
            Err(MatrixError::Refused { status: 400 | 402..=428, .. }) => Ok(None),
            Err(error) => Err(error.failure()),
        }
    }
}

fn wire(file: &File, uploaded: &Uploaded) -> Vec<Wire> {
    let content = file::write(file, uploaded);
    vec![if file::event_type(file) == "m.sticker" { Wire::Sticker(content) } else { Wire::Message(content) }]
}

fn gone(failure: &Failure) -> bool {
    matches!(failure, Failure::Permanent { condition: Condition::ItemNotFound | Condition::NotAcceptable, .. })
}

fn upload_key(id: EventId) -> String {
    format!("upload/{id}")
}

fn known_upload(bytes: &[u8]) -> Option<Uploaded> {
    let note: Value = serde_json::from_slice(bytes).ok()?;
    let text = |key: &str| note[key].as_str().map(str::to_owned);
    Some(Uploaded { uri: text("uri")?, media_type: text("type")?, size: note["size"].as_u64()? })
}

fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.len() < 128 && text.split_once('/').is_some_and(|(kind, form)| token(kind) && token(form))
}
