//! The front doors of the gateway's own address: which of them a stanza knocks at, and what the gateway says unasked.

use std::sync::Arc;

use minidom::Element;
use portway_bridges::api::{Condition, Sentence, UserId};

use super::chat::Talks;
use super::form::Words;
use super::iq::{ns, result};
use super::jid::Jid;
use super::stanza::{Domain, NS_CLIENT, OurJid, OutStanza, Stanza, StanzaKind};
use super::stream::{Link, Priority};
use super::{adhoc, register, search, xml};
use crate::command::Commander;
use crate::identity::access;

/// What the gateway can do besides.
pub const FEATURES: [&str; 5] = [adhoc::NS, register::NS, search::NS, REPORTING, super::form::NS];

/// Reports of spam and abuse (XEP-0377).
const REPORTING: &str = "urn:xmpp:reporting:1";

/// The namespace of blocking (XEP-0191).
const BLOCKING: &str = "urn:xmpp:blocking";

/// How long the text of a report may be, in characters.
const REPORT: usize = 1000;

/// The front doors.
pub struct Doors {
    /// The commands.
    pub commander: Arc<Commander>,
    /// Chats in which a form is open.
    pub talks: Talks,
}

impl Doors {
    /// Opens them.
    #[must_use]
    pub fn new(commander: Arc<Commander>) -> Self {
        Self { commander, talks: Talks::default() }
    }

    /// Answers a request to the gateway itself that is about commands, registration or search, and reports to anybody of
    /// ours. `None` where it is none of these.
    pub async fn iq(&self, stanza: &Stanza, us: &OurJid) -> Option<OutStanza> {
        let set = match stanza.type_.as_deref() {
            Some("get") => false,
            Some("set") => true,
            _ => return None,
        };
        let mut children = stanza.element.children();
        let (Some(payload), None, true) = (children.next(), children.next(), stanza.id.is_some()) else { return None };
        let user = stanza.from.as_ref().and_then(access::user);
        if set && payload.is("block", BLOCKING) && contains_report(payload) {
            self.reports(payload, us, &user?).await;
            return result(stanza, us, None);
        }
        if us.jid().node().is_some() {
            return None;
        }
        let commander = &self.commander;
        let words = Words { texts: &commander.house.texts, lang: stanza.lang.as_deref() };
        if !set && payload.is("query", ns::DISCO_ITEMS) && payload.attr("node") == Some(adhoc::NS) {
            let Some(user) = user.filter(|user| commander.house.access.allows(user)) else {
                return result(stanza, us, Some(xml::element("query", ns::DISCO_ITEMS, &[("node", adhoc::NS)])));
            };
            return result(stanza, us, Some(adhoc::items(us, &user, commander, words)));
        }
        if !set && payload.is("query", ns::DISCO_INFO) {
            let user = user.filter(|user| commander.house.access.allows(user))?;
            let info = adhoc::info(payload.attr("node")?, &user, commander, words)?;
            return result(stanza, us, Some(info));
        }
        if set && payload.is("command", adhoc::NS) {
            return adhoc::answer(stanza, us, payload, &user?, commander).await;
        }
        if payload.is("query", register::NS) {
            return register::answer(stanza, us, payload, &user?, commander).await;
        }
        if payload.is("query", search::NS) {
            return search::answer(stanza, us, payload, &user?, commander).await;
        }
        None
    }

    /// Answers a line that was written to the gateway itself.
    pub async fn line(&self, stanza: &Stanza, us: &OurJid, user: &UserId, text: &str) -> Option<OutStanza> {
        let words = Words { texts: &self.commander.house.texts, lang: stanza.lang.as_deref() };
        let answer = self.talks.line(&self.commander, user, text, words).await;
        let to = stanza.from.as_ref()?;
        Some(
            OutStanza::new(StanzaKind::Message, us, to, Some("chat"), None).with(xml::text("body", NS_CLIENT, &answer)),
        )
    }

    /// Takes a report out of a message, if there is one; says whether there was.
    pub async fn reported(&self, stanza: &Stanza, us: &OurJid, user: &UserId) -> bool {
        if stanza.type_.as_deref() == Some("error") || !contains_report(&stanza.element) {
            return false;
        }
        self.reports(&stanza.element, us, user).await;
        true
    }

