//! From HTML to visible tokens, in one pass. Whatever is written is read: what is no tag is text.
//!
//! Nothing is searched for twice where it was not found, so time is linear in the length of the input.

use super::entity;

/// What a reader meets.
#[derive(Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// Text, entities not yet replaced.
    Text(&'a str),
    /// The beginning of an element.
    Open(Tag<'a>),
    /// The end of an element of this name, in lower case.
    Close(String),
}

/// The beginning of an element.
#[derive(Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Its name in lower case.
    pub name: String,
    attributes: &'a str,
}

/// The longest name of an element in bytes; what is longer is no element that anybody knows.
const NAME: usize = 24;

/// HTML as visible tokens: comments, declarations, and what `head`, `title`, `script`, `style` and `mx-reply` (the quote
/// that older Matrix clients put in front of an answer) hold are left out.
pub struct Tokens<'a> {
    rest: &'a str,
    /// The element whose content is being left out.
    hidden: Option<String>,
    /// A tag, or a comment, that never ends has been met; then none behind it ends.
    broken: bool,
    open_comment: bool,
    /// Elements whose end is nowhere behind here.
    endless: Vec<String>,
    /// How many bytes were looked at.
    #[cfg(test)]
    pub looked: usize,
}

impl<'a> Tokens<'a> {
    /// The tokens of this HTML.
    pub fn new(html: &'a str) -> Self {
        Self {
            rest: html,
            hidden: None,
            broken: false,
            open_comment: false,
            endless: Vec::new(),
            #[cfg(test)]
            looked: 0,
        }
    }

    #[cfg_attr(not(test), allow(clippy::unused_self, unused_variables, reason = "only tests count"))]
    fn count(&mut self, bytes: usize) {
        #[cfg(test)]
        {
            self.looked += bytes;
        }
    }

    /// Cuts off what lies before this place.
    fn take(&mut self, at: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest;
        taken
    }

    /// The next token, hidden ones included.
    fn any(&mut self) -> Option<Token<'a>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let at = self.rest.find('<').unwrap_or(self.rest.len());
            self.count(at + 1);
            if at > 0 {
                return Some(Token::Text(self.take(at)));
            }
            if let Some(comment) = self.rest.strip_prefix("<!--") {
                self.rest = comment;
                self.comment();
                continue;
            }
            let end = if self.broken { None } else { self.tag_end() };
            let Some(end) = end else {
                // A lone "<" is text.
                return Some(Token::Text(self.take(1)));
            };
            let tag = &self.take(end + 1)[1..end];
            let (closing, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
            let length = tag.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count();
            if length == 0 || length > NAME {
                continue;
            }
            let name = tag[..length].to_ascii_lowercase();
            return Some(match closing {
                true => Token::Close(name),
                false => Token::Open(Tag { name, attributes: &tag[length..] }),
            });
        }
    }

    /// Steps over a comment. One that never ends hides nothing.
    fn comment(&mut self) {
        if self.open_comment {
            return;
        }
        // `<!-->` and `<!--->` are whole.
        let end = if self.rest.starts_with('>') {
            Some(1)
        } else if self.rest.starts_with("->") {
            Some(2)
        } else {
            self.rest.find("-->").map(|end| end + 3)
        };
        self.count(end.unwrap_or(self.rest.len()));
        match end {
            Some(end) => self.rest = &self.rest[end..],
            None => self.open_comment = true,
        }
    }

    /// Where the tag that begins here ends, minding quoted attributes. `None` where it is no tag.
    fn tag_end(&mut self) -> Option<usize> {
        let bytes = self.rest.as_bytes();
        bytes.get(1).filter(|second| second.is_ascii_alphabetic() || matches!(second, b'/' | b'!' | b'?'))?;
        let mut quote = None;
        for (at, byte) in bytes.iter().copied().enumerate().skip(1) {
            match (quote, byte) {
                (None, b'>') => {
                    self.count(at);
                    return Some(at);
                }
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), byte) if open == byte => quote = None,
                _ => {}
            }
        }
        self.count(bytes.len());
        self.broken = true;
        None
    }

    /// Goes to the end tag of an element, whatever is in between. Says whether there is one.
    fn skip_to_end(&mut self, name: &str) -> bool {
        if self.endless.iter().any(|endless| endless == name) {
            return false;
        }
        let found = self.rest.match_indices("</").map(|(at, _)| at).find(|at| {
            let behind = self.rest.as_bytes().get(at + 2..at + 2 + name.len());
            behind.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        });
        self.count(found.unwrap_or(self.rest.len()));
        match found {
            Some(at) => self.rest = &self.rest[at..],
            None => self.endless.push(name.to_owned()),
        }
        found.is_some()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let token = self.any()?;
            if let Some(hidden) = &self.hidden {
                match &token {
                    Token::Close(name) if name == hidden => self.hidden = None,
                    // A body ends a head that was never closed.
                    Token::Open(tag) if tag.name == "body" => self.hidden = None,
                    _ => {}
                }
                continue;
            }
            match token {
                Token::Open(tag) if matches!(tag.name.as_str(), "script" | "style") => {
                    // What looks like a tag in there is none.
                    self.skip_to_end(&tag.name);
                    self.hidden = Some(tag.name);
                }
                Token::Open(tag) if matches!(tag.name.as_str(), "head" | "title") => self.hidden = Some(tag.name),
                Token::Open(tag) if tag.name == "mx-reply" => {
                    // Without an end it hides nothing.
                    self.skip_to_end(&tag.name);
                }
                token => return Some(token),
            }
        }
    }
}

