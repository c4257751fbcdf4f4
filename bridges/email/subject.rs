//! Subjects (RFC 5256, section 2.1, with the prefixes that other languages use).

/// What mail programs put in front of the subject of an answer or a forward.
const PREFIXES: [&str; 14] =
    ["re", "aw", "sv", "vs", "tr", "rv", "odp", "antw", "ynt", "fwd", "fw", "wg", "rif", "ref"];

/// The longest subject that is made from a text, in characters.
const LONGEST: usize = 60;

/// The subject without its prefixes.
pub fn base(subject: &str) -> &str {
    let mut rest = subject.trim();
    while let Some((prefix, behind)) = rest.split_once([':', '：']) {
        let word = prefix.trim().trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '[' | ']'));
        if !PREFIXES.contains(&word.to_lowercase().as_str()) {
            break;
        }
        rest = behind.trim_start();
    }
    rest
}

/// The subject of an answer.
pub fn answer(subject: &str) -> String {
    format!("Re: {}", base(subject))
}

/// A subject from the first line of a text, cut at the end of a word.
pub fn of_text(text: &str, name: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if line.is_empty() {
        return format!("Message from {name}");
    }
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    let cut: String = line.chars().take(LONGEST).collect();
    let end = cut.rfind(' ').filter(|end| *end > 20).unwrap_or(cut.len());
    format!("{}…", cut[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_go_and_come_once() {
        for (subject, bare) in
            [("Re: AW: Fwd: x", "x"), ("RE[2]: x", "x"), ("Note: x", "Note: x"), ("re:x", "x"), ("x", "x"), ("", "")]
        {
            assert_eq!(base(subject), bare, "{subject}");
        }
        assert_eq!(answer("Re: Re: x"), "Re: x");
    }

    #[test]
    fn a_subject_from_a_text() {
        assert_eq!(of_text("\n Hello you \nmore", "R"), "Hello you");
        assert_eq!(of_text("", "Romeo"), "Message from Romeo");
        let long = of_text(&"word ".repeat(40), "R");
        assert!(long.chars().count() <= LONGEST + 1 && long.ends_with("word…"), "{long}");
    }
}
