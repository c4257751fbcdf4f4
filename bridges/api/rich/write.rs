//! From the tree to plain characters, with the signs that people type where they have no buttons: those of XEP-0393, which
//! most clients know and everybody can read.

use std::ops::Range;

use super::{Mark, Node};

/// A tree in plain characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Styled {
    /// The text.
    pub text: String,
    /// Where each mark of the tree went, outer ones before inner ones.
    pub spots: Vec<Spot>,
}

/// Where a mark went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// From the first to behind the last character of it, its signs included, in Unicode code points.
    pub range: Range<usize>,
    /// What it is.
    pub mark: Mark,
}

/// Writes a tree.
#[must_use]
pub fn styled(nodes: &[Node]) -> Styled {
    let mut writer = Writer::default();
    writer.nodes(nodes, false);
    let mut out = writer.out;
    // A block ends its last line; a message does not.
    while out.text.ends_with('\n') {
        out.text.pop();
    }
    let length = out.text.chars().count();
    for spot in &mut out.spots {
        spot.range.end = spot.range.end.min(length);
        spot.range.start = spot.range.start.min(spot.range.end);
    }
    out
}

#[derive(Default)]
struct Writer {
    out: Styled,
    /// How many characters have been written.
    count: usize,
    /// What each line begins with: one piece for each quote or list around it.
    prefixes: Vec<String>,
    /// Whether the line that is being written has its beginning.
    begun: bool,
    /// Whether it has something behind that.
    filled: bool,
}

impl Writer {
    fn nodes(&mut self, nodes: &[Node], literal: bool) {
        for node in nodes {
            match node {
                Node::Text(text) => self.text(text),
                // Within code no sign means anything.
                Node::Part(mark, inner) if literal && !mark.is_block() => self.nodes(inner, literal),
                Node::Part(mark, inner) => self.part(mark, inner, literal),
            }
        }
    }

    fn part(&mut self, mark: &Mark, inner: &[Node], literal: bool) {
        if mark.is_block() {
            self.fresh_line();
        } else {
            self.begin();
        }
        let at = self.out.spots.len();
        self.out.spots.push(Spot { range: self.count..self.count, mark: mark.clone() });
        match mark {
            Mark::Strong => self.around("*", inner, literal),
            Mark::Emphasis => self.around("_", inner, literal),
            Mark::Strike => self.around("~", inner, literal),
            Mark::Code => self.around("`", inner, literal),
            Mark::Heading(_) => {
                self.around("*", inner, literal);
                self.fresh_line();
            }
            Mark::Underline | Mark::Mention(_) => self.nodes(inner, literal),
            Mark::Spoiler(hint) => {
                // Not hidden where only text is shown, so at least the reader is warned.
                if let Some(hint) = hint {
                    self.text(&format!("({hint}) "));
                }
                self.around("||", inner, literal);
            }
            Mark::Link(url) => {
                let before = self.out.text.len();
                self.nodes(inner, literal);
                let shown = self.out.text.get(before..).unwrap_or_default();
                if !same_link(shown.trim(), url) {
                    self.text(&format!(" ({url})"));
                }
            }
            Mark::Paragraph => {
                self.nodes(inner, literal);
                self.fresh_line();
            }
            Mark::Quote => {
                self.prefixes.push("> ".to_owned());
                self.again();
                self.nodes(inner, literal);
                self.fresh_line();
                self.prefixes.pop();
            }
            Mark::Preformatted(language) => {
                self.text(&format!("```{}\n", language.as_deref().unwrap_or_default()));
                self.nodes(inner, true);
                self.fresh_line();
                self.text("```\n");
            }
            Mark::List(first) => self.list(*first, inner, literal),
            // An item without a list around it.
            Mark::Item => {
                self.nodes(inner, literal);
                self.fresh_line();
            }
        }
        self.out.spots[at].range.end = self.count;
    }

    fn list(&mut self, first: Option<u32>, inner: &[Node], literal: bool) {
        let mut number = first;
        for node in inner {
            let Node::Part(Mark::Item, item) = node else {
                self.nodes(std::slice::from_ref(node), literal);
                continue;
            };
            self.fresh_line();
            self.begin();
            let at = self.out.spots.len();
            self.out.spots.push(Spot { range: self.count..self.count, mark: Mark::Item });
            let sign = match number {
                Some(n) => format!("{n}. "),
                None => "- ".to_owned(),
            };
            number = number.map(|n| n.saturating_add(1));
            let indent = " ".repeat(sign.chars().count());
            self.raw(&sign);
            self.prefixes.push(indent);
            self.nodes(item, literal);
            // Also where an item is empty, so that the next sign has a line of its own.
            if self.begun {
                self.end();
            }
            self.prefixes.pop();
            self.out.spots[at].range.end = self.count;
        }
    }

