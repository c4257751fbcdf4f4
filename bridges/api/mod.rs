//! The neutral model and the adapter contract.
//!
//! Read in this order: [`id`] (who and where), [`event`] (what was said), [`capability`] (what a network can carry),
//! [`failure`] (what can go wrong), [`sentence`] (what users read), [`network`] (what an adapter is) and [`core`]
//! (what an adapter may ask of the gateway); [`rich`] is formatted text, [`media`] are files; [`dns`] is what `portway doctor` asks of names. [`testkit`] holds the conformance suite that each adapter runs.

pub mod availability;
pub mod capability;
pub mod core;
pub mod dns;
pub mod emoji;
pub mod event;
pub mod failure;
pub mod id;
pub mod media;
pub mod network;
pub mod picture;
pub mod rich;
pub mod sentence;
pub mod testkit;

pub use self::availability::{Availability, Whereabouts};
pub use self::capability::{Batch, Capabilities};
pub use self::core::{Accepted, Closed, Core, CorePort, Inbound, InboxId, InboxItem, Submission};
pub use self::dns::{Dns, DnsError, Question, Record};
pub use self::event::{Chat, Failed, File, FileForm, Kind, Membership, Style, Target, Text, Thumbnail};
pub use self::failure::{Condition, Failure, Refusal};
pub use self::id::{EventId, InvalidId, ItemId, PersonId, RoomId, Timestamp, UserId};
pub use self::media::{Content, Source};
pub use self::network::{
    Adapter, Address, ChatInfo, ConfigErrors, Descriptor, Fatal, Finding, HistoryItem, Level, Listener, Network,
    Occupant, Outbound, Receipt, Signal, SignalKind, Stop,
};
pub use self::picture::{Picture, Reach};
pub use self::rich::Rich;
pub use self::sentence::{Sentence, SentenceDef};

/// A boxed future, which is what a method of a trait object returns.
pub use futures::future::BoxFuture;
