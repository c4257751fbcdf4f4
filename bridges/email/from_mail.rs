//! Pure: from a mail to text.

use std::collections::HashSet;

use mail_parser::{HeaderValue, Message, MessageParser, MimeHeaders, PartType};
use sha2::{Digest, Sha256};

use super::calendar::{self, Invitation};
use super::part::{self, Attached, Files, Place};
use super::signal::{self, Signal};
use super::{address, html, quote};
use crate::api::rich::from_html;
use crate::api::{PersonId, Rich, Timestamp};

/// The most parts that are looked at; a mail with more is shown as one attachment.
const PARTS: usize = 1000;

/// The longest text that is shown in bytes; the whole goes beside it as a file.
const TEXT: usize = 8 << 10;

/// How long a piece of the whole text is that is shown on request in bytes, and how many are.
const PIECE: usize = 60 << 10;
const PIECES: usize = 16;

/// How many recipients of a mail are looked at.
const RECIPIENTS: usize = 100;

/// The longest line that can declare or begin a part.
const HEADER_LINE: usize = 2000;

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its Message-ID without angle brackets; made up from its content where it has no usable one.
    pub message_id: String,
    /// The Message-IDs that it answers, oldest first.
    pub references: Vec<String>,
    /// Who wrote it.
    pub from: Option<PersonId>,
    /// Their address as they write it.
    pub from_spelling: Option<String>,
    /// Their name, where it can be shown.
    pub from_name: Option<String>,
    /// Where answers go, if not to `from`.
    pub reply_to: Option<String>,
    /// Who stands in `To` and `Cc`.
    pub recipients: Vec<String>,
    /// The subject.
    pub subject: Option<String>,
    /// When it was written; never later than now.
    pub at: Timestamp,
    /// The new part of its text.
    pub text: String,
    /// The same as a tree: what is quoted in it, and of a mail that has only HTML what is formatted, where nothing of it is
    /// left out.
    pub rich: Option<Rich>,
    /// Its files; the whole text is one of them where it is too long.
    pub files: Files,
    /// What it says about another mail, where that is all it is for.
    pub signal: Option<Signal>,
    /// What it invites to.
    pub invitation: Option<Invitation>,
    /// Whether text was left out: quotes, a signature, or what is too long.
    pub trimmed: bool,
    /// Whether the text was too long.
    pub too_long: bool,
    /// Whether a machine wrote it (RFC 3834): it is delivered and never answered by one.
    pub automatic: bool,
}

/// Reads a mail. There is always something to show.
pub fn read(raw: &[u8], now: Timestamp) -> Letter {
    let hash = Sha256::digest(raw);
    let made_up: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let empty = Letter {
        message_id: format!("{made_up}@portway.invalid"),
        references: Vec::new(),
        from: None,
        from_spelling: None,
        from_name: None,
        reply_to: None,
        recipients: Vec::new(),
        subject: None,
        at: now,
        text: String::new(),
        rich: None,
        files: Files::default(),
        invitation: None,
        signal: None,
        trimmed: false,
        too_long: false,
        automatic: false,
    };
    let Some(mail) = parse(raw) else {
        let size = u64::try_from(raw.len()).unwrap_or(u64::MAX);
        let whole = Attached {
            name: "mail.eml".to_owned(),
            media_type: Some("message/rfc822".to_owned()),
            size,
            place: Place::Mail,
        };
        let files = Files { shown: vec![whole], ..Files::default() };
        return Letter { files, trimmed: true, ..headers_of(raw, empty, now) };
    };
    let mut letter = head(&mail, empty, now);
    let Body { text: found, from_strays, html } = body(&mail);
    let found = clean(&found);
    let (mut text, trimmed) = quote::trim(&found);
    // Quotes and signatures are found in text; where there are none, what is formatted stays.
    if let (Some(html), false) = (html, trimmed)
        && let Some(rich) = Rich::new(from_html(html))
        && rich.text().len() <= TEXT
    {
        text = rich.text();
        letter.rich = Some(rich);
    }
    // Also of HTML, whose text has the same sign for what is quoted.
    if letter.rich.is_none() && text.len() <= TEXT {
        letter.rich = Rich::new(quote::tree(&text));
    }
    letter.files = part::files(&mail, |part| from_strays && stray(part));
    letter.invitation = invitation(&mail);
    letter.signal = signal::read(&mail);
    letter.text = text;
    if letter.text.trim_start().starts_with("-----BEGIN PGP MESSAGE-----") {
        letter.files.encrypted = Some("OpenPGP");
        letter.files.shown.insert(0, whole_text(&found, "encrypted.asc"));
        letter.text = String::new();
        letter.rich = None;
    }
    letter.too_long = letter.text.len() > TEXT;
    if letter.too_long {
        let most = letter.text.floor_char_boundary(TEXT);
        // At the end of a line, where one is near.
        let end = letter.text[..most].rfind('\n').filter(|end| *end > TEXT / 2).unwrap_or(most);
        letter.text.truncate(end);
        letter.text.push_str("\n[...]");
        letter.files.shown.insert(0, whole_text(&found, "mail.txt"));
    }
    letter.trimmed = trimmed || letter.too_long;
    letter
}

