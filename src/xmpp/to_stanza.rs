//! Pure: from events of a chat of two to message stanzas.

use minidom::Element;
use portway_bridges::api::rich::Who;
use portway_bridges::api::{
    Chat, EventId, Failed, ItemId, Kind, Membership, Sentence, Style, Target, Text, Timestamp, UserId,
};

use super::address;
use super::error::{self, ErrorType};
use super::file::{self, Linking};
use super::from_stanza::ns;
use super::jid::Jid;
use super::rich::{self, Features, Writing};
use super::stanza::{Domain, NS_CLIENT, OurJid, OutStanza, StanzaKind};
use super::{relation, xml};
use crate::route::degrade::file_as_text;
use crate::route::item::{Item, Speaker};
use crate::route::said::Said;
use crate::text::Catalogue;

/// The resource of contacts. Messages and presence come from it, so that clients see one contact with one device whose
/// features they can ask for.
pub const RESOURCE: &str = "portway";

/// The longest body in bytes; what is longer travels as several messages.
pub const MAX_BODY: usize = 48 << 10;

/// How old a message must be for its time to be said (XEP-0203), in milliseconds.
const DELAYED: i64 = 10_000;

/// How old a message must be for its failure to be said in words as well, in milliseconds: an error stanza is not kept
/// for a client that has gone meanwhile.
const LATE: i64 = 60_000;

/// How the ids of questions about strangers begin.
pub const QUESTION: &str = "pw-asks-";

/// What rendering needs to know.
pub struct Context<'a> {
    /// The component's domain.
    pub domain: &'a Domain,
    /// The sentences.
    pub texts: &'a Catalogue,
    /// How files get their URLs.
    pub linking: &'a Linking,
    /// The time.
    pub now: Timestamp,
    /// What the reader's client knows of formatted text.
    pub features: Features,
}

