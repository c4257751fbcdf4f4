//! Bounces: our envelope sender names the event, with a proof that we wrote it; a report to that address is about it.

use hmac::{Hmac, Mac};
use mail_parser::{MessageParser, MimeHeaders, PartType};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::status;
use crate::api::{Condition, EventId, Sentence};

/// What a mail to a bounce address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounce {
    /// No report, such as an automatic answer.
    NotOne,
    /// We never wrote that address.
    Forged,
    /// The message will not arrive.
    Failed(EventId, Condition, Sentence),
    /// It is late, has arrived, or was passed on.
    Other(EventId),
}

/// The local part of the envelope sender of an event.
pub fn token(key: &[u8; 32], event: EventId) -> String {
    format!("b-{event}-{}", proof(key, event))
}

/// 80 bits in hexadecimal: short enough for a local part, and the same in any case.
fn proof(key: &[u8; 32], event: EventId) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(&event.0.to_be_bytes());
    mac.finalize().into_bytes()[..10].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The event that a token (without `b-`) names, if we made it.
pub fn event(key: &[u8; 32], token: &str) -> Option<EventId> {
    let (number, given) = token.split_once('-')?;
    let event = EventId(number.parse().ok()?);
    let expected = proof(key, event);
    bool::from(given.to_lowercase().as_bytes().ct_eq(expected.as_bytes())).then_some(event)
}

/// Reads a report (RFC 3464) that came to this token.
pub fn read(key: &[u8; 32], token: &str, raw: &[u8]) -> Bounce {
    let Some(event) = event(key, token) else { return Bounce::Forged };
    let Some(mail) = MessageParser::default().parse(raw) else { return Bounce::NotOne };
    let report = mail.parts.iter().find(|part| {
        part.content_type().is_some_and(|kind| {
            kind.ctype().eq_ignore_ascii_case("message")
                && kind.subtype().is_some_and(|subtype| subtype.to_lowercase().ends_with("delivery-status"))
        })
    });
    let Some(report) = report else { return Bounce::NotOne };
    let text = match &report.body {
        PartType::Text(text) | PartType::Html(text) => text.to_string(),
        PartType::Message(inner) => String::from_utf8_lossy(inner.raw_message()).into_owned(),
        _ => String::from_utf8_lossy(report.contents()).into_owned(),
    };
    let field = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| found.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .next()
    };
    if field("Action").is_none_or(|action| !action.eq_ignore_ascii_case("failed")) {
        return Bounce::Other(event);
    }
    let recipient = field("Final-Recipient").or_else(|| field("Original-Recipient")).unwrap_or_default();
    let recipient = recipient.split_once(';').map_or(recipient.as_str(), |(_, address)| address).trim().to_owned();
    let diagnostic = field("Diagnostic-Code")
        .map(|code| code.split_once(';').map_or(code.clone(), |(_, text)| text.trim().to_owned()));
    let words = format!("{} {}", field("Status").unwrap_or_default(), diagnostic.unwrap_or_default());
    let (condition, sentence) = status::meaning(550, words.trim(), &recipient);
    Bounce::Failed(event, condition, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [9; 32];

    fn report(action: &str) -> String {
        format!(
            "From: MAILER-DAEMON@x\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
             --b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n\
             Final-Recipient: rfc822; bob@example.com\r\nAction: {action}\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--b--\r\n"
        )
    }

    #[test]
    fn reports_are_about_the_event_of_their_token() {
        let token = token(&KEY, EventId(42));
        let token = token.strip_prefix("b-").unwrap();
        let Bounce::Failed(event, condition, _) = read(&KEY, token, report("failed").as_bytes()) else { panic!() };
        assert_eq!((event, condition), (EventId(42), Condition::ItemNotFound));
        assert_eq!(read(&KEY, &token.to_uppercase(), report("delayed").as_bytes()), Bounce::Other(EventId(42)));
        assert_eq!(read(&KEY, token, b"Subject: I am on holiday\r\n\r\nbye"), Bounce::NotOne);
    }

    #[test]
    fn forged_tokens_are_nobody_s() {
        let real = token(&KEY, EventId(42));
        let real = real.strip_prefix("b-").unwrap();
        let other = real.replacen("42", "43", 1);
        for token in ["", "42", "42-", "42-00", "x-y", other.as_str(), &token(&[8; 32], EventId(42))[2..]] {
            assert_eq!(read(&KEY, token, report("failed").as_bytes()), Bounce::Forged, "{token}");
        }
    }
}
