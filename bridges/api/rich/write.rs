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
    if !writer.held.is_empty() {
        writer.begin();
        writer.release();
    }
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
    /// The marks within the line that are open, outer ones first.
    open: Vec<Open>,
    /// White space that is written when something follows it: a sign stands next to a word, or it is none.
    held: String,
    /// Whether characters are written as they are, and no sign.
    verbatim: bool,
}

/// A mark that is open.
struct Open {
    sign: &'static str,
    /// Its number among the spots.
    spot: usize,
    /// Whether its sign stands in this line. It stands in each line anew, because no sign reaches beyond its line.
    written: bool,
    /// Whether anything of it has been written.
    started: bool,
}

impl Writer {
    fn nodes(&mut self, nodes: &[Node], literal: bool) {
        for (n, node) in nodes.iter().enumerate() {
            match node {
                Node::Text(text) => self.text(text),
                // Within code no sign means anything.
                Node::Part(mark, inner) if literal && !mark.is_block() => self.nodes(inner, literal),
                Node::Part(mark, inner) => {
                    let before = n.checked_sub(1).and_then(|before| nodes.get(before));
                    // An empty line parts paragraphs.
                    if *mark == Mark::Paragraph && matches!(before, Some(Node::Part(Mark::Paragraph, _))) {
                        self.fresh_line();
                        self.text("\n");
                    }
                    self.part(mark, inner, literal);
                }
            }
        }
    }

    fn part(&mut self, mark: &Mark, inner: &[Node], literal: bool) {
        let spot = self.out.spots.len();
        if mark.is_block() {
            self.fresh_line();
            self.out.spots.push(Spot { range: self.count..self.count, mark: mark.clone() });
            self.block(mark, inner, literal);
            self.out.spots[spot].range.end = self.count;
            return;
        }
        let sign = match mark {
            Mark::Strong => "*",
            Mark::Emphasis => "_",
            Mark::Strike => "~",
            Mark::Code => "`",
            // Not hidden where only text is shown, so at least the reader is warned.
            Mark::Spoiler(_) => "||",
            _ => "",
        };
        self.out.spots.push(Spot { range: self.count..self.count, mark: mark.clone() });
        self.open.push(Open { sign: "", spot, written: false, started: false });
        if let Mark::Spoiler(Some(hint)) = mark {
            self.text(&format!("({hint}) "));
        }
        self.sign(sign);
        match mark {
            Mark::Link(url) => {
                let before = self.out.text.len();
                self.nodes(inner, literal);
                let shown = self.out.text.get(before..).unwrap_or_default();
                if !same_link(shown.trim(), url) {
                    self.text(&format!(" ({url})"));
                }
            }
            mark => self.nodes(inner, literal || *mark == Mark::Code),
        }
        self.close();
    }

    fn block(&mut self, mark: &Mark, inner: &[Node], literal: bool) {
        match mark {
            Mark::Heading(_) => {
                let spot = self.out.spots.len();
                self.out.spots.push(Spot { range: self.count..self.count, mark: Mark::Strong });
                self.open.push(Open { sign: "", spot, written: false, started: false });
                self.sign("*");
                self.nodes(inner, literal);
                self.close();
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
                let verbatim = std::mem::replace(&mut self.verbatim, true);
                self.text(&format!("```{}\n", language.as_deref().unwrap_or_default()));
                self.nodes(inner, true);
                self.fresh_line();
                self.text("```\n");
                self.verbatim = verbatim;
            }
            Mark::List(first) => self.list(*first, inner, literal),
            // A paragraph, or an item without a list around it.
            _ => {
                self.nodes(inner, literal);
                self.fresh_line();
            }
        }
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

    /// Gives the innermost open mark its sign, unless that stands around it already.
    fn sign(&mut self, sign: &'static str) {
        if self.open.iter().any(|open| open.sign == sign) {
            return;
        }
        if let Some(open) = self.open.last_mut() {
            open.sign = sign;
        }
    }

    /// Ends the innermost open mark.
    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        if open.written {
            self.raw(open.sign);
        }
        if open.started {
            self.out.spots[open.spot].range.end = self.count;
        } else {
            let here = self.count;
            self.out.spots[open.spot].range = here..here;
        }
    }

    fn text(&mut self, text: &str) {
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                self.begin();
                self.end();
            }
            self.line(line);
        }
    }

    /// Text within a line.
    fn line(&mut self, text: &str) {
        let core = text.trim();
        if core.is_empty() {
            self.held.push_str(text);
            return;
        }
        let before = text.len() - text.trim_start().len();
        self.held.push_str(&text[..before]);
        self.begin();
        self.release();
        for n in 0..self.open.len() {
            let open = &mut self.open[n];
            if !open.started {
                open.started = true;
                self.out.spots[open.spot].range.start = self.count;
            }
            let sign = open.sign;
            if !self.verbatim && !open.written && !sign.is_empty() {
                open.written = true;
                self.raw(sign);
            }
        }
        self.raw(core);
        self.filled = true;
        self.held.push_str(&text[before + core.len()..]);
    }

    fn release(&mut self) {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.raw(&held);
            self.filled = true;
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
        if !self.held.is_empty() {
            self.begin();
            self.release();
        }
        if self.filled {
            self.end();
        }
    }

    fn end(&mut self) {
        for n in (0..self.open.len()).rev() {
            if std::mem::take(&mut self.open[n].written) {
                self.raw(self.open[n].sign);
            }
        }
        self.release();
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
pub(super) fn same_link(shown: &str, url: &str) -> bool {
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
                "*T*\np\n\nq",
            ),
            // Signs stand next to words, and reach no further than their line.
            (
                vec![text("a"), part(Strong, vec![text(" b\n c "), part(Emphasis, vec![text("d ")])]), text("e")],
                "a *b*\n *c _d_* e",
            ),
            (vec![part(Heading(2), vec![part(Strong, vec![text("T")])]), part(Strong, vec![text(" ")])], "*T*\n "),
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
