//! Pure: what the lines of a batch say together, and which of them are orders.

use crate::api::{Kind, Outbound, Style};

/// Sends what waits.
pub const SEND: &str = "/send";

/// Shows the whole of a mail that was cut.
pub const FULL: &str = "/full";

/// Lines that are orders. `/subject …` is none of them: it is part of the mail that it is written in.
pub const ORDERS: &[&str] = &[SEND, FULL];

/// What the lines of a batch say together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Composed {
    /// The subject that the user gave.
    pub subject: Option<String>,
    /// The text; empty where nothing was said but a subject.
    pub text: String,
    /// The Message-ID that is answered.
    pub reply: Option<String>,
    /// The conversation, as the user's client calls it.
    pub thread: Option<String>,
}

/// Puts lines together.
pub fn compose(out: &[Outbound], name: &str) -> Composed {
    let mut lines = Vec::new();
    let mut composed = Composed::default();
    for outbound in out {
        let Kind::Text(text) = &outbound.kind else { continue };
        composed.subject = composed.subject.or_else(|| text.subject.clone());
        composed.reply = composed.reply.or_else(|| text.reply.as_ref()?.id.as_ref().map(ToString::to_string));
        composed.thread = composed.thread.or_else(|| text.thread.as_ref().map(ToString::to_string));
        if text.body.is_empty() {
            // A file that travels with the mail, of which nothing is said.
            continue;
        }
        let body = match text.style {
            Style::Emote => {
                lines.push(format!("* {name} {}", text.body));
                continue;
            }
            Style::Normal | Style::Notice => text.body.as_str(),
        };
        let (first, rest) = body.split_once('\n').unwrap_or((body, ""));
        match first.strip_prefix("/subject ").map(str::trim).filter(|subject| !subject.is_empty()) {
            Some(subject) => {
                composed.subject = Some(subject.to_owned());
                if !rest.is_empty() {
                    lines.push(rest.to_owned());
                }
            }
            None => lines.push(body.to_owned()),
        }
    }
    let text = lines.join("\n");
    // People who are used to such gateways write the subject as the first line.
    match text.strip_prefix("Subject: ").and_then(|rest| rest.split_once('\n')) {
        Some((subject, body)) if composed.subject.is_none() && !body.trim().is_empty() => {
            composed.subject = Some(subject.trim().to_owned());
            composed.text = body.trim_start_matches('\n').to_owned();
        }
        _ => composed.text = text,
    }
    composed
}

/// The order that a message is, if it is one.
pub fn order(out: &[Outbound]) -> Option<&'static str> {
    let [only] = out else { return None };
    let Kind::Text(text) = &only.kind else { return None };
    ORDERS.iter().copied().find(|order| *order == text.body.trim() && text.style == Style::Normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Chat, EventId, PersonId, Text, Timestamp, UserId};

    fn lines(texts: &[&str]) -> Vec<Outbound> {
        let user = UserId::new("romeo", "h").unwrap();
        let person = PersonId::new("bob", "x").unwrap();
        let line = |text: &&str| Outbound {
            id: EventId(1),
            chat: Chat::Direct { user: user.clone(), person: person.clone() },
            user: user.clone(),
            name: None,
            at: Timestamp(0),
            kind: Kind::Text(Text::plain(*text)),
            attempt: 0,
        };
        texts.iter().map(line).collect()
    }

    #[test]
    fn subjects() {
        for (texts, subject, text) in [
            (&["a", "b"][..], None, "a\nb"),
            (&["/subject S", "a"], Some("S"), "a"),
            (&["a", "/subject S\nb"], Some("S"), "a\nb"),
            (&["/subject S"], Some("S"), ""),
            (&["Subject: S\na"], Some("S"), "a"),
            (&["Subject: S", "a"], Some("S"), "a"),
            // Nothing else in it: these are words.
            (&["Subject: S"], None, "Subject: S"),
            (&["/subject"], None, "/subject"),
            (&["/subjects are hard", "/shrug", "/send it"], None, "/subjects are hard\n/shrug\n/send it"),
        ] {
            let composed = compose(&lines(texts), "R");
            assert_eq!((composed.subject.as_deref(), composed.text.as_str()), (subject, text), "{texts:?}");
        }
    }

    #[test]
    fn orders_stand_alone() {
        assert_eq!(order(&lines(&[" /send "])), Some(SEND));
        assert_eq!(order(&lines(&["/full"])), Some(FULL));
        for text in ["/send it", "please /send", "/sent", "/FULL"] {
            assert_eq!(order(&lines(&[text])), None, "{text}");
        }
        assert_eq!(order(&lines(&["/send", "/send"])), None);
    }
}
