//! Matrix ids: reading, writing, and those of ghosts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::api::{Address, Condition, PersonId, Refusal, RoomId, Sentence, UserId};

/// The longest id in bytes (Matrix appendices, section 4.2).
pub const MAX: usize = 255;

/// The full id of a person.
pub fn person(person: &PersonId) -> String {
    format!("@{}:{}", person.local(), person.server())
}

/// The full id or alias of a room.
pub fn room(room: &RoomId) -> String {
    match room {
        RoomId::Alias { local, server } => format!("#{local}:{server}"),
        RoomId::Id { opaque, server: Some(server) } => format!("!{opaque}:{server}"),
        RoomId::Id { opaque, server: None } => format!("!{opaque}"),
    }
}

/// Reads `@local:server`. The server may hold a port or an IPv6 address, so the first colon counts.
pub fn read_person(id: &str) -> Option<PersonId> {
    let id = <&ruma::UserId>::try_from(id).ok()?;
    PersonId::new(id.localpart(), id.server_name().as_str()).ok()
}

/// Reads `!id:server`, or `!id` (room version 12).
pub fn read_room(id: &str) -> Option<RoomId> {
    let id = <&ruma::RoomId>::try_from(id).ok()?.as_str().strip_prefix('!')?;
    match id.split_once(':') {
        Some((opaque, server)) => RoomId::id(opaque, Some(server)).ok(),
        None => RoomId::id(id, None).ok(),
    }
}

/// Reads `#alias:server`.
fn read_alias(id: &str) -> Option<RoomId> {
    let id = <&ruma::RoomAliasId>::try_from(id).ok()?;
    RoomId::alias(id.alias(), id.server_name().as_str()).ok()
}

/// The ids of ghosts: `@<prefix><bare address with =hh>:<server>`.
#[derive(Clone)]
pub struct Ghosts {
    /// How their localparts start.
    pub prefix: String,
    /// The homeserver's name.
    pub server: String,
    /// The bot's localpart.
    pub bot: String,
}

impl Ghosts {
    /// The ghost of a user. `None` where it would be longer than Matrix allows.
    pub fn of(&self, user: &UserId) -> Option<String> {
        let id = format!("@{}{}:{}", self.prefix, escape(&user.to_string()), self.server);
        (id.len() <= MAX).then_some(id)
    }

    /// The user behind a ghost.
    pub fn user(&self, id: &str) -> Option<UserId> {
        let (local, server) = id.strip_prefix('@')?.split_once(':')?;
        if server != self.server {
            return None;
        }
        UserId::parse(&unescape(local.strip_prefix(self.prefix.as_str())?)?).ok()
    }

    /// Whether an id is one of ours.
    pub fn ours(&self, id: &str) -> bool {
        let Some((local, server)) = id.strip_prefix('@').and_then(|id| id.split_once(':')) else { return false };
        server == self.server && (local == self.bot || local.starts_with(&self.prefix))
    }
}

/// Escapes what a localpart may not hold (Matrix appendices, section 4.2.1.1): `=hh`, and `=` itself.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(char::from(byte)),
            byte => out.push_str(&format!("={byte:02x}")),
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// What does not stand for itself in a URL (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-').remove(b'~');

/// A path segment or query value of a URL.
pub fn percent(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Takes percent-encoding out.
pub fn unpercent(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Makes sense of what a person types or pastes: an id, an alias, a matrix.to or matrix: link, an id without its sigil.
pub fn resolve(typed: &str) -> Result<Address, Refusal> {
    let refusal = || Refusal {
        condition: Condition::JidMalformed,
        sentence: Sentence::new("matrix.bad-address").with("typed", typed),
    };
    let mut text = typed.trim().to_owned();
    if let Some((_, link)) = text.split_once("matrix.to/#/") {
        text = unpercent(link.split(['?', '/']).next().unwrap_or_default());
    } else if let Some(link) = text.strip_prefix("matrix:") {
        let path = link.split('?').next().unwrap_or_default();
        let (sort, rest) = path.split_once('/').ok_or_else(refusal)?;
        let id = unpercent(rest.split('/').next().unwrap_or_default());
        text = match sort {
            "u" | "user" => format!("@{id}"),
            "r" | "room" => format!("#{id}"),
            "roomid" => format!("!{id}"),
            _ => return Err(refusal()),
        };
    }
    let parsed = match text.chars().next() {
        Some('@') => read_person(&text).map(Address::Person),
        Some('!') => read_room(&text).map(Address::Room),
        Some('#') => read_alias(&text).map(Address::Room),
        _ => read_person(&format!("@{text}")).map(Address::Person),
    };
    parsed.ok_or_else(refusal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ghosts() -> Ghosts {
        Ghosts { prefix: "xmpp_".into(), server: "example.org".into(), bot: "xmppbot".into() }
    }

    #[test]
    fn ghosts_are_named_as_the_contract_says() {
        let juliet = UserId::parse("juliet@capulet.lit").unwrap();
        assert_eq!(ghosts().of(&juliet).unwrap(), "@xmpp_juliet=40capulet.lit:example.org");
        assert_eq!(ghosts().user("@xmpp_juliet=40capulet.lit:example.org"), Some(juliet));
        assert_eq!(ghosts().user("@xmpp_juliet=40capulet.lit:other.org"), None);
        assert!(ghosts().ours("@xmppbot:example.org") && !ghosts().ours("@alice:example.org"));
        assert_eq!(ghosts().of(&UserId::new(&"X".repeat(100), "y").unwrap()), None);
    }

    #[test]
    fn whatever_is_pasted() {
        let alice = Address::Person(PersonId::new("alice", "hs:8448").unwrap());
        for typed in [
            "@alice:hs:8448",
            " alice:hs:8448",
            "https://matrix.to/#/%40alice%3Ahs%3A8448",
            "matrix:u/alice:hs:8448?action=chat",
        ] {
            assert_eq!(resolve(typed).unwrap(), alice, "{typed}");
        }
        let town = Address::Room(RoomId::alias("town", "hs").unwrap());
        for typed in ["#town:hs", "https://matrix.to/#/#town:hs?via=hs", "matrix:r/town:hs"] {
            assert_eq!(resolve(typed).unwrap(), town, "{typed}");
        }
        assert_eq!(resolve("!KLw").unwrap(), Address::Room(RoomId::id("KLw", None).unwrap()));
        let long = format!("@{}:hs", "a".repeat(255));
        for typed in ["", "alice", "@alice", "#town", "matrix:x/y", "@a:b c", "#a:", "@a:hs:99999", "!\0", &long] {
            assert_eq!(resolve(typed).unwrap_err().condition, Condition::JidMalformed, "{typed}");
        }
    }

    proptest! {
        #[test]
        fn every_ghost_leads_back(local in "[^@]{1,30}", host in "[^@]{1,30}") {
            let user = UserId::new(&local, &host).unwrap();
            if let Some(id) = ghosts().of(&user) {
                prop_assert_eq!(ghosts().user(&id), Some(user));
            }
        }
    }
}
