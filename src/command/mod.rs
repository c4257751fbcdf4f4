//! Commands: one table ([`table`]), one state machine ([`session`]), and three front doors that show them (ad-hoc
//! commands, registration forms, chat with the gateway's address; all in `xmpp`). [`order`] is a fourth door, for the command
//! line on the same machine.
//!
//! A command is a function from what has been answered so far to the next form or to its end, so that going back is
//! forgetting the last answer. [`form`] knows what fields take, [`house`] is what commands work on.

pub mod admin;
pub mod contact;
pub mod form;
pub mod house;
pub mod letters;
pub mod link;
pub mod order;
pub mod pointers;
pub mod session;
pub mod strangers;
pub mod table;
pub mod user;

pub use self::form::{Answers, Field, FieldKind, Form};
pub use self::house::{House, Outside, Policy, Registration};
pub use self::session::{Action, Commander, Reply};
