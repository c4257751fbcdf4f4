//! What of a mail is new: trailing quotes under a recognised line of attribution, and signatures, are left out.
//!
//! Only at the end, only where it is certain, never everything: answers between quotes, code and forwards stay.

use crate::api::rich::{Mark, Node};

/// What stands where something was left out.
const MARK: &str = "[...]";

/// The new part of a mail's text, and whether something was left out.
pub fn trim(text: &str) -> (String, bool) {
    let lines: Vec<&str> = text.lines().collect();
    let mut end = lines.len();
    let mut cut = false;
    // A signature (RFC 3676, section 4.3): short, and behind the last line of exactly "-- ".
    if let Some(at) = lines[..end].iter().rposition(|line| *line == "-- ")
        && end - at <= 12
        && at > 0
    {
        end = at;
    }
    if let Some(at) = quote_start(&lines[..end])
        && lines[..at].iter().any(|line| !line.trim().is_empty() && !line.starts_with('>'))
    {
        end = at;
        cut = true;
    }
    let kept = lines[..end].join("\n").trim_end().to_owned();
    if kept.trim().is_empty() {
        return (text.trim().to_owned(), false);
    }
    if cut { (format!("{kept}\n{MARK}"), true) } else { (kept, end < lines.len()) }
}

/// The quotes of a plain text, which every mail program shows by `>` (RFC 3676, section 4.5), as a tree; everything else in it
/// is literal. Quotes within quotes are at most eight deep.
pub fn tree(text: &str) -> Vec<Node> {
    const DEEPEST: usize = 8;
    let mut open: Vec<Vec<Node>> = vec![Vec::new()];
    for line in text.lines() {
        let mut depth = 0;
        let mut rest = line;
        while let Some(behind) = rest.strip_prefix('>').filter(|_| depth < DEEPEST) {
            depth += 1;
            rest = behind.strip_prefix(' ').unwrap_or(behind);
        }
        while open.len() > depth + 1 {
            close(&mut open);
        }
        while open.len() <= depth {
            open.push(Vec::new());
        }
        if let Some(nodes) = open.last_mut() {
            match nodes.last_mut() {
                Some(Node::Text(before)) => before.extend([rest, "\n"]),
                _ => nodes.push(Node::Text(format!("{rest}\n"))),
            }
        }
    }
    while open.len() > 1 {
        close(&mut open);
    }
    let mut nodes = open.pop().unwrap_or_default();
    end_of_block(&mut nodes);
    nodes
}

fn close(open: &mut Vec<Vec<Node>>) {
    let (Some(mut inner), Some(around)) = (open.pop(), open.last_mut()) else { return };
    end_of_block(&mut inner);
    around.push(Node::Part(Mark::Quote, inner));
}

/// The last line of a block ends with it.
fn end_of_block(nodes: &mut [Node]) {
    if let Some(Node::Text(text)) = nodes.last_mut() {
        text.pop();
    }
}

/// Where the trailing quote starts, its attribution included.
fn quote_start(lines: &[&str]) -> Option<usize> {
    if lines.iter().any(|line| forwarded(line)) {
        return None;
    }
    // Outlook quotes the whole mail under a header block, without marks. Marks below it are answers in between.
    let plain_below = |at: usize| !lines[at..].iter().any(|line| line.starts_with('>'));
    if let Some(at) = lines.iter().position(|line| original_header(line))
        && plain_below(at)
    {
        return Some(at);
    }
    let block = lines.iter().enumerate().find_map(|(at, _)| {
        let header = lines[at..].iter().take(6).collect::<Vec<_>>();
        (header.len() >= 3 && outlook_block(&header)).then_some(at)
    });
    // A block right at the top, or under "FYI", is a forward.
    if let Some(at) = block
        && plain_below(at)
        && lines[..at].iter().any(|line| !line.trim().is_empty() && !line.to_lowercase().starts_with("fyi"))
    {
        return Some(at);
    }
    let mut at = lines.len();
    let mut quoted = 0;
    while at > 0 && (lines[at - 1].starts_with('>') || lines[at - 1].trim().is_empty()) {
        quoted += usize::from(lines[at - 1].starts_with('>'));
        at -= 1;
    }
    if quoted == 0 {
        return None;
    }
    // The attribution may be wrapped over two lines.
    for length in 1..=2 {
        let from = at.checked_sub(length)?;
        let line = lines[from..at].join(" ");
        // Whose words they are is said with a date or an address; a quotation from a book is not.
        if attribution(&line) && line.contains(|c: char| c.is_ascii_digit() || c == '@') {
            return Some(from);
        }
    }
    let from = at.checked_sub(1)?;
    (attribution(lines[from]) && lines[from].starts_with("On ")).then_some(from)
}

