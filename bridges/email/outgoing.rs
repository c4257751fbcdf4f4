//! From the core to the world: a letter, an order of the user, or a report about a mail that the XMPP side sent back.

use tracing::debug;

use super::adapter::{State, spelling_key};
use super::compose::{self, Composed};
use super::receive::arrival;
use super::send::Envelope;
use super::thread::{self, Known};
use super::to_mail::{self, Parts};
use super::{address, attach, bounce, from_mail, quote, report, subject};
use crate::api::{
    Chat, Closed, Condition, Core, Failed, Failure, Inbound, ItemId, Kind, Outbound, PersonId, Receipt, Rich, Sentence,
    Style, Submission, Text, UserId,
};

/// Delivers what the core hands over.
pub async fn deliver(state: &State, core: &Core, out: &[Outbound]) -> Result<Receipt, Failure> {
    let Some(first) = out.first() else { return Ok(Receipt::default()) };
    let Chat::Direct { user, person } = &first.chat else {
        return Err(Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-rooms"), "mail has no rooms"));
    };
    if let Kind::Failed(failed) = &first.kind {
        return came_back(state, core, failed).await;
    }
    match compose::order(out) {
        Some(compose::FULL) => return show_all(core, user, person, first).await.map_err(closed),
        // What waited has gone before it.
        Some(_) => return Ok(Receipt::default()),
        None => {}
    }
    if address::split(&address::print(person)).is_none() {
        return Err(bad_address(&address::print(person), "not an address"));
    }
    if person.server() == state.config.domain {
        let sentence = Sentence::new("email.ours").with("person", address::print(person));
        return Err(Failure::permanent(Condition::ItemNotFound, sentence, "an address of our own domain"));
    }
    if let Kind::Reaction { target, keys } = &first.kind {
        if keys.is_empty() {
            // A reaction cannot be taken back (RFC 9078 has no word for it).
            return Ok(Receipt::default());
        }
        let text = Text { reply: Some(target.clone()), ..Text::plain(keys.join(" ")) };
        let said = Outbound { kind: Kind::Text(text), ..first.clone() };
        return letter(state, core, user, person, &[said], true).await;
    }
    letter(state, core, user, person, out, false).await
}

/// Sends one letter, or keeps its subject for the next one where nothing else was said.
async fn letter(
    state: &State,
    core: &Core,
    user: &UserId,
    person: &PersonId,
    out: &[Outbound],
    reaction: bool,
) -> Result<Receipt, Failure> {
    let (Some(first), Some(last)) = (out.first(), out.last()) else { return Ok(Receipt::default()) };
    let name = first.name.clone().unwrap_or_else(|| user.local().to_owned());
    let has_files = out.iter().any(|outbound| matches!(outbound.kind, Kind::File(_)));
    // Held until the mail has gone: so much memory its files take, several times over.
    let _room = match has_files {
        true => Some(state.packing.acquire().await.map_err(|error| Failure::temporary(error.to_string()))?),
        false => None,
    };
    let luggage = attach::pack(state, core, out).await?;
    let mut letter = compose::compose(&luggage.lines, &name);
    let subject_key = thread::subject_key(user, person);
    if letter.text.trim().is_empty() && luggage.files.is_empty() {
        if let Some(subject) = letter.subject {
            core.put(&subject_key, Some(subject.into_bytes())).await.map_err(closed)?;
        }
        return Ok(Receipt::default());
    }
    let waiting = core.get(&subject_key).await.map_err(closed)?;
    if letter.subject.is_none() {
        letter.subject = waiting.clone().and_then(|bytes| String::from_utf8(bytes).ok());
    }
    let spelling = core.get(&spelling_key(user, person)).await.map_err(closed)?;
    let to = spelling.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| address::print(person));
    let from = state.user_address(core, user).await.map_err(closed)?;
    let message_id = format!("pw.{}.{}@{}", core.install_id(), first.id, state.config.domain);

    let answered = answered(core, user, person, &letter, first).await.map_err(closed)?;
    // A retry finds its own mail as the last one.
    let answered = answered.filter(|known| known.id != message_id);
    let changed = |known: &Known, given: &str| {
        known.subject.as_deref().is_none_or(|old| subject::base(old) != subject::base(given))
    };
    let answered = answered.filter(|known| letter.subject.as_deref().is_none_or(|given| !changed(known, given)));
    let topic = match luggage.files.first() {
        Some(file) if letter.text.trim().is_empty() => &file.name,
        _ => &letter.text,
    };
    let subject = match (&letter.subject, &answered) {
        (Some(given), None) => given.clone(),
        (_, Some(known)) => known.subject.as_deref().map_or_else(|| subject::of_text(topic, &name), subject::answer),
        (None, None) => subject::of_text(topic, &name),
    };
    let references = answered.as_ref().map(Known::references_of_answer).unwrap_or_default();
    let jabber_id = user.to_string();
    let mail = to_mail::mail(&Parts {
        from: &from,
        name: &name,
        to: &to,
        subject: &subject,
        text: &letter.text,
        rich: letter.rich.as_ref(),
        message_id: &message_id,
        references: &references,
        at: first.at,
        trace: &core.install_id(),
        jabber_id: state.config.jabber_id.then_some(jabber_id.as_str()),
        reaction,
        files: &luggage.files,
    })
    .map_err(|error| bad_address(&to, &error))?;
    let mail = state.sign(mail, first.at)?;
    let envelope = format!("{}@{}", bounce::token(&core.key("bounce"), first.id), state.config.domain);
    state.sender.send(Envelope { from: &envelope, to: &to, id: &message_id }, &mail).await?;

    if reaction {
        // Nothing that is said later answers it.
        return Ok(Receipt { ids: vec![ItemId::new(&message_id)] });
    }
    let known = Known { id: message_id.clone(), references, subject: Some(subject), at: last.at.0 };
    // An answer to a mail belongs to the conversation of that mail, whatever the client calls its own.
    let named = letter.thread.filter(|_| letter.reply.is_none());
    let conversation = match &named {
        Some(named) => named.clone(),
        None => {
            let named = core.get(&thread::name_key(user, person, known.root())).await.ok().flatten();
            named.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| thread::name(known.root()))
        }
    };
    let mut puts = vec![
        (thread::last_key(user, person), Some(known.bytes())),
        (thread::mail_key(user, person, &message_id), Some(known.bytes())),
        (thread::thread_key(user, person, &conversation), Some(known.bytes())),
    ];
    if let Some(named) = named.filter(|named| named.len() <= MAX_NAME) {
        puts.push((thread::name_key(user, person, known.root()), Some(named.into_bytes())));
    }
    if waiting.is_some() {
        puts.push((subject_key, None));
    }
    // If this is not written, the next line starts a thread of its own; the mail itself is out.
    let _ = core.submit(Submission { puts, ..Submission::default() }).await;
    Ok(Receipt { ids: vec![ItemId::new(&message_id)] })
}

