//! The grammar of addresses: one for every network, pure and reversible, so that it works with an empty database.
//!
//! The bytes `a-z 0-9 . _ + -` stand for themselves, every other byte is `=hh` in lower-case hexadecimal. A contact is
//! `local%server`, a room `#alias%server`, `!id%server` or `!id`. The result is lower-case ASCII and passes stringprep
//! and PRECIS unchanged.

use percent_encoding::percent_decode_str;

use portway_bridges::api::{PersonId, RoomId};

use super::jid::MAX_PART;

/// What cannot be an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It would be longer than a JID's part may be; nothing is ever truncated.
    #[error("it is too long")]
    TooLong,
    /// A part is missing.
    #[error("a part is missing")]
    Empty,
    /// An escape is broken, or the text behind it is no UTF-8.
    #[error("an escape in it is broken")]
    Escape,
}

/// What a localpart means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A person, in our grammar.
    Person(PersonId),
    /// A room, in our grammar.
    Room(RoomId),
    /// Something that the network must make sense of: XEP-0106, a missing sigil, a link.
    Typed(String),
}

/// Escapes a part.
#[must_use]
pub fn enc(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'+' | b'-' => out.push(char::from(byte)),
            byte => {
                out.push('=');
                out.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
                out.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
            }
        }
    }
    out
}

/// Takes the escapes out of a part. Bytes that [`enc`] would have escaped are accepted as they are.
///
/// # Errors
/// [`AddressError::Escape`], [`AddressError::Empty`].
pub fn dec(text: &str) -> Result<String, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'=' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(AddressError::Escape) };
        out.push(u8::try_from(high * 16 + low).map_err(|_| AddressError::Escape)?);
    }
    String::from_utf8(out).map_err(|_| AddressError::Escape)
}

/// The localpart of a person.
///
/// # Errors
/// [`AddressError::TooLong`] where it would exceed 1023 bytes.
pub fn of_person(person: &PersonId) -> Result<String, AddressError> {
    checked(format!("{}%{}", enc(person.local()), enc(person.server())))
}

/// The localpart of a room.
///
/// # Errors
/// [`AddressError::TooLong`] where it would exceed 1023 bytes.
pub fn of_room(room: &RoomId) -> Result<String, AddressError> {
    checked(match room {
        RoomId::Alias { local, server } => format!("#{}%{}", enc(local), enc(server)),
        RoomId::Id { opaque, server: Some(server) } => format!("!{}%{}", enc(opaque), enc(server)),
        RoomId::Id { opaque, server: None } => format!("!{}", enc(opaque)),
    })
}

fn checked(text: String) -> Result<String, AddressError> {
    if text.len() > MAX_PART { Err(AddressError::TooLong) } else { Ok(text) }
}

/// Reads a localpart.
///
/// # Errors
/// [`AddressError`] where it has the form of our grammar and is broken.
pub fn parse(localpart: &str) -> Result<Parsed, AddressError> {
    if localpart.contains('\\') {
        return Ok(Parsed::Typed(unescape_0106(localpart)));
    }
    match percent_encoded(localpart) {
        // Our own grammar, percent-encoded: `%23town%25hs`, from clients that take links literally. Decoded once only.
        Some(decoded) if decoded.starts_with(['#', '!']) && decoded.contains('%') => ours(&decoded),
        Some(decoded) => Ok(Parsed::Typed(decoded)),
        None => ours(localpart),
    }
}

/// Reads our own grammar.
fn ours(localpart: &str) -> Result<Parsed, AddressError> {
    let empty = |_| AddressError::Empty;
    if let Some(rest) = localpart.strip_prefix('#') {
        return match rest.rsplit_once('%') {
            Some((local, server)) => Ok(Parsed::Room(RoomId::alias(&dec(local)?, &dec(server)?).map_err(empty)?)),
            None => Ok(Parsed::Typed(localpart.to_owned())),
        };
    }
    if let Some(rest) = localpart.strip_prefix('!') {
        let (opaque, server) = match rest.rsplit_once('%') {
            Some((opaque, server)) => (opaque, Some(dec(server)?)),
            None => (rest, None),
        };
        return Ok(Parsed::Room(RoomId::id(&dec(opaque)?, server.as_deref()).map_err(empty)?));
    }
    match localpart.rsplit_once('%') {
        Some((local, server)) => Ok(Parsed::Person(PersonId::new(&dec(local)?, &dec(server)?).map_err(empty)?)),
        None => Ok(Parsed::Typed(localpart.to_owned())),
    }
}

