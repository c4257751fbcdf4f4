//! Turns committed transactions into events, in order.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::adapter::State;
use super::annotation::Puts;
use super::dm::{self, Context};
use super::error::MatrixError;
use super::from_matrix::{Event, Transaction};
use super::said::{self, Said};
use super::{calls, id, members, notices, power};
use crate::api::{Chat, Core, Failure, Inbound, InboxId, ItemId, Kind, PersonId, Stop, Submission, Timestamp, UserId};

/// How many transactions are read at once: each may be large.
const READ: usize = 8;

/// How long the store is left alone after it refused.
const PAUSE: Duration = Duration::from_secs(2);

/// The first wait after a look-up failed; each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait, also where the homeserver asks for more.
const LONGEST: Duration = Duration::from_secs(60);

/// How often an event is tried that the homeserver itself fails on, while the others wait.
const TRIES: u32 = 8;

/// Why an event cannot be worked on now.
pub enum Trouble {
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
    puts: Puts,
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
            Ok(event) if proper(&event) => event,
            Ok(_) => {
                debug!("an event with ids that cannot be");
                core.loss("unreadable-event");
                continue;
            }
            Err(error) => {
                debug!(%error, "an event that cannot be read");
                core.loss("unreadable-event");
                continue;
            }
        };
        for attempt in 0_u32.. {
            let trouble = match translate(state, core, &event, &outcome.events, &mut outcome.puts).await {
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

/// Whether the ids of an event are as long as ids may be (Matrix appendices, section 4.2).
fn proper(event: &Event) -> bool {
    let state_key = event.state_key.as_deref().unwrap_or_default();
    [event.event_id.as_str(), &event.room_id, &event.sender, &event.type_, state_key]
        .iter()
        .all(|id| id.len() <= id::MAX)
        && !event.event_id.is_empty()
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
    earlier: &[Inbound],
    puts: &mut Puts,
) -> Result<Vec<Inbound>, Trouble> {
    match event.type_.as_str() {
        "m.room.member" => return members::changed(state, core, event).await,
        "m.room.power_levels" if event.state_key.is_some() => return Ok(power::changed(state, event).await?),
        _ => {}
    }
    // What a try that fails half-way wants remembered is forgotten with it.
    let before = puts.len();
    let inbound = said(state, core, event, earlier, puts).await;
    if inbound.is_err() {
        puts.truncate(before);
    }
    Ok(inbound?.into_iter().collect())
}

/// What somebody said.
async fn said(
    state: &State,
    core: &Core,
    event: &Event,
    earlier: &[Inbound],
    puts: &mut Puts,
) -> Result<Option<Inbound>, Trouble> {
    if state.ghosts.ours(&event.sender) {
        return Ok(None);
    }
    let (Some(sender), Some(context)) = (id::read_person(&event.sender), state.context(&event.room_id).await?) else {
        return Ok(None);
    };
    let own = own_chat(core, &context, &event.sender, &sender).await;
    let kind = match event.type_.as_str() {
        "m.room.encrypted" => notices::encrypted(state, core, event, &context, puts).await?,
        // Said at once, and not when the first message has been lost.
        "m.room.encryption" if event.state_key.is_some() => {
            notices::encrypted(state, core, event, &context, puts).await?
        }
        "m.room.canonical_alias" if event.state_key.is_some() => state.renamed_by_alias(event).await?,
        "m.room.tombstone" if event.state_key.is_some() => dm::follow(state, event, &context, &sender).await?,
        "m.call.invite" => calls::invited(state, core, event, &context).await?,
        type_ if calls::MEMBERS.contains(&type_) && event.state_key.is_some() => {
            calls::met(state, core, event, &context, puts).await?
        }
        _ => {
            let chat = own.clone().or_else(|| chat(&context, event, &sender));
            let said = said::said(state, core, event, &context, chat.as_ref(), earlier, puts).await?;
            let Some(Said { kind, sender: of }) = said else { return Ok(None) };
            if let Some(of) = of.filter(|of| *of != event.sender) {
                // Somebody with the right to do so has taken back what another has said.
                let (Some(person), event) = (id::read_person(&of), Event { sender: of.clone(), ..event.clone() })
                else {
                    return Ok(None);
                };
                return Ok(inbound(state, &context, &event, person, kind));
            }
            Some(kind)
        }
    };
    let Some(kind) = kind else { return Ok(None) };
    if let Context::Direct { user, person } = &context
        && *person == event.sender
        && let Ok(user) = UserId::parse(user)
    {
        // Where there are several chats with one person, the answer goes where they wrote last.
        state.latest_dm(&user, &sender, &event.room_id).await?;
    }
    let inbound = inbound(state, &context, event, sender, kind);
    Ok(inbound.map(|inbound| match own {
        Some(chat) => Inbound { chat, ..inbound },
        None => inbound,
    }))
}

/// The chat with the other one, in which the user's own account speaks; nothing where anybody else does.
pub async fn own_chat(core: &Core, context: &Context, mxid: &str, sender: &PersonId) -> Option<Chat> {
    let Context::Direct { user, person } = context else { return None };
    if person == mxid {
        return None;
    }
    let (user, person) = (UserId::parse(user).ok()?, id::read_person(person)?);
    core.is_user(sender, &user).await.then_some(Chat::Direct { user, person })
}

/// The chat that the room of an event is to us.
fn chat(context: &Context, event: &Event, sender: &PersonId) -> Option<Chat> {
    Some(match context {
        Context::Direct { user, .. } => Chat::Direct { user: UserId::parse(user).ok()?, person: sender.clone() },
        Context::Room => Chat::Room(id::read_room(&event.room_id)?),
    })
}

/// An event in the chat that its room is to us.
pub fn inbound(state: &State, context: &Context, event: &Event, sender: PersonId, kind: Kind) -> Option<Inbound> {
    let chat = chat(context, event, &sender)?;
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