/// The whole text as a file.
fn whole_text(text: &str, name: &str) -> Attached {
    let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
    Attached { name: name.to_owned(), media_type: Some("text/plain".to_owned()), size, place: Place::Text }
}

/// The whole text of a mail; what was trimmed included.
pub fn text(raw: &[u8]) -> Option<String> {
    Some(clean(&body(&parse(raw)?).text))
}

/// What the first calendar of a mail invites to.
fn invitation(mail: &Message<'_>) -> Option<Invitation> {
    let calendar = mail.parts.iter().find(|part| {
        part.content_type().is_some_and(|kind| {
            kind.ctype().eq_ignore_ascii_case("text")
                && kind.subtype().is_some_and(|subtype| subtype.eq_ignore_ascii_case("calendar"))
        })
    })?;
    calendar::read(calendar.text_contents()?)
}

/// Whether a part is text that the parser takes for a file because the mail ends in the middle of it.
fn stray(part: &mail_parser::MessagePart<'_>) -> bool {
    let plain = part.content_type().is_none_or(|kind| {
        kind.subtype().is_none() || ["text", "multipart"].iter().any(|plain| kind.ctype().eq_ignore_ascii_case(plain))
    });
    plain && part.attachment_name().is_none() && part.content_disposition().is_none()
}

/// The whole text of a mail, in pieces that can be passed on; what was trimmed included.
pub fn whole(raw: &[u8]) -> Vec<String> {
    let text = text(raw).unwrap_or_default();
    let mut rest = text.trim_end();
    let mut pieces = Vec::new();
    while !rest.is_empty() && pieces.len() < PIECES {
        // At the end of a line, where there is one.
        let most = rest.floor_char_boundary(PIECE);
        let end = if most == rest.len() { most } else { rest[..most].rfind('\n').map_or(most, |end| end + 1) };
        pieces.push(rest[..end].trim_end_matches('\n').to_owned());
        rest = &rest[end..];
    }
    pieces
}

/// Parses a mail, unless it would make a tree that is too deep or too wide.
pub fn parse(raw: &[u8]) -> Option<Message<'_>> {
    if markers(raw) > PARTS {
        return None;
    }
    MessageParser::default().parse(raw).filter(|mail| mail.parts.len() <= PARTS)
}

/// The same from the header alone.
fn headers_of(raw: &[u8], empty: Letter, now: Timestamp) -> Letter {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").map_or(raw.len(), |end| end + 4);
    match MessageParser::default().parse_headers(&raw[..end]) {
        Some(mail) => head(&mail, empty, now),
        None => empty,
    }
}

/// What the header says.
fn head(mail: &Message<'_>, empty: Letter, now: Timestamp) -> Letter {
    let from = mail.from().and_then(|from| from.first());
    let spelling = from.and_then(|from| from.address()).map(clean);
    let mut letter = Letter {
        message_id: mail.message_id().filter(|id| is_id(id)).map_or(empty.message_id.clone(), str::to_owned),
        references: ids(mail.references()).into_iter().chain(ids(mail.in_reply_to())).collect(),
        from: spelling.as_deref().and_then(address::person),
        from_name: from.and_then(|from| from.name()).map(clean).and_then(|name| shown_name(&name)),
        from_spelling: spelling,
        reply_to: mail.reply_to().and_then(|to| to.first()).and_then(|to| to.address()).map(clean),
        recipients: recipients(mail),
        subject: mail
            .subject()
            .map(|subject| clean(subject).replace('\n', " ").trim().to_owned())
            .filter(|s| !s.is_empty()),
        at: mail.date().map_or(now, |date| Timestamp((date.to_timestamp().saturating_mul(1000)).clamp(0, now.0))),
        automatic: automatic(mail),
        ..empty
    };
    letter.references.dedup();
    // A clock that is far off says nothing.
    if now.0 - letter.at.0 > 30 * 86_400_000 {
        letter.at = now;
    }
    letter
}

