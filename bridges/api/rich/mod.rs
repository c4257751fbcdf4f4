//! Formatted text as a tree, the same for every network.
//!
//! A text that has one also has a [`body`](super::event::Text::body): the same in plain characters, complete for whoever shows
//! nothing else. What no side could show is not in the tree, and neither is what only looks: no colours, sizes or fonts.

pub mod html;
mod split;
mod write;

use super::id::{PersonId, UserId};

pub use self::html::{from_html, to_html};
pub use self::split::{Piece, split};
pub use self::write::{Spot, Styled, styled};

/// How deep marks may stand in one another. What is deeper keeps its text and loses its marks.
pub const DEPTH: usize = 24;

/// How many nodes a text may have; what is beyond keeps its text and loses its marks.
pub const NODES: usize = 10_000;

/// A piece of text, or marked pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Characters as they are read; `\n` ends a line.
    Text(String),
    /// What this mark holds.
    Part(Mark, Vec<Node>),
}

/// What a piece of text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Strong.
    Strong,
    /// Emphasised.
    Emphasis,
    /// Underlined.
    Underline,
    /// Struck through.
    Strike,
    /// Code within a line.
    Code,
    /// Hidden until somebody wants to read it, with a hint why.
    Spoiler(Option<String>),
    /// A link to this URL, which is one of those that [`is_link`] lets through.
    Link(String),
    /// Somebody who is meant by it.
    Mention(Who),
    /// A heading of a level from 1 to 6; a block.
    Heading(u8),
    /// A paragraph; a block.
    Paragraph,
    /// What somebody else has said; a block.
    Quote,
    /// Code in lines of its own, in this language; a block that holds text only.
    Preformatted(Option<String>),
    /// A list, numbered from this number where there is one; a block that holds [`Mark::Item`] only.
    List(Option<u32>),
    /// A thing in a list.
    Item,
}

impl Mark {
    /// Whether it stands in lines of its own.
    #[must_use]
    pub fn is_block(&self) -> bool {
        match self {
            Self::Heading(_) | Self::Paragraph | Self::Quote | Self::Preformatted(_) | Self::List(_) | Self::Item => {
                true
            }
            Self::Strong
            | Self::Emphasis
            | Self::Underline
            | Self::Strike
            | Self::Code
            | Self::Spoiler(_)
            | Self::Link(_)
            | Self::Mention(_) => false,
        }
    }
}

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// A person of the network.
    Person(PersonId),
    /// A user of ours.
    User(UserId),
    /// Everybody in the room.
    Room,
}

/// Formatted text: at least one mark, and not more of anything than is said above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rich(Vec<Node>);

impl Rich {
    /// The text of these nodes in one form: pieces that stand side by side are one, empty ones are left out, and what is too
    /// deep or too much is text only. `None` where no mark is left.
    #[must_use]
    pub fn new(nodes: Vec<Node>) -> Option<Self> {
        let mut left = NODES;
        let nodes = tidy(nodes, 0, &mut left);
        nodes.iter().any(|node| matches!(node, Node::Part(..))).then_some(Self(nodes))
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.0
    }

    /// The nodes, to be built anew.
    #[must_use]
    pub fn into_nodes(self) -> Vec<Node> {
        self.0
    }

    /// The text in plain characters, with the signs that people type where they have no buttons (`*strong*`, `> quoted`).
    #[must_use]
    pub fn text(&self) -> String {
        styled(&self.0).text
    }

    /// Whoever is mentioned, each once, in the order of the text.
    #[must_use]
    pub fn mentions(&self) -> Vec<&Who> {
        let mut found = Vec::new();
        collect(&self.0, &mut found);
        found
    }
}

fn collect<'a>(nodes: &'a [Node], found: &mut Vec<&'a Who>) {
    for node in nodes {
        if let Node::Part(mark, inner) = node {
            if let Mark::Mention(who) = mark
                && !found.contains(&who)
            {
                found.push(who);
            }
            collect(inner, found);
        }
    }
}

