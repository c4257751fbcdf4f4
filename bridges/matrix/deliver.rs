//! From the core to the homeserver: into which room an item goes, as whom, and what is sent there.

use serde_json::json;

use super::adapter::State;
use super::error::MatrixError;
use super::id::{self, percent};
use super::to_matrix::{self, Wire};
use super::{ghost, thread};
use crate::api::{
    Chat, EventId, Failure, ItemId, Kind, Membership, Outbound, PersonId, Receipt, Sentence, Target, UserId,
};

impl State {
    /// Brings one item to the homeserver.
    pub async fn deliver(&self, out: &Outbound) -> Result<Receipt, Failure> {
        let result = self.bring(out).await;
        match (&out.kind, result) {
            // That something was read is worth no word of what went wrong.
            (Kind::Displayed { .. }, Err(Failure::Permanent { .. })) => Ok(Receipt::default()),
            (_, result) => result,
        }
    }

    async fn bring(&self, out: &Outbound) -> Result<Receipt, Failure> {
        let events = match &out.kind {
            Kind::File(file) => {
                let name = out.name.as_deref().filter(|_| matches!(out.chat, Chat::Direct { .. }));
                let ghost = self.ghost(&out.user, name).await?;
                self.file(out, file, &ghost).await?
            }
            _ => self.events(out),
        };
        match &out.chat {
            Chat::Room(room) => {
                // The name is a nick, which is the room's and not the user's.
                let ghost = self.ghost(&out.user, None).await?;
                let room_id = id::room(room);
                if matches!(out.kind, Kind::Membership(Membership::Leave { .. })) {
                    // Who has come back since stays.
                    let since = self.entered.get(&ghost::nick_key(&room_id, &ghost));
                    if since.is_none_or(|since| since <= out.at.0) {
                        self.leave(&ghost, &room_id).await?;
                    }
                    return Ok(Receipt::default());
                }
                let nick = out.name.as_deref().unwrap_or_default();
                let sent = match self.call(&ghost, &room_id, nick).await {
                    Ok(()) => self.carry(out, &events, &ghost, &room_id).await,
                    Err(error) => Err(error),
                };
                match sent {
                    // Kicked out, or never in after a restore: one more try from inside.
                    Err(error) if error.forbidden() => {
                        self.enter(&out.user, nick, room).await?;
                        self.carry(out, &events, &ghost, &room_id).await.map_err(|error| error.failure())
                    }
                    result => result.map_err(|error| error.failure()),
                }
            }
            Chat::Direct { person, .. } => {
                if speaks_only_of_another(&out.kind) {
                    // Where that other one was said there is a room, or there was.
                    let Some(room) = self.dm_if_any(&out.user, person).await? else {
                        self.core()?.loss("relation");
                        return Ok(Receipt::default());
                    };
                    let ghost = self.ghost(&out.user, out.name.as_deref()).await?;
                    return self.carry(out, &events, &ghost, &room).await.map_err(|error| error.failure());
                }
                if events.is_empty() {
                    return Ok(Receipt::default());
                }
                if matches!(out.kind, Kind::Failed(_)) && self.has_left(&out.user, person).await? {
                    return Ok(Receipt::default());
                }
                let ghost = self.ghost(&out.user, out.name.as_deref()).await?;
                let room = self.dm(&out.user, &ghost, person).await?;
                match self.carry(out, &events, &ghost, &room).await {
                    Err(error) if error.forbidden() || error.is("M_NOT_FOUND") => {
                        self.forget_dm(&out.user, person, &room).await?;
                        let room = self.dm(&out.user, &ghost, person).await?;
                        self.carry(out, &events, &ghost, &room).await.map_err(|error| error.failure())
                    }
                    result => result.map_err(|error| error.failure()),
                }
            }
        }
    }

