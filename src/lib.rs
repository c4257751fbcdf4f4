//! Portway: a gateway between XMPP and other networks.
//!
//! Modules in reading order: [`config`] says what to run, [`xmpp`] is the side of the XMPP server, [`identity`] knows
//! who is who, [`command`] is what users and admins ask for, [`route`] brings events from one side to the other, [`store`]
//! keeps them until they have arrived, [`media`] carries files, [`observe`] and [`text`] face people, [`doctor`] looks at all of it from outside.

pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod doctor;
pub mod identity;
pub mod media;
pub mod observe;
pub mod route;
mod run;
pub mod store;
pub mod text;
pub mod xmpp;

pub use run::{RunError, run};
