//! Ghosts: registered when they are first needed, with their names kept current.

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

    /// Makes sure that a user's ghost exists and goes by this name, if one is given. Returns its id.
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
        Ok(id)
    }
}