    /// Whether the user keeps the person out, and their ghost has left the chat: that says enough, and nobody is asked into
    /// another one to be told more.
    async fn has_left(&self, user: &UserId, person: &PersonId) -> Result<bool, Failure> {
        Ok(!self.core()?.may_reach(person, user).await && self.known_dm(user, person).await?.is_none())
    }

    /// Brings an item into a room that the ghost is in.
    async fn carry(&self, out: &Outbound, events: &[Wire], ghost: &str, room: &str) -> Result<Receipt, MatrixError> {
        match &out.kind {
            Kind::Reaction { target: Target { id: Some(target), .. }, keys } => {
                return self.react(out.id, ghost, room, target.as_str(), keys).await;
            }
            Kind::Displayed { target: Target { id: Some(target), .. } } => {
                let room = percent(room);
                let path = format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{}", percent(target.as_str()));
                return self.client.post(&path, Some(ghost), &json!({})).await.map(|_| Receipt::default());
            }
            _ => {}
        }
        let Some((name, answers)) = thread::of(&out.kind) else { return self.send(out.id, events, ghost, room).await };
        let mut events = events.to_vec();
        let known = self.thread(room, name).await?;
        if let Some(thread) = &known {
            for (n, event) in events.iter_mut().enumerate() {
                if let Wire::Message(content) | Wire::Sticker(content) = event {
                    content["m.relates_to"] = thread::relation(thread, answers.filter(|_| n == 0));
                }
            }
        }
        let receipt = self.send(out.id, &events, ghost, room).await?;
        if let Some(first) = receipt.ids.first() {
            self.threaded(room, name, known, first).await?;
        }
        Ok(receipt)
    }

    /// What an event is on Matrix.
    fn events(&self, out: &Outbound) -> Vec<Wire> {
        let Kind::Failed(failed) = &out.kind else { return to_matrix::events(&out.kind, &self.ghosts) };
        let text = |sentence: &Sentence| self.core().map(|core| core.text(sentence, None)).unwrap_or_default();
        let why = text(&failed.sentence);
        vec![Wire::Message(to_matrix::notice(&text(&Sentence::new("matrix.not-delivered").with("why", why))))]
    }

    /// The transaction id of the n-th thing that is sent for an event: it comes from the stored row, so that the homeserver
    /// shows a repeated attempt once.
    pub fn transaction(&self, id: EventId, part: usize) -> String {
        let install = self.core().map(|core| core.install_id()).unwrap_or_default();
        format!("pw{install}-{id}-{part}")
    }

    /// Sends what an event is on Matrix.
    async fn send(&self, id: EventId, events: &[Wire], ghost: &str, room: &str) -> Result<Receipt, MatrixError> {
        let base = format!("/_matrix/client/v3/rooms/{}", percent(room));
        let mut ids = Vec::with_capacity(events.len());
        for (part, event) in events.iter().enumerate() {
            let txn = self.transaction(id, part);
            let answer = match event {
                Wire::Message(content) => {
                    self.client.put(&format!("{base}/send/m.room.message/{txn}"), Some(ghost), content).await?
                }
                Wire::Sticker(content) => {
                    self.client.put(&format!("{base}/send/m.sticker/{txn}"), Some(ghost), content).await?
                }
                Wire::Redact(target) => {
                    let path = format!("{base}/redact/{}/{txn}", percent(target));
                    self.client.put(&path, Some(ghost), &json!({})).await?
                }
            };
            ids.extend(answer["event_id"].as_str().map(ItemId::new));
        }
        if self.writing.get(&ghost::nick_key(room, ghost)).is_some() {
            // XMPP says by the message itself that its writer has stopped.
            self.write(ghost, room, false).await;
        }
        Ok(Receipt { ids })
    }
}

/// Whether an item says nothing by itself, so that nobody is asked into a room for it.
fn speaks_only_of_another(kind: &Kind) -> bool {
    matches!(kind, Kind::Reaction { .. } | Kind::Retract { .. } | Kind::Displayed { .. })
}
