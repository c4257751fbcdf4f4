//! The devices of users: what they can do, and what is offered to them.

use std::time::Duration;

use portway_bridges::api::{Kind, UserId};
use tracing::{debug, warn};

use super::Component;
use crate::xmpp::jid::Jid;
use crate::xmpp::rich;
use crate::xmpp::roster::caps::{Features, Named};
use crate::xmpp::roster::offer::{self, Offered};
use crate::xmpp::stanza::{OurJid, Stanza};
use crate::xmpp::stream::Priority;
use crate::xmpp::to_stanza::bare_jid;

/// How long a device may take to say what it can do.
const PATIENCE: Duration = Duration::from_secs(30);

impl Component {
    /// A device shows itself to one of us: who names something that is not known is asked, by whom it was shown to.
    pub(super) fn shows_itself(&self, device: &Jid, presence: &Stanza, us: &OurJid) {
        let caps = self.0.parts.faces.caps();
        let Some(question) = caps.came(device, Some(Named::read(&presence.element))) else { return };
        let (this, us) = (self.clone(), us.clone());
        tokio::spawn(async move {
            let _few = this.0.roster.asking.clone().acquire_owned().await;
            let answer = this.0.parts.link.iq(question.stanza(&us), PATIENCE).await;
            if let Err(error) = &answer {
                debug!(network = %this.0.parts.network, %error, "a device does not say what it can do");
            }
            this.0.parts.faces.caps().answered(&question, answer.as_ref().ok());
        });
    }

    /// What the devices of a user show of an event: in which forms some of them show what is formatted, where the others pass
    /// over them; whether all show what an answer answers, and none a reaction.
    pub(super) fn shows(&self, user: &UserId, kind: &Kind) -> rich::Features {
        let (text, reaction) = match kind {
            Kind::Text(text) | Kind::Edit { new: text, .. } => (Some(text), false),
            Kind::File(file) => (file.caption.as_ref(), false),
            Kind::Reaction { .. } => (None, true),
            _ => return rich::Features::default(),
        };
        let Some(user) = bare_jid(user) else { return rich::Features::default() };
        let caps = self.0.parts.faces.caps();
        let formatted = text.is_some_and(|text| text.rich.is_some());
        let answers = text.is_some_and(|text| text.reply.is_some());
        rich::Features {
            xhtml: formatted && caps.able(&user, |features| features.xhtml).is_some(),
            markup: formatted && caps.able(&user, |features| features.markup).is_some(),
            answers: answers && caps.all(&user, |features| features.answers),
            reactions_in_words: reaction && caps.all(&user, |features| !features.reactions),
        }
    }

    /// Offers contacts to a user whose roster we may not write: those whom they are not subscribed to, all in one message,
    /// to one device that can take them. Without such a device each contact comes when it first writes.
    pub(super) fn offer(&self, user: &UserId, contacts: Vec<Offered>) {
        let Some(user) = bare_jid(user) else { return };
        let grants = self.0.roster.privileges.of(user.domain());
        if grants.is_some_and(|grants| grants.roster_get && grants.roster_set) {
            return;
        }
        let takes = |features: Features| features.offers;
        let Some(device) = self.0.parts.faces.caps().able(&user, takes) else { return };
        let this = self.clone();
        tokio::spawn(async move {
            let parts = &this.0.parts;
            let mut missing = Vec::new();
            for contact in contacts {
                match this.0.roster.state(user.as_str(), &contact.localpart).await {
                    // Whoever has been in their roster and is not any more was taken out by them.
                    Ok(None) => missing.push(contact),
                    Ok(Some(_)) => {}
                    Err(error) => {
                        warn!(network = %parts.network, %error, "subscriptions cannot be read");
                        return;
                    }
                }
            }
            if let Some(message) = offer::message(&parts.domain, &device, parts.descriptor.name, &missing) {
                this.send(&message, Priority::Normal);
            }
        });
    }
}