/// The stanzas of an event. None where the event says nothing to a user of a chat of two.
#[must_use]
pub fn direct(item: &Item, id: EventId, context: &Context<'_>) -> Vec<OutStanza> {
    let Chat::Direct { user, person } = &item.chat else { return Vec::new() };
    let canonical = address::of_person(person).ok();
    let Some(localpart) = item.meta.face.clone().or(canonical) else { return Vec::new() };
    let Some(from) = context.domain.address(Some(&localpart), Some(RESOURCE)) else { return Vec::new() };
    let Some(bare) = from.resource(None) else { return Vec::new() };
    let to = item.meta.to.as_deref().and_then(|to| Jid::parse(to).ok()).or_else(|| bare_jid(user));
    let Some(to) = to else { return Vec::new() };
    let say = |sentence: &Sentence| context.texts.text(sentence, item.meta.lang.as_deref());
    let own_id = item.meta.remote_id.clone().unwrap_or_else(|| format!("pw-{id}"));
    let chat = Chatting { from: &from, to: &to, id: &own_id, item, context };
    match &item.kind {
        Kind::Text(text) => chat.texts(text, &[]),
        Kind::Edit { target: target @ Target { id: Some(_), .. }, new } => chat.edit(target, new),
        Kind::Edit { new, .. } => {
            let body = say(&Sentence::new("core.edited").with("text", new.body.clone()));
            chat.texts(&Text { body, rich: None, ..new.clone() }, &[])
        }
        Kind::Reaction { target: Target { id, .. }, keys } => {
            let words = || say(&Sentence::new("core.reacted").with("keys", keys.join(" ")));
            match id {
                None if keys.is_empty() => Vec::new(),
                None => chat.notice(words()),
                Some(_) if keys.is_empty() || !context.features.reactions_in_words => vec![chat.only(&item.kind)],
                Some(_) => vec![chat.only(&item.kind).with(xml::text("body", NS_CLIENT, &words())).with(xml::element(
                    "fallback",
                    ns::FALLBACK,
                    &[("for", ns::REACTIONS)],
                ))],
            }
        }
        Kind::Retract { target: Target { id: Some(id), parts, .. } }
        | Kind::Moderate { target: Target { id: Some(id), parts, .. }, .. } => {
            std::iter::once(id).chain(parts).enumerate().map(|(n, part)| chat.retract(n, part.as_str())).collect()
        }
        Kind::Retract { .. } | Kind::Moderate { .. } => chat.notice(say(&Sentence::new("core.retracted"))),
        Kind::File(file) => match file::shown(file, id, item.at, context.now, context.linking) {
            Some(shown) => {
                // Clients show a file only where its URL stands alone: without a quote.
                let reply = file.reply.clone().map(|target| Target { quote: None, ..target });
                let body = Text { reply, thread: file.thread.clone(), ..Text::plain(shown.url) };
                let mut stanzas = chat.texts(&body, &shown.payloads);
                if let Some(caption) = &file.caption {
                    let second = format!("{own_id}{}", file::CAPTION);
                    stanzas.extend(Chatting { id: &second, ..chat }.texts(caption, &[file::write::attached(&own_id)]));
                }
                stanzas
            }
            None => chat.texts(&file_as_text((**file).clone(), &say), &[]),
        },
        Kind::Location { uri, text } => {
            let name = file::write::place_name(uri, text.as_deref());
            let place = file::write::place(uri, name);
            let mut stanzas = chat.texts(&Text::plain(uri.clone()), place.as_slice());
            if let Some(name) = name {
                let second = format!("{own_id}{}", file::CAPTION);
                let name = Text::plain(name);
                stanzas.extend(Chatting { id: &second, ..chat }.texts(&name, &[file::write::attached(&own_id)]));
            }
            stanzas
        }
        Kind::Delivered { target: Target { id: Some(target), .. } } => {
            let received = xml::element("received", ns::RECEIPTS, &[("id", target.as_str())]);
            vec![chat.stanza("chat").with(received).with(hint("store"))]
        }
        Kind::Displayed { target: Target { id: Some(_), .. } } => vec![chat.only(&item.kind)],
        Kind::Typing { active } => {
            let state = Element::bare(if *active { "composing" } else { "paused" }, ns::CHATSTATES);
            vec![OutStanza::new(StanzaKind::Message, &from, &to, Some("chat"), None).with(state).with(hint("no-store"))]
        }
        Kind::Encrypted { scheme } => chat.notice(say(&Sentence::new("core.encrypted").with("scheme", scheme.clone()))),
        Kind::Membership(Membership::Invite { room, reason, name, .. }) => {
            let node = item.meta.room.clone().or_else(|| address::of_room(room).ok());
            let Some(room_jid) = node.and_then(|node| context.domain.address(Some(&node), None)) else {
                return Vec::new();
            };
            let room_jid = room_jid.jid().as_str();
            let mut invite = xml::element("x", ns::CONFERENCE, &[("jid", room_jid)]);
            if let Some(reason) = reason {
                xml::set(&mut invite, "reason", reason);
            }
            let who = match &item.speaker {
                Speaker::Person { name: Some(name), .. } => name.clone(),
                _ => person.local().to_owned(),
            };
            let sentence = Sentence::new("core.invited")
                .with("who", who)
                .with("name", name.clone().unwrap_or_default())
                .with("room", xml::link(room_jid, "join"));
            let body = say(&sentence);
            // From the contact itself and nothing of rooms in it: some clients pass over what an occupant sends, and what
            // comes with the payload of a mediated invitation (XEP-0045, section 7.8.2).
            let invited = Chatting { from: &bare, ..chat }.stanza("normal");
            vec![invited.with(xml::text("body", NS_CLIENT, &body)).with(invite).with(hint("store"))]
        }
        Kind::Failed(failed) => chat.failed(failed, &bare, user),
        Kind::Presence { available, status } => {
            let type_ = (!available).then_some("unavailable");
            let mut presence = OutStanza::new(StanzaKind::Presence, &from, &to, type_, None);
            if let Some(status) = status {
                presence.push(xml::text("status", NS_CLIENT, status));
            }
            vec![presence]
        }
        Kind::Delivered { .. }
        | Kind::Displayed { .. }
        | Kind::Membership(_)
        | Kind::Role { .. }
        | Kind::Topic(_)
        | Kind::Name(_)
        | Kind::Avatar(_)
        | Kind::Profile { .. }
        | Kind::RoomGone { .. } => Vec::new(),
    }
}

