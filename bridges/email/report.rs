//! Pure: a report of non-delivery (RFC 3464 in RFC 6522) to whoever wrote a mail that we took and that the XMPP side then
//! sent back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::to_mail::header_text;
use crate::api::{Condition, Timestamp};

/// How much of the mail's header comes with the report, in bytes.
const HEADER: usize = 8 << 10;

/// What a report is made of.
pub struct Parts<'a> {
    /// Our domain.
    pub domain: &'a str,
    /// Who wrote the mail: the envelope sender.
    pub to: &'a str,
    /// Whom it was for, as the peer wrote it.
    pub recipient: &'a str,
    /// What went wrong.
    pub condition: Condition,
    /// The XMPP server's own words, if it had any.
    pub words: &'a str,
    /// The same for people.
    pub text: &'a str,
    /// The mail.
    pub mail: &'a [u8],
    /// Its Message-ID without angle brackets, where it has a usable one.
    pub answers: Option<&'a str>,
    /// The report's own Message-ID without angle brackets.
    pub message_id: &'a str,
    /// When it failed.
    pub at: Timestamp,
    /// Marks our own mail.
    pub trace: &'a str,
}

/// The report as bytes; all of them ASCII.
pub fn report(parts: &Parts<'_>) -> Vec<u8> {
    let Parts { domain, message_id, .. } = parts;
    let date = mail_parser::DateTime::from_timestamp(parts.at.0.max(0) / 1000).to_rfc822();
    let boundary =
        format!("report-{}", message_id.bytes().filter(u8::is_ascii_alphanumeric).map(char::from).collect::<String>());
    let international = !parts.recipient.is_ascii();
    let (kind, address) =
        if international { ("utf-8", escape(parts.recipient)) } else { ("rfc822", ascii(parts.recipient)) };
    let answers = parts.answers.map(|id| format!("In-Reply-To: <{id}>\r\nReferences: <{id}>\r\n")).unwrap_or_default();
    let end = parts.mail.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(parts.mail.len());
    let text = STANDARD.encode(parts.text.replace('\n', "\r\n"));
    let text = fold(&text);
    let header = fold(&STANDARD.encode(&parts.mail[..end.min(HEADER)]));
    format!(
        "From: Mail Delivery System <postmaster@{domain}>\r\nTo: <{to}>\r\nSubject: Undelivered mail\r\nDate: {date}\r\n\
         Message-ID: <{message_id}>\r\n{answers}Auto-Submitted: auto-replied\r\nX-Portway-Trace: {trace}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{text}\r\n\
         --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; {domain}\r\n\r\n\
         Final-Recipient: {kind}; {address}\r\nAction: failed\r\nStatus: {status}\r\nDiagnostic-Code: x-xmpp; {condition} {words}\r\n\r\n\
         --{boundary}\r\nContent-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{header}\r\n\
         --{boundary}--\r\n",
        to = parts.to,
        trace = ascii(parts.trace),
        status = status(parts.condition),
        condition = parts.condition,
        words = ascii(parts.words),
    )
    .into_bytes()
}

/// The status code (RFC 3463) of a condition.
fn status(condition: Condition) -> &'static str {
    match condition {
        Condition::ItemNotFound | Condition::JidMalformed => "5.1.1",
        Condition::Gone => "5.1.6",
        Condition::RecipientUnavailable | Condition::ServiceUnavailable => "5.2.1",
        Condition::ResourceConstraint => "5.2.2",
        Condition::RemoteServerNotFound => "5.4.4",
        Condition::RemoteServerTimeout => "5.4.7",
        Condition::Forbidden | Condition::NotAllowed | Condition::PolicyViolation | Condition::RegistrationRequired => {
            "5.7.1"
        }
        Condition::NotAcceptable => "5.6.0",
        Condition::BadRequest
        | Condition::Conflict
        | Condition::FeatureNotImplemented
        | Condition::InternalServerError => "5.0.0",
    }
}

fn ascii(text: &str) -> String {
    header_text(text).chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

/// RFC 6533, section 3.
fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .map(|c| if c.is_ascii() && c != '\\' { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) })
        .collect()
}

fn fold(text: &str) -> String {
    let lines: Vec<&str> = text.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    lines.join("\r\n")
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    use super::*;

    fn made(recipient: &str, words: &str, text: &str, mail: &[u8]) -> Vec<u8> {
        report(&Parts {
            domain: "mail.x",
            to: "bob@example.com",
            recipient,
            condition: Condition::ItemNotFound,
            words,
            text,
            mail,
            answers: Some("1@example.com"),
            message_id: "pw.i.report-7@mail.x",
            at: Timestamp(1_780_000_000_000),
            trace: "i",
        })
    }

    #[test]
    fn an_international_recipient() {
        let report = String::from_utf8(made("ü\\@mail.x", "", "", b"")).unwrap();
        assert!(report.contains("Final-Recipient: utf-8; \\x{FC}\\x{5C}@mail.x\r\n"), "{report}");
        assert!(report.contains("Date: Thu, 28 May 2026 20:26:40 +0000\r\n"), "{report}");
    }

    #[test]
    fn every_condition_is_a_permanent_failure() {
        for condition in Condition::ALL {
            assert!(status(condition).starts_with("5."), "{condition}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_a_header_or_a_part(
            recipient in "\\PC{0,60}|[\\x00-\\x7f]{0,60}",
            words in "\\PC{0,60}|[\\x00-\\x7f]{0,60}",
            text in "\\PC{0,60}|[\\x00-\\x7f]{0,60}",
            mail in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let count = |report: &[u8]| {
                let parsed = MessageParser::default().parse(report).unwrap();
                (parsed.headers().len(), parsed.parts.len())
            };
            let report = made(&recipient, &words, &text, &mail);
            prop_assert_eq!(count(&report), count(&made("a@mail.x", "w", "t", b"S: x\r\n\r\n")));
            prop_assert!(report.is_ascii());
            let wire = String::from_utf8(report).unwrap();
            prop_assert!(!wire.replace("\r\n", "").contains(['\r', '\n']));
            prop_assert!(wire.split("\r\n").all(|line| line.len() <= 998));
        }
    }
}
