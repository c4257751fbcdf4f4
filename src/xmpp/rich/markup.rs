//! Message markup (XEP-0394): marks beside the text, at places counted in code points.

use std::ops::Range;

use minidom::Element;
use portway_bridges::api::rich::Mark;
use portway_bridges::api::rich::html::is_language;

use super::marked::{BLOCKS, CODE, EMPHASIS, Marked, STRIKE, STRONG};
use super::ns;
use crate::xmpp::xml;

/// How many blocks and spans, and items of a list, are read.
const MOST: usize = 500;

/// The marks within a line that the XEP has.
const SPANS: [(&str, u8); 4] = [("strong", STRONG), ("emphasis", EMPHASIS), ("deleted", STRIKE), ("code", CODE)];

/// Writes the marks of a text. `None` where there are none that the XEP has: what is underlined, linked or a heading is lost.
///
/// Spans do not overlap with each other (section 5), so of marks within marks each stretch is a span with all of them.
#[must_use]
pub fn write(marked: &Marked) -> Option<Element> {
    let mut markup = Element::bare("markup", ns::MARKUP);
    let known = SPANS.iter().fold(0, |known, (_, bit)| known | bit);
    let mut at = 0;
    while at < marked.bits.len() {
        let bits = marked.bits[at] & known;
        let end = marked.bits[at..].iter().position(|other| other & known != bits);
        let end = end.map_or(marked.bits.len(), |end| at + end);
        if bits != 0 {
            let mut span = ranged("span", &(at..end));
            for (name, _) in SPANS.iter().filter(|(_, bit)| bits & bit != 0) {
                span.append_child(Element::bare(*name, ns::MARKUP));
            }
            markup.append_child(span);
        }
        at = end;
    }
    for (n, (range, mark)) in marked.blocks.iter().enumerate() {
        match mark {
            Mark::Quote => {
                markup.append_child(ranged("bquote", range));
            }
            Mark::Preformatted(language) => {
                let mut code = ranged("bcode", range);
                if let Some(language) = language {
                    xml::set(&mut code, "language", language);
                }
                markup.append_child(code);
            }
            Mark::List(first) => {
                let mut list = ranged("list", range);
                xml::set(&mut list, "ordered", if first.is_some() { "true" } else { "false" });
                // The items of lists within belong to those: each ends before the next of this one begins.
                let mut end = range.start;
                for (item, _) in items(&marked.blocks[n + 1..], range) {
                    if item.start < end {
                        continue;
                    }
                    let start = if end == range.start { range.start } else { item.start };
                    let mut li = Element::bare("li", ns::MARKUP);
                    xml::set(&mut li, "start", &start.to_string());
                    list.append_child(li);
                    end = item.end;
                }
                markup.append_child(list);
            }
            _ => {}
        }
    }
    (markup.children().next().is_some()).then_some(markup)
}

fn items<'a>(
    blocks: &'a [(Range<usize>, Mark)],
    list: &'a Range<usize>,
) -> impl Iterator<Item = &'a (Range<usize>, Mark)> {
    let within = blocks.iter().take_while(|(range, _)| range.start < list.end);
    within.filter(|(_, mark)| *mark == Mark::Item)
}

fn ranged(name: &str, range: &Range<usize>) -> Element {
    let (start, end) = (range.start.to_string(), range.end.to_string());
    xml::element(name, ns::MARKUP, &[("start", &start), ("end", &end)])
}

