//! Pure: the URLs of files of a network. A URL holds everything that is needed to find the file, encrypted and authenticated, so
//! that nothing is stored for it, nobody can guess or change one, and nobody reads a token, a key or an id of the network out
//! of it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use portway_bridges::api::{EventId, Source, Timestamp};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

/// The path in front of all of them.
pub const PATH: &str = "/media";

/// The longest token that is read, in characters.
const LONGEST: usize = 4096;

/// The longest file name in a URL, in bytes.
const LONGEST_NAME: usize = 120;

/// What stands for itself in a file name in a URL.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// What a URL means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The network that has the file.
    pub network: String,
    /// The event that brought it.
    pub event: EventId,
    /// Where the network has it.
    pub source: Source,
    /// The media type, as the sender said.
    pub media_type: Option<String>,
    /// The size in bytes, as the sender said.
    pub size: Option<u64>,
    /// Until when the URL holds.
    pub expires: Timestamp,
}

/// Makes and reads URLs. Cheap to clone.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    base: String,
    expiry: i64,
    largest: u64,
    seal: LessSafeKey,
    nonces: hmac::Key,
}

impl Links {
    /// `base` is how users reach the listener, without a slash at the end; `key` is the store's own for this purpose. URLs hold
    /// for at least half of `expiry`, and files over `largest` bytes have none.
    #[must_use]
    pub fn new(base: &str, key: &[u8; 32], expiry: Duration, largest: u64) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, key);
        let sub = |purpose: &str| hmac::sign(&root, purpose.as_bytes());
        let seal = UnboundKey::new(&AES_256_GCM, sub("seal").as_ref()).expect("32 bytes are a key");
        Self(Arc::new(Inner {
            base: base.trim_end_matches('/').to_owned(),
            expiry: i64::try_from(expiry.as_millis()).unwrap_or(i64::MAX).max(1),
            largest,
            seal: LessSafeKey::new(seal),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, sub("nonce").as_ref()),
        }))
    }

    /// The URL of a file. `None` where it is larger than what is served. The same file of the same event has the same URL each
    /// time, until half of its time is over.
    ///
    /// `at` is when the file was sent, `name` what it is called.
    #[must_use]
    pub fn url(&self, file: &Linked<'_>, at: Timestamp, now: Timestamp) -> Option<String> {
        if file.size.is_some_and(|size| size > self.0.largest) {
            return None;
        }
        let ticket = Ticket {
            network: file.network.to_owned(),
            event: file.event,
            source: file.source.clone(),
            media_type: file.media_type.map(str::to_owned),
            size: file.size,
            expires: self.expires(at, now),
        };
        let name = with_ending(file.name, file.media_type);
        let name = utf8_percent_encode(&name, NAME);
        Some(format!("{}{PATH}/{}/{name}", self.0.base, self.seal(&ticket)))
    }

    /// What a token of a URL means. `None` for whatever we have not made, and for what is over.
    #[must_use]
    pub fn read(&self, token: &str, now: Timestamp) -> Option<Ticket> {
        if token.len() > LONGEST {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.0.seal.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        let ticket = unpack(plain)?;
        (ticket.expires.0 >= now.0).then_some(ticket)
    }

    /// Whole lifetimes after the file was sent, so that the URL is the same each time, and at least half of one from now.
    fn expires(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        let expiry = self.0.expiry;
        let age = now.0.saturating_sub(at.0).max(0).saturating_add(expiry / 2);
        let lifetimes = age / expiry + 1;
        Timestamp(at.0.min(now.0).saturating_add(lifetimes.saturating_mul(expiry)))
    }

    fn seal(&self, ticket: &Ticket) -> String {
        let mut plain = pack(ticket);
        // The nonce comes from what is sealed: the same ticket gives the same URL, another one another nonce.
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&hmac::sign(&self.0.nonces, &plain).as_ref()[..NONCE_LEN]);
        let sealed =
            self.0.seal.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut plain);
        sealed.expect("a ticket is far shorter than what AES-GCM can seal");
        let mut out = nonce.to_vec();
        out.extend_from_slice(&plain);
        URL_SAFE_NO_PAD.encode(out)
    }
}

