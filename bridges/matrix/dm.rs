//! Chats of two: a room for each pair of user and person, made by the first message.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::adapter::State;
use super::from_matrix::{self, Event};
use super::ghost::stored;
use super::id::{self, percent};
use crate::api::{Failure, Kind, PersonId, UserId};

/// How many rooms of one chat are looked at that an earlier try left behind.
const LEFT_BEHIND: u32 = 8;

/// What a room is to us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// A chat of two.
    Direct {
        /// The user.
        user: String,
        /// The person's full id.
        person: String,
    },
    /// A room.
    Room,
}

/// The room of a pair.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Portal {
    /// The room, while it can be used.
    room: Option<String>,
    /// Counts the rooms of this pair: part of the alias by which a room is found again after a crash.
    generation: u32,
}

impl State {
    /// The room in which a user's ghost writes to a person; made where there is none.
    pub async fn dm(&self, user: &UserId, ghost: &str, person: &PersonId) -> Result<String, Failure> {
        let key = portal_key(user, person);
        if let Some(room) = self.cached_dm(&key) {
            return Ok(room);
        }
        let portal = {
            // What is read here must not be put into the cache after another has changed it.
            let _turn = self.portals.lock().await;
            let portal = self.portal(&key).await?;
            if let Some(room) = portal.as_ref().and_then(|portal| portal.room.clone()) {
                self.cache_dm(&key, &room);
                return Ok(room);
            }
            portal
        };
        let generation = portal.map_or(0, |portal| portal.generation);
        let (room, generation) = self.make_dm(user, ghost, person, generation).await?;
        self.remember_dm(user, person, &room, generation).await?;
        Ok(room)
    }

    /// The room of a pair, if there is one now.
    pub async fn dm_if_any(&self, user: &UserId, person: &PersonId) -> Result<Option<String>, Failure> {
        let key = portal_key(user, person);
        match self.cached_dm(&key) {
            Some(room) => Ok(Some(room)),
            None => Ok(self.portal(&key).await?.and_then(|portal| portal.room)),
        }
    }

    /// The room of a pair can be used no more: the next message makes another.
    pub async fn forget_dm(&self, user: &UserId, person: &PersonId, room: &str) -> Result<(), Failure> {
        let key = portal_key(user, person);
        let _turn = self.portals.lock().await;
        if self.cached_dm(&key).as_deref() == Some(room) {
            self.uncache_dm(&key);
        }
        let Some(portal) = self.portal(&key).await? else { return Ok(()) };
        if portal.room.as_deref() != Some(room) {
            return Ok(());
        }
        self.put(&key, &Portal { room: None, generation: portal.generation + 1 }).await
    }

    /// The room of the pair, where there is one that can be used.
    pub async fn known_dm(&self, user: &UserId, person: &PersonId) -> Result<Option<String>, Failure> {
        Ok(self.portal(&portal_key(user, person)).await?.and_then(|portal| portal.room))
    }

    /// The user's ghost leaves the room of the pair; a later message makes another.
    pub async fn leave_dm(&self, user: &UserId, person: &PersonId) -> Result<(), Failure> {
        let room = self.known_dm(user, person).await?;
        let (Some(ghost), Some(room)) = (self.ghosts.of(user), room) else { return Ok(()) };
        self.leave(&ghost, &room).await?;
        self.forget_dm(user, person, &room).await
    }

    /// From now on this is the room of the pair.
    pub async fn remember_dm(
        &self,
        user: &UserId,
        person: &PersonId,
        room: &str,
        generation: u32,
    ) -> Result<(), Failure> {
        let key = portal_key(user, person);
        let _turn = self.portals.lock().await;
        let generation = self.portal(&key).await?.map_or(generation, |portal| portal.generation.max(generation));
        self.set_context(room, Context::Direct { user: user.to_string(), person: id::person(person) }).await?;
        self.put(&key, &Portal { room: Some(room.to_owned()), generation }).await?;
        self.cache_dm(&key, room);
        Ok(())
    }

    /// The person is there, and writes there: answers go there from now on.
    pub async fn latest_dm(&self, user: &UserId, person: &PersonId, room: &str) -> Result<(), Failure> {
        if self.cached_dm(&portal_key(user, person)).as_deref() == Some(room) {
            return Ok(());
        }
        self.remember_dm(user, person, room, 0).await
    }

    /// Makes the room of this generation or, where its rooms cannot be used any more, of a later one; says which.
    async fn make_dm(
        &self,
        user: &UserId,
        ghost: &str,
        person: &PersonId,
        generation: u32,
    ) -> Result<(String, u32), Failure> {
        let mxid = id::person(person);
        let profile = format!("/_matrix/client/v3/profile/{}", percent(&mxid));
        match self.client.get(&profile, Some(ghost)).await {
            Ok(_) => {}
            Err(error) if error.hides_profile() => {}
            Err(error) => return Err(error.of_person(&mxid, person.server(), &self.config.server_name)),
        }
        for generation in generation..generation.saturating_add(LEFT_BEHIND) {
            if let Some(room) = self.make_generation(user, ghost, person, generation).await? {
                return Ok((room, generation));
            }
        }
        Err(Failure::temporary("every room of this chat was left before it was used"))
    }

