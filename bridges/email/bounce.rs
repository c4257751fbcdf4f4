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
    /// The message will not arrive, or is late.
    Report(Report),
    /// It has arrived, or was passed on: the sender knows already that it is out of our hands.
    Nothing(EventId),
}

/// What a report says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The message.
    pub event: EventId,
    /// What sort of failure.
    pub condition: Condition,
    /// What its sender reads.
    pub sentence: Sentence,
    /// Whether it may still arrive.
    pub still_trying: bool,
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

/// The most recipients of a report that are looked at.
const GROUPS: usize = 100;

/// Reads a report (RFC 3464, RFC 6533) that came to this token. What counts is the worst that it says of any recipient:
/// the one whom we wrote to may stand for several.
pub fn read(key: &[u8; 32], token: &str, raw: &[u8]) -> Bounce {
    let Some(event) = event(key, token) else { return Bounce::Forged };
    let Some(mail) = MessageParser::default().parse(raw) else { return Bounce::NotOne };
    let status = mail.parts.iter().find(|part| {
        part.content_type().is_some_and(|kind| {
            let subtype = kind.subtype().unwrap_or_default().to_lowercase();
            kind.ctype().eq_ignore_ascii_case("message")
                && matches!(subtype.as_str(), "delivery-status" | "global-delivery-status")
        })
    });
    let Some(status) = status else { return Bounce::NotOne };
    let text = match &status.body {
        PartType::Text(text) | PartType::Html(text) => text.to_string(),
        PartType::Message(inner) => String::from_utf8_lossy(inner.raw_message()).into_owned(),
        _ => String::from_utf8_lossy(status.contents()).into_owned(),
    };
    let groups = groups(&text);
    let with = |action: &str| groups.iter().find(|group| group.action() == action);
    if let Some(group) = with("failed") {
        let (condition, sentence) = status::meaning(550, group.words().trim(), &group.recipient());
        return Bounce::Report(Report { event, condition, sentence, still_trying: false });
    }
    if let Some(group) = with("delayed") {
        let sentence = Sentence::new("email.late").with("person", group.recipient()).with("why", group.words());
        let condition = Condition::RemoteServerTimeout;
        return Bounce::Report(Report { event, condition, sentence, still_trying: true });
    }
    let known = groups.iter().any(|group| matches!(group.action().as_str(), "delivered" | "relayed" | "expanded"));
    if known { Bounce::Nothing(event) } else { Bounce::NotOne }
}

/// The fields of one recipient.
#[derive(Default)]
struct Group(Vec<(String, String)>);

