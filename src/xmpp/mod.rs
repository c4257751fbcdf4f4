//! The XMPP side: the only place that builds or reads XML.
//!
//! [`stream`] is the connection. [`component`] gives each stanza to the part that it is for: [`from_stanza`] reads
//! messages, [`file`] what files are in them, [`iq`] answers questions, [`presence`] and [`roster`] are about contacts, [`face`] shows pictures, [`muc`] keeps rooms,
//! [`doors`] take what is said to the gateway itself, [`about`] is what it says of itself. [`to_stanza`] writes what comes
//! from networks. [`visit`] looks around for `portway doctor`. [`address`] is the grammar of addresses, [`jid`] and
//! [`stanza`] are the types underneath.

pub mod about;
pub mod address;
pub mod adhoc;
pub mod bookmark;
pub mod calls;
pub mod chat;
pub mod component;
pub mod doors;
pub mod error;
pub mod face;
pub mod file;
pub mod form;
pub mod from_stanza;
pub mod iq;
pub mod jid;
pub mod muc;
pub mod presence;
pub mod register;
pub mod relation;
pub mod rich;
pub mod roster;
pub mod search;
pub mod stanza;
pub mod stream;
pub mod to_stanza;
pub mod visit;
pub mod xml;

use portway_bridges::api::{Availability, Condition, EventId, PersonId, Sentence};

use self::stanza::OutStanza;
use crate::route::item::Item;
use crate::route::said::Said;

/// What the routes ask of the XMPP side.
pub trait XmppSide: Send + Sync {
    /// The stanzas of an event, now.
    fn render(&self, id: EventId, item: &Item) -> Vec<OutStanza>;

    /// The stanzas of what the gateway itself says to a user.
    fn say(&self, id: EventId, said: &Said) -> Vec<OutStanza>;

    /// Tells the sender of a message that it was not accepted.
    fn refuse(&self, item: &Item, condition: Condition, sentence: &Sentence);

    /// Passes on what is not worth storing.
    fn signal(&self, item: &Item);

    /// Tells whoever sees a person how they are doing.
    fn available(&self, person: &PersonId, availability: Availability);
}