/// The stanzas of what the gateway itself says.
#[must_use]
pub fn said(said: &Said, id: EventId, context: &Context<'_>) -> Vec<OutStanza> {
    let Some(to) = bare_jid(&said.user) else { return Vec::new() };
    let from = context.domain.jid();
    let parts = split(&said.text, MAX_BODY);
    let name = if said.asks { format!("{QUESTION}{id}") } else { format!("pw-{id}") };
    let stanza = |(n, part): (usize, &&str)| {
        let id = if n == 0 { name.clone() } else { format!("{name}-{}", n + 1) };
        let message = OutStanza::new(StanzaKind::Message, &from, &to, Some("chat"), Some(&id));
        let message = message.with(xml::text("body", NS_CLIENT, part));
        match delay(said.at, context) {
            Some(delay) => message.with(delay),
            None => message,
        }
    };
    parts.iter().enumerate().map(stanza).collect()
}

/// When something was said, if that is long ago (XEP-0203).
fn delay(at: Timestamp, context: &Context<'_>) -> Option<Element> {
    if context.now.0 - at.0 < DELAYED {
        return None;
    }
    let stamp = stamp(Timestamp(at.0.min(context.now.0)));
    Some(xml::element("delay", ns::DELAY, &[("from", context.domain.as_str()), ("stamp", &stamp)]))
}

#[derive(Clone, Copy)]
struct Chatting<'a> {
    from: &'a OurJid,
    to: &'a Jid,
    id: &'a str,
    item: &'a Item,
    context: &'a Context<'a>,
}

impl Chatting<'_> {
    fn stanza(&self, type_: &str) -> OutStanza {
        OutStanza::new(StanzaKind::Message, self.from, self.to, Some(type_), Some(self.id))
    }

    fn notice(&self, body: String) -> Vec<OutStanza> {
        self.texts(&Text::plain(body), &[])
    }

    /// A message that says nothing but something of another one.
    fn only(&self, kind: &Kind) -> OutStanza {
        relation::payloads(kind, None).into_iter().fold(self.stanza("chat"), OutStanza::with)
    }

    /// Takes the n-th part of a message back.
    fn retract(&self, n: usize, part: &str) -> OutStanza {
        let id = if n == 0 { self.id.to_owned() } else { format!("{}-{}", self.id, n + 1) };
        let body = self.context.texts.text(&Sentence::new("core.retracted"), self.item.meta.lang.as_deref());
        let stanza = Chatting { id: &id, ..*self }.stanza("chat");
        let stanza = relation::retract(part).into_iter().fold(stanza, OutStanza::with);
        stanza.with(xml::text("body", NS_CLIENT, &body))
    }

    /// The new text of a message, part by part where it has several; parts that are left over are taken back.
    fn edit(&self, target: &Target, new: &Text) -> Vec<OutStanza> {
        let root = target.id.as_ref().map(ItemId::as_str).unwrap_or_default();
        if target.caption {
            if let Some(caption) = relation::caption(target) {
                return self.texts(new, &[relation::replace(caption)]);
            }
            // The file had no words so far.
            let reply = Target { parts: Vec::new(), caption: false, ..target.clone() };
            return self.texts(&Text { reply: Some(reply), ..new.clone() }, &[]);
        }
        let mut stanzas = self.texts(new, &[relation::replace(root)]);
        for (stanza, part) in stanzas.iter_mut().skip(1).zip(&target.parts) {
            stanza.push(relation::replace(part.as_str()));
        }
        let new = stanzas.len();
        let left = target.parts.iter().enumerate().skip(new.saturating_sub(1));
        stanzas.extend(left.map(|(n, part)| self.retract(n + 1, part.as_str())));
        stanzas
    }

    /// Who said a message, as an answer names them.
    fn author(&self, target: &Target) -> &str {
        match &target.by {
            Some(Ok(_)) => self.from.jid().bare_str(),
            Some(Err(_)) | None => self.to.bare_str(),
        }
    }

    /// A text as messages, with these payloads on the first.
    fn texts(&self, text: &Text, payloads: &[Element]) -> Vec<OutStanza> {
        // In front of what somebody does, a quote would make it words.
        let quote = text.reply.as_ref().filter(|_| text.style != Style::Emote).and_then(relation::quote);
        let quote = quote.filter(|(_, fallback)| fallback.is_none() || !self.context.features.answers);
        let before = quote.as_ref().map(|(quoted, _)| quoted.as_str()).unwrap_or_default();
        let mention = |who: &Who| rich::uri(who, self.context.domain);
        let writing = Writing { mention: &mention, features: self.context.features };
        let bodies = rich::bodies(text, before, &writing);
        let mut stanzas = Vec::with_capacity(bodies.len());
        for (n, body) in bodies.into_iter().enumerate() {
            let id = if n == 0 { self.id.to_owned() } else { format!("{}-{}", self.id, n + 1) };
            let mut stanza = Chatting { id: &id, ..*self }.stanza("chat").lang(text.lang.as_deref());
            if let Some(subject) = text.subject.as_ref().filter(|_| n == 0) {
                stanza.push(xml::text("subject", NS_CLIENT, subject));
            }
            // Before all that has a `<body/>` of its own, of which clients take the first.
            stanza.push(xml::text("body", NS_CLIENT, &body.text));
            if n == 0 {
                if let Some(target) = &text.reply {
                    let to = Some(self.author(target));
                    relation::reply(target, to).into_iter().for_each(|reply| stanza.push(reply));
                }
                if let Some((_, Some(fallback))) = &quote {
                    stanza.push(fallback.clone());
                }
                for payload in payloads {
                    stanza.push(payload.clone());
                }
            }
            for payload in body.payloads {
                stanza.push(payload);
            }
            if let Some(thread) = &text.thread {
                stanza.push(xml::text("thread", NS_CLIENT, thread.as_str()));
            }
            stanza.push(xml::element("origin-id", ns::SID, &[("id", &id)]));
            stanza.push(Element::bare("markable", ns::MARKERS));
            stanza.push(Element::bare("active", ns::CHATSTATES));
            if let Speaker::Person { name: Some(name), .. } = &self.item.speaker {
                stanza.push(xml::text("nick", ns::NICK, name));
            }
            if let Some(delay) = delay(self.item.at, self.context) {
                stanza.push(delay);
            }
            stanzas.push(stanza);
        }
        stanzas
    }

    /// A failure: an error on the very message, and in words where the message is old or we are still trying.
    fn failed(&self, failed: &Failed, bare: &OurJid, user: &UserId) -> Vec<OutStanza> {
        let lang = self.item.meta.lang.as_deref();
        let why = self.context.texts.text(&failed.sentence, lang);
        let said_in = self.context.texts.language(&failed.sentence, lang);
        let words = |body: &str| {
            let to = bare_jid(user)?;
            let stanza = OutStanza::new(StanzaKind::Message, self.from, &to, Some("chat"), Some(self.id));
            Some(stanza.with(xml::text("body", NS_CLIENT, body)))
        };
        if failed.still_trying {
            return words(&why).into_iter().collect();
        }
        let mut stanzas = Vec::new();
        if let Some(id) = &self.item.meta.id {
            let type_ = match error::usual_type(failed.condition) {
                // It is over: nobody tries again by themselves.
                ErrorType::Wait if failed.sentence.key == "core.given-up" => ErrorType::Cancel,
                type_ => type_,
            };
            stanzas.push(error::bare(
                StanzaKind::Message,
                bare,
                self.to,
                Some(id),
                failed.condition,
                type_,
                &why,
                Some(said_in),
            ));
        }
        if stanzas.is_empty() || self.context.now.0 - self.item.at.0 >= LATE {
            let sentence = Sentence::new("core.failed-late").with("why", why);
            stanzas.extend(words(&self.context.texts.text(&sentence, lang)));
        }
        stanzas
    }
}