/// `On Tuesday, Romeo wrote:` in the languages whose mail programs are common.
fn attribution(line: &str) -> bool {
    let line = line.trim();
    if line.len() > 300 || !line.ends_with([':', '：']) {
        return false;
    }
    let words = [
        "wrote",
        "schrieb",
        "a écrit",
        "escribió",
        "ha scritto",
        "schreef",
        "skrev",
        "escreveu",
        "napisał",
        "написал",
        "写道",
    ];
    words.iter().any(|word| line.contains(word))
}

/// The line above what somebody passes on.
fn forwarded(line: &str) -> bool {
    let line = line.trim().trim_matches(['-', ' ']).to_lowercase();
    line.starts_with("forwarded message")
        || line.starts_with("begin forwarded message")
        || line.starts_with("weitergeleitete nachricht")
        || line.starts_with("message transféré")
        || line.starts_with("mensaje reenviado")
}

/// `-----Original Message-----` and its kin.
fn original_header(line: &str) -> bool {
    let words = line.trim().trim_matches(['-', '_', ' ']);
    line.trim().starts_with("--")
        && matches!(
            words,
            "Original Message"
                | "Ursprüngliche Nachricht"
                | "Originalnachricht"
                | "Message d'origine"
                | "Mensaje original"
        )
}

/// `From: … / Sent: … / To: …`, as Outlook puts above what it quotes.
fn outlook_block(lines: &[&&str]) -> bool {
    let starts = |line: &&&str, words: &[&str]| words.iter().any(|word| line.trim_start_matches('*').starts_with(word));
    starts(&lines[0], &["From:", "Von:", "De :", "De:", "Da:"])
        && lines[1..]
            .iter()
            .any(|line| starts(line, &["Sent:", "Gesendet:", "Envoyé :", "Enviado:", "Inviato:", "Date:"]))
        && lines[1..].iter().any(|line| starts(line, &["To:", "An:", "À :", "Para:", "A:"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_quotes_and_nothing_else_is_a_sign() {
        use crate::api::Rich;
        let text = |text: &str| Node::Text(text.to_owned());
        let quote = |nodes| Node::Part(Mark::Quote, nodes);
        assert_eq!(
            tree("a\n> *b*\n> > c\n>>d\n\ne"),
            [text("a\n"), quote(vec![text("*b*\n"), quote(vec![text("c\nd")])]), text("\ne")]
        );
        let deep = Rich::new(tree(&(">".repeat(5000) + "x"))).unwrap();
        assert!(deep.text().ends_with('x'));
        assert_eq!(Rich::new(tree("*a* _b_\n```")), None);
    }

    #[test]
    fn trailing_quotes_go() {
        for (mail, new) in [
            ("Yes.\n\nOn Tue, 3 Mar 2026 at 10:00, Romeo <r@x> wrote:\n> Coming?\n> R.\n", "Yes.\n[...]"),
            ("Ja.\n\nAm 03.03.26 um 10:00 schrieb Romeo:\n> Kommst du?\n", "Ja.\n[...]"),
            ("Oui.\n\nLe mar. 3 mars 2026 à 10:00, Romeo <r@x> a écrit :\n> Tu viens?\n", "Oui.\n[...]"),
            ("Sí.\n\nEl mar, 3 mar 2026 a las 10:00, Romeo (<r@x>)\nescribió:\n\n> ¿Vienes?\n", "Sí.\n[...]"),
            ("Yes.\n\nFrom: Romeo <r@x>\nSent: Tuesday\nTo: Juliet\nSubject: x\n\nComing?\n", "Yes.\n[...]"),
            ("Ja.\n\n-----Ursprüngliche Nachricht-----\nVon: Romeo\nKommst du?", "Ja.\n[...]"),
            ("Yes.\n-- \nJuliet\nVerona", "Yes."),
            ("Yes.\n\nOn Tuesday, Romeo wrote:\n> Coming?\n\n-- \nJuliet", "Yes.\n[...]"),
        ] {
            assert_eq!(trim(mail).0, new, "{mail}");
        }
    }

    #[test]
    fn what_is_not_certain_stays() {
        for mail in [
            // Answers between quotes.
            "> Coming?\nYes.\n> When?\nAt nine.",
            // A quote without attribution.
            "As somebody said:\n> all the world's a stage",
            // Nothing else in it.
            "On Tuesday, Romeo wrote:\n> Coming?",
            "-- \nJuliet",
            // Code.
            "Run this:\n\n> cargo test\n\nand tell me.",
            // Forwards.
            "FYI\n\n---------- Forwarded message ---------\nFrom: x <x@y>\nDate: Tue\nSubject: s\nTo: z\n\nThe text.",
            "FYI\n\nFrom: Romeo <r@x>\nSent: Tuesday\nTo: Juliet\n\nThe text.",
            // Answers in between, below a header block.
            "Hi.\n\nFrom: Romeo <r@x>\nSent: Tuesday\nTo: Juliet\n\n> Coming?\nYes.",
            // A quotation from a book.
            "Hello.\nShakespeare wrote:\n> all the world's a stage",
        ] {
            assert_eq!(trim(mail), (mail.to_owned(), false), "{mail}");
        }
    }
}
