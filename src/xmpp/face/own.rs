//! The faces of users, put on their stand-ins in the network.
//!
//! A user's presence says that there is a picture, and which (XEP-0153); the picture itself and the name are those of the
//! card that their own server gives out for them. What anybody else says about them is not looked at.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use minidom::Element;
use portway_bridges::api::{Picture, UserId};
use tokio::time::Instant;
use tracing::debug;

use super::{CACHE, Faces, card};
use crate::store::AvatarRow;
use crate::xmpp::from_stanza::ns::NICK;
use crate::xmpp::iq::ns;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{OutStanza, Stanza, StanzaKind};

/// A user's card is asked for at most this often.
const PAUSE: Duration = Duration::from_secs(60);

/// How long their server may take.
const WAIT: Duration = Duration::from_secs(20);

/// The longest name, in characters.
const NAME: usize = 256;

/// What is under way, and when each user's card may be asked for again.
#[derive(Default)]
pub struct Own(Mutex<HashMap<UserId, Slot>>);

#[derive(Default)]
struct Slot {
    /// When the last one was asked for.
    last: Option<Instant>,
    /// What the user's presence said last, while it waits for its turn.
    waiting: Option<Said>,
    /// Whether somebody works on it.
    busy: bool,
    /// What was put on last.
    done: Option<Said>,
}

/// What a user's presence says of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    hash: Option<String>,
    nick: Option<String>,
}

impl Faces {
    /// Looks at the presence of a user: another picture or name than before goes to their stand-in, in its time.
    pub fn user(&self, presence: &Stanza, user: &UserId) {
        if presence.type_.is_some() {
            return;
        }
        let nick = presence.child("nick", NICK).map(|nick| nick.text().trim().chars().take(NAME).collect::<String>());
        let said = Said { hash: card::announced(&presence.element), nick: nick.filter(|nick| !nick.is_empty()) };
        if said.hash.is_none() && said.nick.is_none() {
            return;
        }
        let mut slots = self.0.own.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= CACHE {
            slots.retain(|_, slot| slot.busy);
            if slots.len() >= CACHE {
                // The next presence comes.
                return;
            }
        }
        let slot = slots.entry(user.clone()).or_default();
        if slot.done.as_ref() == Some(&said) && slot.waiting.is_none() {
            return;
        }
        slot.waiting = Some(said);
        if !std::mem::replace(&mut slot.busy, true) {
            tokio::spawn(self.clone().dress(user.clone()));
        }
    }

    /// Works for one user until nothing waits.
    async fn dress(self, user: UserId) {
        loop {
            let last = {
                let mut slots = self.0.own.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(slot) = slots.get_mut(&user) else { return };
                if slot.waiting.is_none() {
                    slot.busy = false;
                    return;
                }
                slot.last
            };
            if let Some(last) = last {
                tokio::time::sleep_until(last + PAUSE).await;
            }
            let said = {
                let mut slots = self.0.own.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(slot) = slots.get_mut(&user) else { return };
                let Some(said) = slot.waiting.take() else { continue };
                // That there is no picture, as servers say it at each login, asks nobody and costs nothing.
                if said.nick.is_some() || said.hash.as_ref().is_some_and(|hash| !hash.is_empty()) {
                    slot.last = Some(Instant::now());
                }
                slot.done = Some(said.clone());
                said
            };
            if let Err(reason) = self.put_on(&user, &said).await {
                debug!(network = %self.0.parts.network, reason, "a user's face was not put on");
                let mut slots = self.0.own.0.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(slot) = slots.get_mut(&user) {
                    // The next presence tries again.
                    slot.done = None;
                }
            }
        }
    }

    async fn put_on(&self, user: &UserId, said: &Said) -> Result<(), String> {
        let parts = &self.0.parts;
        let key = user.to_string();
        let kept = parts.store.avatar(&parts.network, &key).await.map_err(|error| error.to_string())?;
        let known = kept.map(|row| row.source);
        let news = said.hash.as_ref().filter(|hash| known.as_ref().unwrap_or(&String::new()) != *hash);
        let Some(hash) = news else {
            if said.nick.is_some() {
                let dressed = parts.adapter.dress(user, said.nick.as_deref(), None).await;
                return dressed.map_err(|failure| failure.to_string());
            }
            return Ok(());
        };
        let (name, bytes) = if hash.is_empty() { (None, None) } else { self.ask(user).await? };
        let picture = match bytes {
            Some(bytes) => self.convert(bytes.into()).await.map(|(source, media_type, bytes)| Picture {
                source,
                media_type,
                bytes: bytes.into(),
            }),
            None => Some(Picture::none()),
        };
        let name = said.nick.as_ref().or(name.as_ref());
        // A picture that cannot be shown leaves the one before.
        let dressed = parts.adapter.dress(user, name.map(String::as_str), picture.as_ref()).await;
        dressed.map_err(|failure| failure.to_string())?;
        let row = AvatarRow {
            source: hash.clone(),
            hash: picture.map(|picture| picture.source).unwrap_or_default(),
            media_type: String::new(),
            bytes: Vec::new(),
            at: parts.clock.now(),
        };
        parts.store.put_avatar(&parts.network, &key, Some(row)).await.map_err(|error| error.to_string())
    }

    /// Asks a user's server for their card: a name and a picture.
    async fn ask(&self, user: &UserId) -> Result<(Option<String>, Option<Vec<u8>>), String> {
        let parts = &self.0.parts;
        let to = Jid::parse(&user.to_string()).map_err(|error| error.to_string())?;
        let request = OutStanza::new(StanzaKind::Iq, &parts.domain.jid(), &to, Some("get"), None)
            .with(Element::bare("vCard", ns::VCARD));
        let answer = parts.link.iq(request, WAIT).await.map_err(|error| error.to_string())?;
        match (answer.type_.as_deref(), answer.child("vCard", ns::VCARD)) {
            (Some("result"), Some(found)) => Ok(card::read(found)),
            // There is no card, and so neither name nor picture (XEP-0054, section 3.1).
            (Some("result"), None) => Ok((None, None)),
            _ => Err("the user's server does not give out their card".to_owned()),
        }
    }
}
