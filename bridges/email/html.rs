//! From HTML to text, in one pass and in linear time: no tree, no recursion, nothing fetched.

/// The longest text that is made.
const MOST: usize = 1 << 20;

/// How deep lists and quotes are indented at most.
const DEEPEST: usize = 8;

/// The readable text of HTML.
pub fn to_text(html: &str) -> String {
    let mut out = Writer::default();
    let mut rest = html;
    let mut hidden: Option<&'static str> = None;
    let mut link: Option<(String, usize)> = None;
    let mut broken = false;
    let mut open_comment = false;
    while let Some(at) = rest.find('<') {
        if hidden.is_none() {
            out.text(&rest[..at]);
        }
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            // One that never ends hides nothing, and then none behind it ends: they are not all searched to the end.
            let end = if open_comment { None } else { comment.find("-->") };
            open_comment |= end.is_none();
            rest = end.map_or(comment, |end| &comment[end + 3..]);
            continue;
        }
        let end = if broken { None } else { tag_end(rest) };
        // Where one tag never ends, none behind it does: looking again for each would take forever.
        broken |= end.is_none() && looks_like_tag(rest);
        let Some(end) = end else {
            // A lone "<" is text.
            if hidden.is_none() {
                out.text("<");
            }
            rest = &rest[1..];
            continue;
        };
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        let (closing, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        if let Some(name_hidden) = hidden {
            // A body ends a head that was never closed.
            if (closing && name == name_hidden) || name == "body" {
                hidden = None;
            }
            continue;
        }
        match (name.as_str(), closing) {
            ("script", false) => hidden = Some("script"),
            ("style", false) => hidden = Some("style"),
            ("head", false) => hidden = Some("head"),
            ("title", false) => hidden = Some("title"),
            ("br", _) => out.line(),
            ("p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "table" | "pre" | "hr", _) => out.paragraph(),
            ("div" | "tr" | "section" | "article" | "header" | "footer" | "dt" | "dd", _) => out.line_if_needed(),
            ("ul" | "ol", false) => out.deeper(true),
            ("ul" | "ol", true) => out.deeper(false),
            ("li", false) => out.item(),
            ("td" | "th", true) => out.text(" \t "),
            ("blockquote", false) => out.quote(true),
            ("blockquote", true) => out.quote(false),
            ("a", false) => link = attribute(tag, "href").map(|href| (href, out.text.len())),
            ("a", true) => {
                if let Some((href, from)) = link.take() {
                    let shown = out.text.get(from..).unwrap_or_default().trim().to_owned();
                    let useful = ["http://", "https://", "mailto:"].iter().any(|scheme| href.starts_with(scheme));
                    let plain = href.trim_start_matches("mailto:").trim_end_matches('/');
                    if useful && !shown.contains(plain) {
                        out.text(&format!(" <{plain}>"));
                    }
                }
            }
            ("img", _) => {
                if let Some(alt) = attribute(tag, "alt").filter(|alt| !alt.trim().is_empty()) {
                    out.text(&format!("[{}]", alt.trim()));
                }
            }
            _ => {}
        }
        if out.text.len() >= MOST {
            break;
        }
    }
    if hidden.is_none() && out.text.len() < MOST {
        out.text(rest);
    }
    out.finish()
}

/// Where a tag ends, minding quoted attributes. `None` where it is no tag.
fn tag_end(text: &str) -> Option<usize> {
    if !looks_like_tag(text) {
        return None;
    }
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// Whether this `<` begins a tag.
fn looks_like_tag(text: &str) -> bool {
    text.as_bytes().get(1).is_some_and(|second| second.is_ascii_alphabetic() || matches!(second, b'/' | b'!' | b'?'))
}

/// The value of an attribute.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let at = lower.find(&format!("{name}="))? + name.len() + 1;
    let value = tag.get(at..)?;
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split([' ', '>', '\t', '\n']).next()?,
    };
    Some(entities(value))
}

#[derive(Default)]
struct Writer {
    text: String,
    depth: usize,
    quotes: usize,
    space: bool,
}