/// The longest name of a conversation that is given back.
const MAX_NAME: usize = 256;

/// What a letter answers: what the user pointed at, else the last mail of the conversation that their client names,
/// else the last mail of this chat if it is not old.
async fn answered(
    core: &Core,
    user: &UserId,
    person: &PersonId,
    letter: &Composed,
    first: &Outbound,
) -> Result<Option<Known>, Closed> {
    let replied = letter.reply.as_deref();
    for id in [replied, replied.and_then(thread::mail_of)].into_iter().flatten() {
        if let Some(bytes) = core.get(&thread::mail_key(user, person, id)).await? {
            return Ok(Known::read(&bytes));
        }
    }
    if let Some(named) = &letter.thread
        && let Some(bytes) = core.get(&thread::thread_key(user, person, named)).await?
    {
        return Ok(Known::read(&bytes));
    }
    let last = core.get(&thread::last_key(user, person)).await?;
    Ok(last.and_then(|bytes| Known::read(&bytes)).filter(|known| known.recent(first.at)))
}

/// The whole text of the mail that the user points at, or of the last one that was cut.
async fn show_all(core: &Core, user: &UserId, person: &PersonId, order: &Outbound) -> Result<Receipt, Closed> {
    let chat = &order.chat;
    let pointed = match &order.kind {
        Kind::Text(Text { reply: Some(target), .. }) => target.id.clone(),
        _ => None,
    };
    let last = core.get(&thread::cut_key(user, person)).await?;
    let id = pointed.or_else(|| Some(ItemId::new(&String::from_utf8(last?).ok()?)));
    let original = match id {
        Some(id) => match core.find(chat, &id).await? {
            Some(event) => core.original(event).await?,
            None => None,
        },
        None => None,
    };
    let mut pieces = original
        .as_deref()
        .map_or_else(Vec::new, |original| from_mail::whole(arrival::read(original).map_or(original, |kept| kept.mail)));
    if pieces.is_empty() {
        pieces.push(core.text(&Sentence::new("email.no-full"), None));
    }
    let events = pieces.into_iter().enumerate().map(|(n, body)| Inbound {
        // A retry shows nothing twice.
        id: Some(ItemId::new(&format!("full-{}-{n}", order.id))),
        other_ids: Vec::new(),
        chat: chat.clone(),
        sender: person.clone(),
        sender_name: None,
        at: core.now(),
        // What is quoted is shown as quoted.
        kind: Kind::Text(Text { style: Style::Notice, rich: Rich::new(quote::tree(&body)), ..Text::plain(body) }),
    });
    core.submit(Submission { events: events.collect(), ..Submission::default() }).await?;
    Ok(Receipt::default())
}

