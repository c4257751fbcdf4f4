//! From the id that one side wrote to the id that the other side knows.

use portway_bridges::api::{Chat, ItemId, Kind, Target};

use super::key;
use crate::store::{Direction, Store, StoreError};

/// The targets that an event speaks of.
fn targets(kind: &mut Kind) -> Vec<&mut Target> {
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
/// # Errors
/// [`StoreError`] where the store cannot be read.
pub async fn for_network(store: &Store, network: &str, chat: &Chat, kind: &mut Kind) -> Result<(), StoreError> {
    let chat = key::chat(chat);
    for target in targets(kind) {
        let Some(id) = target.id.take() else { continue };
        let Some(found) = store.find_message(network, &chat, id.as_str()).await? else { continue };
        target.event = Some(found.id);
        let ids = match found.direction {
            Direction::ToNetwork => found.remote_ids,
            Direction::ToXmpp => found.source_ids,
        };
        target.id = ids.first().map(|id| ItemId::new(id));
    }
    Ok(())
}

/// Rewrites the targets of an event that goes to XMPP: from the network's ids to those of stanzas.
///
/// In a room they are the same, because the network's id is the stable stanza-id. In a chat of two, a message of the
/// user's own is known by the id that its client gave: its origin-id where it had one (XEP-0444, XEP-0461).
///
/// # Errors
/// [`StoreError`] where the store cannot be read.
pub async fn for_xmpp(store: &Store, network: &str, chat: &Chat, kind: &mut Kind) -> Result<(), StoreError> {
    if matches!(chat, Chat::Room(_)) {
        return Ok(());
    }
    let chat = key::chat(chat);
    for target in targets(kind) {
        let Some(id) = &target.id else { continue };
        let Some(found) = store.find_message(network, &chat, id.as_str()).await? else { continue };
        target.event = Some(found.id);
        if found.direction == Direction::ToNetwork {
            target.id = found.source_ids.last().map(|id| ItemId::new(id));
        }
    }
    Ok(())
}
