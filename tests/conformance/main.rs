//! What XMPP servers and clients require of a gateway, one test for each requirement. The number that a test's name begins
//! with is that of the list in `docs/src/developer/requirements.md`.

#[path = "../support/mod.rs"]
mod support;

mod about;
mod addresses;
mod commands;
mod devices;
mod disco;
mod faces;
mod link;
mod manners;
mod media;
mod people;
mod privileges;
mod process;
mod relations;
mod roster;
mod security;
mod sessions;
mod strangers;
mod tls;
