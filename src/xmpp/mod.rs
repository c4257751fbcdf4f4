//! The XMPP side: the only place that builds or reads XML.

pub mod jid;
pub mod stanza;
pub mod stream;
pub mod xml;
