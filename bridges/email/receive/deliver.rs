//! A whole mail for one recipient: read, commit, verdict.

use sha2::{Digest, Sha256};
use tracing::{debug, info};

use super::arrival::Arrival;
use super::words;
use crate::api::{Chat, Closed, Core, Failed, Inbound, ItemId, Kind, PersonId, Submission, Target, Text, UserId};
use crate::email::adapter::{State, spelling_key};
use crate::email::address::{self, Recipient};
use crate::email::auth::{Author, Findings};
use crate::email::bounce::{self, Bounce};
use crate::email::from_mail::{self, Letter};
use crate::email::reactions;
use crate::email::signal::Signal;
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
    /// The author's domain asks to refuse it.
    Forged,
}

impl Verdict {
    /// The answer to the peer.
    pub fn answer(self) -> &'static str {
        match self {
            Self::Ok => "250 2.6.0 accepted",
            Self::Later => "452 4.3.1 cannot store it now",
            Self::TooBig => "552 5.3.4 too big",
            Self::BigHeader => "552 5.3.4 the header is too big",
            Self::Loop => "554 5.4.6 this mail goes round in circles",
            Self::Unknown => "550 5.1.1 no such user here",
            Self::Forged => "550 5.7.1 the policy (DMARC) of the author's domain asks to refuse this",
        }
    }
}

/// A mail as it came for one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The mail itself.
    pub raw: &'a [u8],
    /// The envelope sender; empty for none.
    pub sender: &'a str,
    /// The recipient as the peer wrote it.
    pub recipient: &'a str,
    /// What was found out about it.
    pub findings: &'a Findings,
}

/// The fields of a header, folded lines and all.
fn fields(mail: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let end = mail.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(mail.len());
    let lines =
        mail[..end].split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b" ") && !line.starts_with(b"\t"));
    lines.map(|line| {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        (line[..colon].trim_ascii(), line.get(colon + 1..).unwrap_or_default().trim_ascii())
    })
}

/// What is refused whoever it is for.
pub fn refuse(mail: &[u8]) -> Option<Verdict> {
    let end = mail.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(mail.len());
    if end > HEADER {
        return Some(Verdict::BigHeader);
    }
    let (mut count, mut received) = (0, 0);
    for (name, _) in fields(mail) {
        count += 1;
        received += usize::from(name.eq_ignore_ascii_case(b"Received"));
    }
    if count > FIELDS {
        return Some(Verdict::BigHeader);
    }
    (received > RECEIVED).then_some(Verdict::Loop)
}

/// Whether a mail for a user has been here before: it bears our trace, our own domain wrote it, or it was delivered to
/// this very recipient at an earlier station (RFC 9228). A list sends our mail to others of us, rightly; a bounce
/// (without sender) may be by a mail server whose domain is ours.
fn goes_round(mail: Mail<'_>, letter: &Letter, domain: &str, install: &str) -> bool {
    let mut stations = false;
    let (mut trace, mut list, mut delivered) = (false, false, false);
    for (name, value) in fields(mail.raw) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        stations |= is("Received");
        trace |= is("X-Portway-Trace") && value == install.as_bytes();
        list |= is("List-Id");
        // The mail server in front may write it before it hands over; then it stands above all stations.
        delivered |= stations && is("Delivered-To") && value.eq_ignore_ascii_case(mail.recipient.as_bytes());
    }
    let ours = letter.from.as_ref().is_some_and(|from| from.server() == domain);
    delivered || (!list && (trace || (ours && !mail.sender.is_empty())))
}

