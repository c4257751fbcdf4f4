//! In-band registration with the gateway (XEP-0077, XEP-0100 section 4).

use minidom::Element;
use portway_bridges::api::{Condition, Sentence, UserId};

use super::error;
use super::form::{self, Words};
use super::iq::result;
use super::stanza::{OurJid, OutStanza, Stanza};
use super::xml;
use crate::command::{Action, Answers, Commander, Reply, user};

/// The namespace of registration.
pub const NS: &str = "jabber:iq:register";

/// Answers `<query/>` of registration.
pub async fn answer(
    query: &Stanza,
    us: &OurJid,
    payload: &Element,
    user: &UserId,
    commander: &Commander,
) -> Option<OutStanza> {
    let lang = query.lang.as_deref();
    let words = Words { texts: &commander.house.texts, lang };
    let refuse =
        |condition: Condition, sentence: &Sentence| error::refusal(query, us, condition, sentence, words.texts);
    let failed = || refuse(Condition::InternalServerError, &Sentence::new("core.store-failed"));
    let known = match commander.house.choices(user).await {
        Ok(choices) => choices.is_some(),
        Err(_) => return failed(),
    };
    if query.type_.as_deref() == Some("set") {
        if payload.has_child("remove", NS) {
            // Nothing else may stand beside it (section 3.2).
            if payload.children().count() != 1 {
                return refuse(Condition::BadRequest, &Sentence::new("register.not"));
            }
            if !known {
                return refuse(Condition::RegistrationRequired, &Sentence::new("register.not"));
            }
            return match user::remove(&commander.house, user).await {
                Ok(_) => result(query, us, None),
                Err(_) => failed(),
            };
        }
        let answers = match payload.get_child("x", form::NS) {
            Some(x) => match form::answers(x) {
                Some(answers) => answers,
                None => return result(query, us, None),
            },
            None => legacy(payload),
        };
        return match commander.start(user, "register", vec![answers], lang).await {
            Reply::Done { .. } => result(query, us, None),
            Reply::Refused(condition, sentence) => refuse(condition, &sentence),
            Reply::Ask { session, fault, .. } => {
                commander.act(user, &session, Action::Cancel, &Answers::new(), lang).await;
                let wrong = fault.unwrap_or_else(|| Sentence::new("command.field-missing"));
                refuse(Condition::NotAcceptable, &wrong)
            }
            Reply::Cancelled { .. } | Reply::Expired => failed(),
        };
    }
    let reply = commander.start(user, "register", Vec::new(), lang).await;
    let (session, form) = match reply {
        Reply::Ask { session, form, .. } => (session, form),
        Reply::Refused(condition, sentence) => return refuse(condition, &sentence),
        _ => return failed(),
    };
    // A form of registration is answered as a whole; there is no session to go on with.
    commander.act(user, &session, Action::Cancel, &Answers::new(), lang).await;
    let mut answer = Element::bare("query", NS);
    if known {
        answer.append_child(Element::bare("registered", NS));
    }
    let notes: Vec<String> = form.notes.iter().map(|note| words.say(note)).collect();
    answer.append_child(xml::text("instructions", NS, &notes.join("\n")));
    let name = form.fields.iter().find(|field| field.name == "name").map(|field| field.value.clone());
    answer.append_child(xml::text("nick", NS, &name.unwrap_or_default()));
    answer.append_child(form::element(&form, None, Some(NS), words));
    result(query, us, Some(answer))
}

/// The one field for clients without forms.
fn legacy(payload: &Element) -> Answers {
    let nick = payload.get_child("nick", NS).map(Element::text);
    nick.into_iter().map(|nick| ("name".to_owned(), nick)).collect()
}
