//! What the replies and reports of mail servers mean: one table for both.

use crate::api::{Condition, Sentence};

/// The enhanced status code (RFC 3463) in a text, such as `5.1.1`.
pub fn enhanced(text: &str) -> Option<(u8, u16, u16)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut numbers = word.split('.');
        let class = numbers.next()?.parse().ok()?;
        let subject = numbers.next()?.parse().ok()?;
        let detail = numbers.next()?.parse().ok()?;
        (numbers.next().is_none() && matches!(class, 2 | 4 | 5)).then_some((class, subject, detail))
    })
}

/// What a permanent refusal means. `code` is the reply code (550 where there is only a report).
pub fn meaning(code: u16, text: &str, person: &str) -> (Condition, Sentence) {
    let sentence = |key: &str| Sentence::new(key).with("person", person);
    let refused = || {
        Sentence::new("email.refused")
            .with("why", text.chars().filter(|c| !c.is_control()).take(200).collect::<String>())
    };
    let found = enhanced(text);
    // What was temporary for too long is not the same as what does not exist.
    if found.is_some_and(|(class, ..)| class == 4) {
        return (Condition::RemoteServerTimeout, refused());
    }
    match found.map(|(_, subject, detail)| (subject, detail)) {
        Some((1, 1)) => (Condition::ItemNotFound, sentence("email.no-such-user")),
        Some((1, 2 | 10) | (4, 4)) => (Condition::RemoteServerNotFound, sentence("email.no-such-domain")),
        Some((1, 3)) => (Condition::JidMalformed, refused()),
        Some((2, 1)) => (Condition::RecipientUnavailable, refused()),
        Some((2, 2)) => (Condition::ResourceConstraint, sentence("email.full")),
        Some((2 | 3, 3 | 4)) => (Condition::NotAcceptable, sentence("email.too-big")),
        Some((4, 7)) => (Condition::RemoteServerTimeout, refused()),
        Some((6, 7)) => (Condition::NotAcceptable, sentence("email.no-utf8")),
        Some((7, 10)) => (Condition::NotAcceptable, sentence("email.needs-encryption")),
        Some((7, _)) => (Condition::PolicyViolation, refused()),
        _ => match code {
            523 => (Condition::NotAcceptable, sentence("email.needs-encryption")),
            552 => (Condition::NotAcceptable, sentence("email.too-big")),
            556 => (Condition::RemoteServerNotFound, sentence("email.no-such-domain")),
            550 | 551 | 553 => (Condition::ItemNotFound, refused()),
            _ => (Condition::NotAcceptable, refused()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        for (code, text, condition) in [
            (550, "5.1.1 no such user", Condition::ItemNotFound),
            (550, "no such user", Condition::ItemNotFound),
            (550, "5.2.2 mailbox full", Condition::ResourceConstraint),
            (556, "5.1.10 null MX", Condition::RemoteServerNotFound),
            (550, "5.4.4 no route", Condition::RemoteServerNotFound),
            (552, "5.3.4 too big", Condition::NotAcceptable),
            (550, "5.7.1 rejected", Condition::PolicyViolation),
            (523, "Encryption Needed", Condition::NotAcceptable),
            (550, "5.6.7 non-ASCII", Condition::NotAcceptable),
            (554, "whatever", Condition::NotAcceptable),
            (550, "4.4.1 connection timed out", Condition::RemoteServerTimeout),
        ] {
            assert_eq!(meaning(code, text, "bob@x").0, condition, "{text}");
        }
        assert_eq!(enhanced("550-5.1.1 hm 1.2.3.4"), Some((5, 1, 1)));
        assert_eq!(enhanced("version 3.7.11 on 127.0.0.1"), None);
    }
}