/// The addresses of `To` and `Cc`, each once.
fn recipients(mail: &Message<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for address in [mail.to(), mail.cc()].into_iter().flatten().flat_map(|list| list.iter().take(RECIPIENTS)) {
        let Some(address) = address.address().map(clean).filter(|address| address::split(address).is_some()) else {
            continue;
        };
        if found.len() < RECIPIENTS && !found.iter().any(|known| known.eq_ignore_ascii_case(&address)) {
            found.push(address);
        }
    }
    found
}

/// How many parts a mail may have: how often one of its boundaries, or an embedded mail, begins. Lines that only look
/// like a boundary count for nothing, and time is linear.
fn markers(raw: &[u8]) -> usize {
    let mut boundaries = HashSet::new();
    let mut embedded = 0;
    for line in raw.split(|byte| *byte == b'\n') {
        if line.len() > HEADER_LINE || !(line.contains(&b'/') || line.contains(&b'=')) {
            continue;
        }
        let line = String::from_utf8_lossy(line).to_ascii_lowercase();
        embedded += usize::from(line.starts_with("content-type:") && line.contains("message/"));
        let Some((_, value)) = line.split_once("boundary=") else { continue };
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => value.split([';', ' ', '\t', '\r']).next(),
        };
        boundaries.extend(value.map(str::to_owned));
        if boundaries.len() > PARTS {
            return boundaries.len();
        }
    }
    let begins = |line: &&[u8]| {
        line.len() <= HEADER_LINE
            && line.strip_prefix(b"--").is_some_and(|rest| {
                let rest = String::from_utf8_lossy(rest).to_ascii_lowercase();
                boundaries.contains(rest.trim_ascii_end())
            })
    };
    embedded + raw.split(|byte| *byte == b'\n').filter(begins).count()
}

/// The text of a mail.
struct Body<'a> {
    text: String,
    /// Whether it is only what a broken mail has.
    from_strays: bool,
    /// The HTML that it comes from, where it comes from that alone.
    html: Option<&'a str>,
}

/// The plain text, or where there is none the text of the HTML, or else what a broken mail has.
fn body<'a>(mail: &'a Message<'_>) -> Body<'a> {
    let mut text = String::new();
    let mut only = None;
    for (n, part) in mail.text_bodies().enumerate() {
        let piece = match &part.body {
            PartType::Text(text) => text.to_string(),
            PartType::Html(source) => html::to_text(source),
            _ => continue,
        };
        only = match &part.body {
            PartType::Html(source) if n == 0 => Some(source.as_ref()),
            _ => None,
        };
        if !text.is_empty() && !piece.trim().is_empty() {
            text.push('\n');
        }
        text.push_str(&piece);
    }
    let stub = text.trim().is_empty()
        || (text.len() < 300 && text.to_lowercase().contains("html") && mail.html_body_count() > 0);
    if stub {
        for part in mail.html_bodies() {
            if let PartType::Html(source) = &part.body {
                let seen = html::to_text(source);
                if !seen.trim().is_empty() {
                    return Body { text: seen, from_strays: false, html: Some(source) };
                }
            }
        }
    }
    if !text.trim().is_empty() {
        return Body { text, from_strays: false, html: only };
    }
    for part in mail.attachments().filter(|part| stray(part)) {
        text.push_str(&match &part.body {
            PartType::Html(source) => html::to_text(source),
            PartType::Text(text) => text.to_string(),
            _ => String::from_utf8_lossy(part.contents()).into_owned(),
        });
    }
    Body { text, from_strays: true, html: None }
}

