//! Answers to questions for cards and pictures.

use minidom::Element;
use portway_bridges::api::{Condition, PersonId, Reach, UserId};

use super::Faces;
use super::card::{self, NODE_DATA, NODE_METADATA, NODE_VCARD4, NS_VCARD4, Person};
use crate::identity::access;
use crate::store::AvatarRow;
use crate::xmpp::from_stanza::ns::NICK;
use crate::xmpp::iq::{ns, refuse, result};
use crate::xmpp::stanza::{OurJid, OutStanza, Stanza};
use crate::xmpp::xml;

/// What is asked for.
enum Asked<'a> {
    Card,
    Card4,
    /// The items of a node, or the one of that name.
    Node(&'a str, Option<&'a str>),
}

/// What a payload asks for, where it is about a face.
fn asked(payload: &Element) -> Option<Asked<'_>> {
    if payload.is("vCard", ns::VCARD) {
        return Some(Asked::Card);
    }
    if payload.is("vcard", NS_VCARD4) {
        return Some(Asked::Card4);
    }
    let items = payload.is("pubsub", ns::PUBSUB).then(|| payload.get_child("items", ns::PUBSUB)).flatten()?;
    let node = items.attr("node").filter(|node| [NODE_VCARD4, NODE_METADATA, NODE_DATA, NICK].contains(node))?;
    Some(Asked::Node(node, items.get_child("item", ns::PUBSUB).and_then(|item| item.attr("id"))))
}

/// Whether a request is about a face, and so worth finding out a name for.
#[must_use]
pub fn is_about_a_face(payload: &Element) -> bool {
    asked(payload).is_some()
}

impl Faces {
    /// Answers a `get` about the face of a contact, or with no person of the gateway itself, who are called `name`. `None`
    /// where the request is about something else.
    pub async fn answer(
        &self,
        query: &Stanza,
        us: &OurJid,
        payload: &Element,
        person: Option<&PersonId>,
        name: &str,
    ) -> Option<OutStanza> {
        let asked = asked(payload)?;
        let picture = match (person, &asked) {
            (_, Asked::Node(NICK, _)) => None,
            (None, _) => Some(self.gateway().clone()),
            (Some(person), _) => self.picture(person).await,
        };
        let mut reach = person.map(|person| self.0.parts.adapter.reach(person)).unwrap_or_default();
        if let (Some(person), Some(user)) = (person, query.from.as_ref().and_then(access::user))
            && self.is_user(person, &user).await
        {
            reach.push(Reach::Link(format!("xmpp:{user}")));
        }
        let jid = us.jid().to_bare();
        let person = Person { name, jid: jid.as_str(), reach: &reach, picture: picture.as_ref() };
        match asked {
            Asked::Card => result(query, us, Some(card::temp(&person))),
            Asked::Card4 => result(query, us, Some(card::vcard4(&person))),
            Asked::Node(node, wanted) => {
                let item = item(node, &person, picture.as_ref());
                match (&item, wanted) {
                    // What was asked for by name, such as an older picture, is not there (XEP-0060, section 6.5.9).
                    (None, Some(_)) => return refuse(query, us, Condition::ItemNotFound, ""),
                    (Some((id, _)), Some(wanted)) if id != wanted => {
                        return refuse(query, us, Condition::ItemNotFound, "");
                    }
                    _ => {}
                }
                let item = item.as_ref().map(|(id, payload)| (id.as_str(), payload.clone()));
                result(query, us, Some(card::items(ns::PUBSUB, node, item)))
            }
        }
    }
}

impl Faces {
    /// Whether a person is this user, by a link. Nobody else is told.
    async fn is_user(&self, person: &PersonId, user: &UserId) -> bool {
        let parts = &self.0.parts;
        let link = parts.store.link_of(&parts.network, &parts.adapter.print_person(person)).await;
        link.is_ok_and(|link| link.is_some_and(|link| link.user == user.to_string()))
    }
}

/// The only item of a node, if it has one.
fn item(node: &str, person: &Person<'_>, picture: Option<&AvatarRow>) -> Option<(String, Element)> {
    match node {
        NODE_VCARD4 => Some(("current".to_owned(), card::vcard4(person))),
        NODE_METADATA => picture.map(|picture| (picture.hash.clone(), card::metadata(picture))),
        NODE_DATA => picture.map(|picture| (picture.hash.clone(), card::data(picture))),
        _ => Some(("current".to_owned(), xml::text("nick", NICK, person.name))),
    }
}
