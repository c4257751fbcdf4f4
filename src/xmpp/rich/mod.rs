//! Pure: formatted text of messages both ways. What a message means by signs in its text (XEP-0393), by marks beside it
//! (XEP-0394) or by XHTML (XEP-0071), whom it mentions (XEP-0372) and what it hides (XEP-0382) is one tree in the neutral
//! model; on the way back the text has signs, and the rest stands beside it where the reader knows it.

mod marked;
mod markup;
mod spoiler;
mod styling;
#[cfg(test)]
mod tests;
mod xhtml;

use std::ops::Range;

use minidom::Element;
use percent_encoding::percent_decode_str;
use portway_bridges::api::rich::{Mark, Node, Piece, Who, split, styled};
use portway_bridges::api::{PersonId, Rich, Style, Text};

use self::marked::Marked;
use super::address::{self, Parsed};
use super::jid::Jid;
use super::stanza::{Domain, Stanza};
use super::to_stanza::{self, MAX_BODY};
use super::xml;

/// Namespaces of formatted text.
pub mod ns {
    #![allow(missing_docs, reason = "each name says which XEP it belongs to")]
    pub const STYLING: &str = "urn:xmpp:styling:0";
    pub const MARKUP: &str = "urn:xmpp:markup:0";
    pub const XHTML_IM: &str = "http://jabber.org/protocol/xhtml-im";
    pub const XHTML: &str = "http://www.w3.org/1999/xhtml";
    pub const SPOILER: &str = "urn:xmpp:spoiler:0";
    pub const REFERENCE: &str = "urn:xmpp:reference:0";
}

/// How many mentions a message has at most; further ones are text.
const MENTIONS: usize = 100;

/// How many bytes marks in one form may take beside the text. Where they are more, the signs in the text have to do.
const BESIDE: usize = 64 << 10;

/// What the reader's client knows beyond the signs of XEP-0393, by its capabilities (XEP-0115).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// XHTML-IM (XEP-0071).
    pub xhtml: bool,
    /// Message markup (XEP-0394).
    pub markup: bool,
    /// That all of the reader's devices show what an answer answers (XEP-0461), and so nothing is quoted in front of it.
    pub answers: bool,
    /// That none of the reader's devices shows reactions (XEP-0444), and so they are said in words, too.
    pub reactions_in_words: bool,
}

/// What writing needs to know.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    /// The address of somebody who is mentioned ([`uri`]), where the reader may know it.
    pub mention: &'a dyn Fn(&Who) -> Option<String>,
    /// What the reader's client knows.
    pub features: Features,
}

/// A body, and what belongs to it.
#[derive(Debug, Clone)]
pub struct Body {
    /// The text.
    pub text: String,
    /// Elements beside it.
    pub payloads: Vec<Element>,
    /// Who is mentioned where, in code points.
    pub mentions: Vec<(Range<usize>, Who)>,
}

/// A text as bodies of one message each, none longer than [`MAX_BODY`]. `before` is put in front of the first, and its signs
/// mean what they mean (a quote for clients that do not know answers, `/me `).
///
/// Readers of XEP-0393 see the marks for which there are signs and room for them: a sign within a word, or in an item of a
/// list, is only a character. Where signs would make them see something that is not meant, `<unstyled/>` has them take all
/// of it as characters: then every sign is shown as it is, and what is formatted is seen by readers of XEP-0394 and 0071 only.
#[must_use]
pub fn bodies(text: &Text, before: &str, writing: &Writing<'_>) -> Vec<Body> {
    let before = if text.style == Style::Emote { format!("{before}/me ") } else { before.to_owned() };
    let most = MAX_BODY.saturating_sub(before.len());
    let mut out: Vec<(Marked, Vec<Node>)> = Vec::new();
    match &text.rich {
        None => {
            let parts = to_stanza::split(&text.body, most);
            for part in parts {
                out.push((Marked::new(part), Vec::new()));
            }
        }
        // Whatever the sender has typed stays as it is.
        Some(rich) if text.body.len() <= most && typed(&text.body).as_ref() == Some(rich) => {
            out.push((styling::parse(&text.body), rich.nodes().to_vec()));
        }
        Some(rich) => {
            for piece in split(rich.nodes(), most, &|nodes| styled(nodes).text.len() + 1) {
                match piece {
                    Piece::Nodes(nodes) => out.push((Marked::written(&styled(&nodes)), nodes)),
                    Piece::Plain(text) => {
                        let parts = to_stanza::split(&text, most);
                        out.extend(parts.into_iter().map(|part| (Marked::new(part), Vec::new())));
                    }
                }
            }
        }
    }
    let mut before = Some(before);
    out.into_iter()
        .map(|(marked, nodes)| {
            let before = before.take().unwrap_or_default();
            body(marked, &nodes, &before, writing)
        })
        .collect()
}

