//! From HTML to text as it is read without formats: the quotes of mails are recognised in it. One pass, linear time.

use crate::api::rich::html::{Token, Tokens, entity};

/// The longest text that is made.
const MOST: usize = 1 << 20;

/// How deep lists and quotes are indented at most.
const DEEPEST: usize = 8;

/// The readable text of HTML, without signs for what is formatted in it.
pub fn to_text(html: &str) -> String {
    let mut out = Writer::default();
    let mut link: Option<(String, usize)> = None;
    for token in Tokens::new(html) {
        match token {
            Token::Text(raw) => out.text(raw),
            Token::Open(tag) => match tag.name.as_str() {
                "ul" | "ol" => out.deeper(true),
                "li" => out.item(),
                "blockquote" => out.quote(true),
                "a" => link = tag.attribute("href").map(|href| (href, out.text.len())),
                "img" => {
                    if let Some(alt) = tag.attribute("alt").filter(|alt| !alt.trim().is_empty()) {
                        out.words(&format!("[{}]", alt.trim()));
                    }
                }
                name => out.element(name),
            },
            Token::Close(name) => match name.as_str() {
                "ul" | "ol" => out.deeper(false),
                "td" | "th" => out.words(" \t "),
                "blockquote" => out.quote(false),
                "a" => {
                    if let Some((href, from)) = link.take() {
                        let shown = out.text.get(from..).unwrap_or_default().trim().to_owned();
                        let useful = ["http://", "https://", "mailto:"].iter().any(|scheme| href.starts_with(scheme));
                        let plain = href.trim_start_matches("mailto:").trim_end_matches('/');
                        if useful && !shown.contains(plain) {
                            out.words(&format!(" <{plain}>"));
                        }
                    }
                }
                name => out.element(name),
            },
        }
        if out.text.len() >= MOST {
            break;
        }
    }
    out.finish()
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
        self.words(&entity::decode(raw));
    }

    /// Begins or ends an element that means nothing but where lines end.
    fn element(&mut self, name: &str) {
        match name {
            "br" => self.line(),
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "table" | "pre" | "hr" => self.paragraph(),
            "div" | "tr" | "section" | "article" | "header" | "footer" | "dt" | "dd" => self.line_if_needed(),
            _ => {}
        }
    }

    fn words(&mut self, text: &str) {
        for word in text.split_inclusive(|c: char| c.is_whitespace() && c != '\u{a0}') {
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
