//! `portway doctor` on set-ups that are broken on purpose: it finds each fault, its advice is followed, and the fault is
//! gone. The real program, between a scripted XMPP server, a stub homeserver and a scripted mail server; only names are
//! asked through the library, of a table.

#[path = "doctor/machine.rs"]
mod machine;
#[path = "doctor/mail.rs"]
mod mail;
#[path = "doctor/matrix.rs"]
mod matrix;
#[path = "doctor/rig.rs"]
mod rig;
#[path = "doctor/running.rs"]
mod running;
#[path = "support/mod.rs"]
mod support;
#[path = "doctor/xmpp.rs"]
mod xmpp;