    fn around(&mut self, sign: &str, inner: &[Node], literal: bool) {
        if literal {
            return self.nodes(inner, literal);
        }
        self.text(sign);
        self.nodes(inner, sign == "`");
        self.text(sign);
    }

    fn text(&mut self, text: &str) {
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                self.begin();
                self.end();
            }
            if !line.is_empty() {
                self.begin();
                self.raw(line);
                self.filled = true;
            }
        }
    }

    /// Writes what the line begins with, unless that is done.
    fn begin(&mut self) {
        if self.begun {
            return;
        }
        self.begun = true;
        let prefix = self.prefixes.concat();
        self.raw(&prefix);
    }

    /// The line has one more beginning, and nothing else so far.
    fn again(&mut self) {
        if let (true, Some(prefix)) = (self.begun, self.prefixes.last().cloned()) {
            self.raw(&prefix);
        }
    }

    /// Ends the line, unless nothing is in it.
    fn fresh_line(&mut self) {
        if self.filled {
            self.end();
        }
    }

    fn end(&mut self) {
        self.raw("\n");
        self.begun = false;
        self.filled = false;
    }

    fn raw(&mut self, text: &str) {
        self.out.text.push_str(text);
        self.count += text.chars().count();
    }
}

/// Whether people see from the text of a link where it leads.
fn same_link(shown: &str, url: &str) -> bool {
    let bare = |text: &str| {
        let text = text.strip_prefix("mailto:").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
        let text = text.strip_prefix("http://").unwrap_or(text);
        text.trim_end_matches('/').to_owned()
    };
    bare(shown) == bare(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    fn part(mark: Mark, inner: Vec<Node>) -> Node {
        Node::Part(mark, inner)
    }

    fn item(inner: Vec<Node>) -> Node {
        part(Mark::Item, inner)
    }

    #[test]
    fn signs() {
        use Mark::*;
        let link = |shown: &str, url: &str| part(Link(url.into()), vec![text(shown)]);
        for (nodes, expected) in [
            (vec![text("a "), part(Strong, vec![text("b "), part(Emphasis, vec![text("c")])])], "a *b _c_*"),
            (
                vec![part(Strike, vec![text("x")]), text(" "), part(Code, vec![part(Strong, vec![text("y")])])],
                "~x~ `y`",
            ),
            (vec![part(Quote, vec![text("a\nb"), part(Quote, vec![text("c")])]), text("d")], "> a\n> b\n> > c\nd"),
            (
                vec![text("see"), part(Preformatted(Some("rust".into())), vec![text("a\n\nb")]), text("end")],
                "see\n```rust\na\n\nb\n```\nend",
            ),
            (vec![part(Quote, vec![part(Preformatted(None), vec![text("a")])])], "> ```\n> a\n> ```"),
            (
                vec![part(
                    List(None),
                    vec![item(vec![part(Paragraph, vec![text("a")]), part(Quote, vec![text("b")])])],
                )],
                "- a\n  > b",
            ),
            (vec![part(List(None), vec![item(vec![]), item(vec![part(Quote, vec![text("b")])])])], "- \n- > b"),
            (
                vec![part(
                    List(Some(9)),
                    vec![
                        item(vec![text("a\nb")]),
                        item(vec![text("c"), part(List(None), vec![item(vec![text("d")])])]),
                    ],
                )],
                "9. a\n   b\n10. c\n    - d",
            ),
            (
                vec![link("here", "https://x.y/"), text(" and "), link("x.y", "https://x.y/")],
                "here (https://x.y/) and x.y",
            ),
            (vec![part(Spoiler(Some("end".into())), vec![text("he dies")])], "(end) ||he dies||"),
            (
                vec![
                    part(Heading(1), vec![text("T")]),
                    part(Paragraph, vec![text("p")]),
                    part(Paragraph, vec![text("q")]),
                ],
                "*T*\np\nq",
            ),
        ] {
            assert_eq!(styled(&nodes).text, expected, "{nodes:?}");
        }
    }

    #[test]
    fn spots_are_counted_in_code_points() {
        let styled =
            styled(&[text("\u{1f600} "), part(Mark::Strong, vec![text("ü"), part(Mark::Emphasis, vec![text("b")])])]);
        assert_eq!(styled.text, "\u{1f600} *ü_b_*");
        let spots: Vec<_> = styled.spots.iter().map(|spot| (spot.range.clone(), spot.mark.clone())).collect();
        assert_eq!(spots, [(2..8, Mark::Strong), (4..7, Mark::Emphasis)]);
    }
}
