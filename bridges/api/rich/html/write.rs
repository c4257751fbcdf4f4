//! From the tree to HTML.

use std::fmt::Write as _;

use super::super::{Mark, Node, Who};

/// What differs between those who read it.
pub struct Dialect<'a> {
    /// Where a mention leads, if anywhere.
    pub mention: &'a dyn Fn(&Who) -> Option<String>,
    /// The attribute by which a `span` is hidden until somebody wants to read it. Without one, signs stand around it.
    pub spoiler: Option<&'static str>,
}

/// Writes a tree. All text is escaped, and each element that is opened is closed. Line ends beside blocks are left out,
/// because blocks stand in lines of their own.
#[must_use]
pub fn to_html(nodes: &[Node], dialect: &Dialect<'_>) -> String {
    let mut writer = Writer { out: String::new(), fresh: true, dialect };
    writer.nodes(nodes);
    writer.out
}

struct Writer<'a> {
    out: String,
    /// Whether the line has nothing in it so far.
    fresh: bool,
    dialect: &'a Dialect<'a>,
}

impl Writer<'_> {
    fn nodes(&mut self, nodes: &[Node]) {
        let is_block = |node: Option<&Node>| matches!(node, Some(Node::Part(mark, _)) if mark.is_block());
        for (n, node) in nodes.iter().enumerate() {
            match node {
                Node::Text(text) => {
                    let mut text = text.as_str();
                    if n > 0 && is_block(nodes.get(n - 1)) {
                        text = text.trim_start_matches('\n');
                    }
                    if is_block(nodes.get(n + 1)) {
                        text = text.trim_end_matches('\n');
                    }
                    self.text(text);
                }
                Node::Part(mark, inner) => self.part(mark, inner),
            }
        }
    }

    fn part(&mut self, mark: &Mark, inner: &[Node]) {
        self.fresh |= mark.is_block();
        match mark {
            Mark::Strong => self.element("strong", "", inner),
            Mark::Emphasis => self.element("em", "", inner),
            Mark::Underline => self.element("u", "", inner),
            Mark::Strike => self.element("del", "", inner),
            Mark::Code => self.element("code", "", inner),
            Mark::Paragraph => self.element("p", "", inner),
            Mark::Quote => self.element("blockquote", "", inner),
            Mark::Item => self.element("li", "", inner),
            Mark::List(None) => self.element("ul", "", inner),
            Mark::List(Some(1)) => self.element("ol", "", inner),
            Mark::List(Some(first)) => self.element("ol", &format!(" start=\"{first}\""), inner),
            Mark::Heading(level) => self.element(&format!("h{}", level.clamp(&1, &6)), "", inner),
            Mark::Link(url) => self.element("a", &format!(" href=\"{}\"", escape(url)), inner),
            Mark::Mention(who) => match (self.dialect.mention)(who) {
                Some(url) => self.element("a", &format!(" href=\"{}\"", escape(&url)), inner),
                None => self.nodes(inner),
            },
            Mark::Spoiler(hint) => match (self.dialect.spoiler, hint) {
                (Some(name), None) => self.element("span", &format!(" {name}"), inner),
                (Some(name), Some(hint)) => self.element("span", &format!(" {name}=\"{}\"", escape(hint)), inner),
                (None, hint) => {
                    if let Some(hint) = hint {
                        self.text(&format!("({hint}) "));
                    }
                    self.text("||");
                    self.nodes(inner);
                    self.text("||");
                }
            },
            Mark::Preformatted(language) => {
                self.out.push_str("<pre><code");
                if let Some(language) = language {
                    let _ = write!(self.out, " class=\"language-{}\"", escape(language));
                }
                self.out.push('>');
                let mut text = String::new();
                flatten(inner, &mut text);
                // A reader leaves out the first line end, if there is one.
                if text.starts_with('\n') {
                    self.out.push('\n');
                }
                self.out.push_str(&escape(&text));
                self.out.push_str("</code></pre>");
            }
        }
        self.fresh |= mark.is_block();
    }

    fn element(&mut self, name: &str, attributes: &str, inner: &[Node]) {
        let _ = write!(self.out, "<{name}{attributes}>");
        self.nodes(inner);
        let _ = write!(self.out, "</{name}>");
    }

    /// Text as readers show it: line ends are elements, and where white space would be left out it is of the sort that is not.
    fn text(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\n' => self.out.push_str("<br>"),
                '\t' => self.out.push_str("\u{a0}\u{a0}\u{a0}\u{a0}"),
                ' ' if self.fresh || chars.peek().is_some_and(|next| matches!(next, ' ' | '\n')) => {
                    self.out.push('\u{a0}');
                }
                c => push_escaped(&mut self.out, c),
            }
            self.fresh = c == '\n';
        }
    }
}

fn flatten(nodes: &[Node], text: &mut String) {
    for node in nodes {
        match node {
            Node::Text(piece) => text.push_str(piece),
            Node::Part(_, inner) => flatten(inner, text),
        }
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        c => out.push(c),
    }
}
