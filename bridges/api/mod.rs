//! The neutral model and the adapter contract.
//!
//! Read in this order: [`id`] (who and where), [`event`] (what was said), [`capability`] (what a network can carry),
//! [`failure`] (what can go wrong), [`sentence`] (what users read), [`network`] (what an adapter is) and [`core`]
//! (what an adapter may ask of the gateway); [`dns`] is what `portway doctor` asks of names. [`testkit`] holds the conformance suite that each adapter runs.

pub mod availability;
pub mod capability;
pub mod core;
pub mod dns;
pub mod event;
pub mod failure;
pub mod id;
pub mod network;
pub mod picture;
pub mod sentence;
pub mod testkit;

pub use self::availability::{Availability, Whereabouts};
pub use self::capability::{Batch, Capabilities};
pub use self::core::{Accepted, Closed, Core, CorePort, Inbound, InboxId, InboxItem, Submission};
pub use self::dns::{Dns, DnsError, Question, Record};
pub use self::event::{Chat, Failed, File, Kind, Membership, Style, Target, Text};
pub use self::failure::{Condition, Failure, Refusal};
pub use self::id::{EventId, InvalidId, ItemId, PersonId, RoomId, Timestamp, UserId};
pub use self::network::{
    Adapter, Address, ChatInfo, ConfigErrors, Descriptor, Fatal, Finding, HistoryItem, Level, Listener, Network,
    Occupant, Outbound, Receipt, Signal, SignalKind, Stop,
};
pub use self::picture::{Picture, Reach};
pub use self::sentence::{Sentence, SentenceDef};

/// A boxed future, which is what a method of a trait object returns.
pub use futures::future::BoxFuture;
