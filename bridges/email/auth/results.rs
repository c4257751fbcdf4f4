//! Pure: `Authentication-Results` (RFC 8601) of a mail server that we trust.

use super::{Author, Findings, aligned, author_domain};

/// The most of such fields that are read.
const FIELDS: usize = 50;

/// What the server with this name found. Fields of all others are nothing: whoever wrote the mail can write them too.
/// `sender` is the envelope sender.
pub fn read(mail: &[u8], id: &str, sender: &str) -> Findings {
    let nothing = Findings { envelope: false, ..Findings::not_checked() };
    let end = mail.windows(4).position(|window| window == b"\r\n\r\n").map_or(mail.len(), |end| end + 4);
    let Some(parsed) = mail_parser::MessageParser::default().parse_headers(&mail[..end]) else { return nothing };
    let raw = |field: &mail_parser::Header<'_>| {
        let (from, to) = (field.offset_start() as usize, field.offset_end() as usize);
        String::from_utf8_lossy(mail.get(from..to).unwrap_or_default()).into_owned()
    };
    let fields = parsed.headers().iter().filter(|field| field.name().eq_ignore_ascii_case("Authentication-Results"));
    let results: Vec<Vec<String>> = fields.take(FIELDS).filter_map(|field| of(&raw(field), id)).flatten().collect();
    if results.is_empty() {
        return nothing;
    }
    let from = author_domain(mail);
    let stands_for = |domain: &str| from.as_deref().is_some_and(|from| aligned(domain, from));
    let all = |method: &str| results.iter().filter(|words| method_of(words) == method).collect::<Vec<_>>();
    let passed = |words: &[String]| result_of(words) == "pass";
    let dmarc = all("dmarc");
    let by_dkim = all("dkim").iter().any(|words| passed(words) && property(words, "header.d").is_some_and(stands_for));
    let mail_from = |words: &[String]| property(words, "smtp.mailfrom").map(domain_of).map(str::to_owned);
    let by_spf = all("spf").iter().any(|words| passed(words) && mail_from(words).is_some_and(|of| stands_for(&of)));
    let dmarc_passed = dmarc.iter().any(|words| passed(words)) && from.is_some();
    let author = if dmarc_passed {
        Author::Proven
    } else if dmarc.iter().any(|words| result_of(words) == "fail") || from.is_none() {
        Author::Doubtful
    } else if by_dkim || by_spf {
        Author::Proven
    } else if results.iter().any(|words| matches!(result_of(words), "fail" | "softfail" | "permerror")) {
        Author::Doubtful
    } else {
        Author::NotChecked
    };
    let spf_passed = all("spf").iter().any(|words| {
        passed(words) && mail_from(words).is_none_or(|domain| domain.eq_ignore_ascii_case(domain_of(sender)))
    });
    let envelope = spf_passed || (dmarc_passed && stands_for(domain_of(sender)));
    let words = results.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join("; ");
    Findings { author, envelope, reject: false, words: words.chars().take(500).collect() }
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, domain)| domain)
}

fn method_of(words: &[String]) -> &str {
    let (method, _) = words[0].split_once('=').unwrap_or((&words[0], ""));
    method.split('/').next().unwrap_or_default()
}

fn result_of(words: &[String]) -> &str {
    words[0].split_once('=').map_or("", |(_, result)| result)
}

fn property<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    words[1..].iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// The results of a field, each as its words, where the field is by this server.
fn of(field: &str, id: &str) -> Option<Vec<Vec<String>>> {
    let mut parts = split(field).into_iter();
    let head = parts.next()?;
    // A version may follow the name.
    let name = head.first()?;
    let trusted = name.eq_ignore_ascii_case(id) && head.len() <= 2;
    trusted.then(|| parts.filter(|words| words.first().is_some_and(|word| word.contains('='))).collect())
}

/// Splits at semicolons into words in lower case, without comments and quotation marks; ` = ` is one word.
fn split(field: &str) -> Vec<Vec<String>> {
    let mut parts = vec![vec![String::new()]];
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for c in field.chars() {
        let part = parts.last_mut().expect("there is one");
        let later = part.len() > 1;
        let word = part.last_mut().expect("there is one");
        if escaped {
            escaped = false;
            if depth == 0 {
                word.push(c.to_ascii_lowercase());
            }
            continue;
        }
        match c {
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            _ if quoted => word.push(c.to_ascii_lowercase()),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            ';' => parts.push(vec![String::new()]),
            '=' if word.is_empty() && later => {
                part.pop();
                part.last_mut().expect("there is one").push('=');
            }
            c if c.is_whitespace() => {
                if !word.is_empty() && !word.ends_with('=') {
                    part.push(String::new());
                }
            }
            c => word.push(c.to_ascii_lowercase()),
        }
    }
    for part in &mut parts {
        part.retain(|word| !word.is_empty());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &str) -> (Author, bool) {
        let mail = format!("{fields}From: Bob <bob@example.com>\r\nSubject: x\r\n\r\nhi");
        let found = read(mail.as_bytes(), "mx.example.org", "bob@example.com");
        (found.author, found.envelope)
    }

    #[test]
    fn what_the_trusted_server_says_counts() {
        use Author::{Doubtful, NotChecked, Proven};
        for (results, wanted) in [
            ("dmarc=pass header.from=example.com", (Proven, true)),
            ("dmarc=fail (p=none) header.from=example.com; spf=pass smtp.mailfrom=example.com", (Doubtful, true)),
            ("dkim=pass header.d=example.com; dmarc=none", (Proven, false)),
            ("dkim=pass header.d=evil.org", (NotChecked, false)),
            ("dkim=pass header.d=evil.org; spf=softfail smtp.mailfrom=bob@example.com", (Doubtful, false)),
            ("spf=pass smtp.mailfrom=bob@example.com", (Proven, true)),
            ("spf=pass smtp.mailfrom=evil.org", (NotChecked, false)),
            ("spf = pass (a ; dmarc=fail) smtp.mailfrom = \"bob@example.com\"", (Proven, true)),
            ("DKIM=FAIL reason=\"dmarc=pass\" header.d=example.com", (Doubtful, false)),
            ("none", (NotChecked, false)),
        ] {
            assert_eq!(
                found(&format!("Authentication-Results: mx.example.org 1;\r\n\t{results}\r\n")),
                wanted,
                "{results}"
            );
        }
    }

    #[test]
    fn nobody_else_counts() {
        for field in [
            "Authentication-Results: evil.org; dmarc=pass\r\n",
            "Authentication-Results: (mx.example.org) evil.org; dmarc=pass\r\n",
            "Authentication-Results: mx.example.org.evil.org; dmarc=pass\r\n",
            "X-Authentication-Results: mx.example.org; dmarc=pass\r\n",
            "Authentication-Results:\r\n",
            "",
        ] {
            assert_eq!(found(field), (Author::NotChecked, false), "{field}");
        }
        let two =
            "Authentication-Results: evil.org; dmarc=pass\r\nAuthentication-Results: mx.example.org; dmarc=fail\r\n";
        assert_eq!(found(two).0, Author::Doubtful);
    }

    #[test]
    fn a_second_author_is_a_doubt() {
        assert_eq!(
            found("Authentication-Results: mx.example.org; dmarc=pass\r\nFrom: king@other.org\r\n").0,
            Author::Doubtful
        );
    }
}
