//! Small helpers over `minidom`, so that the rest of the XMPP side names attributes as plain text.

use minidom::Element;
use rxml::{Namespace, NcName};

/// The namespace of `xml:lang`.
pub const NS_XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Sets the attribute `name` (which must be a proper XML name; others are ignored).
pub fn set(element: &mut Element, name: &str, value: &str) {
    if let Ok(name) = NcName::try_from(name) {
        element.attrs_mut().insert(Namespace::NONE, name, value.to_owned());
    }
}

/// Sets `xml:lang`.
pub fn set_lang(element: &mut Element, lang: &str) {
    if let Ok(name) = NcName::try_from("lang") {
        element.attrs_mut().insert(Namespace::XML, name, lang.to_owned());
    }
}

/// Reads `xml:lang`.
#[must_use]
pub fn lang(element: &Element) -> Option<&str> {
    element.attrs().get(&Namespace::XML, "lang").map(String::as_str)
}

/// An element with attributes.
#[must_use]
pub fn element(name: &str, ns: &str, attributes: &[(&str, &str)]) -> Element {
    let mut element = Element::bare(name, ns);
    for (name, value) in attributes {
        set(&mut element, name, value);
    }
    element
}

/// An element that holds text.
#[must_use]
pub fn text(name: &str, ns: &str, text: &str) -> Element {
    let mut element = Element::bare(name, ns);
    element.append_text(text);
    element
}

/// A link to a bare JID (RFC 5122) with a query.
#[must_use]
pub fn link(jid: &str, query: &str) -> String {
    format!("{}?{query}", uri(jid))
}

/// A link to a bare JID (RFC 5122): what stands for something else in a URI, such as `%` and `#`, is percent-encoded.
#[must_use]
pub fn uri(jid: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("xmpp:");
    for byte in jid.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' | b'+' | b'=' | b'!' => {
                out.push(char::from(byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_encoded() {
        assert_eq!(link("#town%hs@m.x", "join"), "xmpp:%23town%25hs@m.x?join");
        assert_eq!(link("!a=42c@m.x", "join"), "xmpp:!a=42c@m.x?join");
    }
}
