//! Matrix rooms and people, in shared mode: the gateway is an application service and speaks for each XMPP user through
//! a ghost. Nobody needs an account.
//!
//! [`appservice`] takes what the homeserver pushes and commits it, [`worker`] turns it into events ([`from_matrix`] is
//! pure; [`members`], [`power`] and [`notices`] know what changes a room), [`signals`] passes on what is not stored,
//! [`client`] speaks to the homeserver, [`ghost`], [`dm`] and [`room`] keep what the homeserver must be told,
//! [`to_matrix`] (pure) writes events; [`rich`] (pure) is formatted text both ways. [`file`] (pure) describes files both ways,
//! [`media`] brings their bytes.

mod adapter;
mod annotation;
mod appservice;
mod calls;
mod check;
mod client;
mod config;
mod deliver;
mod dm;
mod error;
mod file;
pub mod from_matrix;
mod ghost;
pub mod id;
mod media;
mod members;
mod notices;
mod picture;
mod pointer;
mod power;
mod registration;
mod rich;
mod room;
mod said;
mod signals;
#[cfg(test)]
mod tests;
mod thread;
mod tidy;
pub mod to_matrix;
mod worker;

use std::time::Duration;

use super::api::{Adapter, ConfigErrors, Descriptor, Network, SentenceDef};

/// The network.
pub struct Matrix;

/// The one instance.
pub static NETWORK: Matrix = Matrix;

/// Waits between tries; the homeserver's own hint goes before.
const RETRY: &[Duration] = &[
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// When the sender hears that we are still trying.
const NOTICES: &[Duration] = &[Duration::from_secs(120), Duration::from_secs(6 * 3600)];

const fn en(key: &'static str, text: &'static str) -> SentenceDef {
    SentenceDef { key, lang: "en", text }
}

const fn de(key: &'static str, text: &'static str) -> SentenceDef {
    SentenceDef { key, lang: "de", text }
}

const SENTENCES: &[SentenceDef] = &[
    en(
        "matrix.bad-address",
        "“{typed}” is no Matrix address. Write @name:server for a person or #name:server for a room.",
    ),
    en("matrix.called", "{who} has tried to call you. Calls are not carried here; please answer in writing."),
    en("matrix.forbidden", "The Matrix side does not allow this: {why}"),
    en("matrix.no-calls", "This chat leads to XMPP through a bridge that carries no calls. Please write instead."),
    en("matrix.no-such-room", "There is no room {room}, or it is not public."),
    en("matrix.no-such-server", "There is no Matrix server {server}, or it cannot be reached from here."),
    en("matrix.no-such-user", "There is no Matrix user {person}."),
    en("matrix.refused", "The Matrix server refused this: {why}"),
    en("matrix.third-person", "{name} ({id}) has joined this chat and reads along."),
    en("matrix.too-long", "Your XMPP address is too long to be shown on Matrix."),
    en(
        "matrix.cannot-read",
        "Messages in this room are encrypted, and I am a bridge that cannot read them: {user} gets nothing of what you write here. Please write in a room without encryption.",
    ),
    en("matrix.not-delivered", "Your message could not be delivered: {why}"),
    de(
        "matrix.bad-address",
        "„{typed}“ ist keine Matrix-Adresse. Eine Person ist @name:server, ein Raum #name:server.",
    ),
    de(
        "matrix.called",
        "{who} hat versucht, Sie anzurufen. Anrufe werden hier nicht übertragen; bitte antworten Sie schriftlich.",
    ),
    de("matrix.forbidden", "Die Matrix-Seite erlaubt das nicht: {why}"),
    de(
        "matrix.no-calls",
        "Dieser Chat führt über eine Brücke zu XMPP, die keine Anrufe überträgt. Bitte schreiben Sie stattdessen.",
    ),
    de("matrix.no-such-room", "Den Raum {room} gibt es nicht, oder er ist nicht öffentlich."),
    de("matrix.no-such-server", "Den Matrix-Server {server} gibt es nicht, oder er ist von hier aus nicht erreichbar."),
    de("matrix.no-such-user", "{person} gibt es auf Matrix nicht."),
    de("matrix.refused", "Der Matrix-Server hat das abgelehnt: {why}"),
    de("matrix.third-person", "{name} ({id}) ist zu diesem Chat dazugekommen und liest mit."),
    de("matrix.too-long", "Ihre XMPP-Adresse ist zu lang, um auf Matrix gezeigt zu werden."),
    de(
        "matrix.cannot-read",
        "Nachrichten in diesem Raum sind verschlüsselt, und ich bin eine Brücke, die sie nicht lesen kann: {user} bekommt nichts von dem, was Sie hier schreiben. Bitte in einem Raum ohne Verschlüsselung schreiben.",
    ),
    de("matrix.not-delivered", "Ihre Nachricht konnte nicht zugestellt werden: {why}"),
];

impl Network for Matrix {
    fn describe(&self) -> Descriptor {
        Descriptor {
            id: "matrix",
            name: "Matrix",
            disco_type: "matrix",
            config_example: config::EXAMPLE,
            config_keys: config::KEYS,
            secret_keys: &["as_token", "hs_token"],
            sentences: SENTENCES,
            rooms: true,
            retry: RETRY,
            give_up: Duration::from_secs(24 * 3600),
            notices: NOTICES,
        }
    }

    fn configure(&self, raw: toml::Table) -> Result<Box<dyn Adapter>, ConfigErrors> {
        Ok(Box::new(adapter::MatrixAdapter::new(config::read(&raw)?)))
    }
}
