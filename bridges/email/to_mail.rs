//! Pure: from lines of chat to a mail. Every value passes a sanitiser before it comes near a header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, Body, Mailbox, Message, MultiPart, MultiPartKind, SinglePart};
use sha2::{Digest, Sha256};

use super::from_mail::is_id;
use crate::api::rich::html::Dialect;
use crate::api::rich::to_html;
use crate::api::{Rich, Timestamp};

/// The longest value of a header that comes from a user, in characters.
const LONGEST: usize = 200;

/// What a mail is made of.
pub struct Parts<'a> {
    /// The user's address in our domain.
    pub from: &'a str,
    /// The name by which they go.
    pub name: &'a str,
    /// The person's address.
    pub to: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// The text.
    pub text: &'a str,
    /// The same as a tree, where something in it is formatted: the mail then has both.
    pub rich: Option<&'a Rich>,
    /// The Message-ID without angle brackets.
    pub message_id: &'a str,
    /// What it refers to, oldest first; the last one is what it answers.
    pub references: &'a [String],
    /// When it was written.
    pub at: Timestamp,
    /// Marks our own mail, so that it is recognised if it comes back.
    pub trace: &'a str,
    /// The XMPP address of the writer (RFC 7259), where mails name it.
    pub jabber_id: Option<&'a str>,
    /// Whether the text is a reaction (RFC 9078) to what it answers.
    pub reaction: bool,
    /// The files that travel with it.
    pub files: &'a [Attachment],
}

/// A file that travels with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// The media type, where it is known.
    pub media_type: Option<String>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The mail as bytes.
///
/// # Errors
/// Which part cannot be written.
pub fn mail(parts: &Parts<'_>) -> Result<Vec<u8>, String> {
    let address = |text: &str| text.parse::<lettre::Address>().map_err(|error| format!("{error}"));
    let name = Some(header_text(parts.name)).filter(|name| !name.is_empty());
    let seconds = u64::try_from(parts.at.0 / 1000).unwrap_or(0);
    let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let mut builder = Message::builder()
        .from(Mailbox::new(name, address(parts.from)?))
        .to(Mailbox::new(None, address(parts.to)?))
        .subject(header_text(parts.subject))
        .date(date)
        .message_id(Some(format!("<{}>", parts.message_id)))
        .header(Trace(header_text(parts.trace)));
    if let Some(jid) = parts.jabber_id {
        let path = path_of(jid);
        // A line of a header has an end (RFC 5322, section 2.1.1), and an address cannot be folded.
        if path.len() <= 900 {
            builder = builder.header(JabberId(path));
        }
    }
    let references: Vec<String> = parts.references.iter().filter(|id| is_id(id)).map(|id| format!("<{id}>")).collect();
    if let Some(last) = references.last() {
        builder = builder.in_reply_to(last.clone()).references(references.join(" "));
    }
    let mut body =
        SinglePart::builder().header(ContentType::TEXT_PLAIN).header(ContentTransferEncoding::QuotedPrintable);
    if parts.reaction {
        body = body.header(Reaction);
    }
    let body = body.body(body_text(parts.text));
    let both = parts.rich.map(|rich| {
        let html = SinglePart::builder()
            .header(ContentType::TEXT_HTML)
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(page(rich));
        let both = MultiPart::builder().kind(MultiPartKind::Alternative).boundary(boundary("text", parts.message_id));
        // The best last (RFC 2046, section 5.1.4).
        both.singlepart(body.clone()).singlepart(html)
    });
    let message = match (both, parts.files.is_empty()) {
        (None, true) => builder.singlepart(body),
        (Some(both), true) => builder.multipart(both),
        (both, false) => {
            let mixed = MultiPart::builder().kind(MultiPartKind::Mixed).boundary(boundary("files", parts.message_id));
            let mixed = match both {
                Some(both) => mixed.multipart(both),
                None => mixed.singlepart(body),
            };
            builder.multipart(parts.files.iter().fold(mixed, |mixed, file| mixed.singlepart(attached(file))))
        }
    };
    message.map(|message| message.formatted()).map_err(|error| error.to_string())
}

/// A page that shows the text. Mail has nothing that hides text until somebody wants to read it, so signs say that it should
/// be; and nobody who is mentioned has a place that a link could lead to.
fn page(rich: &Rich) -> String {
    let html = to_html(rich.nodes(), &Dialect { mention: &|_| None, spoiler: None, schemes: &[], xhtml: false });
    let mut page = String::from("<!DOCTYPE html>\r\n<html><body>");
    // Mail has lines; in code they mean something.
    for line in html.split('\n') {
        page.push_str(line);
        page.push_str("\r\n");
    }
    page.push_str("</body></html>\r\n");
    page
}

