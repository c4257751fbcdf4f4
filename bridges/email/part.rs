//! Pure: the files of a mail. What is shown of them when the mail comes, and the bytes when somebody asks for them, out of the
//! original that is kept.

use std::collections::HashSet;

use mail_parser::{Encoding, Message, MessagePart, MimeHeaders, PartType};
use sha2::{Digest, Sha256};

use super::from_mail::{self, clean};
use crate::api::{File, FileForm, ItemId, Source};

/// How many files of a mail are shown; the rest is counted.
const FILES: usize = 20;

/// How many pictures inside the text are shown; the rest is counted.
const INLINE: usize = 5;

/// The longest name in bytes.
const NAME: usize = 255;

/// A file of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its name, which is no path and turns no text around.
    pub name: String,
    /// The media type in lower case, without parameters.
    pub media_type: Option<String>,
    /// The size in bytes.
    pub size: u64,
    /// Where it is in the mail.
    pub place: Place,
}

/// Where a file is in a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The part of this number, which has so many bytes.
    Part(usize, usize),
    /// The whole text.
    Text,
    /// The whole mail.
    Mail,
}

/// The files of a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Those that are shown, in the order of the mail.
    pub shown: Vec<Attached>,
    /// How many there are besides.
    pub more: usize,
    /// What the mail is encrypted with, where it is.
    pub encrypted: Option<&'static str>,
}

/// The files of a mail; `leave_out` says which parts are none.
pub fn files(mail: &Message<'_>, leave_out: impl Fn(&MessagePart<'_>) -> bool) -> Files {
    let mut found = Files::default();
    let mut inline = 0;
    let mut invitations = HashSet::new();
    let pgp = mail.parts.first().is_some_and(|root| is(root, &["multipart/encrypted"]));
    for id in &mail.attachments {
        let number = usize::try_from(*id).unwrap_or(usize::MAX);
        let Some(part) = mail.parts.get(number).filter(|part| !leave_out(part)) else { continue };
        if is(part, &["application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"]) {
            // It says nothing to people, and nothing here has looked at it.
            continue;
        }
        if pgp && is(part, &["application/pgp-encrypted"]) {
            continue;
        }
        if pgp {
            found.encrypted = Some("OpenPGP");
        }
        if is(part, &["application/pkcs7-mime", "application/x-pkcs7-mime"]) {
            found.encrypted = Some("S/MIME");
        }
        let bytes = content(mail, part);
        if is(part, &["text/calendar", "application/ics"]) && !invitations.insert(Sha256::digest(bytes)) {
            // The same invitation stands in many mails twice, as a text and as a file.
            continue;
        }
        let media_type = media_type(part, bytes);
        if form(media_type.as_deref()) == FileForm::Image && is_inline(part) {
            inline += 1;
            if inline > INLINE {
                found.more += 1;
                continue;
            }
        }
        if found.shown.len() >= FILES {
            found.more += 1;
            continue;
        }
        let name = name(part.attachment_name(), media_type.as_deref(), part);
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        found.shown.push(Attached { name, media_type, size, place: Place::Part(number, bytes.len()) });
    }
    found
}

impl Attached {
    /// As an event; `mail` is the Message-ID of the mail, `thread` the name of its conversation.
    pub fn event(&self, mail: &str, thread: &str) -> File {
        File {
            name: self.name.clone(),
            form: form(self.media_type.as_deref()),
            media_type: self.media_type.clone(),
            size: Some(self.size),
            source: Some(Source::new(&format!("{} {mail}", self.place.word()))),
            thread: Some(ItemId::new(thread)),
            ..File::default()
        }
    }
}

impl Place {
    fn word(self) -> String {
        match self {
            Self::Part(number, size) => format!("part/{number}/{size}"),
            Self::Text => "text".to_owned(),
            Self::Mail => "mail".to_owned(),
        }
    }

