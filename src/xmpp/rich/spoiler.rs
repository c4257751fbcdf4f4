//! Spoiler messages (XEP-0382). A message is hidden as a whole or not at all; in our own text, signs say what of it is meant.

use minidom::Element;
use portway_bridges::api::rich::{Mark, Node};

use super::marked::{Marked, SPOILER};
use super::ns;
use crate::xmpp::from_stanza::clean;
use crate::xmpp::stanza::Stanza;
use crate::xmpp::xml;

/// The longest hint in characters.
const HINT: usize = 200;

/// Says that something in this tree is hidden, if it is, with the first hint.
#[must_use]
pub fn write(nodes: &[Node]) -> Option<Element> {
    let mut hints = Vec::new();
    find(nodes, &mut hints);
    let hint = hints.iter().flatten().next();
    (!hints.is_empty()).then(|| xml::text("spoiler", ns::SPOILER, hint.map_or("", |hint| hint.as_str())))
}

fn find<'a>(nodes: &'a [Node], hints: &mut Vec<Option<&'a String>>) {
    for node in nodes {
        if let Node::Part(mark, inner) = node {
            if let Mark::Spoiler(hint) = mark {
                hints.push(hint.as_ref());
            }
            find(inner, hints);
        }
    }
}

/// Whether a message is hidden, and its hint in this language, if it has one.
#[must_use]
pub fn read(stanza: &Stanza, lang: Option<&str>) -> Option<Option<String>> {
    let spoilers = || stanza.element.children().filter(|child| child.is("spoiler", ns::SPOILER));
    let own = spoilers().find(|spoiler| xml::lang(spoiler).is_some() && xml::lang(spoiler) == lang);
    let spoiler =
        own.or_else(|| spoilers().find(|spoiler| xml::lang(spoiler).is_none())).or_else(|| spoilers().next())?;
    let hint = clean(&spoiler.text().replace(['\n', '\t'], " ")).trim().chars().take(HINT).collect::<String>();
    Some(Some(hint).filter(|hint| !hint.is_empty()))
}

/// Finds what the signs in the text hide, `||so||`, each within its line. Without such signs nothing is marked.
pub fn signs(marked: &mut Marked, hint: Option<&str>) {
    marked.hint = hint.map(str::to_owned);
    let told: Vec<char> = hint.map(|hint| format!("({hint}) ").chars().collect()).unwrap_or_default();
    let is_sign = |marked: &Marked, at: usize| {
        marked.chars[at..].starts_with(&['|', '|']) && !marked.hidden[at] && !marked.hidden[at + 1]
    };
    let mut open: Option<usize> = None;
    let mut at = 0;
    while at < marked.chars.len() {
        if marked.chars[at] == '\n' {
            open = None;
        } else if is_sign(marked, at) {
            match open.take() {
                Some(start) if at > start + 2 => {
                    let before = start.saturating_sub(told.len());
                    let start_of = if marked.chars[before..start] == told[..] { before } else { start };
                    marked.mark(start_of..at + 2, SPOILER);
                    marked.hide(start_of..start + 2);
                    marked.hide(at..at + 2);
                }
                _ => open = Some(at),
            }
            at += 1;
        }
        at += 1;
    }
}

/// The tree hidden as a whole, unless it says itself what of it is hidden. Code in lines becomes code within a line, because
/// nothing hides what stands in lines of its own.
#[must_use]
pub fn hide(nodes: Vec<Node>, hint: Option<&str>) -> Vec<Node> {
    let mut hints = Vec::new();
    find(&nodes, &mut hints);
    if !hints.is_empty() {
        return nodes;
    }
    around(nodes, hint)
}

fn around(nodes: Vec<Node>, hint: Option<&str>) -> Vec<Node> {
    let spoiler = |inner: Vec<Node>| Node::Part(Mark::Spoiler(hint.map(str::to_owned)), inner);
    let mut out = Vec::new();
    let mut line = Vec::new();
    for node in nodes {
        match node {
            Node::Part(Mark::Preformatted(_), inner) => {
                out.extend((!line.is_empty()).then(|| spoiler(std::mem::take(&mut line))));
                out.push(Node::Part(Mark::Paragraph, vec![spoiler(vec![Node::Part(Mark::Code, inner)])]));
            }
            Node::Part(mark, inner) if mark.is_block() => {
                out.extend((!line.is_empty()).then(|| spoiler(std::mem::take(&mut line))));
                out.push(Node::Part(mark, around(inner, hint)));
            }
            other => line.push(other),
        }
    }
    out.extend((!line.is_empty()).then(|| spoiler(line)));
    out
}