/// A file that is to have a URL.
#[derive(Debug, Clone, Copy)]
pub struct Linked<'a> {
    /// The network that has it.
    pub network: &'a str,
    /// The event that brought it.
    pub event: EventId,
    /// Where the network has it.
    pub source: &'a Source,
    /// The media type.
    pub media_type: Option<&'a str>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// What it is called.
    pub name: &'a str,
}

/// The first byte of what is sealed. Another form would have another one.
const FORM: u8 = 1;

fn pack(ticket: &Ticket) -> Vec<u8> {
    let mut out = vec![FORM];
    out.extend_from_slice(&ticket.expires.0.to_be_bytes());
    out.extend_from_slice(&ticket.event.0.to_be_bytes());
    out.extend_from_slice(&ticket.size.unwrap_or(u64::MAX).to_be_bytes());
    for text in [ticket.network.as_str(), ticket.media_type.as_deref().unwrap_or_default(), ticket.source.as_str()] {
        // What is longer was read from outside under tighter limits; cut, it would lead nowhere.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
    }
    out
}

fn unpack(bytes: &[u8]) -> Option<Ticket> {
    let (form, mut rest) = bytes.split_first()?;
    if *form != FORM {
        return None;
    }
    let mut number = || {
        let (head, tail) = rest.split_first_chunk::<8>()?;
        rest = tail;
        Some(*head)
    };
    let expires = i64::from_be_bytes(number()?);
    let event = i64::from_be_bytes(number()?);
    let size = u64::from_be_bytes(number()?);
    let mut text = || {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (text, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = tail;
        std::str::from_utf8(text).ok().map(str::to_owned)
    };
    let (network, media_type, source) = (text()?, text()?, text()?);
    Some(Ticket {
        network,
        event: EventId(event),
        source: Source::new(&source),
        media_type: Some(media_type).filter(|media_type| !media_type.is_empty()),
        size: Some(size).filter(|size| *size != u64::MAX),
        expires: Timestamp(expires),
    })
}

/// A file name for a URL: short, without what paths mean, and with an ending by which clients know what it is.
fn with_ending(name: &str, media_type: Option<&str>) -> String {
    let kept: String = name.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\')).collect();
    let mut name = kept.trim().trim_start_matches('.').to_owned();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_owned());
    let ending = ending.filter(|ending| (1..=5).contains(&ending.len()) && ending.chars().all(char::is_alphanumeric));
    let usual = media_type.and_then(usual_ending);
    let (stem, ending) = match (&ending, usual) {
        (Some(ending), _) => (name[..name.len() - ending.len() - 1].to_owned(), Some(ending.as_str())),
        (None, usual) => (std::mem::take(&mut name), usual),
    };
    let mut end = stem.len().min(LONGEST_NAME);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let stem = if end == 0 { "file" } else { &stem[..end] };
    ending.map_or_else(|| stem.to_owned(), |ending| format!("{stem}.{ending}"))
}