/// What stands between parts, of which there are two kinds: always the same for the same mail, and nothing that its text could hold by accident, since
/// no line of quoted-printable begins so (RFC 2045, section 6.7).
fn boundary(what: &str, message_id: &str) -> String {
    let hash = Sha256::digest(format!("{what}/{message_id}"));
    hash[..12].iter().fold(String::from("=_"), |out, byte| out + &format!("{byte:02x}"))
}

/// A file as a part of a mail. Whatever it is, it is written in base64: nothing on the way changes its line ends.
fn attached(file: &Attachment) -> SinglePart {
    let name: String = header_text(&file.name).chars().filter(|c| !"\"\\/".contains(*c)).collect();
    let bytes = STANDARD.encode(&file.bytes);
    let lines = bytes.as_bytes().chunks(76).flat_map(|line| line.iter().chain(b"\r\n")).copied().collect();
    let body = Body::dangerous_pre_encoded(lines, ContentTransferEncoding::Base64);
    let declared = file.media_type.as_deref().and_then(|kind| ContentType::parse(&header_text(kind)).ok());
    // A part of these kinds would not be a file to whoever reads the mail.
    let opens = |kind: &ContentType| {
        let kind = format!("{kind:?}").to_ascii_lowercase();
        kind.contains("multipart/") || kind.contains("message/")
    };
    let plain = || ContentType::parse("application/octet-stream").unwrap_or(ContentType::TEXT_PLAIN);
    Part::new(name).body(body, declared.filter(|kind| !opens(kind)).unwrap_or_else(plain))
}

/// The header by which our own mail is recognised.
#[derive(Clone)]
struct Trace(String);

impl Header for Trace {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Portway-Trace")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// Says that a part is a reaction (RFC 9078).
#[derive(Clone)]
struct Reaction;

impl Header for Reaction {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Content-Disposition")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "reaction".to_owned())
    }
}

/// The writer's XMPP address (RFC 7259).
#[derive(Clone)]
struct JabberId(String);

