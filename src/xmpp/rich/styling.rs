//! Message styling (XEP-0393): what signs in a text mean, exactly as section 5 says.

use portway_bridges::api::rich::Mark;
use portway_bridges::api::rich::html::is_language;

use super::marked::{BLOCKS, CODE, EMPHASIS, Marked, SPOILER, STRIKE, STRONG};

/// Without any of these in it, a text has no marks.
pub const SIGNS: [char; 5] = ['*', '_', '~', '`', '>'];

/// The sign around preformatted lines.
const FENCE: [char; 3] = ['`'; 3];

/// Reads a text: time is linear in its length. Nothing that anybody wrote is lost: a block with nothing in it is text, and
/// behind the sign of a preformatted block what is no language is its first line.
#[must_use]
pub fn parse(text: &str) -> Marked {
    let mut reader = Reader { marked: Marked::new(text) };
    let mut lines = Vec::new();
    let mut start = 0;
    for (at, c) in reader.marked.chars.iter().enumerate() {
        if *c == '\n' {
            lines.push(Line { start, end: at });
            start = at + 1;
        }
    }
    lines.push(Line { start, end: reader.marked.chars.len() });
    reader.blocks(&lines, 0);
    reader.marked
}

/// Whether a reader of XEP-0393 would see something in the text that is not meant: `written` says what is, and what comes
/// before `from` is not asked about.
#[must_use]
pub fn misleads(written: &Marked, read: &Marked, from: usize) -> bool {
    let (meant, seen) = (written.shape(), read.shape());
    (from..read.chars.len()).any(|at| {
        let ((quotes, preformatted), (seen_quotes, seen_preformatted)) = (meant[at], seen[at]);
        // Within code nobody looks for more.
        read.bits[at] & !written.bits[at] & !SPOILER != 0
            || seen_quotes > quotes
            || (seen_preformatted && !preformatted)
    })
}

/// A line without its end, and without the signs of the quotes around it.
#[derive(Clone, Copy)]
struct Line {
    start: usize,
    end: usize,
}

struct Reader {
    marked: Marked,
}

impl Reader {
    fn line(&self, line: Line) -> &[char] {
        &self.marked.chars[line.start..line.end]
    }

    /// Behind the end of a line.
    fn behind(&self, line: Line) -> usize {
        (line.end + 1).min(self.marked.chars.len())
    }

    fn is_blank(&self, line: Line) -> bool {
        self.line(line).iter().all(|c| c.is_whitespace())
    }

    /// Blocks (section 5.1).
    fn blocks(&mut self, lines: &[Line], depth: usize) {
        let mut n = 0;
        while let Some(line) = lines.get(n).copied() {
            let taken = if self.line(line).starts_with(&FENCE) {
                self.preformatted(&lines[n..])
            } else if self.line(line).first() == Some(&'>') && depth < BLOCKS {
                self.quote(&lines[n..], depth)
            } else {
                0
            };
            if taken == 0 {
                self.spans(line.start, line.end);
            }
            n += taken.max(1);
        }
    }

    /// Preformatted text (section 5.1.2). Says how many lines it takes.
    fn preformatted(&mut self, lines: &[Line]) -> usize {
        let Some(first) = lines.first().copied() else { return 0 };
        let close = (1..lines.len()).find(|n| self.line(lines[*n]) == FENCE);
        let inside = &lines[1..close.unwrap_or(lines.len())];
        let about: String = self.line(first)[FENCE.len()..].iter().collect();
        let language = is_language(&about).then_some(about.clone());
        let is_text = language.is_none() && !about.is_empty();
        if !is_text && inside.iter().all(|line| self.is_blank(*line)) {
            return 0;
        }
        if is_text {
            self.marked.hide(first.start..first.start + FENCE.len());
        } else {
            self.marked.hide(first.start..self.behind(first));
        }
        let last_inside = inside.last().copied().unwrap_or(first);
        self.marked.hide(last_inside.end..last_inside.end + 1);
        let last = close.map_or(last_inside, |close| lines[close]);
        if close.is_some() {
            self.marked.hide(last.start..self.behind(last));
        }
        self.marked.blocks.push((first.start..self.behind(last), Mark::Preformatted(language)));
        close.map_or(lines.len(), |close| close + 1)
    }

    /// Quotations (section 5.1.3). Says how many lines it takes.
    fn quote(&mut self, lines: &[Line], depth: usize) -> usize {
        let quoted = lines.iter().take_while(|line| self.line(**line).first() == Some(&'>')).count();
        let inside: Vec<Line> = lines[..quoted]
            .iter()
            .map(|line| {
                let space = self.line(*line).get(1).is_some_and(|c| c.is_whitespace());
                Line { start: line.start + 1 + usize::from(space), end: line.end }
            })
            .collect();
        let (Some(first), Some(last)) = (lines.first(), inside.last().copied()) else { return 0 };
        if inside.iter().all(|line| self.is_blank(*line)) {
            return 0;
        }
        for (line, inside) in lines.iter().zip(&inside) {
            self.marked.hide(line.start..inside.start);
        }
        self.marked.hide(last.end..last.end + 1);
        self.marked.blocks.push((first.start..self.behind(last), Mark::Quote));
        self.blocks(&inside, depth + 1);
        quoted
    }

    /// Spans (section 5.2). A span within another cannot be of the same sort, so this goes four deep at most.
    fn spans(&mut self, start: usize, end: usize) {
        const SIGNS: [(char, u8); 4] = [('*', STRONG), ('_', EMPHASIS), ('~', STRIKE), ('`', CODE)];
        // For which signs there is no end from here on.
        let mut endless = [false; 4];
        let mut at = start;
        while at < end {
            let chars = &self.marked.chars;
            let sign = SIGNS.iter().position(|(sign, _)| *sign == chars[at]);
            // At the beginning of what is around it: of the line, or behind another sign that opens.
            let opens = (at == start || chars[at - 1].is_whitespace())
                && chars[at + 1..end].first().is_some_and(|next| !next.is_whitespace());
            let Some(sign) = sign.filter(|sign| opens && !endless[*sign]) else {
                at += 1;
                continue;
            };
            let (c, bit) = SIGNS[sign];
            let close = (at + 1..end).find(|close| chars[*close] == c && !chars[*close - 1].is_whitespace());
            match close {
                Some(close) if close > at + 1 => {
                    self.marked.mark(at..close + 1, bit);
                    self.marked.hide(at..at + 1);
                    self.marked.hide(close..close + 1);
                    if bit != CODE {
                        self.spans(at + 1, close);
                    }
                    at = close + 1;
                }
                // Nothing in between: neither is a sign.
                Some(close) => at = close + 1,
                None => {
                    endless[sign] = true;
                    at += 1;
                }
            }
        }
    }
}