/// File endings and media types, both ways.
const ENDINGS: &[(&str, &str)] = &[
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("heic", "image/heic"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("m4a", "audio/mp4"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("aac", "audio/aac"),
    ("flac", "audio/flac"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("zip", "application/zip"),
];

fn usual_ending(media_type: &str) -> Option<&'static str> {
    ENDINGS.iter().find(|(_, known)| *known == media_type).map(|(ending, _)| *ending)
}

/// The media type that the ending of a file name stands for, where it is one that clients show.
#[must_use]
pub fn type_of_name(name: &str) -> Option<&'static str> {
    let ending = name.rsplit_once('.')?.1.to_ascii_lowercase();
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, media_type)| *media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn links(key: u8) -> Links {
        Links::new("https://media.example.org/", &[key; 32], Duration::from_secs(30 * 86_400), 1000)
    }

    fn linked<'a>(source: &'a Source, name: &'a str) -> Linked<'a> {
        Linked { network: "net", event: EventId(7), source, media_type: Some("image/jpeg"), size: Some(5), name }
    }

    fn token(url: &str) -> &str {
        url.split('/').nth(4).unwrap()
    }

    #[test]
    fn f4_a_url_leads_back_and_says_nothing() {
        let source = Source::new("far://hs.test/secret-id key");
        let (at, now) = (Timestamp(1000 * DAY), Timestamp(1000 * DAY + 5));
        let url = links(1).url(&linked(&source, "cat.jpg"), at, now).unwrap();
        assert!(url.starts_with("https://media.example.org/media/") && url.ends_with("/cat.jpg"), "{url}");
        let ticket = links(1).read(token(&url), now).unwrap();
        assert_eq!(
            ticket,
            Ticket {
                network: "net".into(),
                event: EventId(7),
                source: source.clone(),
                media_type: Some("image/jpeg".into()),
                size: Some(5),
                expires: Timestamp(1030 * DAY),
            }
        );
        let seen = String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(token(&url)).unwrap()).into_owned();
        assert!(!seen.contains("secret") && !seen.contains("hs.test") && !seen.contains("image"), "{seen}");
        // The same each time, also in another process, and another one for another event.
        assert_eq!(links(1).url(&linked(&source, "cat.jpg"), at, Timestamp(1014 * DAY)), Some(url.clone()));
        let other = Linked { event: EventId(8), ..linked(&source, "cat.jpg") };
        assert_ne!(links(1).url(&other, at, now), Some(url));
    }

    #[test]
    fn f4_what_we_have_not_made_and_what_is_over_leads_nowhere() {
        let source = Source::new("far://hs.test/id");
        let now = Timestamp(1000 * DAY);
        let url = links(1).url(&linked(&source, "cat.jpg"), now, now).unwrap();
        let token = token(&url);
        assert!(links(1).read(token, Timestamp(1030 * DAY)).is_some());
        assert!(links(1).read(token, Timestamp(1030 * DAY + 1)).is_none(), "over");
        assert!(links(2).read(token, now).is_none(), "another store's");
        for at in 0..token.len() {
            let mut changed = token.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(links(1).read(std::str::from_utf8(&changed).unwrap(), now), None, "{at}");
        }
        for rubbish in ["", "A", "AAAA", "…", &token[1..], &"A".repeat(5000)] {
            assert!(links(1).read(rubbish, now).is_none(), "{rubbish}");
        }
    }

    #[test]
    fn urls_of_old_files_hold_for_a_while_too() {
        let source = Source::new("s");
        let at = Timestamp(0);
        for day in [0, 14, 15, 16, 29, 30, 100, 10_000] {
            let now = Timestamp(day * DAY);
            let url = links(1).url(&linked(&source, "a"), at, now).unwrap();
            let left = links(1).read(token(&url), now).unwrap().expires.0 - now.0;
            assert!((15 * DAY..=45 * DAY).contains(&left), "{day}: {}", left / DAY);
        }
        // A clock that is ahead does not make it hold for ever.
        let url = links(1).url(&linked(&source, "a"), Timestamp(500 * DAY), Timestamp(0)).unwrap();
        assert_eq!(links(1).read(token(&url), Timestamp(0)).unwrap().expires, Timestamp(30 * DAY));
    }

    #[test]
    fn names_are_safe_and_say_what_it_is() {
        let source = Source::new("s");
        for (name, expected) in [
            ("cat.jpg", "cat.jpg"),
            ("Grüße aus Köln.png", "Gr%C3%BC%C3%9Fe%20aus%20K%C3%B6ln.png"),
            ("../../etc/passwd", "etcpasswd.jpg"),
            ("", "file.jpg"),
            ("image", "image.jpg"),
            ("a?b#c&d=%.jpg", "a%3Fb%23c%26d%3D%25.jpg"),
            ("v1. of something", "v1.%20of%20something.jpg"),
        ] {
            let url = links(1).url(&linked(&source, name), Timestamp(0), Timestamp(0)).unwrap();
            assert_eq!(url.rsplit('/').next(), Some(expected), "{name}");
        }
        let long = "ü".repeat(500);
        assert!(links(1).url(&linked(&source, &long), Timestamp(0), Timestamp(0)).unwrap().len() < 1000);
        let large = Linked { size: Some(1001), ..linked(&source, "a") };
        assert_eq!(links(1).url(&large, Timestamp(0), Timestamp(0)), None);
    }
}