impl Header for JabberId {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Jabber-ID")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// An address as the path of an XMPP IRI (RFC 5122, section 2.2): what is not plain is percent-encoded.
fn path_of(jid: &str) -> String {
    let mut out = String::new();
    for byte in jid.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'!'
            | b'$'
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
            | b'@' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A value for a header: one line, no control characters, not too long.
pub fn header_text(text: &str) -> String {
    let line: String =
        text.chars().map(|c| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c }).collect();
    line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

/// A text for a body: line ends as mail wants them, no control characters, and no line that mail programs would take
/// for the start of a signature.
fn body_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        out.push_str(if line == "-- " { "--" } else { &line });
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use mail_parser::MimeHeaders;
    use proptest::prelude::*;

    use super::*;

    fn parts<'a>(name: &'a str, subject: &'a str, text: &'a str, references: &'a [String]) -> Parts<'a> {
        with_jid(name, subject, text, references, "romeo@h.test")
    }

    fn with_jid<'a>(
        name: &'a str,
        subject: &'a str,
        text: &'a str,
        references: &'a [String],
        jid: &'a str,
    ) -> Parts<'a> {
        Parts {
            from: "romeo@mail.x",
            name,
            to: "Bob@example.com",
            subject,
            text,
            rich: None,
            message_id: "pw.i.7@mail.x",
            references,
            at: Timestamp(1_780_000_000_000),
            trace: "i",
            jabber_id: Some(jid),
            reaction: false,
            files: &[],
        }
    }

    #[test]
    fn e29_a_reaction_is_one() {
        let references = ["b@x".to_owned()];
        let wire = mail(&Parts { reaction: true, ..parts("R", "Re: S", "👍 ❤️", &references) }).unwrap();
        let read = crate::email::from_mail::read(&wire, Timestamp(1_780_000_000_000));
        let keys = vec!["👍".to_owned(), "❤️".to_owned()];
        assert_eq!(read.signal, Some(crate::email::signal::Signal::Reaction { of: "b@x".into(), keys }));
    }

    #[test]
    fn e27_files_are_parts_and_the_mail_is_the_same_each_time() {
        let file = |name: &str, media_type: Option<&str>, bytes: &[u8]| Attachment {
            name: name.to_owned(),
            media_type: media_type.map(str::to_owned),
            bytes: bytes.to_vec(),
        };
        let files = [
            file("Töne \"1\".ogg", Some("audio/ogg"), &[7; 100_000]),
            file("a.txt", Some("text/plain"), b"one\ntwo\n.\n"),
            file("x", Some("message/rfc822"), b"From: x"),
            file("y", Some("no type\r\nX-Evil: 1"), b""),
        ];
        let parts = Parts { files: &files, ..parts("R", "S", "look", &[]) };
        let wire = mail(&parts).unwrap();
        assert_eq!(wire, mail(&parts).unwrap());
        assert!(wire.split(|byte| *byte == b'\n').all(|line| line.len() <= 998 && line.is_ascii()));
        let read = mail_parser::MessageParser::default().parse(&wire).unwrap();
        assert_eq!(read.body_text(0).unwrap().trim(), "look");
        let seen: Vec<_> = read.attachments().map(|part| (part.attachment_name().unwrap(), part.contents())).collect();
        let names: Vec<_> = seen.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["Töne 1.ogg", "a.txt", "x", "y"]);
        for (file, (_, bytes)) in files.iter().zip(&seen) {
            assert_eq!(*bytes, file.bytes);
        }
        assert!(
            !headers(&wire).contains(&"X-Evil".to_owned()) && !String::from_utf8_lossy(&wire).contains("\r\nX-Evil")
        );
    }

    #[test]
    fn a_mail() {
        let references = ["a@x".to_owned(), "b@x".to_owned(), "not an id".to_owned()];
        let mail = String::from_utf8(mail(&parts("Romeö", "Hellö", "hi\n-- \n.", &references)).unwrap()).unwrap();
        for line in [
            "To: Bob@example.com",
            "Message-ID: <pw.i.7@mail.x>",
            "In-Reply-To: <b@x>",
            "References: <a@x> <b@x>",
            "X-Portway-Trace: i",
            "Jabber-ID: romeo@h.test",
            "Date: Thu, 28 May 2026 20:26:40 +0000",
            "Content-Transfer-Encoding: quoted-printable",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(mail.split("\r\n").any(|found| found == line), "{line} is missing in\n{mail}");
        }
        assert!(!mail.contains("\r\n-- \r\n"), "{mail}");
    }

    #[test]
    fn what_is_formatted_is_there_twice() {
        use crate::api::rich::{Mark, Node};
        let text = |text: &str| Node::Text(text.to_owned());
        let rich = Rich::new(vec![
            Node::Part(Mark::Strong, vec![text("<ö>")]),
            Node::Part(Mark::Spoiler(None), vec![text("x")]),
            Node::Part(Mark::Preformatted(Some("c".into())), vec![text("a\n  b")]),
        ]);
        let rich = rich.unwrap();
        let plain = rich.text();
        let parts = Parts { rich: Some(&rich), ..parts("R", "S", &plain, &[]) };
        let sent = mail(&parts).unwrap();
        assert_eq!(sent, mail(&parts).unwrap(), "a repeated attempt sends the same mail");
        let read = mail_parser::MessageParser::default().parse(&sent).unwrap();
        assert_eq!(read.body_text(0).unwrap().trim_end(), "*<ö>*||x||\n```c\na\n  b\n```".replace('\n', "\r\n"));
        let html = "<!DOCTYPE html>\n<html><body><strong>&lt;ö&gt;</strong>||x||\
                    <pre><code class=\"language-c\">a\n  b</code></pre>\n</body></html>";
        assert_eq!(read.body_html(0).unwrap().replace("\r\n", "\n").trim_end(), html);
        assert_eq!((read.text_body.len(), read.html_body.len(), read.attachments.len()), (1, 1, 0));
    }

    /// The names of the headers of a mail.
    fn headers(mail: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(mail);
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
        head.split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split(':').next().unwrap_or_default().to_owned())
            .collect()
    }

    proptest! {
        #[test]
        fn no_value_makes_a_header(name in "\\PC{0,40}|[\\x00-\\x7f]{0,40}", subject in "\\PC{0,80}|[\\x00-\\x7f]{0,80}", text in "\\PC{0,80}|[\\x00-\\x7f]{0,80}", id in "[\\x00-\\x7f]{0,40}", jid in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let plain = headers(&mail(&parts("n", "s", "t", &[])).unwrap());
            let references = [id];
            if let Ok(mail) = mail(&with_jid(&name, &subject, &text, &references, &jid)) {
                let found: Vec<String> = headers(&mail).into_iter().filter(|name| name != "In-Reply-To" && name != "References").collect();
                prop_assert_eq!(found.len(), plain.len());
                // No bare line ends, no line that is too long.
                let wire = String::from_utf8_lossy(&mail).into_owned();
                let bare = wire.replace("\r\n", "");
                prop_assert!(!bare.contains('\r') && !bare.contains('\n'));
                prop_assert!(wire.split("\r\n").all(|line| line.len() <= 998));
            }
        }
    }
}