fn ids(value: &HeaderValue<'_>) -> Vec<String> {
    let all: Vec<String> = match value {
        HeaderValue::Text(id) => vec![id.to_string()],
        HeaderValue::TextList(ids) => ids.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    all.into_iter().filter(|id| is_id(id)).take(100).collect()
}

/// Whether a Message-ID can be written into a header again.
pub fn is_id(id: &str) -> bool {
    id.len() <= 250
        && id.contains('@')
        && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<' && byte != b'>')
}

/// A name that people may be shown: it is not an address, and holds nothing that turns text around.
fn shown_name(name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .filter(|c| {
            !c.is_control()
                && !matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
        .take(100)
        .collect();
    let name = name.trim().to_owned();
    (!name.is_empty() && !name.contains('@')).then_some(name)
}

/// Whether a machine wrote it, or it was sent to many: nothing answers that by itself (RFC 3834, section 2).
fn automatic(mail: &Message<'_>) -> bool {
    let header = |name: &str| mail.header_raw(name.to_owned()).map(|value| value.trim().to_lowercase());
    header("Auto-Submitted").is_some_and(|value| value != "no")
        || header("Precedence").is_some_and(|value| matches!(value.as_str(), "bulk" | "list" | "junk"))
        || header("X-Auto-Response-Suppress").is_some_and(|value| value != "none")
        || header("List-Id").is_some()
        || mail.content_type().is_some_and(|kind| {
            kind.ctype().eq_ignore_ascii_case("multipart")
                && kind.subtype().is_some_and(|subtype| subtype.eq_ignore_ascii_case("report"))
        })
}

/// Text as XML can carry it: line ends are `\n`, no control characters but tab.
pub fn clean(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|c| if c == '\r' { '\n' } else { c })
        .filter(|c| !c.is_control() || matches!(*c, '\n' | '\t'))
        .map(|c| if matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::rich::{Mark, Node};

    const NOW: Timestamp = Timestamp(1_780_000_000_000);

    fn mail(text: &str) -> Letter {
        read(text.replace('\n', "\r\n").as_bytes(), NOW)
    }

    fn names(letter: &Letter) -> Vec<&str> {
        letter.files.shown.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn a_mail_of_html_alone_keeps_its_formats() {
        let head = "From: a@x.org\nContent-Type: text/html; charset=utf-8\n\n";
        let letter = mail(&format!("{head}<p>Hello <b>you</b>,</p><p>see <a href='https://x.example/'>here</a>.</p>"));
        assert_eq!(letter.text, "Hello *you*,\n\nsee here (https://x.example/).");
        assert_eq!(letter.rich.as_ref().map(Rich::text), Some(letter.text));
        // Quotes are left out of the text, and its formats with them.
        let letter = mail(&format!(
            "{head}<p><b>Yes.</b></p>On 1 May 2026, Bob wrote:<blockquote>Do you *really*?</blockquote>"
        ));
        assert_eq!((letter.text.as_str(), letter.rich, letter.trimmed), ("Yes.\n[...]", None, true));
        // With a plain text beside it, that one is read: what is quoted is, and no other sign means anything.
        let letter = mail("From: a@x.org\n\n> *old*\n*new*");
        let nodes = letter.rich.map(Rich::into_nodes);
        let old = vec![Node::Text("*old*".into())];
        assert_eq!(nodes, Some(vec![Node::Part(Mark::Quote, old), Node::Text("*new*".into())]));
    }

    #[test]
    fn an_ordinary_mail() {
        let letter = mail(
            "From: =?utf-8?q?B=C3=B6b?= <Bob@Example.com>\nTo: romeo@mail.x\nSubject: =?utf-8?b?SGVsbMO2?=\nMessage-ID: <b1@example.com>\n\
             In-Reply-To: <a0@mail.x>\nReferences: <r@mail.x> <a0@mail.x>\nDate: Thu, 28 May 2026 12:00:00 +0000\n\
             Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n",
        );
        assert_eq!(letter.message_id, "b1@example.com");
        assert_eq!(letter.references, ["r@mail.x", "a0@mail.x"]);
        assert_eq!(letter.from, PersonId::new("bob", "example.com").ok());
        assert_eq!(letter.from_spelling.as_deref(), Some("Bob@Example.com"));
        assert_eq!(letter.from_name.as_deref(), Some("Böb"));
        assert_eq!(letter.subject.as_deref(), Some("Hellö"));
        assert_eq!(letter.text, "Grüße");
        assert_eq!(letter.at, Timestamp(1_779_969_600_000));
    }

    #[test]
    fn html_attachments_and_broken_charsets() {
        let letter = mail(
            "From: a@b.org\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html; charset=klingon\n\n\
             <p>Hello <i>you</i></p>\n--x\nContent-Type: image/png; name=\"../../cat.png\"\nContent-Disposition: attachment\n\
             Content-Transfer-Encoding: base64\n\nAAAA\n--x--\n",
        );
        assert_eq!(letter.text, "Hello _you_");
        assert_eq!(names(&letter), ["cat.png"]);
    }

    #[test]
    fn what_is_missing_is_made_up_and_clamped() {
        let letter = mail("Subject: x\nDate: Fri, 31 Dec 9999 23:59:59 +0000\nMessage-ID: <with space@x>\n\nhi");
        assert!(letter.message_id.ends_with("@portway.invalid"));
        assert_eq!((letter.at, letter.from), (NOW, None));
        let named = mail("From: \"king@evil.org\" <a@b.org>\n\nhi");
        assert_eq!(named.from_name, None);
    }

    #[test]
    fn bombs_are_not_unfolded() {
        let mut deep = String::from("From: a@b.org\n");
        for n in 0..50_000 {
            deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"));
        }
        let letter = mail(&deep);
        assert!(letter.trimmed && names(&letter) == ["mail.eml"]);
        assert_eq!(letter.from, PersonId::new("a", "b.org").ok(), "it is still from somebody");
        let many =
            format!("From: a@b.org\nContent-Type: multipart/mixed; boundary=x\n\n{}", "--x\n\nhi\n".repeat(200_000));
        assert!(mail(&many).trimmed);
    }

    #[test]
    fn lines_of_dashes_are_text() {
        let table = "-- a comment\n----------\n".repeat(2000);
        let letter =
            mail(&format!("From: a@b.org\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n{table}\n--x--\n"));
        assert!(names(&letter) == ["mail.txt"] && letter.files.shown[0].size > 40_000, "{:?}", letter.files);
    }

    #[test]
    fn who_else_got_it_and_whether_a_machine_wrote_it() {
        let letter = mail("To: A <a@x.org>, b@x.org\nCc: A@X.org, not an address, c@x.org\n\nhi");
        assert_eq!(letter.recipients, ["a@x.org", "b@x.org", "c@x.org"]);
        for (field, machine) in [
            ("Auto-Submitted: auto-replied", true),
            ("Auto-Submitted: no", false),
            ("Precedence: Bulk", true),
            ("List-Id: <l.x.org>", true),
            ("X-Auto-Response-Suppress: DR, OOF", true),
            ("X-Auto-Response-Suppress: None", false),
            ("Content-Type: multipart/report; boundary=x", true),
            ("X-Portway-Trace: another", false),
            ("Subject: x", false),
        ] {
            assert_eq!(mail(&format!("From: a@x.org\n{field}\n\nhi")).automatic, machine, "{field}");
        }
    }

    #[test]
    fn e17_a_long_text_is_shown_in_part_and_goes_beside_as_a_file() {
        let long = "ü line\n".repeat(5000);
        let raw = format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{long}");
        let letter = read(raw.as_bytes(), NOW);
        assert!(letter.text.len() <= TEXT + 6 && letter.text.ends_with("ü line\n[...]"), "{}", letter.text.len());
        assert_eq!(names(&letter), ["mail.txt"]);
        assert_eq!(part::bytes(raw.as_bytes(), Place::Text), Some(long.into_bytes()));
    }

    #[test]
    fn e16_armour_is_no_text() {
        let letter = mail("From: a@b.org\n\n-----BEGIN PGP MESSAGE-----\n\nabc\n-----END PGP MESSAGE-----\n");
        assert_eq!((letter.text.as_str(), letter.files.encrypted), ("", Some("OpenPGP")));
        assert_eq!(names(&letter), ["encrypted.asc"]);
    }

    #[test]
    fn the_whole_text_comes_back_in_pieces() {
        let quoted = "Yes.\n\nOn Tue, 3 Mar 2026, R <r@x> wrote:\n> Coming?";
        assert_eq!(mail(&format!("From: a@x.org\n\n{quoted}")).text, "Yes.\n[...]");
        assert_eq!(whole(format!("From: a@x.org\r\n\r\n{quoted}").as_bytes()), [quoted]);
        let long = "ü line\n".repeat(20_000);
        let pieces = whole(format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{long}").as_bytes());
        assert!(pieces.len() == 3 && pieces.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(pieces.join("\n"), long.trim_end());
    }

    proptest! {
        #[test]
        fn bytes_never_panic_and_text_is_safe(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let letter = read(&bytes, NOW);
            prop_assert!(!letter.text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
