//! What users' devices can do, as far as there is a use for it (XEP-0115).
//!
//! Presence names what a device can do by a hash; who has it is asked once, and what the hash proves (section 5.4) holds for
//! everybody who names it. What it does not prove holds for that device only.
//!
//! Bounded: devices over a bound are not looked at, and of what is asked only [`Features`] are kept.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use minidom::Element;
use sha1::{Digest as _, Sha1};

use crate::xmpp::face::card::NODE_METADATA;
use crate::xmpp::from_stanza::ns::{NICK, REACTIONS, REPLY};
use crate::xmpp::iq::ns::{CAPS, DISCO_INFO};
use crate::xmpp::jid::Jid;
use crate::xmpp::rich;
use crate::xmpp::roster::offer;
use crate::xmpp::stanza::{OurJid, OutStanza, Stanza, StanzaKind};
use crate::xmpp::xml;

const NS_FORM: &str = "jabber:x:data";

/// How many devices are remembered in all, and of one user.
const DEVICES: usize = 20_000;
const DEVICES_OF_ONE: usize = 16;

/// How many hashes are remembered.
const HASHES: usize = 5_000;

/// How many questions may be under way.
const ASKING: usize = 1_000;

/// The longest name of what a device can do.
const NAME: usize = 512;

/// What there is a use for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// It wants to hear of names (XEP-0172).
    pub names: bool,
    /// It wants to hear of pictures (XEP-0084).
    pub pictures: bool,
    /// It takes contacts that are offered (XEP-0144).
    pub offers: bool,
    /// It shows formatted text as XHTML (XEP-0071).
    pub xhtml: bool,
    /// It shows formatted text by marks beside it (XEP-0394).
    pub markup: bool,
    /// It shows reactions (XEP-0444).
    pub reactions: bool,
    /// It shows what an answer answers (XEP-0461).
    pub answers: bool,
}

/// What presence names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    node: String,
    ver: String,
    /// The algorithm; none in the form of before 2008, which proves nothing.
    hash: Option<String>,
}

impl Named {
    /// What a presence names; none where it is too long to be true.
    #[must_use]
    pub fn read(presence: &Element) -> Option<Self> {
        let caps = presence.get_child("c", CAPS)?;
        let text =
            |name: &str| caps.attr(name).filter(|text| !text.is_empty() && text.len() <= NAME).map(str::to_owned);
        Some(Self { node: text("node")?, ver: text("ver")?, hash: text("hash") })
    }

    /// What can be proven, and shared.
    fn proof(&self) -> Option<&str> {
        self.hash.as_deref().filter(|hash| *hash == "sha-1").map(|_| self.ver.as_str())
    }
}

/// A question that is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whom.
    pub device: Jid,
    named: Named,
}

impl Question {
    /// The question as a stanza.
    #[must_use]
    pub fn stanza(&self, us: &OurJid) -> OutStanza {
        let node = format!("{}#{}", self.named.node, self.named.ver);
        let query = xml::element("query", DISCO_INFO, &[("node", &node)]);
        OutStanza::new(StanzaKind::Iq, us, &self.device, Some("get"), None).with(query)
    }

    /// Under which only one question is asked at a time.
    fn key(&self) -> String {
        self.named.proof().map_or_else(|| format!("/{}", self.device), str::to_owned)
    }
}

/// What is known.
#[derive(Debug, Default)]
pub struct Caps(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    users: HashMap<String, User>,
    devices: usize,
    known: HashMap<String, Features>,
    asking: HashSet<String>,
}

#[derive(Debug, Default)]
struct User {
    devices: BTreeMap<String, Device>,
    /// Whether there are more.
    more: bool,
}

#[derive(Debug, Default)]
struct Device {
    named: Option<Named>,
    asked: bool,
    /// What holds for it alone.
    own: Option<Features>,
}

