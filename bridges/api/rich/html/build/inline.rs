//! What stands within a line.

use super::{Attributes, Block, Builder, clean, push};
use crate::api::rich::html::is_language;
use crate::api::rich::{DEPTH, Mark, Node, is_link};

/// How many elements within a line are minded at once.
const INLINE: usize = 48;

#[derive(Clone)]
pub(super) struct Inline {
    pub(super) tag: &'static str,
    pub(super) marks: Vec<Mark>,
    pub(super) nodes: Vec<Node>,
}

/// The names of elements that are known here, so that no name is kept.
#[rustfmt::skip]
pub(super) const INLINE_TAGS: &[&str] = &[
    "a", "b", "strong", "i", "em", "u", "ins", "del", "s", "strike", "code", "tt", "kbd", "samp", "var", "cite", "dfn",
    "span", "font", "small", "big", "sub", "sup", "mark", "abbr", "q",
];

impl Builder {
    pub(super) fn open_inline(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        if let Some(Mark::Preformatted(language)) = &mut self.top().mark {
            if tag == "code" && language.is_none() {
                *language = attributes("class").and_then(|class| language_of(&class));
            }
            return;
        }
        let marks = match tag {
            "b" | "strong" => vec![Mark::Strong],
            "i" | "em" | "cite" | "dfn" | "var" => vec![Mark::Emphasis],
            "u" | "ins" => vec![Mark::Underline],
            "del" | "s" | "strike" => vec![Mark::Strike],
            "code" | "tt" | "kbd" | "samp" => vec![Mark::Code],
            "a" => attributes("href")
                .map(|href| href.trim().to_owned())
                .filter(|href| is_link(href))
                .map(Mark::Link)
                .into_iter()
                .collect(),
            "span" => match attributes("data-mx-spoiler") {
                Some(hint) => {
                    let hint: String = clean(hint.trim()).filter(|c| !c.is_control()).collect();
                    vec![Mark::Spoiler(Some(hint).filter(|hint| !hint.is_empty()))]
                }
                None => styles(attributes),
            },
            _ => Vec::new(),
        };
        self.push_inline(tag, marks);
    }

    fn push_inline(&mut self, tag: &'static str, mut marks: Vec<Mark>) {
        let mut left = DEPTH.saturating_sub(self.depth());
        let mut taken = Vec::new();
        let urls: usize = marks.iter().map(url_length).sum();
        if urls > 0 && !self.may(urls) {
            marks.clear();
        }
        let marks_left = self.marks;
        let block = self.top();
        let steps = block.inline.len();
        if steps >= INLINE {
            block.over += 1;
            return;
        }
        let inside = |wanted: &dyn Fn(&Mark) -> bool| block.inline.iter().flat_map(|inline| &inline.marks).any(wanted);
        for mark in marks {
            // No mark twice, no link within a link, and nothing within code.
            let again = inside(&|around| match (around, &mark) {
                (Mark::Code, _) | (Mark::Link(_), Mark::Link(_)) | (Mark::Spoiler(_), Mark::Spoiler(_)) => true,
                (around, mark) => around == mark,
            });
            if !again && left > 0 && marks_left > 0 {
                left -= 1;
                taken.push(mark);
            }
        }
        self.count(steps);
        self.top().inline.push(Inline { tag, marks: taken, nodes: Vec::new() });
    }

    /// The marks of a block's `style`, which end with it.
    pub(super) fn style(&mut self, attributes: Attributes<'_>) {
        let marks = styles(attributes);
        if !marks.is_empty() && self.top().mark == Some(Mark::Paragraph) {
            self.push_inline("", marks);
        }
    }

    pub(super) fn close_inline(&mut self, tag: &str) {
        let left = &mut self.marks;
        let last = self.blocks.len() - 1;
        let block = &mut self.blocks[last];
        if block.is_pre() {
            return;
        }
        if block.over > 0 {
            block.over -= 1;
            return;
        }
        let steps = block.inline.len();
        if let Some(at) = block.inline.iter().rposition(|inline| inline.tag == tag) {
            // What was opened later goes on behind it.
            let again: Vec<Inline> = block.inline[at + 1..]
                .iter()
                .map(|inline| Inline { tag: inline.tag, marks: inline.marks.clone(), nodes: Vec::new() })
                .collect();
            let urls: usize = again.iter().map(Inline::urls).sum();
            flush(block, at, left);
            block.inherited = block.inherited.min(at);
            block.inline.extend(again);
            if !self.may(urls) {
                self.top().inline.truncate(at);
            }
        }
        self.count(steps);
    }
}

impl Inline {
    pub(super) fn urls(&self) -> usize {
        self.marks.iter().map(url_length).sum()
    }
}

fn url_length(mark: &Mark) -> usize {
    match mark {
        Mark::Link(url) => url.len(),
        Mark::Spoiler(Some(hint)) => hint.len(),
        _ => 0,
    }
}

/// Ends what stands within the line, down to a level.
pub(super) fn flush(block: &mut Block, level: usize, left: &mut usize) {
    while block.inline.len() > level {
        let Some(inline) = block.inline.pop() else { return };
        if inline.nodes.is_empty() {
            continue;
        }
        let around = block.inline.last_mut().map_or(&mut block.nodes, |inline| &mut inline.nodes);
        let mut nodes = inline.nodes;
        for mark in inline.marks.into_iter().rev() {
            if *left > 0 {
                *left -= 1;
                nodes = vec![Node::Part(mark, nodes)];
            }
        }
        for node in nodes {
            match node {
                Node::Text(text) => push(around, &text),
                part @ Node::Part(..) => around.push(part),
            }
        }
    }
}

/// The language that a class names (`language-rust`).
fn language_of(class: &str) -> Option<String> {
    let name = class.split_ascii_whitespace().find_map(|class| class.strip_prefix("language-"))?;
    is_language(name).then(|| name.to_owned())
}

/// What a `style` says that means something.
fn styles(attributes: Attributes<'_>) -> Vec<Mark> {
    let mut marks = Vec::new();
    for rule in attributes("style").unwrap_or_default().to_ascii_lowercase().split(';').take(30) {
        let Some((name, value)) = rule.split_once(':') else { continue };
        let value = value.trim();
        match name.trim() {
            "font-weight" if matches!(value, "bold" | "bolder" | "600" | "700" | "800" | "900") => {
                marks.push(Mark::Strong);
            }
            "font-style" if matches!(value, "italic" | "oblique") => marks.push(Mark::Emphasis),
            "text-decoration" | "text-decoration-line" => {
                if value.contains("line-through") {
                    marks.push(Mark::Strike);
                }
                if value.contains("underline") {
                    marks.push(Mark::Underline);
                }
            }
            _ => {}
        }
    }
    marks
}