/// Reads the marks of a text. `place` tells where a character of the body went, or the next one that is still there.
///
/// What is not known, not within the text, or lies across another block is left out, as section 5 has it. Signs that stand
/// around what is marked, because the text has them for other readers, are not part of the tree.
#[must_use]
pub fn read(markup: &Element, text: &str, place: &dyn Fn(usize) -> usize) -> Marked {
    let mut marked = Marked::new(text);
    let length = marked.chars.len();
    let range = |element: &Element| {
        let number = |name: &str| element.attr(name)?.trim().parse::<usize>().ok();
        let range = place(number("start")?)..place(number("end")?);
        (range.start < range.end && range.end <= length).then_some(range)
    };
    let mut blocks: Vec<(Range<usize>, Mark, Vec<usize>)> = Vec::new();
    for child in markup.children().filter(|child| child.has_ns(ns::MARKUP)).take(MOST) {
        let Some(range) = range(child) else { continue };
        match child.name() {
            "span" => {
                let bits = SPANS.iter().filter(|(name, _)| child.has_child(*name, ns::MARKUP));
                let bits = bits.fold(0, |bits, (_, bit)| bits | bit);
                marked.mark(range, bits);
            }
            "bquote" => blocks.push((range, Mark::Quote, Vec::new())),
            "bcode" => {
                let language = child.attr("language").filter(|name| is_language(name)).map(str::to_owned);
                blocks.push((range, Mark::Preformatted(language), Vec::new()));
            }
            "list" => {
                let ordered = child.attr("ordered").is_some_and(|ordered| matches!(ordered, "true" | "1"));
                let starts = child.children().filter(|li| li.is("li", ns::MARKUP)).take(MOST);
                let starts = starts.filter_map(|li| Some(place(li.attr("start")?.trim().parse::<usize>().ok()?)));
                let starts: Vec<usize> = starts.filter(|start| range.contains(start)).collect();
                if starts.first() == Some(&range.start) && starts.is_sorted() {
                    blocks.push((range, Mark::List(ordered.then_some(1)), starts));
                }
            }
            _ => {}
        }
    }
    spans(&mut marked);
    blocks.sort_by(|(a, ..), (b, ..)| a.start.cmp(&b.start).then(b.end.cmp(&a.end)));
    let mut around: Vec<Range<usize>> = Vec::new();
    for (range, mark, starts) in blocks {
        while around.last().is_some_and(|outer| outer.end <= range.start) {
            around.pop();
        }
        let fits = around.last().is_none_or(|outer| range.end <= outer.end);
        let in_code = around.last().is_some_and(|outer| is_code(&marked, outer));
        let crosses = marked.blocks.iter().any(|(item, mark)| {
            let apart = item.end <= range.start || range.end <= item.start;
            *mark == Mark::Item && !apart && !(item.start <= range.start && range.end <= item.end)
        });
        if !fits || in_code || crosses || around.len() >= BLOCKS {
            continue;
        }
        around.push(range.clone());
        block(&mut marked, &range, mark, &starts, &mut around);
    }
    marked
}

fn is_code(marked: &Marked, range: &Range<usize>) -> bool {
    let last = marked.blocks.iter().rev().find(|(known, _)| known == range);
    matches!(last, Some((_, Mark::Preformatted(_))))
}

/// Hides the signs around spans.
fn spans(marked: &mut Marked) {
    const SIGNS: [(char, u8); 4] = [('*', STRONG), ('_', EMPHASIS), ('~', STRIKE), ('`', CODE)];
    for (sign, bit) in SIGNS {
        let mut at = 0;
        while at < marked.bits.len() {
            if marked.bits[at] & bit == 0 {
                at += 1;
                continue;
            }
            let end = marked.bits[at..].iter().position(|bits| bits & bit == 0);
            let end = end.map_or(marked.bits.len(), |end| at + end);
            // In each line anew.
            let mut start = at;
            while start < end {
                let line = marked.chars[start..end].iter().position(|c| *c == '\n').map_or(end, |line| start + line);
                // Behind what stands in front of the line, and behind the signs of other marks around it.
                let is_sign = |at: &usize| marked.chars[*at] == sign && !marked.hidden[*at];
                let opening = (start..line).find(is_sign).filter(|at| {
                    let before = &marked.chars[start..*at];
                    before.iter().all(|c| c.is_whitespace() || matches!(c, '>' | '*' | '_' | '~' | '`'))
                });
                let closing = (start..line).rev().find(is_sign).filter(|at| {
                    let behind = &marked.chars[*at + 1..line];
                    behind.iter().all(|c| matches!(c, '*' | '_' | '~' | '`'))
                });
                if let (Some(opening), Some(closing)) = (opening, closing)
                    && closing > opening + 1
                {
                    marked.hide(opening..opening + 1);
                    marked.hide(closing..closing + 1);
                }
                start = line + 1;
            }
            at = end;
        }
    }
}

