//! From one side to the other: commit, lanes, retries, and what becomes of what cannot arrive.
//!
//! The way to a network: [`router`] commits what the XMPP side read, [`lane`] keeps the order of each chat, [`deliver`]
//! looks up, degrades and hands over; [`undo`] changes what still waits. The way to XMPP: [`port`] commits what an adapter
//! submits, [`outbox`] renders and sends. [`consent`] says what becomes of the words of strangers, [`said`] is what the
//! gateway itself says. [`settler`] writes down what became of either.

pub mod consent;
pub mod degrade;
pub mod deliver;
pub mod event;
pub mod item;
pub mod key;
pub mod lane;
pub mod outbox;
pub mod port;
pub mod router;
pub mod said;
pub mod settler;
pub mod stored;
pub mod targets;
pub mod undo;

pub use router::{Router, RouterParts, Unattached};