impl Caps {
    /// A device is there, and its presence names this, or nothing, or (`None`) it was not presence. Returns what is to be
    /// asked.
    pub fn came(&self, device: &Jid, named: Option<Option<Named>>) -> Option<Question> {
        let resource = device.resource()?;
        let mut guard = self.table();
        let table = &mut *guard;
        let user = table.users.entry(device.bare_str().to_owned()).or_default();
        if !user.devices.contains_key(resource) {
            if user.devices.len() >= DEVICES_OF_ONE || table.devices >= DEVICES {
                user.more = true;
                return None;
            }
            user.devices.insert(resource.to_owned(), Device::default());
            table.devices += 1;
        }
        let known = user.devices.get_mut(resource)?;
        let named = named?;
        if known.named != named {
            *known = Device { named: named.clone(), ..Device::default() };
        }
        let named = named?;
        if known.asked || named.proof().is_some_and(|proof| table.known.contains_key(proof)) {
            return None;
        }
        let question = Question { device: device.clone(), named };
        if table.asking.len() >= ASKING || !table.asking.insert(question.key()) {
            // The next presence of it asks, unless somebody else's answer has come by then.
            return None;
        }
        known.asked = true;
        Some(question)
    }

    /// The answer to a question, or that none came.
    pub fn answered(&self, question: &Question, answer: Option<&Stanza>) {
        let mut table = self.table();
        table.asking.remove(&question.key());
        let info = answer.filter(|answer| answer.type_.as_deref() == Some("result"));
        let Some(info) = info.and_then(|answer| answer.child("query", DISCO_INFO)) else { return };
        let features = features(info);
        match question.named.proof().filter(|proof| verification(info).as_deref() == Some(*proof)) {
            Some(proof) => {
                if table.known.len() >= HASHES {
                    table.known.clear();
                }
                table.known.insert(proof.to_owned(), features);
            }
            None => {
                let user = table.users.get_mut(question.device.bare_str());
                let device = user.and_then(|user| user.devices.get_mut(question.device.resource()?));
                if let Some(device) = device.filter(|device| device.named.as_ref() == Some(&question.named)) {
                    device.own = Some(features);
                }
            }
        }
    }

    /// A device has gone; without a resource, all devices of the user.
    pub fn went(&self, device: &Jid) {
        let mut table = self.table();
        let Some(user) = table.users.get_mut(device.bare_str()) else { return };
        let before = user.devices.len();
        match device.resource() {
            Some(resource) => drop(user.devices.remove(resource)),
            None => user.devices.clear(),
        }
        let (gone, empty) = (before - user.devices.len(), user.devices.is_empty());
        table.devices -= gone;
        if empty {
            table.users.remove(device.bare_str());
        }
    }

    /// Nobody is known to be there any more; what hashes mean stays.
    pub fn forget(&self) {
        let mut table = self.table();
        table.users.clear();
        table.devices = 0;
    }

    /// Where something goes that only some devices want: to those that do where all devices of the user are known, else to
    /// the user, whose server gives it to all.
    #[must_use]
    pub fn receivers(&self, user: &Jid, wants: fn(Features) -> bool) -> Vec<Jid> {
        let table = self.table();
        let all = || vec![user.to_bare()];
        let Some(known) = table.users.get(user.bare_str()).filter(|known| !known.more) else { return all() };
        let mut receivers = Vec::new();
        for (resource, device) in &known.devices {
            match table.features(device) {
                None => return all(),
                Some(features) if wants(features) => receivers.extend(full(user, resource)),
                Some(_) => {}
            }
        }
        receivers
    }

    /// A device of the user that is known to be able to do something.
    #[must_use]
    pub fn able(&self, user: &Jid, can: fn(Features) -> bool) -> Option<Jid> {
        let table = self.table();
        let mut devices = table.users.get(user.bare_str())?.devices.iter();
        let (resource, _) = devices.find(|(_, device)| table.features(device).is_some_and(can))?;
        full(user, resource)
    }

