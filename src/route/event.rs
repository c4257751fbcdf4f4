//! From an item to the row that is committed.

use std::sync::Arc;

use portway_bridges::api::{Chat, Condition, EventId, Failed, Inbound, Kind, PersonId, Sentence, Target, Timestamp};

use super::item::{Item, Meta, Speaker};
use super::{key, stored};
use crate::store::{Consent, Direction, NewEvent};
use crate::xmpp::file::CAPTION;

/// The row of an item that goes to the network.
#[must_use]
pub fn to_network(network: &Arc<str>, item: &Item) -> NewEvent {
    let sender = match &item.speaker {
        Speaker::User { id, .. } => id.to_string(),
        Speaker::Person { id, .. } => key::person(id),
        Speaker::Gateway => String::new(),
    };
    let meta = &item.meta;
    let resent = meta.id.as_deref().map(|id| key::resent(id, format!("{:?}", item.kind).as_bytes()));
    let (dedupe, dedupe_for) = resent.map_or((None, None), |(key, until)| (Some(key), until));
    let mut ids: Vec<String> = own_id(meta).into_iter().collect();
    if meta.part == 0 {
        ids.extend(meta.origin_id.iter().filter(|origin| Some(*origin) != meta.id.as_ref()).cloned());
    }
    NewEvent {
        network: network.to_string(),
        direction: Direction::ToNetwork,
        chat: key::chat(&item.chat),
        sender,
        dedupe,
        dedupe_for,
        ids,
        about: about(&item.kind),
        reply_to: meta.from.clone(),
        body: stored::write(item),
        archive: false,
        at: item.at,
        original: None,
        consent: if speaks(item) { Consent::Given } else { Consent::Free },
    }
}

/// The id by which an event is spoken of. Only the first one of a stanza is meant by the stanza's own.
#[must_use]
pub fn own_id(meta: &Meta) -> Option<String> {
    Some(part_id(meta.id.as_ref()?, meta.part))
}

/// The id of a part of what came under an id. No client makes up such a one for another message.
pub fn part_id(id: &str, part: u32) -> String {
    if part == 0 { id.to_owned() } else { format!("{id}/file-{}", part + 1) }
}

/// Whether a user says something to somebody, and so wants to hear of them. What a client sends by itself does not count.
fn speaks(item: &Item) -> bool {
    let by_itself = matches!(item.kind, Kind::Failed(_) | Kind::Delivered { .. } | Kind::Displayed { .. });
    matches!((&item.chat, &item.speaker), (Chat::Direct { .. }, Speaker::User { .. })) && !by_itself
}

/// The item of an event that came from the network.
#[must_use]
pub fn from_inbound(inbound: &Inbound) -> Item {
    Item {
        chat: inbound.chat.clone(),
        speaker: Speaker::Person { id: inbound.sender.clone(), name: inbound.sender_name.clone() },
        at: inbound.at,
        kind: inbound.kind.clone(),
        meta: Meta { remote_id: inbound.id.as_ref().map(ToString::to_string), ..Meta::default() },
    }
}

/// The row of an event that came from the network.
#[must_use]
pub fn to_xmpp(
    network: &Arc<str>,
    inbound: &Inbound,
    item: &Item,
    original: Option<Vec<u8>>,
    consent: Consent,
) -> NewEvent {
    let id = inbound.id.as_ref().map(ToString::to_string);
    let mut ids: Vec<String> = id.iter().cloned().collect();
    ids.extend(inbound.other_ids.iter().map(ToString::to_string).filter(|other| Some(other) != id.as_ref()));
    // Whoever answers to the caption of a file answers to the file.
    ids.extend(id.iter().filter(|_| captioned(&inbound.kind)).map(|id| format!("{id}{CAPTION}")));
    NewEvent {
        network: network.to_string(),
        direction: Direction::ToXmpp,
        chat: key::chat(&inbound.chat),
        sender: key::person(&inbound.sender),
        dedupe: id,
        dedupe_for: None,
        ids,
        about: about(&inbound.kind),
        reply_to: None,
        body: stored::write(item),
        archive: in_history(item),
        at: inbound.at,
        original,
        consent,
    }
}

