//! What a user reads of a mail.

use super::deliver::Mail;
use crate::api::rich::Node;
use crate::api::{Core, PersonId, Rich, Sentence, Text, UserId};
use crate::email::adapter::State;
use crate::email::address;
use crate::email::auth::Author;
use crate::email::calendar::Invitation;
use crate::email::from_mail::Letter;

/// How many other recipients are named.
const NAMED: usize = 5;

/// The text. `None` where its files say everything.
pub fn text(
    state: &State,
    core: &Core,
    user: &UserId,
    person: &PersonId,
    letter: &Letter,
    mail: Mail<'_>,
) -> Option<Text> {
    let say = |sentence: Sentence| core.text(&sentence, None);
    let mut lines = Vec::new();
    if mail.findings.author == Author::Doubtful {
        lines.push(say(Sentence::new("email.doubtful").with("person", address::print(person))));
    }
    let own = state.users(core).address(user);
    let is_us = |address: &str| {
        address.eq_ignore_ascii_case(mail.recipient)
            || own.as_deref().is_some_and(|own| address.eq_ignore_ascii_case(own))
    };
    let others: Vec<&str> = letter.recipients.iter().map(String::as_str).filter(|address| !is_us(address)).collect();
    if !others.is_empty() {
        let named = others.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = others.len().saturating_sub(NAMED);
        let key = if more == 0 { "email.also-to" } else { "email.also-to-more" };
        lines.push(say(Sentence::new(key).with("others", named).with("more", more.to_string())));
    }
    let before = lines.len();
    if let Some(scheme) = letter.files.encrypted {
        lines.push(say(Sentence::new("core.encrypted").with("scheme", scheme)));
    }
    if let Some(invitation) = &letter.invitation {
        lines.extend(invited(invitation, &say));
    }
    let at = lines.len();
    let has_text = !letter.text.trim().is_empty();
    if has_text {
        lines.push(letter.text.clone());
    }
    if letter.files.more > 0 {
        core.loss("attachment");
        lines.push(say(Sentence::new("email.more-files").with("count", letter.files.more.to_string())));
    }
    if letter.too_long {
        lines.push(say(Sentence::new("email.kept")));
    }
    if lines.len() == before {
        match &letter.subject {
            Some(subject) => lines.push(subject.clone()),
            None if letter.files.shown.is_empty() => lines.push(say(Sentence::new("email.no-text"))),
            None => {}
        }
    }
    if lines.is_empty() {
        return None;
    }
    let rich = letter.rich.as_ref().filter(|_| has_text).and_then(|rich| {
        let line = |line: &String| Node::Text(format!("{line}\n"));
        let mut nodes: Vec<Node> = lines[..at].iter().map(line).collect();
        nodes.extend(rich.nodes().iter().cloned());
        nodes.extend(lines[at + 1..].iter().map(|line| Node::Text(format!("\n{line}"))));
        Rich::new(nodes)
    });
    Some(Text { body: rich.as_ref().map_or_else(|| lines.join("\n"), Rich::text), rich, ..Text::default() })
}

/// What a calendar says.
fn invited(invitation: &Invitation, say: &dyn Fn(Sentence) -> String) -> Vec<String> {
    let key = match invitation.method.as_str() {
        "CANCEL" => "email.cancelled",
        "REPLY" => "email.answered",
        _ => "email.invitation",
    };
    let when = [&invitation.start, &invitation.end].into_iter().filter(|time| !time.is_empty()).cloned();
    let when = when.collect::<Vec<_>>().join(" – ");
    let mut lines = vec![say(Sentence::new(key).with("what", invitation.summary.clone()))];
    for (key, name, value) in [
        ("email.when", "when", &when),
        ("email.where", "where", &invitation.location),
        ("email.organiser", "who", &invitation.organiser),
    ] {
        if !value.is_empty() {
            lines.push(say(Sentence::new(key).with(name, value.clone())));
        }
    }
    lines
}
