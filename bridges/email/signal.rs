//! Pure: mails that say something about another mail and nothing else: a reaction (RFC 9078, or as Gmail writes it), or that
//! it has been displayed (RFC 8098).

use mail_parser::{HeaderValue, Message, MessagePart, MimeHeaders};

use super::from_mail::is_id;
use super::part;

/// How many signs a reaction has at most, and how many characters one of them.
const SIGNS: usize = 20;
const SIGN: usize = 16;

/// What a mail says about another one, by its Message-ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Its reader feels something.
    Reaction {
        /// The mail.
        of: String,
        /// The signs.
        keys: Vec<String>,
    },
    /// Its reader has seen it.
    Displayed {
        /// The mail.
        of: String,
    },
}

/// Reads a mail.
pub fn read(mail: &Message<'_>) -> Option<Signal> {
    reaction(mail).or_else(|| displayed(mail))
}

fn reaction(mail: &Message<'_>) -> Option<Signal> {
    let of = match mail.in_reply_to() {
        HeaderValue::Text(id) => id.to_string(),
        HeaderValue::TextList(ids) => ids.first()?.to_string(),
        _ => return None,
    };
    let is = |part: &&MessagePart<'_>| {
        part.content_disposition().is_some_and(|disposition| disposition.ctype().eq_ignore_ascii_case("reaction"))
    };
    let keys = match mail.parts.iter().find(is) {
        Some(part) => part.text_contents()?.split_whitespace().map(str::to_owned).collect(),
        None => vec![gmail(mail)?],
    };
    let keys: Vec<String> = keys.into_iter().filter(|key| is_sign(key)).take(SIGNS).collect();
    (is_id(&of) && !keys.is_empty()).then_some(Signal::Reaction { of, keys })
}

fn gmail(mail: &Message<'_>) -> Option<String> {
    let part = mail.parts.iter().find(|part| part::is(part, &["text/vnd.google.email-reaction+json"]))?;
    let value: serde_json::Value = serde_json::from_str(part.text_contents()?).ok()?;
    Some(value.get("emoji")?.as_str()?.to_owned())
}

/// Whether this is a sign and no word: nothing of it but a key cap is a letter or a digit.
fn is_sign(key: &str) -> bool {
    let cap = key.ends_with('\u{20e3}');
    !key.is_empty()
        && key.chars().count() <= SIGN
        && key.chars().all(|c| !c.is_control() && !c.is_whitespace() && (!c.is_alphanumeric() || cap))
        && !key.is_ascii()
}

fn displayed(mail: &Message<'_>) -> Option<Signal> {
    let report = mail.parts.first().filter(|root| part::is(root, &["multipart/report"]))?;
    report
        .content_type()?
        .attribute("report-type")
        .filter(|kind| kind.eq_ignore_ascii_case("disposition-notification"))?;
    let notice = mail.parts.iter().find(|part| part::is(part, &["message/disposition-notification"]))?;
    let text = String::from_utf8_lossy(part::content(mail, notice)).into_owned();
    let field = |wanted: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let of = field("Original-Message-ID")?;
    let of = of.strip_prefix('<')?.strip_suffix('>')?.to_owned();
    // The mode, and after a semicolon what was done (section 3.2.6).
    let disposition = field("Disposition")?;
    let done = disposition.split_once(';')?.1.split('/').next()?.trim().to_owned();
    (is_id(&of) && done.eq_ignore_ascii_case("displayed")).then_some(Signal::Displayed { of })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email::from_mail::parse;

    fn signal(mail: &str) -> Option<Signal> {
        read(&parse(mail.replace('\n', "\r\n").as_bytes()).unwrap())
    }

    #[test]
    fn e29_reactions() {
        let head = "From: a@b.org\nIn-Reply-To: <1@x>\nMIME-Version: 1.0\n";
        let reaction = |keys: &[&str]| {
            Some(Signal::Reaction { of: "1@x".into(), keys: keys.iter().map(|key| (*key).to_owned()).collect() })
        };
        for (mail, wanted) in [
            (
                "Content-Type: text/plain; charset=utf-8\nContent-Disposition: Reaction\n\n👍 ❤️\n",
                reaction(&["👍", "❤️"]),
            ),
            (
                "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain; charset=utf-8\nContent-Disposition: reaction\n\n👍\n--x\n\nand words\n--x--\n",
                reaction(&["👍"]),
            ),
            (
                "Content-Type: multipart/alternative; boundary=x\n\n--x\nContent-Type: text/plain; charset=utf-8\n\nBob reacted\n--x\n\
                 Content-Type: text/vnd.google.email-reaction+json; charset=utf-8\n\n{\"emoji\": \"😍\", \"version\": 1}\n--x--\n",
                reaction(&["😍"]),
            ),
            ("Content-Type: text/plain; charset=utf-8\n\n👍\n", None),
            ("Content-Disposition: reaction\n\nbuy now\n", None),
        ] {
            assert_eq!(signal(&format!("{head}{mail}")), wanted, "{mail}");
        }
        assert_eq!(
            signal("From: a@b.org\nContent-Type: text/plain; charset=utf-8\nContent-Disposition: reaction\n\n👍\n"),
            None
        );
        for (key, sign) in
            [("👍🏽", true), ("1️⃣", true), ("👩‍👩‍👧", true), ("ok", false), ("1", false), (":)", false), ("🇩🇪", true)]
        {
            assert_eq!(is_sign(key), sign, "{key}");
        }
    }

    #[test]
    fn e19_notices_of_display() {
        let notice = |disposition: &str, id: &str| {
            signal(&format!(
                "From: a@b.org\nContent-Type: multipart/report; report-type=disposition-notification; boundary=x\n\n--x\n\nI have read it\n--x\n\
                 Content-Type: message/disposition-notification\n\nFinal-Recipient: rfc822;a@b.org\nOriginal-Message-ID: {id}\n\
                 Disposition: {disposition}\n\n--x--\n"
            ))
        };
        let seen = Some(Signal::Displayed { of: "1@x".into() });
        assert_eq!(notice("manual-action/MDN-sent-manually; displayed", "<1@x>"), seen);
        assert_eq!(notice("automatic-action/MDN-sent-automatically; Displayed/error", "<1@x>"), seen);
        assert_eq!(notice("automatic-action/MDN-sent-automatically; deleted", "<1@x>"), None);
        assert_eq!(notice("manual-action/MDN-sent-manually; displayed", "1@x"), None);
    }
}
