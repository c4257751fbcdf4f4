//! Pure: what an invitation says (RFC 5545, RFC 5546), in a few lines. The file itself goes beside them.

use super::from_mail::clean;

/// The longest calendar that is read, in bytes; and the longest value that is shown, in characters.
const LONGEST: usize = 256 << 10;
const SHOWN: usize = 300;

/// What the first event of a calendar says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invitation {
    /// `REQUEST`, `CANCEL`, `REPLY` or another method in upper case; empty where none is named.
    pub method: String,
    /// What it is.
    pub summary: String,
    /// When it begins, and ends.
    pub start: String,
    /// When it ends.
    pub end: String,
    /// Where.
    pub location: String,
    /// Who asks.
    pub organiser: String,
}

/// Reads a calendar. `None` where it holds no event.
pub fn read(text: &str) -> Option<Invitation> {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    let mut found = Invitation::default();
    let mut inside = Vec::new();
    let mut seen = false;
    for line in unfolded(text) {
        let Some((head, value)) = split(&line) else { continue };
        let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
        match name.to_ascii_uppercase().as_str() {
            "BEGIN" => {
                if value.eq_ignore_ascii_case("VEVENT") && seen {
                    break;
                }
                seen |= value.eq_ignore_ascii_case("VEVENT");
                inside.push(value.to_ascii_uppercase());
            }
            "END" => drop(inside.pop()),
            "METHOD" if inside.len() == 1 => found.method = shown(value).to_ascii_uppercase(),
            name if inside.last().is_some_and(|inside| inside == "VEVENT") => match name {
                "SUMMARY" => found.summary = shown(value),
                "LOCATION" => found.location = shown(value),
                "DTSTART" => found.start = time(value, parameters),
                "DTEND" => found.end = time(value, parameters),
                "ORGANIZER" => {
                    let name = parameter(parameters, "CN").map(shown).filter(|name| !name.is_empty());
                    let address = shown(value.trim_start_matches("mailto:").trim_start_matches("MAILTO:"));
                    found.organiser = name.map_or(address.clone(), |name| format!("{name} <{address}>"));
                }
                _ => {}
            },
            _ => {}
        }
    }
    seen.then_some(found)
}

/// The lines, each as one (RFC 5545, section 3.1).
fn unfolded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some(last)) => last.push_str(rest),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// A line at its first colon that stands in no quotes.
fn split(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == ':' && !quoted
    })?;
    Some((&line[..at.0], &line[at.0 + 1..]))
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let found = parameters.split(';').find_map(|one| {
        let (key, value) = one.split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value)
    });
    found.map(|value| value.trim_matches('"'))
}

/// A value as people read it: on one line, not too long.
fn shown(value: &str) -> String {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => out.push(' '),
                Some(c) => out.push(c),
                None => {}
            },
            c => out.push(c),
        }
    }
    clean(&out).replace('\n', " ").trim().chars().take(SHOWN).collect()
}

/// A date or a time with its zone, as people read it; what is neither stays as it is.
fn time(value: &str, parameters: &str) -> String {
    let value = value.trim();
    let (date, clock) = value.split_once('T').unwrap_or((value, ""));
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(date, 8) {
        return shown(value);
    }
    let date = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]);
    let zone = if clock.ends_with('Z') { Some("UTC".to_owned()) } else { parameter(parameters, "TZID").map(shown) };
    let clock = clock.trim_end_matches('Z');
    if !digits(clock, 6) {
        return date;
    }
    let clock = format!("{date} {}:{}", &clock[..2], &clock[2..4]);
    zone.map_or(clock.clone(), |zone| format!("{clock} ({zone})"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn e15_an_invitation_in_words() {
        let found = read(
            "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VTIMEZONE\r\nDTSTART:19700101T000000\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\n\
             SUMMARY:Tea\\, and\r\n  cake\r\nDTSTART;TZID=Europe/Berlin:20260301T140000\r\nDTEND:20260301T143000Z\r\nLOCATION:Here\\nthere\r\n\
             ORGANIZER;CN=\"Bob: B.\":mailto:bob@example.com\r\nBEGIN:VALARM\r\nSUMMARY:no\r\nEND:VALARM\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nSUMMARY:second\r\n",
        );
        let wanted = Invitation {
            method: "REQUEST".into(),
            summary: "Tea, and cake".into(),
            start: "2026-03-01 14:00 (Europe/Berlin)".into(),
            end: "2026-03-01 14:30 (UTC)".into(),
            location: "Here there".into(),
            organiser: "Bob: B. <bob@example.com>".into(),
        };
        assert_eq!(found, Some(wanted));
        let day = read("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20260301\nDTEND:soon\n").unwrap();
        assert_eq!((day.start.as_str(), day.end.as_str()), ("2026-03-01", "soon"));
        assert_eq!(read("BEGIN:VCALENDAR\nEND:VCALENDAR"), None);
    }

    proptest! {
        #[test]
        fn anything_can_be_read(text in "\\PC{0,200}|[A-Z:;=\\\\\\r\\n \"T0-9]{0,200}") {
            let _ = read(&format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:{text}\n{text}"));
        }
    }
}
