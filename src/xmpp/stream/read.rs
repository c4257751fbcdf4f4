//! From bytes to stanzas. Depth, length and count are limited while reading, before there is a tree: a stanza over a
//! limit is skipped to its end and reported by its header, and the stream lives on.
//!
//! It reads the parser's raw events and resolves namespaces itself ([`super::scope`]): the parser's own resolver walks up
//! all open elements for each name (quadratic in the depth of a hostile stanza), keeps every namespace it has ever seen,
//! and holds all attributes of a tag before anybody can count them.

use minidom::Element;
use rxml::{AsyncRawReader, AttrMap, Namespace, NcName, Options, RawEvent};
use tokio::io::AsyncBufRead;

use super::error::DownReason;
use super::scope::Scopes;
use super::{Limits, NS_COMPONENT, NS_STREAM};
use crate::xmpp::stanza::NS_CLIENT;

/// How many attributes the head of a stream may have; servers write five or so.
const STREAM_ATTRIBUTES: usize = 32;

/// The longest value of a header attribute that is kept of a stanza over a limit: an address has 3071 bytes at most.
const HEADER_VALUE: usize = 4096;

/// Which limit a stanza broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// Too many levels.
    Depth,
    /// Too many bytes, in all or in one attribute.
    Size,
    /// Too many elements, attributes or namespace declarations.
    Count,
    /// A prefix that nobody declared, or the same attribute twice.
    Malformed,
}

/// One thing read.
#[derive(Debug)]
pub enum Read {
    /// A whole element below the stream: a stanza, or something else.
    Element(Element),
    /// An element over a limit: itself with what is needed to answer it, and without what was in it.
    Rejected(Element, RejectReason),
}

/// A name as it is written: prefix and local part.
type QName = (Option<NcName>, NcName);

/// A start tag whose end has not come yet.
struct Head {
    name: QName,
    attributes: Vec<(QName, String)>,
}

/// Reads a component's stream. Safe to drop between and inside of calls: nothing that was read is lost.
pub struct StanzaReader<R> {
    reader: AsyncRawReader<R>,
    limits: Limits,
    /// `xml:lang` of the stream, which holds for stanzas that say none (RFC 6120, section 4.7.4).
    lang: Option<String>,
    scopes: Scopes,
    /// The start tag that is being read; `None` while skipping.
    head: Option<Head>,
    /// Elements that are open, outermost first.
    stack: Vec<Element>,
    /// How many levels are open below the stream, also while skipping.
    depth: usize,
    bytes: usize,
    elements: usize,
    rejected: Option<RejectReason>,
}

impl<R: AsyncBufRead + Unpin> StanzaReader<R> {
    /// A reader of a stream that begins.
    pub fn new(inner: R, limits: Limits) -> Self {
        let options = Options {
            // A longer token is fatal in the parser, so it gets more than one stanza may have; what is between the two
            // costs only its stanza.
            max_token_length: limits.stanza_bytes.max(limits.token_bytes).saturating_mul(4),
            comments: rxml::parser::CommentMode::Discard,
            ..Options::default()
        };
        Self {
            reader: AsyncRawReader::with_options(inner, options),
            limits,
            lang: None,
            scopes: Scopes::default(),
            head: None,
            stack: Vec::new(),
            depth: 0,
            bytes: 0,
            elements: 0,
            rejected: None,
        }
    }

