//! Rooms that live on elsewhere: whoever is in one is told (XEP-0045, section 10.9), and whoever comes to it later too
//! (RFC 6120, section 8.3.3.5).

use std::collections::BTreeSet;

use minidom::Element;
use portway_bridges::api::{RoomId, Sentence, UserId};

use super::{Effect, Muc, MucConfig, State, ns, people};
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{OutStanza, Stanza, StanzaKind};
use crate::xmpp::{address, error, xml};

impl State {
    /// A room is no more. What its sessions are told, and what is to be done then.
    pub fn moved(
        &mut self,
        config: &MucConfig,
        id: &RoomId,
        next: Option<&RoomId>,
        reason: Option<&str>,
    ) -> (Vec<OutStanza>, Vec<Effect>) {
        let Some(room) = self.rooms.get_mut(id) else { return Default::default() };
        let sessions: Vec<String> = room.sessions.keys().cloned().collect();
        let users: BTreeSet<UserId> = room.sessions.values().map(|session| session.user.clone()).collect();
        let out = people::destroyed(config, room, next, reason);
        self.drop_if_empty(id);
        let old = address::of_room(id).unwrap_or_default();
        let mut behind = Vec::new();
        if !sessions.is_empty() {
            behind.push(Effect::Forget { room: old.clone(), sessions });
        }
        if let (Some(next), false) = (next, users.is_empty()) {
            behind.push(Effect::Moved { users: users.into_iter().collect(), old, next: next.clone() });
        }
        (out, behind)
    }
}

impl Muc {
    /// The answer to somebody who wants into a room that is no more, and what is to be done then.
    pub(super) fn elsewhere(&self, stanza: &Stanza, user: UserId, next: RoomId) -> Vec<Effect> {
        let to = stanza.to.as_ref();
        let (Some(from), Some(us), Some(old)) =
            (&stanza.from, to.and_then(|to| self.config.domain.own(to)), to.and_then(Jid::node))
        else {
            return Vec::new();
        };
        let place = address::of_room(&next).ok().and_then(|node| self.config.domain.address(Some(&node), None));
        let Some(place) = place else { return Vec::new() };
        let link = xml::link(place.jid().as_str(), "join");
        let lang = stanza.lang.as_deref();
        let sentence = Sentence::new("core.room-moved").with("link", link.clone());
        let words = self.config.texts.text(&sentence, lang);
        let said_in = self.config.texts.language(&sentence, lang);
        let answer = OutStanza::new(StanzaKind::Presence, &us, from, Some("error"), stanza.id.as_deref())
            .with(Element::bare("x", ns::MUC))
            .with(error::moved(&link, &words, Some(said_in)));
        vec![Effect::Send(answer), Effect::Moved { users: vec![user], old: old.to_owned(), next }]
    }
}