/// Brings a mail to one recipient.
pub async fn one(state: &State, core: &Core, recipient: &Recipient, mail: Mail<'_>) -> Verdict {
    let user = match recipient {
        Recipient::User(user) => user.clone(),
        Recipient::Alias(alias) => match state.alias(core, alias).await {
            Ok(Some(user)) => user,
            Ok(None) => return Verdict::Unknown,
            Err(_) => return Verdict::Later,
        },
        Recipient::Bounce(token) => return bounced(core, token, mail.raw).await,
        Recipient::Admin => return for_admin(core, mail).await,
        Recipient::Unknown | Recipient::Foreign => return Verdict::Unknown,
    };
    let letter = from_mail::read(mail.raw, core.now());
    if goes_round(mail, &letter, &state.config.domain, &core.install_id()) {
        core.loss("loop");
        return Verdict::Loop;
    }
    // Without a usable From the envelope says who it is from.
    let person = letter.from.clone().or_else(|| address::person(mail.sender));
    let person = person.or_else(|| PersonId::new("mailer-daemon", &state.config.domain).ok());
    let Some(person) = person else { return Verdict::Unknown };
    let Ok(submission) = submission(state, core, &user, &person, &letter, mail).await else { return Verdict::Later };
    match core.submit(submission).await {
        Ok(accepted) => {
            debug!(repeated = accepted.repeated, "a mail was committed");
            Verdict::Ok
        }
        Err(_) => Verdict::Later,
    }
}

async fn submission(
    state: &State,
    core: &Core,
    user: &UserId,
    person: &PersonId,
    letter: &Letter,
    mail: Mail<'_>,
) -> Result<Submission, Closed> {
    let known = Known {
        id: letter.message_id.clone(),
        references: letter.references.clone(),
        subject: letter.subject.clone(),
        at: letter.at.0,
    };
    // Both sides call a conversation by one name: the one that the user's client gave it, where it did.
    let named = core.get(&thread::name_key(user, person, known.root())).await?;
    let name = named.and_then(|name| String::from_utf8(name).ok()).unwrap_or_else(|| thread::name(known.root()));
    let mut puts = vec![
        (thread::last_key(user, person), Some(known.bytes())),
        (thread::mail_key(user, person, &letter.message_id), Some(known.bytes())),
        (thread::thread_key(user, person, &name), Some(known.bytes())),
    ];
    if letter.trimmed {
        puts.push((thread::cut_key(user, person), Some(letter.message_id.clone().into_bytes())));
    }
    // Answers go to the address as its owner writes it, or to where they are asked for; not where somebody else may
    // have asked.
    if let Some(spelling) = letter.reply_to.as_ref().or(letter.from_spelling.as_ref())
        && mail.findings.author != Author::Doubtful
        && address::split(spelling).is_some()
    {
        let spelling = (*spelling != address::print(person)).then(|| spelling.clone().into_bytes());
        puts.push((spelling_key(user, person), spelling));
    }
    let mut hash = Sha256::new();
    hash.update(letter.message_id.as_bytes());
    hash.update(b"\0");
    hash.update(user.to_string().as_bytes());
    hash.update(b"\0");
    let body = mail.raw.windows(4).position(|window| window == b"\r\n\r\n").map_or(mail.raw, |at| &mail.raw[at..]);
    hash.update(body);
    let once: String = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(kind) = about_another(core, user, person, letter, mail).await? {
        if matches!(kind, Kind::Reaction { .. }) {
            state.reactors.add(person);
        }
        let known = matches!(kind, Kind::Reaction { .. }).then(|| (reactions::key(person), Some(Vec::new())));
        return Ok(Submission {
            events: vec![Inbound {
                id: Some(ItemId::new(&letter.message_id)),
                other_ids: Vec::new(),
                chat: Chat::Direct { user: user.clone(), person: person.clone() },
                sender: person.clone(),
                sender_name: letter.from_name.clone(),
                at: letter.at,
                kind,
            }],
            once: Some(format!("mail:{once}")),
            puts: known.into_iter().collect(),
            ..Submission::default()
        });
    }
    let said = words::text(state, core, user, person, letter, mail)
        .map(|text| Kind::Text(Text { subject: letter.subject.clone(), thread: Some(ItemId::new(&name)), ..text }));
    let files = letter.files.shown.iter().map(|file| Kind::File(Box::new(file.event(&letter.message_id, &name))));
    let events = said.into_iter().chain(files).enumerate().map(|(n, kind)| Inbound {
        // The first one is the mail; a file is known by the mail and its place in it.
        id: Some(ItemId::new(&if n == 0 { letter.message_id.clone() } else { thread::part_id(&letter.message_id, n) })),
        other_ids: Vec::new(),
        chat: Chat::Direct { user: user.clone(), person: person.clone() },
        sender: person.clone(),
        sender_name: letter.from_name.clone().filter(|_| mail.findings.author != Author::Doubtful),
        at: letter.at,
        kind,
    });
    let arrival = Arrival { sender: mail.sender, recipient: mail.recipient, findings: mail.findings };
    Ok(Submission {
        events: events.collect(),
        once: Some(format!("mail:{once}")),
        puts,
        original: Some(arrival.keep(mail.raw, letter.automatic, &state.config.domain)),
        ..Submission::default()
    })
}

