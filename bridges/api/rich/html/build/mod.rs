//! From the tags of HTML to the tree, whoever reads the tags. Nothing here recurses over what was read, and no list grows
//! with the depth of it.

mod inline;

use self::inline::{INLINE_TAGS, Inline, flush};
use crate::api::rich::{DEPTH, Mark, NODES, Node};

/// The most text that is taken in bytes, the URLs of links included.
const MOST: usize = 1 << 20;

/// The attributes of a tag, by their names.
pub type Attributes<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Takes tags and text, and makes a tree.
///
/// Blocks end what stands within a line and begin it anew, so that no mark within a line holds a block.
pub struct Builder {
    /// The blocks that are open; the first is the whole.
    blocks: Vec<Block>,
    /// Whether white space waits for a word behind it.
    space: bool,
    /// Whether the line has nothing in it so far.
    fresh: bool,
    /// How many bytes, and how many marks, may still come.
    bytes: usize,
    marks: usize,
    /// How many blocks were opened that are too deep.
    deep: usize,
    /// How many steps were taken that are not the reading of a character.
    #[cfg(test)]
    pub steps: usize,
}

struct Block {
    tag: &'static str,
    mark: Option<Mark>,
    nodes: Vec<Node>,
    inline: Vec<Inline>,
    /// How many of those are continued from around this block.
    inherited: usize,
    /// The next word begins a line.
    broken: bool,
    /// It was opened without a tag of its own, and ends without one.
    implicit: bool,
    /// How many elements within the line were opened beyond [`INLINE`].
    over: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            blocks: vec![Block::new("", None)],
            space: false,
            fresh: true,
            bytes: MOST,
            marks: NODES,
            deep: 0,
            #[cfg(test)]
            steps: 0,
        }
    }
}

impl Block {
    fn new(tag: &'static str, mark: Option<Mark>) -> Self {
        Self { tag, mark, nodes: Vec::new(), inline: Vec::new(), inherited: 0, broken: false, implicit: false, over: 0 }
    }

    fn is_list(&self) -> bool {
        matches!(self.mark, Some(Mark::List(_)))
    }

    fn is_pre(&self) -> bool {
        matches!(self.mark, Some(Mark::Preformatted(_)))
    }

    /// Whether it holds lines, but no blocks.
    fn is_line(&self) -> bool {
        matches!(self.mark, Some(Mark::Paragraph | Mark::Heading(_)))
    }
}

impl Builder {
    /// An element begins. The name is in lower case.
    pub fn open(&mut self, name: &str, attributes: Attributes<'_>) {
        if let Some(tag) = INLINE_TAGS.iter().find(|known| **known == name) {
            return self.open_inline(tag, attributes);
        }
        match name {
            "br" => self.newline(),
            "hr" => {
                self.line();
                self.text("---");
                self.line();
            }
            "img" => {
                let alt = attributes("alt").unwrap_or_default();
                match alt.trim() {
                    "" => {}
                    alt if attributes("data-mx-emoticon").is_some() => self.text(alt),
                    alt => self.text(&format!("[{alt}]")),
                }
            }
            "td" | "th" => self.space = true,
            "p" => {
                self.open_block("p", Mark::Paragraph);
                self.style(attributes);
            }
            "h1" => self.open_block("h1", Mark::Heading(1)),
            "h2" => self.open_block("h2", Mark::Heading(2)),
            "h3" => self.open_block("h3", Mark::Heading(3)),
            "h4" => self.open_block("h4", Mark::Heading(4)),
            "h5" => self.open_block("h5", Mark::Heading(5)),
            "h6" => self.open_block("h6", Mark::Heading(6)),
            "blockquote" => self.open_block("blockquote", Mark::Quote),
            "pre" => self.open_block("pre", Mark::Preformatted(None)),
            "ul" => self.open_block("ul", Mark::List(None)),
            "ol" => {
                let first = attributes("start").and_then(|start| start.trim().parse().ok()).unwrap_or(1);
                self.open_block("ol", Mark::List(Some(first)));
            }
            "li" => self.item(),
            name if is_line(name) => self.line(),
            _ => {}
        }
    }

