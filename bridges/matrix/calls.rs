//! Calls are not carried: who calls is told so at once, and who was called hears of it.

use serde_json::{Value, json};

use super::adapter::State;
use super::annotation::{Puts, read, value};
use super::dm::Context;
use super::from_matrix::Event;
use super::ghost::stored;
use super::id::percent;
use super::tidy::Aged;
use super::to_matrix;
use super::worker::Trouble;
use crate::api::{Core, Failure, Kind, Sentence, Style, Text, UserId};

/// How long a call rings where its event does not say, in milliseconds.
const RINGS: i64 = 60_000;

/// The types of the state that says who is in a call of MatrixRTC.
pub const MEMBERS: [&str; 2] = ["m.call.member", "org.matrix.msc3401.call.member"];

/// Somebody calls (client-server API, section 13.7).
pub async fn invited(state: &State, core: &Core, event: &Event, context: &Context) -> Result<Option<Kind>, Trouble> {
    let Some(call) = event.content["call_id"].as_str() else { return Ok(None) };
    let lifetime = event.content["lifetime"].as_i64().unwrap_or(RINGS);
    let rings = core.now().0.saturating_sub(event.origin_server_ts) < lifetime;
    if let Context::Direct { user, .. } = context
        && let Some(ghost) = UserId::parse(user).ok().and_then(|user| state.ghosts.of(&user))
    {
        // The first version knows no refusal.
        let (type_, content) = match &event.content["version"] {
            Value::String(version) => {
                ("m.call.reject", json!({ "call_id": call, "version": version, "party_id": "portway" }))
            }
            _ => ("m.call.hangup", json!({ "call_id": call, "version": 0 })),
        };
        if rings {
            send(state, core, event, &ghost, type_, &content).await?;
        }
        tell(state, core, event, &ghost).await?;
    }
    Ok(Some(words(state, core, event)))
}

/// Somebody is in a call that others may join, or has left it. Said once for each call of each person.
pub async fn met(
    state: &State,
    core: &Core,
    event: &Event,
    context: &Context,
    puts: &mut Puts,
) -> Result<Option<Kind>, Trouble> {
    let key = format!("called/{}/{}", event.room_id, event.sender);
    let known = read::<Aged>(core, puts, &key).await.map_err(|error| stored(&error))?.is_some();
    let there = event.content.as_object().is_some_and(|content| !content.is_empty())
        && event.content["memberships"].as_array().is_none_or(|memberships| !memberships.is_empty());
    match (there, known) {
        (true, true) | (false, false) => Ok(None),
        (false, true) => {
            puts.push((key, None));
            Ok(None)
        }
        (true, false) => {
            puts.push((key, value(&Aged { at: core.now().0 })));
            if let Context::Direct { user, .. } = context
                && let Some(ghost) = UserId::parse(user).ok().and_then(|user| state.ghosts.of(&user))
            {
                tell(state, core, event, &ghost).await?;
            }
            Ok(Some(words(state, core, event)))
        }
    }
}

/// What the one who was called reads.
fn words(state: &State, core: &Core, event: &Event) -> Kind {
    let who = state.cached_name(&event.sender).unwrap_or_else(|| event.sender.clone());
    let body = core.text(&Sentence::new("matrix.called").with("who", who), None);
    Kind::Text(Text { style: Style::Notice, ..Text::plain(body) })
}

/// Tells the one who calls.
async fn tell(state: &State, core: &Core, event: &Event, ghost: &str) -> Result<(), Trouble> {
    let body = to_matrix::notice(&core.text(&Sentence::new("matrix.no-calls"), None));
    send(state, core, event, ghost, "m.room.message", &body).await
}

async fn send(
    state: &State,
    core: &Core,
    event: &Event,
    ghost: &str,
    type_: &str,
    content: &Value,
) -> Result<(), Trouble> {
    let txn = format!("pw{}-{type_}-{}", core.install_id(), event.event_id.trim_start_matches('$'));
    let path = format!("/_matrix/client/v3/rooms/{}/send/{type_}/{}", percent(&event.room_id), percent(&txn));
    match state.client.put(&path, Some(ghost), content).await {
        Err(error) if matches!(error.failure(), Failure::Temporary { .. }) => Err(error.into()),
        // Who may not speak there is not answered.
        _ => Ok(()),
    }
}