/// What the signs in a text mean.
fn typed(text: &str) -> Option<Rich> {
    Rich::new(styling::parse(text).nodes())
}

fn body(marked: Marked, nodes: &[Node], before: &str, writing: &Writing<'_>) -> Body {
    let from = before.chars().count();
    let mut marked = marked.behind(before);
    let text = marked.text();
    let mut payloads = Vec::new();
    if text.contains(styling::SIGNS) && styling::misleads(&marked, &styling::parse(&text), from) {
        payloads.push(Element::bare("unstyled", ns::STYLING));
    }
    payloads.extend(spoiler::write(nodes));
    let mut mentions = std::mem::take(&mut marked.mentions);
    mentions.truncate(MENTIONS);
    for (range, who) in &mentions {
        payloads.extend((writing.mention)(who).map(|uri| reference(range, &uri)));
    }
    if writing.features.markup {
        payloads.extend(markup::write(&marked).filter(is_small));
    }
    if writing.features.xhtml && nodes.iter().any(|node| matches!(node, Node::Part(..))) {
        let mut nodes = nodes.to_vec();
        if !before.is_empty() {
            nodes.insert(0, Node::Text(before.to_owned()));
        }
        payloads.extend(Some(xhtml::write(&nodes, writing.mention)).filter(is_small));
    }
    Body { text, payloads, mentions }
}

/// Whether a stanza has room for this beside its text: servers take 256 KiB in all.
fn is_small(element: &Element) -> bool {
    String::from(element).len() <= BESIDE
}

/// Says that somebody is mentioned (XEP-0372).
#[must_use]
pub fn reference(range: &Range<usize>, uri: &str) -> Element {
    let (begin, end) = (range.start.to_string(), range.end.to_string());
    xml::element("reference", ns::REFERENCE, &[("type", "mention"), ("begin", &begin), ("end", &end), ("uri", uri)])
}

/// The address of somebody who is mentioned (RFC 5122), people of the network in this domain.
#[must_use]
pub fn uri(who: &Who, domain: &Domain) -> Option<String> {
    let jid = match who {
        Who::Person(person) => domain.address(Some(&address::of_person(person).ok()?), None)?.jid().as_str().to_owned(),
        Who::User(user) => to_stanza::bare_jid(user)?.as_str().to_owned(),
        Who::Room => return None,
    };
    Some(xml::uri(&jid))
}

/// The person of the network whom an `xmpp:` URI names, if it is a contact in this domain.
fn contact(uri: &str, domain: &str) -> Option<PersonId> {
    let (path, _) = uri.strip_prefix("xmpp:").map(|rest| rest.split_once('?').unwrap_or((rest, "")))?;
    let jid = Jid::parse(&percent_decode_str(path).decode_utf8().ok()?).ok()?;
    match address::parse(jid.node().filter(|_| jid.domain() == domain)?).ok()? {
        Parsed::Person(person) => Some(person),
        _ => None,
    }
}

