//! Keys of chats and of the duplicate guard, as the store sees them.

use std::fmt::Write as _;
use std::time::Duration;

use portway_bridges::api::{Chat, PersonId, RoomId};
use sha2::{Digest, Sha256};

/// Under this length an id may have been counted by the client (`1`, `2`, …) and come again after its restart.
const UNGUESSABLE: usize = 16;

/// How long a short id counts as the same message.
const SHORT_ID_WINDOW: Duration = Duration::from_secs(120);

/// The key of a chat. Different chats have different keys: every part is escaped.
#[must_use]
pub fn chat(chat: &Chat) -> String {
    let mut key = String::with_capacity(64);
    match chat {
        Chat::Direct { user, person } => {
            key.push_str("d/");
            part(&mut key, user.local());
            key.push('@');
            part(&mut key, user.host());
            key.push('/');
            part(&mut key, person.local());
            key.push('%');
            part(&mut key, person.server());
        }
        Chat::Room(RoomId::Alias { local, server }) => {
            key.push_str("r/#");
            part(&mut key, local);
            key.push('%');
            part(&mut key, server);
        }
        Chat::Room(RoomId::Id { opaque, server }) => {
            key.push_str("r/!");
            part(&mut key, opaque);
            if let Some(server) = server {
                key.push('%');
                part(&mut key, server);
            }
        }
    }
    key
}

/// What the keys of all chats of two of a user begin with.
#[must_use]
pub fn of_user(user: &portway_bridges::api::UserId) -> String {
    let mut key = String::from("d/");
    part(&mut key, user.local());
    key.push('@');
    part(&mut key, user.host());
    key.push('/');
    key
}

/// The key of what the gateway itself says to a user.
#[must_use]
pub fn gateway(user: &portway_bridges::api::UserId) -> String {
    of_user(user).replacen("d/", "g/", 1)
}

/// The chat of a key of two that [`chat`] made. `None` for the key of a room.
#[must_use]
pub fn read_direct(key: &str) -> Option<Chat> {
    let (user, person) = key.strip_prefix("d/")?.split_once('/')?;
    let (local, host) = user.split_once('@')?;
    let (name, server) = person.split_once('%')?;
    let user = portway_bridges::api::UserId::new(&unpart(local)?, &unpart(host)?).ok()?;
    Some(Chat::Direct { user, person: PersonId::new(&unpart(name)?, &unpart(server)?).ok()? })
}

/// The key of a person as a sender.
#[must_use]
pub fn person(person: &PersonId) -> String {
    let mut key = String::with_capacity(32);
    part(&mut key, person.local());
    key.push('%');
    part(&mut key, person.server());
    key
}

/// The person of a key that [`person`] made. `None` for the key of a user.
#[must_use]
pub fn read_person(key: &str) -> Option<PersonId> {
    let (local, server) = key.split_once('%')?;
    PersonId::new(&unpart(local)?, &unpart(server)?).ok()
}

/// The key by which a message from XMPP is recognised if its client sends it again, and for how long where that is not for
/// ever: its id and a hash of what it says.
///
/// Clients reuse ids, so the id alone would swallow messages. A short id may be a counter that started over, and the same
/// words may be said twice, so such a message is the same only within two minutes.
#[must_use]
pub fn resent(id: &str, content: &[u8]) -> (String, Option<Duration>) {
    let hash = Sha256::digest(content);
    let mut key = String::with_capacity(id.len() + 40);
    for byte in &hash[..12] {
        let _ = write!(key, "{byte:02x}");
    }
    key.push('/');
    key.push_str(id);
    (key, (id.len() < UNGUESSABLE).then_some(SHORT_ID_WINDOW))
}

fn unpart(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('=') {
        out.push_str(before);
        out.push(char::from(u8::from_str_radix(behind.get(..2)?, 16).ok()?));
        rest = &behind[2..];
    }
    out.push_str(rest);
    Some(out)
}

fn part(key: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '/' | '%' | '@' | '=' => {
                let _ = write!(key, "={:02x}", u32::from(c));
            }
            c => key.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::UserId;

    use super::*;

    #[test]
    fn different_chats_have_different_keys() {
        let direct = |user: &str, local: &str, server: &str| {
            chat(&Chat::Direct { user: UserId::parse(user).unwrap(), person: PersonId::new(local, server).unwrap() })
        };
        let keys = [
            direct("a@b", "c", "d"),
            direct("a@b", "c%d", "e"),
            direct("a@b", "c", "d%e"),
            direct("a@b/c", "d", "e"),
            direct("a@b", "c/d", "e"),
            chat(&Chat::Room(RoomId::alias("c", "d").unwrap())),
            chat(&Chat::Room(RoomId::id("c", Some("d")).unwrap())),
            chat(&Chat::Room(RoomId::id("c%d", None).unwrap())),
        ];
        for (n, key) in keys.iter().enumerate() {
            assert!(!keys[..n].contains(key), "{key}");
        }
    }

    #[test]
    fn the_key_of_a_chat_of_two_leads_back() {
        for (local, server) in [("c", "d"), ("c%d/e=f@g", "h%i"), ("ü", "😀")] {
            let user = UserId::new("a/b", "c=d").unwrap();
            let direct = Chat::Direct { user, person: PersonId::new(local, server).unwrap() };
            assert_eq!(read_direct(&chat(&direct)), Some(direct));
        }
    }

    #[test]
    fn a_counted_id_comes_again_later_and_an_unguessable_one_never_does() {
        assert_eq!(resent("1", b"ok"), resent("1", b"ok"));
        assert_eq!(resent("1", b"ok").1, Some(SHORT_ID_WINDOW));
        assert_ne!(resent("1", b"ok").0, resent("1", b"no").0);
        assert_ne!(resent("1", b"ok").0, resent("2", b"ok").0);
        assert_eq!(resent("0b6c9b0e-6d6b-4a5f-a6a9-1f0d3f0b8f7e", b"ok").1, None);
    }
}
