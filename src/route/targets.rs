//! From the id that one side wrote to the id that the other side knows.

use portway_bridges::api::{Chat, ItemId, Kind, Target, UserId};

use super::item::{Item, Speaker};
use super::{event, key};
use crate::store::{Direction, Message, Store, StoreError};
use crate::xmpp::file::CAPTION;

/// How many edits of edits are followed to the message that was said first.
const STEPS: usize = 64;

/// A chat of a network, and its store.
struct Place<'a> {
    store: &'a Store,
    network: &'a str,
    chat: String,
}

impl Place<'_> {
    async fn find(&self, id: &ItemId) -> Result<Option<Message>, StoreError> {
        self.store.find_message(self.network, &self.chat, id.as_str()).await
    }

    /// The message that was said first, where an event was found that only speaks of it: an edit has ids of its own, and
    /// clients name either.
    async fn root(&self, found: Message) -> Result<Message, StoreError> {
        let mut found = found;
        for _ in 0..STEPS {
            let Some(about) = &found.about else { break };
            let Some(earlier) = self.find(&ItemId::new(about)).await?.filter(|earlier| earlier.id < found.id) else {
                break;
            };
            found = earlier;
        }
        Ok(found)
    }

    /// What the network calls the further events that one stanza with several files has become.
    async fn further(&self, first: &Message) -> Result<Vec<String>, StoreError> {
        let mut ids = Vec::new();
        let Some(own) = first.source_ids.first() else { return Ok(ids) };
        for part in 1.. {
            let Some(found) = self.find(&ItemId::new(&event::part_id(own, part))).await? else { break };
            ids.extend(found.remote_ids);
        }
        Ok(ids)
    }
}

/// The targets that an event speaks of.
pub fn of(kind: &mut Kind) -> Vec<&mut Target> {
    match kind {
        Kind::Text(text) => text.reply.iter_mut().collect(),
        Kind::File(file) => file.reply.iter_mut().collect(),
        Kind::Edit { target, new } => std::iter::once(target).chain(new.reply.iter_mut()).collect(),
        Kind::Reaction { target, .. }
        | Kind::Retract { target }
        | Kind::Moderate { target, .. }
        | Kind::Displayed { target } => vec![target],
        _ => Vec::new(),
    }
}

/// Whether an event speaks of another one.
#[must_use]
pub fn has(kind: &Kind) -> bool {
    match kind {
        Kind::Text(text) => text.reply.is_some(),
        Kind::File(file) => file.reply.is_some(),
        Kind::Edit { .. }
        | Kind::Reaction { .. }
        | Kind::Retract { .. }
        | Kind::Moderate { .. }
        | Kind::Displayed { .. } => true,
        _ => false,
    }
}

/// Rewrites the targets of an event that goes to the network: from the ids of stanzas to the network's own.
///
/// Nobody edits what another has said: then the target loses its id, and the edit is said anew.
///
/// # Errors
/// [`StoreError`] where the store cannot be read.
pub async fn for_network(store: &Store, network: &str, item: &Item, kind: &mut Kind) -> Result<(), StoreError> {
    let place = Place { store, network, chat: key::chat(&item.chat) };
    let (edit, read) = (matches!(kind, Kind::Edit { .. }), matches!(kind, Kind::Displayed { .. }));
    // In a room each file has become a message of its own.
    let whole = matches!((&*kind, &item.chat), (Kind::Retract { .. }, Chat::Direct { .. }));
    for (n, target) in of(kind).into_iter().enumerate() {
        let Some(id) = target.id.take() else { continue };
        let Some(found) = place.find(&id).await? else { continue };
        // What was read is the edit itself.
        let found = if read { found } else { place.root(found).await? };
        target.event = Some(found.id);
        target.by = by(&found);
        if edit && n == 0 && !is_own(item, target) {
            continue;
        }
        let ids = match found.direction {
            Direction::ToNetwork if whole => {
                let further = place.further(&found).await?;
                found.remote_ids.into_iter().chain(further).collect()
            }
            Direction::ToNetwork => found.remote_ids,
            Direction::ToXmpp => found.source_ids.into_iter().take(1).collect(),
        };
        let mut ids = ids.iter().map(|id| ItemId::new(id));
        target.id = ids.next();
        target.parts = ids.collect();
    }
    Ok(())
}

