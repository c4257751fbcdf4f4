//! Privileges (XEP-0356): what the server lets us do in the name of its users.
//!
//! Both revisions that servers speak: `urn:xmpp:privilege:2` (Prosody, ejabberd from 24.10 on) and `:1` (ejabberd 23.01). An
//! advert counts only when a domain that has users of ours said it itself, and for that domain only.
//!
//! [`iq`] makes requests in users' names and reads the answers.

pub mod iq;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use minidom::Element;

use crate::xmpp::from_stanza::ns as message_ns;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{Domain, NS_CLIENT, OutStanza, Stanza, StanzaKind};
use crate::xmpp::xml;

/// The namespaces of the revisions, the newest first.
const NAMESPACES: [&str; 2] = ["urn:xmpp:privilege:2", "urn:xmpp:privilege:1"];

/// XEP-0297.
const NS_FORWARD: &str = "urn:xmpp:forward:0";

/// Marks what we said in a user's name, so that we know it when the server routes it to us.
const NS_OWN: &str = "urn:portway:own";

/// How many domains may have granted something.
const DOMAINS: usize = 64;

/// How many namespaces of requests are remembered of a domain.
const REQUESTS: usize = 64;

/// What a domain lets us do for its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// The revision that it speaks.
    pub ns: &'static str,
    /// Reading rosters.
    pub roster_get: bool,
    /// Changing rosters.
    pub roster_set: bool,
    /// Sending messages that users' devices and archives have then. Never in the older revision.
    pub message: bool,
    /// Seeing users' presence.
    pub presence: bool,
    /// The requests that we may make in users' names, by the namespace of what is asked (section 6).
    pub iq: BTreeMap<String, Requests>,
}

/// The types of requests of one namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// Asking.
    pub get: bool,
    /// Changing.
    pub set: bool,
}

impl Grants {
    /// Nothing is granted, in this revision.
    #[must_use]
    pub fn none(ns: &'static str) -> Self {
        Self { ns, roster_get: false, roster_set: false, message: false, presence: false, iq: BTreeMap::new() }
    }

    /// The requests of this namespace that we may make.
    #[must_use]
    pub fn requests(&self, ns: &str) -> Requests {
        self.iq.get(ns).copied().unwrap_or_default()
    }
}

/// What the domains have granted on this connection.
#[derive(Debug, Default)]
pub struct Privileges(Mutex<HashMap<String, Grants>>);

impl Privileges {
    /// Takes an advert. `hosts`: the domains that may speak for users of ours. False where the stanza is none, or is
    /// forged.
    pub fn learn(&self, stanza: &Stanza, hosts: &[String]) -> bool {
        let Some(from) = &stanza.from else { return false };
        let server = from.node().is_none() && from.is_bare() && hosts.iter().any(|host| host == from.domain());
        if !server || stanza.kind != StanzaKind::Message || stanza.type_.as_deref() == Some("error") {
            return false;
        }
        let Some(grants) = read(&stanza.element) else { return false };
        let mut domains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if domains.len() < DOMAINS || domains.contains_key(from.domain()) {
            domains.insert(from.domain().to_owned(), grants);
        }
        true
    }

    /// A new connection: what was granted before is not granted any more.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What a domain has granted.
    #[must_use]
    pub fn of(&self, domain: &str) -> Option<Grants> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(domain).cloned()
    }
}

/// Reads an advert. All descendants count, not only children: Prosody's module of Debian 12 nests what belongs side by side.
fn read(message: &Element) -> Option<Grants> {
    let ns = NAMESPACES.into_iter().find(|ns| message.has_child("privilege", *ns))?;
    let mut grants = Grants::none(ns);
    // The depth was limited while the stanza was read.
    let mut open: Vec<&Element> = message.get_child("privilege", ns)?.children().collect();
    while let Some(element) = open.pop() {
        open.extend(element.children());
        if element.is("namespace", ns) {
            if let (Some(of), Some(type_)) = (element.attr("ns"), element.attr("type"))
                && (grants.iq.len() < REQUESTS || grants.iq.contains_key(of))
            {
                let requests = grants.iq.entry(of.to_owned()).or_default();
                requests.get |= matches!(type_, "get" | "both");
                requests.set |= matches!(type_, "set" | "both");
            }
            continue;
        }
        if !element.is("perm", ns) {
            continue;
        }
        match (element.attr("access"), element.attr("type")) {
            (Some("roster"), Some(type_)) => {
                grants.roster_get |= matches!(type_, "get" | "both");
                grants.roster_set |= matches!(type_, "set" | "both");
            }
            // The older revision may mean ejabberd 23.01, which brings such a message to the contact and to nobody else: no
            // device of the user and no archive would have it.
            (Some("message"), Some("outgoing")) => grants.message = ns == NAMESPACES[0],
            (Some("presence"), Some("managed_entity" | "roster")) => grants.presence = true,
            _ => {}
        }
    }
    Some(grants)
}

