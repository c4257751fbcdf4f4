//! Who comes, goes, is asked in and sent away, and what that makes of a room: a chat of two, or a room.

use serde_json::json;

use super::adapter::State;
use super::dm::Context;
use super::from_matrix::{self, Event};
use super::id::{self, percent};
use super::worker::{Trouble, inbound};
use crate::api::{Chat, Core, Failure, Inbound, Kind, Membership, PersonId, Sentence, Style, Text, UserId};

/// How many messages from before a ghost's arrival are fetched.
const MISSED: usize = 32;

/// Somebody came, went, was asked in or was sent away.
pub async fn changed(state: &State, core: &Core, event: &Event) -> Result<Vec<Inbound>, Trouble> {
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
    let name = event.content["displayname"].as_str().and_then(from_matrix::name);
    if let Some(name) = &name {
        state.cache_name(whom, name);
        core.seen(Ok(person.clone()), Some(name.clone()));
    }
    if membership == "join" {
        pictured(state, core, &person, whom, event.content["avatar_url"].as_str());
    }
    let Some(context) = state.context(&event.room_id).await? else { return Ok(Vec::new()) };
    if let Context::Direct { user, person: with } = &context {
        let (Ok(user), Some(with)) = (UserId::parse(user), id::read_person(with)) else { return Ok(Vec::new()) };
        return in_direct(state, core, event, user, with, person, membership).await;
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

/// A membership names a picture. It may be that of one room only, so that a change is but a reason to ask for the profile.
fn pictured(state: &State, core: &Core, person: &PersonId, mxid: &str, uri: Option<&str>) {
    let uri = uri.unwrap_or_default();
    if state.avatars.get(mxid).as_deref() != Some(uri) {
        state.avatars.set(mxid.to_owned(), uri.to_owned());
        core.pictured(person.clone());
    }
}

/// Somebody of Matrix came into a chat of two, or left it.
async fn in_direct(
    state: &State,
    core: &Core,
    event: &Event,
    user: UserId,
    with: PersonId,
    whom: PersonId,
    membership: &str,
) -> Result<Vec<Inbound>, Trouble> {
    match membership {
        "leave" | "ban" if whom == with => {
            state.forget_dm(&user, &with, &event.room_id).await?;
            // Nobody is left to talk to.
            if let Some(ghost) = state.ghosts.of(&user) {
                state.leave(&ghost, &event.room_id).await?;
            }
            Ok(Vec::new())
        }
        "join" if whom == with => {
            state.latest_dm(&user, &with, &event.room_id).await?;
            Ok(Vec::new())
        }
        // Not for every change of a name.
        "join" if event.unsigned["prev_content"]["membership"] != "join" => {
            let third = id::person(&whom);
            let name = state.cached_name(&third).unwrap_or_else(|| third.clone());
            let body = core.text(&Sentence::new("matrix.third-person").with("name", name).with("id", third), None);
            let text = Text { style: Style::Notice, ..Text::plain(body) };
            let context = Context::Direct { user: user.to_string(), person: id::person(&with) };
            Ok(inbound(state, &context, event, with, Kind::Text(text)).into_iter().collect())
        }
        _ => Ok(Vec::new()),
    }
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
    if !core.allows(&user) || !core.may_reach(&sender, &user).await {
        state.leave(ghost, &event.room_id).await?;
        return Ok(Vec::new());
    }
    let ghost = state.ghost(&user, None).await?;
    let stripped = event.unsigned["invite_room_state"].as_array();
    let named = stripped.into_iter().flatten().find_map(|state| match state["type"].as_str() {
        Some("m.room.name") => state["content"]["name"].as_str().and_then(from_matrix::name),
        Some("m.room.canonical_alias") => state["content"]["alias"].as_str().map(str::to_owned),
        _ => None,
    });
    // A chat that was upgraded is one still (see `dm::follow`).
    let known = matches!(state.context(&event.room_id).await?, Some(Context::Direct { .. }));
    let direct = known || event.content["is_direct"].as_bool().unwrap_or(false);
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
        if let Some(name) = members["joined"][&event.sender]["display_name"].as_str().and_then(from_matrix::name) {
            state.cache_name(&event.sender, &name);
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
