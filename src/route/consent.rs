//! Whether a user wants to hear of somebody whom they do not know, and what becomes of what strangers say.
//!
//! A stranger is a person whom the user has not written to, does not have among their contacts, who is not the user
//! themselves by a link, and whom no rule lets through. What they say is delivered, held until the user agrees, or turned
//! away: the admin says which for all, and each registered user for themselves ([`House::policy`]).

use std::sync::Arc;
use std::time::Duration;

use portway_bridges::api::{
    Chat, Condition, Failed, Inbound, Kind, Membership, PersonId, Sentence, Stop, Text, Timestamp, UserId,
};
use tracing::{error, warn};

use super::item::{Item, Meta, Speaker};
use super::said::{self, Said};
use super::{event, key, stored};
use crate::command::House;
use crate::command::house::Policy;
use crate::store::{Consent, Holding, NewEvent, Reason, StoreError, TurnedAway};
use crate::xmpp::address;

/// How many events of one stranger are held for one user.
pub const OF_ONE: u32 = 20;

/// How many events of all strangers are held for one user.
pub const OF_ALL: u32 = 100;

/// How long they are held.
pub const HELD_FOR: Duration = Duration::from_secs(14 * 86_400);

/// How much of the first line is shown, in characters.
const LINE: usize = 200;

/// How often it is looked whether something was held for too long.
const LOOK: Duration = Duration::from_secs(600);

/// How long a store that refuses is left alone before the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// How many are told, or looked at, in one go.
const PAGE: usize = 100;

/// Whether a user knows a person: nothing that the person says needs their consent.
///
/// # Errors
/// [`StoreError`].
pub async fn knows(house: &House, user: &UserId, person: &PersonId) -> Result<bool, StoreError> {
    let (store, network) = (&house.store, &house.network);
    let chat = key::chat(&Chat::Direct { user: user.clone(), person: person.clone() });
    if store.is_known(network, &chat).await? || house.rules.lets_through(user, person).await? {
        return Ok(true);
    }
    if let Ok(contact) = address::of_person(person) {
        let subscription = store.subscription(network, &user.to_string(), &contact).await?;
        if subscription.from || subscription.to {
            return Ok(true);
        }
    }
    let link = store.link_of(network, &house.adapter.print_person(person)).await?;
    Ok(link.is_some_and(|link| link.user == user.to_string()))
}

/// What an event from the network has to do with its user's consent.
///
/// # Errors
/// [`StoreError`].
pub async fn of_event(house: &House, inbound: &Inbound, item: &Item) -> Result<Consent, StoreError> {
    let Chat::Direct { user, person } = &inbound.chat else { return Ok(Consent::Free) };
    if matches!(inbound.kind, Kind::Failed(_)) {
        return Ok(Consent::Free);
    }
    let choices = house.choices(user).await?;
    let policy = house.policy(choices.as_ref());
    if policy == Policy::Deliver {
        return Ok(Consent::Free);
    }
    let own = matches!(item.speaker, Speaker::User { .. });
    if own || knows(house, user, person).await? {
        return Ok(Consent::Given);
    }
    let question = line_of(house, &inbound.kind).map(|what| {
        let lang = choices.as_ref().map(|choices| choices.language.as_str()).filter(|lang| !lang.is_empty());
        let id = house.adapter.print_person(person);
        let face = item.meta.face.clone().or_else(|| address::of_person(person).ok()).unwrap_or_default();
        // Somebody else may speak in a chat with them.
        let name = inbound.sender_name.clone().filter(|_| inbound.sender == *person);
        let sentence = Sentence::new("stranger.question")
            .with("name", name.unwrap_or_else(|| person.local().to_owned()))
            .with("id", id)
            .with("network", house.descriptor.name)
            .with("what", house.texts.text(&what, lang))
            .with("jid", format!("{face}@{}", house.component));
        let text = house.texts.text(&sentence, lang);
        Box::new(said::row(&house.network, &Said { user: user.clone(), text, at: house.clock.now(), asks: true }))
    });
    Ok(Consent::Needed(Box::new(Holding {
        of_user: key::of_user(user),
        most_of_chat: OF_ONE,
        most_of_user: OF_ALL,
        refuse: policy == Policy::Refuse,
        question,
    })))
}

