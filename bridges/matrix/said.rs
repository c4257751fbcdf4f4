//! What an event says, with what only the homeserver or our own storage knows of it: whose reaction was taken back, what an
//! answer answers, by which name a thread goes on XMPP.

use std::time::Duration;

use serde_json::Value;

use super::adapter::State;
use super::annotation::{self, Puts, value};
use super::dm::Context;
use super::from_matrix::{self, Event};
use super::ghost::stored;
use super::id::percent;
use super::thread;
use super::tidy::Aged;
use super::worker::Trouble;
use crate::api::{Chat, Core, Inbound, ItemId, Kind, Target, UserId};

/// How long the homeserver may take to tell what an answer answers.
const QUOTE: Duration = Duration::from_secs(5);

/// What an event says, and whose doing it is where that is not its sender's.
pub struct Said {
    pub kind: Kind,
    pub sender: Option<String>,
}

impl From<Kind> for Said {
    fn from(kind: Kind) -> Self {
        Self { kind, sender: None }
    }
}

/// What a message, a reaction or a redaction says. `earlier`: what is known already and not yet stored.
pub async fn said(
    state: &State,
    core: &Core,
    event: &Event,
    context: &Context,
    chat: Option<&Chat>,
    earlier: &[Inbound],
    puts: &mut Puts,
) -> Result<Option<Said>, Trouble> {
    match event.type_.as_str() {
        "m.reaction" => {
            let kind = annotation::added(core, event, puts).await.map_err(|error| stored(&error))?;
            return Ok(kind.map(Said::from));
        }
        "m.room.redaction" => return redacted(state, core, event, context, chat, earlier, puts).await,
        _ => {}
    }
    let Some(mut kind) = from_matrix::message(event) else { return Ok(None) };
    let gone = gone_key(&event.event_id);
    if state.any_gone(core).await.map_err(|error| stored(&error))?
        && annotation::read::<Aged>(core, puts, &gone).await.map_err(|error| stored(&error))?.is_some()
    {
        // It was taken back before it came.
        puts.push((gone, None));
        return Ok(None);
    }
    let (reply, thread) = match &mut kind {
        Kind::Text(text) => (text.reply.as_mut(), text.thread.as_mut()),
        Kind::File(file) => (file.reply.as_mut(), file.thread.as_mut()),
        _ => (None, None),
    };
    if let Some(reply) = reply {
        reply.quote = quote(state, event, context, reply).await;
    }
    if let Some(thread) = thread {
        *thread = thread::inward(core, event, thread.clone().as_str(), puts).await.map_err(|error| stored(&error))?;
    }
    Ok(Some(kind.into()))
}

/// A redaction: of a reaction, of a message, or of what nobody here has seen.
async fn redacted(
    state: &State,
    core: &Core,
    event: &Event,
    context: &Context,
    chat: Option<&Chat>,
    earlier: &[Inbound],
    puts: &mut Puts,
) -> Result<Option<Said>, Trouble> {
    let Some(kind @ Kind::Retract { .. }) = from_matrix::message(event) else { return Ok(None) };
    let Kind::Retract { target: Target { id: Some(target), .. } } = &kind else { return Ok(None) };
    if target.as_str().len() > super::id::MAX {
        return Ok(None);
    }
    let taken = annotation::taken_back(core, &event.room_id, target.as_str(), puts).await;
    if let Some((sender, kind)) = taken.map_err(|error| stored(&error))? {
        // A ghost's reaction that a moderator removes is no doing of anybody on Matrix that XMPP has a word for.
        return Ok((!state.ghosts.ours(&sender)).then_some(Said { kind, sender: Some(sender) }));
    }
    if earlier.iter().any(|earlier| earlier.id.as_ref() == Some(target)) {
        return Ok(Some(kind.into()));
    }
    if let Some(chat) = chat
        && core.find(chat, target).await.map_err(|error| stored(&error))?.is_some()
    {
        return Ok(Some(kind.into()));
    }
    match fetch(state, event, context, target).await {
        Some(found) => {
            let said = matches!(found["type"].as_str(), Some("m.room.message" | "m.sticker" | "m.room.encrypted"));
            Ok(said.then_some(kind.into()))
        }
        None => {
            // It may be on its way still, from another server.
            state.some_gone();
            puts.push((gone_key(target.as_str()), value(&Aged { at: core.now().0 })));
            Ok(None)
        }
    }
}

fn gone_key(event: &str) -> String {
    format!("gone/{event}")
}

/// The first lines of what a message answers, as the homeserver has it now. Best effort.
async fn quote(state: &State, event: &Event, context: &Context, target: &Target) -> Option<String> {
    let found = fetch(state, event, context, target.id.as_ref()?).await?;
    let mut found: Event = serde_json::from_value(found).ok()?;
    // The homeserver adds the latest edit.
    let edited = &found.unsigned["m.relations"]["m.replace"]["content"]["m.new_content"];
    if edited.is_object() {
        found.content = edited.clone();
    }
    match from_matrix::message(&found)? {
        Kind::Text(text) => Target::quote(&text.body),
        Kind::File(file) => Target::quote(&file.caption.map_or(file.name, |caption| caption.body)),
        Kind::Location { uri, text } => Target::quote(&text.unwrap_or(uri)),
        _ => None,
    }
}

/// Another event of the room of an event, if the homeserver lets our ghost there see it in time.
async fn fetch(state: &State, event: &Event, context: &Context, wanted: &ItemId) -> Option<Value> {
    let ghost = match context {
        Context::Direct { user, .. } => state.ghosts.of(&UserId::parse(user).ok()?),
        Context::Room => state.room_ghost(&event.room_id).await.ok()?,
    };
    let path = format!("/_matrix/client/v3/rooms/{}/event/{}", percent(&event.room_id), percent(wanted.as_str()));
    tokio::time::timeout(QUOTE, state.client.get(&path, Some(&ghost?))).await.ok()?.ok()
}

impl State {
    /// Whether anything was taken back before it came: looks once, and is told of what comes later.
    async fn any_gone(&self, core: &Core) -> Result<bool, crate::api::Closed> {
        if let Some(any) = *self.gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Ok(any);
        }
        let any = !core.scan("gone/", None, 1).await?.is_empty();
        self.gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(any);
        Ok(any)
    }

    fn some_gone(&self) {
        *self.gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(true);
    }
}