/// What a percent-encoded address says, as it stands in links: `%40alice%3amatrix.org`.
///
/// Our own grammar has exactly one `%`, and something before it; so `alice%3a.example` is Alice on the server
/// `3a.example`, and stays that.
fn percent_encoded(text: &str) -> Option<String> {
    if !text.starts_with('%') && text.matches('%').count() < 2 {
        return None;
    }
    let means = |decoded: &String| decoded.contains(['@', ':']) || decoded.starts_with(['#', '!']);
    let decoded = percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(decoded).filter(|decoded| decoded != text && means(decoded))
}

/// The ten escapes of XEP-0106, section 3.
const ESCAPES: [(&str, char); 10] = [
    ("20", ' '),
    ("22", '"'),
    ("26", '&'),
    ("27", '\''),
    ("2f", '/'),
    ("3a", ':'),
    ("3c", '<'),
    ("3e", '>'),
    ("40", '@'),
    ("5c", '\\'),
];

/// Takes the escapes of XEP-0106 out of a localpart; unknown sequences stay as they are.
#[must_use]
pub fn unescape_0106(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let code = behind.get(..2).map(str::to_ascii_lowercase);
        match ESCAPES.iter().find(|(escape, _)| code.as_deref() == Some(escape)) {
            Some((_, c)) => {
                out.push(*c);
                rest = &behind[2..];
            }
            None => {
                out.push('\\');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn j5_the_contract_s_examples() {
        for (local, server, localpart) in [
            ("alice", "matrix.org", "alice%matrix.org"),
            ("Bob", "hs.example:8448", "=42ob%hs.example=3a8448"),
            ("bob", "gmail.com", "bob%gmail.com"),
            ("a b\"@x", "[::1]:80", "a=20b=22=40x%=5b=3a=3a1=5d=3a80"),
            ("jürgen+tag", "bücher.example", "j=c3=bcrgen+tag%b=c3=bccher.example"),
            ("a%b", "c%d", "a=25b%c=25d"),
        ] {
            let person = PersonId::new(local, server).unwrap();
            assert_eq!(of_person(&person).unwrap(), localpart);
            assert_eq!(parse(localpart), Ok(Parsed::Person(person)));
        }
        for (room, localpart) in [
            (RoomId::alias("town", "hs").unwrap(), "#town%hs"),
            (RoomId::alias("Town:x", "hs:1").unwrap(), "#=54own=3ax%hs=3a1"),
            (RoomId::id("AbC", Some("hs")).unwrap(), "!=41b=43%hs"),
            (RoomId::id("KLw-_", None).unwrap(), "!=4b=4cw-_"),
        ] {
            assert_eq!(of_room(&room).unwrap(), localpart);
            assert_eq!(parse(localpart), Ok(Parsed::Room(room)));
        }
    }

    #[test]
    fn j1_the_examples_of_xep_0106_are_unescaped() {
        for (escaped, meant) in [
            (r"space\20cadet", "space cadet"),
            (r"call\20me\20\22ishmael\22", "call me \"ishmael\""),
            (r"at\26t\20guy", "at&t guy"),
            (r"d\27artagnan", "d'artagnan"),
            (r"\2f.fanboy", "/.fanboy"),
            (r"\3a\3afoo\3a\3a", "::foo::"),
            (r"\3cfoo\3e", "<foo>"),
            (r"user\40host", "user@host"),
            (r"c\3a\5cnet", r"c:\net"),
            (r"c\3a\5c5commas", r"c:\5commas"),
            (r"c\3a\5ccool\20stuff", r"c:\cool stuff"),
            (r"\5c3and\2is\5c5cool", r"\3and\2is\5cool"),
            // Only the ten codes, in either case; everything else is itself.
            (r"\2plus\2is\4", r"\2plus\2is\4"),
            (r"foo\bar", r"foo\bar"),
            (r"foob\41r", r"foob\41r"),
            (r"\3A\2F", ":/"),
            (r"\", r"\"),
            (r"\5", r"\5"),
            (r"ü\é", r"ü\é"),
        ] {
            assert_eq!(unescape_0106(escaped), meant, "{escaped}");
        }
    }

    #[test]
    fn j2_upper_and_lower_case_are_different_people() {
        let of = |local: &str| of_person(&PersonId::new(local, "x").unwrap()).unwrap();
        assert_eq!(
            (of("Alice"), of("alice"), of("ALICE")),
            ("=41lice%x".into(), "alice%x".into(), "=41=4c=49=43=45%x".into())
        );
        // What a server's preparation does to the localpart changes nothing.
        assert_eq!(parse(&of("Alice").to_lowercase()), Ok(Parsed::Person(PersonId::new("Alice", "x").unwrap())));
    }

    #[test]
    fn j3_the_longest_ids_and_the_strangest_servers_round_trip() {
        let long = "Z".repeat(255 - "@:[2001:db8::1]:8448".len());
        for (local, server) in [
            (long.as_str(), "[2001:db8::1]:8448"),
            ("alice", "1.2.3.4:8448"),
            ("alice", "[::1]"),
            ("~!$^&*()[]{}|;',?`\"\\", "hs"),
            ("with space", "hs"),
            ("jürgen", "bücher.example"),
            ("\u{10ffff}", "hs"),
            ("john..doe", "x"),
            ("\"john doe\"", "x.example"),
            ("bob+tag", "gmail.com"),
            ("用户", "例え.jp"),
        ] {
            let person = PersonId::new(local, server).unwrap();
            assert_eq!(parse(&of_person(&person).unwrap()), Ok(Parsed::Person(person)), "{local}:{server}");
        }
        let v12 = "31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";
        for room in [
            RoomId::id(v12, None).unwrap(),
            RoomId::id(&"Q".repeat(240), Some("hs.example:1")).unwrap(),
            RoomId::alias(&"Ü".repeat(110), "hs").unwrap(),
        ] {
            assert_eq!(parse(&of_room(&room).unwrap()), Ok(Parsed::Room(room)));
        }
        assert_ne!(of_room(&RoomId::id(v12, None).unwrap()), of_room(&RoomId::id(&v12.to_lowercase(), None).unwrap()));
    }

    #[test]
    fn j5_servers_that_look_percent_encoded_are_servers() {
        for server in ["3a.example", "40acres.example", "23.example", "3amatrix.org", "2f"] {
            let person = PersonId::new("alice", server).unwrap();
            assert_eq!(parse(&of_person(&person).unwrap()), Ok(Parsed::Person(person)), "{server}");
            for room in [RoomId::alias("town", server).unwrap(), RoomId::id("x", Some(server)).unwrap()] {
                assert_eq!(parse(&of_room(&room).unwrap()), Ok(Parsed::Room(room)), "{server}");
            }
        }
    }

    #[test]
    fn j6_what_people_type() {
        for (typed, meant) in [
            (r"\40alice\3amatrix.org", "@alice:matrix.org"),
            (r"bob\40gmail.com", "bob@gmail.com"),
            (r"\22john\20doe\22\40x", "\"john doe\"@x"),
            (r"c\5c5commas\40x", r"c\5commas@x"),
            (r"\2plus\41\40x", r"\2plus\41@x"),
            ("%40alice%3amatrix.org", "@alice:matrix.org"),
            ("%23town%3amatrix.org", "#town:matrix.org"),
            ("%62ob%40gmail.com", "bob@gmail.com"),
            (r"#town\3amatrix.org", "#town:matrix.org"),
            ("alice:matrix.org", "alice:matrix.org"),
        ] {
            assert_eq!(parse(typed), Ok(Parsed::Typed(meant.to_owned())), "{typed}");
        }
    }

    /// Some clients take the percent-encoding of a link for the address itself.
    #[test]
    fn j6_rooms_of_links() {
        let town = RoomId::alias("town", "hs").unwrap();
        assert_eq!(parse("%23town%25hs"), Ok(Parsed::Room(town)));
        assert_eq!(parse("%21a%25hs"), Ok(Parsed::Room(RoomId::id("a", Some("hs")).unwrap())));
        assert_eq!(parse("%23town%3ahs"), Ok(Parsed::Typed("#town:hs".to_owned())));
    }

    #[test]
    fn broken_and_too_long() {
        for bad in ["a=%b", "a=4%b", "a=zz%b", "%b", "a%", "!", "#%x", "=ff%b"] {
            assert!(parse(bad).is_err() || matches!(parse(bad), Ok(Parsed::Typed(_))), "{bad}");
        }
        assert_eq!(parse("a=zz%b"), Err(AddressError::Escape));
        let long = PersonId::new(&"X".repeat(255), &"Y".repeat(255)).unwrap();
        assert_eq!(of_person(&long), Err(AddressError::TooLong));
        assert!(of_person(&PersonId::new(&"X".repeat(170), &"Y".repeat(170)).unwrap()).is_ok());
    }

    /// What holds two `%` and no code is not encoded: reading it again would never end.
    #[test]
    fn j6_signs_that_encode_nothing_are_read_once() {
        for text in ["#%%", "!%%", "#a%b%c", "%#%", "!%zz%"] {
            let _ = parse(text);
        }
    }

    proptest! {
        #[test]
        fn j5_every_person_round_trips(local in ".{1,100}", server in ".{1,60}") {
            let person = PersonId::new(&local, &server).unwrap();
            if let Ok(localpart) = of_person(&person) {
                prop_assert!(localpart.is_ascii() && localpart.len() <= MAX_PART);
                prop_assert_eq!(localpart.to_lowercase(), localpart.clone());
                prop_assert!(crate::xmpp::jid::Jid::from_parts(Some(&localpart), "x", None).is_ok());
                prop_assert_eq!(parse(&localpart), Ok(Parsed::Person(person)));
            }
        }

        #[test]
        fn j5_every_room_round_trips(opaque in ".{1,80}", server in proptest::option::of(".{1,60}"), alias: bool) {
            let room = match (alias, &server) {
                (true, Some(server)) => RoomId::alias(&opaque, server).unwrap(),
                _ => RoomId::id(&opaque, server.as_deref()).unwrap(),
            };
            if let Ok(localpart) = of_room(&room) {
                prop_assert_eq!(parse(&localpart), Ok(Parsed::Room(room)));
            }
        }

        #[test]
        fn j3_every_id_of_255_bytes_has_an_address(local in "[!-~]{1,127}", server in "[a-zA-Z0-9.:\\[\\]-]{1,126}") {
            let person = PersonId::new(&local, &server).unwrap();
            prop_assert_eq!(parse(&of_person(&person).unwrap()), Ok(Parsed::Person(person)));
            let alias = RoomId::alias(&local, &server).unwrap();
            prop_assert_eq!(parse(&of_room(&alias).unwrap()), Ok(Parsed::Room(alias)));
            let id = RoomId::id(&local, Some(&server)).unwrap();
            prop_assert_eq!(parse(&of_room(&id).unwrap()), Ok(Parsed::Room(id)));
        }

        /// What we emit is what stringprep (the `jid` crate, as old servers do) and PRECIS (lower-case ASCII) make of it.
        #[test]
        fn j4_l3_addresses_are_prepared_already(local in ".{1,80}", server in ".{1,60}") {
            let person = PersonId::new(&local, &server).unwrap();
            let room = RoomId::alias(&local, &server).unwrap();
            for localpart in [of_person(&person), of_room(&room)].into_iter().flatten() {
                prop_assert!(localpart.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
                let text = format!("{localpart}@matrix.example.org/portway");
                prop_assert_eq!(xmpp_parsers::jid::Jid::new(&text).unwrap().to_string(), text);
            }
        }

        #[test]
        fn nothing_panics(text in ".*", signs in "[#!%a2\\\\]{0,12}") {
            let _ = parse(&signs);
            let _ = parse(&text);
        }
    }
}