/// What a user is shown of an event before they agree. `None` where it says nothing to somebody who does not know its
/// sender.
#[must_use]
pub fn line_of(house: &House, kind: &Kind) -> Option<Sentence> {
    let shown = |text: &str| {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        let cut: String = line.chars().take(LINE).collect();
        let more = if cut.len() < line.len() { "…" } else { "" };
        Sentence::new("stranger.says").with("line", format!("{cut}{more}"))
    };
    Some(match kind {
        Kind::Text(Text { subject: Some(subject), body, .. }) if !subject.trim().is_empty() => {
            shown(&format!("{} – {}", subject.trim(), body.lines().next().unwrap_or_default()))
        }
        Kind::Text(text) => shown(&text.body),
        Kind::File(file) => Sentence::new("stranger.file").with("name", file.name.clone()),
        Kind::Location { uri, text } => shown(text.as_deref().unwrap_or(uri)),
        Kind::Encrypted { scheme } => Sentence::new("core.encrypted").with("scheme", scheme.clone()),
        Kind::Membership(Membership::Invite { room, name, .. }) => {
            let room = name.clone().unwrap_or_else(|| house.adapter.print_room(room));
            Sentence::new("stranger.invites").with("room", room)
        }
        _ => return None,
    })
}

/// Tells the senders of what was turned away, brings what is held in line with what is chosen now, and turns away what was
/// held for too long, until the stop signal.
pub async fn look_after(house: Arc<House>, stop: Stop) {
    if let Err(error) = review(&house, "").await {
        warn!(network = %house.network, %error, "what is held for consent cannot be read");
    }
    loop {
        let pause = match step(&house).await {
            Ok(()) => LOOK,
            Err(error) => {
                error!(network = %house.network, %error, "senders of what was turned away cannot be told yet");
                PAUSE
            }
        };
        tokio::select! {
            () = house.router.something_turned_away() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn step(house: &House) -> Result<(), StoreError> {
    let before = Timestamp(house.clock.now().0.saturating_sub(HELD_FOR.as_millis().try_into().unwrap_or(i64::MAX)));
    house.store.expire(&house.network, before).await?;
    loop {
        let page = house.store.turned_away(&house.network, PAGE).await?;
        for turned in &page {
            let word = word(house, turned);
            if house.store.told(turned.id, word).await? {
                house.router.wake();
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// What tells the sender of an event that it was turned away. `None` where it said nothing that they would miss.
fn word(house: &House, turned: &TurnedAway) -> Option<NewEvent> {
    let item = match stored::read(&turned.body) {
        Ok(item) => item,
        Err(error) => {
            error!(network = %house.network, event = %turned.id, %error, "nobody can be told that this was turned away");
            return None;
        }
    };
    line_of(house, &item.kind)?;
    let Chat::Direct { user, .. } = &item.chat else { return None };
    let (condition, key) = match turned.reason {
        Reason::Refused => (Condition::PolicyViolation, "stranger.refused"),
        Reason::Expired => (Condition::PolicyViolation, "stranger.expired"),
        Reason::Full => (Condition::ResourceConstraint, "stranger.full"),
        Reason::Unreachable => (Condition::ServiceUnavailable, "stranger.unreachable"),
    };
    let days = HELD_FOR.as_secs() / 86_400;
    let sentence = Sentence::new(key).with("user", user.to_string()).with("days", days.to_string());
    let failed = Failed { event: turned.id, condition, sentence, still_trying: false };
    let told = Item {
        chat: item.chat,
        speaker: Speaker::Gateway,
        at: house.clock.now(),
        kind: Kind::Failed(failed),
        meta: Meta::default(),
    };
    let mut row = event::to_network(&house.network, &told);
    row.dedupe = Some(format!("turned/{}", turned.id));
    Some(row)
}

/// Brings what is held in chats whose keys begin with `prefix` in line with what is chosen now.
///
/// # Errors
/// [`StoreError`].
pub async fn review(house: &House, prefix: &str) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = house.store.held(&house.network, prefix, after.as_deref(), PAGE).await?;
        for held in &page {
            let Some(chat @ Chat::Direct { .. }) = key::read_direct(&held.chat) else { continue };
            let Chat::Direct { user, .. } = &chat else { continue };
            match house.policy(house.choices(user).await?.as_ref()) {
                Policy::Deliver => drop(house.router.welcome(&chat).await?),
                Policy::Ask => {}
                Policy::Refuse => {
                    house.router.turn_away(user, Some(&chat), Reason::Refused).await?;
                }
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.chat.clone()),
            _ => return Ok(()),
        }
    }
}
