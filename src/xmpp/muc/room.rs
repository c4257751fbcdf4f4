//! The state of one room.

use std::collections::{HashMap, VecDeque};

use portway_bridges::api::{EventId, PersonId, RoomId, Timestamp, UserId};

use crate::route::item::Item;
use crate::xmpp::jid::{Jid, MAX_PART};

/// One room, for all its XMPP occupants.
pub struct Room {
    /// The id that never changes.
    pub id: RoomId,
    /// What it is called.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Its XMPP occupants' devices, by full JID.
    pub sessions: HashMap<String, Session>,
    /// The people of the network who are in it.
    pub members: HashMap<PersonId, Member>,
    /// How many people of the network there are in truth.
    pub member_count: usize,
    /// The latest messages, oldest first.
    pub history: VecDeque<(EventId, Item)>,
    /// Whether what was said before we came is in `history`.
    pub history_known: bool,
    /// When the topic was set, where we saw it.
    pub topic_at: Option<Timestamp>,
    /// Whether sessions came from before a restart: what they were shown then is not known.
    pub restored: bool,
}

/// One device of an XMPP occupant.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its full JID.
    pub jid: Jid,
    /// Whose it is.
    pub user: UserId,
    /// Under which nick they are here.
    pub nick: String,
    /// By which localpart this device knows the room.
    pub face: String,
}

/// A person of the network.
#[derive(Debug, Clone)]
pub struct Member {
    /// Their nick, unique in the room.
    pub nick: String,
    /// Their rights from 0 to 100.
    pub level: i64,
    /// Whether the sessions have been shown their presence.
    pub shown: bool,
}

/// Who has a nick.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner {
    /// A user of ours.
    User(UserId),
    /// A person of the network.
    Person(PersonId),
}

impl Room {
    /// An empty room.
    pub fn new(id: RoomId) -> Self {
        Self {
            id,
            name: None,
            topic: None,
            sessions: HashMap::new(),
            members: HashMap::new(),
            member_count: 0,
            history: VecDeque::new(),
            history_known: false,
            topic_at: None,
            restored: false,
        }
    }

    /// Adds or replaces a device.
    pub fn add_session(&mut self, jid: &Jid, user: UserId, nick: String, face: String) {
        self.sessions.insert(jid.to_string(), Session { jid: jid.clone(), user, nick, face });
    }

    /// Who has a nick.
    pub fn owner(&self, nick: &str) -> Option<Owner> {
        if let Some(session) = self.sessions.values().find(|session| session.nick == nick) {
            return Some(Owner::User(session.user.clone()));
        }
        let member = self.members.iter().find(|(_, member)| member.nick == nick);
        member.map(|(person, _)| Owner::Person(person.clone()))
    }

    /// The nick of a user, if they are here.
    pub fn nick_of(&self, user: &UserId) -> Option<&str> {
        self.sessions.values().find(|session| session.user == *user).map(|session| session.nick.as_str())
    }

    /// Notes a person of the network, with a nick that nobody else has.
    pub fn add_member(&mut self, person: &PersonId, name: Option<&str>, level: i64) {
        if let Some(member) = self.members.get_mut(person) {
            member.level = level;
            return;
        }
        let nick = self.free_nick(person, name);
        self.members.insert(person.clone(), Member { nick, level, shown: false });
    }

    /// A nick for a person that nobody else in the room has.
    pub fn free_nick(&self, person: &PersonId, name: Option<&str>) -> String {
        let base = name.map(clean_nick).filter(|nick| !nick.is_empty()).unwrap_or_else(|| clean_nick(person.local()));
        let base = if base.is_empty() { "somebody".to_owned() } else { base };
        let free = |nick: &str| self.owner(nick).is_none_or(|owner| owner == Owner::Person(person.clone()));
        if free(&base) {
            return base;
        }
        let with_id = clean_nick(&format!("{base} ({}:{})", person.local(), person.server()));
        if free(&with_id) {
            return with_id;
        }
        (2..).map(|n| format!("{base} {n}")).find(|nick| free(nick)).unwrap_or(base)
    }

    /// Adds a message to the history.
    pub fn record(&mut self, id: EventId, item: &Item, most: usize) {
        let again = item.meta.remote_id.is_some()
            && self.history.iter().any(|(_, old)| old.meta.remote_id == item.meta.remote_id);
        if again || most == 0 {
            return;
        }
        while self.history.len() >= most {
            self.history.pop_front();
        }
        self.history.push_back((id, item.clone()));
    }

    /// Takes what was said before we came; what was said since stays behind it.
    pub fn earlier(&mut self, history: Vec<(EventId, Item)>, most: usize) {
        self.history_known = true;
        let since = std::mem::replace(&mut self.history, history.into());
        for (id, item) in since {
            self.record(id, &item, most);
        }
        while self.history.len() > most {
            self.history.pop_front();
        }
    }
}

/// A nick as servers route it: no control characters, no white space at the ends or twice, at most as long as a resource.
pub fn clean_nick(name: &str) -> String {
    let invisible = |c: &char| {
        c.is_control()
            || matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let joined: String =
        name.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !invisible(c)).collect();
    let mut nick = joined.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let mut end = nick.len().min(MAX_PART / 4);
    while !nick.is_char_boundary(end) {
        end -= 1;
    }
    nick.truncate(end);
    nick.trim_end().to_owned()
}
