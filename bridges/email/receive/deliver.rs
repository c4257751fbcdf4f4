//! A whole mail for one recipient: read, commit, verdict.

use sha2::{Digest, Sha256};
use tracing::{debug, info};

use crate::api::{Chat, Core, Failed, Inbound, ItemId, Kind, PersonId, Sentence, Submission, Text, UserId};
use crate::email::adapter::State;
use crate::email::address::{self, Recipient};
use crate::email::bounce::{self, Bounce};
use crate::email::from_mail::{self, Letter};
use crate::email::thread::{self, Known};

/// The largest header block in bytes, and the most fields in it.
const HEADER: usize = 256 << 10;
const FIELDS: usize = 1000;

/// How many stations a mail may have passed.
const RECEIVED: usize = 50;

/// What becomes of a mail for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Committed.
    Ok,
    /// The store cannot take it now.
    Later,
    /// Over the size.
    TooBig,
    /// Its header is over the limits.
    BigHeader,
    /// It goes round in circles.
    Loop,
    /// There is no such user.
    Unknown,
}

impl Verdict {
    /// The answer to the peer.
    pub fn answer(self) -> &'static str {
        match self {
            Self::Ok => "250 2.6.0 accepted",
            Self::Later => "451 4.3.0 cannot store it now",
            Self::TooBig => "552 5.3.4 too big",
            Self::BigHeader => "552 5.3.4 the header is too big",
            Self::Loop => "554 5.4.6 this mail goes round in circles",
            Self::Unknown => "550 5.1.1 no such user here",
        }
    }
}

/// What is refused whoever it is for.
pub fn refuse(mail: &[u8]) -> Option<Verdict> {
    let end = mail.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(mail.len());
    let header = &mail[..end];
    if header.len() > HEADER {
        return Some(Verdict::BigHeader);
    }
    let mut fields = 0;
    let mut received = 0;
    for line in header.split(|byte| *byte == b'\n') {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            fields += 1;
            received += usize::from(line.len() > 9 && line[..9].eq_ignore_ascii_case(b"Received:"));
        }
    }
    if fields > FIELDS {
        return Some(Verdict::BigHeader);
    }
    (received > RECEIVED).then_some(Verdict::Loop)
}

/// Brings a mail to one recipient.
pub async fn one(state: &State, core: &Core, mail: &[u8], recipient: &Recipient, sender: Option<&str>) -> Verdict {
    let user = match recipient {
        Recipient::User(user) => user.clone(),
        Recipient::Alias(alias) => match state.alias(core, alias).await {
            Ok(Some(user)) => user,
            Ok(None) => return Verdict::Unknown,
            Err(_) => return Verdict::Later,
        },
        Recipient::Bounce(token) => return bounced(core, token, mail).await,
        Recipient::Admin => return for_admin(core, mail).await,
        Recipient::Unknown | Recipient::Foreign => return Verdict::Unknown,
    };
    let letter = from_mail::read(mail, core.now());
    // Without a usable From the envelope says who it is from.
    let person = letter.from.clone().or_else(|| address::person(sender.unwrap_or_default()));
    let person = person.or_else(|| PersonId::new("mailer-daemon", &state.config.domain).ok());
    let Some(person) = person else { return Verdict::Unknown };
    let submission = submission(core, &user, &person, &letter, mail);
    match core.submit(submission).await {
        Ok(accepted) => {
            debug!(repeated = accepted.repeated, "a mail was committed");
            Verdict::Ok
        }
        Err(_) => Verdict::Later,
    }
}