impl Writer {
    fn text(&mut self, raw: &str) {
        for word in entities(raw).split_inclusive(|c: char| c.is_whitespace() && c != '\u{a0}') {
            let trimmed = word.trim_matches(|c: char| c.is_whitespace() && c != '\u{a0}');
            if !trimmed.is_empty() {
                if self.space && !self.at_line_start() {
                    self.text.push(' ');
                }
                self.prefix();
                self.text.push_str(trimmed);
            }
            self.space = word.len() != trimmed.len() || (trimmed.is_empty() && self.space);
        }
    }

    fn at_line_start(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('\n')
    }

    fn prefix(&mut self) {
        if self.at_line_start() {
            self.text.extend(std::iter::repeat_n("> ", self.quotes.min(DEEPEST)));
        }
    }

    fn line(&mut self) {
        if self.at_line_start() && self.quotes > 0 {
            self.prefix();
        }
        self.text.push('\n');
        self.space = false;
    }

    fn line_if_needed(&mut self) {
        if !self.at_line_start() {
            self.line();
        }
    }

    fn paragraph(&mut self) {
        self.line_if_needed();
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    fn item(&mut self) {
        self.line_if_needed();
        self.prefix();
        self.text.extend(std::iter::repeat_n("  ", self.depth.saturating_sub(1).min(DEEPEST)));
        self.text.push_str("- ");
        self.space = false;
    }

    fn deeper(&mut self, deeper: bool) {
        self.line_if_needed();
        self.depth = if deeper { self.depth + 1 } else { self.depth.saturating_sub(1) };
    }

    fn quote(&mut self, deeper: bool) {
        self.paragraph();
        self.quotes = if deeper { self.quotes + 1 } else { self.quotes.saturating_sub(1) };
    }

    fn finish(self) -> String {
        let lines: Vec<&str> = self.text.lines().map(str::trim_end).collect();
        lines.join("\n").trim().to_owned()
    }
}

/// Replaces entities: the named ones that mails use, and numbers.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name_end = rest.bytes().take(12).position(|byte| byte == b';');
        let found = name_end.and_then(|end| entity(&rest[1..end]).map(|c| (c, end)));
        match found {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        "agrave" => 'à',
        "ccedil" => 'ç',
        "ntilde" => 'ñ',
        "euro" => '€',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "laquo" => '«',
        "raquo" => '»',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "bdquo" => '„',
        "copy" => '©',
        "reg" => '®',
        "bull" => '•',
        "middot" => '·',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_see() {
        for (html, text) in [
            ("<p>Hello <b>Juliet</b>,</p><p>how are you?</p>", "Hello Juliet,\n\nhow are you?"),
            ("a<br>b<br/>c", "a\nb\nc"),
            ("<a href=\"https://x.org/p\">here</a>", "here <https://x.org/p>"),
            ("<a href='https://x.org/'>https://x.org</a>", "https://x.org"),
            ("<a href='javascript:x()'>click</a>", "click"),
            ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
            ("<blockquote>old<br>words</blockquote>new", "> old\n> words\n\nnew"),
            ("<style>p{}</style><script>x</script><!-- c -->seen", "seen"),
            ("1 &lt; 2 &amp;&amp; x&nbsp;&#8364;&unknown;", "1 < 2 && x\u{a0}€&unknown;"),
            ("a < b and c", "a < b and c"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
            ("<img src=x alt='logo'><img src=y width=1>", "[logo]"),
            ("<div>a</div><div>b</div>", "a\nb"),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn deep_nesting_and_broken_tags_are_bounded() {
        let deep = "<div>".repeat(200_000) + "x" + &"</div>".repeat(200_000);
        assert_eq!(to_text(&deep), "x");
        let quotes = "<blockquote>".repeat(10_000) + "x";
        assert!(to_text(&quotes).len() < 100);
        let open = "<a href=\"".repeat(20_000);
        let _ = to_text(&open);
        let _ = to_text(&"<a ".repeat(300_000));
        assert_eq!(to_text("<head><title>x<body>seen"), "seen");
        assert_eq!(to_text("a<!-- b"), "a b");
        let _ = to_text(&"<".repeat(500_000));
    }

    proptest! {
        #[test]
        fn nothing_panics(html in ".{0,300}") {
            let _ = to_text(&html);
        }

        #[test]
        fn tag_soup_does_not_panic(parts in proptest::collection::vec("(</?[a-z]{1,4}|[ a>'\"=&;/-])", 0..60)) {
            let _ = to_text(&parts.concat());
        }
    }
}