/// What follows when the network has accepted an item: in a room its reflection to all occupants, otherwise a receipt
/// (XEP-0184) if the sender asked for one, and one for each correction that was worked into it.
#[must_use]
pub fn accepted(network: &Arc<str>, item: &Item, remote_id: Option<&str>) -> Vec<NewEvent> {
    let receipt = |person: &PersonId, id: &str, to: &Option<String>| Item {
        chat: item.chat.clone(),
        speaker: Speaker::Person { id: person.clone(), name: None },
        at: item.at,
        kind: Kind::Delivered { target: Target::by_id(id) },
        meta: Meta { id: Some(id.to_owned()), to: to.clone(), face: item.meta.face.clone(), ..Meta::default() },
    };
    let mut followups = Vec::new();
    match (&item.chat, &item.kind) {
        (
            Chat::Room(_),
            Kind::Text(_)
            | Kind::Edit { .. }
            | Kind::Reaction { .. }
            | Kind::Retract { .. }
            | Kind::Moderate { .. }
            | Kind::Displayed { .. }
            | Kind::File(_)
            | Kind::Location { .. },
        ) => {
            let origin_id = item.meta.origin_id.clone().filter(|_| item.meta.part == 0);
            let remote_id = remote_id.map(str::to_owned);
            // A client that got its own id back twice would drop the second.
            let meta = Meta { id: own_id(&item.meta), part: 0, origin_id, remote_id, ..item.meta.clone() };
            followups.push(Item { meta, ..item.clone() });
        }
        (Chat::Direct { person, .. }, _) => {
            if let Some(id) = item.meta.id.as_deref().filter(|_| item.meta.receipt) {
                followups.push(receipt(person, id, &item.meta.from));
            }
            let corrections = item.meta.corrections.iter().filter(|one| one.receipt);
            followups.extend(corrections.map(|one| receipt(person, &one.id, &one.from)));
        }
        _ => {}
    }
    followups.iter().map(|followup| own(network, followup)).collect()
}

/// The failure that the sender of an item hears of.
#[must_use]
pub fn failed(
    network: &Arc<str>,
    event: EventId,
    item: &Item,
    condition: Condition,
    sentence: Sentence,
    still_trying: bool,
) -> NewEvent {
    let meta = Meta {
        id: item.meta.id.clone(),
        to: item.meta.from.clone(),
        face: item.meta.face.clone(),
        lang: item.meta.lang.clone(),
        ..Meta::default()
    };
    let kind = Kind::Failed(Failed { event, condition, sentence, still_trying });
    own(network, &Item { chat: item.chat.clone(), speaker: Speaker::Gateway, at: item.at, kind, meta })
}

/// The same for the sender of the last correction that was worked into an item: clients know the message by that id then.
#[must_use]
pub fn failed_correction(
    network: &Arc<str>,
    event: EventId,
    item: &Item,
    condition: Condition,
    sentence: Sentence,
    now: Timestamp,
) -> Option<NewEvent> {
    let last = item.meta.corrections.last()?;
    let meta = Meta { id: Some(last.id.clone()), from: last.from.clone(), ..item.meta.clone() };
    Some(failed(network, event, &Item { meta, at: now, ..item.clone() }, condition, sentence, false))
}

/// A failure in words beside the error: about something whose error clients do not show.
#[must_use]
pub fn failed_in_words(
    network: &Arc<str>,
    event: EventId,
    item: &Item,
    condition: Condition,
    why: Sentence,
) -> NewEvent {
    let meta = Meta { id: None, ..item.meta.clone() };
    failed(network, event, &Item { meta, ..item.clone() }, condition, why, true)
}

