//! Ad-hoc commands (XEP-0050) of the gateway.

use minidom::Element;
use portway_bridges::api::{Condition, Sentence, UserId};

use super::error::{self, ErrorType};
use super::form::{self, Words};
use super::iq::{ns, result};
use super::stanza::{OurJid, OutStanza, Stanza};
use super::xml;
use crate::command::{Action, Answers, Commander, Reply, table};

/// The namespace of commands, and the node under which they are listed.
pub const NS: &str = "http://jabber.org/protocol/commands";

/// Answers `<command/>`.
pub async fn answer(
    query: &Stanza,
    us: &OurJid,
    command: &Element,
    user: &UserId,
    commander: &Commander,
) -> Option<OutStanza> {
    let lang = query.lang.as_deref();
    let words = Words { texts: &commander.house.texts, lang };
    let node = command.attr("node").unwrap_or_default();
    let given = command.get_child("x", form::NS).map(form::answers);
    let reply = match (command.attr("action").unwrap_or("execute"), command.attr("sessionid")) {
        ("execute", None) => commander.start(user, node, Vec::new(), lang).await,
        (_, None) => return fault(query, us, "bad-sessionid", words),
        (action, Some(session)) => {
            let action = match action {
                // Of a session that is under way, `execute` is the default step onwards.
                "execute" | "next" | "complete" => Action::Next,
                "prev" => Action::Prev,
                "cancel" => Action::Cancel,
                _ => return fault(query, us, "malformed-action", words),
            };
            let (action, answers) = match given {
                Some(None) => (Action::Cancel, Answers::new()),
                Some(Some(answers)) => (action, answers),
                None => (action, Answers::new()),
            };
            commander.act(user, session, action, &answers, lang).await
        }
    };
    let status = |status: &str, session: &str, said: Option<&Sentence>| {
        let mut answer = xml::element("command", NS, &[("node", node), ("status", status), ("sessionid", session)]);
        if let Some(said) = said {
            xml::set_lang(&mut answer, words.texts.language(said, lang));
        }
        answer
    };
    match reply {
        Reply::Ask { session, form, first, fault } => {
            let mut answer = status("executing", &session, Some(&form.title));
            let onwards = if form.last { "complete" } else { "next" };
            let mut actions = xml::element("actions", NS, &[("execute", onwards)]);
            if !first {
                actions.append_child(Element::bare("prev", NS));
            }
            actions.append_child(Element::bare(onwards, NS));
            answer.append_child(actions);
            answer.append_child(form::element(&form, fault.as_ref(), None, words));
            if let Some(fault) = &fault {
                answer.append_child(note("error", &words.say(fault)));
            }
            result(query, us, Some(answer))
        }
        Reply::Done { session, notes } => {
            let mut answer = status("completed", &session, notes.first());
            let title = Sentence::new(table::find(node).map_or("command.line", |command| command.title));
            let (form, lines) = form::outcome(&title, &notes, words);
            if let Some(form) = form {
                answer.append_child(form);
            }
            if !lines.is_empty() {
                answer.append_child(note("info", &lines.join("\n")));
            }
            result(query, us, Some(answer))
        }
        Reply::Cancelled { session } => result(query, us, Some(status("canceled", &session, None))),
        Reply::Expired => fault(query, us, "session-expired", words),
        Reply::Refused(condition, sentence) => error::refusal(query, us, condition, &sentence, words.texts),
    }
}

fn note(type_: &str, text: &str) -> Element {
    let mut note = xml::element("note", NS, &[("type", type_)]);
    note.append_text(text);
    note
}

/// An error of the protocol itself (XEP-0050, section 4.4).
fn fault(query: &Stanza, us: &OurJid, what: &str, words: Words<'_>) -> Option<OutStanza> {
    let (condition, type_) = match what {
        "session-expired" => (Condition::NotAllowed, ErrorType::Cancel),
        _ => (Condition::BadRequest, ErrorType::Modify),
    };
    let expired = Sentence::new("command.expired");
    let text = if what == "session-expired" { words.say(&expired) } else { String::new() };
    let mut element = error::element(condition, type_, &text, Some(words.texts.language(&expired, words.lang)));
    element.append_child(Element::bare(what, NS));
    let to = query.from.as_ref()?;
    let stanza = OutStanza::new(query.kind, us, to, Some("error"), query.id.as_deref());
    Some(stanza.with(element))
}

/// The answer to disco#items of the node of commands: those that this user may give.
#[must_use]
pub fn items(us: &OurJid, user: &UserId, commander: &Commander, words: Words<'_>) -> Element {
    let mut items = xml::element("query", ns::DISCO_ITEMS, &[("node", NS)]);
    for command in commander.offered(user) {
        let name = words.say(&Sentence::new(command.title));
        let item = [("jid", us.jid().as_str()), ("node", command.name), ("name", name.as_str())];
        items.append_child(xml::element("item", ns::DISCO_ITEMS, &item));
    }
    items
}

/// The answer to disco#info of the node of commands or of one command. `None` for any other node.
#[must_use]
pub fn info(node: &str, user: &UserId, commander: &Commander, words: Words<'_>) -> Option<Element> {
    let (type_, name, features) = if node == NS {
        ("command-list", String::new(), &[NS][..])
    } else {
        let command = table::find(node).filter(|found| commander.offered(user).any(|own| own.name == found.name))?;
        ("command-node", words.say(&Sentence::new(command.title)), &[NS, form::NS][..])
    };
    let mut info = super::iq::info(&[("automation", type_)], &name, features);
    xml::set(&mut info, "node", node);
    Some(info)
}