/// Whether an item speaks of what its own speaker has said. What is not known is nobody's.
#[must_use]
pub fn is_own(item: &Item, target: &Target) -> bool {
    match (&item.speaker, &target.by) {
        (Speaker::User { id, .. }, Some(Err(user))) => id == user,
        (Speaker::Person { id, .. }, Some(Ok(person))) => id == person,
        // The account of a user on the network speaks for them in their chats of two.
        (Speaker::User { .. }, Some(Ok(who))) => match &item.chat {
            Chat::Direct { person, .. } => who != person,
            Chat::Room(_) => false,
        },
        _ => false,
    }
}

/// Rewrites the targets of an event that goes to XMPP: from the network's ids to those of stanzas.
///
/// In a room they are the same, because the network's id is the stable stanza-id; only an edit names the id that the
/// message's own client gave to it (XEP-0308). In a chat of two, a message of the user's own is known by the id that its
/// client gave: answers and reactions name its origin-id where it had one (XEP-0444, XEP-0461), everything else its `id`.
///
/// What a chat of two has not seen has no id there.
///
/// Who takes back what another has said moderates the room (XEP-0425); in a chat of two there is no such thing, and the
/// target loses its id, as does that of an edit by somebody else.
///
/// # Errors
/// [`StoreError`] where the store cannot be read.
pub async fn for_xmpp(store: &Store, network: &str, item: &mut Item) -> Result<(), StoreError> {
    let place = Place { store, network, chat: key::chat(&item.chat) };
    let direct = matches!(item.chat, Chat::Direct { .. });
    let mut kind = item.kind.clone();
    if let Kind::Displayed { target } = &mut kind {
        if direct {
            displayed(&place, item, target).await?;
        }
        item.kind = kind;
        return Ok(());
    }
    let (edit, retraction) = (matches!(kind, Kind::Edit { .. }), matches!(kind, Kind::Retract { .. }));
    let stable = matches!(kind, Kind::Text(_) | Kind::File(_) | Kind::Reaction { .. });
    for (n, target) in of(&mut kind).into_iter().enumerate() {
        let Some(id) = target.id.clone() else { continue };
        let Some(found) = place.find(&id).await? else {
            if direct {
                // The user has never seen it, and a client drops without a word what it cannot place. (The history that a
                // room's newcomers are shown may be the network's own, by the same ids.)
                target.id = None;
            }
            continue;
        };
        if retraction && direct && found.about.is_some() && found.direction == Direction::ToXmpp {
            // An edit alone is taken back, and what was there before is not known any more.
            target.id = None;
            continue;
        }
        let found = place.root(found).await?;
        target.event = Some(found.id);
        target.by = by(&found);
        let own = is_own(item, target);
        if edit && n == 0 && !own || retraction && direct && !own {
            target.id = None;
            continue;
        }
        let id = match (found.direction, direct) {
            (Direction::ToXmpp, _) => {
                target.parts = found.remote_ids.iter().map(|id| ItemId::new(id)).collect();
                found.source_ids.first()
            }
            (Direction::ToNetwork, true) if stable || n > 0 => found.source_ids.last(),
            (Direction::ToNetwork, true) => found.source_ids.first(),
            (Direction::ToNetwork, false) if edit && n == 0 => found.source_ids.first(),
            (Direction::ToNetwork, false) => found.remote_ids.first(),
        };
        target.id = id.map(|id| ItemId::new(id)).or_else(|| target.id.take());
        if retraction && let Some(id) = target.id.clone().filter(|_| found.direction == Direction::ToNetwork) {
            // In a room the caption of a user's file is a message of its own, too.
            let caption = ItemId::new(&format!("{id}{CAPTION}"));
            target.parts = place.find(&caption).await?.map(|_| caption).into_iter().collect();
        }
    }
    if let Kind::Retract { target } = &kind
        && !direct
        && target.by.is_some()
        && !is_own(item, target)
    {
        kind = Kind::Moderate { target: target.clone(), reason: None };
    }
    item.kind = kind;
    Ok(())
}

