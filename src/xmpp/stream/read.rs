//! From bytes to stanzas. Depth, length and count are limited while reading, before there is a tree: a stanza over a
//! limit is skipped to its end and reported by its header, and the stream lives on.

use minidom::Element;
use rxml::{AsyncReader, AttrMap, Event, Namespace, Options};
use tokio::io::AsyncBufRead;

use super::error::DownReason;
use super::{Limits, NS_COMPONENT, NS_STREAM};
use crate::xmpp::stanza::NS_CLIENT;

/// Which limit a stanza broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// Too many levels.
    Depth,
    /// Too many bytes.
    Size,
    /// Too many elements or attributes.
    Count,
}

/// One thing read.
#[derive(Debug)]
pub enum Read {
    /// A whole element below the stream: a stanza, or something else.
    Element(Element),
    /// An element over a limit: itself with its attributes and without what was in it.
    Rejected(Element, RejectReason),
}

/// Reads a component's stream. Safe to drop between and inside of calls: nothing that was read is lost.
pub struct StanzaReader<R> {
    reader: AsyncReader<R>,
    limits: Limits,
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
            max_token_length: limits.token_bytes,
            comments: rxml::parser::CommentMode::Discard,
            ..Options::default()
        };
        Self {
            reader: AsyncReader::with_options(inner, options),
            limits,
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
        loop {
            match self.event().await? {
                Event::XmlDeclaration(..) => {}
                Event::StartElement(_, (ns, name), attributes) => {
                    if ns.as_str() != NS_STREAM || name.as_str() != "stream" {
                        return Err(DownReason::Protocol(format!("it starts with <{name}/>")));
                    }
                    return Ok(attributes.get(&Namespace::NONE, "id").cloned().unwrap_or_default());
                }
                Event::Text(..) | Event::EndElement(_) => {
                    return Err(DownReason::Protocol("it does not start with an element".to_owned()));
                }
            }
        }
    }

    /// Reads the next element below the stream.
    ///
    /// # Errors
    /// [`DownReason`] where the stream ends or is no XML.
    pub async fn next(&mut self) -> Result<Read, DownReason> {
        loop {
            match self.event().await? {
                Event::XmlDeclaration(..) => {}
                Event::StartElement(metrics, (ns, name), attributes) => {
                    self.count(metrics.len());
                    self.start(ns.as_str(), name.as_str(), attributes);
                }
                Event::Text(metrics, text) => {
                    if self.depth == 0 {
                        continue;
                    }
                    self.count(metrics.len());
                    if self.rejected.is_none()
                        && let Some(top) = self.stack.last_mut()
                    {
                        top.append_text(text);
                    }
                }
                Event::EndElement(metrics) => {
                    if self.depth == 0 {
                        return Err(DownReason::Closed);
                    }
                    self.count(metrics.len());
                    if let Some(read) = self.end() {
                        return Ok(read);
                    }
                }
            }
        }
    }

    async fn event(&mut self) -> Result<Event, DownReason> {
        match self.reader.read().await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err(DownReason::Closed),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(DownReason::Xml(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(DownReason::Closed),
            Err(error) => Err(DownReason::Io(error.to_string())),
        }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > self.limits.stanza_bytes {
            self.reject(RejectReason::Size);
        }
    }

    fn reject(&mut self, why: RejectReason) {
        if self.rejected.is_none() {
            self.rejected = Some(why);
            if let Some(first) = self.stack.first_mut() {
                // Keep the header, let go of what was in it. The open elements below are dropped one by one.
                let mut header = Element::bare(first.name(), first.ns());
                *header.attrs_mut() = std::mem::take(first.attrs_mut());
                self.stack.truncate(1);
                self.stack[0] = header;
            }
        }
    }

    fn start(&mut self, ns: &str, name: &str, attributes: AttrMap) {
        self.depth += 1;
        self.elements += 1;
        if self.depth > self.limits.depth {
            self.reject(RejectReason::Depth);
        }
        if self.elements > self.limits.elements {
            self.reject(RejectReason::Count);
        }
        if self.rejected.is_some() && !self.stack.is_empty() {
            return;
        }
        let many = attributes.len() > self.limits.attributes;
        let mut element = Element::bare(name, if ns == NS_COMPONENT { NS_CLIENT } else { ns });
        if !many || self.depth == 1 {
            *element.attrs_mut() = attributes;
        }
        self.stack.push(element);
        if many {
            self.reject(RejectReason::Count);
        }
    }

    fn end(&mut self) -> Option<Read> {
        self.depth -= 1;
        if self.depth > 0 {
            if self.rejected.is_none()
                && let Some(element) = self.stack.pop()
                && let Some(parent) = self.stack.last_mut()
            {
                parent.append_child(element);
            }
            return None;
        }
        let element = self.stack.pop()?;
        self.stack.clear();
        self.bytes = 0;
        self.elements = 0;
        Some(match self.rejected.take() {
            Some(why) => Read::Rejected(element, why),
            None => Read::Element(element),
        })
    }
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
    async fn hostile_stanzas_cost_only_themselves() {
        let deep = |n: usize| format!("<message id='x'>{}{}</message>", "<a>".repeat(n), "</a>".repeat(n));
        let attribute = |n: usize| format!("<message id='x' y='{}'/>", "v".repeat(n));
        for (what, bad, seen) in [
            ("a bogus type", "<message type='bogus' id='x'/>".to_owned(), "message x"),
            ("an unknown element", "<dance id='x'/>".to_owned(), "dance x"),
            ("junk text", "<message id='x'>junk<body/>junk</message>".to_owned(), "message x"),
            ("emoji addresses", "<message from='😀@b/👩‍💻' to='c@d' id='x'/>".to_owned(), "message x"),
            ("a foreign namespace", "<message xmlns='jabber:client' id='x'/>".to_owned(), "message x"),
            ("a comment", "<message id='x'><!-- hm --></message>".to_owned(), "message x"),
            ("CDATA", "<message id='x'><body><![CDATA[<&]]></body></message>".to_owned(), "message x"),
            ("63 levels", deep(63), "message x"),
            ("64 levels", deep(64), "Depth message x"),
            ("20,000 levels", deep(20_000), "Depth message x"),
            ("16 KiB in an attribute", attribute(16 << 10), "message x"),
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
    async fn what_is_not_xml_ends_the_stream_with_a_reason() {
        for bad in ["<message", "<!DOCTYPE x>", "<?php x?>", "&lol;", "<a></b>", "\u{1}"] {
            let (_, end) = read(bad, 100).await;
            assert!(matches!(end, DownReason::Xml(_) | DownReason::Closed), "{bad}: {end:?}");
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
