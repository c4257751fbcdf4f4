//! Text with marks at places, counted in code points: what XEP-0393, 0394 and 0372 have in common, and the way between
//! that and the tree.

use std::ops::Range;

use portway_bridges::api::rich::{Mark, Node, Styled, Who};

/// How deep blocks may stand in one another.
pub const BLOCKS: usize = 16;

/// Strong.
pub const STRONG: u8 = 1;
/// Emphasised.
pub const EMPHASIS: u8 = 2;
/// Struck through.
pub const STRIKE: u8 = 4;
/// Hidden until somebody wants to read it.
pub const SPOILER: u8 = 8;
/// Code.
pub const CODE: u8 = 16;

/// The marks within a line that are a bit, outer ones first where several reach equally far.
const BITS: [u8; 5] = [STRONG, EMPHASIS, STRIKE, SPOILER, CODE];

/// Text with marks at places.
#[derive(Debug, Clone, Default)]
pub struct Marked {
    /// The text.
    pub chars: Vec<char>,
    /// What of it is only a sign, and not in the tree.
    pub hidden: Vec<bool>,
    /// The marks of each character.
    pub bits: Vec<u8>,
    /// Who is mentioned where, in order, none within another.
    pub mentions: Vec<(Range<usize>, Who)>,
    /// The blocks, each within another or beside it.
    pub blocks: Vec<(Range<usize>, Mark)>,
    /// The hint of what is hidden.
    pub hint: Option<String>,
}

