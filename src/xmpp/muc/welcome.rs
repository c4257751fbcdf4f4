//! What a newcomer is sent: the others' presence, their own with status 110, what was said before, and exactly one
//! subject (XEP-0045, section 7.1).

use portway_bridges::api::Timestamp;

use super::build::{self, Change, Seen};
use super::room::{Room, Session};
use super::{MucConfig, ns};
use crate::route::key;
use crate::xmpp::rich::Features;
use crate::xmpp::stanza::{OutStanza, Stanza};
use crate::xmpp::to_stanza::stamp;

/// Everything that a newcomer is sent, in order.
///
/// `newcomer`: whether this is their first device, so that the others must hear of them.
pub fn welcome(
    config: &MucConfig,
    room: &mut Room,
    jid: &str,
    stanza: &Stanza,
    renamed: bool,
    newcomer: bool,
    now: Timestamp,
) -> Vec<OutStanza> {
    let Some(session) = room.sessions.get(jid).cloned() else { return Vec::new() };
    let mut out = Vec::new();
    let mut shown = Vec::new();
    for other in room.sessions.values().filter(|other| other.user != session.user) {
        if !shown.contains(&&other.user) {
            shown.push(&other.user);
            let occupant = build::occupant_id(config, &room.id, &build::user_key(&other.user));
            let seen = Seen { nick: &other.nick, occupant, level: 0 };
            out.extend(build::presence(config, &session, &seen, &Change::default()));
        }
    }
    // Staff first, then the rest; those who were shown to others are shown to everybody.
    let mut order: Vec<_> =
        room.members.iter().map(|(person, member)| (!member.shown, -member.level, person.clone())).collect();
    order.sort();
    for (hidden, _, person) in order.into_iter().take(config.max_presence) {
        let Some(member) = room.members.get_mut(&person) else { continue };
        let occupant = build::occupant_id(config, &room.id, &key::person(&person));
        let seen = Seen { nick: &member.nick, occupant, level: member.level };
        out.extend(build::presence(config, &session, &seen, &Change::default()));
        if hidden {
            member.shown = true;
            for other in room.sessions.values().filter(|other| other.jid != session.jid) {
                out.extend(build::presence(config, other, &seen, &Change::default()));
            }
        }
    }
    let occupant = build::occupant_id(config, &room.id, &build::user_key(&session.user));
    let own = Seen { nick: &session.nick, occupant, level: 0 };
    let statuses: &[u16] = if renamed { &[110, 170, 210] } else { &[110, 170] };
    let change = Change { statuses, id: stanza.id.as_deref(), ..Change::default() };
    out.extend(build::presence(config, &session, &own, &change));
    out.extend(history(config, room, &session, stanza, now));
    out.extend(super::render::subject(config, room, &session));
    if newcomer {
        for other in room.sessions.values().filter(|other| other.user != session.user) {
            out.extend(build::presence(config, other, &own, &Change::default()));
        }
    }
    out
}

/// What was said before, as far as the newcomer wants it (XEP-0045, section 7.2.13).
fn history(config: &MucConfig, room: &Room, session: &Session, stanza: &Stanza, now: Timestamp) -> Vec<OutStanza> {
    let wanted = stanza.child("x", ns::MUC).and_then(|x| x.get_child("history", ns::MUC));
    let number = |name: &str| wanted.and_then(|history| history.attr(name)?.parse::<usize>().ok());
    let most = number("maxstanzas").unwrap_or(config.history_len);
    let mut chars = number("maxchars").unwrap_or(usize::MAX);
    let oldest = number("seconds").map(|seconds| now.0 - i64::try_from(seconds).unwrap_or(i64::MAX / 2000) * 1000);
    let since = wanted.and_then(|history| read_stamp(history.attr("since")?));
    let mut chosen = Vec::new();
    for (id, item) in room.history.iter().rev().take(most) {
        if oldest.is_some_and(|oldest| item.at.0 < oldest) || since.is_some_and(|since| item.at < since) {
            break;
        }
        let stamp = stamp(item.at);
        let said = super::render::content(config, room, item, Features::default());
        let rendered = super::render::message(
            config,
            room,
            session,
            *id,
            item,
            &said,
            super::render::When { stamp: Some(&stamp), now },
        );
        let size: usize = rendered.iter().map(|stanza| stanza.element().text().len() + 300).sum();
        if size > chars {
            break;
        }
        chars -= size;
        chosen.push(rendered);
    }
    chosen.into_iter().rev().flatten().collect()
}

/// Reads a time as XEP-0082 writes it, with or without a fraction, in any time zone.
fn read_stamp(text: &str) -> Option<Timestamp> {
    let (date, time) = text.trim().split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, "Z"),
    };
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut whole = whole.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (whole.next()??, whole.next()??, whole.next()??);
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let minutes = match offset.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign, rest) => {
            let (hours, minutes) = rest.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let sane = (0..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && minutes.abs() <= 24 * 60;
    if !sane {
        return None;
    }
    // Howard Hinnant's days_from_civil: a count of days from the proleptic Gregorian calendar.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + (minute - minutes) * 60 + second;
    Some(Timestamp(seconds * 1000 + digits.parse::<i64>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for at in [0, -1, 1_709_208_000_123, 4_102_444_799_999, 951_782_400_000, -62_135_596_800_000] {
            assert_eq!(read_stamp(&stamp(Timestamp(at))), Some(Timestamp(at)));
        }
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("1970-01-01T01:00:00.5+01:00", Some(500)),
            ("1969-12-31T19:00:00-05:00", Some(0)),
            ("1970-01-01T00:00:00.1234567Z", Some(123)),
            ("1970-01-01", None),
            ("1970-13-01T00:00:00Z", None),
            ("99999999999999999999-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00+99999999999:00", None),
            ("1970-01-01T00:00:00.xZ", None),
            ("\u{fc}T\u{fc}", None),
        ] {
            assert_eq!(read_stamp(text), expected.map(Timestamp), "{text}");
        }
    }
}