fn submission(core: &Core, user: &UserId, person: &PersonId, letter: &Letter, mail: &[u8]) -> Submission {
    let mut text = letter.text.clone();
    for about in &letter.attachments {
        core.loss("attachment");
        let sentence = Sentence::new("email.attachment").with("about", about.clone());
        text.push_str(if text.is_empty() { "" } else { "\n" });
        text.push_str(&core.text(&sentence, None));
    }
    if letter.too_long {
        text.push('\n');
        text.push_str(&core.text(&Sentence::new("email.kept"), None));
    }
    if text.trim().is_empty() {
        text = match &letter.subject {
            Some(subject) => subject.clone(),
            None => core.text(&Sentence::new("email.no-text"), None),
        };
    }
    let known = Known {
        id: letter.message_id.clone(),
        references: letter.references.clone(),
        subject: letter.subject.clone(),
        at: letter.at.0,
    };
    let mut puts = vec![
        (thread::last_key(user, person), Some(known.bytes())),
        (thread::mail_key(user, person, &letter.message_id), Some(known.bytes())),
    ];
    // Answers go to the address as its owner writes it, or to where they are asked for.
    if let Some(spelling) = letter.reply_to.as_ref().or(letter.from_spelling.as_ref())
        && address::split(spelling).is_some()
        && (letter.reply_to.is_some() || *spelling != address::print(person))
    {
        puts.push((super::super::adapter::spelling_key(user, person), Some(spelling.clone().into_bytes())));
    }
    let mut hash = Sha256::new();
    hash.update(letter.message_id.as_bytes());
    hash.update(b"\0");
    hash.update(user.to_string().as_bytes());
    hash.update(b"\0");
    let body = mail.windows(4).position(|window| window == b"\r\n\r\n").map_or(mail, |at| &mail[at..]);
    hash.update(body);
    let once: String = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let event = Inbound {
        id: Some(ItemId::new(&letter.message_id)),
        other_ids: Vec::new(),
        chat: Chat::Direct { user: user.clone(), person: person.clone() },
        sender: person.clone(),
        sender_name: letter.from_name.clone(),
        at: letter.at,
        kind: Kind::Text(Text {
            subject: letter.subject.clone(),
            thread: letter.references.first().map(|id| ItemId::new(id)),
            ..Text::plain(text)
        }),
    };
    Submission {
        events: vec![event],
        once: Some(format!("mail:{once}")),
        puts,
        original: Some(mail.to_vec()),
        ..Submission::default()
    }
}

/// A mail to a bounce address: an error on the message that it is about.
async fn bounced(core: &Core, token: &str, mail: &[u8]) -> Verdict {
    let (event, condition, sentence) = match bounce::read(&core.key("bounce"), token, mail) {
        Bounce::Failed(event, condition, sentence) => (event, condition, sentence),
        Bounce::Forged => {
            core.loss("forged-bounce");
            return Verdict::Ok;
        }
        Bounce::NotOne | Bounce::Other(_) => return Verdict::Ok,
    };
    let chat = match core.chat_of(event).await {
        Ok(Some(chat)) => chat,
        // We made that token, but the message is older than our memory.
        Ok(None) => return Verdict::Ok,
        Err(_) => return Verdict::Later,
    };
    let Chat::Direct { person, .. } = &chat else { return Verdict::Ok };
    info!(%event, %condition, "a mail came back");
    let failed = Failed { event, condition, sentence, still_trying: false };
    let inbound = Inbound {
        id: Some(ItemId::new(&format!("bounce-{event}"))),
        other_ids: Vec::new(),
        sender: person.clone(),
        sender_name: None,
        at: core.now(),
        kind: Kind::Failed(failed),
        chat,
    };
    match core.submit(Submission { events: vec![inbound], ..Submission::default() }).await {
        Ok(_) => Verdict::Ok,
        Err(_) => Verdict::Later,
    }
}

/// Mail for postmaster or abuse is kept where the admin sees it: among the dead letters.
async fn for_admin(core: &Core, mail: &[u8]) -> Verdict {
    let before = core.inbox(None, 1000).await.map(|items| items.last().map(|item| item.id));
    let stored = core.submit(Submission { inbox: vec![mail.to_vec()], ..Submission::default() }).await;
    let (Ok(before), Ok(_)) = (before, stored) else { return Verdict::Later };
    for item in core.inbox(before, 1000).await.unwrap_or_default() {
        let _ = core.bury(item.id, "mail for postmaster or abuse").await;
    }
    Verdict::Ok
}
