//! Whether a mail is from whom it says: by our own look at SPF, DKIM and DMARC ([`check`], for the SMTP face), or by what
//! the trusted mail server in front found ([`results`], for the LMTP face).

pub mod check;
pub mod results;

/// How sure we are of the author in the `From` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The domain stands for it: DMARC passed, or DKIM or SPF for the very domain.
    Proven,
    /// Nobody has looked: the mail server in front says nothing, and that is its business.
    NotChecked,
    /// It is not proven, or refuted.
    Doubtful,
}

/// What was found out about a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The author.
    pub author: Author,
    /// Whether the envelope sender is who it says, so that a report may go there.
    pub envelope: bool,
    /// Whether the author's domain asks to refuse such a mail.
    pub reject: bool,
    /// The methods and their results in the words of RFC 8601, for the original that is kept.
    pub words: String,
}

impl Findings {
    /// Of a mail that nobody looked at. The mail server in front answers for the envelope sender: it would send the
    /// same report itself if we refused the mail.
    pub fn not_checked() -> Self {
        Self { author: Author::NotChecked, envelope: true, reject: false, words: "none".to_owned() }
    }

    /// Of a mail that nothing speaks for; the words say what was tried.
    pub fn doubtful(words: &str) -> Self {
        Self { author: Author::Doubtful, envelope: false, reject: false, words: words.to_owned() }
    }
}

/// Whether two domains belong together as relaxed alignment has it (RFC 7489, section 3.1): the same, or one below the
/// other. Without a list of public suffixes two sisters are strangers.
pub fn aligned(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_end_matches('.').to_lowercase(), other.trim_end_matches('.').to_lowercase());
    let below = |low: &str, high: &str| {
        high.contains('.') && low.strip_suffix(high).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    below(&one, &other) || below(&other, &one)
}

/// The domain of the only author, where there is exactly one `From` field. Where there are two, what was checked and
/// what is shown may differ.
pub fn author_domain(mail: &[u8]) -> Option<String> {
    let end = mail.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(mail.len());
    let fields = mail[..end].split(|byte| *byte == b'\n').filter(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.len() < line.len() && name.trim_ascii_end().eq_ignore_ascii_case(b"from")
    });
    if fields.count() != 1 {
        return None;
    }
    let mail = mail_parser::MessageParser::default().parse_headers(&mail[..mail.len().min(end + 4)])?;
    let mut domains = mail.from()?.iter().map(|from| Some(from.address()?.rsplit_once('@')?.1.to_lowercase()));
    let first = domains.next()??;
    domains.all(|domain| domain.as_deref() == Some(first.as_str())).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment() {
        for (one, other, yes) in [
            ("example.org", "example.org", true),
            ("Mail.Example.org", "example.org.", true),
            ("example.org", "a.b.example.org", true),
            ("badexample.org", "example.org", false),
            ("org", "example.org", false),
            ("", "example.org", false),
        ] {
            assert_eq!(aligned(one, other), yes, "{one} {other}");
        }
    }

    #[test]
    fn one_author_or_none() {
        for (mail, domain) in [
            ("From: a@B.org\r\n\r\nFrom: x@y", Some("b.org")),
            ("From: a@b.org\r\nFrom: king@c.org\r\n\r\n", None),
            ("From: a@b.org, king@c.org\r\n\r\n", None),
            ("from : a@b.org\r\nFrom: c@b.org\r\n\r\n", None),
            ("Subject: x\r\n\r\n", None),
        ] {
            assert_eq!(author_domain(mail.as_bytes()).as_deref(), domain, "{mail}");
        }
    }
}