/// The last message of the other one up to the event that was read: clients know no marks on anything else.
async fn displayed(place: &Place<'_>, item: &Item, target: &mut Target) -> Result<(), StoreError> {
    let Some(id) = target.id.take() else { return Ok(()) };
    let Some(up_to) = place.find(&id).await? else { return Ok(()) };
    let read = match item.speaker {
        Speaker::User { .. } => Direction::ToXmpp,
        Speaker::Person { .. } | Speaker::Gateway => Direction::ToNetwork,
    };
    let last = place.store.last_said(place.network, &place.chat, read, up_to.id).await?;
    target.event = last.as_ref().map(|last| last.id);
    target.id = last.and_then(|last| last.source_ids.first().map(|id| ItemId::new(id)));
    Ok(())
}

/// Who said a message.
fn by(message: &Message) -> Option<Result<portway_bridges::api::PersonId, UserId>> {
    match message.direction {
        Direction::ToNetwork => UserId::parse(&message.sender).ok().map(Err),
        Direction::ToXmpp => key::read_person(&message.sender).map(Ok),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portway_bridges::api::{EventId, File, PersonId, RoomId, Text, Timestamp};

    use super::*;
    use crate::clock::Clock;
    use crate::route::item::Meta;
    use crate::store::{NewBatch, NewEvent, Settle};

    async fn store() -> Store {
        Store::open("sqlite::memory:", std::path::Path::new("."), Clock::system()).await.unwrap()
    }

    fn item(chat: Chat, part: u32, kind: Kind) -> Item {
        Item {
            chat,
            speaker: Speaker::User { id: UserId::parse("juliet@capulet.lit").unwrap(), name: None },
            at: Timestamp(0),
            kind,
            meta: Meta { id: Some("m1".into()), part, ..Meta::default() },
        }
    }

    fn file(name: &str) -> Kind {
        let file = File { name: name.into(), caption: Some(Text::plain("look")), ..File::default() };
        Kind::File(Box::new(file))
    }

    async fn commit(store: &Store, row: NewEvent) -> EventId {
        store.commit(NewBatch { events: vec![row], ..NewBatch::default() }).await.unwrap().events[0].id
    }

    fn ids(target: &Target) -> Vec<&str> {
        target.id.iter().chain(&target.parts).map(ItemId::as_str).collect()
    }

    #[tokio::test]
    async fn f5_who_takes_a_message_back_takes_back_all_its_files() {
        let (store, network): (_, Arc<str>) = (store().await, "net".into());
        let person = PersonId::new("alice", "hs").unwrap();
        let chat = Chat::Direct { user: UserId::parse("juliet@capulet.lit").unwrap(), person };
        for (part, remote) in [(0, "$e1"), (1, "$e2"), (2, "$e3")] {
            let id = commit(&store, event::to_network(&network, &item(chat.clone(), part, file(remote)))).await;
            let outcome = Settle::Done { id, ids: vec![remote.to_owned()] };
            store.settle(vec![outcome], Vec::new()).await.unwrap();
        }
        for (named, expected) in [("m1", vec!["$e1", "$e2", "$e3"]), ("m1/file-2", vec!["$e2"])] {
            let mut kind = Kind::Retract { target: Target::by_id(named) };
            let back = item(chat.clone(), 0, kind.clone());
            for_network(&store, &network, &back, &mut kind).await.unwrap();
            let Kind::Retract { target } = &kind else { panic!("{kind:?}") };
            assert_eq!(ids(target), expected);
        }
    }

    #[tokio::test]
    async fn f4_in_a_room_the_caption_of_a_user_s_file_goes_with_it() {
        let (store, network): (_, Arc<str>) = (store().await, "net".into());
        let chat = Chat::Room(RoomId::id("r", None).unwrap());
        let said = item(chat.clone(), 0, file("a.png"));
        let id = commit(&store, event::to_network(&network, &said)).await;
        let reflection = event::accepted(&network, &said, Some("$e1")).pop().unwrap();
        let outcome = Settle::Done { id, ids: vec!["$e1".to_owned()] };
        store.settle(vec![outcome], vec![reflection]).await.unwrap();
        for named in ["m1", "$e1", "$e1-caption"] {
            let mut back = item(chat.clone(), 0, Kind::Retract { target: Target::by_id(named) });
            for_xmpp(&store, &network, &mut back).await.unwrap();
            let Kind::Retract { target } = &back.kind else { panic!("{back:?}") };
            assert_eq!(ids(target), ["$e1", "$e1-caption"], "{named}");
        }
    }
}