/// The XMPP side did not take a mail for which we had said 250: whoever wrote it is told, once, where that is safe.
async fn came_back(state: &State, core: &Core, failed: &Failed) -> Result<Receipt, Failure> {
    if failed.still_trying {
        return Ok(Receipt::default());
    }
    let told_key = format!("told/{}", failed.event);
    if core.get(&told_key).await.map_err(closed)?.is_some() {
        return Ok(Receipt::default());
    }
    let original = core.original(failed.event).await.map_err(closed)?;
    let kept = original.as_deref().and_then(arrival::read);
    let Some((kept, to)) = kept.and_then(|kept| Some((kept.report_to?, kept))).map(|(to, kept)| (kept, to)) else {
        debug!(event = %failed.event, "a mail that came back is not reported");
        core.loss("unreported-bounce");
        return Ok(Receipt::default());
    };
    let words = failed.sentence.args.iter().find(|(name, _)| name == "text").map_or("", |(_, text)| text.as_str());
    let text =
        Sentence::new("email.report").with("person", kept.recipient).with("why", core.text(&failed.sentence, None));
    let letter = from_mail::read(kept.mail, core.now());
    let message_id = format!("pw.{}.report-{}@{}", core.install_id(), failed.event, state.config.domain);
    let report = report::report(&report::Parts {
        domain: &state.config.domain,
        to,
        recipient: kept.recipient,
        condition: failed.condition,
        words,
        text: &core.text(&text, None),
        mail: kept.mail,
        answers: Some(letter.message_id.as_str()).filter(|id| !id.ends_with("@portway.invalid")),
        message_id: &message_id,
        at: core.now(),
        trace: &core.install_id(),
    });
    let report = state.sign(report, core.now())?;
    match state.sender.send(Envelope { from: "", to, id: &message_id }, &report).await {
        Ok(()) => {}
        // Nobody is left to be told.
        Err(Failure::Permanent { detail, .. }) => {
            debug!(event = %failed.event, detail, "a report was refused");
            core.loss("unreported-bounce");
        }
        Err(failure) => return Err(failure),
    }
    // If this is not written, a retry sends the same report with the same Message-ID.
    let _ = core.put(&told_key, Some(core.now().0.to_string().into_bytes())).await;
    Ok(Receipt::default())
}

fn closed(error: Closed) -> Failure {
    Failure::temporary(error.to_string())
}

fn bad_address(typed: &str, detail: &str) -> Failure {
    let sentence = Sentence::new("email.bad-address").with("typed", typed);
    Failure::permanent(Condition::JidMalformed, sentence, detail)
}