    /// Reads what [`Attached::event`] wrote: the place, and the Message-ID of the mail.
    pub fn read(source: &Source) -> Option<(Self, &str)> {
        let (word, mail) = source.as_str().split_once(' ')?;
        let place = match word {
            "text" => Self::Text,
            "mail" => Self::Mail,
            part => {
                let (number, size) = part.strip_prefix("part/")?.split_once('/')?;
                Self::Part(number.parse().ok()?, size.parse().ok()?)
            }
        };
        Some((place, mail))
    }
}

/// The bytes at a place of a mail. `None` where there is nothing like it.
pub fn bytes(raw: &[u8], place: Place) -> Option<Vec<u8>> {
    match place {
        Place::Mail => Some(raw.to_vec()),
        Place::Text => Some(from_mail::text(raw)?.into_bytes()),
        Place::Part(number, size) => {
            let mail = from_mail::parse(raw)?;
            let found = content(&mail, mail.parts.get(number)?);
            (found.len() == size).then(|| found.to_vec())
        }
    }
}

/// The decoded bytes of a part. Texts are UTF-8, whatever they came in.
pub fn content<'a>(mail: &'a Message<'_>, part: &'a MessagePart<'_>) -> &'a [u8] {
    match (&part.body, part.encoding) {
        // The parser takes a mail in a mail for one with the whole.
        (PartType::Message(_), Encoding::None) => {
            let place = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
            mail.raw_message.get(place(part.offset_body)..place(part.offset_end)).unwrap_or_default()
        }
        _ => part.contents(),
    }
}

/// Whether a part has one of these types.
pub fn is(part: &MessagePart<'_>, types: &[&str]) -> bool {
    declared(part).is_some_and(|found| types.contains(&found.as_str()))
}

fn declared(part: &MessagePart<'_>) -> Option<String> {
    let kind = part.content_type()?;
    let token = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        let fine = !text.is_empty() && text.len() <= 127;
        (fine && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)))
            .then_some(text)
    };
    Some(format!("{}/{}", token(kind.ctype())?, token(kind.subtype()?)?))
}

/// The media type: as declared, or as it looks where that says nothing.
fn media_type(part: &MessagePart<'_>, bytes: &[u8]) -> Option<String> {
    let declared = match &part.body {
        PartType::Message(_) => Some("message/rfc822".to_owned()),
        _ => declared(part),
    };
    match declared.as_deref() {
        None | Some("application/octet-stream") => sniff(bytes).map(str::to_owned).or(declared),
        Some(_) => declared,
    }
}

fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let at = |place: usize, sign: &[u8]| bytes.get(place..).is_some_and(|rest| rest.starts_with(sign));
    let known: [(usize, &[u8], &str); 9] = [
        (0, b"\x89PNG\r\n\x1a\n", "image/png"),
        (0, b"\xff\xd8\xff", "image/jpeg"),
        (0, b"GIF8", "image/gif"),
        (8, b"WEBP", "image/webp"),
        (0, b"%PDF-", "application/pdf"),
        (0, b"OggS", "audio/ogg"),
        (0, b"ID3", "audio/mpeg"),
        (4, b"ftypM4A", "audio/mp4"),
        (4, b"ftyp", "video/mp4"),
    ];
    known.into_iter().find(|(place, sign, _)| at(*place, sign)).map(|(_, _, media_type)| media_type)
}

/// How a file of a type is meant to be shown. A picture that is a program (SVG) is something to keep.
fn form(media_type: Option<&str>) -> FileForm {
    match media_type.unwrap_or_default() {
        "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/avif" | "image/heic" => FileForm::Image,
        audio if audio.starts_with("audio/") => FileForm::Audio,
        video if video.starts_with("video/") => FileForm::Video,
        _ => FileForm::Plain,
    }
}

/// Whether a part belongs into the text.
fn is_inline(part: &MessagePart<'_>) -> bool {
    match part.content_disposition() {
        Some(disposition) => disposition.is_inline(),
        None => part.content_id().is_some(),
    }
}