    /// Reads the head of the stream and returns its id.
    ///
    /// # Errors
    /// [`DownReason`] where it is not a stream, or ends.
    pub async fn header(&mut self) -> Result<String, DownReason> {
        let wrong = |what: &str| DownReason::Protocol(format!("its head {what}"));
        loop {
            match self.event().await? {
                RawEvent::XmlDeclaration(..) => {}
                RawEvent::ElementHeadOpen(_, name) => self.head = Some(Head { name, attributes: Vec::new() }),
                RawEvent::Attribute(_, name, value) => {
                    let Some(head) = &mut self.head else { continue };
                    if head.attributes.len() >= STREAM_ATTRIBUTES || value.len() > self.limits.token_bytes {
                        return Err(wrong("is too big"));
                    }
                    head.attributes.push((name, value));
                }
                RawEvent::ElementHeadClose(_) => break,
                RawEvent::Text(..) | RawEvent::ElementFoot(_) => return Err(wrong("is missing")),
            }
        }
        let Some(Head { name, attributes }) = self.head.take() else { return Err(wrong("is missing")) };
        let (ns, name, mut attributes) = self.scopes.open(name, attributes).ok_or_else(|| wrong("is malformed"))?;
        if ns != NS_STREAM || name.as_str() != "stream" {
            return Err(DownReason::Protocol(format!("it starts with <{name}/>")));
        }
        self.lang = attributes.remove(&Namespace::XML, "lang").filter(|lang| !lang.is_empty());
        Ok(attributes.remove(&Namespace::NONE, "id").unwrap_or_default())
    }

    /// Reads the next element below the stream.
    ///
    /// # Errors
    /// [`DownReason`] where the stream ends or is no XML.
    pub async fn next(&mut self) -> Result<Read, DownReason> {
        loop {
            let event = self.event().await?;
            if !matches!(event, RawEvent::Text(..)) || self.depth > 0 {
                self.count(event.metrics().len());
            }
            match event {
                RawEvent::XmlDeclaration(..) => {}
                RawEvent::ElementHeadOpen(_, name) => self.open(name),
                RawEvent::Attribute(_, name, value) => self.attribute(name, value),
                RawEvent::ElementHeadClose(_) => self.start(),
                RawEvent::Text(_, text) => {
                    if self.rejected.is_none()
                        && let Some(top) = self.stack.last_mut()
                    {
                        top.append_text(text);
                    }
                }
                RawEvent::ElementFoot(_) if self.depth == 0 => return Err(DownReason::Closed),
                RawEvent::ElementFoot(_) => {
                    if let Some(read) = self.end() {
                        return Ok(read);
                    }
                }
            }
        }
    }