/// The groups of a report. The first one is about the mail as a whole; some servers leave its empty line out.
fn groups(text: &str) -> Vec<Group> {
    let mut groups = vec![Group::default()];
    for line in text.lines() {
        if line.trim().is_empty() {
            if groups.len() > GROUPS {
                break;
            }
            groups.push(Group::default());
            continue;
        }
        let Group(fields) = groups.last_mut().expect("there is one");
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    groups.retain(|group| group.field("action").is_some());
    groups
}

impl Group {
    fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn action(&self) -> String {
        let action = self.field("action").unwrap_or_default();
        action.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_lowercase()
    }

    /// The recipient as we wrote it, where the report says so.
    fn recipient(&self) -> String {
        let typed = self.field("original-recipient").or_else(|| self.field("final-recipient")).unwrap_or_default();
        let (kind, address) = typed.split_once(';').unwrap_or(("rfc822", typed));
        let address = address.trim();
        let shown = if kind.trim().eq_ignore_ascii_case("utf-8") { unescape(address) } else { address.to_owned() };
        shown.chars().filter(|c| !c.is_control()).take(320).collect()
    }

    /// What the server said, its status code first.
    fn words(&self) -> String {
        let diagnostic = self.field("diagnostic-code").unwrap_or_default();
        let diagnostic = diagnostic.split_once(';').map_or(diagnostic, |(_, text)| text.trim());
        let words = format!("{} {diagnostic}", self.field("status").unwrap_or_default());
        words.chars().filter(|c| !c.is_control()).take(300).collect::<String>().trim().to_owned()
    }
}

/// `\x{20AC}` is a euro sign (RFC 6533, section 3).
fn unescape(address: &str) -> String {
    let mut out = String::new();
    let mut rest = address;
    while let Some((before, behind)) = rest.split_once("\\x{") {
        out.push_str(before);
        let parsed = behind
            .split_once('}')
            .and_then(|(code, after)| u32::from_str_radix(code, 16).ok().and_then(char::from_u32).map(|c| (c, after)));
        match parsed {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push_str("\\x{");
                rest = behind;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [9; 32];

    fn report(kind: &str, groups: &str) -> String {
        format!(
            "From: MAILER-DAEMON@x\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
             --b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/{kind}\r\n\r\nReporting-MTA: dns; x\r\n\r\n{groups}\r\n--b--\r\n"
        )
    }

    fn group(recipient: &str, action: &str, status: &str) -> String {
        format!(
            "Final-Recipient: {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n\
             Diagnostic-Code: smtp; 550\r\n {status} what the server says\r\n\r\n"
        )
    }

    fn about_42(raw: &str) -> Bounce {
        let token = token(&KEY, EventId(42));
        read(&KEY, token.strip_prefix("b-").unwrap(), raw.as_bytes())
    }

    #[test]
    fn the_worst_counts_whatever_comes_first() {
        let bob = |action: &str, status: &str| group("rfc822; bob@example.com", action, status);
        for (groups, wanted) in [
            (bob("failed", "5.1.1"), Some((Condition::ItemNotFound, false))),
            (bob("Failed (really)", "5.2.2"), Some((Condition::ResourceConstraint, false))),
            (bob("delivered", "2.0.0") + &bob("failed", "5.1.1"), Some((Condition::ItemNotFound, false))),
            (bob("relayed", "2.0.0") + &bob("delayed", "4.4.1"), Some((Condition::RemoteServerTimeout, true))),
            (bob("failed", "4.4.7"), Some((Condition::RemoteServerTimeout, false))),
            (bob("delivered", "2.0.0") + &bob("relayed", "2.0.0"), None),
        ] {
            let found = match about_42(&report("delivery-status", &groups)) {
                Bounce::Report(report) => {
                    assert_eq!(report.event, EventId(42));
                    Some((report.condition, report.still_trying))
                }
                Bounce::Nothing(EventId(42)) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, wanted, "{groups}");
        }
        assert_eq!(about_42(&report("delivery-status", "Action: dance\r\n")), Bounce::NotOne);
        assert_eq!(about_42("Subject: I am on holiday\r\n\r\nbye"), Bounce::NotOne);
    }

    #[test]
    fn international_reports() {
        let groups = group("utf-8; \\x{FC}@example.com", "failed", "5.1.1");
        let Bounce::Report(report) = about_42(&report("global-delivery-status", &groups)) else { panic!() };
        assert_eq!(report.sentence.args, [("person".to_owned(), "ü@example.com".to_owned())]);
    }

    #[test]
    fn forged_tokens_are_nobody_s() {
        let real = token(&KEY, EventId(42));
        let real = real.strip_prefix("b-").unwrap();
        let other = real.replacen("42", "43", 1);
        let report = report("delivery-status", &group("rfc822; bob@example.com", "failed", "5.1.1"));
        for token in ["", "42", "42-", "42-00", "x-y", other.as_str(), &token(&[8; 32], EventId(42))[2..]] {
            assert_eq!(read(&KEY, token, report.as_bytes()), Bounce::Forged, "{token}");
        }
        assert!(matches!(read(&KEY, &real.to_uppercase(), report.as_bytes()), Bounce::Report(_)));
    }
}
