//! From the tree to HTML.

use super::super::write::same_link;
use super::super::{Mark, Node, Who};

/// What differs between those who read it.
pub struct Dialect<'a> {
    /// Where a mention leads, if anywhere.
    pub mention: &'a dyn Fn(&Who) -> Option<String>,
    /// The attribute by which a `span` is hidden until somebody wants to read it. Without one, signs stand around it.
    pub spoiler: Option<&'static str>,
    /// The schemes of links that readers let through; empty where all do. Of others the address is text.
    pub schemes: &'static [&'static str],
    /// Whether it is XHTML-IM (XEP-0071), which has no elements for what only looks, and no numbers for lists.
    pub xhtml: bool,
}

/// Takes what is written.
pub trait Sink {
    /// An element begins, with one attribute at most. `br` ends at once.
    fn open(&mut self, name: &str, attribute: Option<(&str, &str)>);
    /// Text, not yet escaped.
    fn text(&mut self, text: &str);
    /// An element ends; never `br`.
    fn close(&mut self, name: &str);
}

/// Writes a tree. All text is escaped, and each element that is opened is closed.
#[must_use]
pub fn to_html(nodes: &[Node], dialect: &Dialect<'_>) -> String {
    let mut html = Html(String::new());
    walk(nodes, dialect, &mut html);
    html.0
}

/// Tells the elements of a tree. Line ends beside blocks are left out, because blocks stand in lines of their own.
pub fn walk(nodes: &[Node], dialect: &Dialect<'_>, sink: &mut dyn Sink) {
    Writer { sink, dialect, fresh: true }.nodes(nodes);
}

struct Html(String);

impl Sink for Html {
    fn open(&mut self, name: &str, attribute: Option<(&str, &str)>) {
        self.0.push('<');
        self.0.push_str(name);
        match attribute {
            Some((name, "")) => self.0.extend([" ", name]),
            Some((name, value)) => {
                self.0.extend([" ", name, "=\""]);
                self.text(value);
                self.0.push('"');
            }
            None => {}
        }
        self.0.push('>');
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                c => self.0.push(c),
            }
        }
    }

    fn close(&mut self, name: &str) {
        self.0.extend(["</", name, ">"]);
    }
}

struct Writer<'a, 'b> {
    sink: &'a mut dyn Sink,
    dialect: &'a Dialect<'b>,
    /// Whether the line has nothing in it so far.
    fresh: bool,
}

impl Writer<'_, '_> {
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
        const HEADINGS: [&str; 6] = ["h1", "h2", "h3", "h4", "h5", "h6"];
        let xhtml = self.dialect.xhtml;
        self.fresh |= mark.is_block();
        match mark {
            Mark::Strong => self.element("strong", None, inner),
            Mark::Emphasis => self.element("em", None, inner),
            Mark::Underline if xhtml => self.element("span", Some(("style", "text-decoration: underline")), inner),
            Mark::Underline => self.element("u", None, inner),
            Mark::Strike if xhtml => self.element("span", Some(("style", "text-decoration: line-through")), inner),
            Mark::Strike => self.element("del", None, inner),
            Mark::Code => self.element("code", None, inner),
            Mark::Paragraph => self.element("p", None, inner),
            Mark::Quote => self.element("blockquote", None, inner),
            Mark::Item => self.element("li", None, inner),
            Mark::List(None) => self.element("ul", None, inner),
            Mark::List(Some(first)) if *first != 1 && !xhtml => {
                self.element("ol", Some(("start", &first.to_string())), inner);
            }
            Mark::List(Some(_)) => self.element("ol", None, inner),
            Mark::Heading(level) => {
                let at = usize::from(*level).clamp(1, HEADINGS.len()) - 1;
                self.element(HEADINGS[at], None, inner);
            }
            Mark::Link(url) if self.passes(url) => self.element("a", Some(("href", url)), inner),
            Mark::Link(url) => {
                self.nodes(inner);
                let mut shown = String::new();
                flatten(inner, &mut shown);
                if !same_link(shown.trim(), url) {
                    self.text(&format!(" ({url})"));
                }
            }
            Mark::Mention(who) => match (self.dialect.mention)(who) {
                Some(url) => self.element("a", Some(("href", &url)), inner),
                None => self.nodes(inner),
            },
            Mark::Spoiler(hint) => match self.dialect.spoiler {
                Some(name) => self.element("span", Some((name, hint.as_deref().unwrap_or_default())), inner),
                None => {
                    if let Some(hint) = hint {
                        self.text(&format!("({hint}) "));
                    }
                    self.text("||");
                    self.nodes(inner);
                    self.text("||");
                }
            },
            Mark::Preformatted(language) => self.preformatted(language.as_deref().filter(|_| !xhtml), inner),
        }
        self.fresh |= mark.is_block();
    }

    fn passes(&self, url: &str) -> bool {
        let scheme = url.split(':').next().unwrap_or_default();
        let known = self.dialect.schemes;
        known.is_empty() || known.iter().any(|known| known.eq_ignore_ascii_case(scheme))
    }

    fn preformatted(&mut self, language: Option<&str>, inner: &[Node]) {
        let mut text = String::new();
        flatten(inner, &mut text);
        let class = language.map(|language| format!("language-{language}"));
        self.sink.open("pre", None);
        self.sink.open("code", class.as_deref().map(|class| ("class", class)));
        // A reader leaves out the first line end, if there is one.
        if text.starts_with('\n') {
            self.sink.text("\n");
        }
        self.sink.text(&text);
        self.sink.close("code");
        self.sink.close("pre");
    }

    fn element(&mut self, name: &str, attribute: Option<(&str, &str)>, inner: &[Node]) {
        self.sink.open(name, attribute);
        self.nodes(inner);
        self.sink.close(name);
    }

    /// Text as readers show it: line ends are elements, and where white space would be left out it is of the sort that is
    /// not.
    fn text(&mut self, text: &str) {
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                self.sink.open("br", None);
                self.fresh = true;
            }
            let mut chars = line.chars().peekable();
            let mut shown = String::with_capacity(line.len());
            while let Some(c) = chars.next() {
                match c {
                    '\t' => shown.push_str("\u{a0}\u{a0}\u{a0}\u{a0}"),
                    ' ' if self.fresh || chars.peek() == Some(&' ') => shown.push('\u{a0}'),
                    c => shown.push(c),
                }
                self.fresh = false;
            }
            if !shown.is_empty() {
                self.sink.text(&shown);
            }
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
