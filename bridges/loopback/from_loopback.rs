//! Pure: from the wire format to events.

use base64::Engine as _;

use super::wire::Item;
use crate::api::{
    Availability, Chat, Inbound, ItemId, Kind, Membership, PersonId, RoomId, Target, Text, Timestamp, UserId,
    Whereabouts,
};

/// Reads what a peer said at the time `at`.
///
/// # Errors
/// A sentence for the peer that says what is missing.
pub fn event(item: &Item, at: Timestamp) -> Result<Inbound, String> {
    let sender = person(item.person.as_deref().ok_or("person is missing")?)?;
    let chat = match (&item.room, &item.user) {
        (Some(name), _) => Chat::Room(room(name)?),
        (None, Some(user)) => {
            let with = item.with.as_deref().map(person).transpose()?.unwrap_or_else(|| sender.clone());
            Chat::Direct { user: UserId::parse(user).map_err(|error| error.to_string())?, person: with }
        }
        (None, None) => return Err("room or user is missing".to_owned()),
    };
    let body = || item.body.clone().ok_or("body is missing");
    let target = || item.target.as_deref().map(Target::by_id).ok_or("target is missing");
    let kind = match item.kind.as_str() {
        "text" => {
            let quote = item.quote.as_deref().and_then(Target::quote);
            let reply = item.target.as_deref().map(|id| Target { quote, ..Target::by_id(id) });
            let thread = item.thread.as_deref().map(ItemId::new);
            Kind::Text(Text { reply, thread, ..Text::plain(body()?) })
        }
        "edit" => Kind::Edit { target: target()?, new: Text::plain(body()?) },
        "reaction" => Kind::Reaction {
            target: target()?,
            keys: body()?.split(' ').filter(|key| !key.is_empty()).map(str::to_owned).collect(),
        },
        "retract" => Kind::Retract { target: target()? },
        "displayed" => Kind::Displayed { target: target()? },
        "typing" => Kind::Typing { active: item.body.as_deref() == Some("active") },
        "join" => Kind::Membership(Membership::Join { name: item.name.clone() }),
        "leave" => Kind::Membership(Membership::Leave { reason: item.body.clone() }),
        "topic" => Kind::Topic(body()?),
        "invite" => {
            let Chat::Direct { user, .. } = &chat else { return Err("an invitation goes to a user".to_owned()) };
            Kind::Membership(Membership::Invite {
                room: room(&body()?)?,
                user: user.clone(),
                reason: None,
                name: item.name.clone(),
            })
        }
        "gone" => Kind::RoomGone { next: Some(room(&body()?)?), reason: item.name.clone() },
        other => return Err(format!("kind {other} is not known")),
    };
    Ok(Inbound {
        id: (!item.id.is_empty()).then(|| ItemId::new(&item.id)),
        other_ids: Vec::new(),
        chat,
        sender,
        sender_name: item.name.clone(),
        at,
        kind,
    })
}

/// Reads whose picture it is, and the picture, if there is one.
///
/// # Errors
/// A sentence for the peer that says what is wrong.
pub fn face(whose: &str, picture: Option<String>) -> Result<(PersonId, Option<Vec<u8>>), String> {
    let decoded = picture.map(|picture| base64::engine::general_purpose::STANDARD.decode(picture)).transpose();
    Ok((person(whose)?, decoded.map_err(|error| error.to_string())?))
}

/// Reads how somebody is doing: `here`, `away` or `gone` in the body, and a line about it as the name.
///
/// # Errors
/// A sentence for the peer that says what is missing.
pub fn availability(item: &Item) -> Result<(PersonId, Availability), String> {
    let who = person(item.person.as_deref().ok_or("person is missing")?)?;
    let state = match item.body.as_deref() {
        Some("here") => Whereabouts::Here,
        Some("away") => Whereabouts::Away,
        Some("gone") => Whereabouts::Gone,
        _ => return Err("body must be here, away or gone".to_owned()),
    };
    Ok((who, Availability { state, status: item.name.clone(), idle_since: None }))
}

fn room(text: &str) -> Result<RoomId, String> {
    let name = text.strip_prefix('!').ok_or("room must start with !")?;
    RoomId::id(name, None).map_err(|error| error.to_string())
}

fn person(text: &str) -> Result<PersonId, String> {
    let (local, server) = text.split_once('@').ok_or("person must be name@server")?;
    PersonId::new(local, server).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named() {
        for (line, fault) in [
            (r#"{"kind":"text"}"#, "person is missing"),
            (r#"{"kind":"text","person":"a@b"}"#, "room or user is missing"),
            (r#"{"kind":"text","person":"a@b","user":"u@h"}"#, "body is missing"),
            (r#"{"kind":"dance","person":"a@b","user":"u@h"}"#, "kind dance is not known"),
            (r#"{"kind":"text","person":"ab","user":"u@h"}"#, "person must be name@server"),
            (r##"{"kind":"text","person":"a@b","room":"#x"}"##, "room must start with !"),
        ] {
            let item: Item = serde_json::from_str(line).unwrap();
            assert_eq!(event(&item, Timestamp(0)).unwrap_err(), fault);
        }
    }
}