/// Splits text into parts of at most `most` bytes, at line ends where there are some, else between characters.
#[must_use]
pub fn split(text: &str, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > most {
        let mut end = most;
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let cut = rest[..end].rfind('\n').map_or(end, |line| line + 1);
        parts.push(&rest[..cut]);
        rest = &rest[cut..];
    }
    parts.push(rest);
    parts
}

/// A processing hint (XEP-0334).
#[must_use]
pub fn hint(name: &str) -> Element {
    Element::bare(name, ns::HINTS)
}

/// The bare JID of a user.
#[must_use]
pub fn bare_jid(user: &UserId) -> Option<Jid> {
    Jid::from_parts(Some(user.local()), user.host(), None).ok()
}

/// A time as XEP-0082 writes it, in UTC.
#[must_use]
pub fn stamp(at: Timestamp) -> String {
    let (days, millis) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000));
    // Howard Hinnant's civil_from_days: the proleptic Gregorian calendar from a count of days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", millis % 1000)
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::{Condition, PersonId};
    use proptest::prelude::*;

    use super::*;
    use crate::route::item::Meta;
    use crate::text::en;
    use crate::xmpp::stream::write;

    fn render(kind: Kind, meta: Meta, age: i64) -> Vec<String> {
        let person = PersonId::new("alice", "hs").unwrap();
        let item = Item {
            chat: Chat::Direct { user: UserId::parse("juliet@capulet.lit").unwrap(), person: person.clone() },
            speaker: Speaker::Person { id: person, name: Some("Alice".into()) },
            at: Timestamp(1_000_000),
            kind,
            meta,
        };
        let domain = Domain::new("m.x").unwrap();
        let texts = Catalogue::new(en::SENTENCES);
        let (linking, now) = (file::write::tests::linking(), Timestamp(1_000_000 + age));
        let context = Context { domain: &domain, texts: &texts, linking: &linking, now, features: Features::default() };
        direct(&item, EventId(7), &context)
            .iter()
            .map(|stanza| {
                let mut out = Vec::new();
                write::stanza(&mut out, stanza.element());
                String::from_utf8(out).unwrap()
            })
            .collect()
    }

    #[test]
    fn a_text_carries_what_clients_need() {
        let meta = Meta { remote_id: Some("$e".into()), ..Meta::default() };
        assert_eq!(
            render(Kind::Text(Text::plain("hi")), meta, 0),
            ["<message from='alice%hs@m.x/portway' id='$e' to='juliet@capulet.lit' type='chat'><body>hi</body>\
              <origin-id xmlns='urn:xmpp:sid:0' id='$e'/><markable xmlns='urn:xmpp:chat-markers:0'/>\
              <active xmlns='http://jabber.org/protocol/chatstates'/>\
              <nick xmlns='http://jabber.org/protocol/nick'>Alice</nick></message>"]
        );
        let old = render(Kind::Text(Text::plain("hi")), Meta::default(), 20_000);
        assert!(
            old[0].contains("<delay xmlns='urn:xmpp:delay' from='m.x' stamp='1970-01-01T00:16:40.000Z'/>"),
            "{old:?}"
        );
        assert!(old[0].contains("id='pw-7'"), "{old:?}");
    }

    #[test]
    fn s10_a_failure_is_an_error_on_that_message_and_words_when_it_comes_late() {
        let failed = |still_trying| {
            Kind::Failed(Failed {
                event: EventId(1),
                condition: Condition::ItemNotFound,
                sentence: Sentence::new("core.no-rooms"),
                still_trying,
            })
        };
        let meta = Meta { id: Some("m1".into()), to: Some("juliet@capulet.lit/b".into()), ..Meta::default() };
        let soon = render(failed(false), meta.clone(), 0);
        assert_eq!(
            soon,
            ["<message from='alice%hs@m.x' id='m1' to='juliet@capulet.lit/b' type='error'><error type='cancel'>\
              <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
              <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>This network has no rooms.</text></error></message>"]
        );
        assert_eq!(render(failed(false), meta.clone(), 100_000).len(), 2);
        let trying = render(failed(true), meta, 0);
        assert!(trying[0].contains("type='chat'") && trying[0].contains("<body>"), "{trying:?}");
    }

    /// A direct invitation (XEP-0249) that every client takes for one.
    #[test]
    fn p10_an_invitation_comes_from_the_contact_and_has_nothing_of_rooms_in_it() {
        let room = portway_bridges::api::RoomId::alias("town", "hs").unwrap();
        let user = UserId::parse("juliet@capulet.lit").unwrap();
        let reason = Some("come".to_owned());
        let invite = Kind::Membership(Membership::Invite { room, user, reason, name: Some("Town".into()) });
        let said = render(invite, Meta { remote_id: Some("$e".into()), ..Meta::default() }, 0);
        assert_eq!(said.len(), 1);
        assert!(
            said[0].starts_with("<message from='alice%hs@m.x' id='$e' to='juliet@capulet.lit' type='normal'><body>"),
            "{said:?}"
        );
        assert!(
            said[0].ends_with(
                "<x xmlns='jabber:x:conference' jid='#town%hs@m.x' reason='come'/><store xmlns='urn:xmpp:hints'/></message>"
            ),
            "{said:?}"
        );
        assert!(!said[0].contains("muc#user"));
    }

    #[test]
    fn l11_long_text_is_split_and_never_cut() {
        let body = "a".repeat(MAX_BODY) + "\n" + &"ü".repeat(MAX_BODY / 2);
        let stanzas = render(Kind::Text(Text::plain(body)), Meta::default(), 0);
        assert_eq!(stanzas.len(), 3);
        assert!(stanzas[1].contains("id='pw-7-2'"));
    }

    /// The id of what each stanza replaces (`=`), takes back (`-`) or answers (`>`).
    fn relations(kind: Kind) -> Vec<String> {
        let sign = |stanza: &String| {
            let id = |name: &str| {
                let rest = stanza.split_once(&format!("<{name} xmlns='urn:xmpp:{name}"));
                rest.or_else(|| stanza.split_once(&format!("<{name} ")))
                    .and_then(|(_, rest)| rest.split_once("id='")?.1.split_once('\'').map(|(id, _)| id.to_owned()))
            };
            let found = [('=', "replace"), ('-', "retract"), ('>', "reply")].map(|(sign, name)| (sign, id(name)));
            let found = found.into_iter().find_map(|(sign, id)| Some(format!("{sign}{}", id?)));
            found.unwrap_or_default()
        };
        render(kind, Meta { remote_id: Some("$new".into()), ..Meta::default() }, 0).iter().map(sign).collect()
    }

    #[test]
    fn an_edit_changes_every_part_and_of_a_file_the_words_only() {
        let parts = |ids: &[&str]| ids.iter().map(|id| ItemId::new(id)).collect::<Vec<_>>();
        let edit = |target: Target, new: &str| relations(Kind::Edit { target, new: Text::plain(new) });
        let long = Target { parts: parts(&["$a-2", "$a-3"]), ..Target::by_id("$a") };
        assert_eq!(edit(long.clone(), "short"), ["=$a", "-$a-2", "-$a-3"]);
        assert_eq!(edit(long.clone(), &"x".repeat(2 * MAX_BODY)), ["=$a", "=$a-2", "-$a-3"]);
        assert_eq!(edit(long.clone(), &"x".repeat(4 * MAX_BODY)), ["=$a", "=$a-2", "=$a-3", ""]);
        assert_eq!(relations(Kind::Retract { target: long }), ["-$a", "-$a-2", "-$a-3"]);
        let file = Target { parts: parts(&["$a-caption"]), caption: true, ..Target::by_id("$a") };
        assert_eq!(edit(file, "words"), ["=$a-caption"]);
        let wordless = Target { caption: true, ..Target::by_id("$a") };
        assert_eq!(edit(wordless, "words"), [">$a"]);
    }

    /// Converse.js 14 takes the first `<body/>` anywhere in the stanza, and the one that says what is a quote is empty: it
    /// showed nothing at all.
    #[test]
    fn the_body_of_an_answer_stands_before_what_says_which_of_it_is_a_quote() {
        let reply = Target { quote: Some("When?".into()), ..Target::by_id("m1") };
        let text = Text { reply: Some(reply), subject: Some("Tea".into()), ..Text::plain("At six.") };
        let [stanza] = render(Kind::Text(text), Meta::default(), 0).try_into().unwrap();
        let first = stanza.find("<body").map(|at| &stanza[at..]).unwrap();
        assert!(first.starts_with("<body>&gt; When?\nAt six.</body>"), "{stanza}");
        assert!(first.contains("<body end='8' start='0'/>"), "{stanza}");
    }

    #[test]
    fn an_answer_in_words_of_doing_has_no_quote_in_front() {
        let target = Target { quote: Some("hi".into()), ..Target::by_id("$a") };
        let text = |style| Kind::Text(Text { reply: Some(target.clone()), style, ..Text::plain("waves") });
        let said = render(text(Style::Emote), Meta::default(), 0);
        assert!(said[0].contains("<body>/me waves</body>") && !said[0].contains("fallback"), "{said:?}");
        let said = render(text(Style::Normal), Meta::default(), 0);
        assert!(said[0].contains("<body>&gt; hi\nwaves</body>") && said[0].contains("end='5'"), "{said:?}");
    }

    #[test]
    fn times() {
        assert_eq!(stamp(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(stamp(Timestamp(1_709_208_000_123)), "2024-02-29T12:00:00.123Z");
        assert_eq!(stamp(Timestamp(4_102_444_799_999)), "2099-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn parts_add_up(text in ".{0,400}", most in 4usize..50) {
            let parts = split(&text, most);
            prop_assert!(parts.iter().all(|part| part.len() <= most));
            prop_assert_eq!(parts.concat(), text);
        }
    }
}
