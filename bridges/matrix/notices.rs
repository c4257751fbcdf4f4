//! What people are told where the gateway cannot do what they expect.

use super::adapter::State;
use super::dm::Context;
use super::from_matrix::Event;
use super::ghost::stored;
use super::id::percent;
use super::to_matrix;
use super::worker::Trouble;
use crate::api::{Core, Failure, Kind, Sentence, UserId};

/// Encrypted messages: one notice to either side per room and sender, never silence. That it was given is stored
/// together with the event, so that a crash in between costs neither.
pub async fn encrypted(
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
        Context::Room => state.room_ghost(&event.room_id).await?,
    };
    if let Some(ghost) = ghost {
        let sentence = Sentence::new("matrix.cannot-read").with("user", ghost.clone());
        let body = to_matrix::notice(&core.text(&sentence, None));
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
