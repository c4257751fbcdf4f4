//! What users have noted of rooms follows where rooms go (XEP-0402), where their server lets us.

use std::time::Duration;

use minidom::Element;
use portway_bridges::api::{Condition, RoomId, UserId};
use tracing::debug;

use super::Component;
use crate::xmpp::address;
use crate::xmpp::bookmark;
use crate::xmpp::jid::Jid;
use crate::xmpp::roster::privilege::iq::{self, Denied};
use crate::xmpp::stream::random_id;
use crate::xmpp::to_stanza::bare_jid;

/// How long a server may take for a request in a user's name. Some never answer (ejabberd 24.12).
const PATIENCE: Duration = Duration::from_secs(20);

impl Component {
    /// Makes a request of this type (`get` or `set`) in the name of a user to their own account; returns what the result
    /// holds.
    async fn in_the_name_of(&self, user: &Jid, type_: &str, payload: Element) -> Result<Option<Element>, Denied> {
        let parts = &self.0.parts;
        let grants = self.0.roster.privileges.of(user.domain()).ok_or(Denied::NotGranted)?;
        let request = iq::request(&parts.domain, user, type_, &random_id(), payload, &grants)?;
        iq::answer(&parts.link.iq(request, PATIENCE).await.map_err(|_| Denied::NoAnswer)?)
    }

    /// A room that these users know by this localpart lives on elsewhere: their bookmarks of it are rewritten. Nobody gets
    /// one who had none.
    ///
    /// Bookmarks that name the room by an alias of it are not touched where the room itself has moved: aliases are moved by
    /// people, and lead to the new one then.
    pub(super) fn follow(&self, users: Vec<UserId>, old: String, next: RoomId) {
        let this = self.clone();
        tokio::spawn(async move {
            let parts = &this.0.parts;
            let us = |node: &str| parts.domain.address(Some(node), None);
            let old = us(&old).and_then(|us| this.room(&us));
            let new = address::of_room(&next).ok().and_then(|node| us(&node));
            let (Some(old), Some(new)) = (old, new) else { return };
            for user in users.iter().filter_map(bare_jid) {
                let _few = this.0.roster.changing.clone().acquire_owned().await;
                match this.rewrite(&user, &old, new.jid().as_str()).await {
                    Ok(()) | Err(Denied::NotGranted) => {}
                    Err(why) => debug!(network = %parts.network, %why, "the bookmark of a room that moved stays"),
                }
            }
        });
    }

    async fn rewrite(&self, user: &Jid, old: &RoomId, new: &str) -> Result<(), Denied> {
        let Some(known) = self.in_the_name_of(user, "get", bookmark::all()).await? else { return Ok(()) };
        let is_old = |id: &str| {
            let us = Jid::parse(id).ok().and_then(|jid| self.0.parts.domain.own(&jid));
            us.and_then(|us| self.room(&us)).as_ref() == Some(old)
        };
        let Some(moved) = bookmark::moved(&bookmark::read(&known), is_old, new) else { return Ok(()) };
        // First the new one: whatever happens then, the user still has the room.
        if let Some(write) = &moved.write {
            let written = self.in_the_name_of(user, "set", bookmark::publish(write)).await;
            if written == Err(Denied::Refused(Condition::Conflict)) {
                // The node is not what it must be (XEP-0060, section 7.1.5).
                self.in_the_name_of(user, "set", bookmark::configure()).await?;
                self.in_the_name_of(user, "set", bookmark::publish(write)).await?;
            } else {
                written?;
            }
        }
        for id in &moved.retract {
            self.in_the_name_of(user, "set", bookmark::retract(id)).await?;
        }
        Ok(())
    }
}
