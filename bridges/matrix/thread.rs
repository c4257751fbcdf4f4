//! Threads. On Matrix a thread is named by the event that began it, on XMPP by whatever its first client wrote (XEP-0201). A
//! thread that began on XMPP keeps that name there, and its first message is what the others on Matrix point at; one that
//! began on Matrix goes by its first event on XMPP.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::adapter::State;
use super::annotation::{Puts, read, value};
use super::error::MatrixError;
use super::from_matrix::Event;
use crate::api::{Core, ItemId, Kind, Submission, Target};

/// A thread by its name on XMPP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    at: i64,
    /// The event that began it.
    root: String,
    /// The latest event in it, for clients that show no threads.
    last: String,
}

/// What a thread is called on XMPP.
#[derive(Debug, Serialize, Deserialize)]
struct Name {
    at: i64,
    name: String,
}

fn thread_key(room: &str, name: &str) -> String {
    let hash: String = Sha256::digest(name)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("thread/{room}/{hash}")
}

fn name_key(room: &str, root: &str) -> String {
    format!("thread-name/{room}/{root}")
}

/// The thread of an event on its way to XMPP, by its name there.
pub async fn inward(core: &Core, event: &Event, root: &str, puts: &mut Puts) -> Result<ItemId, crate::api::Closed> {
    let known: Option<Name> = read(core, puts, &name_key(&event.room_id, root)).await?;
    let name = known.map_or_else(|| root.to_owned(), |known| known.name);
    let thread = Thread { at: core.now().0, root: root.to_owned(), last: event.event_id.clone() };
    puts.push((thread_key(&event.room_id, &name), value(&thread)));
    Ok(ItemId::new(&name))
}

/// The thread of an item on its way to Matrix, and what it answers.
pub fn of(kind: &Kind) -> Option<(&ItemId, Option<&Target>)> {
    match kind {
        Kind::Text(text) => text.thread.as_ref().map(|thread| (thread, text.reply.as_ref())),
        Kind::File(file) => file.thread.as_ref().map(|thread| (thread, file.reply.as_ref())),
        _ => None,
    }
}

impl State {
    /// The thread of this name in this room, if anything was said in it.
    pub async fn thread(&self, room: &str, name: &ItemId) -> Result<Option<Thread>, MatrixError> {
        let core = self.core().map_err(|failure| MatrixError::Unreachable(failure.to_string()))?;
        let key = thread_key(room, name.as_str());
        read(core, &Vec::new(), &key).await.map_err(|error| MatrixError::Unreachable(error.to_string()))
    }

    /// Notes that something was said in a thread of this name; in one that is new, it is what began it.
    pub async fn threaded(
        &self,
        room: &str,
        name: &ItemId,
        known: Option<Thread>,
        event: &ItemId,
    ) -> Result<(), MatrixError> {
        let core = self.core().map_err(|failure| MatrixError::Unreachable(failure.to_string()))?;
        let at = core.now().0;
        let mut puts = Puts::new();
        let root = known.map_or_else(
            || {
                let name = Name { at, name: name.to_string() };
                puts.push((name_key(room, event.as_str()), value(&name)));
                event.to_string()
            },
            |known| known.root,
        );
        puts.push((thread_key(room, name.as_str()), value(&Thread { at, root, last: event.to_string() })));
        let submission = Submission { puts, ..Submission::default() };
        core.submit(submission).await.map(|_| ()).map_err(|error| MatrixError::Unreachable(error.to_string()))
    }
}

/// The relation by which an event is in a thread. What it answers goes before the latest event, which is only there for
/// clients that show no threads.
pub fn relation(thread: &Thread, answers: Option<&Target>) -> Value {
    let answers = answers.and_then(|target| target.id.as_ref());
    json!({
        "rel_type": "m.thread",
        "event_id": thread.root,
        "is_falling_back": answers.is_none(),
        "m.in_reply_to": { "event_id": answers.map_or(thread.last.as_str(), ItemId::as_str) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_a_thread_is_no_fallback() {
        let thread = Thread { at: 0, root: "$r".into(), last: "$l".into() };
        assert_eq!(
            relation(&thread, None).to_string(),
            r#"{"event_id":"$r","is_falling_back":true,"m.in_reply_to":{"event_id":"$l"},"rel_type":"m.thread"}"#
        );
        assert_eq!(
            relation(&thread, Some(&Target::by_id("$t"))).to_string(),
            r#"{"event_id":"$r","is_falling_back":false,"m.in_reply_to":{"event_id":"$t"},"rel_type":"m.thread"}"#
        );
    }
}
