//! Turns committed transactions into events, in order.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tracing::{debug, warn};

use super::adapter::State;
use super::dm::Context;
use super::error::MatrixError;
use super::from_matrix::{self, Event, Transaction};
use super::ghost::stored;
use super::id::{self, percent};
use crate::api::{
    Chat, Core, Failure, Inbound, InboxId, ItemId, Kind, Membership, PersonId, Sentence, Stop, Submission, Timestamp,
    UserId,
};

/// How many transactions are read at once: each may be large.
const READ: usize = 8;

/// How many messages from before a ghost's arrival are fetched.
const MISSED: usize = 32;

/// How long the store is left alone after it refused.
const PAUSE: Duration = Duration::from_secs(2);

/// The first wait after a look-up failed; each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait, also where the homeserver asks for more.
const LONGEST: Duration = Duration::from_secs(60);

/// How often an event is tried that the homeserver itself fails on, while the others wait.
const TRIES: u32 = 8;

/// Why an event cannot be worked on now.
enum Trouble {
    /// The homeserver or the store is away: nothing would get on, and everything waits in order.
    Everything(Failure),
    /// It fails on this event (a room of a server that is gone); the others must not wait for ever.
    ThisOne(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Temporary { .. } => Self::Everything(failure),
            Failure::Permanent { .. } => Self::ThisOne(failure),
        }
    }
}

impl From<MatrixError> for Trouble {
    fn from(error: MatrixError) -> Self {
        match &error {
            // With an `errcode` the homeserver speaks, and not a proxy in front of one that is down.
            MatrixError::Refused { status: 500 | 502 | 504, code, .. } if !code.is_empty() => {
                Self::ThisOne(error.failure())
            }
            _ => error.failure().into(),
        }
    }
}

/// What goes to the core in one transaction.
#[derive(Default)]
struct Outcome {
    events: Vec<Inbound>,
    puts: Vec<(String, Option<Vec<u8>>)>,
}

/// Works until the stop signal, first on what an earlier run left.
pub async fn run(state: Arc<State>, core: Core, stop: Stop) {
    let mut done: Option<InboxId> = None;
    loop {
        let items = match core.inbox(done, READ).await {
            Ok(items) => items,
            Err(error) => {
                warn!(%error, "the inbox cannot be read, trying again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => continue,
                    () = stop.cancelled() => return,
                }
            }
        };
        if items.is_empty() {
            tokio::select! {
                () = state.arrived.notified() => continue,
                () = stop.cancelled() => return,
            }
        }
        for item in items {
            tokio::select! {
                () = work(&state, &core, item.id, &item.raw) => {}
                () = stop.cancelled() => return,
            }
            done = Some(item.id);
        }
    }
}

