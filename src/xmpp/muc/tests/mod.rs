//! The requirements of rooms, by their numbers.

mod failed;
mod join;
mod people;
mod said;

use minidom::Element;
use portway_bridges::api::{Chat, ChatInfo, EventId, Failure, Kind, Membership, Occupant, PersonId, SentenceDef, Text};

use super::*;
use crate::text::en;
use crate::xmpp::from_stanza;
use crate::xmpp::stream::write;

/// A sentence in a second language, to see that the user's own is chosen.
const OURS: [SentenceDef; 1] = [SentenceDef { key: "core.no-rooms", lang: "de", text: "Hier gibt es keine Räume." }];

struct House {
    muc: Muc,
    domain: Domain,
}

fn house() -> House {
    let domain = Domain::new("m.x").unwrap();
    let config = MucConfig {
        domain: domain.clone(),
        occupant_key: [7; 32],
        history_len: 20,
        max_presence: 3,
        max_sessions: 100,
        texts: Arc::new(Catalogue::new(en::SENTENCES.iter().chain(&OURS))),
        linking: crate::xmpp::file::write::tests::linking(),
    };
    House { muc: Muc::new(config), domain }
}

const ROOM: &str = "#town%hs";

fn room_id() -> RoomId {
    RoomId::id("abc", None).unwrap()
}

fn alice() -> PersonId {
    PersonId::new("alice", "hs").unwrap()
}

fn info() -> ChatInfo {
    let members = (0..5).map(|n| Occupant {
        person: PersonId::new(&format!("p{n}"), "hs").unwrap(),
        name: Some(format!("P {n}")),
        level: if n == 4 { 100 } else { 0 },
    });
    ChatInfo {
        room: room_id(),
        name: Some("Town".into()),
        topic: Some("the topic".into()),
        members: members.collect(),
        member_count: 5,
        next: None,
    }
}

impl House {
    fn stanza(&self, text: &str) -> (Stanza, OurJid) {
        let text = text.replacen(" ", " xmlns='jabber:client' ", 1);
        let stanza = Stanza::from_element(text.parse::<Element>().unwrap()).unwrap();
        let us = self.domain.own(stanza.to.as_ref().unwrap()).unwrap();
        (stanza, us)
    }

    fn presence(&self, text: &str) -> Vec<Effect> {
        let (stanza, us) = self.stanza(text);
        let Ok(address::Parsed::Room(room)) = address::parse(us.jid().node().unwrap()) else { panic!("no room") };
        self.muc.presence(&stanza, &us, room, Timestamp(1000))
    }

    fn join(&self, jid: &str, nick: &str, face: &str) -> Vec<Effect> {
        let asked = self.presence(&format!(
            "<presence from='{jid}' to='{face}@m.x/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ));
        let [Effect::Enter { ticket, .. }] = asked.as_slice() else { return asked };
        self.let_in(*ticket, info())
    }

    /// What the component does when the network has let somebody in; what it sends, and what else is to be done.
    fn let_in(&self, ticket: u64, info: ChatInfo) -> Vec<Effect> {
        let entered = self.muc.entered(ticket, Ok((info, vec![])), Timestamp(1000));
        let [Effect::Admit { ticket, .. }] = entered.as_slice() else { return entered };
        let mut out = Vec::new();
        let mut send = |stanza: &OutStanza| {
            out.push(Effect::Send(stanza.clone()));
            true
        };
        let more = self.muc.admit(*ticket, Timestamp(1000), &mut send);
        out.extend(more);
        out
    }

    /// Asks to join; the ticket.
    fn ask(&self, jid: &str, nick: &str, more: &str) -> u64 {
        let asked = self.presence(&format!(
            "<presence from='{jid}' to='{ROOM}@m.x/{nick}' id='j1'><x xmlns='http://jabber.org/protocol/muc'>{more}</x></presence>"
        ));
        let [Effect::Enter { ticket, .. }] = asked.as_slice() else { panic!("{asked:?}") };
        *ticket
    }

    fn render(&self, kind: Kind) -> Vec<String> {
        let item = Item {
            chat: Chat::Room(room_id()),
            speaker: Speaker::Person { id: alice(), name: Some("Alice".into()) },
            at: Timestamp(3000),
            kind,
            meta: Meta { remote_id: Some("$x".into()), ..Meta::default() },
        };
        self.muc.render(EventId(77), &item, Timestamp(3000)).iter().map(text).collect()
    }

    fn say(&self, jid: &str, body: &str) -> Vec<Effect> {
        let (stanza, us) = self.stanza(&format!(
            "<message from='{jid}' to='{ROOM}@m.x' type='groupchat' id='c1'><body>{body}</body>\
             <origin-id xmlns='urn:xmpp:sid:0' id='c1'/><stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}@m.x' id='forged'/></message>"
        ));
        let parsed = from_stanza::message(&stanza);
        self.muc.message(&stanza, &us, parsed, Timestamp(2000))
    }

    fn ping(&self, jid: &str, nick: &str) -> String {
        let (stanza, us) = self.stanza(&format!(
            "<iq from='{jid}' to='{ROOM}@m.x/{nick}' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"
        ));
        sent(&self.muc.iq(&stanza, &us, &room_id())).join("")
    }

    fn person_says(&self, id: i64, who: &PersonId, body: &str) -> Vec<String> {
        let item = Item {
            chat: Chat::Room(room_id()),
            speaker: Speaker::Person { id: who.clone(), name: Some("Alice".into()) },
            at: Timestamp(3000),
            kind: Kind::Text(Text::plain(body)),
            meta: Meta { remote_id: Some(format!("$e{id}")), ..Meta::default() },
        };
        self.muc.render(EventId(id), &item, Timestamp(3000)).iter().map(text).collect()
    }
}

fn text(stanza: &OutStanza) -> String {
    let mut out = Vec::new();
    write::stanza(&mut out, stanza.element());
    String::from_utf8(out).unwrap()
}

fn sent(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Send(stanza) = effect { Some(text(stanza)) } else { None })
        .collect()
}

/// What a newcomer is sent, by sort.
fn order(effects: &[Effect]) -> String {
    sent(effects)
        .iter()
        .map(|stanza| match () {
            () if stanza.contains("code='110'") => 'S',
            () if stanza.starts_with("<presence") => 'p',
            () if stanza.contains("<subject") => 's',
            () => 'm',
        })
        .collect()
}
