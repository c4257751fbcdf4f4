//! Pure: from events to the wire format.

use base64::Engine as _;

use super::wire::{self, Item, ToPeer};
use crate::api::{Chat, Kind, Membership, Outbound, PersonId, Picture, Signal, SignalKind, Target, UserId};

/// An event that is delivered under this id.
pub fn item(id: &str, out: &Outbound) -> ToPeer {
    let mut item = place(&out.chat, &out.user);
    id.clone_into(&mut item.id);
    item.name.clone_from(&out.name);
    let (kind, body, target) = match &out.kind {
        Kind::Text(text) => ("text", Some(text.body.clone()), text.reply.as_ref()),
        Kind::Edit { target, new } => ("edit", Some(new.body.clone()), Some(target)),
        Kind::Reaction { target, keys } => ("reaction", Some(keys.join(" ")), Some(target)),
        Kind::Retract { target } => ("retract", None, Some(target)),
        Kind::Displayed { target } => ("displayed", None, Some(target)),
        Kind::Membership(Membership::Leave { .. }) => ("leave", None, None),
        Kind::Failed(failed) => ("failed", Some(failed.condition.name().to_owned()), None),
        Kind::Topic(topic) => ("topic", Some(topic.clone()), None),
        other => ("other", Some(format!("{other:?}")), None),
    };
    kind.clone_into(&mut item.kind);
    item.body = body;
    if let Kind::Text(text) = &out.kind {
        item.thread = text.thread.as_ref().map(ToString::to_string);
    }
    item.target = target.and_then(|Target { id, .. }| id.as_ref()).map(ToString::to_string);
    ToPeer::Out(item)
}

/// Something that is not stored.
pub fn signal(signal: &Signal) -> ToPeer {
    let SignalKind::Typing(active) = signal.kind;
    let body = if active { "active" } else { "inactive" };
    ToPeer::Out(Item { kind: "typing".to_owned(), body: Some(body.to_owned()), ..place(&signal.chat, &signal.user) })
}

/// What a user is called and looks like, in base64; an empty picture takes the earlier one away.
pub fn dress(user: &UserId, name: Option<&str>, picture: Option<&Picture>) -> ToPeer {
    let body = picture.map(|picture| base64::engine::general_purpose::STANDARD.encode(&picture.bytes));
    ToPeer::Out(Item {
        kind: "dress".to_owned(),
        user: Some(user.to_string()),
        name: name.map(str::to_owned),
        body,
        ..Item::default()
    })
}

/// Who a user is on this network, as `name@server`, one behind the other.
pub fn point(user: &UserId, persons: &[PersonId]) -> ToPeer {
    let body = persons.iter().map(wire::print_person).collect::<Vec<_>>().join(" ");
    let (kind, user) = ("points".to_owned(), Some(user.to_string()));
    ToPeer::Out(Item { kind, user, body: Some(body), ..Item::default() })
}

fn place(chat: &Chat, user: &UserId) -> Item {
    let mut item = Item { user: Some(user.to_string()), ..Item::default() };
    match chat {
        Chat::Direct { person, .. } => item.person = Some(wire::print_person(person)),
        Chat::Room(room) => item.room = Some(wire::print_room(room)),
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{EventId, Text, Timestamp};

    #[test]
    fn a_reply_names_what_it_answers() {
        let out = Outbound {
            id: EventId(7),
            chat: Chat::Direct {
                user: UserId::parse("juliet@capulet.lit").unwrap(),
                person: PersonId::new("bob", "loopback").unwrap(),
            },
            user: UserId::parse("juliet@capulet.lit").unwrap(),
            name: Some("Juliet".into()),
            at: Timestamp(0),
            kind: Kind::Text(Text { reply: Some(Target::by_id("x1")), ..Text::plain("yes") }),
            attempt: 0,
        };
        let line = serde_json::to_string(&item("lo-7", &out)).unwrap();
        assert_eq!(
            line,
            r#"{"out":{"id":"lo-7","user":"juliet@capulet.lit","person":"bob@loopback","name":"Juliet","kind":"text","body":"yes","target":"x1"}}"#
        );
    }
}