impl Marked {
    /// Text without marks.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let length = chars.len();
        Self { chars, hidden: vec![false; length], bits: vec![0; length], ..Self::default() }
    }

    /// The marks of a written tree, where they went.
    #[must_use]
    pub fn written(styled: &Styled) -> Self {
        let mut marked = Self::new(&styled.text);
        for spot in &styled.spots {
            let range = spot.range.start.min(marked.chars.len())..spot.range.end.min(marked.chars.len());
            if range.is_empty() {
                continue;
            }
            match &spot.mark {
                Mark::Strong => marked.mark(range, STRONG),
                Mark::Emphasis => marked.mark(range, EMPHASIS),
                Mark::Strike => marked.mark(range, STRIKE),
                Mark::Code => marked.mark(range, CODE),
                Mark::Spoiler(hint) => {
                    marked.mark(range, SPOILER);
                    if marked.hint.is_none() {
                        marked.hint.clone_from(hint);
                    }
                }
                Mark::Mention(who) => marked.mentions.push((range, who.clone())),
                block @ (Mark::Quote | Mark::Preformatted(_) | Mark::List(_) | Mark::Item) => {
                    marked.blocks.push((range, block.clone()));
                }
                Mark::Underline | Mark::Link(_) | Mark::Heading(_) | Mark::Paragraph => {}
            }
        }
        marked
    }

    /// Puts text in front of it.
    #[must_use]
    pub fn behind(mut self, before: &str) -> Self {
        let chars: Vec<char> = before.chars().collect();
        let more = chars.len();
        self.chars.splice(0..0, chars);
        self.hidden.splice(0..0, vec![false; more]);
        self.bits.splice(0..0, vec![0; more]);
        let move_on = |range: &mut Range<usize>| *range = range.start + more..range.end + more;
        self.mentions.iter_mut().for_each(|(range, _)| move_on(range));
        self.blocks.iter_mut().for_each(|(range, _)| move_on(range));
        self
    }

    /// The same without its first characters. No block begins before them.
    #[must_use]
    pub fn from(mut self, at: usize) -> Self {
        self.chars.drain(..at);
        self.hidden.drain(..at);
        self.bits.drain(..at);
        let move_back = |range: &mut Range<usize>| {
            *range = range.start.saturating_sub(at)..range.end.saturating_sub(at);
        };
        self.mentions.iter_mut().for_each(|(range, _)| move_back(range));
        self.blocks.iter_mut().for_each(|(range, _)| move_back(range));
        self
    }

    /// Marks a range.
    pub fn mark(&mut self, range: Range<usize>, bit: u8) {
        self.bits[range].iter_mut().for_each(|bits| *bits |= bit);
    }

    /// Hides signs.
    pub fn hide(&mut self, range: Range<usize>) {
        let end = range.end.min(self.hidden.len());
        self.hidden[range.start.min(end)..end].fill(true);
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        self.chars.iter().collect()
    }

    /// For each character, in how many quotes it stands, and whether it is preformatted.
    #[must_use]
    pub fn shape(&self) -> Vec<(u8, bool)> {
        let mut shape = vec![(0u8, false); self.chars.len()];
        for (range, mark) in &self.blocks {
            for (quotes, preformatted) in &mut shape[range.clone()] {
                match mark {
                    Mark::Quote => *quotes = quotes.saturating_add(1),
                    Mark::Preformatted(_) => *preformatted = true,
                    _ => {}
                }
            }
        }
        shape
    }

    /// The tree.
    #[must_use]
    pub fn nodes(mut self) -> Vec<Node> {
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.sort_by(|(a, _), (b, _)| a.start.cmp(&b.start).then(b.end.cmp(&a.end)));
        let whole = 0..self.chars.len();
        self.block(whole, &blocks)
    }

    /// The nodes of a range with these blocks in it, outer ones before inner ones.
    fn block(&self, range: Range<usize>, blocks: &[(Range<usize>, Mark)]) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = range.start;
        let mut n = 0;
        while let Some((inner, mark)) = blocks.get(n) {
            let within = blocks[n + 1..].iter().take_while(|(other, _)| other.start < inner.end).count();
            self.inline(at..inner.start.max(at), 0, &mut nodes);
            let content = match mark {
                Mark::Preformatted(_) => {
                    let mut text = Vec::new();
                    self.plain(inner.clone(), &mut text);
                    text
                }
                _ => self.block(inner.clone(), &blocks[n + 1..n + 1 + within]),
            };
            nodes.push(Node::Part(mark.clone(), content));
            at = inner.end;
            n += 1 + within;
        }
        self.inline(at..range.end.max(at), 0, &mut nodes);
        nodes
    }

    fn plain(&self, range: Range<usize>, nodes: &mut Vec<Node>) {
        let text: String = range.filter(|at| !self.hidden[*at]).map(|at| self.chars[at]).collect();
        match nodes.last_mut() {
            _ if text.is_empty() => {}
            Some(Node::Text(before)) => before.push_str(&text),
            _ => nodes.push(Node::Text(text)),
        }
    }

    /// The nodes of a range without blocks. Of several marks the one that reaches furthest is around the others; `done` are
    /// those that are around it already.
    fn inline(&self, range: Range<usize>, done: u8, nodes: &mut Vec<Node>) {
        /// Whether who is mentioned stands around it.
        const MENTION: u8 = 128;
        let mut at = range.start;
        let mut next = self.mentions.partition_point(|(mention, _)| mention.end <= at);
        while at < range.end {
            while self.mentions.get(next).is_some_and(|(mention, _)| mention.end <= at) {
                next += 1;
            }
            let mention = self.mentions.get(next).filter(|_| done & (MENTION | CODE) == 0);
            let here = mention.filter(|(mention, _)| mention.start <= at);
            let bits = if done & CODE == 0 { self.bits[at] & !done } else { 0 };
            let reach = |bit: u8| {
                let behind = self.bits[at..range.end].iter().position(|bits| bits & bit == 0);
                behind.map_or(range.end, |behind| at + behind)
            };
            let mut outer = here.map(|(mention, _)| (mention.end.min(range.end), MENTION));
            for bit in BITS.into_iter().filter(|bit| bits & bit != 0) {
                let end = reach(bit);
                if outer.is_none_or(|(furthest, _)| end > furthest) {
                    outer = Some((end, bit));
                }
            }
            let Some((end, bit)) = outer else {
                let until = mention.map_or(range.end, |(mention, _)| mention.start.clamp(at, range.end));
                let until = until.max(at + 1);
                let more = |at: usize| done & CODE == 0 && self.bits[at] & !done != 0;
                let end = (at + 1..until).find(|at| more(*at)).unwrap_or(until);
                self.plain(at..end, nodes);
                at = end;
                continue;
            };
            let mut inner = Vec::new();
            self.inline(at..end, done | bit, &mut inner);
            let mark = match (bit, here) {
                (MENTION, Some((_, who))) => Mark::Mention(who.clone()),
                (STRONG, _) => Mark::Strong,
                (EMPHASIS, _) => Mark::Emphasis,
                (STRIKE, _) => Mark::Strike,
                (SPOILER, _) => Mark::Spoiler(self.hint.clone()),
                _ => Mark::Code,
            };
            if !inner.is_empty() {
                nodes.push(Node::Part(mark, inner));
            }
            at = end;
        }
    }
}
