//! Pure: what the lines of a batch say together, and which of them are orders.

use crate::api::rich::Node;
use crate::api::{Kind, Outbound, Rich, Style};

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
    /// The same as a tree, where something in it is formatted.
    pub rich: Option<Rich>,
    /// The Message-ID that is answered.
    pub reply: Option<String>,
    /// The conversation, as the user's client calls it.
    pub thread: Option<String>,
}

/// Puts lines together.
pub fn compose(out: &[Outbound], name: &str) -> Composed {
    // What each says, and the same formatted.
    let mut lines: Vec<(String, Vec<Node>)> = Vec::new();
    let plain = |text: &str| (text.to_owned(), vec![Node::Text(text.to_owned())]);
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
        let formatted = text.rich.as_ref().map(|rich| rich.nodes().to_vec());
        let mut said = (text.body.clone(), formatted.unwrap_or_else(|| vec![Node::Text(text.body.clone())]));
        if text.style == Style::Emote {
            let who = format!("* {name} ");
            said.0.insert_str(0, &who);
            said.1.insert(0, Node::Text(who));
            lines.push(said);
            continue;
        }
        let (first, rest) = text.body.split_once('\n').unwrap_or((&text.body, ""));
        match first.strip_prefix("/subject ").map(str::trim).filter(|subject| !subject.is_empty()) {
            Some(subject) => {
                composed.subject = Some(subject.to_owned());
                if !rest.is_empty() {
                    lines.push(plain(rest));
                }
            }
            None => lines.push(said),
        }
    }
    let text = joined(&lines);
    // People who are used to such gateways write the subject as the first line.
    match text.strip_prefix("Subject: ").and_then(|rest| rest.split_once('\n')) {
        Some((subject, body)) if composed.subject.is_none() && !body.trim().is_empty() => {
            composed.subject = Some(subject.trim().to_owned());
            composed.text = body.trim_start_matches('\n').to_owned();
            let (first, _) = lines.remove(0);
            if let Some((_, rest)) = first.split_once('\n') {
                lines.insert(0, plain(rest.trim_start_matches('\n')));
            }
        }
        _ => composed.text = text,
    }
    let mut nodes = Vec::new();
    for (_, line) in lines {
        if !nodes.is_empty() {
            nodes.push(Node::Text("\n".to_owned()));
        }
        nodes.extend(line);
    }
    composed.rich = Rich::new(nodes);
    composed
}

fn joined(lines: &[(String, Vec<Node>)]) -> String {
    lines.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("\n")
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
    fn what_is_formatted_stays_so_beside_other_lines() {
        use crate::api::rich::Mark;
        let text = |text: &str| Node::Text(text.to_owned());
        let strong = || Node::Part(Mark::Strong, vec![text("b")]);
        let mut out = lines(&["Subject: S\nx *literal*", "*b*", "c", "*b*"]);
        for n in [1, 3] {
            let style = if n == 3 { Style::Emote } else { Style::Normal };
            out[n].kind = Kind::Text(Text { rich: Rich::new(vec![strong()]), style, ..Text::plain("*b*") });
        }
        let composed = compose(&out, "R");
        assert_eq!((composed.subject.as_deref(), composed.text.as_str()), (Some("S"), "x *literal*\n*b*\nc\n* R *b*"));
        let nodes = [text("x *literal*\n"), strong(), text("\nc\n* R "), strong()];
        assert_eq!(composed.rich.unwrap().nodes(), nodes);
        assert_eq!(compose(&lines(&["*a*"]), "R").rich, None);
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
