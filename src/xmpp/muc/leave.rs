//! The way out of a room.

use portway_bridges::api::{Chat, Kind, Membership, RoomId, Timestamp, UserId};

use super::build::{self, Change, Seen};
use super::{Effect, MucConfig, State};
use crate::route::item::{Item, Meta, Speaker};
use crate::xmpp::address;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::Stanza;

/// Why a device leaves.
#[derive(Clone, Copy)]
pub enum Leaving<'a> {
    /// It said so, and is told that it is out.
    Asked(&'a Stanza),
    /// It cannot be reached, so there is nobody to tell.
    Unreachable,
    /// The network does not have the user in the room any more: it is told with status 333, so that it joins again and
    /// learns why it cannot.
    Lost,
}

impl State {
    /// A device leaves.
    pub fn leave(
        &mut self,
        config: &MucConfig,
        id: &RoomId,
        jid: &Jid,
        why: Leaving<'_>,
        now: Timestamp,
    ) -> Vec<Effect> {
        let Some(room) = self.rooms.get_mut(id) else { return Vec::new() };
        let Some(session) = room.sessions.remove(jid.as_str()) else { return Vec::new() };
        let occupant = build::occupant_id(config, id, &build::user_key(&session.user));
        let seen = Seen { nick: &session.nick, occupant, level: 0 };
        let mut effects = Vec::new();
        let told = match why {
            Leaving::Asked(stanza) => Some((&[110][..], stanza.id.as_deref())),
            Leaving::Lost => Some((&[110, 333][..], None)),
            Leaving::Unreachable => None,
        };
        if let Some((statuses, id)) = told {
            let change = Change { gone: true, statuses, id, ..Change::default() };
            effects.extend(build::presence(config, &session, &seen, &change).map(Effect::Send));
        }
        if room.nick_of(&session.user).is_none() {
            let change = Change { gone: true, ..Change::default() };
            for other in room.sessions.values() {
                effects.extend(build::presence(config, other, &seen, &change).map(Effect::Send));
            }
            effects.push(out_of_network(id, &session.user, &session.nick, now));
        }
        effects
            .push(Effect::Forget { room: address::of_room(id).unwrap_or_default(), sessions: vec![jid.to_string()] });
        self.drop_if_empty(id);
        effects
    }

    /// A user who was let in by the network and did not come in here: their ghost leaves, unless another device of
    /// theirs is in the room or on its way.
    pub fn not_in_after_all(&self, id: &RoomId, user: &UserId, nick: &str, now: Timestamp) -> Option<Effect> {
        let inside = self.rooms.get(id).is_some_and(|room| room.nick_of(user).is_some());
        let on_the_way = self.pending.values().any(|pending| pending.is_of(user));
        (!inside && !on_the_way).then(|| out_of_network(id, user, nick, now))
    }
}

fn out_of_network(id: &RoomId, user: &UserId, nick: &str, now: Timestamp) -> Effect {
    Effect::Accept(Item {
        chat: Chat::Room(id.clone()),
        speaker: Speaker::User { id: user.clone(), name: Some(nick.to_owned()) },
        at: now,
        kind: Kind::Membership(Membership::Leave { reason: None }),
        meta: Meta::default(),
    })
}