    async fn event(&mut self) -> Result<RawEvent, DownReason> {
        match self.reader.read().await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err(DownReason::Closed),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(DownReason::Closed),
            Err(error) => {
                let xml = error.get_ref().and_then(|inner| inner.downcast_ref::<rxml::Error>());
                Err(match xml {
                    Some(rxml::Error::InvalidEof(_)) => DownReason::Closed,
                    Some(xml) => DownReason::Xml(xml.to_string()),
                    None => DownReason::Io(error.to_string()),
                })
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > self.limits.stanza_bytes {
            self.reject(RejectReason::Size);
        }
    }

    fn reject(&mut self, why: RejectReason) {
        if self.rejected.is_some() || self.depth == 0 {
            return;
        }
        self.rejected = Some(why);
        if self.depth > 1 {
            self.head = None;
        }
        if let Some(first) = self.stack.first_mut() {
            // Keep the header, let go of what was in it. The open elements below are dropped one by one.
            let mut header = Element::bare(first.name(), first.ns());
            *header.attrs_mut() = std::mem::take(first.attrs_mut());
            self.stack.truncate(1);
            self.stack[0] = header;
        }
    }

    fn open(&mut self, name: QName) {
        self.depth += 1;
        self.elements += 1;
        if self.depth > self.limits.depth {
            self.reject(RejectReason::Depth);
        }
        if self.elements > self.limits.elements {
            self.reject(RejectReason::Count);
        }
        if self.rejected.is_none() || self.depth == 1 {
            self.head = Some(Head { name, attributes: Vec::new() });
        }
    }

    fn attribute(&mut self, name: QName, value: String) {
        if value.len() > self.limits.token_bytes {
            self.reject(RejectReason::Size);
        }
        let Some(head) = &self.head else { return };
        if head.attributes.len() >= self.limits.attributes {
            self.reject(RejectReason::Count);
        }
        let Some(head) = &mut self.head else { return };
        // The stanza itself must be answerable whatever else is in its tag, and in whatever order.
        let kept = self.rejected.is_none()
            || (is_header(&name)
                && value.len() <= HEADER_VALUE
                && !head.attributes.iter().any(|(known, _)| *known == name));
        if kept {
            head.attributes.push((name, value));
        }
    }

    /// The start tag is whole.
    fn start(&mut self) {
        let Some(Head { name, attributes }) = self.head.take() else { return };
        if self.scopes.declared() > self.limits.attributes {
            self.reject(RejectReason::Count);
            if self.depth > 1 {
                return;
            }
        }
        let local = name.1.clone();
        let Some((ns, name, mut attributes)) = self.scopes.open(name, attributes) else {
            self.reject(RejectReason::Malformed);
            if self.depth == 1 {
                // Nothing in it can be trusted, not even which stanza it is.
                self.stack.push(element(&Namespace::NONE, &local, AttrMap::new()));
            }
            return;
        };
        if self.depth == 1
            && let Some(lang) = &self.lang
            && attributes.get(&Namespace::XML, "lang").is_none()
            && let Ok(name) = NcName::try_from("lang")
        {
            attributes.insert(Namespace::XML, name, lang.clone());
        }
        self.stack.push(element(&ns, &name, attributes));
    }

    fn end(&mut self) -> Option<Read> {
        self.depth -= 1;
        if self.depth > 0 {
            if self.rejected.is_none()
                && let Some(element) = self.stack.pop()
                && let Some(parent) = self.stack.last_mut()
            {
                self.scopes.close();
                parent.append_child(element);
            }
            return None;
        }
        let element = self.stack.pop()?;
        self.scopes.close_to_stream();
        self.bytes = 0;
        self.elements = 0;
        Some(match self.rejected.take() {
            Some(why) => Read::Rejected(element, why),
            None => Read::Element(element),
        })
    }
}

/// Whether this attribute of a stanza is needed to answer it.
fn is_header((prefix, name): &QName) -> bool {
    match prefix {
        None => matches!(name.as_str(), "from" | "to" | "type" | "id" | "xmlns"),
        Some(prefix) => prefix.as_str() == "xml" && name.as_str() == "lang",
    }
}

/// An element; inside the gateway the stream's namespace is that of clients.
fn element(ns: &Namespace<'static>, name: &NcName, attributes: AttrMap) -> Element {
    let ns = if *ns == NS_COMPONENT { NS_CLIENT } else { ns.as_str() };
    let mut element = Element::bare(name.as_str(), ns);
    *element.attrs_mut() = attributes;
    element
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' \
                        xmlns='jabber:component:accept' id='s1'>";

    async fn read(body: &str, chunk: usize) -> (Vec<String>, DownReason) {
        let text = format!("{HEAD}{body}</stream:stream>");
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let bytes = text.into_bytes();
        tokio::spawn(async move {
            for part in bytes.chunks(chunk) {
                if tokio::io::AsyncWriteExt::write_all(&mut near, part).await.is_err() {
                    return;
                }
            }
        });
        let mut reader = StanzaReader::new(tokio::io::BufReader::new(far), Limits::default());
        assert_eq!(reader.header().await.unwrap(), "s1");
        let mut seen = Vec::new();
        loop {
            match reader.next().await {
                Ok(Read::Element(element)) => {
                    seen.push(format!("{} {}", element.name(), element.attr("id").unwrap_or_default()));
                }
                Ok(Read::Rejected(element, why)) => {
                    seen.push(format!("{why:?} {} {}", element.name(), element.attr("id").unwrap_or_default()));
                }
                Err(reason) => return (seen, reason),
            }
        }
    }

    const GOOD: &str = "<message from='a@b' to='c@d' id='good'><body>hello</body></message>";

    #[tokio::test]
    async fn s3_hostile_stanzas_cost_only_themselves() {
        let deep = |n: usize| format!("<message id='x'>{}{}</message>", "<a>".repeat(n), "</a>".repeat(n));
        let attribute = |n: usize| format!("<message id='x' y='{}'/>", "v".repeat(n));
        for (what, bad, seen) in [
            ("a bogus type", "<message type='bogus' id='x'/>".to_owned(), "message x"),
            ("an unknown element", "<dance id='x'/>".to_owned(), "dance x"),
            ("junk text", "<message id='x'>junk<body/>junk</message>".to_owned(), "message x"),
            ("emoji addresses", "<message from='😀@b/👩‍💻' to='c@d' id='x'/>".to_owned(), "message x"),
            ("a foreign namespace", "<message xmlns='jabber:client' id='x'/>".to_owned(), "message x"),
            ("a comment", "<message id='x'><!-- hm --></message>".to_owned(), "message x"),
            ("an undeclared prefix", "<message id='x'><a:b c='d'>e</a:b></message>".to_owned(), "Malformed message x"),
            ("an attribute twice", "<message id='x'><a b='1' b='2'/></message>".to_owned(), "Malformed message x"),
            (
                "the same attribute by two prefixes",
                "<message id='x'><a xmlns:m='u' xmlns:n='u' m:b='1' n:b='2'/></message>".to_owned(),
                "Malformed message x",
            ),
            ("a bad stanza tag", "<a:message id='x'/>".to_owned(), "Malformed message "),
            ("CDATA", "<message id='x'><body><![CDATA[<&]]></body></message>".to_owned(), "message x"),
            ("63 levels", deep(63), "message x"),
            ("64 levels", deep(64), "Depth message x"),
            ("20,000 levels", deep(20_000), "Depth message x"),
            ("300,000 levels", deep(300_000), "Depth message x"),
            ("16 KiB in an attribute", attribute(16 << 10), "message x"),
            ("600 KiB in an attribute", attribute(600 << 10), "Size message x"),
            ("6 MiB in an attribute", attribute(6 << 20), "Size message x"),
            (
                "an id behind a big attribute",
                format!("<message y='{}' id='x'><a/></message>", "v".repeat(600 << 10)),
                "Size message x",
            ),
            (
                "an id behind many attributes",
                format!("<message {} id='x'/>", (0..500).map(|n| format!("a{n}='' ")).collect::<String>()),
                "Count message x",
            ),
            (
                "many prefixes",
                format!(
                    "<message id='x'>{}{}</message>",
                    (0..40)
                        .map(|n| {
                            let declarations: String = (0..20).map(|m| format!(" xmlns:p{n}x{m}='u'")).collect();
                            format!("<a{declarations}>")
                        })
                        .collect::<String>(),
                    "</a>".repeat(40)
                ),
                "Count message x",
            ),
            (
                "500 attributes",
                format!("<message id='x'><a {}/></message>", (0..500).map(|n| format!("a{n}='' ")).collect::<String>()),
                "Count message x",
            ),
            ("11,000 elements", format!("<message id='x'>{}</message>", "<a/>".repeat(11_000)), "Count message x"),
            ("a body of 1 MiB", format!("<message id='x'><body>{}</body></message>", "b".repeat(1 << 20)), "message x"),
            (
                "a body of 5 MiB",
                format!("<message id='x'><body>{}</body></message>", "b".repeat(5 << 20)),
                "Size message x",
            ),
        ] {
            let (read, end) = read(&format!("{bad}{GOOD}"), 16_384).await;
            assert_eq!(read, [seen, "message good"], "{what}");
            assert_eq!(end, DownReason::Closed, "{what}");
        }
    }

    #[tokio::test]
    async fn s3_what_is_not_xml_ends_the_stream_with_a_reason() {
        for bad in ["<message", "<!DOCTYPE x>", "<?php x?>", "&lol;", "<a></b>", "\u{1}"] {
            let (_, end) = read(bad, 100).await;
            assert!(matches!(end, DownReason::Xml(_) | DownReason::Closed), "{bad}: {end:?}");
        }
    }

    async fn one(stream: &str) -> Element {
        let mut reader = StanzaReader::new(stream.as_bytes(), Limits::default());
        reader.header().await.unwrap();
        match reader.next().await.unwrap() {
            Read::Element(element) => element,
            Read::Rejected(_, why) => panic!("{why:?}"),
        }
    }

    #[tokio::test]
    async fn names_are_resolved_as_they_are_declared() {
        let element = one(&format!(
            "{HEAD}<message p:a='1' xmlns:p='u:p'><p:x xmlns:p='u:q'><p:y/><z xmlns=''/></p:x><p:x/>\
             <f xmlns='u:f'><message xmlns='jabber:client'><body/></message></f><stream:s/></message>"
        ))
        .await;
        let shape = |element: &Element| -> Vec<(String, String)> {
            let mut all = Vec::new();
            let mut todo = vec![element];
            while let Some(element) = todo.pop() {
                all.push((element.name().to_owned(), element.ns()));
                todo.extend(element.children().collect::<Vec<_>>().into_iter().rev());
            }
            all
        };
        let expected = [
            ("message", NS_CLIENT),
            ("x", "u:q"),
            ("y", "u:q"),
            ("z", ""),
            ("x", "u:p"),
            ("f", "u:f"),
            ("message", NS_CLIENT),
            ("body", NS_CLIENT),
            ("s", NS_STREAM),
        ]
        .map(|(name, ns)| (name.to_owned(), ns.to_owned()));
        assert_eq!(shape(&element), expected);
        assert_eq!(element.attrs().get("u:p", "a").map(String::as_str), Some("1"));
    }

    #[tokio::test]
    async fn the_language_of_the_stream_holds_where_a_stanza_says_none() {
        let head = HEAD.replace("id='s1'", "id='s1' xml:lang='de'");
        let lang = |element: &Element| crate::xmpp::xml::lang(element).map(str::to_owned);
        assert_eq!(lang(&one(&format!("{head}<message/>")).await).as_deref(), Some("de"));
        assert_eq!(lang(&one(&format!("{head}<message xml:lang='fr'/>")).await).as_deref(), Some("fr"));
        assert_eq!(lang(&one(&format!("{HEAD}<message/>")).await), None);
    }

    /// Elements of stanza and foreign namespaces, with text between them.
    fn tree() -> impl Strategy<Value = Element> {
        let names = prop::sample::select(vec!["message", "body", "x", "forwarded", "a-b.c"]);
        let spaces = prop::sample::select(vec![NS_CLIENT, "urn:a", "urn:b", "u'<&>", ""]);
        let leaf = (names, spaces, ".{0,8}", ".{0,8}").prop_map(|(name, ns, text, value)| {
            let mut element = Element::bare(name, ns);
            crate::xmpp::xml::set(&mut element, "v", &value);
            crate::xmpp::xml::set_lang(&mut element, &value);
            element.attrs_mut().insert(Namespace::from("urn:at".to_owned()), NcName::try_from("v").unwrap(), value);
            if !text.is_empty() {
                element.append_text(text);
            }
            element
        });
        leaf.prop_recursive(5, 24, 4, |inner| {
            (inner.clone(), prop::collection::vec(inner, 0..4)).prop_map(|(mut element, children)| {
                for child in children {
                    element.append_child(child);
                }
                element
            })
        })
    }

    /// Whether XML can carry all text in it; what it cannot is replaced, which [`super::super::write`] tests.
    fn safe_all(element: &Element) -> bool {
        let safe = |text: &str| {
            !text.chars().any(|c| (c < ' ' && !"\t\n\r".contains(c)) || matches!(c, '\u{fffe}' | '\u{ffff}'))
        };
        element.attrs().iter().all(|(_, value)| safe(value))
            && element.nodes().all(|node| match node {
                minidom::Node::Element(child) => safe_all(child),
                minidom::Node::Text(text) => safe(text),
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(payload in tree()) {
            let mut message = crate::xmpp::xml::element("message", NS_CLIENT, &[("id", "m")]);
            message.append_child(payload);
            let mut bytes = HEAD.as_bytes().to_vec();
            crate::xmpp::stream::write::stanza(&mut bytes, &message);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let back = runtime.block_on(one(std::str::from_utf8(&bytes).unwrap()));
            if safe_all(&message) {
                prop_assert_eq!(back, message);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn chunks_do_not_matter(chunk in 1usize..40) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (seen, _) = runtime.block_on(read(&format!("{GOOD} <presence id='p'/>{GOOD}"), chunk));
            prop_assert_eq!(seen, ["message good", "presence p", "message good"]);
        }
    }
}