/// What a mail says about an earlier one of this chat. `None` where it is a mail like any other, also because nothing proves
/// who it is from, or because what it speaks of is not known here.
async fn about_another(
    core: &Core,
    user: &UserId,
    person: &PersonId,
    letter: &Letter,
    mail: Mail<'_>,
) -> Result<Option<Kind>, Closed> {
    let Some(signal) = letter.signal.as_ref().filter(|_| mail.findings.author != Author::Doubtful) else {
        return Ok(None);
    };
    let (Signal::Reaction { of, .. } | Signal::Displayed { of }) = signal;
    let chat = Chat::Direct { user: user.clone(), person: person.clone() };
    if core.find(&chat, &ItemId::new(of)).await?.is_none() {
        return Ok(None);
    }
    let target = Target::by_id(of);
    Ok(Some(match signal {
        Signal::Reaction { keys, .. } => Kind::Reaction { target, keys: keys.clone() },
        Signal::Displayed { .. } => Kind::Displayed { target },
    }))
}

/// A mail to a bounce address: what it says of the message that it is about.
async fn bounced(core: &Core, token: &str, mail: &[u8]) -> Verdict {
    let report = match bounce::read(&core.key("bounce"), token, mail) {
        Bounce::Report(report) => report,
        Bounce::Forged => {
            core.loss("forged-bounce");
            return Verdict::Ok;
        }
        Bounce::NotOne => {
            core.loss("no-report");
            return Verdict::Ok;
        }
        Bounce::Nothing(_) => return Verdict::Ok,
    };
    let event = report.event;
    let chat = match core.chat_of(event).await {
        Ok(Some(chat)) => chat,
        // We made that token, but the message is older than our memory.
        Ok(None) => {
            core.loss("late-bounce");
            return Verdict::Ok;
        }
        Err(_) => return Verdict::Later,
    };
    let Chat::Direct { person, .. } = &chat else { return Verdict::Ok };
    info!(%event, condition = %report.condition, still_trying = report.still_trying, "a mail came back");
    // One notice of delay and one failure, however many reports there are.
    let sort = if report.still_trying { "delay" } else { "bounce" };
    let failed =
        Failed { event, condition: report.condition, sentence: report.sentence, still_trying: report.still_trying };
    let inbound = Inbound {
        id: Some(ItemId::new(&format!("{sort}-{event}"))),
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
async fn for_admin(core: &Core, mail: Mail<'_>) -> Verdict {
    let arrival = Arrival { sender: mail.sender, recipient: mail.recipient, findings: mail.findings };
    let kept = arrival.keep(mail.raw, true, "portway");
    let before = core.inbox(None, 1000).await.map(|items| items.last().map(|item| item.id));
    let stored = core.submit(Submission { inbox: vec![kept], ..Submission::default() }).await;
    let (Ok(before), Ok(_)) = (before, stored) else { return Verdict::Later };
    for item in core.inbox(before, 1000).await.unwrap_or_default() {
        let _ = core.bury(item.id, "mail for postmaster or abuse").await;
    }
    Verdict::Ok
}