/// The row of an item of our own making that goes to XMPP.
fn own(network: &Arc<str>, item: &Item) -> NewEvent {
    // Whoever answers to the caption of a file answers to the file.
    let captions = item.meta.remote_id.iter().filter(|_| in_history(item) && captioned(&item.kind));
    let captions = captions.map(|id| format!("{id}{CAPTION}")).collect();
    NewEvent {
        network: network.to_string(),
        direction: Direction::ToXmpp,
        chat: key::chat(&item.chat),
        sender: match &item.speaker {
            Speaker::User { id, .. } => id.to_string(),
            _ => String::new(),
        },
        dedupe: None,
        dedupe_for: None,
        ids: captions,
        // The reflection of a message stands for the message, whose ids lead to what came from the user.
        about: item.meta.remote_id.clone().or_else(|| about(&item.kind)),
        reply_to: None,
        body: stored::write(item),
        archive: in_history(item),
        at: item.at,
        original: None,
        consent: Consent::Free,
    }
}

/// The id of what an item speaks of, if it is no message of its own.
fn about(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Edit { target, .. }
        | Kind::Reaction { target, .. }
        | Kind::Retract { target }
        | Kind::Moderate { target, .. }
        | Kind::Delivered { target }
        | Kind::Displayed { target } => target.id.as_ref().map(ToString::to_string),
        _ => None,
    }
}

/// Whether XMPP has a further message for what is said beside a file or a place.
fn captioned(kind: &Kind) -> bool {
    match kind {
        Kind::File(file) => file.caption.is_some(),
        Kind::Location { text, .. } => text.is_some(),
        _ => false,
    }
}

/// Whether the item belongs to what a room's newcomers are shown.
fn in_history(item: &Item) -> bool {
    matches!(item.chat, Chat::Room(_)) && matches!(item.kind, Kind::Text(_) | Kind::File(_) | Kind::Location { .. })
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::{File, RoomId, Text, Timestamp, UserId};

    use super::*;

    /// Two files of one stanza: spoken of apart, told of as one.
    #[test]
    fn f5_the_parts_of_a_stanza_have_ids_of_their_own() {
        let network: Arc<str> = "net".into();
        let part = |part| Item {
            chat: Chat::Room(RoomId::id("r", None).unwrap()),
            speaker: Speaker::User { id: UserId::parse("juliet@capulet.lit").unwrap(), name: None },
            at: Timestamp(0),
            kind: Kind::File(Box::new(File { url: Some(format!("https://x/{part}")), ..File::default() })),
            meta: Meta { id: Some("m1".into()), origin_id: Some("o1".into()), part, ..Meta::default() },
        };
        let rows = [to_network(&network, &part(0)), to_network(&network, &part(1))];
        assert_eq!(
            (&*rows[0].ids, &*rows[1].ids),
            (&["m1".to_owned(), "o1".into()][..], &["m1/file-2".to_owned()][..])
        );
        assert_ne!(rows[0].dedupe, rows[1].dedupe, "neither is a repetition of the other");
        for (n, own, origin) in [(0, "m1", Some("o1")), (1, "m1/file-2", None)] {
            let shown = accepted(&network, &part(n), Some("$e")).pop().unwrap();
            let meta = stored::read(&shown.body).unwrap().meta;
            assert_eq!((meta.id.as_deref(), meta.origin_id.as_deref()), (Some(own), origin));
            // The error is on the stanza that its sender knows.
            let told = failed(&network, EventId(1), &part(n), Condition::Gone, Sentence::new("core.no-file"), false);
            assert_eq!(stored::read(&told.body).unwrap().meta.id.as_deref(), Some("m1"));
        }
    }

    #[test]
    fn f4_whoever_answers_to_a_caption_answers_to_its_file() {
        let file = File { caption: Some(Text::plain("look")), ..File::default() };
        let inbound = |kind| Inbound {
            id: Some(portway_bridges::api::ItemId::new("$e")),
            other_ids: Vec::new(),
            chat: Chat::Room(RoomId::id("r", None).unwrap()),
            sender: PersonId::new("alice", "hs").unwrap(),
            sender_name: None,
            at: Timestamp(0),
            kind,
        };
        let ids = |kind| {
            let inbound = inbound(kind);
            to_xmpp(&"net".into(), &inbound, &from_inbound(&inbound), None, Consent::Free).ids
        };
        assert_eq!(ids(Kind::File(Box::new(file))), ["$e", "$e-caption"]);
        assert_eq!(ids(Kind::File(Box::default())), ["$e"]);
        assert_eq!(ids(Kind::Text(Text::plain("x"))), ["$e"]);
    }
}