/// A message that a contact would have said to a user, turned into one that the user has said to the contact.
///
/// `rendered` is the message as the contact's. The answer is for the user's server, which sends what is in it as if a
/// device of the user had; `None` where an address is missing.
#[must_use]
pub fn in_the_user_s_name(rendered: &OutStanza, component: &Domain, grants: &Grants) -> Option<OutStanza> {
    let user = Jid::parse(rendered.to()).ok()?;
    let contact = rendered.element().attr("from").and_then(|from| Jid::parse(from).ok())?;
    let server = Jid::from_parts(None, user.domain(), None).ok()?;
    let mut message =
        xml::element("message", NS_CLIENT, &[("from", user.bare_str()), ("to", contact.bare_str()), ("type", "chat")]);
    if let Some(id) = rendered.element().attr("id") {
        xml::set(&mut message, "id", id);
    }
    let not_theirs = |payload: &Element| {
        payload.is("nick", message_ns::NICK)
            || payload.is("markable", message_ns::MARKERS)
            || payload.ns() == message_ns::CHATSTATES
            || payload.is("store", message_ns::HINTS)
    };
    for payload in rendered.element().children().filter(|payload| !not_theirs(payload)) {
        message.append_child(payload.clone());
    }
    message.append_child(Element::bare("store", message_ns::HINTS));
    message.append_child(Element::bare("own", NS_OWN));
    let mut forwarded = Element::bare("forwarded", NS_FORWARD);
    forwarded.append_child(message);
    let mut privilege = Element::bare("privilege", grants.ns);
    privilege.append_child(forwarded);
    let id = rendered.element().attr("id");
    Some(OutStanza::new(StanzaKind::Message, &component.jid(), &server, None, id).with(privilege))
}

