//! From stanzas to bytes. What XML forbids is replaced: one bad character would end the stream.

use minidom::{Element, Node};
use rxml::Namespace;

use crate::xmpp::stanza::NS_CLIENT;
use crate::xmpp::xml::NS_XML;

/// Appends a stanza in the namespace of a component's stream.
pub fn stanza(out: &mut Vec<u8>, element: &Element) {
    write(out, element, NS_CLIENT);
}

/// Appends an element below one whose namespace is `parent`.
///
/// Inside the gateway a stanza is in `jabber:client`; on the stream it inherits `jabber:component:accept`. So an element
/// in `jabber:client` says nothing where its parent is a stanza, and says its namespace below any other payload
/// (XEP-0297), where it means what it says.
fn write(out: &mut Vec<u8>, element: &Element, parent: &str) {
    out.push(b'<');
    out.extend_from_slice(element.name().as_bytes());
    let own;
    let ns = if element.has_ns(parent) {
        parent
    } else {
        own = element.ns();
        out.extend_from_slice(b" xmlns='");
        escape(out, &own, true);
        out.push(b'\'');
        &own
    };
    for (n, ((namespace, name), value)) in element.attrs().iter().enumerate() {
        if *namespace == Namespace::NONE {
            out.push(b' ');
        } else if namespace.as_str() == NS_XML {
            out.extend_from_slice(b" xml:");
        } else {
            out.extend_from_slice(format!(" xmlns:n{n}='").as_bytes());
            escape(out, namespace.as_str(), true);
            out.extend_from_slice(format!("' n{n}:").as_bytes());
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b"='");
        escape(out, value, true);
        out.push(b'\'');
    }
    let mut nodes = element.nodes().peekable();
    if nodes.peek().is_none() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    for node in nodes {
        match node {
            Node::Element(child) => write(out, child, ns),
            Node::Text(text) => escape(out, text, false),
        }
    }
    out.extend_from_slice(b"</");
    out.extend_from_slice(element.name().as_bytes());
    out.push(b'>');
}

/// Appends text with `<`, `&` and so on as entities, and characters that XML 1.0 forbids as U+FFFD.
fn escape(out: &mut Vec<u8>, text: &str, attribute: bool) {
    let mut rest = text;
    loop {
        let special = |c: char| {
            matches!(c, '<' | '>' | '&' | '\r' | '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
                || (attribute && matches!(c, '\'' | '\n' | '\t'))
        };
        let Some(at) = rest.find(special) else {
            out.extend_from_slice(rest.as_bytes());
            return;
        };
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let c = rest[at..].chars().next().unwrap_or('\u{fffd}');
        out.extend_from_slice(match c {
            '<' => b"&lt;",
            '>' => b"&gt;",
            '&' => b"&amp;",
            '\'' => b"&#39;",
            '\r' => b"&#13;",
            '\n' => b"&#10;",
            '\t' => b"&#9;",
            _ => "\u{fffd}".as_bytes(),
        });
        rest = &rest[at + c.len_utf8()..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xmpp::xml;

    fn written(element: &Element) -> String {
        let mut out = Vec::new();
        stanza(&mut out, element);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn namespaces_are_said_where_they_change() {
        let mut inner = Element::bare("message", NS_CLIENT);
        inner.append_child(xml::text("body", NS_CLIENT, "hi"));
        let mut forwarded = Element::bare("forwarded", "urn:xmpp:forward:0");
        forwarded.append_child(inner);
        let mut message = xml::element("message", NS_CLIENT, &[("to", "a@b")]);
        xml::set_lang(&mut message, "de");
        message.append_child(xml::text("body", NS_CLIENT, "a<b & 'c'"));
        message.append_child(forwarded);
        assert_eq!(
            written(&message),
            "<message to='a@b' xml:lang='de'><body>a&lt;b &amp; 'c'</body><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client'><body>hi</body></message></forwarded></message>"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_well_formed_and_comes_back(text in ".*", value in ".*") {
            let mut message = xml::element("message", NS_CLIENT, &[("x", &value)]);
            message.append_child(xml::text("body", NS_CLIENT, &text));
            let document = written(&message).replacen("<message", "<message xmlns='jabber:client'", 1);
            let back: Element = document.parse().unwrap();
            let safe = |text: &str| -> String {
                text.chars().map(|c| if (c.is_control() && c < ' ' && !"\t\n\r".contains(c)) || c == '\u{fffe}' || c == '\u{ffff}' { '\u{fffd}' } else { c }).collect()
            };
            prop_assert_eq!(back.get_child("body", NS_CLIENT).unwrap().text(), safe(&text));
            prop_assert_eq!(back.attr("x").unwrap(), safe(&value));
        }
    }
}
