//! From an item to the row that is committed.

use std::sync::Arc;

use portway_bridges::api::{Chat, Condition, EventId, Failed, Inbound, Kind, PersonId, Sentence, Target, Timestamp};

use super::item::{Item, Meta, Speaker};
use super::{key, stored};
use crate::store::{Consent, Direction, NewEvent};

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
    let mut ids: Vec<String> = meta.id.iter().cloned().collect();
    ids.extend(meta.origin_id.iter().filter(|origin| Some(*origin) != meta.id.as_ref()).cloned());
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
        ) => followups
            .push(Item { meta: Meta { remote_id: remote_id.map(str::to_owned), ..item.meta.clone() }, ..item.clone() }),
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
        ids: Vec::new(),
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

/// Whether the item belongs to what a room's newcomers are shown.
fn in_history(item: &Item) -> bool {
    matches!(item.chat, Chat::Room(_)) && matches!(item.kind, Kind::Text(_) | Kind::File(_) | Kind::Location { .. })
}
