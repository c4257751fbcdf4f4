//! Reactions: on Matrix each is an event of its own, which goes by redaction; the core has the whole set of each sender. Which
//! event is which is kept in the adapter's own storage, together with what follows from it.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::adapter::State;
use super::error::MatrixError;
use super::from_matrix::Event;
use super::id::percent;
use crate::api::{Core, EventId, ItemId, Kind, Receipt, Sentence, Submission, Target, emoji};

/// How many reactions of one sender to one message are carried.
const MOST: usize = 32;

/// The longest reaction that is said in words, in characters.
const LONGEST: usize = 64;

/// What is to be remembered: keys and values of the adapter's own storage.
pub type Puts = Vec<(String, Option<Vec<u8>>)>;

/// The reactions of one sender to one event, in their order.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Set {
    at: i64,
    /// The reaction, and the event that brought it.
    keys: Vec<(String, String)>,
}

/// To which set an event belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    at: i64,
    target: String,
    sender: String,
}

impl Set {
    fn kind(&self, target: &str) -> Kind {
        let keys = self.keys.iter().map(|(key, _)| key.clone()).collect();
        Kind::Reaction { target: Target::by_id(target), keys }
    }
}

fn set_key(room: &str, target: &str, sender: &str) -> String {
    format!("reactions/{room}/{target}/{sender}")
}

fn member_key(event: &str) -> String {
    format!("reaction/{event}")
}

/// A value as it will be once `puts` are stored.
pub async fn read<T: serde::de::DeserializeOwned>(
    core: &Core,
    puts: &Puts,
    key: &str,
) -> Result<Option<T>, crate::api::Closed> {
    let bytes = match puts.iter().rev().find(|(put, _)| put == key) {
        Some((_, value)) => value.clone(),
        None => core.get(key).await?,
    };
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A value as it is stored.
pub fn value(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// Somebody has reacted. What is no emoji is said in words, because that is all a client of XMPP shows (XEP-0444).
pub async fn added(core: &Core, event: &Event, puts: &mut Puts) -> Result<Option<Kind>, crate::api::Closed> {
    let relation = &event.content["m.relates_to"];
    let (Some(target), Some(key)) = (relation["event_id"].as_str(), relation["key"].as_str()) else { return Ok(None) };
    if relation["rel_type"] != "m.annotation" || target.len() > super::id::MAX || key.trim().is_empty() {
        return Ok(None);
    }
    if !emoji::is_emoji(key) {
        let name = match event.content["shortcode"].as_str().or(event.content["com.beeper.reaction.shortcode"].as_str())
        {
            Some(name) => name,
            // A picture of the homeserver's media repository, which is nothing to read.
            None if key.starts_with("mxc:") => ":?:",
            None => key,
        };
        let name: String = super::from_matrix::name(name).unwrap_or_default().chars().take(LONGEST).collect();
        let body = core.text(&Sentence::new("core.reacted").with("keys", name), None);
        let text = crate::api::Text { reply: Some(Target::by_id(target)), ..crate::api::Text::plain(body) };
        return Ok(Some(Kind::Text(text)));
    }
    let name = set_key(&event.room_id, target, &event.sender);
    let mut set: Set = read(core, puts, &name).await?.unwrap_or_default();
    let known = set.keys.iter().any(|(known, by)| known == key || *by == event.event_id);
    if !known && set.keys.len() >= MOST {
        core.loss("reaction");
        return Ok(None);
    }
    if !known {
        set.keys.push((key.to_owned(), event.event_id.clone()));
    }
    set.at = core.now().0;
    let member = Member { at: set.at, target: target.to_owned(), sender: event.sender.clone() };
    puts.push((member_key(&event.event_id), value(&member)));
    puts.push((name, value(&set)));
    Ok(Some(set.kind(target)))
}

/// An event was redacted: if it was a reaction, whose it was, and what is left of the set; nothing where that is one of ours.
pub async fn taken_back(
    core: &Core,
    room: &str,
    event: &str,
    puts: &mut Puts,
) -> Result<Option<(String, Kind)>, crate::api::Closed> {
    let Some(member) = read::<Member>(core, puts, &member_key(event)).await? else { return Ok(None) };
    let name = set_key(room, &member.target, &member.sender);
    let mut set: Set = read(core, puts, &name).await?.unwrap_or_default();
    set.keys.retain(|(_, by)| by != event);
    set.at = core.now().0;
    puts.push((member_key(event), None));
    puts.push((name, if set.keys.is_empty() { None } else { value(&set) }));
    Ok(Some((member.sender, set.kind(&member.target))))
}

impl State {
    /// Makes the reactions of a ghost to an event these: sends those that are new, redacts those that are gone. The same
    /// event of the store finds the same difference, until the new set is stored: a repeated attempt shows nothing twice.
    pub async fn react(
        &self,
        id: EventId,
        ghost: &str,
        room: &str,
        target: &str,
        keys: &[String],
    ) -> Result<Receipt, MatrixError> {
        let core = self.core().map_err(|failure| MatrixError::Unreachable(failure.to_string()))?;
        let closed = |error: crate::api::Closed| MatrixError::Unreachable(error.to_string());
        let name = set_key(room, target, ghost);
        let old: Set = read(core, &Vec::new(), &name).await.map_err(closed)?.unwrap_or_default();
        let mut set = Set { at: core.now().0, keys: Vec::with_capacity(keys.len()) };
        let (mut puts, mut receipt) = (Puts::new(), Receipt::default());
        let base = format!("/_matrix/client/v3/rooms/{}", percent(room));
        for (n, key) in keys.iter().take(MOST).enumerate() {
            if let Some(known) = old.keys.iter().find(|(known, _)| known == key) {
                set.keys.push(known.clone());
                continue;
            }
            let txn = self.transaction(id, n);
            let content = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": target, "key": key } });
            let sent = self.client.put(&format!("{base}/send/m.reaction/{txn}"), Some(ghost), &content).await;
            let event = match sent {
                Ok(answer) => answer["event_id"].as_str().unwrap_or_default().to_owned(),
                // It is there already; the event is known no more, and cannot be taken back.
                Err(error) if error.is("M_DUPLICATE_ANNOTATION") => String::new(),
                Err(error) => return Err(error),
            };
            if !event.is_empty() {
                let member = Member { at: set.at, target: target.to_owned(), sender: ghost.to_owned() };
                puts.push((member_key(&event), value(&member)));
                receipt.ids.push(ItemId::new(&event));
            }
            set.keys.push((key.clone(), event));
        }
        let gone = old.keys.iter().filter(|(key, event)| !event.is_empty() && !keys.contains(key));
        for (n, (_, event)) in gone.enumerate() {
            let txn = self.transaction(id, MOST + n);
            let path = format!("{base}/redact/{}/{txn}", percent(event));
            match self.client.put(&path, Some(ghost), &json!({})).await {
                Ok(_) => {}
                // Gone already.
                Err(MatrixError::Refused { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
            puts.push((member_key(event), None));
        }
        puts.push((name, if set.keys.is_empty() { None } else { value(&set) }));
        core.submit(Submission { puts, ..Submission::default() }).await.map_err(closed)?;
        Ok(receipt)
    }
}