/// What the text of a message means. `body` is the body in this language, and `cut` the code points of it that are there for
/// clients without some other feature, and not part of what is said (XEP-0428).
///
/// XHTML counts where it says what the body says, else the marks beside the body, else the signs in it, unless the sender
/// says that they are none. The text that comes back has neither control characters nor `/me `.
#[must_use]
pub fn read(stanza: &Stanza, body: &str, lang: Option<&str>, cut: &[Range<usize>]) -> Text {
    let (kept, map) = kept(body, cut);
    let (text, skipped, style) = match kept.strip_prefix("/me ") {
        Some(action) => (action.to_owned(), 4, Style::Emote),
        None => (kept, 0, Style::Normal),
    };
    let place = |at: usize| map[at.min(map.len() - 1)].saturating_sub(skipped);
    let domain = stanza.to.as_ref().map(Jid::domain).unwrap_or_default();
    let plain =
        |rich: Option<Rich>| Text { body: text.clone(), rich, style, lang: lang.map(str::to_owned), ..Text::default() };
    let hidden = spoiler::read(stanza, lang);
    let written = |nodes: Vec<Node>| {
        let nodes = match &hidden {
            Some(hint) => spoiler::hide(nodes, hint.as_deref()),
            None => nodes,
        };
        let rich = Rich::new(nodes)?;
        Some(Text { body: rich.text(), rich: Some(rich), style, lang: lang.map(str::to_owned), ..Text::default() })
    };

    if let Some(html) = stanza.child("html", ns::XHTML_IM) {
        let mut nodes = contacts(xhtml::read(html, lang), domain);
        if let (Style::Emote, Some(Node::Text(first))) = (style, nodes.first_mut()) {
            // It stands in either, or only in the body.
            *first = first.strip_prefix("/me ").unwrap_or(first).to_owned();
        }
        let formatted = Rich::new(nodes.clone()).is_some() && xhtml::agrees(&nodes, &text);
        if let Some(text) = Some(nodes).filter(|_| formatted).and_then(written) {
            return text;
        }
    }
    let markups = || stanza.element.children().filter(|markup| markup.is("markup", ns::MARKUP));
    let own = markups().find(|markup| xml::lang(markup).is_some() && xml::lang(markup) == lang);
    let markup = own.or_else(|| markups().find(|markup| xml::lang(markup).is_none()));
    let beside = markup.is_some();
    let mut marked = match markup {
        Some(markup) => markup::read(markup, &text, &place),
        None if stanza.child("unstyled", ns::STYLING).is_some() => Marked::new(&text),
        // Nothing begins a line behind `/me `, but a word.
        None if style == Style::Emote => styling::parse(&format!("/me {text}")).from(4),
        None => styling::parse(&text),
    };
    marked.mentions = mentions(stanza, &place, marked.chars.len(), domain);
    if hidden.is_some() {
        spoiler::signs(&mut marked, hidden.as_ref().and_then(Option::as_deref));
    }
    if beside || hidden.is_some() {
        return written(marked.nodes()).unwrap_or_else(|| plain(None));
    }
    plain(Rich::new(marked.nodes()))
}

/// The text without what is cut and what no message may have, and for each code point of the body, and its end, where it
/// went. Line ends are `\n`.
fn kept(body: &str, cut: &[Range<usize>]) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(body.len());
    let mut map = Vec::with_capacity(body.len() + 1);
    let mut count = 0;
    let mut chars = body.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        map.push(count);
        let c = match c {
            '\r' if chars.peek().is_some_and(|(_, next)| *next == '\n') => continue,
            '\r' => '\n',
            c => c,
        };
        if cut.iter().any(|range| range.contains(&at)) || (c.is_control() && !matches!(c, '\n' | '\t')) {
            continue;
        }
        text.push(c);
        count += 1;
    }
    map.push(count);
    (text, map)
}

/// Who is mentioned where (XEP-0372): contacts of ours.
fn mentions(stanza: &Stanza, place: &dyn Fn(usize) -> usize, length: usize, domain: &str) -> Vec<(Range<usize>, Who)> {
    let references = stanza.element.children().filter(|child| child.is("reference", ns::REFERENCE));
    let mut found: Vec<(Range<usize>, Who)> = references
        .filter(|reference| reference.attr("type") == Some("mention") && reference.attr("anchor").is_none())
        .take(MENTIONS)
        .filter_map(|reference| {
            let number = |name: &str| reference.attr(name)?.trim().parse::<usize>().ok();
            let range = place(number("begin")?)..place(number("end")?).min(length);
            let person = contact(reference.attr("uri")?, domain)?;
            (range.start < range.end).then_some((range, Who::Person(person)))
        })
        .collect();
    found.sort_by_key(|(range, _)| range.start);
    let mut end = 0;
    found.retain(|(range, _)| {
        let apart = range.start >= end;
        end = end.max(range.end);
        apart
    });
    found
}

/// Links to contacts of ours are mentions.
fn contacts(nodes: Vec<Node>, domain: &str) -> Vec<Node> {
    let one = |node| match node {
        Node::Part(Mark::Link(url), inner) => match contact(&url, domain) {
            Some(person) => Node::Part(Mark::Mention(Who::Person(person)), inner),
            None => Node::Part(Mark::Link(url), inner),
        },
        Node::Part(mark, inner) => Node::Part(mark, contacts(inner, domain)),
        text @ Node::Text(_) => text,
    };
    nodes.into_iter().map(one).collect()
}
