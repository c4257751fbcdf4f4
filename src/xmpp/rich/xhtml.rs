//! XHTML-IM (XEP-0071). What comes in is read like any HTML: elements and attributes that are not known keep their text.

use minidom::Element;
use minidom::Node as Xml;
use portway_bridges::api::rich::html::{Builder, Dialect, Sink, walk};
use portway_bridges::api::rich::{Node, Who, styled};

use super::ns;
use crate::xmpp::xml;

/// Writes a tree. The numbers of lists and the languages of code are lost, because the profile (section 7) has no
/// attributes for them, and spoilers have signs around them.
#[must_use]
pub fn write(nodes: &[Node], mention: &dyn Fn(&Who) -> Option<String>) -> Element {
    let mut tree = Tree { open: vec![Element::bare("body", ns::XHTML)] };
    walk(nodes, &Dialect { mention, spoiler: None, schemes: &[], xhtml: true }, &mut tree);
    while tree.open.len() > 1 {
        tree.close("");
    }
    let mut html = Element::bare("html", ns::XHTML_IM);
    if let Some(body) = tree.open.pop() {
        html.append_child(body);
    }
    html
}

struct Tree {
    open: Vec<Element>,
}

impl Sink for Tree {
    fn open(&mut self, name: &str, attribute: Option<(&str, &str)>) {
        let mut element = Element::bare(name, ns::XHTML);
        if let Some((name, value)) = attribute {
            xml::set(&mut element, name, value);
        }
        self.open.push(element);
        if name == "br" {
            self.close(name);
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut() {
            element.append_text(text);
        }
    }

    fn close(&mut self, _: &str) {
        if let (Some(element), Some(around)) = (self.open.pop(), self.open.last_mut()) {
            around.append_child(element);
        }
    }
}

/// The tree of an `html` element: of its body in this language, else of the one without a language, else of the first.
#[must_use]
pub fn read(html: &Element, lang: Option<&str>) -> Vec<Node> {
    let bodies = || html.children().filter(|body| body.is("body", ns::XHTML));
    let own = bodies().find(|body| xml::lang(body).is_some() && xml::lang(body) == lang);
    let Some(body) = own.or_else(|| bodies().find(|body| xml::lang(body).is_none())).or_else(|| bodies().next()) else {
        return Vec::new();
    };
    let mut builder = Builder::default();
    let mut open = vec![(body, body.nodes())];
    while let Some((element, rest)) = open.last_mut() {
        match rest.next() {
            Some(Xml::Text(text)) => builder.text(text),
            // What is no text for readers, as in any HTML.
            Some(Xml::Element(inner)) if matches!(inner.name(), "script" | "style" | "head" | "title") => {}
            Some(Xml::Element(inner)) => {
                let attribute = |name: &str| inner.attr(name).map(str::to_owned);
                builder.open(&inner.name().to_ascii_lowercase(), &attribute);
                open.push((inner, inner.nodes()));
            }
            None => {
                let name = element.name().to_ascii_lowercase();
                open.pop();
                // An element that holds nothing has ended by itself.
                if !open.is_empty() && !matches!(name.as_str(), "br" | "hr" | "img") {
                    builder.close(&name);
                }
            }
        }
    }
    builder.finish()
}

/// Whether the tree says what the body says (section 8): the same letters, with or without what stands in the body for
/// links, lists, quotes and code. Otherwise two people would read two messages.
#[must_use]
pub fn agrees(nodes: &[Node], body: &str) -> bool {
    let letters = |text: &str| -> String { text.chars().filter(|c| is_letter(*c)).collect() };
    let bare_lines = |text: &str| -> String { text.lines().map(|line| letters(without_sign(line))).collect() };
    let mut bare = String::new();
    flatten(nodes, &mut bare);
    let signed = styled(nodes).text;
    letters(body) == letters(&bare) || letters(body) == letters(&signed) || bare_lines(body) == bare_lines(&signed)
}

/// A line without the number of an item, or the sign of code with its language.
fn without_sign(line: &str) -> &str {
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '>' | '-' | '*' | '\u{2022}'));
    if line.starts_with("```") {
        return "";
    }
    let text = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match text.strip_prefix(['.', ')']).and_then(|text| text.strip_prefix(' ')) {
        // Items of lists in lists stand in one line.
        Some(text) if text.len() + 2 < line.len() => without_sign(text),
        _ => line,
    }
}

fn is_letter(c: char) -> bool {
    !c.is_whitespace() && !c.is_ascii_punctuation() && !matches!(c, '\u{2022}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
}

fn flatten(nodes: &[Node], text: &mut String) {
    for node in nodes {
        match node {
            Node::Text(piece) => text.push_str(piece),
            Node::Part(_, inner) => flatten(inner, text),
        }
    }
}