/// Works on one transaction until it is done.
async fn work(state: &State, core: &Core, item: InboxId, raw: &[u8]) {
    let transaction: Transaction = match serde_json::from_slice(raw) {
        Ok(transaction) => transaction,
        Err(error) => {
            let _ = core.bury(item, &error.to_string()).await;
            return;
        }
    };
    let mut outcome = Outcome::default();
    for raw in transaction.events {
        let event: Event = match serde_json::from_str(raw.get()) {
            Ok(event) => event,
            Err(error) => {
                debug!(%error, "an event that cannot be read");
                core.loss("unreadable-event");
                continue;
            }
        };
        for attempt in 0_u32.. {
            let trouble = match translate(state, core, &event, &mut outcome.puts).await {
                Ok(inbound) => {
                    outcome.events.extend(inbound);
                    break;
                }
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Everything(Failure::Temporary { retry_after, detail, .. }) => {
                    warn!(detail, "events wait for the homeserver");
                    tokio::time::sleep(pause(retry_after, attempt)).await;
                }
                Trouble::ThisOne(Failure::Temporary { retry_after, detail, .. }) if attempt + 1 < TRIES => {
                    warn!(detail, "the homeserver fails on an event, trying again");
                    tokio::time::sleep(pause(retry_after, attempt)).await;
                }
                Trouble::Everything(failure) | Trouble::ThisOne(failure) => {
                    warn!(%failure, event = event.event_id, "an event was given up");
                    core.loss("lookup");
                    break;
                }
            }
        }
    }
    let Outcome { events, puts } = outcome;
    let submission = Submission { events, puts, completes: Some(item), ..Submission::default() };
    while let Err(error) = core.submit(submission.clone()).await {
        warn!(%error, "events cannot be stored, trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// How long to wait after this many tries, by the homeserver's own hint where it gave one.
fn pause(hint: Option<Duration>, attempt: u32) -> Duration {
    hint.unwrap_or_else(|| FIRST * 2_u32.pow(attempt.min(10))).min(LONGEST)
}

/// What one event is to us. What must be remembered with it goes to `puts`, only on success.
async fn translate(
    state: &State,
    core: &Core,
    event: &Event,
    puts: &mut Vec<(String, Option<Vec<u8>>)>,
) -> Result<Vec<Inbound>, Trouble> {
    if event.type_ == "m.room.member" {
        return member(state, core, event).await;
    }
    Ok(said(state, core, event, puts).await?.into_iter().collect())
}

/// What somebody said.
async fn said(
    state: &State,
    core: &Core,
    event: &Event,
    puts: &mut Vec<(String, Option<Vec<u8>>)>,
) -> Result<Option<Inbound>, Trouble> {
    if state.ghosts.ours(&event.sender) {
        return Ok(None);
    }
    let (Some(sender), Some(context)) = (id::read_person(&event.sender), state.context(&event.room_id).await?) else {
        return Ok(None);
    };
    let kind = if event.type_ == "m.room.encrypted" {
        match encrypted(state, core, event, &context, puts).await? {
            Some(kind) => kind,
            None => return Ok(None),
        }
    } else {
        match from_matrix::message(event) {
            Some(kind) => kind,
            None => return Ok(None),
        }
    };
    Ok(inbound(state, &context, event, sender, kind))
}

/// An event in the chat that its room is to us.
fn inbound(state: &State, context: &Context, event: &Event, sender: PersonId, kind: Kind) -> Option<Inbound> {
    let chat = match context {
        Context::Direct { user, .. } => Chat::Direct { user: UserId::parse(user).ok()?, person: sender.clone() },
        Context::Room => Chat::Room(id::read_room(&event.room_id)?),
    };
    Some(Inbound {
        id: Some(ItemId::new(&event.event_id)),
        other_ids: Vec::new(),
        chat,
        sender_name: state.cached_name(&event.sender),
        sender,
        at: Timestamp(event.origin_server_ts),
        kind,
    })
}

/// Encrypted messages: one notice to either side per room and sender, never silence. That it was given is stored
/// together with the event, so that a crash in between costs neither.
async fn encrypted(
    state: &State,
    core: &Core,
    event: &Event,
    context: &Context,
    puts: &mut Vec<(String, Option<Vec<u8>>)>,
) -> Result<Option<Kind>, Trouble> {
    let key = format!("encrypted/{}/{}", event.room_id, event.sender);
    if puts.iter().any(|(put, _)| *put == key) || core.get(&key).await.map_err(|error| stored(&error))?.is_some() {
        core.loss("encrypted");
        return Ok(None);
    }
    let ghost = match context {
        Context::Direct { user, .. } => UserId::parse(user).ok().and_then(|user| state.ghosts.of(&user)),
        Context::Room => state.cached_room_ghost(&event.room_id),
    };
    if let Some(ghost) = ghost {
        let sentence = Sentence::new("matrix.cannot-read").with("user", ghost.clone());
        let body = json!({ "msgtype": "m.notice", "body": core.text(&sentence, None) });
        let txn = format!("pw{}-enc-{}", core.install_id(), event.event_id.trim_start_matches('$'));
        let path =
            format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", percent(&event.room_id), percent(&txn));
        match state.client.put(&path, Some(&ghost), &body).await {
            Err(error) if matches!(error.failure(), Failure::Temporary { .. }) => return Err(error.into()),
            _ => {}
        }
    }
    puts.push((key, Some(b"true".to_vec())));
    Ok(Some(Kind::Encrypted { scheme: "Matrix".to_owned() }))
}

/// Somebody came, went, was asked in or was sent away.
async fn member(state: &State, core: &Core, event: &Event) -> Result<Vec<Inbound>, Trouble> {
    let (Some(whom), Some(membership)) = (event.state_key.as_deref(), event.content["membership"].as_str()) else {
        return Ok(Vec::new());
    };
    if state.ghosts.ours(whom) {
        if state.ghosts.ours(&event.sender) {
            if let ("join", Some(shown)) = (membership, event.content["displayname"].as_str()) {
                state.renamed(whom, &event.room_id, shown).await;
            }
            return Ok(Vec::new());
        }
        let (Some(user), Some(sender)) = (state.ghosts.user(whom), id::read_person(&event.sender)) else {
            return Ok(Vec::new());
        };
        return match membership {
            "invite" => invited(state, core, event, user, whom, sender).await,
            "leave" | "ban" => match state.context(&event.room_id).await? {
                Some(Context::Direct { person, .. }) => {
                    if let Some(person) = id::read_person(&person) {
                        state.forget_dm(&user, &person, &event.room_id).await?;
                    }
                    Ok(Vec::new())
                }
                Some(context @ Context::Room) => {
                    let reason = event.content["reason"].as_str().map(str::to_owned);
                    let kick = Membership::Kick { person: None, user: Some(user), reason, ban: membership == "ban" };
                    Ok(inbound(state, &context, event, sender, Kind::Membership(kick)).into_iter().collect())
                }
                None => Ok(Vec::new()),
            },
            _ => Ok(Vec::new()),
        };
    }
    let Some(person) = id::read_person(whom) else { return Ok(Vec::new()) };
    let name = event.content["displayname"].as_str().map(str::to_owned);
    if let Some(name) = &name {
        state.cache_name(whom, name);
        core.seen(Ok(person.clone()), Some(name.clone()));
    }
    let Some(context) = state.context(&event.room_id).await? else { return Ok(Vec::new()) };
    if let Context::Direct { user, .. } = &context {
        if matches!(membership, "leave" | "ban")
            && let Ok(user) = UserId::parse(user)
        {
            state.forget_dm(&user, &person, &event.room_id).await?;
        }
        return Ok(Vec::new());
    }
    let reason = event.content["reason"].as_str().map(str::to_owned);
    let change = match membership {
        "join" => Membership::Join { name },
        "leave" if event.sender == whom => Membership::Leave { reason },
        "leave" | "ban" => {
            let by = id::read_person(&event.sender).unwrap_or_else(|| person.clone());
            let kick = Membership::Kick { person: Some(person), user: None, reason, ban: membership == "ban" };
            return Ok(inbound(state, &context, event, by, Kind::Membership(kick)).into_iter().collect());
        }
        _ => return Ok(Vec::new()),
    };
    Ok(inbound(state, &context, event, person, Kind::Membership(change)).into_iter().collect())
}

/// A person asks a user's ghost in. A chat of two is joined; a room is offered to the user, who may join it as a MUC.
async fn invited(
    state: &State,
    core: &Core,
    event: &Event,
    user: UserId,
    ghost: &str,
    sender: PersonId,
) -> Result<Vec<Inbound>, Trouble> {
    if !core.allows(&user) {
        state.leave(ghost, &event.room_id).await?;
        return Ok(Vec::new());
    }
    let ghost = state.ghost(&user, None).await?;
    let stripped = event.unsigned["invite_room_state"].as_array();
    let named = stripped.into_iter().flatten().find_map(|state| match state["type"].as_str() {
        Some("m.room.name") => state["content"]["name"].as_str().map(str::to_owned),
        Some("m.room.canonical_alias") => state["content"]["alias"].as_str().map(str::to_owned),
        _ => None,
    });
    let direct = event.content["is_direct"].as_bool().unwrap_or(false);
    if direct || named.is_none() {
        let path = format!("/_matrix/client/v3/join/{}", percent(&event.room_id));
        match state.client.post(&path, Some(&ghost), &json!({})).await {
            Ok(_) => {}
            // The invitation was taken back, or the room is gone.
            Err(error) if error.forbidden() || error.is("M_NOT_FOUND") => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        state.cache_room_ghost(&event.room_id, &ghost);
        let path = format!("/_matrix/client/v3/rooms/{}/joined_members", percent(&event.room_id));
        let members = state.client.get(&path, Some(&ghost)).await?;
        let count = members["joined"].as_object().map_or(0, serde_json::Map::len);
        if let Some(name) = members["joined"][&event.sender]["display_name"].as_str() {
            state.cache_name(&event.sender, name);
        }
        if direct || count <= 2 {
            state.remember_dm(&user, &sender, &event.room_id, 0).await?;
            return Ok(missed(state, &event.room_id, &user).await?);
        }
    }
    let Some(room) = id::read_room(&event.room_id) else { return Ok(Vec::new()) };
    state.set_context(&event.room_id, Context::Room).await?;
    let reason = event.content["reason"].as_str().map(str::to_owned);
    let kind = Kind::Membership(Membership::Invite { room, user: user.clone(), reason, name: named });
    let context = Context::Direct { user: user.to_string(), person: event.sender.clone() };
    Ok(inbound(state, &context, event, sender, kind).into_iter().collect())
}

/// What was said between the invitation and the ghost's arrival: the homeserver does not push that. What it pushes all
/// the same is recognised by its id.
async fn missed(state: &State, room: &str, user: &UserId) -> Result<Vec<Inbound>, Failure> {
    let Some(id) = id::read_room(room) else { return Ok(Vec::new()) };
    let items = state.past(&id, MISSED).await?.into_iter();
    Ok(items
        .filter_map(|item| {
            let sender = item.sender.ok()?;
            Some(Inbound {
                id: Some(item.id),
                other_ids: Vec::new(),
                chat: Chat::Direct { user: user.clone(), person: sender.clone() },
                sender_name: item.name,
                sender,
                at: item.at,
                kind: item.kind,
            })
        })
        .collect())
}

/// What is not stored: who is writing.
pub async fn signals(state: &State, core: &Core, signals: &[Value]) {
    for signal in signals.iter().filter(|signal| signal["type"] == "m.typing") {
        let Some(room) = signal["room_id"].as_str() else { continue };
        let Ok(Some(context)) = state.context(room).await else { continue };
        let now: Vec<String> = signal["content"]["user_ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|user| user.as_str().filter(|user| !state.ghosts.ours(user)).map(str::to_owned))
            .take(50)
            .collect();
        let before = state.typing.get(room).unwrap_or_default();
        state.typing.set(room.to_owned(), now.clone());
        let begun = now.iter().filter(|user| !before.contains(user)).map(|user| (user, true));
        let ended = before.iter().filter(|user| !now.contains(user)).map(|user| (user, false));
        for (mxid, active) in begun.chain(ended) {
            let Some(person) = id::read_person(mxid) else { continue };
            let event = Event {
                event_id: String::new(),
                type_: "m.typing".to_owned(),
                room_id: room.to_owned(),
                sender: mxid.clone(),
                origin_server_ts: core.now().0,
                state_key: None,
                content: Value::Null,
                redacts: None,
                unsigned: Value::Null,
            };
            if let Some(inbound) = inbound(state, &context, &event, person, Kind::Typing { active }) {
                core.signal(Inbound { id: None, ..inbound });
            }
        }
    }
}
