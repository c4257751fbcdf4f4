//! What the gateway says of itself besides what it can do: whom to turn to (XEP-0157), since when it runs (XEP-0012), what
//! time it is (XEP-0202), and its capabilities a second time (XEP-0390).

use minidom::Element;
use portway_bridges::api::Timestamp;
use xmpp_parsers::data_forms::DataForm;
use xmpp_parsers::disco::DiscoInfoResult;
use xmpp_parsers::ecaps2::{self, ECaps2};
use xmpp_parsers::hashes::Algo;
use xmpp_parsers::server_info::ServerInfo;

use super::iq;
use super::jid::Jid;
use super::stanza::{OurJid, OutStanza, Stanza};
use super::xml;

/// Last activity (XEP-0012).
pub const LAST: &str = "jabber:iq:last";

/// Entity time (XEP-0202).
pub const TIME: &str = "urn:xmpp:time";

/// XEP-0390; its nodes begin with it.
pub const CAPS: &str = "urn:xmpp:caps";

/// The hash of XEP-0390. One is enough: it is the one that everybody must know (XEP-0300).
const ALGORITHM: &str = "sha-256";

/// What the gateway knows of itself. Cheap to ask.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Its admins, as `xmpp:` URIs.
    pub admins: Vec<String>,
    /// Where else its users get help: `mailto:` and `https:` URIs.
    pub support: Vec<String>,
    /// Since when it runs.
    pub started: Timestamp,
}

impl About {
    /// Of a gateway with these admins.
    #[must_use]
    pub fn new(admins: &[Jid], support: &[String], started: Timestamp) -> Self {
        let admins = admins.iter().map(|jid| format!("xmpp:{}", uri(jid.as_str()))).collect();
        Self { admins, support: support.to_vec(), started }
    }

    /// The form of XEP-0157 for disco#info; `None` where there is nobody to turn to.
    #[must_use]
    pub fn form(&self) -> Option<DataForm> {
        if self.admins.is_empty() && self.support.is_empty() {
            return None;
        }
        let info = ServerInfo { admin: self.admins.clone(), support: self.support.clone(), ..ServerInfo::default() };
        let mut form = DataForm::from(info);
        // An empty list of addresses says nothing.
        form.fields.retain(|field| !field.values.is_empty());
        Some(form)
    }
}

/// An address in a URI (RFC 5122): what is neither a letter nor one of a few signs is percent-encoded.
fn uri(jid: &str) -> String {
    let mut out = String::with_capacity(jid.len());
    for byte in jid.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'@'
            | b'.'
            | b'-'
            | b'_'
            | b'~'
            | b'+'
            | b'='
            | b'!'
            | b'$'
            | b'*' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Answers what is asked of the gateway itself here; `None` for anything else.
#[must_use]
pub fn answer(
    query: &Stanza,
    us: &OurJid,
    payload: &Element,
    set: bool,
    about: &About,
    now: Timestamp,
) -> Option<OutStanza> {
    if set {
        return None;
    }
    if payload.is("query", LAST) {
        // Of a service it is the time that it has been up (XEP-0012, section 5).
        let seconds = now.since(about.started).as_secs().to_string();
        return iq::result(query, us, Some(xml::element("query", LAST, &[("seconds", &seconds)])));
    }
    if payload.is("time", TIME) {
        let mut time = Element::bare("time", TIME);
        time.append_child(xml::text("tzo", TIME, "+00:00"));
        time.append_child(xml::text("utc", TIME, &super::to_stanza::stamp(now)));
        return iq::result(query, us, Some(time));
    }
    None
}

/// The capabilities of XEP-0390 for presence.
#[must_use]
pub fn caps(info: &DiscoInfoResult) -> Option<Element> {
    let data = ecaps2::compute_disco(info).ok()?;
    let hash = ecaps2::hash_ecaps2(&data, Algo::Sha_256).ok()?;
    Some(ECaps2::new(vec![hash]).into())
}

/// The node of disco#info that leads to these capabilities: `urn:xmpp:caps#sha-256.…`.
#[must_use]
pub fn node(info: &DiscoInfoResult) -> Option<String> {
    use base64::Engine as _;
    let data = ecaps2::compute_disco(info).ok()?;
    let hash = ecaps2::hash_ecaps2(&data, Algo::Sha_256).ok()?.hash;
    Some(format!("{CAPS}#{ALGORITHM}.{}", base64::engine::general_purpose::STANDARD.encode(hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admins_are_uris() {
        let admins = [Jid::parse("adm/n@x.org").ok(), Jid::parse("juliet@capulet.lit").ok()];
        let admins: Vec<Jid> = admins.into_iter().flatten().filter(Jid::is_bare).collect();
        let about = About::new(&admins, &["mailto:help@x.org".to_owned()], Timestamp(0));
        assert_eq!(about.admins, ["xmpp:juliet@capulet.lit"]);
        assert_eq!(uri("jü%l@x"), "j%C3%BC%25l@x");
        let form: Element = about.form().unwrap().into();
        let vars: Vec<&str> = form.children().filter_map(|field| field.attr("var")).collect();
        assert_eq!(vars, ["FORM_TYPE", "admin-addresses", "support-addresses"]);
        assert!(About::default().form().is_none());
    }
}