    /// Whether the user's devices are all known, there is one, and this is true of each of them.
    #[must_use]
    pub fn all(&self, user: &Jid, is_true: fn(Features) -> bool) -> bool {
        let table = self.table();
        let Some(known) = table.users.get(user.bare_str()).filter(|known| !known.more) else { return false };
        let mut devices = known.devices.values();
        !known.devices.is_empty() && devices.all(|device| table.features(device).is_some_and(is_true))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn features(&self, device: &Device) -> Option<Features> {
        let shared = device.named.as_ref().and_then(Named::proof).and_then(|proof| self.known.get(proof));
        shared.copied().or(device.own)
    }
}

fn full(user: &Jid, resource: &str) -> Option<Jid> {
    Jid::from_parts(user.node(), user.domain(), Some(resource)).ok()
}

fn features(info: &Element) -> Features {
    let has = |wanted: &str| {
        let mut features = info.children().filter(|child| child.is("feature", DISCO_INFO));
        features.any(|feature| feature.attr("var") == Some(wanted))
    };
    let notify = |node: &str| has(&format!("{node}+notify"));
    Features {
        names: notify(NICK),
        pictures: notify(NODE_METADATA),
        offers: has(offer::NS),
        xhtml: has(rich::ns::XHTML_IM),
        markup: has(rich::ns::MARKUP),
        reactions: has(REACTIONS),
        answers: has(REPLY),
    }
}

/// What an answer proves: its hash as section 5.1 has it, or nothing where it is ill-formed (section 5.4). An answer with a
/// `<` in it proves nothing either: another one with the same hash could be made of it.
fn verification(info: &Element) -> Option<String> {
    let of = |name: &'static str| info.children().filter(move |child| child.is(name, DISCO_INFO));
    let mut identities = BTreeSet::new();
    for identity in of("identity") {
        let [category, type_, name] = ["category", "type", "name"].map(|name| identity.attr(name).unwrap_or_default());
        let lang = xml::lang(identity).unwrap_or_default();
        if !identities.insert(format!("{category}/{type_}/{lang}/{name}")) {
            return None;
        }
    }
    let mut features = BTreeSet::new();
    for feature in of("feature") {
        if !features.insert(feature.attr("var").unwrap_or_default().to_owned()) {
            return None;
        }
    }
    let mut forms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for form in info.children().filter(|child| child.is("x", NS_FORM)) {
        let fields = || form.children().filter(|child| child.is("field", NS_FORM));
        let values = |field: &Element| {
            let values = field.children().filter(|child| child.is("value", NS_FORM));
            values.map(Element::text).collect::<Vec<String>>()
        };
        let Some(kind) = fields().find(|field| field.attr("var") == Some("FORM_TYPE")) else { continue };
        if kind.attr("type") != Some("hidden") {
            continue;
        }
        let types: BTreeSet<String> = values(kind).into_iter().collect();
        let mut parts: Vec<(String, Vec<String>)> = fields()
            .filter(|field| field.attr("var") != Some("FORM_TYPE"))
            .map(|field| (field.attr("var").unwrap_or_default().to_owned(), values(field)))
            .collect();
        parts.sort();
        let mut flat = Vec::new();
        for (var, mut values) in parts {
            values.sort();
            flat.push(var);
            flat.extend(values);
        }
        let type_ = Some(types).filter(|types| types.len() == 1)?.pop_first()?;
        if forms.insert(type_, flat).is_some() {
            return None;
        }
    }
    let forms = forms.into_iter().flat_map(|(type_, parts)| std::iter::once(type_).chain(parts));
    let mut text = String::new();
    for part in identities.into_iter().chain(features).chain(forms) {
        if part.contains('<') {
            return None;
        }
        text.push_str(&part);
        text.push('<');
    }
    Some(base64::engine::general_purpose::STANDARD.encode(Sha1::digest(text)))
}

#[cfg(test)]
mod tests;