    async fn reports(&self, within: &Element, us: &OurJid, user: &UserId) {
        let house = &self.commander.house;
        for (report, about) in reports_in(within) {
            let reason = report.attr("reason").unwrap_or_default().rsplit(':').next().unwrap_or_default().to_owned();
            let text = report.get_child("text", REPORTING).map(Element::text).unwrap_or_default();
            let sentence = Sentence::new("command.reported")
                .with("user", user.to_string())
                .with("who", about.unwrap_or_else(|| us.jid().bare_str().to_owned()))
                .with("reason", reason)
                .with("text", super::from_stanza::clean(&text).chars().take(REPORT).collect::<String>());
            if let Err(error) = house.tell_admins(&house.texts.text(&sentence, None)).await {
                tracing::error!(network = %house.network, %error, "the admins cannot be told of a report");
            }
        }
    }

    /// The name that a user has chosen to go by, if any.
    pub async fn chosen_name(&self, user: &UserId) -> Option<String> {
        let choices = self.commander.house.choices(user).await.ok()??;
        Some(choices.name).filter(|name| !name.is_empty())
    }

    /// What keeps a user from writing to anybody at all, or this person: a rule, or that they must register first.
    pub async fn keeps_out(
        &self,
        user: &UserId,
        person: Option<&portway_bridges::api::PersonId>,
    ) -> Option<(Condition, Sentence)> {
        use crate::command::Registration;
        use crate::identity::Barrier;
        let house = &self.commander.house;
        let failed = || Some((Condition::InternalServerError, Sentence::new("core.store-failed")));
        let barrier = match person {
            Some(person) => house.rules.between(user, person).await,
            None => house.rules.denies_user(user).await.map(|denied| denied.then_some(Barrier::Admin)),
        };
        match barrier {
            Ok(Some(Barrier::Admin)) => return Some((Condition::Forbidden, Sentence::new("command.by-admin"))),
            Ok(Some(Barrier::User)) => return Some((Condition::NotAllowed, Sentence::new("command.by-you"))),
            Ok(None) => {}
            Err(_) => return failed(),
        }
        if house.registration == Registration::Required && person.is_some() {
            return match house.choices(user).await {
                Ok(Some(_)) => None,
                Ok(None) => Some((Condition::RegistrationRequired, Sentence::new("register.must"))),
                Err(_) => failed(),
            };
        }
        None
    }
}

fn contains_report(within: &Element) -> bool {
    reports_in(within).next().is_some()
}

/// Reports, and whom they are about: in the items of a block, or in a message itself.
fn reports_in(within: &Element) -> impl Iterator<Item = (&Element, Option<String>)> {
    let own = within.children().filter(|child| child.is("report", REPORTING)).map(|report| (report, None));
    let items = within
        .children()
        .filter(|child| child.is("item", BLOCKING))
        .filter_map(|item| Some((item.get_child("report", REPORTING)?, item.attr("jid").map(str::to_owned))));
    own.chain(items).take(10)
}

/// What the gateway does on the link unasked.
pub struct Voice {
    /// The component's domain.
    pub domain: Domain,
    /// The connection.
    pub link: Link,
}

impl Voice {
    fn presence(&self, from: &OurJid, user: &UserId, type_: &str) {
        let Ok(to) = Jid::from_parts(Some(user.local()), user.host(), None) else { return };
        let presence = OutStanza::new(StanzaKind::Presence, from, &to, Some(type_), None);
        // Best effort: where it is lost, the user's server finds out with its next probe.
        if let Err(error) = self.link.send(&presence, Priority::Low) {
            tracing::debug!(domain = self.domain.as_str(), %error, "a presence of the gateway was not sent");
        }
    }

    /// The gateway leaves a user's contact list (XEP-0100, section 4.3).
    pub fn leave(&self, user: &UserId) {
        for type_ in ["unsubscribe", "unsubscribed", "unavailable"] {
            self.presence(&self.domain.jid(), user, type_);
        }
    }
}