/// The depth is at most that of the caller's tree, which its reader has limited; `left` counts down.
fn tidy(nodes: Vec<Node>, depth: usize, left: &mut usize) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node {
            Node::Text(text) => push_text(&mut out, text),
            Node::Part(mark, inner) => {
                let inner = tidy(inner, depth + 1, left);
                if inner.is_empty() {
                    continue;
                }
                if depth >= DEPTH || *left == 0 {
                    for node in inner {
                        match node {
                            Node::Text(text) => push_text(&mut out, text),
                            part @ Node::Part(..) => out.push(part),
                        }
                    }
                    continue;
                }
                *left -= 1;
                out.push(Node::Part(mark, inner));
            }
        }
    }
    out
}

fn push_text(out: &mut Vec<Node>, text: String) {
    if text.is_empty() {
        return;
    }
    match out.last_mut() {
        Some(Node::Text(before)) => before.push_str(&text),
        _ => out.push(Node::Text(text)),
    }
}

/// Whether a URL may be a link that people press: only schemes that do nothing but lead somewhere, with nothing in them that
/// breaks out of an attribute or turns text around. At most 2,000 bytes.
#[must_use]
pub fn is_link(url: &str) -> bool {
    const SCHEMES: [&str; 9] = ["https", "http", "mailto", "xmpp", "matrix", "geo", "tel", "magnet", "ftp"];
    let Some((scheme, rest)) = url.split_once(':') else { return false };
    url.len() <= 2000
        && !rest.is_empty()
        && SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
        && !url.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`' | '\\'))
        && !url.chars().any(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    #[test]
    fn text_without_marks_is_no_formatted_text() {
        assert_eq!(Rich::new(vec![text("a"), text(""), text("b")]), None);
        assert_eq!(Rich::new(vec![text("a"), Node::Part(Mark::Strong, vec![text("")])]), None);
        let rich = Rich::new(vec![text("a"), text("b"), Node::Part(Mark::Strong, vec![text("c"), text("d")])]).unwrap();
        assert_eq!(rich.nodes(), [text("ab"), Node::Part(Mark::Strong, vec![text("cd")])]);
    }

    #[test]
    fn what_is_too_deep_or_too_much_keeps_its_text() {
        let mut nodes = vec![text("x")];
        for _ in 0..DEPTH + 20 {
            nodes = vec![Node::Part(Mark::Emphasis, nodes)];
        }
        let rich = Rich::new(nodes).unwrap();
        let mut depth = 0;
        let mut nodes = rich.nodes();
        while let [Node::Part(_, inner)] = nodes {
            depth += 1;
            nodes = inner;
        }
        assert_eq!((depth, nodes), (DEPTH, &[text("x")][..]));
        let many = (0..NODES + 100).map(|_| Node::Part(Mark::Strong, vec![text("y")])).collect();
        let rich = Rich::new(many).unwrap();
        assert_eq!(rich.nodes().len(), NODES + 1);
        assert_eq!(rich.nodes().last(), Some(&text(&"y".repeat(100))));
    }

    #[test]
    fn links_lead_somewhere_and_do_nothing_else() {
        for url in ["https://x.y/z?a=b#c", "mailto:a@b.c", "xmpp:a@b?join", "HTTP://x", "geo:1,2", "matrix:u/a:b"] {
            assert!(is_link(url), "{url}");
        }
        for url in [
            "javascript:alert(1)",
            "data:text/html,x",
            "x",
            "https:",
            "https://x\"y",
            "https://x y",
            "file:///etc/passwd",
            "vbscript:x",
            "https://\u{202e}x",
        ] {
            assert!(!is_link(url), "{url}");
        }
    }

    #[test]
    fn who_is_mentioned() {
        let who = || Who::User(UserId::parse("juliet@capulet.lit").unwrap());
        let mention = |name: &str, who| Node::Part(Mark::Mention(who), vec![text(name)]);
        let rich = Rich::new(vec![
            Node::Part(Mark::Strong, vec![mention("J", who())]),
            mention("j", who()),
            mention("@room", Who::Room),
        ]);
        assert_eq!(rich.unwrap().mentions(), [&who(), &Who::Room]);
    }
}
