//! Pure: when a contact was last seen (XEP-0012).

use std::time::Duration;

use portway_bridges::api::Condition;

use crate::xmpp::stanza::{OurJid, OutStanza, Stanza};
use crate::xmpp::{iq, xml};

/// The namespace.
pub const NS_LAST: &str = "jabber:iq:last";

/// The answer to a question for a contact that was last seen so long ago; `None`: never.
#[must_use]
pub fn answer(query: &Stanza, us: &OurJid, idle: Option<Duration>) -> Option<OutStanza> {
    match idle {
        Some(idle) => {
            let seconds = idle.as_secs().to_string();
            iq::result(query, us, Some(xml::element("query", NS_LAST, &[("seconds", &seconds)])))
        }
        None => iq::refuse(query, us, Condition::ItemNotFound, ""),
    }
}