impl Tag<'_> {
    /// The value of an attribute, entities replaced; empty where it has none. The first one counts.
    pub fn attribute(&self, wanted: &str) -> Option<String> {
        let is_space = |c: char| c.is_ascii_whitespace();
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_start_matches(|c: char| is_space(c) || c == '/');
            if rest.is_empty() {
                return None;
            }
            let end = rest.find(|c: char| is_space(c) || c == '=' || c == '/').unwrap_or(rest.len());
            // A lone "=" is a name of its own.
            let end = end.max(rest.chars().next().map_or(1, char::len_utf8));
            let (name, behind) = rest.split_at(end);
            rest = behind.trim_start_matches(is_space);
            let mut value = "";
            if let Some(behind) = rest.strip_prefix('=') {
                let behind = behind.trim_start_matches(is_space);
                let quoted = behind.chars().next().filter(|c| matches!(c, '"' | '\''));
                let (found, behind) = match quoted.and_then(|quote| behind[1..].split_once(quote)) {
                    Some(both) => both,
                    None => behind.split_at(behind.find(is_space).unwrap_or(behind.len())),
                };
                (value, rest) = (found, behind);
            }
            if name.eq_ignore_ascii_case(wanted) {
                return Some(entity::decode(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(html: &str) -> Tag<'_> {
        match Tokens::new(html).next() {
            Some(Token::Open(tag)) => tag,
            other => panic!("{html}: {other:?}"),
        }
    }

    #[test]
    fn attributes() {
        for (html, name, value) in [
            ("<a href='x'>", "href", Some("x")),
            ("<a data-href='y' HREF = \"x&amp;y\">", "href", Some("x&y")),
            ("<a href=x/y title>", "href", Some("x/y")),
            ("<a href=x title>", "title", Some("")),
            ("<a title='href=z' href=x>", "href", Some("x")),
            ("<a href=a href=b>", "href", Some("a")),
            ("<a/href=x>", "href", Some("x")),
            ("<a = href=x>", "href", Some("x")),
            ("<a>", "href", None),
        ] {
            assert_eq!(tag(html).attribute(name).as_deref(), value, "{html}");
        }
    }

    #[test]
    fn what_is_hidden() {
        let seen = |html: &str| -> String {
            let text = |token| match token {
                Token::Text(text) => Some(text.to_owned()),
                _ => None,
            };
            Tokens::new(html).filter_map(text).collect()
        };
        for (html, text) in [
            ("<script>if (a<b && \"x>y\") alert('</b>')</script>seen", "seen"),
            ("<style>p{}</STYLE >seen", "seen"),
            ("<head><title>x<body>seen", "seen"),
            ("<script>never closed", ""),
            ("<mx-reply>old <b>words</b></mx-reply>new", "new"),
            ("<mx-reply>never closed", "never closed"),
            ("<!-->a<!--->b<!-- x -->c", "abc"),
            ("a<!-- b", "a b"),
            ("<!DOCTYPE html><?xml x?>a", "a"),
            ("a < b <3 </>", "a < b <3 "),
            ("<a href=\"x>y", "<a href=\"x>y"),
        ] {
            assert_eq!(seen(html), text, "{html}");
        }
    }
}