/// A name for a file: what the mail says, made harmless, or one that says what it is.
fn name(given: Option<&str>, media_type: Option<&str>, part: &MessagePart<'_>) -> String {
    let name = harmless(given.unwrap_or_default());
    if !name.is_empty() {
        return name;
    }
    let subject = match &part.body {
        PartType::Message(mail) => mail.subject().map(harmless),
        _ => None,
    };
    match (media_type.unwrap_or_default(), subject.filter(|subject| !subject.is_empty())) {
        ("message/rfc822", Some(subject)) => harmless(&format!("{}.eml", shorter(&subject, NAME - 4))),
        ("message/rfc822", None) => "mail.eml".to_owned(),
        ("text/calendar", _) => "invitation.ics".to_owned(),
        ("text/html", _) => "page.html".to_owned(),
        ("text/plain", _) => "text.txt".to_owned(),
        ("image/jpeg", _) => "image.jpg".to_owned(),
        (image @ ("image/png" | "image/gif" | "image/webp" | "image/avif" | "image/heic"), _) => {
            image.replacen('/', ".", 1)
        }
        ("application/pdf", _) => "document.pdf".to_owned(),
        _ => "attachment".to_owned(),
    }
}

/// A name without path, control characters, and what turns text around or hides; of at most [`NAME`] bytes, with its end.
pub fn harmless(name: &str) -> String {
    let name: String = clean(name)
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .filter(
            |c| !matches!(*c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'),
        )
        .collect();
    let name = name.trim().trim_start_matches('.').trim();
    if name.len() <= NAME {
        return name.to_owned();
    }
    let end = name.rfind('.').map_or("", |dot| &name[dot..]);
    let end = if end.len() <= 16 { end } else { "" };
    format!("{}{end}", shorter(name, NAME - end.len()))
}

fn shorter(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::Timestamp;

    fn found(mail: &str) -> (Files, Vec<u8>) {
        let raw = mail.replace('\n', "\r\n").into_bytes();
        (from_mail::read(&raw, Timestamp(1_780_000_000_000)).files, raw)
    }

    fn mixed(parts: &[&str]) -> String {
        let parts: String = parts.iter().map(|part| format!("--x\n{part}\n")).collect();
        format!("From: a@b.org\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n{parts}--x--\n")
    }

    #[test]
    fn e14_files_have_names_types_and_bytes() {
        let nested = "Content-Type: message/rfc822\n\nFrom: c@d.org\nSubject: In it\n\ninside";
        let (files, raw) = found(&mixed(&[
            "\nhello",
            "Content-Type: image/png; name=cat.png\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment\n\niVBORw0KGgoB",
            "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\niVBORw0KGgoC",
            "Content-Type: text/plain; charset=iso-8859-1\nContent-Disposition: attachment; filename=l.txt\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe",
            nested,
            "Content-Type: audio/ogg\nContent-Disposition: attachment; filename*=utf-8''T%C3%B6ne.ogg\n\nOggS",
        ]));
        let seen: Vec<_> = files
            .shown
            .iter()
            .map(|file| {
                (file.name.as_str(), file.media_type.as_deref().unwrap_or("-"), form(file.media_type.as_deref()))
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("cat.png", "image/png", FileForm::Image),
                ("image.png", "image/png", FileForm::Image),
                ("l.txt", "text/plain", FileForm::Plain),
                ("In it.eml", "message/rfc822", FileForm::Plain),
                ("Töne.ogg", "audio/ogg", FileForm::Audio),
            ]
        );
        let of = |n: usize| bytes(&raw, files.shown[n].place).unwrap();
        assert_eq!(of(0), b"\x89PNG\r\n\x1a\n\x01");
        assert_eq!(of(1), b"\x89PNG\r\n\x1a\n\x02");
        assert_eq!(of(2), "Grüße".as_bytes());
        assert_eq!(of(3), b"From: c@d.org\r\nSubject: In it\r\n\r\ninside");
        for file in &files.shown {
            assert_eq!(file.size, bytes(&raw, file.place).unwrap().len() as u64);
            let event = file.event("1@b.org", "t");
            assert_eq!(Place::read(event.source.as_ref().unwrap()), Some((file.place, "1@b.org")));
        }
        assert_eq!(bytes(&raw, Place::Part(2, 1)), None, "another mail's");
        assert_eq!(bytes(&raw, Place::Part(99, 1)), None);
    }

    #[test]
    fn e14_many_files_are_counted_and_pictures_in_the_text_are_few() {
        let file = "Content-Disposition: attachment; filename=a.bin\n\nx";
        let (files, _) = found(&mixed(&vec![file; 90]));
        assert_eq!((files.shown.len(), files.more), (20, 70));
        let logo = "Content-Type: image/gif\nContent-ID: <a@b>\nContent-Disposition: inline\n\nGIF89a";
        let (files, _) = found(&mixed(&[vec!["\nhello"], vec![logo; 8], vec![file]].concat()));
        assert_eq!((files.shown.len(), files.more), (6, 3));
    }

    #[test]
    fn e16_what_is_encrypted_is_said_and_signatures_are_not_files() {
        let (files, _) = found(
            "From: a@b.org\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=x\n\n--x\n\
             Content-Type: application/pgp-encrypted\n\nVersion: 1\n--x\nContent-Type: application/octet-stream; name=encrypted.asc\n\n\
             -----BEGIN PGP MESSAGE-----\n--x--\n",
        );
        assert_eq!(files.encrypted, Some("OpenPGP"));
        assert_eq!(files.shown.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["encrypted.asc"]);
        let (files, _) = found(
            "From: a@b.org\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIAA\n",
        );
        assert_eq!((files.encrypted, files.shown[0].name.as_str()), (Some("S/MIME"), "smime.p7m"));
        let (files, _) = found(
            "From: a@b.org\nContent-Type: multipart/signed; boundary=x\n\n--x\n\nhi\n--x\nContent-Type: application/pgp-signature; name=s.asc\n\n-----\n--x--\n",
        );
        assert_eq!(files, Files::default());
    }

    #[test]
    fn e14_names_are_harmless() {
        for (given, wanted) in [
            ("../../etc/passwd", "passwd"),
            ("D:\\x\\cat.png", "cat.png"),
            ("a\u{202e}gnp.exe\u{0}\n", "agnp.exe"),
            (".bashrc", "bashrc"),
            ("..", ""),
            ("  x  ", "x"),
            ("\u{2066}\u{200b}\u{feff}", ""),
        ] {
            assert_eq!(harmless(given), wanted, "{given:?}");
        }
        let long = harmless(&format!("{}.tar", "ü".repeat(300)));
        assert!(long.len() <= NAME && long.ends_with("ü.tar"));
    }

    proptest! {
        #[test]
        fn any_name_becomes_harmless(given in "\\PC{0,300}|[\\x00-\\x7f./\\\\]{0,300}") {
            let name = harmless(&given);
            prop_assert!(name.len() <= NAME && !name.starts_with('.'));
            prop_assert!(!name.chars().any(|c| c.is_control() || c == '/' || c == '\\'));
        }

        #[test]
        fn nothing_panics_on_parts(junk in proptest::collection::vec(any::<u8>(), 0..200), number in 0usize..5) {
            let mut raw = mixed(&["\nhello", "Content-Type: message/rfc822\n\nSubject: x\n"]).into_bytes();
            raw.extend(junk);
            let letter = from_mail::read(&raw, Timestamp(0));
            for file in letter.files.shown {
                prop_assert_eq!(bytes(&raw, file.place).map(|bytes| bytes.len() as u64), Some(file.size));
            }
            let _ = bytes(&raw, Place::Part(number, 3));
        }
    }
}
