//! Who is there, as the sessions of a room see it: people come, go, are sent away, change their names and their rights.

use portway_bridges::api::{Membership, PersonId, UserId};

use super::MucConfig;
use super::build::{self, Change, Seen};
use super::room::{Member, Room, Session};
use crate::route::key;
use crate::xmpp::address;
use crate::xmpp::stanza::OutStanza;

impl Room {
    /// Notes somebody who was not there before.
    pub fn add_member_if_new(&mut self, person: &PersonId, name: Option<&str>) {
        if !self.members.contains_key(person) {
            self.add_member(person, name, 0);
            self.member_count += 1;
        }
    }

    fn remove_member(&mut self, person: &PersonId) {
        if self.members.remove(person).is_some() {
            self.member_count = self.member_count.saturating_sub(1);
        }
    }

    /// Whether the sessions may have been shown this member. After a restart we do not know whom they were shown before.
    fn visible(&self, member: &Member) -> bool {
        member.shown || self.restored
    }
}

/// A presence of a person of the network, for every session.
fn tell(config: &MucConfig, room: &Room, person: &PersonId, member: &Member, change: &Change<'_>) -> Vec<OutStanza> {
    let occupant = build::occupant_id(config, &room.id, &key::person(person));
    let seen = Seen { nick: &member.nick, occupant, level: member.level };
    room.sessions.values().filter_map(|session| build::presence(config, session, &seen, change)).collect()
}

/// Shows a person who was not shown before they speak.
pub fn show(config: &MucConfig, room: &mut Room, person: &PersonId) -> Vec<OutStanza> {
    let Some(member) = room.members.get_mut(person).filter(|member| !member.shown) else { return Vec::new() };
    member.shown = true;
    let member = member.clone();
    tell(config, room, person, &member, &Change::default())
}

/// Somebody of the network came, went or was sent away; or somebody of the network sent a user of ours away.
pub fn membership(config: &MucConfig, room: &mut Room, person: &PersonId, change: &Membership) -> Vec<OutStanza> {
    match change {
        Membership::Join { name } => {
            if room.members.contains_key(person) {
                return renamed(config, room, person, name.as_deref());
            }
            room.add_member_if_new(person, name.as_deref());
            let shown = room.members.values().filter(|member| member.shown).count();
            if shown < config.max_presence { show(config, room, person) } else { Vec::new() }
        }
        Membership::Leave { reason } => {
            let change = Change { gone: true, reason: reason.as_deref(), ..Change::default() };
            let out = gone(config, room, person, &change);
            room.remove_member(person);
            out
        }
        Membership::Kick { person: Some(whom), ban, reason, .. } => {
            let actor = room.members.get(person).map(|member| member.nick.clone());
            let statuses: &[u16] = if *ban { &[301] } else { &[307] };
            let (actor, reason) = (actor.as_deref(), reason.as_deref());
            let out = gone(config, room, whom, &Change { gone: true, statuses, actor, reason, ..Change::default() });
            room.remove_member(whom);
            out
        }
        Membership::Kick { user: Some(user), ban, reason, .. } => {
            let actor = room.members.get(person).map(|member| member.nick.clone());
            let code = if *ban { 301 } else { 307 };
            let change = Change { gone: true, actor: actor.as_deref(), reason: reason.as_deref(), ..Change::default() };
            remove_user(config, room, user, code, &change)
        }
        Membership::Kick { .. } | Membership::Invite { .. } => Vec::new(),
    }
}

/// Takes a user of ours out of the room and tells everybody with this code; their own sessions also get 110.
fn remove_user(config: &MucConfig, room: &mut Room, user: &UserId, code: u16, change: &Change<'_>) -> Vec<OutStanza> {
    let Some(nick) = room.nick_of(user).map(str::to_owned) else { return Vec::new() };
    let occupant = build::occupant_id(config, &room.id, &build::user_key(user));
    let seen = Seen { nick: &nick, occupant, level: 0 };
    let tell = |session: &Session| {
        let statuses: &[u16] = if session.user == *user { &[110, code] } else { &[code] };
        build::presence(config, session, &seen, &Change { statuses, ..*change })
    };
    let out = room.sessions.values().filter_map(tell).collect();
    room.sessions.retain(|_, session| session.user != *user);
    out
}

/// A person goes by another name: to clients the same occupant with a new nick (XEP-0045, section 7.6).
fn renamed(config: &MucConfig, room: &mut Room, person: &PersonId, name: Option<&str>) -> Vec<OutStanza> {
    let nick = room.free_nick(person, name);
    let Some(old) = room.members.get(person).cloned() else { return Vec::new() };
    if nick == old.nick {
        return Vec::new();
    }
    let visible = room.visible(&old);
    let new = Member { nick: nick.clone(), shown: visible, ..old.clone() };
    room.members.insert(person.clone(), new.clone());
    if !visible {
        return Vec::new();
    }
    let change = Change { gone: true, statuses: &[303], new_nick: Some(&nick), ..Change::default() };
    let mut out = tell(config, room, person, &old, &change);
    out.extend(tell(config, room, person, &new, &Change::default()));
    out
}

/// A person has other rights now.
pub fn role(config: &MucConfig, room: &mut Room, person: &PersonId, level: i64) -> Vec<OutStanza> {
    let Some(member) = room.members.get_mut(person).filter(|member| member.level != level) else { return Vec::new() };
    member.level = level;
    let member = member.clone();
    if member.shown { tell(config, room, person, &member, &Change::default()) } else { Vec::new() }
}

fn gone(config: &MucConfig, room: &Room, person: &PersonId, change: &Change<'_>) -> Vec<OutStanza> {
    let Some(member) = room.members.get(person).filter(|member| room.visible(member)) else { return Vec::new() };
    tell(config, room, person, member, change)
}

/// The room is no more, or lives on elsewhere: everybody is out.
pub fn destroyed(
    config: &MucConfig,
    room: &mut Room,
    next: Option<&portway_bridges::api::RoomId>,
    reason: Option<&str>,
) -> Vec<OutStanza> {
    let next = next.and_then(|next| address::of_room(next).ok());
    let next = next.and_then(|next| config.domain.address(Some(&next), None));
    let next = next.as_ref().map(|next| next.jid().as_str());
    let tell = |session: &Session| {
        let occupant = build::occupant_id(config, &room.id, &build::user_key(&session.user));
        let seen = Seen { nick: &session.nick, occupant, level: 0 };
        let change = Change { gone: true, statuses: &[110], destroyed: Some(next), reason, ..Change::default() };
        build::presence(config, session, &seen, &change)
    };
    let out = room.sessions.values().filter_map(tell).collect();
    room.sessions.clear();
    out
}