    /// An element ends. The name is in lower case.
    pub fn close(&mut self, name: &str) {
        if INLINE_TAGS.contains(&name) {
            return self.close_inline(name);
        }
        match name {
            "br" => self.newline(),
            "td" | "th" => self.space = true,
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                if self.top().is_line() && self.top().tag == name {
                    self.close_block();
                } else {
                    self.line();
                }
            }
            "blockquote" | "pre" | "ul" | "ol" | "li" => self.close_to(name),
            name if is_line(name) => self.line(),
            _ => {}
        }
    }

    /// Text, entities replaced.
    pub fn text(&mut self, text: &str) {
        if self.top().is_pre() {
            return self.verbatim(text);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}');
            let word = rest.find(is_space).unwrap_or(rest.len());
            if word > 0 {
                self.word(&rest[..word]);
            }
            rest = &rest[word..];
            let behind = rest.trim_start_matches(is_space);
            self.space |= behind.len() < rest.len();
            rest = behind;
        }
    }

    /// The tree.
    pub fn finish(mut self) -> Vec<Node> {
        while self.blocks.len() > 1 {
            self.close_block();
        }
        let Some(mut whole) = self.blocks.pop() else { return Vec::new() };
        flush(&mut whole, 0, &mut self.marks);
        trim(&mut whole.nodes);
        match whole.nodes.as_mut_slice() {
            // A message of one paragraph is just text.
            [Node::Part(Mark::Paragraph, inner)] => std::mem::take(inner),
            _ => whole.nodes,
        }
    }

    fn top(&mut self) -> &mut Block {
        if self.blocks.is_empty() {
            self.blocks.push(Block::new("", None));
        }
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }

    #[cfg_attr(not(test), allow(clippy::unused_self, unused_variables, reason = "only tests count"))]
    fn count(&mut self, steps: usize) {
        #[cfg(test)]
        {
            self.steps += steps;
        }
    }

    /// Takes so many bytes of what may still come; says whether they may.
    fn may(&mut self, bytes: usize) -> bool {
        let may = self.bytes >= bytes;
        self.bytes = self.bytes.saturating_sub(bytes);
        may
    }

    fn word(&mut self, word: &str) {
        let word: String = clean(word).collect();
        if word.is_empty() || !self.may(word.len() + 1) {
            return;
        }
        self.place();
        if std::mem::take(&mut self.top().broken) && !self.fresh {
            self.gap("\n");
        } else if self.space && !self.fresh {
            self.gap(" ");
        }
        self.space = false;
        self.fresh = false;
        let block = self.top();
        push(block.inline.last_mut().map_or(&mut block.nodes, |inline| &mut inline.nodes), &word);
    }

    fn verbatim(&mut self, text: &str) {
        if !self.may(text.len()) {
            return;
        }
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let block = self.top();
        // The line end behind the tag is not part of the text.
        let text = if block.nodes.is_empty() { text.strip_prefix('\n').unwrap_or(&text) } else { &text };
        let text: String = clean(text).collect();
        if !text.is_empty() || block.nodes.is_empty() {
            push(&mut block.nodes, &text);
        }
    }

    /// White space, outside of whatever has nothing in it so far.
    fn gap(&mut self, gap: &str) {
        let block = self.top();
        let level = block.inline.iter().rposition(|inline| !inline.nodes.is_empty());
        let steps = block.inline.len();
        push(level.map_or(&mut block.nodes, |level| &mut block.inline[level].nodes), gap);
        self.count(steps);
    }

    fn newline(&mut self) {
        if !self.may(1) {
            return;
        }
        if self.top().is_pre() {
            return push(&mut self.top().nodes, "\n");
        }
        self.place();
        if std::mem::take(&mut self.top().broken) && !self.fresh {
            self.gap("\n");
        }
        self.gap("\n");
        self.space = false;
        self.fresh = true;
    }

    /// What comes next stands in a line of its own.
    fn line(&mut self) {
        if self.top().is_pre() {
            let nodes = &mut self.top().nodes;
            if matches!(nodes.last(), Some(Node::Text(text)) if !text.ends_with('\n')) {
                push(nodes, "\n");
            }
            return;
        }
        if self.top().is_line() {
            self.close_block();
        }
        let fresh = self.fresh;
        self.top().broken |= !fresh;
        self.space = false;
    }

    /// Makes sure that something other than an item may stand here.
    fn place(&mut self) {
        while self.top().is_list() {
            if self.top().implicit {
                self.close_block();
                continue;
            }
            // What stands beside the items belongs to the one before.
            let nodes = match self.top().nodes.pop() {
                Some(Node::Part(Mark::Item, nodes)) => nodes,
                Some(other) => {
                    self.top().nodes.push(other);
                    Vec::new()
                }
                None => Vec::new(),
            };
            let fresh = nodes.is_empty();
            self.push_block("li", Mark::Item, true);
            let item = self.top();
            item.nodes = nodes;
            item.broken = !fresh;
            self.fresh = fresh;
            return;
        }
    }

    fn open_block(&mut self, tag: &'static str, mark: Mark) {
        if self.top().is_pre() {
            return self.line();
        }
        if self.top().is_line() {
            self.close_block();
        }
        // An item stands in a list, and what stands in a list in an item.
        let needed = 1 + usize::from(self.top().is_list()) + usize::from(matches!(mark, Mark::List(_)));
        if self.depth() + needed > DEPTH || self.marks < needed {
            // A paragraph within anything too deep ends with its line.
            self.deep += usize::from(!matches!(mark, Mark::Paragraph | Mark::Heading(_)));
            return self.line();
        }
        self.place();
        self.push_block(tag, mark, false);
    }

    fn item(&mut self) {
        if self.top().is_pre() {
            return self.line();
        }
        while self.top().is_line() || self.top().mark == Some(Mark::Item) {
            self.close_block();
        }
        if self.depth() + 2 > DEPTH || self.marks < 2 {
            self.deep += 1;
            return self.line();
        }
        if !self.top().is_list() {
            self.push_block("ul", Mark::List(None), true);
        }
        self.push_block("li", Mark::Item, false);
    }

    fn depth(&self) -> usize {
        let inline = self.blocks.last().map_or(0, |block| block.inline.iter().map(|inline| inline.marks.len()).sum());
        self.blocks.len() - 1 + inline
    }

    fn push_block(&mut self, tag: &'static str, mark: Mark, implicit: bool) {
        self.marks = self.marks.saturating_sub(1);
        let left = &mut self.marks;
        let last = self.blocks.len() - 1;
        let around = &mut self.blocks[last];
        let mut block = Block::new(tag, Some(mark));
        block.implicit = implicit;
        block.inherited = around.inline.len();
        // Begins anew in here what stands around it, and again behind it.
        let again: Vec<Inline> = around
            .inline
            .iter()
            .map(|inline| Inline { tag: inline.tag, marks: inline.marks.clone(), nodes: Vec::new() })
            .collect();
        flush(around, 0, left);
        around.broken = false;
        around.inline = again;
        let urls: usize = around.inline.iter().map(Inline::urls).sum();
        let steps = around.inline.len();
        if !block.is_pre() {
            block.inline = around.inline.clone();
        }
        // A long URL is not repeated for ever.
        if !self.may(2 * urls) {
            for inline in block.inline.iter_mut().chain(&mut self.blocks[last].inline) {
                inline.marks.retain(|mark| !matches!(mark, Mark::Link(_)));
            }
        }
        self.count(steps);
        self.blocks.push(block);
        self.fresh = true;
        self.space = false;
    }

    /// Ends the innermost block.
    fn close_block(&mut self) {
        if self.blocks.len() < 2 {
            return;
        }
        let Some(mut block) = self.blocks.pop() else { return };
        self.count(block.inline.len());
        flush(&mut block, 0, &mut self.marks);
        trim(&mut block.nodes);
        let around = self.top();
        around.inline.truncate(block.inherited);
        if let (Some(mark), false) = (block.mark, block.nodes.is_empty()) {
            around.nodes.push(Node::Part(mark, block.nodes));
        }
        self.fresh = true;
        self.space = false;
    }

    /// Ends the innermost block of this tag and all in it, if there is one that may end here.
    fn close_to(&mut self, name: &str) {
        if self.deep > 0 && !self.top().is_pre() {
            self.deep -= 1;
            return self.line();
        }
        let mut at = None;
        for (n, block) in self.blocks.iter().enumerate().rev() {
            if block.tag == name {
                at = Some(n);
                break;
            }
            // An item ends in its own list only.
            if name == "li" && block.is_list() {
                break;
            }
        }
        self.count(self.blocks.len());
        match at {
            Some(at) => {
                while self.blocks.len() > at {
                    self.close_block();
                }
            }
            None => self.line(),
        }
    }
}

fn push(nodes: &mut Vec<Node>, text: &str) {
    match nodes.last_mut() {
        Some(Node::Text(before)) => before.push_str(text),
        _ => nodes.push(Node::Text(text.to_owned())),
    }
}

/// A line end at the end of a block is none of its own.
fn trim(nodes: &mut Vec<Node>) {
    if let Some(Node::Text(text)) = nodes.last_mut() {
        text.truncate(text.trim_end_matches('\n').len());
        if text.is_empty() {
            nodes.pop();
        }
    }
}

/// Text without characters that no message may have.
fn clean(text: &str) -> impl Iterator<Item = char> {
    let known = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    known.map(|c| if matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c })
}

/// Elements that stand in lines of their own and mean nothing else here.
#[rustfmt::skip]
fn is_line(name: &str) -> bool {
    matches!(
        name,
        "div" | "tr" | "table" | "tbody" | "thead" | "tfoot" | "caption" | "section" | "article" | "header" | "footer"
            | "main" | "aside" | "nav" | "address" | "center" | "dl" | "dt" | "dd" | "details" | "summary" | "figure"
            | "figcaption" | "form" | "fieldset" | "legend" | "option" | "body" | "html"
    )
}