    /// Makes the room of one generation. Its alias is the same each time, so that a crash in between does not make two.
    /// `None` where there is one already that cannot be used.
    async fn make_generation(
        &self,
        user: &UserId,
        ghost: &str,
        person: &PersonId,
        generation: u32,
    ) -> Result<Option<String>, Failure> {
        let mxid = id::person(person);
        let digest = Sha256::digest(format!("{user}\0{mxid}\0{generation}"));
        let hash: String = digest[..10].iter().map(|byte| format!("{byte:02x}")).collect();
        let alias = format!("{}dm_{hash}", self.config.user_prefix);
        let body = json!({
            "preset": "trusted_private_chat",
            "visibility": "private",
            "is_direct": true,
            "invite": [mxid],
            "room_alias_name": alias,
        });
        match self.client.post("/_matrix/client/v3/createRoom", Some(ghost), &body).await {
            Ok(answer) => answer["room_id"]
                .as_str()
                .map(|room| Some(room.to_owned()))
                .ok_or_else(|| Failure::temporary("the homeserver made a room and did not say which")),
            Err(error) if error.is("M_ROOM_IN_USE") => {
                let full = percent(&format!("#{alias}:{}", self.config.server_name));
                let answer = self.client.get(&format!("/_matrix/client/v3/directory/room/{full}"), Some(ghost)).await;
                let answer = answer.map_err(|error| error.failure())?;
                let room = answer["room_id"].as_str().ok_or_else(|| Failure::temporary("the alias has no room"))?;
                self.ask_again(ghost, person, room).await
            }
            Err(error) => Err(error.of_person(&mxid, person.server(), &self.config.server_name)),
        }
    }

    /// Looks at a room that an earlier try left behind. A homeserver makes the room before it invites, so that nobody may
    /// have been asked in; and who was may have left by now. `None` where the room cannot be used.
    async fn ask_again(&self, ghost: &str, person: &PersonId, room: &str) -> Result<Option<String>, Failure> {
        let mxid = id::person(person);
        let base = format!("/_matrix/client/v3/rooms/{}", percent(room));
        let path = format!("{base}/state/m.room.member/{}", percent(&mxid));
        match self.client.get(&path, Some(ghost)).await {
            Ok(member) if matches!(member["membership"].as_str(), Some("join" | "invite")) => Ok(Some(room.to_owned())),
            Ok(_) => Ok(None),
            Err(error) if error.is("M_NOT_FOUND") => {
                let invite = json!({ "user_id": mxid });
                match self.client.post(&format!("{base}/invite"), Some(ghost), &invite).await {
                    Ok(_) => Ok(Some(room.to_owned())),
                    Err(error) => Err(error.of_person(&mxid, person.server(), &self.config.server_name)),
                }
            }
            // The ghost itself is not in it any more.
            Err(error) if error.forbidden() => Ok(None),
            Err(error) => Err(error.failure()),
        }
    }

    async fn portal(&self, key: &str) -> Result<Option<Portal>, Failure> {
        let bytes = self.core()?.get(key).await.map_err(|error| stored(&error))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// What a room is to us, if we know it.
    pub async fn context(&self, room: &str) -> Result<Option<Context>, Failure> {
        if let Some(context) = self.cached_context(room) {
            return Ok(Some(context));
        }
        let bytes = self.core()?.get(&format!("room/{room}")).await.map_err(|error| stored(&error))?;
        let context: Option<Context> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(context) = &context {
            self.cache_context(room, context);
        }
        Ok(context)
    }

    /// From now on the room is this to us.
    pub async fn set_context(&self, room: &str, context: Context) -> Result<(), Failure> {
        if self.cached_context(room).as_ref() == Some(&context) {
            return Ok(());
        }
        self.put(&format!("room/{room}"), &context).await?;
        self.cache_context(room, &context);
        Ok(())
    }

    /// Writes a small value.
    pub async fn put(&self, key: &str, value: &impl Serialize) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(value).map_err(|error| Failure::temporary(error.to_string()))?;
        self.core()?.put(key, Some(bytes)).await.map_err(|error| stored(&error))
    }
}

/// The room lives on elsewhere. A chat of two is followed without a word; of a room its occupants are told, and by which
/// server it can be reached is kept for them.
pub async fn follow(
    state: &State,
    event: &Event,
    context: &Context,
    sender: &PersonId,
) -> Result<Option<Kind>, Failure> {
    let next = event.content["replacement_room"].as_str().filter(|next| id::read_room(next).is_some());
    let Some(next) = next else { return Ok(from_matrix::message(event)) };
    let Context::Direct { user, person } = context else {
        state.core()?.put(&via_key(next), Some(sender.server().into())).await.map_err(|error| stored(&error))?;
        return Ok(from_matrix::message(event));
    };
    let (Ok(user), Some(person)) = (UserId::parse(user), id::read_person(person)) else { return Ok(None) };
    state.set_context(next, context.clone()).await?;
    let ghost = state.ghost_id(&user)?;
    let path = format!("/_matrix/client/v3/join/{}?server_name={1}&via={1}", percent(next), percent(sender.server()));
    match state.client.post(&path, Some(&ghost), &json!({})).await.map_err(|error| error.failure()) {
        Ok(_) => state.remember_dm(&user, &person, next, 0).await?,
        Err(failure @ Failure::Temporary { .. }) => return Err(failure),
        // Closed, until somebody asks us in.
        Err(Failure::Permanent { .. }) => {}
    }
    Ok(None)
}

/// The key of the server by which a room can be reached.
pub fn via_key(room: &str) -> String {
    format!("via/{room}")
}

fn portal_key(user: &UserId, person: &PersonId) -> String {
    format!("dm/{user}/{}", id::person(person))
}
