//! Files in messages, both ways. [`write`] puts one into the three forms that clients read: the plain link (XEP-0066), which all
//! of them do, stateless file sharing (XEP-0447), and its predecessor (XEP-0385); [`read`] takes any of them, and an encrypted
//! link (XEP-0454).

pub mod read;
pub mod write;

pub use self::write::{Linking, shown};

/// What the ids of captions end in: that of the file or the place, and this.
pub const CAPTION: &str = "-caption";

/// Namespaces of files and places.
pub mod ns {
    #![allow(missing_docs, reason = "each name says which XEP it belongs to")]
    pub const SFS: &str = "urn:xmpp:sfs:0";
    pub const ESFS: &str = "urn:xmpp:esfs:0";
    pub const AES_256_GCM: &str = "urn:xmpp:ciphers:aes-256-gcm-nopadding:0";
    pub const METADATA: &str = "urn:xmpp:file:metadata:0";
    pub const URL_DATA: &str = "http://jabber.org/protocol/url-data";
    pub const THUMBS: &str = "urn:xmpp:thumbs:1";
    pub const STICKERS: &str = "urn:xmpp:stickers:0";
    pub const REFERENCE: &str = "urn:xmpp:reference:0";
    pub const SIMS: &str = "urn:xmpp:sims:1";
    pub const JINGLE_FILE: &str = "urn:xmpp:jingle:apps:file-transfer:5";
    pub const ATTACH: &str = "urn:xmpp:message-attaching:1";
    pub const GEOLOC: &str = "http://jabber.org/protocol/geoloc";
}

/// How the thumbnail of a file that has only a blur begins: clients that know it draw it, others see a scheme that they do not
/// load.
const BLURHASH: &str = "data:image/blurhash,";

#[cfg(test)]
mod tests;
