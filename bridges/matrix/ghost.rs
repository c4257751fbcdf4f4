//! Ghosts: registered when they are first needed, with their names kept current: one in the profile, which is the user's
//! own, and one in each room, which is their nick there.

use serde_json::json;

use super::adapter::State;
use super::error::MatrixError;
use super::id::percent;
use crate::api::{Closed, Condition, Failure, Sentence, UserId};

/// What goes wrong on the way to the homeserver or to our own store.
pub fn stored(error: &Closed) -> Failure {
    Failure::temporary(error.to_string())
}

impl State {
    /// The id of a user's ghost.
    pub fn ghost_id(&self, user: &UserId) -> Result<String, Failure> {
        self.ghosts.of(user).ok_or_else(|| {
            Failure::permanent(
                Condition::JidMalformed,
                Sentence::new("matrix.too-long"),
                "the ghost's id would be too long",
            )
        })
    }

    /// Makes sure that a user's ghost exists and goes by this name everywhere, if one is given: what the user calls
    /// themselves (XEP-0172), never a nick of a room. Returns its id.
    pub async fn ghost(&self, user: &UserId, name: Option<&str>) -> Result<String, Failure> {
        let id = self.ghost_id(user)?;
        let wanted = name.map(str::trim).filter(|name| !name.is_empty());
        let key = format!("ghost/{user}");
        let known = match self.cached_name(&id) {
            Some(known) => Some(known),
            None => self
                .core()?
                .get(&key)
                .await
                .map_err(|error| stored(&error))?
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        };
        if let Some(known) = &known
            && wanted.is_none_or(|wanted| wanted == known)
        {
            self.cache_name(&id, known);
            return Ok(id);
        }
        if known.is_none() {
            let localpart = id.trim_start_matches('@').split(':').next().unwrap_or_default();
            let body = json!({ "type": "m.login.application_service", "username": localpart, "inhibit_login": true });
            match self.client.post("/_matrix/client/v3/register", None, &body).await {
                Ok(_) => {}
                Err(error) if error.is("M_USER_IN_USE") => {}
                Err(error) => return Err(error.failure()),
            }
        }
        let name = wanted.map_or_else(|| user.local().to_owned(), str::to_owned);
        let path = format!("/_matrix/client/v3/profile/{}/displayname", percent(&id));
        match self.client.put(&path, Some(&id), &json!({ "displayname": name })).await {
            Ok(_) => {}
            // A name that the homeserver does not take costs nobody a message.
            Err(MatrixError::Refused { status: 400..429, .. }) => {}
            Err(error) => return Err(error.failure()),
        }
        self.core()?.put(&key, Some(name.clone().into_bytes())).await.map_err(|error| stored(&error))?;
        self.cache_name(&id, &name);
        self.keep_nicks(&id).await;
        Ok(id)
    }

    /// A homeserver writes a new name into every membership, at once or later ([`Self::renamed`]): says the nicks again.
    pub async fn keep_nicks(&self, ghost: &str) {
        let room_of =
            |key: &String| key.rsplit_once(' ').filter(|(_, of)| *of == ghost).map(|(room, _)| room.to_owned());
        for (room, nick) in self.nicks.find(room_of) {
            if self.set_nick(ghost, &room, &nick).await.is_err() {
                self.nicks.remove(&nick_key(&room, ghost));
            }
        }
    }

    /// Makes sure that a ghost that is in a room goes by this nick there. It belongs to the membership, so that a user has
    /// one nick in each room and their own name everywhere else. Asks the homeserver once for each room and ghost.
    pub async fn call(&self, ghost: &str, room: &str, nick: &str) -> Result<(), MatrixError> {
        let nick = nick.trim();
        let key = nick_key(room, ghost);
        if nick.is_empty() || self.nicks.get(&key).as_deref() == Some(nick) {
            return Ok(());
        }
        let path = member_path(room, ghost);
        if self.nicks.get(&key).is_none() {
            let member = self.client.get(&path, Some(ghost)).await?;
            if member["displayname"].as_str() == Some(nick) {
                self.nicks.set(key, nick.to_owned());
                return Ok(());
            }
        }
        self.set_nick(ghost, room, nick).await
    }

    /// The room shows this ghost under its profile's name again: a homeserver writes a new name into every membership.
    /// Best effort; the next message of the user sets the nick otherwise.
    pub async fn renamed(&self, ghost: &str, room: &str, shown: &str) {
        let key = nick_key(room, ghost);
        let Some(nick) = self.nicks.get(&key) else { return };
        // Anything else is an event from before our own change.
        if nick != shown
            && self.cached_name(ghost).as_deref() == Some(shown)
            && self.set_nick(ghost, room, &nick).await.is_err()
        {
            self.nicks.remove(&key);
        }
    }

    /// What a room calls a ghost, as the homeserver has just told.
    pub fn note_nick(&self, ghost: &str, room: &str, shown: &str) {
        self.nicks.set(nick_key(room, ghost), shown.to_owned());
    }

    async fn set_nick(&self, ghost: &str, room: &str, nick: &str) -> Result<(), MatrixError> {
        let mut content = json!({ "membership": "join", "displayname": nick });
        if let Some(picture) = self.picture_of(ghost).await {
            content["avatar_url"] = picture.into();
        }
        match self.client.put(&member_path(room, ghost), Some(ghost), &content).await {
            // A nick that the homeserver does not take costs nobody a message.
            Ok(_) | Err(MatrixError::Refused { status: 400..=402 | 404..=428, .. }) => {
                self.nicks.set(nick_key(room, ghost), nick.to_owned());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// The key of a ghost in a room.
pub fn nick_key(room: &str, ghost: &str) -> String {
    format!("{room} {ghost}")
}

fn member_path(room: &str, ghost: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", percent(room), percent(ghost))
}
