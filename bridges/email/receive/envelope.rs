//! Pure: the arguments of MAIL and RCPT (RFC 5321, section 4.1.2).

/// The address between angle brackets, and what stands behind it.
pub fn path<'a>(rest: &'a str, keyword: &str) -> Option<(String, &'a str)> {
    let head = rest.get(..keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest[keyword.len()..].trim_start().strip_prefix('<')?;
    let mut quoted = false;
    let end = rest.char_indices().find_map(|(at, c)| {
        if c == '"' {
            quoted = !quoted;
        }
        (c == '>' && !quoted).then_some(at)
    })?;
    Some((rest[..end].to_owned(), rest[end + 1..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (text, found) in [
            ("FROM:<a@b> SIZE=3", Some(("a@b", "SIZE=3"))),
            ("from: <>", Some(("", ""))),
            ("FROM:<\"a>b\"@c>", Some(("\"a>b\"@c", ""))),
            ("FROM:a@b", None),
            ("FROM:<a@b", None),
            ("TO:<a@b>", None),
            ("ü", None),
        ] {
            let path = path(text, "FROM:");
            assert_eq!(path.as_ref().map(|(path, rest)| (path.as_str(), *rest)), found, "{text}");
        }
    }
}