/// Whether a stanza is what we said in a user's name. A user who forges the mark is not heard, and harms nobody else.
#[must_use]
pub fn is_our_own(stanza: &Stanza) -> bool {
    stanza.kind == StanzaKind::Message && stanza.child("own", NS_OWN).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::stream::write;

    fn stanza(text: &str) -> Stanza {
        Stanza::from_element(text.parse().unwrap()).unwrap()
    }

    fn advert(from: &str, ns: &str, perms: &str) -> Stanza {
        stanza(&format!(
            "<message xmlns='jabber:client' from='{from}' to='m.capulet.lit'><privilege xmlns='{ns}'>{perms}</privilege></message>"
        ))
    }

    const ALL: &str = "<perm access='roster' type='both'/><perm access='message' type='outgoing'/>\
                       <perm access='presence' type='managed_entity'/>";

    #[test]
    fn p1_only_the_server_s_own_domain_grants_and_only_for_itself() {
        let hosts = ["capulet.lit".to_owned(), "montague.lit".to_owned()];
        let privileges = Privileges::default();
        for forger in ["eve@capulet.lit/x", "eve@capulet.lit", "capulet.lit/x", "evil.example", "sub.capulet.lit"] {
            assert!(!privileges.learn(&advert(forger, NAMESPACES[0], ALL), &hosts), "{forger}");
        }
        let mut error = advert("capulet.lit", NAMESPACES[0], ALL);
        error.type_ = Some("error".into());
        assert!(!privileges.learn(&error, &hosts));
        assert_eq!(privileges.of("capulet.lit"), None);
        assert!(privileges.learn(&advert("capulet.lit", NAMESPACES[0], ALL), &hosts));
        assert!(privileges.of("capulet.lit").is_some_and(|grants| grants.roster_set && grants.message));
        assert_eq!(privileges.of("montague.lit"), None);
        // What the server says last holds.
        privileges.learn(&advert("capulet.lit", NAMESPACES[0], "<perm access='roster' type='get'/>"), &hosts);
        assert!(privileges.of("capulet.lit").is_some_and(|grants| !grants.roster_set && !grants.message));
        privileges.forget();
        assert_eq!(privileges.of("capulet.lit"), None);
    }

    #[test]
    fn p2_both_revisions_are_read_also_nested() {
        for ns in NAMESPACES {
            let grants = read(&advert("h", ns, ALL).element).unwrap();
            let message = ns == NAMESPACES[0];
            let all = Grants { roster_get: true, roster_set: true, message, presence: true, ..Grants::none(ns) };
            assert_eq!(grants, all);
        }
        let nested = "<perm access='iq'><namespace ns='a' type='both'><namespace ns='b' type='both'/>\
                      <perm access='roster' type='set'/></namespace></perm>";
        assert!(read(&advert("h", NAMESPACES[0], nested).element).unwrap().roster_set);
        let none = "<perm access='roster' type='none'/><perm access='message'/><perm type='both'/><x/>";
        let grants = read(&advert("h", NAMESPACES[1], none).element).unwrap();
        assert!(!grants.roster_get && !grants.roster_set && !grants.message);
        assert!(read(&advert("h", "urn:xmpp:privilege:0", ALL).element).is_none());
    }

    #[test]
    fn p8_requests_are_granted_by_namespace_and_type_also_nested() {
        let flat = "<perm access='iq'><namespace ns='a' type='both'/><namespace ns='b' type='get'/></perm>";
        let nested =
            "<perm access='iq'><namespace ns='a' type='both'><namespace ns='b' type='get'/></namespace></perm>";
        for perms in [flat, nested] {
            let grants = read(&advert("h", NAMESPACES[0], perms).element).unwrap();
            assert_eq!(grants.requests("a"), Requests { get: true, set: true }, "{perms}");
            assert_eq!(grants.requests("b"), Requests { get: true, set: false }, "{perms}");
            assert_eq!(grants.requests("c"), Requests::default());
        }
        let none = "<perm access='iq'><namespace ns='a' type='none'/><namespace ns='b'/><namespace type='both'/>\
                    <namespace xmlns='urn:x' ns='c' type='both'/></perm>";
        let grants = read(&advert("h", NAMESPACES[0], none).element).unwrap();
        assert!(["a", "b", "c"].iter().all(|ns| grants.requests(ns) == Requests::default()));
        let many: String = (0..1000).map(|n| format!("<namespace ns='{n}' type='both'/>")).collect();
        let many = format!("<perm access='iq'>{many}</perm>");
        assert_eq!(read(&advert("h", NAMESPACES[0], &many).element).unwrap().iq.len(), REQUESTS);
    }

    #[test]
    fn p4_the_user_s_own_message_goes_out_in_their_name_and_comes_back_known() {
        let component = Domain::new("m.capulet.lit").unwrap();
        let alice = component.address(Some("alice%hs"), Some("portway")).unwrap();
        let juliet = Jid::parse("juliet@capulet.lit").unwrap();
        let rendered = OutStanza::new(StanzaKind::Message, &alice, &juliet, Some("chat"), Some("$e"))
            .with(xml::text("body", NS_CLIENT, "hi"))
            .with(Element::bare("markable", message_ns::MARKERS))
            .with(xml::text("nick", message_ns::NICK, "Alice"));
        let grants = Grants { message: true, ..Grants::none(NAMESPACES[0]) };
        let out = in_the_user_s_name(&rendered, &component, &grants).unwrap();
        let mut bytes = Vec::new();
        write::stanza(&mut bytes, out.element());
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with(
                "<message from='m.capulet.lit' id='$e' to='capulet.lit'><privilege xmlns='urn:xmpp:privilege:2'>"
            ),
            "{text}"
        );
        assert!(text.contains("<message xmlns='jabber:client'"), "{text}");
        assert!(text.contains("from='juliet@capulet.lit'") && text.contains("to='alice%hs@m.capulet.lit'"), "{text}");
        assert!(text.contains("<store xmlns='urn:xmpp:hints'/>") && !text.contains("Alice"), "{text}");
        let inner = out.element().get_child("privilege", NAMESPACES[0]).unwrap();
        let inner = inner.get_child("forwarded", NS_FORWARD).unwrap().get_child("message", NS_CLIENT).unwrap();
        assert!(is_our_own(&Stanza::from_element(inner.clone()).unwrap()));
        assert!(!is_our_own(&stanza("<message xmlns='jabber:client' from='u@h'><own xmlns='urn:x'/></message>")));
    }
}