/// Adds a block, and hides the signs in front of its lines.
fn block(marked: &mut Marked, range: &Range<usize>, mark: Mark, starts: &[usize], around: &mut Vec<Range<usize>>) {
    let length = marked.chars.len();
    // The line end behind a block, or its last one, belongs to nothing.
    let last = if marked.chars[range.end - 1] == '\n' { range.end - 1 } else { range.end };
    if last < length && marked.chars[last] == '\n' {
        marked.hide(last..last + 1);
    }
    match mark {
        Mark::Quote => {
            for (start, end) in lines(marked, range) {
                let at = (start..end).find(|at| !marked.hidden[*at]).unwrap_or(end);
                if at < end && marked.chars[at] == '>' {
                    let space = at + 1 < end && marked.chars[at + 1].is_whitespace();
                    marked.hide(at..at + 1 + usize::from(space));
                }
            }
            marked.blocks.push((range.clone(), mark));
        }
        Mark::Preformatted(language) => {
            let language = fences(marked, range, language);
            marked.blocks.push((range.clone(), Mark::Preformatted(language)));
        }
        Mark::List(ordered) => {
            let mut first = None;
            let ends = starts[1..].iter().copied().chain([range.end]);
            let items: Vec<Range<usize>> = starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
            let at = marked.blocks.len();
            for item in items.into_iter().filter(|item| !item.is_empty()) {
                let number = bullet(marked, &item, ordered.is_some());
                first = first.or(number);
                if marked.chars[item.end - 1] == '\n' {
                    marked.hide(item.end - 1..item.end);
                }
                marked.blocks.push((item, Mark::Item));
            }
            marked.blocks.insert(at, (range.clone(), Mark::List(ordered.map(|one| first.unwrap_or(one)))));
            // What follows stands in one of the items.
            around.push(range.clone());
        }
        _ => {}
    }
}

/// The lines of a range, without their ends.
fn lines(marked: &Marked, range: &Range<usize>) -> Vec<(usize, usize)> {
    let mut lines = Vec::new();
    let mut start = range.start;
    for at in range.clone().filter(|at| marked.chars[*at] == '\n') {
        lines.push((start, at));
        start = at + 1;
    }
    if start < range.end {
        lines.push((start, range.end));
    }
    lines
}

/// Hides the fences of code, if they are there, and says its language.
fn fences(marked: &mut Marked, range: &Range<usize>, language: Option<String>) -> Option<String> {
    let lines = lines(marked, range);
    let shown = |(start, end): (usize, usize)| -> String {
        (start..end).filter(|at| !marked.hidden[*at]).map(|at| marked.chars[at]).collect()
    };
    let (Some(first), Some(last)) = (lines.first().copied(), lines.last().copied()) else { return language };
    let (opening, closing) = (shown(first), shown(last));
    let Some(about) = opening.strip_prefix("```") else { return language };
    if lines.len() < 2 || closing != "```" || !(about.is_empty() || is_language(about)) {
        return language;
    }
    let named = Some(about.to_owned()).filter(|about| !about.is_empty());
    marked.hide(first.0..first.1 + 1);
    // With the line end before it.
    marked.hide(last.0 - 1..last.1);
    language.or(named)
}

/// Hides the sign of an item, and says its number.
fn bullet(marked: &mut Marked, item: &Range<usize>, ordered: bool) -> Option<u32> {
    let visible: Vec<usize> = item.clone().filter(|at| !marked.hidden[*at]).take(16).collect();
    let chars: Vec<char> = visible.iter().map(|at| marked.chars[*at]).collect();
    let spaces = chars.iter().take_while(|c| **c == ' ').count();
    let sign = &chars[spaces..];
    let digits = sign.iter().take_while(|c| c.is_ascii_digit()).count();
    let length = match sign {
        ['-' | '*' | '\u{2022}', ' ', ..] if !ordered => 2,
        sign if ordered && digits > 0 && matches!(sign[digits..], ['.' | ')', ' ', ..]) => digits + 2,
        _ => return None,
    };
    for at in &visible[..spaces + length] {
        marked.hide(*at..*at + 1);
    }
    // Further lines stand as far in as the first.
    let further: Vec<(usize, usize)> = lines(marked, item).into_iter().skip(1).collect();
    for (start, end) in further {
        let mut left = length;
        for at in start..end {
            if marked.hidden[at] {
                continue;
            }
            if left == 0 || marked.chars[at] != ' ' {
                break;
            }
            marked.hide(at..at + 1);
            left -= 1;
        }
    }
    sign[..digits].iter().collect::<String>().parse().ok()
}
